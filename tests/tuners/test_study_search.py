"""Searches of lanes in a study: real ones, of a small model."""

import keras
import keras_tuner
import numpy as np
import optuna
import pytest

from kerasreg import tuners

pytestmark = [pytest.mark.shares_programs, pytest.mark.long]


def made(build, folder, objective="val_loss", **given):
    given = {"max_trials": 6, "seed": 5, "max_lanes": 3, **given}
    return tuners.VectorizedStudySearch(
        build, objective, directory=folder, project_name="project", **given
    )


def run(tuner, blobs, **given):
    x, y, validation_data = blobs
    if getattr(tuner, "folds", None) is None:
        given["validation_data"] = validation_data
    tuner.search(x, y, **{"epochs": 3, "batch_size": 16, "verbose": 0, **given})
    return tuner


def test_lanes_are_asked_for_together_and_told(build, blobs, tmp_path):
    settings = [{"rate": 0.25, "learning_rate": 0.01}]
    tuner = run(made(build, tmp_path, initial_settings=settings), blobs)
    study, trials = tuner.oracle.study, tuner.oracle.trials
    assert [t.state.name for t in study.trials] == ["COMPLETE"] * 6
    assert [row.at_once for row in tuner.lane_report()] == [3]
    assert study.trials[0].params == settings[0]
    for number, trial in enumerate(trials.values()):
        told = study.trials[number]
        assert told.params == trial.hyperparameters.values
        assert list(told.intermediate_values) == [0, 1, 2]
        assert told.value == trial.score == min(told.intermediate_values.values())
    assert study.best_value == tuner.oracle.get_best_trials()[0].score
    # What resumes it, and has other arguments, knows all of it and goes on.
    again = run(made(build, tmp_path, max_trials=8, initial_settings=settings), blobs)
    assert len(again.oracle.study.trials) == 8
    assert len(again.get_best_models(8)) == 8
    assert len(again.results()) == 8
    # Another model of other values is another search.
    with pytest.raises(ValueError, match=r"another space: 'rate' is Float 0.0 to 0.9 here and"):
        made(lambda hp: [hp.Float("rate", 0.0, 0.9), build(hp)][1], tmp_path)
    fresh = made(build, tmp_path, overwrite=True)
    assert fresh.oracle.study.trials == []


def test_a_pruner_ends_lanes_and_the_study_knows(build, blobs, tmp_path):
    pruner = optuna.pruners.PercentilePruner(1.0, n_startup_trials=2)
    tuner = run(made(build, tmp_path, pruner=pruner, max_trials=9), blobs, epochs=6)
    states = [trial.state.name for trial in tuner.oracle.study.trials]
    assert {"COMPLETE", "PRUNED"} == set(states)
    assert {trial.status for trial in tuner.oracle.trials.values()} == {"COMPLETED"}
    for trial in tuner.oracle.study.trials:
        assert (len(trial.intermediate_values) < 6) == (trial.state.name == "PRUNED")


def test_folds_are_one_trial(build, blobs, tmp_path):
    tuner = run(made(build, tmp_path, folds=2, max_lanes=None, max_trials=3), blobs)
    for number, trial in enumerate(tuner.oracle.trials.values()):
        assert tuner.oracle.study.trials[number].value == trial.score
    assert tuner.select().trial.trial_id in tuner.oracle.trials


def test_a_time_limit_leaves_trials_to_the_next_search(build, blobs, tmp_path):
    tuner = made(build, tmp_path, max_trials=5, max_lanes=2)
    run(tuner, blobs, time_limit=1e-6)
    done = sum(t.state.name == "COMPLETE" for t in tuner.oracle.study.trials)
    assert 1 <= done < 5
    run(tuner, blobs)
    found = [t.status for t in tuner.oracle.trials.values()]
    assert found == ["COMPLETED"] * 5
    assert tuner.oracle.study.trials[-1].state.name == "COMPLETE"


class Interrupts(keras.callbacks.Callback):
    """What a person does who ends a search by its keys."""

    def on_epoch_end(self, epoch, logs=None):
        raise KeyboardInterrupt


def test_a_search_that_is_interrupted_is_gone_on_with(build, blobs, tmp_path):
    tuner = made(build, tmp_path, max_trials=4, max_lanes=2)
    with pytest.raises(KeyboardInterrupt):
        run(tuner, blobs, callbacks=[Interrupts()])
    assert [t.state.name for t in tuner.oracle.study.trials] == ["RUNNING"] * 2
    run(tuner, blobs)
    assert [t.status for t in tuner.oracle.trials.values()] == ["COMPLETED"] * 4
    states = [t.state.name for t in tuner.oracle.study.trials]
    assert states == ["FAIL"] * 2 + ["COMPLETE"] * 4


class WithZeros(keras_tuner.HyperModel):
    """Its second objective is known when the training has ended."""

    def __init__(self, build):
        super().__init__()
        self.own = build

    def build(self, hp):
        return self.own(hp)

    def fit(self, hp, model, *args, **kwargs):
        history = model.fit(*args, **kwargs)
        size = sum(float(np.abs(value).sum()) for value in model.get_weights())
        return {"val_accuracy": max(history.history["val_accuracy"]), "size": size}


def test_several_objectives_of_lanes(build, blobs, tmp_path):
    objectives = [
        keras_tuner.Objective("val_accuracy", "max"),
        keras_tuner.Objective("size", "min"),
    ]
    tuner = run(made(WithZeros(build), tmp_path, objective=objectives), blobs)
    study, front = tuner.oracle.study, tuner.oracle.pareto_front()
    assert [t.state.name for t in study.trials] == ["COMPLETE"] * 6
    assert {f"{t.number:04d}" for t in study.best_trials} == {t.trial_id for t in front}
    assert study.trials[0].values[1] == tuner.oracle.trials["0000"].metrics.get_best_value("size")
    assert len(tuner.get_best_models(2)) == 2


def test_keras_tuners_own_tuner_takes_the_oracle(build, blobs, tmp_path):
    for most in (2, 3):  # The second one resumes.
        oracle = tuners.StudyOracle("val_loss", most, seed=1)
        tuner = keras_tuner.Tuner(oracle, build, directory=tmp_path, project_name="project")
        run(tuner, blobs, epochs=2)
    assert [t.state.name for t in oracle.study.trials] == ["COMPLETE"] * 3
    assert [t.status for t in oracle.trials.values()] == ["COMPLETED"] * 3
    assert oracle.study.best_value == pytest.approx(oracle.get_best_trials()[0].score)


def _of_depths(hp):
    """Each number of layers is a program; the learning rate is a value of it."""
    model = keras.Sequential([keras.Input((6,))])
    for _ in range(hp.Int("depth", 1, 6)):
        model.add(keras.layers.Dense(4, "tanh"))
    model.add(keras.layers.Dense(3))
    rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(rate), loss)
    return model


def test_a_block_of_trials_has_one_structure(blobs, tmp_path):
    given = {"sampler": "random", "max_trials": 9, "max_lanes": 3}
    tuner = run(made(_of_depths, tmp_path, trials_per_structure=3, **given), blobs, epochs=1)
    trials = tuner.oracle.study.trials
    depths = [trial.params["depth"] for trial in trials]
    blocks = [set(depths[first : first + 3]) for first in (0, 3, 6)]
    assert [len(block) for block in blocks] == [1, 1, 1]
    assert len(set(depths)) > 1
    assert len({trial.params["learning_rate"] for trial in trials}) == 9
    # What the study has is what was trained.
    for number, trial in enumerate(tuner.oracle.trials.values()):
        assert trials[number].params == trial.hyperparameters.values
    assert {row.at_once for row in tuner.lane_report()} == {3}
    # Settings that are queued are no part of a block.
    settings = [{"depth": depth, "learning_rate": 0.01} for depth in (6, 1, 5)]
    more = made(
        _of_depths, tmp_path / "more", trials_per_structure=3, initial_settings=settings, **given
    )
    trials = run(more, blobs, epochs=1).oracle.study.trials
    assert [trial.params for trial in trials[:3]] == settings
    assert len({trial.params["depth"] for trial in trials[3:6]}) == 1
