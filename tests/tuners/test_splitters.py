"""Splitters of scikit-learn's as `folds`: in order of time, repeated, and with executions."""

import warnings

import keras
import keras_tuner
import numpy as np
import pytest
from sklearn import model_selection

from kerasreg import tuners
from kerasreg.tuners import _best_epochs
from kerasreg.tuners._folds import folds_of
from kerasreg.tuners._out_of_fold import models_of

pytestmark = pytest.mark.shares_programs

ROWS = 60
GENERATOR = np.random.default_rng(2)
Y = np.arange(ROWS) % 2
X = (GENERATOR.normal(size=(ROWS, 3)) + Y[:, None]).astype("float32")


def build(hp):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, "softmax")])
    optimizer = keras.optimizers.SGD(hp.Float("rate", 1e-2, 1.0, sampling="log"))
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


SPLITTERS = {
    "in time": (model_selection.TimeSeriesSplit(3, test_size=10), 1, range(30, 60), 1),
    "repeated": (
        model_selection.RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=1),
        1,
        range(60),
        2,
    ),
    "executions": (3, 2, range(60), 2),
}


@pytest.mark.parametrize("kind", SPLITTERS)
def test_each_row_is_predicted_by_the_models_that_it_validated(kind, tmp_path):
    folds, executions, rows, times = SPLITTERS[kind]
    tuner = tuners.VectorizedRandomSearch(
        build, "val_loss", max_trials=3, folds=folds, executions_per_trial=executions, seed=3,
        directory=tmp_path,
    )  # fmt: skip
    tuner.search(X, Y, epochs=2, batch_size=5, verbose=0)
    found = tuner.out_of_fold()
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_array_equal(found.targets, Y[rows])
    assert len(found.trial_ids) == 3
    parts = folds_of(folds, X, Y, None, tuner.oracle.seed)
    for trial_id, predicted in zip(found.trial_ids, found.predictions, strict=True):
        stored = _best_epochs.read_all(tuner.project_dir, [trial_id])[trial_id]
        members = models_of(tuner, tuner.oracle.trials[trial_id], stored)
        assert len(members) == len(parts) * executions
        of_rows = [[] for _ in range(ROWS)]
        for number, model in enumerate(members):
            for row in parts[number % len(parts)][1]:
                of_rows[row].append(model(X[row : row + 1])[0])
        assert {len(of_rows[row]) for row in rows} == {times}
        expected = [np.mean(of_rows[row], axis=0) for row in rows]
        np.testing.assert_allclose(predicted, expected, atol=1e-5)
    selection = tuner.select_ensemble(shrinkage=0)
    np.testing.assert_array_equal(selection.samples, rows)
    assert selection.score <= selection.best_score
    assert selection.model().predict(X, verbose=0).shape == (ROWS, 2)
    # A row of `results` has each fold; its noise is known.
    row = tuner.results().iloc[0]
    assert np.isfinite([row[f"fold_{k}"] for k in range(len(parts))]).all()
    assert row["standard_error"] > 0


def test_folds_that_differ_are_no_other_targets(tmp_path):
    # The root of the mean of squares of all samples is far above the mean of the folds' roots.
    y = np.where(np.arange(ROWS) < 40, 0.01 * X[:, 0], 50.0)[:, None]

    def regression(hp):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        rate = hp.Float("rate", 1e-4, 1e-3)
        rmse = keras.metrics.RootMeanSquaredError(name="rmse")
        model.compile(keras.optimizers.SGD(rate), "mse", metrics=[rmse])
        return model

    tuner = tuners.VectorizedRandomSearch(
        regression, keras_tuner.Objective("val_rmse", "min"), max_trials=2, seed=3,
        folds=model_selection.TimeSeriesSplit(4, test_size=10), directory=tmp_path,
    )  # fmt: skip
    tuner.search(X, y, epochs=1, batch_size=5, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        selection = tuner.select_ensemble()
    assert selection.best_score > 1.25 * tuner.oracle.trials[selection.best_trial_id].score
