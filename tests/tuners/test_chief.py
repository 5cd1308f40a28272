"""KerasTuner's chief and workers: with our tuners no trial is lost, and nobody waits for ever."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import keras
import keras_tuner
import numpy as np
import pytest

from kerasreg import tuners
from kerasreg._keras import keras_tuner_internals as internals
from kerasreg.tuners import _best_epochs, _chief, _learning_curves, _search_log
from kerasreg.tuners._best_epochs import TrialWeights
from kerasreg.tuners._crash_safe import StateFiles
from kerasreg.tuners._learning_curves import LearningCurves
from kerasreg.tuners._search_log import SearchLog
from kerasreg.tuners._stop import SearchStopped

PROGRAM = os.path.join(os.path.dirname(__file__), "chief_program.py")


class Parabola(keras_tuner.Tuner):
    """Trains nothing."""

    def run_trial(self, trial, **kwargs):
        return trial.hyperparameters.Float("x", -1.0, 1.0) ** 2


def free_port():
    with socket.socket() as at:
        at.bind(("127.0.0.1", 0))
        return at.getsockname()[1]


def take_part(monkeypatch, name):
    monkeypatch.setenv("KERASTUNER_TUNER_ID", name)
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(free_port()))


@pytest.fixture
def chief_of(monkeypatch, tmp_path):
    """Makes a chief of a number of trials, of which nothing is served."""
    take_part(monkeypatch, "chief")
    monkeypatch.setenv("KERASREG_WORKER_TIMEOUT", "0.2")

    def make(trials, cls=keras_tuner.oracles.RandomSearchOracle, **given):
        hp = keras_tuner.HyperParameters()
        hp.Float("x", -1.0, 1.0)
        objective = keras_tuner.Objective("score", "min")
        oracle = cls(objective, max_trials=trials, hyperparameters=hp, seed=1, **given)
        tuner = Parabola(oracle=oracle, directory=tmp_path, project_name="project")
        oracle.verbose = 0
        chief = _chief.Chief(tuner)
        StateFiles(tuner)
        return chief

    return make


def end(chief, trial, score=0.5, status="COMPLETED"):
    """What a worker tells of a trial, as it comes from the wire: another object."""
    if status == "COMPLETED":
        chief.update_trial(trial.trial_id, {"score": score})
    told = keras_tuner.engine.trial.Trial(trial.hyperparameters, trial.trial_id, status)
    chief.end_trial(told)


def test_trials_of_a_silent_worker_are_given_to_another_one(chief_of):
    chief = chief_of(2)
    lost = chief.create_trial("a#1~lane-0")
    kept = chief.create_trial("b#1~lane-0")
    # There is no other trial, and this one may still be lost.
    assert chief.create_trial("b#1~lane-1").status == "IDLE"
    end(chief, kept)
    assert not chief._is_over()
    time.sleep(0.3)
    chief.get_trial(kept.trial_id)
    chief._look()
    again = chief.create_trial("b#1~lane-0")
    assert again.trial_id == lost.trial_id
    assert again.hyperparameters.values == lost.hyperparameters.values
    end(chief, again)
    # The lost worker comes back, too late.
    end(chief, lost, score=-1.0)
    assert chief._oracle.trials[lost.trial_id].score == 0.5
    assert chief._oracle.end_order == [kept.trial_id, lost.trial_id]
    assert chief.create_trial("b#1~lane-0").status == "STOPPED"
    time.sleep(0.3)  # Until nobody can ask any more who does not know the end.
    assert chief._is_over()


def test_a_worker_that_asks_for_its_trial_lives(chief_of):
    chief = chief_of(2)
    trial = chief.create_trial("a#1~lane-0")
    for _ in range(4):
        time.sleep(0.1)
        chief.get_trial(trial.trial_id)
        chief._look()
    assert not internals.retry_queue(chief._oracle)


def test_a_worker_of_keras_tuner_keeps_its_trial_and_that_is_said(chief_of, capsys):
    chief = chief_of(2)
    chief.create_trial("old")
    time.sleep(0.3)
    chief._look()
    assert not internals.retry_queue(chief._oracle)
    assert "'old' tells nothing while it trains" in capsys.readouterr().err
    chief.create_trial("old")
    assert "old" not in capsys.readouterr().err  # Once.


def test_a_chief_that_is_started_again_leaves_trials_to_those_that_run_them(chief_of):
    first = chief_of(3)
    trial = first.create_trial("a#1~lane-0")
    other = first.create_trial("old")
    chief = chief_of(3)
    # That of a worker that tells nothing is given again, and counts once.
    assert chief.create_trial("b#1~lane-0").trial_id == other.trial_id
    assert chief.create_trial("b#1~lane-1").trial_id not in (trial.trial_id, other.trial_id)
    end(chief, trial)
    assert chief._oracle.end_order == [trial.trial_id]


def test_failed_trials_end_the_search_for_all(chief_of):
    chief = chief_of(9, max_consecutive_failed_trials=2)
    with internals.failures_uncounted(chief._oracle):
        for _ in range(2):
            trial = chief.create_trial("a#1~lane-0")
            folder = internals.trial_folder(chief._oracle, trial.trial_id)
            with open(os.path.join(folder, "message.txt"), "w") as file:
                file.write("Traceback\nValueError: no model")
            end(chief, trial, status="FAILED")
    assert chief.create_trial("a#1~lane-0").status == "STOPPED"
    assert chief.create_trial("b#1~lane-0").status == "STOPPED"
    assert chief._is_over()
    with pytest.raises(RuntimeError, match="ValueError: no model"):
        chief._failures.check()


def test_a_chief_that_is_asked_to_stop_stops(chief_of):
    chief = chief_of(2)
    chief.create_trial("a#1~lane-0")
    counts = []
    chief.look = lambda count: counts.append(count) or setattr(chief.stopping, "asked", True)
    with pytest.raises(SearchStopped):
        chief.serve()
    assert counts == [1]


def test_no_reason_is_made_up_for_a_trial_whose_worker_says_none(chief_of):
    chief = chief_of(9, max_consecutive_failed_trials=2)
    with internals.failures_uncounted(chief._oracle):
        for _ in range(2):
            end(chief, chief.create_trial("old"), status="FAILED")
    with pytest.raises(RuntimeError, match="2 of: its worker has not said why"):
        chief._failures.check()


@pytest.mark.parametrize("given", ["soon", "0", "-1", "nan"])
def test_a_time_that_is_none_is_refused(monkeypatch, given):
    monkeypatch.setenv("KERASREG_WORKER_TIMEOUT", given)
    with pytest.raises(ValueError, match="KERASREG_WORKER_TIMEOUT"):
        _chief.silence()


@pytest.mark.parametrize("role", ["chief", "worker1"])
def test_searches_that_cannot_have_a_chief_say_so(monkeypatch, tmp_path, role):
    take_part(monkeypatch, role)
    given = {"directory": tmp_path, "max_epochs": 2}
    with pytest.raises(ValueError, match="`KERASTUNER_ORACLE_IP` must not be set"):
        tuners.VectorizedHyperband(lambda hp: None, "val_loss", **given)
    with pytest.raises(ValueError, match="copies weights and settings among the trials"):
        tuners.PopulationBasedTraining(lambda hp: None, "val_loss", directory=tmp_path)
    pytest.importorskip("optuna")
    with pytest.raises(ValueError, match="needs no chief"):
        tuners.VectorizedStudySearch(lambda hp: None, "val_loss", directory=tmp_path)


@pytest.mark.parametrize(("role", "is_kept"), [("worker1", True), ("chief", False)])
def test_a_worker_that_is_to_overwrite_deletes_nothing(monkeypatch, tmp_path, role, is_kept):
    take_part(monkeypatch, role)
    kept = tmp_path / "project" / "kept"
    kept.parent.mkdir()
    kept.touch()
    given = {"directory": tmp_path, "project_name": "project", "overwrite": True}
    tuners.VectorizedRandomSearch(lambda hp: None, "val_loss", max_trials=1, **given)
    assert kept.exists() is is_kept


def test_a_taken_address_is_told(monkeypatch, tmp_path):
    take_part(monkeypatch, "chief")
    objective = keras_tuner.Objective("score", "min")
    oracle = keras_tuner.oracles.RandomSearchOracle(objective, max_trials=1)
    taken = pytest.raises(RuntimeError, match="another program does")
    with internals.oracle_served(oracle), taken, internals.oracle_served(oracle):
        pass


def test_a_worker_says_that_it_waits_and_gives_up(monkeypatch, tmp_path, capsys):
    take_part(monkeypatch, "worker1")
    monkeypatch.setattr(_chief, "_PATIENCE", 0.1)
    monkeypatch.setattr(internals.ChiefConnection, "answers", lambda self, seconds: False)
    hp = keras_tuner.HyperParameters()
    oracle = keras_tuner.oracles.RandomSearchOracle(
        keras_tuner.Objective("score", "min"), max_trials=1, hyperparameters=hp
    )
    tuner = tuners.crash_safe(Parabola(oracle=oracle, directory=tmp_path))
    with pytest.raises(RuntimeError, match="does not answer"):
        tuner.search()
    assert "this worker waits" in capsys.readouterr().err
    assert not os.path.exists(internals.oracle_path(oracle))  # Which is the chief's.


def history(trial, epochs=2):
    found = keras.callbacks.History()
    found.epoch = list(range(epochs))
    found.history = {name: [1.0, 0.5][:epochs] for name in ("loss", "val_loss")}
    return trial, [found]


def test_what_workers_know_of_their_trials_is_in_parts_until_the_chief_gathers_them(tmp_path):
    objective, folder = keras_tuner.Objective("val_loss", "min"), str(tmp_path)
    processes = [(LearningCurves(objective, part), SearchLog(part=part)) for part in "ab"]
    for number, (curves, log) in enumerate(processes):
        trial = str(number)
        curves.keep(*history(trial))
        log.begin()
        log.lanes(1)
        log.trial_began(trial)
        log.trial_ended(trial, None, None)
        log.end()
    for _ in range(2):  # In turn, and again and again.
        for number, (curves, log) in enumerate(processes):
            curves.write([str(number)], folder)
            log.write(folder, {str(number): {"seconds": number + 1.0}})

    def known():
        curves = [one["trial"] for one in _learning_curves.read(folder, "val_loss")]
        log = _search_log.read(folder)
        seconds = {trial: of["seconds"] for trial, of in log["trials"].items()}
        return sorted(curves), seconds, len(log["lanes"])

    whole = ["0", "1"], {"0": 1.0, "1": 2.0}, 2
    assert known() == whole
    assert len(os.listdir(tmp_path)) == 4
    (tmp_path / "search_log-c.json").write_text("{")  # Of a worker whose disk was full.
    assert "search_log-c.json" in _search_log.damage(folder)
    chief = LearningCurves(objective), SearchLog()
    chief[0].gather(["0", "1"], folder)
    chief[1].gather(folder)
    assert known() == whole
    assert sorted(os.listdir(tmp_path)) == ["learning_curves.json", "search_log.json"]


def test_weights_of_a_trial_that_two_workers_train_are_in_files_of_their_own(tmp_path):
    for part, value in (("a", 1.0), ("b", 2.0)):
        # Both have looked for the last number before the other one wrote.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_best_epochs, "_names", lambda folder: [])
            of = {(0, None): [np.array([value])]}
            _best_epochs.write(str(tmp_path), [TrialWeights("0", of, of[0, None])], part)
    assert len(os.listdir(tmp_path)) == 2
    assert _best_epochs.read_all(str(tmp_path), ["0"])["0"][0][0] in (1.0, 2.0)
    _best_epochs.write(str(tmp_path), [TrialWeights("0", {(0, None): [np.ones(1)]}, [])], "c")
    assert sorted(os.listdir(tmp_path))[-1].startswith("lanes-000002-")


def worker_of(tmp_path, monkeypatch, told, build=lambda hp: None):
    """A worker whose chief, which is not there, tells such statuses of trials."""
    take_part(monkeypatch, "worker1")
    given = {"directory": tmp_path, "project_name": "project", "max_trials": 3}
    tuner = tuners.VectorizedRandomSearch(build, "val_loss", **given)

    def ask(what, trial_id):
        return keras_tuner.engine.trial.Trial(None, trial_id, told[trial_id])

    monkeypatch.setattr(tuner.oracle, "_ask", ask)
    return tuner


def test_a_worker_keeps_no_weights_of_a_trial_that_another_one_has_ended(monkeypatch, tmp_path):
    tuner = worker_of(tmp_path, monkeypatch, {"0": "COMPLETED", "1": "RUNNING"})
    of = {(0, None): [np.ones(2)]}
    weights = [TrialWeights(trial, of, of[0, None]) for trial in "01"]
    tuner.keep_ended(["0", "1"], weights)
    assert list(_best_epochs.read_all(tuner.project_dir, ["0", "1"])) == ["1"]


def test_a_worker_knows_how_often_its_trial_has_failed_elsewhere(monkeypatch, tmp_path):
    take_part(monkeypatch, "chief")
    hp = keras_tuner.HyperParameters()
    hp.Float("x", -1.0, 1.0)
    given = {"hyperparameters": hp, "max_trials": 3, "max_retries_per_trial": 2, "seed": 1}
    oracle = keras_tuner.oracles.RandomSearchOracle(keras_tuner.Objective("score", "min"), **given)
    tuner = Parabola(oracle=oracle, directory=tmp_path, project_name="project")
    chief = _chief.Chief(tuner)
    StateFiles(tuner)
    end(chief, chief.create_trial("a#1~lane-0"), status="INVALID")
    again = chief.create_trial("b#1~lane-0")
    worker = worker_of(tmp_path, monkeypatch, {}).oracle
    monkeypatch.setattr(worker, "_ask", lambda what, place: again)
    monkeypatch.setattr(worker, "_beat", lambda: None)
    trial = worker.create_trial("tuner0")
    assert internals.run_counts(worker)[trial.trial_id] == 1


def test_a_worker_deletes_no_checkpoint_of_another_one(monkeypatch, tmp_path):
    tuner = worker_of(tmp_path, monkeypatch, {})
    folder = os.path.join(tuner.project_dir, "checkpoints")
    os.makedirs(folder)
    names = ["checkpoint-b.npz", ".checkpoint-b.npz.begun"]
    for name in names:
        open(os.path.join(folder, name), "wb").close()
    checkpoints = tuner._new_checkpoints()
    checkpoints.begin()
    with pytest.warns(UserWarning, match="cannot be read"):
        checkpoints.close()
    assert sorted(os.listdir(folder)) == sorted(names)


class Processes:
    """A chief and workers on this machine."""

    def __init__(self, kind, trials, nap, folder):
        self._arguments, self._folder = [kind, trials, nap, folder], folder
        self._port, self._running = free_port(), {}

    def start(self, name):
        given = {
            "KERASTUNER_TUNER_ID": name,
            "KERASTUNER_ORACLE_IP": "127.0.0.1",
            "KERASTUNER_ORACLE_PORT": str(self._port),
            "KERASREG_WORKER_TIMEOUT": "6",
            "CUDA_VISIBLE_DEVICES": "-1",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        self._running[name] = subprocess.Popen(
            [sys.executable, PROGRAM, *map(str, self._arguments)],
            env={**os.environ, **given},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, condition, seconds=120):
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, "it takes too long"
            time.sleep(0.1)

    def running_trials(self):
        try:
            with open(os.path.join(self._folder, "project", "oracle.json")) as file:
                return json.load(file)["ongoing_trials"]
        except (OSError, ValueError):
            return {}

    def kill(self, name):
        process = self._running.pop(name)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL

    def end(self):
        """What each printed: the object, and what it told beside it."""
        found = {}
        for name, process in self._running.items():
            out, err = process.communicate(timeout=200)
            assert process.returncode == 0, err[-3000:]
            found[name] = json.loads(out.splitlines()[-1]), err
        return found

    def stop(self):
        for process in self._running.values():
            process.kill()


@pytest.fixture
def processes(tmp_path):
    made = []

    def make(kind, trials, nap):
        made.append(Processes(kind, trials, nap, tmp_path))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.mark.long
@pytest.mark.parametrize("kind", ["random", "bayesian", "plain"])
def test_a_chief_and_two_workers_of_which_one_is_killed(kind, processes, tmp_path):
    all_of_them = processes(kind, 6, 1.0)
    for name in ("chief", "worker1"):
        all_of_them.start(name)

    def worker1_has_one():
        kept = kind == "plain" or list((tmp_path / "project").glob("checkpoints/checkpoint-*"))
        running = all_of_them.running_trials()
        return kept and any(place.startswith("worker1#") for place in running)

    all_of_them.wait_for(worker1_has_one)
    all_of_them.kill("worker1")
    all_of_them.start("worker2")
    found = all_of_them.end()
    chief, said = found["chief"]
    assert [status for status, _ in chief["trials"].values()] == ["COMPLETED"] * 6
    assert sorted(chief["ended"]) == sorted(chief["trials"])  # Each of them once.
    assert "not heard for 6 s: worker1" in said
    assert chief["weights"] == 2
    worker, _ = found["worker2"]
    assert worker["best"] == chief["best"]
    if kind == "plain":
        return
    for one in (chief, worker):  # Each knows what all of them have done.
        assert sorted(one["trials"]) == sorted(chief["trials"])
        assert one["curves"] == one["timed"] == sorted(chief["trials"])
        assert one["chosen"] == one["confirmed"][0]
    assert worker["chosen"] == chief["chosen"]
    # No trial has had its first epoch twice: what the killed worker had goes on.
    assert min(chief["begun"], worker["begun"]) == 6
    # The report of all trials is the chief's, and what workers have left is in one file.
    with open(tmp_path / "report.json") as file:
        report = json.load(file)
    assert [row["status"] for row in report["trials"]] == ["COMPLETED"] * 6
    assert report["progress"]["state"] == "finished"
    names = os.listdir(tmp_path / "project")
    assert {"learning_curves.json", "search_log.json"} <= set(names)
    assert not [name for name in names if name.startswith("checkpoint")]
    assert len([name for name in names if name.startswith("again-")]) == 2


@pytest.mark.long
def test_failed_trials_of_workers_end_the_chief_with_their_message(processes):
    all_of_them = processes("failing", 9, 0.0)
    for name in ("chief", "worker1"):
        all_of_them.start(name)
    found = all_of_them.end()
    assert "ValueError: no model for" in found["chief"][0]["error"]
