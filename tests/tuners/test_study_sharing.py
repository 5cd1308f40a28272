"""A process that shares a study: it looks on, leaves others some, hands back."""

import threading
import time

import keras_tuner
import optuna
import pytest

from kerasreg import tuners
from kerasreg._keras import keras_tuner_internals


def space():
    hp = keras_tuner.HyperParameters()
    hp.Float("x", -1.0, 1.0)
    return hp


def oracle(path, most=4, **given):
    made = tuners.StudyOracle(
        keras_tuner.Objective("score", "min"),
        max_trials=most,
        sampler="random",
        seed=3,
        storage=str(path / "study.db"),
        study_name="study",
        hyperparameters=space(),
        **given,
    )
    keras_tuner_internals.set_project(made, str(path), "project")
    made.open()
    return made


def complete(made, trial):
    made.update_trial(trial.trial_id, {"score": trial.hyperparameters.values["x"] ** 2})
    trial.status = "COMPLETED"
    made.end_trial(trial)


def asked(made, count):
    return [made.create_trial(f"tuner-{number}") for number in range(count)]


def test_trials_that_are_handed_back_go_on_elsewhere_and_as_often_as_that_is(tmp_path):
    values = None
    # More often than a trial that kills its process is tried.
    for _ in range(13):
        mine = oracle(tmp_path)
        found = asked(mine, 2)
        told = {trial.trial_id: trial.hyperparameters.values for trial in found}
        assert values in (None, told)
        values = told
        handed_back = []
        # As a thread does that waits for signals.
        thread = threading.Thread(target=lambda of=mine, to=handed_back: to.append(of.hand_back()))
        thread.start()
        thread.join()
        assert handed_back == [2]
        assert mine.create_trial("more").status == "STOPPED"
    other = oracle(tmp_path, most=2)
    for trial in asked(other, 2):
        assert trial.hyperparameters.values == values[trial.trial_id]
        complete(other, trial)
    other.refresh()
    assert other.is_over
    states = [trial.state.name for trial in other.study.trials]
    assert states.count("COMPLETE") == 2
    assert set(states) == {"COMPLETE", "FAIL"}


def test_a_search_in_which_processes_died_draws_what_one_draws_in_which_none_did(tmp_path):
    (tmp_path / "whole").mkdir()
    whole = oracle(tmp_path / "whole")
    expected = {t.trial_id: t.hyperparameters.values for t in asked(whole, 4)}
    # One that is gone after two, and one while it draws.
    gone = oracle(tmp_path)
    asked(gone, 2)
    suggest = optuna.Trial.suggest_float

    def dies(self, *given, **named):
        suggest(self, *given, **named)
        raise SystemExit

    optuna.Trial.suggest_float = dies
    try:
        with pytest.raises(SystemExit):
            gone.create_trial("third")
    finally:
        optuna.Trial.suggest_float = suggest
    gone.release()
    after = oracle(tmp_path)
    found = asked(after, 4)
    assert {t.trial_id: t.hyperparameters.values for t in found} == expected
    assert sorted(expected) == ["0000", "0001", "0002", "0003"]
    for trial in found:
        complete(after, trial)
    assert len(after.trials) == 4


def test_what_has_ended_is_not_handed_back(tmp_path):
    mine = oracle(tmp_path)
    first, _ = asked(mine, 2)
    complete(mine, first)
    assert mine.hand_back() == 1
    assert [trial.state.name for trial in mine.study.trials] == ["COMPLETE", "FAIL", "WAITING"]


def test_one_leaves_trials_to_others(tmp_path):
    mine, other = oracle(tmp_path, trials_at_once=3), oracle(tmp_path)
    found = asked(mine, 4)
    assert [trial.status for trial in found] == ["RUNNING"] * 3 + ["IDLE"]
    assert other.create_trial("tuner").status == "RUNNING"
    complete(mine, found[0])
    assert mine.create_trial("tuner-0").status == "IDLE"  # There are no more.
    with pytest.raises(ValueError, match="`trials_at_once` must be a whole number >= 1"):
        oracle(tmp_path, trials_at_once=0)


def test_what_is_done_once_is_done_by_one_that_lives(tmp_path):
    one, other = oracle(tmp_path), oracle(tmp_path)
    done, waited = [], []

    def fails():
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        one.once("end", fails)
    thread = threading.Thread(
        target=lambda: done.append(other.once("end", lambda: (time.sleep(0.8), "other")[1]))
    )
    thread.start()
    while not other.living and other._heart is None:
        time.sleep(0.01)
    time.sleep(0.2)
    done.append(one.once("end", lambda: "one", lambda: waited.append(1)))
    thread.join()
    assert sorted(done) == [(False, "other"), (True, "other")]
    assert waited == [1]
    # Those who only end a search do not run trials.
    assert (one.living, other.living) == ([], [])
    assert one.first("record", 1) == other.first("record", 2) == 1


def test_one_looks_on(tmp_path):
    mine, other = oracle(tmp_path, most=2), oracle(tmp_path, most=2)
    found = asked(mine, 2)
    other.refresh(look=True)
    assert (other.end_order, other.is_over, len(other.living)) == ([], False, 1)
    assert other.trials.keys() == {trial.trial_id for trial in found}
    complete(mine, found[1])
    other.refresh()
    assert (other.end_order, other.is_over) == ([found[1].trial_id], False)
    complete(mine, found[0])
    mine.release()
    other.refresh(look=True)
    assert (len(other.end_order), other.is_over, other.living) == (2, True, [])
    assert optuna.load_study(
        study_name="study", storage=f"sqlite:///{tmp_path}/study.db"
    ).best_value == pytest.approx(min(trial.score for trial in other.trials.values()))
