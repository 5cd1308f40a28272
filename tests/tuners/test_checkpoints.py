"""Trials that train as lanes go on from a checkpoint: with the same results, or it is said."""

import os
import re
import signal
import types

import keras
import numpy as np
import pytest
from helpers.processes import needs_fork, run_program
from helpers.strategies import Replicas

from kerasreg import tuners
from kerasreg.layers import ScheduledDropout
from kerasreg.tuners import _best_epochs
from kerasreg.tuners._checkpoints import Checkpoints, check_every

pytestmark = pytest.mark.shares_programs

PROGRAM = os.path.join(os.path.dirname(__file__), "checkpoints_program.py")
EPOCHS = 6
BEGAN = []  # The epochs of the last search.
RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(48, 3)).astype("float32")
TARGETS = (ROWS.sum(axis=1, keepdims=True) + 0.1 * RNG.normal(size=(48, 1))).astype("float32")


def build(hp, seed=None):
    """Random masks, an optimizer with slots, a metric; the seeds of layers are drawn."""
    first, second = keras.initializers.GlorotUniform(1), keras.initializers.GlorotUniform(2)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, "tanh", kernel_initializer=first),
            keras.layers.Dropout(hp.Float("rate", 0.1, 0.5), seed=seed),
            ScheduledDropout(0.2, seed=seed),
            keras.layers.Dense(1, kernel_initializer=second),
        ]
    )
    model.compile(keras.optimizers.Adam(hp.Float("step", 1e-3, 1e-1)), "mse", metrics=["mae"])
    return model


def seeded(hp):
    """As `build`, and the same in each process, also where it begins after the first epochs."""
    return build(hp, seed=5)


class Stopping(keras.callbacks.Callback):
    """Stops the search when a training is so far."""

    tuner, at = None, 0

    def on_epoch_end(self, epoch, logs=None):
        if Stopping.tuner is not None and epoch == Stopping.at:
            Stopping.tuner.stop()


class Began(keras.callbacks.Callback):
    """Notes which epochs there are in this process."""

    def on_epoch_begin(self, epoch, logs=None):
        BEGAN.append(epoch)


def callbacks():
    return [
        keras.callbacks.ReduceLROnPlateau("val_loss", patience=1, min_delta=0.01),
        keras.callbacks.EarlyStopping("val_loss", patience=3, restore_best_weights=True),
        Stopping(),
        Began(),
    ]


def search(folder, stop=None, hypermodel=build, given=callbacks, epochs=EPOCHS, **arguments):
    """Begins a search, or goes on; until all of its trainings that run have had an epoch."""
    keras.utils.set_random_seed(3)
    BEGAN.clear()
    tuner = tuners.VectorizedRandomSearch(
        hypermodel, "val_loss", max_trials=4, seed=1, directory=folder, **arguments
    )
    Stopping.tuner, Stopping.at = (None if stop is None else tuner), stop
    data = {} if "folds" in arguments else {"validation_data": (ROWS[:16], TARGETS[:16])}
    try:
        tuner.search(
            ROWS, TARGETS, epochs=epochs, batch_size=16, callbacks=given(), verbose=0, **data
        )
        assert stop is None
    except tuners.SearchStopped:
        assert stop is not None
    return tuner


def results(tuner):
    trials = tuner.oracle.trials
    scores = {name: (of.status, of.score, of.best_step) for name, of in trials.items()}
    weights = _best_epochs.read_all(tuner.project_dir, list(trials))
    return scores, {
        name: [[value.tobytes() for value in of_one] for of_one in of]
        for name, of in weights.items()
    }


def assert_close(one, other):
    """Other trials may train beside each, and so numbers are rounded otherwise."""
    names = list(other.oracle.trials)
    assert list(one.oracle.trials) == names
    for name in names:
        mine, its = one.oracle.trials[name], other.oracle.trials[name]
        assert (mine.status, mine.best_step) == (its.status, its.best_step)
        assert mine.score == pytest.approx(its.score, rel=1e-5)
    stored = [_best_epochs.read_all(of.project_dir, names) for of in (one, other)]
    for name in names:
        for of_one, of_other in zip(*(of[name] for of in stored), strict=True):
            for value, expected in zip(of_one, of_other, strict=True):
                np.testing.assert_allclose(value, expected, rtol=1e-3, atol=1e-5)


def checkpoints(tuner):
    folder = os.path.join(tuner.project_dir, "checkpoints")
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


CASES = {
    "trials": {},
    "folds": {"folds": 2, "batches": "own"},
    "refilled": {"max_lanes": 3, "hypermodel": seeded},
    "folds that do not run together": {"folds": 3, "max_lanes": 2, "hypermodel": seeded},
    "executions": {"executions_per_trial": 2},
}


@pytest.mark.short("trials")
@pytest.mark.parametrize("case", CASES)
def test_a_search_that_was_stopped_ends_as_one_that_was_not(case, tmp_path, recwarn):
    arguments = CASES[case]
    whole = search(tmp_path / "whole", **arguments)
    assert checkpoints(whole) == []
    stopped = search(tmp_path / "stopped", stop=2, **arguments)
    assert len(checkpoints(stopped)) == 1
    statuses = {trial.status for trial in stopped.oracle.trials.values()}
    assert "RUNNING" in statuses
    resumed = search(tmp_path / "stopped", **arguments)
    if "max_lanes" in arguments:
        assert_close(resumed, whole)
    else:
        assert results(resumed) == results(whole)
    assert checkpoints(resumed) == []
    # The epochs that they had had they did not have again.
    assert BEGAN[0] == 3
    assert not [one for one in recwarn if "again" in str(one.message)]


@pytest.mark.long
def test_any_number_of_lanes_goes_on(tmp_path):
    whole = search(tmp_path / "whole")
    search(tmp_path / "stopped", stop=2)
    resumed = search(tmp_path / "stopped", max_lanes=2)
    assert min(BEGAN) == 3
    assert_close(resumed, whole)


@pytest.mark.long
def test_a_search_may_be_stopped_again_and_again(tmp_path):
    whole = search(tmp_path / "whole", folds=2)
    for stop in (0, 1, 3):
        stopped = search(tmp_path / "stopped", stop=stop, folds=2)
        assert len(checkpoints(stopped)) == 1
    assert results(search(tmp_path / "stopped", folds=2)) == results(whole)


def wider(hp):
    model = build(hp)
    inputs = keras.Input((3,))
    other = keras.Model(inputs, keras.layers.Dense(1)(model.layers[0](inputs)))
    other.compile(keras.optimizers.Adam(hp.get("step")), "mse", metrics=["mae"])
    return other


def sloppier(hp):
    model = build(hp)
    model.compile(keras.optimizers.Adam(hp.get("step"), beta_1=0.8), "mse", metrics=["mae"])
    return model


OTHERWISE = {
    "another number": ({"hypermodel": sloppier}, "its numbers 'beta_1' differ"),
    "another model": ({"hypermodel": wider}, "its model differ"),
    "more epochs": ({"epochs": EPOCHS + 1}, "its epochs differ"),
    "other callbacks": ({"given": lambda: callbacks()[1:]}, "its callbacks differ"),
    "other executions": ({"executions_per_trial": 1, "folds": 2}, "folds"),
}


@pytest.mark.short("more epochs")
@pytest.mark.parametrize("case", OTHERWISE)
def test_a_trial_that_is_another_one_now_begins_again_and_that_is_said(case, tmp_path):
    search(tmp_path, stop=2)
    changed, said = OTHERWISE[case]
    with pytest.warns(UserWarning, match=f"Trial . begins again.*{said}"):
        resumed = search(tmp_path, **changed)
    assert 0 in BEGAN
    assert {trial.status for trial in resumed.oracle.trials.values()} == {"COMPLETED"}
    assert checkpoints(resumed) == []


@pytest.mark.long
def test_folds_that_can_no_more_run_together_begin_again(tmp_path):
    search(tmp_path, stop=2, folds=3)
    with pytest.warns(UserWarning, match="its folds are more than the 2 lanes"):
        search(tmp_path, folds=3, max_lanes=2)


class Collecting(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = types.SimpleNamespace(epochs=0)

    def on_epoch_end(self, epoch, logs=None):
        self.seen.epochs += 1


@pytest.mark.long
def test_a_callback_with_a_state_that_cannot_be_kept_is_named(tmp_path):
    given = lambda: [*callbacks(), Collecting()]  # noqa: E731
    with pytest.warns(UserWarning, match="its callback Collecting has `seen`"):
        stopped = search(tmp_path, stop=2, given=given)
    assert checkpoints(stopped) == []
    resumed = search(tmp_path, given=given)
    assert BEGAN[0] == 0
    assert {trial.status for trial in resumed.oracle.trials.values()} == {"COMPLETED"}


@pytest.mark.long
@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"not a checkpoint"])
def test_a_damaged_checkpoint_is_named_and_its_trials_begin_again(damage, tmp_path):
    whole = search(tmp_path / "whole")
    stopped = search(tmp_path / "stopped", stop=2)
    (name,) = checkpoints(stopped)
    path = os.path.join(stopped.project_dir, "checkpoints", name)
    with open(path, "wb") as file:
        file.write(damage)
    with pytest.warns(UserWarning, match=f"{re.escape(name)}.* cannot be read"):
        resumed = search(tmp_path / "stopped")
    assert results(resumed)[0].keys() == results(whole)[0].keys()
    assert checkpoints(resumed) == []


# The files.


def records(*names):
    return {name: {"values": {}, "attempt": 0} for name in names}


def test_a_process_has_one_file_at_a_time(tmp_path):
    kept = Checkpoints(str(tmp_path), 1e-6, lambda name: False, alone=True)
    for number in range(3):
        kept.write(records("0", str(number)))
    (path,) = (tmp_path / "checkpoints").iterdir()
    other = Checkpoints(str(tmp_path), 1e-6, lambda name: False, alone=True)
    assert other.find("2") == records("2")["2"]
    assert other.find("1") is None
    # What has gone over to another process is deleted when that has a checkpoint of it all.
    other.write(records("2"))
    assert path.exists()
    other.write(records("0", "2"))
    assert not path.exists()
    other.remove()
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_the_newest_checkpoint_of_a_trial_counts(tmp_path, monkeypatch):
    clock = iter(range(10))
    monkeypatch.setattr("time.time", lambda: float(next(clock)))
    for attempt in (0, 1):
        one = Checkpoints(str(tmp_path), 1e-6, lambda name: False, alone=False)
        one.write({"0": {"attempt": attempt}})
    found = Checkpoints(str(tmp_path), 1e-6, lambda name: False, alone=False).find("0")
    assert found == {"attempt": 1}


def test_what_a_killed_process_has_begun_to_write_is_deleted(tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / ".checkpoint-1.npz.abc").write_bytes(b"a part")
    Checkpoints(str(tmp_path), None, lambda name: False, alone=False).begin()
    assert list(folder.iterdir())  # Another process may be writing it.
    Checkpoints(str(tmp_path), None, lambda name: False, alone=True).begin()
    assert not list(folder.iterdir())


def test_a_checkpoint_of_another_version_is_not_used_and_that_is_said(tmp_path, monkeypatch):
    Checkpoints(str(tmp_path), 1e-6, lambda name: False, alone=True).write(records("0"))
    monkeypatch.setattr("kerasreg.tuners._checkpoints.__version__", "99.0")
    with pytest.warns(UserWarning, match=r"is of another version, and the 1 trials .*: kerasreg "):
        assert Checkpoints(str(tmp_path), 1.0, lambda name: False, alone=True).find("0") is None


@pytest.mark.filterwarnings("error")
def test_a_disk_that_is_full_is_said_once_and_ends_nothing(tmp_path, monkeypatch):
    kept = Checkpoints(str(tmp_path), 1e-6, lambda name: False, alone=True)
    usage = types.SimpleNamespace(free=10)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.warns(UserWarning, match=r"No checkpoint could be written to .*checkpoints'.*10"):
        kept.write(records("0"))
    kept.write(records("0"))
    assert list((tmp_path / "checkpoints").iterdir()) == []


@pytest.mark.parametrize("value", [0, -1, "soon", True, float("nan")])
def test_how_often_is_checked(value):
    with pytest.raises(ValueError, match=r"`checkpoint_every`.*None are accepted too"):
        check_every(value)


@pytest.mark.parametrize(
    ("value", "expected"), [("auto", "auto"), (None, None), ("5m", 300.0), (0.5, 0.5)]
)
def test_how_often_may_be_told(value, expected):
    assert check_every(value) == expected


# Processes that are killed.


def assert_found(found, expected):
    """Status, score, best epoch, and sums of weights of each trial are those, up to rounding."""
    assert found.keys() == expected.keys()
    for name, (status, score, step, sums) in expected.items():
        assert found[name][:3] == [status, pytest.approx(score, rel=1e-4), step]
        assert found[name][3] == pytest.approx(sums, rel=1e-3, abs=1e-3)


@pytest.mark.long
@needs_fork
@pytest.mark.parametrize("kind", ["lanes", "folds", "study"])
def test_a_search_killed_at_random_moments_goes_on_to_the_same_results(kind, tmp_path):
    found = run_program(PROGRAM, "moments", kind, 7, 4, tmp_path)
    assert found["exit_codes"].count(-signal.SIGKILL) >= 2
    if kind == "lanes":  # All of them train together, in each process.
        assert found["resumed"] == found["whole"]
    assert_found(found["resumed"], found["whole"])
    # Some processes have gone on in the middle of trainings.
    assert any(first > 0 for first in found["first_epochs"])
    assert found["most_files"] <= 2
    assert found["left"] == []


@pytest.mark.long
@needs_fork
def test_sigterm_writes_a_checkpoint_and_ends_the_process_by_the_signal(tmp_path):
    found = run_program(PROGRAM, "terminated", tmp_path)
    assert found["exit_codes"] == [-signal.SIGTERM]
    assert found["resumed"] == found["whole"]
    assert found["first_epochs"][-1] > 0
    assert found["left"] == []


@pytest.mark.long
@needs_fork
def test_a_search_goes_on_on_another_number_of_devices(tmp_path):
    found = run_program(PROGRAM, "terminated", tmp_path, 2)
    assert found["first_epochs"][-1] > 0
    assert_found(found["resumed"], found["whole"])


@pytest.mark.long
def test_what_is_trained_again_stops_with_its_tuner_and_goes_on(tmp_path):
    whole = search(tmp_path / "whole", hypermodel=seeded, folds=2)
    expected = whole.confirm(leading=2)
    tuner = search(tmp_path / "stopped", hypermodel=seeded, folds=2)
    assert not tuner.stop()  # Nothing runs.
    Stopping.tuner, Stopping.at = tuner, 1
    with pytest.raises(tuners.SearchStopped) as stopped:
        tuner.confirm(leading=2)
    assert (stopped.value.kept, stopped.value.again) == (("0", "1"), ())
    Stopping.tuner = None
    BEGAN.clear()
    found = tuner.confirm(leading=2)
    assert min(BEGAN) == 2
    assert found.confirmed == expected.confirmed
    assert found.confirmed_score == pytest.approx(expected.confirmed_score, rel=1e-5)


def test_what_no_checkpoint_has_is_told_when_a_search_is_stopped(tmp_path):
    tuner = tuners.VectorizedRandomSearch(
        seeded, "val_loss", max_trials=2, seed=1, directory=tmp_path, checkpoint_every=None
    )
    Stopping.tuner, Stopping.at = tuner, 0
    data = {"validation_data": (ROWS[:16], TARGETS[:16])}
    with pytest.raises(tuners.SearchStopped) as stopped:
        tuner.search(ROWS, TARGETS, epochs=2, callbacks=[Stopping()], verbose=0, **data)
    Stopping.tuner = None
    assert (stopped.value.kept, stopped.value.again) == ((), ("0", "1"))


def test_a_trial_of_replicas_stops_at_the_end_of_its_epoch(tmp_path):
    keras.utils.set_random_seed(3)
    given = {"max_trials": 2, "seed": 1, "directory": tmp_path}
    tuner = tuners.VectorizedRandomSearch(
        seeded, "val_loss", distribution_strategy=Replicas(), **given
    )
    Stopping.tuner, Stopping.at = tuner, 0
    BEGAN.clear()
    data = {"validation_data": (ROWS[:16], TARGETS[:16])}
    with pytest.raises(tuners.SearchStopped) as stopped:
        tuner.search(ROWS, TARGETS, epochs=3, callbacks=[Stopping(), Began()], verbose=0, **data)
    Stopping.tuner = None
    assert (stopped.value.again, BEGAN) == (("0",), [0])
