"""In which direction a metric gets better: asked of Keras' metrics, not of their names."""

import keras
import numpy as np
import pytest

from kerasreg._keras.metrics import direction_of

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
        (keras.metrics.Recall(), "val_recall", "max"),
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
