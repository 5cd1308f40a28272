"""KerasTuner's own tuners search a `DenseHyperModel` as they are."""

import keras_tuner
import numpy as np
import pytest

from kerasreg import hypermodels, tuners

pytestmark = pytest.mark.shares_programs

# Tuner, its arguments, and how many trials it runs with them.
TUNERS = {
    "random": (keras_tuner.RandomSearch, {"max_trials": 2}, 2),
    "bayesian": (keras_tuner.BayesianOptimization, {"max_trials": 3, "num_initial_points": 2}, 3),
    "grid": (keras_tuner.GridSearch, {"max_trials": 2}, 2),
    # Bracket 1: two trials of one epoch, the better one continued; bracket 0: two.
    "hyperband": (keras_tuner.Hyperband, {"max_epochs": 2, "factor": 2}, 5),
}


def table(classes, samples, seed):
    x = np.random.default_rng(seed).normal(size=(samples, 3)).astype("float32")
    target = x[:, 0] + x[:, 1]
    return x, (target if classes is None else (target > 0).astype("int32"))


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "task"), [*((kind, "classification") for kind in TUNERS), ("random", "regression")]
)
def test_every_trial_of_every_tuner_completes(kind, task, tmp_path):
    cls, arguments, count = TUNERS[kind]
    classes = 2 if task == "classification" else None
    objective = ("val_accuracy", "max") if classes else ("val_rmse", "min")
    hypermodel = hypermodels.DenseHyperModel(
        features=3, classes=classes, epochs=2, samples=33, widths=(4, 8), depths=(1, 2), seed=1
    )
    tuner = cls(
        hypermodel, keras_tuner.Objective(*objective), seed=1, directory=tmp_path, **arguments
    )
    completed = tuners.run_search(
        tuner, *table(classes, 33, 0), validation_data=table(classes, 17, 1), verbose=0
    )
    assert len(completed) == len(tuner.oracle.trials) == count
    assert {one.status for one in completed} == {"COMPLETED"}
    assert np.isfinite([one.score for one in completed]).all()
    # The metrics of a trial are those of its history.
    assert all(one.metrics.exists("learning_rate") for one in completed)
    if kind == "grid":  # The first point of a grid is made of the defaults.
        assert tuner.oracle.get_trial("0").hyperparameters.get("penalty") == "none"


def test_the_best_model_of_a_search_is_loaded_with_its_weights(tmp_path, one_build):
    hypermodel = hypermodels.DenseHyperModel(
        features=3, classes=2, epochs=2, samples=33, widths=(4, 8), depths=(1, 2), seed=1
    )
    tuner = keras_tuner.RandomSearch(
        hypermodel,
        keras_tuner.Objective("val_accuracy", "max"),
        max_trials=1,
        seed=2,
        directory=tmp_path,
    )
    x, y = table(2, 33, 0)
    validation = table(2, 17, 1)
    best = tuners.run_search(tuner, x, y, validation_data=validation, verbose=0)[0]
    (model,) = tuner.get_best_models()
    found = np.array(model(validation[0])).argmax(axis=1) == validation[1]
    assert found.mean() == pytest.approx(best.score, abs=1e-6)
