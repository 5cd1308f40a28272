"""OneCycle: the learning rate and the momentum of each batch, in a training and resumed."""

import copy
import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.interruptions import Interrupt, Interrupted
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasreg import schedules
from kerasreg.callbacks import OneCycle
from kerasreg.lanes import Lanes
from kerasreg.optimizers import Lookahead

EPOCHS, BATCHES, SIZE = 4, 5, 3
STEPS = EPOCHS * BATCHES
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(BATCHES * SIZE, 3)), RNG.normal(size=(BATCHES * SIZE, 1))
START = RNG.normal(size=(3, 1))
PEAK = 0.3


def sgd(**options):
    return keras.optimizers.SGD(0.01, momentum=0.9, **options)


def make_model(optimizer=None, **options):
    layer = keras.layers.Dense(1, use_bias=False)
    model = keras.Sequential([keras.Input((3,)), layer])
    model.set_weights([START])
    options = {"loss": "mse", **(options or {"run_eagerly": True})}
    model.compile(sgd() if optimizer is None else optimizer, **options)
    return model


def innermost(optimizer):
    return getattr(optimizer, "inner_optimizer", optimizer)


class Record(keras.callbacks.Callback):
    """The learning rate and the momentum that each batch was trained with."""

    def __init__(self, momentum="momentum"):
        super().__init__()
        self.momentum, self.rates, self.momenta = momentum, [], []

    def on_train_batch_end(self, batch, logs=None):
        optimizer = innermost(self.model.optimizer)
        self.rates.append(float(optimizer.learning_rate))
        self.momenta.append(float(getattr(optimizer, self.momentum)))


def fit(model, *callbacks, **options):
    options = {"epochs": EPOCHS, "batch_size": SIZE, "shuffle": False, **options}
    return model.fit(X, Y, verbose=0, callbacks=list(callbacks), **options).history


def values(schedule, steps=range(STEPS)):
    return pytest.approx([float(schedule(step)) for step in steps], rel=1e-5, abs=1e-8)


# Which values.


@pytest.mark.short("None-options0", "8-options1", "50-options2")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shape": "linear", "three_phase": True, "pct_start": 0.4},
        {"div_factor": 5.0, "final_div_factor": 10.0, "pct_start": 0.7},
    ],
)
@pytest.mark.parametrize("steps", [None, 8, 50])
def test_each_batch_has_the_values_of_the_schedules(options, steps):
    record = Record()
    fit(make_model(), OneCycle(PEAK, steps, **options, momentum=(0.9, 0.7)), record)
    cycle = schedules.OneCycle(PEAK, steps or STEPS, **options)
    assert record.rates == values(cycle)
    assert record.momenta == values(cycle.momentum(0.9, 0.7))


@pytest.mark.parametrize(
    ("optimizer", "momentum"),
    [
        (keras.optimizers.Adam, "beta_1"),
        (keras.optimizers.AdamW, "beta_1"),
        (keras.optimizers.Lion, "beta_1"),
        (lambda: keras.optimizers.RMSprop(momentum=0.5), "momentum"),
        (lambda: keras.optimizers.LossScaleOptimizer(sgd(), initial_scale=2.0), "momentum"),
        (lambda: Lookahead(sgd()), "momentum"),
    ],
)
def test_whatever_has_a_momentum_is_moved(optimizer, momentum):
    record = Record(momentum)
    fit(make_model(optimizer()), OneCycle(PEAK), record, epochs=2)
    cycle = schedules.OneCycle(PEAK, 2 * BATCHES)
    assert record.rates == values(cycle, range(2 * BATCHES))
    assert record.momenta == values(cycle.momentum(), range(2 * BATCHES))


def test_without_momentum_only_the_learning_rate_moves():
    record = Record()
    history = fit(make_model(keras.optimizers.SGD()), OneCycle(PEAK, momentum=None), record)
    assert record.rates == values(schedules.OneCycle(PEAK, STEPS))
    assert record.momenta == [0.0] * STEPS
    assert "momentum" not in history


def test_the_batches_of_data_that_tells_them_are_counted():
    record = Record()
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(SIZE)
    make_model().fit(data, epochs=2, verbose=0, callbacks=[OneCycle(PEAK), record])
    assert record.rates == values(schedules.OneCycle(PEAK, 2 * BATCHES), range(2 * BATCHES))


def test_with_several_steps_per_execution_a_group_has_the_value_of_its_first():
    record = Record()
    fit(make_model(steps_per_execution=5, jit_compile=False), OneCycle(PEAK), record)
    assert record.rates == values(schedules.OneCycle(PEAK, STEPS), range(0, STEPS, 5))


def test_the_last_batch_has_nearly_the_last_value():
    record = Record()
    fit(make_model(), OneCycle(PEAK), record, epochs=20)
    assert max(record.rates) == pytest.approx(PEAK)
    assert record.rates[-1] < PEAK / 1e3
    assert (min(record.momenta), record.momenta[-1]) == pytest.approx((0.85, 0.95), abs=1e-3)


def test_history_has_the_values_of_the_end_of_each_epoch():
    history = fit(make_model(), OneCycle(PEAK))
    last = range(BATCHES - 1, STEPS, BATCHES)
    cycle = schedules.OneCycle(PEAK, STEPS)
    assert history["learning_rate"] == values(cycle, last)
    assert history["momentum"] == values(cycle.momentum(), last)


# What they do.


def by_hand(nesterov):
    """Gradient descent with momentum, in NumPy."""
    cycle = schedules.OneCycle(PEAK, STEPS)
    w, velocity = START.copy(), np.zeros_like(START)
    for step in range(STEPS):
        batch = slice(step % BATCHES * SIZE, (step % BATCHES + 1) * SIZE)
        gradient = 2.0 / SIZE * X[batch].T @ (X[batch] @ w - Y[batch])
        rate, momentum = float(cycle(step)), float(cycle.momentum()(step))
        velocity = momentum * velocity - rate * gradient
        w = w + (momentum * velocity - rate * gradient if nesterov else velocity)
    return w


@pytest.mark.short("mode0-True", "mode1-False")
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("mode", [{"run_eagerly": True}, {"jit_compile": False}])
def test_the_weights_are_those_of_gradient_descent_by_hand(nesterov, mode):
    model = make_model(sgd(nesterov=nesterov), **mode)
    fit(model, OneCycle(PEAK))
    np.testing.assert_allclose(model.get_weights()[0], by_hand(nesterov), rtol=1e-4, atol=1e-5)


class CountedDense(keras.layers.Dense):
    """Counts how often Python runs it: once a trace."""

    traces = 0

    def call(self, inputs):
        self.traces += 1
        return super().call(inputs)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_it_is_traced_as_often_as_a_training_without_it(jit_compile):
    def traces(*callbacks):
        layer = CountedDense(1)
        model = keras.Sequential([keras.Input((3,)), layer])
        model.compile(sgd(), "mse", jit_compile=jit_compile)
        fit(model, *callbacks)
        return layer.traces

    assert traces(OneCycle(PEAK)) == traces()


# Interrupted and continued.


def assert_same(one, other):
    variables = zip([*one.variables, *one.optimizer.variables],
                    [*other.variables, *other.optimizer.variables], strict=True)  # fmt: skip
    for mine, theirs in variables:
        np.testing.assert_array_equal(mine, theirs)


@settings(deadline=None, max_examples=4, derandomize=True)
@given(epoch=st.integers(0, EPOCHS - 1), batch=st.integers(0, BATCHES - 1))
@pytest.mark.long
def test_resumed_at_a_batch_it_is_the_training_that_lives_on(epoch, batch):
    # Keras repeats the epoch of the batch, and so does the cycle.
    alive, resumed = make_model(), make_model()
    with pytest.raises(Interrupted):
        fit(alive, OneCycle(PEAK), Interrupt(epoch, batch))
    expected = Record()
    fit(alive, OneCycle(PEAK), expected, initial_epoch=epoch)
    with tempfile.TemporaryDirectory() as folder:
        backup = keras.callbacks.BackupAndRestore(folder, save_freq=1)
        with pytest.raises(Interrupted):
            fit(make_model(), OneCycle(PEAK), backup, Interrupt(epoch, batch))
        record, backup = Record(), keras.callbacks.BackupAndRestore(folder, save_freq=1)
        fit(resumed, OneCycle(PEAK), backup, record)
    steps = range(epoch * BATCHES, STEPS)
    assert record.rates == values(schedules.OneCycle(PEAK, STEPS), steps)
    assert (record.rates, record.momenta) == (expected.rates, expected.momenta)
    assert_same(resumed, alive)


def test_initial_epoch_goes_on_with_the_cycle_of_the_whole_training():
    whole, parts = make_model(), make_model()
    history = fit(whole, OneCycle(PEAK))
    # Of the steps of all epochs, also where not all are trained.
    fit(parts, OneCycle(PEAK, STEPS), epochs=2)
    rest = fit(parts, OneCycle(PEAK), initial_epoch=2)
    assert rest["learning_rate"] == history["learning_rate"][2:]
    assert_same(parts, whole)


# The cycle is of one `fit`.


def unknown_length(x=X, y=Y):
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(SIZE)
    return data.filter(lambda x, y: True)


@pytest.mark.short("False-20", "True-None")
@pytest.mark.parametrize("steps", [None, STEPS])
@pytest.mark.parametrize("used_again", [False, True])
def test_a_second_fit_has_a_cycle_of_its_own(steps, used_again):
    model, callback = make_model(), OneCycle(PEAK, steps)
    for _ in range(2):
        record = Record()
        fit(model, callback if used_again else OneCycle(PEAK, steps), record)
        assert record.rates == values(schedules.OneCycle(PEAK, STEPS))


def test_a_second_fit_of_data_that_does_not_tell_its_batches_has_one_too():
    model = make_model()
    for _ in range(2):
        record, callbacks = Record(), [OneCycle(PEAK, STEPS)]
        model.fit(unknown_length(), epochs=EPOCHS, verbose=0, callbacks=[*callbacks, record])
        assert record.rates == values(schedules.OneCycle(PEAK, STEPS))


def test_a_second_fit_that_is_resumed_goes_on_with_its_own_cycle():
    model, record = make_model(), Record()
    fit(model, epochs=3)
    fit(model, OneCycle(PEAK, STEPS), epochs=1)
    fit(model, OneCycle(PEAK), record, initial_epoch=1)
    assert record.rates == values(schedules.OneCycle(PEAK, STEPS), range(BATCHES, STEPS))


def test_of_data_that_does_not_tell_its_batches_the_optimizer_says_where_to_go_on():
    model, record = make_model(), Record()
    options = {"epochs": 2, "verbose": 0}
    model.fit(unknown_length(), callbacks=[OneCycle(PEAK, STEPS)], **options)
    options = {"epochs": EPOCHS, "verbose": 0, "initial_epoch": 2}
    model.fit(unknown_length(), callbacks=[OneCycle(PEAK, STEPS), record], **options)
    assert record.rates == values(schedules.OneCycle(PEAK, STEPS), range(2 * BATCHES, STEPS))


@pytest.mark.parametrize(
    ("every", "group", "wrap"),
    [(2, 5, Lookahead), (3, 1, lambda optimizer: optimizer), (40, 1, Lookahead)],
)
def test_gradient_accumulation_changes_no_cycle(every, group, wrap):
    options = {"steps_per_execution": group, "jit_compile": False}
    model = make_model(wrap(sgd(gradient_accumulation_steps=every)), **options)
    for _ in range(2):
        record = Record()
        fit(model, OneCycle(PEAK), record)
        assert record.rates == values(schedules.OneCycle(PEAK, STEPS), range(0, STEPS, group))


def test_steps_that_overflow_delay_no_cycle():
    optimizer = keras.optimizers.LossScaleOptimizer(sgd(), initial_scale=2.0**127)
    model, record = make_model(optimizer), Record()
    fit(model, OneCycle(PEAK), record)
    assert int(optimizer.iterations) < STEPS
    assert record.rates == values(schedules.OneCycle(PEAK, STEPS))


def test_in_lanes_each_has_the_cycle_of_its_own_epochs():
    class Keep(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            kept.append(logs["learning_rate"])

    kept = []
    models = [make_model(sgd(gradient_accumulation_steps=2), jit_compile=False) for _ in range(2)]
    lanes = Lanes(models)
    for epochs in (2, EPOCHS):
        kept.clear()
        callbacks = [[OneCycle(PEAK, momentum=None), Keep()], []]
        lanes.fit(X, Y, batch_size=SIZE, epochs=epochs, callbacks=callbacks)
        last = range(BATCHES - 1, epochs * BATCHES, BATCHES)
        assert kept == values(schedules.OneCycle(PEAK, epochs * BATCHES), last)


def test_a_copy_of_one_that_was_used_moves_the_model_that_it_is_given_to():
    first, second = make_model(), make_model()
    callback = OneCycle(PEAK)
    fit(first, callback)
    before = first.get_weights()
    fit(second, copy.deepcopy(callback), epochs=2)
    np.testing.assert_array_equal(first.get_weights(), before)
    last = schedules.OneCycle(PEAK, 2 * BATCHES)(2 * BATCHES - 1)
    assert float(second.optimizer.learning_rate) == pytest.approx(float(last), rel=1e-5)


# Refusals.


def test_an_optimizer_without_momentum_is_refused():
    for optimizer in (keras.optimizers.SGD(), keras.optimizers.Adagrad()):
        with pytest.raises(ValueError, match="'momentum' must be a number > 0 in the optimizer"):
            fit(make_model(optimizer), OneCycle(PEAK))


def test_an_optimizer_with_a_schedule_is_refused():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 9)
    with pytest.raises(ValueError, match="Received: a CosineDecay"):
        fit(make_model(keras.optimizers.SGD(schedule, momentum=0.5)), OneCycle(PEAK))


def test_an_unknown_number_of_batches_is_refused_and_a_length_accepted():
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(SIZE).filter(lambda x, y: True)
    with pytest.raises(ValueError, match="`steps` must be a whole number >= 1 where the number"):
        make_model().fit(data, epochs=2, verbose=0, callbacks=[OneCycle(PEAK)])
    record = Record()
    make_model().fit(data, epochs=2, verbose=0, callbacks=[OneCycle(PEAK, 10), record])
    assert record.rates == values(schedules.OneCycle(PEAK, 10), range(10))
