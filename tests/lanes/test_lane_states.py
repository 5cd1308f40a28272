"""The state of a training in a lane, from which `fit` of other lanes goes on."""

import inspect

import keras
import numpy as np
import pytest
from helpers.processes import run_python
from keras.optimizers.schedules import ExponentialDecay

import kerasreg
from kerasreg import callbacks as ours
from kerasreg.lanes import Lanes, Replacement, why_not_resumable
from kerasreg.lanes._lane_state import is_plain, restore_callback, state_of_callback

pytestmark = pytest.mark.shares_programs

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 4)).astype("float32")
Y = (X @ np.array([[1.0], [-1.0], [0.5], [0.0]])).astype("float32")
DATA = {"x": X, "y": Y, "batch_size": 8, "seed": 3, "validation_data": (X[:8], Y[:8])}
EPOCHS = 5


def model(number, units=6):
    """All of it drawn, also the seeds; what a process that begins builds is another one."""
    built = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(units, "tanh"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.1 * (number + 1)),
            kerasreg.layers.ScheduledDropout(0.2),
            keras.layers.Dense(1),
        ]
    )
    built.compile(keras.optimizers.Adam(0.01 * (number + 1)), "mse")
    return built


def of_lanes(number):
    return [
        keras.callbacks.ReduceLROnPlateau("val_loss", patience=1, min_delta=0.05),
        ours.AdaptiveRegularization("dropout", 0.01, max_value=0.5, patience=1),
        ours.HyperparameterScheduler("learning_rate", ExponentialDecay(0.01, 2, 0.9))
        if number == 1
        else keras.callbacks.EarlyStopping("loss", patience=5, restore_best_weights=True),
    ]


def fitted(models, states=None, refill=None, at=None, epochs=EPOCHS):
    """Trains lanes; their histories, all values at the end, and states after some epoch."""
    lanes, kept = Lanes(models), {}

    def keep(epochs_now, logs):
        if epochs_now[0] == at:
            kept.update(lanes.states(range(len(lanes))))

    callbacks = [of_lanes(number) for number in range(len(models))]
    histories = lanes.fit(
        **DATA, epochs=epochs, callbacks=callbacks, states=states, on_epoch_end=keep, refill=refill
    )
    values = [
        [np.array(v) for v in [*m.variables, *m.optimizer.variables]]
        for m in map(lanes.unstack, range(len(lanes)))
    ]
    return histories, values, kept


def assert_equal_bits(found, expected):
    for mine, theirs in zip(found, expected, strict=True):
        assert [value.tobytes() for value in mine] == [value.tobytes() for value in theirs]


def test_lanes_go_on_with_equal_bits():
    whole, values, kept = fitted([model(0), model(1)], at=1)
    assert [state.epoch for state in kept.values()] == [2, 2]
    rest, found, _ = fitted([model(0), model(1)], states=[kept[0], kept[1]])
    assert [one.history for one in rest] == [one.history for one in whole]
    assert [one.epoch for one in rest] == [list(range(EPOCHS))] * 2
    assert_equal_bits(found, values)


@pytest.mark.long
def test_a_lane_is_known_by_its_state_and_not_by_its_place():
    _, values, kept = fitted([model(0), model(1)], at=1)
    models = [model(0), model(0), model(1)]
    # The callbacks go with the number.
    lanes = Lanes([models[2], models[1], models[0]])
    lanes.fit(
        **DATA,
        epochs=EPOCHS,
        callbacks=[of_lanes(1), of_lanes(0), of_lanes(0)],
        states=[kept[1], None, kept[0]],
    )
    for lane, number in ((0, 1), (2, 0)):
        found = lanes.unstack(lane)
        for variable, value in zip(
            [*found.variables, *found.optimizer.variables], values[number], strict=True
        ):
            np.testing.assert_allclose(np.array(variable), value, rtol=1e-4, atol=1e-5)


@pytest.mark.long
def test_narrow_lanes_go_on_in_a_wide_program_and_alone():
    whole, values, kept = fitted([model(0, 3), model(0, 6)], at=1)
    assert kept[0].values[0].shape == (4, 3)
    rest, found, _ = fitted([model(0, 3), model(0, 6)], states=[kept[0], kept[1]])
    assert [one.history for one in rest] == [one.history for one in whole]
    assert_equal_bits(found, values)
    (alone,), _, _ = fitted([model(0, 3)], states=[kept[0]])
    np.testing.assert_allclose(alone.history["loss"], whole[0].history["loss"], rtol=1e-4)


@pytest.mark.long
def test_a_replacement_goes_on():
    whole, _, kept = fitted([model(0)], at=1)
    waiting = [Replacement(model(0), of_lanes(0), epochs=EPOCHS, state=kept[0])]
    rest, _, _ = fitted(
        [model(0)], refill=lambda ended: {0: waiting.pop()} if waiting else {}, epochs=1
    )
    assert len(rest) == 2
    np.testing.assert_allclose(rest[1].history["loss"], whole[0].history["loss"], rtol=1e-5)


def test_a_state_is_plain():
    *_, kept = fitted([model(0)], at=0, epochs=1)
    assert all(map(is_plain, kept[0]))
    assert np.isfinite(kept[0].logs["val_loss"])


@pytest.mark.long
def test_the_state_of_another_model_is_refused():
    *_, kept = fitted([model(0)], at=0, epochs=1)
    with pytest.raises(ValueError, match="`states` must be of models like those of the lanes"):
        fitted([model(0, 7)], states=[kept[0]])
    with pytest.raises(ValueError, match="`states` must be of trainings with the callbacks"):
        Lanes([model(0)]).fit(**DATA, epochs=2, states=[kept[0]], callbacks=[[of_lanes(1)[0]]])
    with pytest.raises(ValueError, match="`states` must be a list with a state or None"):
        Lanes([model(0)]).fit(**DATA, states=[None, None])
    with pytest.raises(ValueError, match="while `fit` runs"):
        Lanes([model(0)]).states([0])


# Callbacks.

# What is made with arguments of its own.
MADE = {
    "AdaptiveRegularization": lambda: ours.AdaptiveRegularization("dropout", 0.1, max_value=0.5),
    "BackupAndRestore": lambda: keras.callbacks.BackupAndRestore("there"),
    "CSVLogger": lambda: keras.callbacks.CSVLogger("there"),
    "CosineDecay": lambda: ours.CosineDecay(0.1, 5),
    "ExponentialDecay": lambda: ours.ExponentialDecay(0.1),
    "FixedLearningRate": lambda: ours.FixedLearningRate(0.1),
    "HyperparameterScheduler": lambda: ours.HyperparameterScheduler("learning_rate", 0.1),
    "LearningRateScheduler": lambda: keras.callbacks.LearningRateScheduler(abs),
    "ModelCheckpoint": lambda: keras.callbacks.ModelCheckpoint("there.keras"),
    "OneCycle": lambda: ours.OneCycle(0.1),
    "OrbaxCheckpoint": None,  # Not in all versions of Keras, and it needs a package.
    "StepDecay": lambda: ours.StepDecay(0.1),
    "TimeBasedDecay": lambda: ours.TimeBasedDecay(0.1),
    "TimeStopping": lambda: ours.TimeStopping(10),
}
# These are in no checkpoint: each opens a place to write to, or sets a training back.
NOT = {"BackupAndRestore", "CSVLogger", "RemoteMonitor", "TensorBoard"}


def every_callback():
    found = {}
    for package in (keras.callbacks, ours):
        for name, kind in vars(package).items():
            if inspect.isclass(kind) and issubclass(kind, keras.callbacks.Callback):
                found[name] = kind
    return found


def made(name, kind):
    if name in MADE:
        return MADE[name] and MADE[name]()
    return kind()


@pytest.mark.parametrize("name", sorted(every_callback()))
def test_every_callback_can_be_kept_or_says_why_not(name):
    kind = every_callback()[name]
    try:
        callback = made(name, kind)
    except TypeError:
        pytest.skip("a base class")
    if callback is None:
        pytest.skip("it needs another package")
    why = why_not_resumable(callback)
    if name in NOT:
        assert why.startswith(f"{name} writes to a place")
        with pytest.raises(ValueError, match=f"cannot be kept: {name}"):
            state_of_callback(callback)
        return
    assert why is None
    of_class, state = state_of_callback(callback)
    assert of_class == name
    assert is_plain(state)


class Counter(keras.callbacks.Callback):
    """With a state that is no plain value, and methods that tell it."""

    def __init__(self):
        super().__init__()
        self.held = iter(())
        self.count = 0

    def state(self):
        return {"count": self.count}

    def restore(self, state):
        self.count = state["count"]


def test_a_callback_with_methods_tells_its_state_itself():
    counter, other = Counter(), Counter()
    counter.count = 3
    assert why_not_resumable(counter) is None
    restore_callback(other, state_of_callback(counter)[1])
    assert other.count == 3


@pytest.mark.parametrize("kind", ["EarlyStopping", "ReduceLROnPlateau"])
def test_what_keras_chooses_at_the_first_epoch_is_kept(kind):
    """Keras turns the sign of `min_delta` when it chooses how to compare, once."""
    make = getattr(keras.callbacks, kind)
    one, other = make("val_loss", min_delta=0.1), make("val_loss", min_delta=0.1)
    begun, kept = model(0), {}
    for epoch, callback, loss in ((0, one, 1.0), (1, one, 0.95), (1, other, 0.95)):
        callback.set_model(begun)
        if callback is other:
            other.on_train_begin()
            restore_callback(other, kept)
        elif epoch == 0:
            one.on_train_begin()
        callback.on_epoch_end(epoch, {"val_loss": loss})
        if epoch == 0:
            kept |= state_of_callback(one)[1]
            assert is_plain(kept)
    # An improvement by less than `min_delta` is none.
    assert one.best == other.best == 1.0
    assert one.min_delta == other.min_delta == -0.1


def test_a_function_that_is_gone_is_named():
    state = state_of_callback(keras.callbacks.LambdaCallback(lambda epoch, logs: None))[1]
    with pytest.raises(ValueError, match=r"had .*lambda.* as `on_epoch_begin`, which is gone"):
        restore_callback(keras.callbacks.LambdaCallback(), state)


def test_functions_that_remember_something_are_named():
    seen, factor = [], 2.0
    lambda_callback = keras.callbacks.LambdaCallback
    assert why_not_resumable(lambda_callback(lambda epoch, logs: factor)) is None
    why = why_not_resumable(lambda_callback(lambda epoch, logs: seen.append(epoch)))
    assert why == "LambdaCallback has `on_epoch_begin`, which is no number, text or array"


ON_JAX = """
import sys
sys.path.insert(0, {folder!r})
import test_lane_states as tests
import keras
assert keras.backend.backend() == "jax"
whole, values, kept = tests.fitted([tests.model(0), tests.model(1)], at=1)
rest, found, _ = tests.fitted([tests.model(0), tests.model(1)], states=[kept[0], kept[1]])
assert [one.history for one in rest] == [one.history for one in whole]
tests.assert_equal_bits(found, values)
print("equal")
"""


@pytest.mark.long
def test_lanes_on_jax_go_on_with_equal_bits():
    import os

    program = ON_JAX.format(folder=os.path.dirname(__file__))
    assert "equal" in run_python("-c", program, KERAS_BACKEND="jax")
