"""Names of projects are names, and no patterns; a checkpoint that is missing is told."""

import os

import keras_tuner
import numpy as np
import pytest
from helpers import data

from kerasreg import tuners
from kerasreg._keras import keras_tuner_internals as internals

pytestmark = pytest.mark.shares_programs

NAMES = ["a[1]", "[!a]", "what?*", "back\\slash", "{x}"]


@pytest.fixture(scope="module")
def small():
    x, y, _ = data.blobs(40, 20)
    return x, y


class Recorded(tuners.VectorizedHyperband):
    """Keeps the weights with which the trials of later rounds begin."""

    def build_model(self, hp):
        model = super().build_model(hp)
        if hp.values.get("tuner/trial_id") is not None:
            begun = self.__dict__.setdefault("begun", {})
            begun[hp.values["tuner/trial_id"]] = model.get_weights()
        return model


def hyperband(build, folder, **arguments):
    return Recorded(
        build, "val_loss", max_epochs=4, factor=2, seed=3, directory=folder, **arguments
    )


@pytest.mark.parametrize("name", NAMES[:2])
def test_hyperband_goes_on_in_a_project_of_any_name(name, small, build, tmp_path):
    tuner = hyperband(build, tmp_path / name, project_name=name)
    tuner.search(*small, validation_split=0.25, verbose=0)
    assert len(tuner.begun) >= 3
    for trial_id, weights in tuner.begun.items():
        model = tuner.load_model(tuner.oracle.trials[trial_id])
        for value, expected in zip(weights, model.get_weights(), strict=True):
            np.testing.assert_array_equal(value, expected)


@pytest.mark.short("a[1]", "what?*", "back\\\\slash")
@pytest.mark.parametrize("name", NAMES)
def test_the_best_model_of_a_project_of_any_name(name, small, build, tmp_path):
    (tmp_path / "a1").mkdir()  # Which a pattern would match.
    tuner = tuners.VectorizedRandomSearch(
        build, "val_loss", max_trials=2, seed=3, directory=tmp_path, project_name=name
    )
    x, y = small
    tuner.search(x, y, validation_data=(x, y), verbose=0)
    (model,) = tuner.get_best_models()
    score = tuner.oracle.get_best_trials()[0].score
    assert model.evaluate(x, y, verbose=0)[0] == pytest.approx(score, rel=1e-4)


def test_a_round_without_the_weights_of_the_round_before_fails(small, build, tmp_path):
    class Losing(Recorded):
        def build_model(self, hp):
            if hp.values.get("tuner/trial_id") is not None:
                for name in os.listdir(self.project_dir):
                    if name.startswith("lanes-"):
                        os.remove(os.path.join(self.project_dir, name))
            return super().build_model(hp)

    tuner = Losing(build, "val_loss", max_epochs=2, factor=2, seed=3, directory=tmp_path)
    try:
        tuner.search(*small, validation_split=0.25, verbose=0)
    except RuntimeError as error:
        assert "There are no weights of trial" in str(error)  # noqa: PT017 - or none is raised.
    later = [
        trial
        for trial in tuner.oracle.trials.values()
        if trial.hyperparameters.values.get("tuner/trial_id") is not None
    ]
    assert later
    assert all("There are no weights of trial" in (trial.message or "") for trial in later)


def interrupted(folder, name, run):
    """A search of KerasTuner's that has ended one trial and not another one."""

    class Parabola(keras_tuner.RandomSearch):
        def run_trial(self, trial):
            run.append(trial.trial_id)
            return trial.hyperparameters.Float("x", -1.0, 1.0) ** 2

    return Parabola(
        objective=keras_tuner.Objective("default_objective", "min"),
        max_trials=3,
        seed=1,
        directory=folder,
        project_name=name,
    )


@pytest.mark.parametrize("name", NAMES[:2])
def test_an_oracle_finds_its_trials_in_a_folder_of_any_name(name, tmp_path):
    run = []
    tuner = tuners.crash_safe(interrupted(tmp_path, name, run))
    tuner.search()
    scores = {trial_id: trial.score for trial_id, trial in tuner.oracle.trials.items()}
    again = tuners.crash_safe(interrupted(tmp_path, name, run))
    assert {trial_id: trial.score for trial_id, trial in again.oracle.trials.items()} == scores
    again.search()
    assert run == ["0", "1", "2"]
    # One that was running when the process ended.
    tuner.oracle.ongoing_trials["other"] = tuner.oracle.trials["2"]
    tuner.oracle.save()
    oracle = keras_tuner.oracles.RandomSearchOracle("val_loss", seed=1)
    oracle._set_project_dir(tmp_path, name)
    internals.reload_from_any_folder(oracle)
    oracle.reload()
    assert set(oracle.trials) == {"0", "1", "2"}
    assert internals.retry_queue(oracle) == ["2"]


def test_overwrite_deletes_the_project_and_none_that_its_name_would_match(build, tmp_path):
    for name in ("a1", "a[1]"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "kept").write_text("")
    tuners.VectorizedRandomSearch(
        build, "val_loss", directory=tmp_path, project_name="a[1]", overwrite=True
    )
    assert (tmp_path / "a1" / "kept").exists()
    assert not (tmp_path / "a[1]" / "kept").exists()
