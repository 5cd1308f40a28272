"""A network of a table whose space is values: what it is, and that its trials are lanes."""

import warnings

import keras
import keras_tuner
import numpy as np
import pandas as pd
import pytest

from kerasreg import tuners
from kerasreg.hypermodels import TableHyperModel
from kerasreg.layers import PeriodicEmbedding, PiecewiseLinearEmbedding, ScheduledDropout
from kerasreg.tables import Table, read_columns

pytestmark = pytest.mark.shares_programs


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=160), "job": rng.choice(["a", "b", "c"], 160)})
    frame["y"] = np.where((frame["x"] > 0) ^ (frame["job"] == "a"), "yes", "no")
    frame["price"] = 3 * frame["x"] + (frame["job"] == "b") + 1000
    return frame


@pytest.fixture(scope="module")
def table(frame):
    return Table(frame[["x", "job", "y"]], target="y")


@pytest.fixture(scope="module")
def prices(frame):
    return Table(frame[["x", "job", "price"]], target="price")


def hypermodel(table, classes=2, **arguments):
    options = {"samples": 80, "epochs": 5, "widths": (8, 8), "seed": 0, **arguments}
    return TableHyperModel(table, classes, **options)


def hyperparameters(**values):
    hp = keras_tuner.HyperParameters()
    for name, value in values.items():
        hp.Fixed(name, value)
    return hp


def layers_of(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


@pytest.mark.parametrize(
    ("embedding", "expected"),
    [("piecewise_linear", PiecewiseLinearEmbedding), ("periodic", PeriodicEmbedding)],
)
def test_the_network_begins_with_the_columns_of_its_table(table, frame, embedding, expected):
    model = hypermodel(table, embedding=embedding).build(keras_tuner.HyperParameters())
    assert len(layers_of(model, expected)) == 1
    served = table.model(model)
    predicted = served.predict(table.raw(frame), verbose=0)
    np.testing.assert_allclose(predicted.sum(axis=1), 1, rtol=1e-5)


def search(searched, trials, frame, folder):
    """A search of two folds, which has ended."""
    tuner = tuners.VectorizedRandomSearch(
        searched,
        searched.objective,
        max_trials=trials,
        folds=2,
        batches="own",
        seed=1,
        directory=folder,
    )
    x, y = searched.table.arrays(frame), searched.table.targets(frame)
    tuner.search(x, y, epochs=searched.epochs, batch_size=searched.batch_size, verbose=0)
    return tuner


def test_trials_are_lanes_of_one_program_and_few_models_are_built(table, frame, tmp_path):
    built = []

    class Counted(TableHyperModel):
        declares_whole_space = True

        def build(self, hp):
            built.append(hp)
            return super().build(hp)

    searched = Counted(table, 2, samples=80, epochs=2, widths=(8, 8), seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # No model that is built for its trial.
        tuner = search(searched, 12, frame, tmp_path)
    report = tuner.lane_report()
    assert [(row.trials, row.loops) for row in report.rows] == [(12, ())], str(report)
    assert report.share == 1.0
    assert len(built) < 8


@pytest.mark.long
def test_depths_are_programs_and_widths_are_padded(prices, frame, tmp_path):
    searched = hypermodel(
        prices, None, epochs=2, widths=(4, 8), depths=(1, 2), activations=("mish", "relu")
    )
    tuner = search(searched, 8, frame, tmp_path)
    report = tuner.lane_report()
    assert report.share == 1.0
    assert len(report.rows) == 2, str(report)
    assert {trial.hyperparameters["depth"] for trial in tuner.oracle.trials.values()} == {1, 2}
    scores = [trial.score for trial in tuner.oracle.trials.values()]
    assert np.isfinite(scores).all()


def test_the_objective_is_free_of_penalties_and_of_smoothing(table, frame):
    hp = hyperparameters(l1=1e-4, l2=1e-3, label_smoothing=0.1)
    model = hypermodel(table).build(hp)
    x, y = table.arrays(frame), table.targets(frame)
    found = model.evaluate(x, y, verbose=0, return_dict=True)
    chosen = model.predict(x, verbose=0)[np.arange(len(y)), y]
    assert found["log_loss"] == pytest.approx(-np.log(chosen).mean(), rel=1e-4)
    smoothed = float(model.loss(y, model.predict(x, verbose=0)))
    kernels = [layer.kernel for layer in layers_of(model, keras.layers.Dense)[:2]]
    penalties = sum(
        1e-4 * np.abs(w).sum() + 1e-3 * np.square(w).sum() for w in map(np.asarray, kernels)
    )
    assert found["loss"] == pytest.approx(smoothed + penalties, rel=1e-4)
    assert abs(smoothed - found["log_loss"]) > 1e-4


def test_regression_is_scored_by_the_root_of_the_mean_squared_error(prices, frame):
    searched = hypermodel(prices, None)
    assert searched.objective == keras_tuner.Objective("val_rmse", "min")
    model = searched.build(keras_tuner.HyperParameters())
    x, y = prices.arrays(frame), prices.targets(frame)
    error = model.predict(x, verbose=0)[:, 0] - y
    found = model.evaluate(x, y, verbose=0, return_dict=True)["rmse"]
    assert found == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-4)


def test_rates_follow_the_training(table):
    hp = hyperparameters(dropout=0.4, dropout_first=0.5, dropout_last=0.25, learning_rate=0.01)
    searched = hypermodel(table, samples=640, epochs=5, batch_size=32)
    assert searched.steps == 100
    model = searched.build(hp)
    (dropout, _) = layers_of(model, ScheduledDropout)
    steps = (0, 25, 50, 75, 100)
    rates = [float(dropout.schedule(step)) for step in steps]
    assert rates == pytest.approx([0.2, 0.4, 0.4, 0.25, 0.1])
    course = model.optimizer._learning_rate
    assert [float(course(step)) for step in (5, 50, 75, 100)] == pytest.approx(
        [0.01, 0.01, 0.00505, 0.0001], rel=1e-4
    )


def test_the_baseline_has_the_same_space_and_nothing_that_regularizes(table):
    values = {"l1": 1e-4, "l2": 1e-3, "dropout": 0.4, "weight_decay": 0.1, "label_smoothing": 0.1}
    hp, other = hyperparameters(**values), hyperparameters(**values)
    model = hypermodel(table, regularized=False).build(hp)
    regularized = hypermodel(table).build(other)
    assert hp.values == other.values
    assert not layers_of(model, ScheduledDropout)
    assert not model.losses
    assert len(regularized.losses) == 2
    assert model.optimizer.weight_decay is None
    assert regularized.optimizer.weight_decay == 0.1
    assert (model.loss.label_smoothing, regularized.loss.label_smoothing) == (0.0, 0.1)


@pytest.mark.parametrize(
    ("classes", "samples", "expected"),
    [(2, 700, 45), (2, 50_000, 20), (2, 10, 100), (None, 700, 91), (None, 10, 100)],
)
def test_a_training_has_about_so_many_steps(table, classes, samples, expected):
    assert hypermodel(table, classes, samples=samples, epochs=None).epochs == expected


@pytest.mark.parametrize(
    ("samples", "expected"), [(10, 32), (700, 32), (2000, 128), (4000, 256), (50_000, 256)]
)
def test_batches_grow_with_the_samples(table, samples, expected):
    assert hypermodel(table, samples=samples).batch_size == expected


def test_a_training_of_one_step_is_one(table):
    model = hypermodel(table, samples=1, epochs=1).build(keras_tuner.HyperParameters())
    assert layers_of(model, ScheduledDropout)[0].schedule.length == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"table": None}, "`table` must be a `kerasreg.tables.Table`"),
        ({"classes": 1}, "`classes` must be a whole number >= 2"),
        ({"epochs": 0}, "`epochs` must be"),
        ({"batch_size": 0}, "`batch_size` must be"),
        ({"embedding": "plr"}, "`embedding` must be one of 'auto'"),
        ({"widths": (8, 4)}, "`widths` must be two whole numbers >= 1, the smallest"),
        ({"depths": 2}, "`depths` must be two whole numbers >= 1, the smallest"),
        ({"depths": (0, 2)}, "`depths` must be two whole numbers >= 1, the smallest"),
    ],
)
def test_bad_arguments_are_refused(table, arguments, message):
    with pytest.raises(ValueError, match=message):
        hypermodel(**{"table": table, **arguments})


def test_numbers_that_are_levels_have_no_embedding():
    generator = np.random.default_rng(0)

    def embedding(numbers, **given):
        frame = pd.DataFrame(numbers, columns=[f"c{k}" for k in range(numbers.shape[1])])
        overrides = dict.fromkeys(frame.columns, "number")
        table = Table(frame, read_columns(frame, overrides=overrides))
        return TableHyperModel(table, 2, samples=80, **given).embedding

    levels, others = generator.integers(0, 17, (80, 40)), generator.normal(size=(80, 40))
    assert embedding(levels) == "none"
    assert embedding(levels[:, :8]) == embedding(others) == "piecewise_linear"
    assert embedding(np.concatenate([levels, others[:, :30]], axis=1)) == "none"
    assert embedding(levels, embedding="periodic") == "periodic"
