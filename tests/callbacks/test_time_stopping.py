"""TimeStopping: when a training ends by a clock, and what time an interruption leaves."""

import copy
import itertools
import json
import os
import time

import keras
import numpy as np
import pytest
from helpers.interruptions import Interrupted

from kerasreg.callbacks import TimeStopping

BATCHES = 4
X, Y = np.ones((BATCHES, 2)), np.ones((BATCHES, 1))


class Clock:
    """Stands in the place of the module `time` where the callback looks at it."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("kerasreg.callbacks._time_stopping.time", clock)
    return clock


class Pass(keras.callbacks.Callback):
    """Lets seconds pass in each batch; raises in one of them. Keeps what was trained."""

    def __init__(self, clock, seconds, interrupted_in=None, validation=0.0):
        super().__init__()
        self.clock, self.seconds, self.validation = clock, itertools.cycle(seconds), validation
        self.interrupted_in = interrupted_in
        self.batches, self.epoch = [], None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self.clock.now += next(self.seconds)
        self.batches.append((self.epoch, batch))
        if (self.epoch, batch) == self.interrupted_in:
            raise Interrupted

    def on_test_end(self, logs=None):
        self.clock.now += self.validation


def make_model():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    return model


def fit(*callbacks, model=None, epochs=9, **options):
    model = make_model() if model is None else model
    return model.fit(X, Y, 1, epochs, verbose=0, callbacks=list(callbacks), **options)


def trained(clock, stopping, seconds, **options):
    """The batches that were trained, when each takes so many seconds."""
    passing = Pass(clock, seconds)
    fit(passing, stopping, **options)
    return passing.batches


def whole_epochs(count, first=0):
    return list(itertools.product(range(first, count), range(BATCHES)))


@pytest.mark.parametrize(
    ("seconds", "epochs"), [(3.5, 1), (4.0, 1), (4.5, 2), (8.0, 2), (8.1, 3), (1e6, 9)]
)
def test_it_ends_with_the_epoch_in_which_the_time_passed(clock, seconds, epochs):
    assert trained(clock, TimeStopping(seconds), [1.0]) == whole_epochs(epochs)


@pytest.mark.parametrize(("seconds", "batches"), [(0.5, 1), (1.0, 1), (5.5, 6), (8.0, 8)])
def test_in_steps_it_ends_with_the_batch_in_which_the_time_passed(clock, seconds, batches):
    stopping = TimeStopping(seconds, unit="step")
    assert trained(clock, stopping, [1.0]) == whole_epochs(9)[:batches]


def test_batches_may_take_different_times(clock):
    stopping = TimeStopping(10.0, unit="step")
    assert len(trained(clock, stopping, [0.5, 3.0, 0.25])) == 8
    assert stopping.passed == pytest.approx(11.0)


def test_the_time_of_validation_counts_and_validation_is_finished(clock):
    passing, stopping = Pass(clock, [1.0], validation=10.0), TimeStopping(15.0)
    history = fit(passing, stopping, validation_data=(X, Y)).history
    assert passing.batches == whole_epochs(2)
    assert len(history["val_loss"]) == 2
    assert stopping.passed == pytest.approx(28.0)


def test_the_time_before_and_after_a_training_does_not_count(clock):
    stopping = TimeStopping(6.0)
    for _ in range(2):
        clock.now += 1000.0
        assert trained(clock, stopping, [1.0]) == whole_epochs(2)
        assert stopping.passed == pytest.approx(8.0)


def test_passed_is_known_at_each_look(clock):
    seen = []
    stopping = TimeStopping(100.0)
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(stopping.passed)
    )
    fit(Pass(clock, [1.0]), stopping, note, epochs=3)
    assert seen == pytest.approx([4.0, 8.0, 12.0])


def test_a_copy_stops_the_model_that_it_is_given_to(clock):
    stopping = TimeStopping(6.0)
    trained(clock, stopping, [1.0])
    copied = copy.deepcopy(stopping)
    assert trained(clock, copied, [5.0]) == whole_epochs(1)
    assert (stopping.passed, copied.passed) == pytest.approx((8.0, 20.0))


def test_with_the_real_clock_it_ends_too():
    wait = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: time.sleep(0.1))
    stopping = TimeStopping(0.3)
    history = fit(wait, stopping)
    assert history.epoch == [0]
    assert stopping.passed >= 0.3


# Interrupted and continued.


def continued(clock, folder, interrupted_in, backup_dir, seconds=18.0, unit="epoch"):
    """The epochs that a new process trains, after one that was interrupted."""
    for at in (interrupted_in, None):
        backup = keras.callbacks.BackupAndRestore(folder / "model")
        passing = Pass(clock, [1.0], at)
        stopping = TimeStopping(seconds, unit=unit, backup_dir=backup_dir)
        if at is not None:
            with pytest.raises(Interrupted):
                fit(passing, stopping, backup)
            clock.now = 5.0  # The clock of another process begins elsewhere.
    fit(passing, stopping, backup)
    return passing.batches, stopping.passed


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_the_time_before_an_interruption_counts(clock, tmp_path, epoch):
    batches, passed = continued(clock, tmp_path, (epoch, 1), tmp_path / "time")
    # Four epochs of four seconds are not enough, a fifth is.
    assert batches == whole_epochs(5, first=epoch)
    assert passed == pytest.approx(20.0)


def test_without_a_folder_it_does_not_count(clock, tmp_path):
    batches, passed = continued(clock, tmp_path, (2, 1), None)
    assert batches == whole_epochs(7, first=2)
    assert passed == pytest.approx(20.0)


@pytest.mark.long
def test_in_steps_it_counts_too(clock, tmp_path):
    batches, passed = continued(clock, tmp_path, (2, 1), tmp_path / "time", unit="step")
    assert batches == whole_epochs(5, first=2)[:10]
    assert passed == pytest.approx(18.0)


def test_the_time_counts_with_initial_epoch(clock, tmp_path):
    model = make_model()
    with pytest.raises(Interrupted):
        fit(
            Pass(clock, [1.0], (2, 0)),
            TimeStopping(18.0, unit="epoch", backup_dir=tmp_path),
            model=model,
        )
    passing = Pass(clock, [1.0])
    fit(
        passing, TimeStopping(18.0, unit="epoch", backup_dir=tmp_path), model=model, initial_epoch=2
    )
    assert passing.batches == whole_epochs(5, first=2)


def test_a_training_that_begins_again_counts_anew(clock, tmp_path):
    with pytest.raises(Interrupted):
        fit(Pass(clock, [1.0], (2, 0)), TimeStopping(18.0, unit="epoch", backup_dir=tmp_path))
    stopping = TimeStopping(6.0, unit="epoch", backup_dir=tmp_path)
    assert trained(clock, stopping, [1.0]) == whole_epochs(2)


@pytest.mark.parametrize(("seconds", "epochs"), [(6.0, 9), (100.0, 3)])
@pytest.mark.parametrize("unit", ["epoch", "step"])
def test_the_file_is_written_after_each_epoch_and_removed_at_a_normal_end(
    clock, tmp_path, seconds, epochs, unit
):
    seen = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            (name,) = os.listdir(tmp_path)  # Nothing else is left lying beside it.
            seen.append(json.loads((tmp_path / name).read_text())["states"][-1]["passed"])

    stopping = TimeStopping(seconds, unit=unit, backup_dir=str(tmp_path))
    fit(Pass(clock, [1.0]), stopping, Look(), epochs=epochs)
    assert len(seen) >= 2
    assert seen[-1] == pytest.approx(stopping.passed)
    assert os.listdir(tmp_path) == []
