"""In which direction a metric gets better: asked of Keras' metrics, not of their names."""

import keras
import numpy as np
import pytest

from kerasreg._keras.metrics import direction_of, values_by_sample

X = np.ones((4, 3), "float32")


def accumulated_cost(y_true, y_pred):
    return keras.ops.mean(y_true - y_pred, axis=-1)


def model_with(metrics):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, "sigmoid")])
    model.compile("sgd", "binary_crossentropy", metrics=metrics)
    model.evaluate(X, np.ones((4, 1)), verbose=0)
    return model


@pytest.mark.parametrize(
    ("metric", "name", "direction"),
    [
        ("accuracy", "val_accuracy", "max"),
        ("acc", "acc", "max"),
        (keras.metrics.AUC(name="place"), "val_place", "max"),
        (keras.metrics.Precision(name="p"), "p", "max"),
        (keras.metrics.Recall(name="recall"), "val_recall", "max"),
        (keras.metrics.R2Score(name="explained"), "explained", "max"),
        ("mae", "val_mae", "min"),
        (keras.metrics.MeanSquaredError(name="accurate"), "val_accurate", "min"),
        (keras.metrics.BinaryCrossentropy(), "binary_crossentropy", "min"),
        (accumulated_cost, "val_accumulated_cost", None),
        ("mae", "val_loss", "min"),
        ("mae", "gap", None),
    ],
)
def test_direction_of(metric, name, direction):
    assert direction_of(model_with([metric]), name) == direction


def test_direction_of_a_metric_of_one_of_several_outputs():
    x = keras.Input((3,))
    heads = {
        "a_b": keras.layers.Dense(1, name="a_b")(x),
        "c": keras.layers.Dense(1, "sigmoid", name="c")(x),
    }
    model = keras.Model(x, heads)
    model.compile("sgd", {"a_b": "mse", "c": "mse"}, metrics={"a_b": ["mae"], "c": ["accuracy"]})
    y = np.ones((4, 1), "float32")
    logs = model.evaluate(X, {"a_b": y, "c": y}, return_dict=True, verbose=0)
    directions = {name: direction_of(model, f"val_{name}") for name in logs}
    assert directions == {
        "loss": "min",
        "a_b_loss": "min",
        "c_loss": "min",
        "a_b_mae": "min",
        "c_accuracy": "max",
    }


def test_direction_of_metrics_of_one_name():
    model = model_with([keras.metrics.AUC(name="score"), keras.metrics.AUC(name="score")])
    names = model.evaluate(X, np.ones((4, 1)), return_dict=True, verbose=0)
    assert {direction_of(model, name) for name in names if "score" in name} == {"max"}


def test_direction_of_metrics_with_names_of_others_within_theirs():
    class OwnMean(keras.metrics.Mean):  # A mean of what only the user knows.
        def update_state(self, y_true, y_pred, sample_weight=None):
            super().update_state(y_pred)

    x, dense = keras.Input((3,)), keras.layers.Dense
    model = keras.Model(x, [dense(1, name="decoder2")(x), dense(1, name="accuracy")(x)])
    first = [keras.metrics.R2Score(), keras.metrics.MeanSquaredError(name="auc")]
    every = [first, [OwnMean(name="my_mae"), "mae"]]
    model.compile("sgd", ["mse", "mse"], metrics=every, weighted_metrics=[first, ["mae"]])
    y = np.ones((4, 1), "float32")
    logs = model.evaluate(X, [y, y], return_dict=True, verbose=0)
    assert {name: direction_of(model, f"val_{name}") for name in logs} == {
        "loss": "min",
        "decoder2_loss": "min",
        "accuracy_loss": "min",
        "decoder2_r2_score": "max",
        "decoder2_auc": "min",
        "accuracy_my_mae": None,
        "accuracy_mae": "min",
        "decoder2_weighted_r2_score": "max",
        "decoder2_weighted_auc": "min",
        "accuracy_weighted_mae": "min",
    }


def test_direction_of_metrics_of_a_class_of_ones_own():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)
            self.accuracy = keras.metrics.BinaryAccuracy(name="hit_loss_rate")
            self.kl = keras.metrics.Mean(name="kl_loss")
            self.mean = keras.metrics.Mean(name="accuracy_mean")

        def call(self, x):
            return self.dense(x)

    model = Own()
    model.compile("sgd", "mse")
    names = ["hit_loss_rate", "kl_loss", "accuracy_mean", "val_hit_loss_rate", "no_accuracy"]
    assert [direction_of(model, name) for name in names] == ["max", "min", None, "max", None]


@pytest.mark.parametrize(
    "metric",
    [
        keras.losses.MeanSquaredError(),
        keras.losses.SparseCategoricalCrossentropy(),
        keras.metrics.SparseCategoricalCrossentropy(),
        keras.metrics.SparseCategoricalAccuracy(),
        keras.metrics.SparseTopKCategoricalAccuracy(2),
        keras.metrics.MeanAbsoluteError(),
    ],
)
def test_values_by_sample(metric):
    generator = np.random.default_rng(0)
    y, p = generator.integers(0, 3, 20), generator.dirichlet(np.ones(3), 20).astype("float32")
    if "Mean" in type(metric).__name__:
        y, p = y[:, None].astype("float32"), p[:, :1]
    values = np.array(values_by_sample(metric)(y, p)).reshape(-1)
    assert values.shape == (20,)
    if isinstance(metric, keras.metrics.Metric):
        metric.update_state(y, p)
        expected = metric.result()
    else:
        expected = metric(y, p)
    assert np.mean(values) == pytest.approx(float(expected), rel=1e-5)


def test_values_by_sample_are_none_of_what_is_no_mean_of_them():
    assert values_by_sample(keras.metrics.AUC()) is None
    assert values_by_sample(keras.metrics.R2Score()) is None
