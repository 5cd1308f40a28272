"""A training that is stopped and continued in a new process ends with equal bits.

The model has all three penalties, dropout and an optimizer, most of them on
schedules. One process trains it without a stop and saves it on the way, in each
of the forms in which Keras and TensorFlow save. Others continue from there.
"""

import os
import pathlib
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.optimizers.schedules import CosineDecay, PolynomialDecay

from kerasreg.layers import ScheduledDropout
from kerasreg.regularizers import L1, L2, ElasticNet
from kerasreg.schedules import Warmup

EPOCHS, STOP, BATCHES = 4, 2, 5

FORMS = ["keras file", "weights file", "checkpoint"]


# What the processes run.


def compiled_model():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, activation="relu", kernel_regularizer=L1(0.01)),
            ScheduledDropout(PolynomialDecay(0.5, 15, 0.1), seed=7),
            keras.layers.Dense(8, kernel_regularizer=L2(Warmup(CosineDecay(0.1, 12), steps=3))),
            keras.layers.Dense(
                1, kernel_regularizer=ElasticNet(PolynomialDecay(0.0, 15, 0.1), alpha=0.3)
            ),
        ]
    )
    model.compile(keras.optimizers.Adam(Warmup(CosineDecay(0.05, 20), steps=4)), "mse")
    return model


def train(model, *callbacks, initial_epoch=0):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(4 * BATCHES, 4)).astype("float32")
    y = (x @ [[1.0], [-1.0], [0.5], [0.0]]).astype("float32")
    # Shuffling has a state of its own, which is Keras' business.
    model.fit(
        x,
        y,
        batch_size=4,
        epochs=EPOCHS,
        initial_epoch=initial_epoch,
        shuffle=False,
        validation_data=(x[:6], y[:6]),
        callbacks=list(callbacks),
        verbose=0,
    )


def write_state(model, path):
    """Every variable: weights, strengths, rate, counts of steps, the optimizer's."""
    variables = [*model.variables, *model.optimizer.variables]
    np.savez(path, *(np.array(variable) for variable in variables))


def train_without_a_stop(folder):
    keras.utils.set_random_seed(11)
    model = compiled_model()
    checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer)

    def save_checkpoint(epoch, logs):
        if epoch == STOP - 1:
            checkpoint.write(str(folder / "checkpoint"))

    train(
        model,
        keras.callbacks.ModelCheckpoint(folder / "after-{epoch}.keras"),
        keras.callbacks.ModelCheckpoint(
            folder / "after-{epoch}.weights.h5", save_weights_only=True
        ),
        keras.callbacks.LambdaCallback(on_epoch_end=save_checkpoint),
    )
    write_state(model, folder / "without a stop.npz")


def saved_model(form, folder):
    if form == "keras file":
        return keras.models.load_model(folder / f"after-{STOP}.keras")
    model = compiled_model()
    model.optimizer.build(model.trainable_variables)
    if form == "weights file":
        model.load_weights(folder / f"after-{STOP}.weights.h5")
    else:
        checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
        checkpoint.read(str(folder / "checkpoint")).assert_existing_objects_matched()
    return model


def continue_each_form(folder):
    for number, form in enumerate(FORMS):
        # The global seed is no part of the state: any other gives the same.
        keras.utils.clear_session()
        keras.utils.set_random_seed(100 + number)
        model = saved_model(form, folder)
        train(model, initial_epoch=STOP)
        write_state(model, folder / f"{form}.npz")
    weights = saved_model("keras file", folder).get_weights()
    model = compiled_model()
    model.set_weights(weights)
    train(model, initial_epoch=STOP)
    write_state(model, folder / "weights alone.npz")


class Die(keras.callbacks.Callback):
    """Kills this process in the middle of an epoch: nothing is flushed, nothing closed."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == STOP and batch == BATCHES // 2:
            os.kill(os.getpid(), signal.SIGKILL)


def train_until_killed(folder):
    keras.utils.set_random_seed(11)
    train(compiled_model(), keras.callbacks.BackupAndRestore(folder / "backup"), Die())


def train_from_the_backup(folder):
    keras.utils.set_random_seed(200)
    model = compiled_model()
    started = []
    note = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: started.append(epoch))
    train(model, keras.callbacks.BackupAndRestore(folder / "backup"), note)
    assert started == list(range(STOP, EPOCHS)), started
    write_state(model, folder / "backup.npz")


# What is tested.


def in_a_new_process(function, folder):
    """Runs one of the functions above in a process of its own; returns its exit."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, __file__, function.__name__, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)


def succeed(function, folder):
    done = in_a_new_process(function, folder)
    assert done.returncode == 0, done.stderr[-4000:]


def state(folder, name):
    with np.load(folder / f"{name}.npz") as file:
        return [file[key] for key in file.files]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exact_resume")
    succeed(train_without_a_stop, folder)
    return folder


@pytest.fixture(scope="module")
def continued(folder):
    succeed(continue_each_form, folder)
    return folder


def assert_equal_bits(one, other):
    assert len(one) == len(other) > 20
    for mine, theirs in zip(one, other, strict=True):
        assert mine.dtype == theirs.dtype
        assert mine.shape == theirs.shape
        assert mine.tobytes() == theirs.tobytes()


@pytest.mark.parametrize(
    "form", ["checkpoint", *(pytest.param(f, marks=pytest.mark.long) for f in FORMS[:2])]
)
def test_a_saved_training_goes_on_exactly(continued, form):
    assert_equal_bits(state(continued, form), state(continued, "without a stop"))


@pytest.mark.long
def test_weights_alone_do_not_go_on_exactly(continued):
    """The test above can fail: the rest of the state is what makes the difference."""
    expected = state(continued, "without a stop")
    kernel = state(continued, "weights alone")[0]
    assert np.max(np.abs(kernel - expected[0])) > 1e-3


@pytest.mark.long
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_training_goes_on_exactly_from_its_backup(folder):
    killed = in_a_new_process(train_until_killed, folder)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-4000:]
    succeed(train_from_the_backup, folder)
    assert_equal_bits(state(folder, "backup"), state(folder, "without a stop"))


if __name__ == "__main__":
    globals()[sys.argv[1]](pathlib.Path(sys.argv[2]))
