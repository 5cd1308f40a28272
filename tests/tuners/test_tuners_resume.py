"""`crash_safe`: a search that is killed at any instant can be read and resumed."""

import contextlib
import errno
import glob
import io
import json
import os

import keras_tuner
import pytest
from helpers.processes import needs_fork, run_program

from kerasreg import tuners
from kerasreg._keras import keras_tuner_internals as internals

PROGRAM = os.path.join(os.path.dirname(__file__), "kills_program.py")

ENDED = ("COMPLETED", "FAILED")


def statuses(state):
    return {name: status for name, (status, _, _) in state["trials"].items()}


# Kills.


@pytest.mark.long
@needs_fork
@pytest.mark.parametrize("kind", ["discovered", "failing", "hyperband", "grid"])
def test_a_search_killed_at_any_write_is_whole_and_resumes_to_the_same_results(kind, tmp_path):
    found = run_program(PROGRAM, "writes", kind, tmp_path)
    whole = found["whole"]
    assert len(whole["trials"]) >= 3
    # Two writes at the start, and each trial has several.
    assert len(found["killed"]) > 2 + 3 * len(whole["trials"])
    wrong = []
    for number, killed in enumerate(found["killed"]):
        assert killed["left"]["broken"] == killed["resumed"]["broken"] == []
        if killed["exit_code"] != 0 or killed["resumed"]["trials"] != whole["trials"]:
            wrong.append((number, killed["exit_code"], statuses(killed["resumed"])))
        # What had ended is not run again.
        left = statuses(killed["left"])
        assert not [name for name in killed["run_again"] if left.get(name) in ENDED]
    assert wrong == []


@pytest.mark.long
@needs_fork
@pytest.mark.parametrize("kind", ["lanes", "folds"])
def test_a_search_with_lanes_killed_at_any_time_resumes(kind, tmp_path):
    found = run_program(PROGRAM, "moments", kind, 5, 5, tmp_path)
    assert found["exit_code"] == 0
    assert found["resumed"]["broken"] == []
    assert [killed["left"]["broken"] for killed in found["killed"]] == [[]] * 5
    assert statuses(found["resumed"]) == dict.fromkeys("01234", "COMPLETED")
    # The same settings were tried.
    for name, (_, values, _) in found["resumed"]["trials"].items():
        assert values == found["whole"]["trials"][name][1]
    if kind == "folds":
        whole, resumed = found["ensembles"]
        for row, expected in zip(resumed["rows"], whole["rows"], strict=True):
            assert row == {**expected, "score": pytest.approx(expected["score"], rel=1e-4)}
        assert resumed["score"] == pytest.approx(whole["score"], rel=1e-4)


@pytest.mark.long
@needs_fork
def test_a_killed_bayesian_search_resumes_to_as_many_trials(tmp_path):
    # Not to the same ones: KerasTuner does not save the random state of its optimizer.
    found = run_program(PROGRAM, "moments", "bayesian", 3, 3, tmp_path)
    assert found["exit_code"] == 0
    assert statuses(found["resumed"]) == dict.fromkeys("0123", "COMPLETED")
    # The points before the first fit do not depend on that state.
    for name in "012":
        assert found["resumed"]["trials"][name] == found["whole"]["trials"][name]


@pytest.mark.long
@needs_fork
@pytest.mark.parametrize(("kind", "kills"), [("random", 12), ("network", 4)])
def test_a_search_killed_many_times_at_random_moments_ends_as_if_it_never_was(
    kind, kills, tmp_path
):
    found = run_program(PROGRAM, "moments", kind, 11, kills, tmp_path)
    assert len(found["killed"]) == kills
    assert any(killed["exit_code"] != 0 for killed in found["killed"])
    before = {}
    for killed in found["killed"]:
        assert killed["left"]["broken"] == []
        # No trial is lost, and none that has ended is run or written again.
        assert before.keys() <= killed["left"]["trials"].keys()
        for name, trial in before.items():
            if trial[0] == "COMPLETED":
                assert killed["left"]["trials"][name] == trial
        before = killed["left"]["trials"]
    assert found["exit_code"] == 0
    assert found["resumed"] == found["whole"]
    trials = "0123" if kind == "random" else "012"
    assert statuses(found["resumed"]) == dict.fromkeys(trials, "COMPLETED")


# Writes that fail, and readers.


class BlackBox(keras_tuner.RandomSearch):
    before_trial = staticmethod(lambda: None)

    def run_trial(self, trial):
        self.before_trial()
        return trial.hyperparameters.get("x") ** 2


def begin(folder, seed=5):
    """Begins, or resumes, a search that is kept whole."""
    hp = keras_tuner.HyperParameters()
    hp.Float("x", -1.0, 1.0)
    with contextlib.redirect_stdout(io.StringIO()):
        tuner = BlackBox(
            objective=keras_tuner.Objective("score", "min"),
            hyperparameters=hp,
            max_trials=3,
            seed=seed,
            directory=folder,
            project_name="project",
        )
    tuner.oracle.verbose = 0
    return tuners.crash_safe(tuner)


def files(folder):
    """Every file below a folder with its content."""
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            with open(path) as file:
                found[os.path.relpath(path, folder)] = file.read()
    return found


def results(tuner):
    return {
        name: (trial.status, trial.hyperparameters.values, trial.score)
        for name, trial in tuner.oracle.trials.items()
    }


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_state_whole(function, tmp_path):
    whole = begin(tmp_path / "whole")
    tuners.run_search(whole)
    real = getattr(os, function)
    failed = 0
    while True:
        folder = tmp_path / str(failed)
        folder.mkdir()
        calls, old = 0, None

        def full(*args, folder=folder, allowed=failed):
            nonlocal calls, old
            calls += 1
            if calls <= allowed:
                return real(*args)
            if old is None:  # The state on disk without the file that is being written.
                old = {path: text for path, text in files(folder).items() if ".json." not in path}
            raise OSError(errno.ENOSPC, "No space left on device")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, function, full)
            error = None
            try:
                tuners.run_search(begin(folder))
            except OSError as raised:
                error = raised.errno
        if error is None:  # All writes were allowed.
            break
        assert error == errno.ENOSPC
        # Exactly the old files: none changed, none in part, none left beside.
        assert files(folder) == old
        resumed = begin(folder)
        tuners.run_search(resumed)
        assert results(resumed) == results(whole)
        failed += 1
    assert failed > 10


def test_a_state_file_that_is_open_never_changes_under_its_reader(tmp_path):
    tuner = begin(tmp_path)
    opened = []

    def open_all():
        for path in glob.glob(str(tmp_path / "project" / "**" / "*.json"), recursive=True):
            file = open(path)  # noqa: SIM115
            opened.append((file, file.read()))

    tuner.before_trial = open_all
    tuners.run_search(tuner)
    names = {os.path.basename(file.name) for file, _ in opened}
    assert names == {"oracle.json", "tuner0.json", "trial.json"}
    for file, text in opened:
        json.loads(text)
        file.seek(0)
        assert file.read() == text
        file.close()
    # They were replaced since, all but those of trials that had ended.
    assert files(tmp_path)["project/oracle.json"] not in [text for _, text in opened]


def test_no_file_is_left_beside_the_state(tmp_path):
    tuners.run_search(begin(tmp_path))
    assert set(files(tmp_path)) == {
        "project/oracle.json",
        "project/tuner0.json",
        *(f"project/trial_{number}/trial.json" for number in range(3)),
    }


# What `crash_safe` gives.


def test_the_same_tuner_is_returned(tmp_path):
    tuner = BlackBox(max_trials=1, directory=tmp_path)
    assert tuners.crash_safe(tuner) is tuner


def test_a_tuner_that_is_crash_safe_already_stays_as_it_is(build, tmp_path):
    for tuner in (
        tuners.VectorizedRandomSearch(build, "val_loss", directory=tmp_path / "lanes"),
        begin(tmp_path / "other"),
    ):
        before = tuner.save, tuner.oracle.save
        assert tuners.crash_safe(tuner) is tuner
        assert (tuner.save, tuner.oracle.save) == before


def test_a_search_that_has_ended_is_not_run_again(tmp_path):
    first = begin(tmp_path)
    tuners.run_search(first)
    second = begin(tmp_path)

    def never():
        raise AssertionError("a trial was run again")

    second.before_trial = never
    assert [trial.score for trial in tuners.run_search(second)] == sorted(
        score for _, _, score in results(first).values()
    )


def test_an_interrupted_trial_runs_again_and_the_others_do_not(tmp_path):
    tuner = begin(tmp_path)
    run = []

    def interrupted():
        run.append(None)
        if len(run) == 2:
            raise KeyboardInterrupt

    tuner.before_trial = interrupted
    with pytest.raises(KeyboardInterrupt):
        tuners.run_search(tuner)
    resumed = begin(tmp_path)
    again = []
    resumed.before_trial = lambda: again.append(None)
    tuners.run_search(resumed)
    assert len(again) == 2
    assert {status for status, _, _ in results(resumed).values()} == {"COMPLETED"}
    assert len(results(resumed)) == 3


def test_a_first_trial_that_is_interrupted_keeps_its_setting(tmp_path):
    # Without a seed: a search that began anew would draw another setting.
    tuner = begin(tmp_path, seed=None)
    settings = []

    def interrupted():
        settings.append(tuner.oracle.get_trial("0").hyperparameters.values)
        raise KeyboardInterrupt

    tuner.before_trial = interrupted
    with pytest.raises(KeyboardInterrupt):
        tuners.run_search(tuner)
    resumed = begin(tmp_path, seed=None)
    tuners.run_search(resumed)
    assert resumed.oracle.get_trial("0").hyperparameters.values == settings[0]


def test_a_trial_is_scored_by_the_run_that_ended_not_by_one_that_was_cut_off(tmp_path):
    tuner = begin(tmp_path)

    def interrupted(trial):  # After its score was reported.
        assert tuner.oracle.get_trial("0").metrics.exists("score")
        raise KeyboardInterrupt

    tuner.run_trial, tuner.on_trial_end = (lambda trial: 1.0), interrupted
    with pytest.raises(KeyboardInterrupt):
        tuners.run_search(tuner)
    resumed = begin(tmp_path)
    resumed.run_trial = lambda trial: 2.0
    tuners.run_search(resumed)
    assert [trial.score for trial in resumed.oracle.trials.values()] == [2.0, 2.0, 2.0]


def test_a_plain_kerastuner_reads_the_state(tmp_path):
    tuner = begin(tmp_path)
    tuners.run_search(tuner)
    plain = BlackBox(
        objective=keras_tuner.Objective("score", "min"),
        max_trials=3,
        directory=tmp_path,
        project_name="project",
    )
    assert results(plain) == results(tuner)


class Killed(BaseException):
    """In the place of the end of the process."""


def test_a_trial_that_is_to_be_tried_again_when_the_process_ends_is_tried_once(tmp_path):
    run = []

    def made():
        class Parabola(keras_tuner.RandomSearch):
            def run_trial(self, trial):
                run.append(trial.trial_id)
                if run == ["0"]:
                    raise ValueError("at first")
                return trial.hyperparameters.Float("x", -1.0, 1.0) ** 2

        objective = keras_tuner.Objective("default_objective", "min")
        given = {"max_trials": 2, "max_retries_per_trial": 1, "seed": 1, "directory": tmp_path}
        return tuners.crash_safe(Parabola(objective=objective, **given))

    tuner = made()
    save = tuner.oracle.save

    def save_and_end():
        save()
        if tuner.oracle.ongoing_trials and internals.retry_queue(tuner.oracle):
            raise Killed  # The trial waits to be tried again, and is still known to run.

    tuner.oracle.save = save_and_end
    with pytest.raises(Killed):
        tuner.search()
    tuner = made()
    tuner.search()
    assert run == ["0", "0", "1"]
    assert tuner.oracle.end_order == ["0", "1"]


def test_what_waits_for_the_files_is_called_when_they_have_the_trial(build, blobs, tmp_path):
    called = []

    class Told(tuners.VectorizedRandomSearch):
        def on_trial_end(self, trial):
            super().on_trial_end(trial)
            path = os.path.join(self.get_trial_dir(trial.trial_id), "trial.json")

            def read(trial_id=trial.trial_id):
                with open(path, encoding="utf-8") as file:
                    called.append((trial_id, json.load(file)["status"]))

            self.when_written(read)

    tuner = Told(build, "val_loss", max_trials=3, seed=1, directory=tmp_path)
    x, y, _ = blobs
    tuner.search(x, y, epochs=1, validation_data=(x, y), verbose=0)
    assert called == [(trial, "COMPLETED") for trial in tuner.oracle.end_order]
    tuner.when_written(lambda: called.append("now"))
    assert called[-1] == "now"
