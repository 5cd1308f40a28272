"""HyperparameterScheduler in a training: no new traces, what is saved, logged and resumed."""

import copy
import json
import tempfile

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
from helpers.interruptions import Interrupt, Interrupted
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from kerasreg.callbacks import CosineDecay, HyperparameterScheduler, StepDecay
from kerasreg.layers import ScheduledDropout
from kerasreg.optimizers import DecoupledWeightDecay, Proximal
from kerasreg.regularizers import L2
from kerasreg.schedules import Linear

EPOCHS, BATCHES, SIZE = 3, 2, 2
STEPS = EPOCHS * BATCHES
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(BATCHES * SIZE, 3)), RNG.normal(size=(BATCHES * SIZE, 1))
RAMP = Linear(0.9, 0.1, STEPS)
TARGETS = ["learning_rate", "momentum", "weight_decay", "dropout", "strength"]
OF_OPTIMIZER = ["momentum", "weight_decay"]


class CountedLoss(keras.losses.Loss):
    """The mean squared error, counting how often Python runs it: once a trace."""

    traces = 0

    def call(self, y_true, y_pred):
        self.traces += 1
        return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)


def make_model(wrap=None, **options):
    keras.utils.set_random_seed(1)
    layers = [ScheduledDropout(0.2, seed=3), keras.layers.Dense(1, kernel_regularizer=L2(0.1))]
    model = keras.Sequential([keras.Input((3,)), *layers])
    optimizer = keras.optimizers.SGD(0.05, momentum=0.5, weight_decay=0.01)
    options = {"loss": "mse", **(options or {"run_eagerly": True})}
    model.compile(wrap(optimizer) if wrap else optimizer, **options)
    return model


def number(model, target):
    if target == "dropout":
        return model.layers[0].rate
    if target == "strength":
        return model.layers[1].kernel_regularizer.strength
    return getattr(getattr(model.optimizer, "inner_optimizer", model.optimizer), target)


class Record(keras.callbacks.Callback):
    """The value of a target in each batch."""

    def __init__(self, target):
        super().__init__()
        self.target, self.values = target, []

    def on_train_batch_end(self, batch, logs=None):
        self.values.append(float(number(self.model, self.target)))


def fit(model, *callbacks, epochs=EPOCHS, **options):
    callbacks = list(callbacks)
    return model.fit(X, Y, SIZE, epochs, 0, callbacks, shuffle=False, **options).history


def values(schedule, unit="step"):
    """The value of each batch of a whole training."""
    return [float(schedule(t if unit == "step" else t // BATCHES)) for t in range(STEPS)]


def assert_same(one, other):
    """The same weights, numbers of the layers, and state of the optimizer."""
    variables = zip([*one.variables, *one.optimizer.variables],
                    [*other.variables, *other.optimizer.variables], strict=True)  # fmt: skip
    for mine, theirs in variables:
        np.testing.assert_array_equal(mine, theirs)


# Traces.


@pytest.mark.short("dropout-False", "strength-False", "momentum-True")
@pytest.mark.parametrize(
    ("target", "jit_compile"),
    [*[(target, False) for target in TARGETS[1:]], ("momentum", True)],
)
def test_a_moving_value_is_traced_as_often_as_a_constant_one(target, jit_compile):
    def traces(*callbacks):
        loss = CountedLoss()
        fit(make_model(loss=loss, jit_compile=jit_compile), *callbacks)
        return loss.traces

    assert traces(HyperparameterScheduler(target, RAMP, unit="step")) == traces()


@pytest.mark.short("weight_decay", "dropout")
@pytest.mark.parametrize("target", TARGETS[1:])
def test_a_fit_that_follows_is_traced_at_most_once_more_and_then_no_more(target):
    loss = CountedLoss()
    model = make_model(loss=loss, jit_compile=False)
    fit(model)
    before = loss.traces
    fit(model, HyperparameterScheduler(target, RAMP, unit="step"))
    assert loss.traces - before <= (target in OF_OPTIMIZER)
    before = loss.traces
    fit(model, HyperparameterScheduler(target, 0.25))
    assert loss.traces == before


@pytest.mark.parametrize("target", OF_OPTIMIZER)
def test_another_callback_in_a_second_fit_acts_in_the_step(target):
    model, by_hand = make_model(jit_compile=False), make_model()
    for one in (model, by_hand):
        fit(one, epochs=1)
    for schedule in (RAMP, Linear(0.1, 0.5, STEPS)):
        fit(model, HyperparameterScheduler(target, schedule))
        set_number = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs, schedule=schedule: setattr(
                by_hand.optimizer, target, float(schedule(epoch))
            )
        )
        fit(by_hand, set_number)
    for mine, theirs in zip(model.get_weights(), by_hand.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5)


# Its two clocks.


class Rates(keras.callbacks.Callback):
    """The learning rate of each batch, also where a schedule in the optimizer moves it."""

    def __init__(self):
        super().__init__()
        self.values = []

    def on_train_batch_begin(self, batch, logs=None):
        self.values.append(float(self.model.optimizer.learning_rate))


def in_two_fits(rate, *callbacks, **options):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    optimizer = keras.optimizers.SGD(rate, **options)
    model.compile(optimizer, "mse", run_eagerly=True)
    rates = Rates()
    fit(model, *callbacks, rates, epochs=2)
    fit(model, *callbacks, rates, epochs=1)
    return rates.values, model.get_weights()


def test_steps_are_those_of_a_schedule_within_the_optimizer():
    within, weights = in_two_fits(RAMP)
    moved, others = in_two_fits(0.1, HyperparameterScheduler("learning_rate", RAMP, unit="step"))
    assert moved == pytest.approx(within, rel=1e-6)
    assert moved == pytest.approx(values(RAMP), rel=1e-5)  # On from the first fit.
    for mine, theirs in zip(others, weights, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("every", [2, 4])
def test_steps_are_those_that_are_made_where_gradients_are_gathered(every):
    scheduler = HyperparameterScheduler("learning_rate", RAMP, unit="step")
    moved, _ = in_two_fits(0.1, scheduler, gradient_accumulation_steps=every)
    assert moved == pytest.approx([float(RAMP(t // every)) for t in range(STEPS)], rel=1e-5)


@pytest.mark.parametrize("every", [None, 4])
def test_epochs_are_those_of_the_fit(every):
    scheduler = HyperparameterScheduler("learning_rate", Linear(0.9, 0.1, 2))
    moved, _ = in_two_fits(0.1, scheduler, gradient_accumulation_steps=every)
    assert moved == pytest.approx([0.9, 0.9, 0.5, 0.5, 0.9, 0.9])


def test_policies_have_the_same_clocks():
    options = {"unit": "step", "length": 4}
    moved, _ = in_two_fits(0.1, CosineDecay(0.8, **options), gradient_accumulation_steps=2)
    assert moved == pytest.approx([CosineDecay(0.8, **options).value(t // 2) for t in range(STEPS)])
    moved, _ = in_two_fits(0.1, StepDecay(0.8, every=1))
    assert moved == pytest.approx([0.8, 0.8, 0.4, 0.4, 0.8, 0.8])


@pytest.mark.skipif(
    not hasattr(keras.optimizers, "MultiOptimizer"), reason="this Keras has no MultiOptimizer"
)
def test_of_several_optimizers_one_without_variables_stops_no_clock():
    class All(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            seen.append([float(part.learning_rate) for part in self.model.optimizer.optimizers])

    seen, sgd = [], keras.optimizers.SGD
    several = keras.optimizers.OptimizerMap(sgd(0.1), {"unknown": sgd(0.1)})
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.MultiOptimizer(several), "mse", run_eagerly=True)
    fit(model, HyperparameterScheduler("learning_rate", RAMP, unit="step"), All())
    assert seen == [pytest.approx([value, value]) for value in values(RAMP)]


def test_a_scheduled_decay_has_the_steps_of_a_scheduled_rate():
    rates, decays = Linear(0.4, 0.1, STEPS), Linear(0.8, 0.2, STEPS)

    def weights(decay):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False)])
        model.set_weights([np.ones((3, 1))])
        inner = keras.optimizers.SGD(rates, gradient_accumulation_steps=2)
        model.compile(DecoupledWeightDecay(inner, decay), "mse", run_eagerly=True)
        model.fit(np.zeros((4, 3)), np.zeros((4, 1)), 2, EPOCHS, 0)
        return model.get_weights()[0]

    expected = np.prod([1 - float(rates(t)) * float(decays(t)) for t in (1, 3, 5)])
    np.testing.assert_allclose(weights(decays), np.full((3, 1), expected), rtol=1e-5)


# What is saved.


@pytest.mark.parametrize("target", OF_OPTIMIZER)
def test_the_config_of_the_optimizer_has_the_value_as_a_plain_number(target):
    model = make_model(jit_compile=False)
    keys = set(model.optimizer.get_config())
    fit(model, HyperparameterScheduler(target, RAMP, unit="step"))
    config = json.loads(json.dumps(model.optimizer.get_config()))
    assert set(config) == keys
    assert config[target] == pytest.approx(values(RAMP)[-1])
    again = keras.optimizers.SGD.from_config(config)
    assert isinstance(getattr(again, target), float)


def scaled(optimizer):
    return keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2.0)


@pytest.mark.short("dropout-None", "momentum-scaled", "weight_decay-Proximal", "strength-None")
@pytest.mark.parametrize(
    ("target", "wrap"),
    [
        *[(target, None) for target in TARGETS],
        ("momentum", scaled),
        ("weight_decay", Proximal),
    ],
)
def test_a_model_saved_in_the_middle_has_the_value_then_and_goes_on(target, wrap, tmp_path):
    def callbacks():
        save = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")
        return HyperparameterScheduler(target, RAMP, unit="step"), save

    whole = make_model(wrap)
    fit(whole, *callbacks())
    for epoch in (2, EPOCHS):
        loaded = keras.models.load_model(tmp_path / f"{epoch}.keras")
        value = number(loaded, target)
        assert float(value) == pytest.approx(values(RAMP)[epoch * BATCHES - 1])
        assert isinstance(value, float) == (target in OF_OPTIMIZER)
        fit(loaded, *callbacks(), initial_epoch=epoch)
        assert_same(loaded, whole)


# What is logged.


@pytest.mark.short("weight_decay-step", "dropout-step", "momentum-epoch")
@pytest.mark.parametrize(
    ("target", "unit"), [*[(target, "step") for target in TARGETS], ("momentum", "epoch")]
)
def test_history_and_tensorboard_have_the_value_of_each_epoch(target, unit, tmp_path):
    board = keras.callbacks.TensorBoard(tmp_path)
    history = fit(make_model(), HyperparameterScheduler(target, RAMP, unit=unit), board)
    expected = pytest.approx(values(RAMP, unit)[BATCHES - 1 :: BATCHES])
    assert history[target] == expected
    events = EventAccumulator(str(tmp_path / "train")).Reload()
    tensors = events.Tensors(f"epoch_{target}")
    assert [float(tf.make_ndarray(event.tensor_proto)) for event in tensors] == expected


# Interrupted and continued.


instants = given(epoch=st.integers(0, EPOCHS - 1), batch=st.integers(0, BATCHES - 1))
few = settings(deadline=None, max_examples=3, derandomize=True)


@pytest.mark.parametrize(
    ("target", "unit"),
    [
        ("momentum", "step"),
        pytest.param("dropout", "epoch", marks=pytest.mark.long),
        pytest.param("strength", "step", marks=pytest.mark.long),
    ],
)
@few
@instants
def test_a_training_resumed_at_an_epoch_is_the_one_without_a_stop(target, unit, epoch, batch):
    def callbacks():
        return HyperparameterScheduler(target, RAMP, unit=unit), Record(target)

    whole, resumed = make_model(), make_model()
    moved, record = callbacks()
    history = fit(whole, moved, record)
    with tempfile.TemporaryDirectory() as folder:
        backup = lambda: keras.callbacks.BackupAndRestore(folder)  # noqa: E731
        with pytest.raises(Interrupted):
            fit(make_model(), *callbacks(), backup(), Interrupt(epoch, batch))
        moved, rest = callbacks()
        again = fit(resumed, moved, rest, backup())
    assert rest.values == record.values[epoch * BATCHES :]
    assert again[target] == history[target][epoch:]
    assert_same(resumed, whole)


@pytest.mark.long
@few
@instants
def test_a_training_resumed_at_a_batch_is_the_one_that_lives_on(epoch, batch):
    def callbacks():
        return HyperparameterScheduler("momentum", RAMP, unit="step"), Record("momentum")

    # Keras repeats the epoch of the batch, and steps are counted on.
    alive, resumed = make_model(), make_model()
    with pytest.raises(Interrupted):
        fit(alive, *callbacks(), Interrupt(epoch, batch))
    moved, expected = callbacks()
    fit(alive, moved, expected, initial_epoch=epoch)
    with tempfile.TemporaryDirectory() as folder:
        backup = lambda: keras.callbacks.BackupAndRestore(folder, save_freq=1)  # noqa: E731
        with pytest.raises(Interrupted):
            fit(make_model(), *callbacks(), backup(), Interrupt(epoch, batch))
        moved, rest = callbacks()
        fit(resumed, moved, rest, backup())
    assert rest.values[0] == pytest.approx(float(RAMP(epoch * BATCHES + batch + 1)))
    assert rest.values == expected.values
    assert_same(resumed, alive)


# Copies.


@pytest.mark.short("momentum", "strength")
@pytest.mark.parametrize("target", ["momentum", "dropout", "strength"])
def test_a_copy_of_one_that_was_used_leaves_the_first_model_alone(target):
    first, second = make_model(), make_model()
    callback = HyperparameterScheduler(target, RAMP)
    fit(first, callback)
    fit(second, copy.deepcopy(callback), epochs=2)
    assert float(number(first, target)) == pytest.approx(float(RAMP(EPOCHS - 1)))
    assert float(number(second, target)) == pytest.approx(float(RAMP(1)))


@pytest.mark.long
def test_keras_tuner_copies_it_for_each_trial(tmp_path):
    models = []

    def build(hp):
        hp.Float("unused", 0.0, 1.0)
        models.append(make_model())
        return models[-1]

    search = keras_tuner.RandomSearch(
        build, keras_tuner.Objective("loss", "min"), max_trials=2, directory=tmp_path, seed=1
    )
    callback = HyperparameterScheduler("momentum", RAMP, unit="step")
    options = {"shuffle": False, "verbose": 0, "callbacks": [callback]}
    search.search(X, Y, batch_size=SIZE, epochs=EPOCHS, **options)
    trained = [model for model in models if int(model.optimizer.iterations)]
    assert len(trained) == 2
    for model in trained:
        assert float(model.optimizer.momentum) == pytest.approx(values(RAMP)[-1])
        alone = make_model()
        fit(alone, HyperparameterScheduler("momentum", RAMP, unit="step"))
        assert_same(model, alone)
