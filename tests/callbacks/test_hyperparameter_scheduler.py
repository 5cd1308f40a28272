"""HyperparameterScheduler: each target acts in the step as NumPy, written out, says."""

import keras
import numpy as np
import pytest
from keras.optimizers.schedules import PiecewiseConstantDecay

from kerasreg.callbacks import HyperparameterScheduler
from kerasreg.layers import ScheduledDropout
from kerasreg.optimizers import Proximal
from kerasreg.regularizers import L1, L2
from kerasreg.schedules import Linear, Warmup

EPOCHS, BATCHES, SIZE, RATE = 3, 5, 4, 0.05
RNG = np.random.default_rng(0)
X = RNG.normal(size=(BATCHES * SIZE, 3)).astype("float32")
Y = (X @ [[1.0], [-2.0], [0.5]]).astype("float32")
START = np.array([[0.5], [-1.0], [0.25]], "float32")
SGD, Adam = keras.optimizers.SGD, keras.optimizers.Adam


# One step from weights w, given the gradient of the loss without penalties.


def momentum(w, gradient, value, t, memory):
    memory["v"] = value * memory.get("v", 0.0) - RATE * gradient
    return w + memory["v"]


def nesterov(w, gradient, value, t, memory):
    momentum(w, gradient, value, t, memory)
    return w + value * memory["v"] - RATE * gradient


def weight_decay(w, gradient, value, t, memory):
    return w - RATE * value * w - RATE * gradient


def adam(w, gradient, value, t, memory):
    memory["m"] = value * memory.get("m", 0.0) + (1 - value) * gradient
    memory["v"] = 0.99 * memory.get("v", 0.0) + 0.01 * gradient**2
    m, v = memory["m"] / (1 - value ** (t + 1)), memory["v"] / (1 - 0.99 ** (t + 1))
    return w - RATE * m / np.sqrt(v)


def all_or_nothing(w, gradient, value, t, memory):
    return w if value == 1 else w - RATE * gradient


def ridge(w, gradient, value, t, memory):
    return w - RATE * (gradient + value * w)


def of_a_sum(w, gradient, value, t, memory):
    return w - RATE * (gradient + value * (0.3 * np.sign(w) + 0.2 * w))


def soft_threshold(w, threshold):
    return np.sign(w) * np.maximum(np.abs(w) - threshold, 0)


def proximal(w, gradient, value, t, memory):
    return soft_threshold(w - RATE * gradient, RATE * value)


def proximal_momentum(w, gradient, value, t, memory):
    memory["size"] = value * memory.get("size", 0.0) + RATE
    return soft_threshold(momentum(w, gradient, value, t, memory), memory["size"] * 0.1)


STEPS = EPOCHS * BATCHES
FALLING, RISING = Linear(0.95, 0.3, STEPS), Linear(0.0, 3.0, STEPS)
# Rates of 0 and 1 over epochs, over steps, and at the first steps of groups of four.
SWITCHES = PiecewiseConstantDecay([0, 1, 4, 5, 9], [0.0, 1.0, 0.0, 1.0, 0.0, 1.0])
CASES = {
    "momentum": ("momentum", FALLING, momentum, lambda: SGD(RATE, momentum=0.5), None),
    "nesterov": ("momentum", FALLING, nesterov, lambda: SGD(RATE, 0.5, nesterov=True), None),
    "beta_1": ("momentum", FALLING, adam, lambda: Adam(RATE, beta_1=0.5, beta_2=0.99), None),
    "weight decay": ("weight_decay", RISING, weight_decay,
                     lambda: SGD(RATE, weight_decay=0.1), None),
    "dropout": ("dropout", SWITCHES, all_or_nothing, lambda: SGD(RATE), None),
    "strength": ("strength", RISING, ridge, lambda: SGD(RATE), lambda: L2(0.1)),
    "factor of a sum": ("strength", RISING, of_a_sum, lambda: SGD(RATE),
                        lambda: L1(0.3) + L2(0.2)),
    "proximal": ("strength", RISING, proximal, lambda: Proximal(SGD(RATE)), lambda: L1(0.1)),
    "proximal momentum": ("momentum", FALLING, proximal_momentum,
                          lambda: Proximal(SGD(RATE, momentum=0.5)), lambda: L1(0.1)),
}  # fmt: skip
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def linear_model(optimizer, penalty=None, rate=None, **options):
    layers = [] if rate is None else [ScheduledDropout(rate, seed=1)]
    dense = keras.layers.Dense(1, use_bias=False, kernel_regularizer=penalty)
    model = keras.Sequential([keras.Input((3,)), *layers, dense])
    dense.set_weights([START])
    model.compile(optimizer, "mse", **{"jit_compile": False, **options})
    return model


def fit(model, *callbacks, epochs=EPOCHS, **options):
    options = {"shuffle": False, "verbose": 0, "callbacks": list(callbacks), **options}
    return model.fit(X, Y, SIZE, epochs, **options)


def weights(model):
    return model.layers[-1].get_weights()[0]


def trained(case, unit, warmup=0, optimizer=None, **options):
    """The weights after a training in which a callback moves the target of a case."""
    target, schedule, _, own, penalty = case
    rate = 0.5 if target == "dropout" else None
    model = linear_model(optimizer or own(), penalty and penalty(), rate, **options)
    fit(model, HyperparameterScheduler(target, schedule, unit=unit, warmup=warmup))
    return weights(model)


def expected(case, unit, warmup=0, group=1):
    """The weights after the same training, computed here."""
    _, schedule, step, *_ = case
    schedule = Warmup(schedule, warmup)
    w, memory = START.astype("float64"), {}
    for t in range(STEPS):
        epoch, batch = divmod(t, BATCHES)
        value = float(schedule(epoch if unit == "epoch" else t - batch % group))
        part = slice(batch * SIZE, (batch + 1) * SIZE)
        gradient = 2 / SIZE * X[part].T @ (X[part] @ w - Y[part])
        w = step(w, gradient, value, t, memory)
    return w


def assert_close(one, other):
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


@pytest.mark.short(
    "epoch-momentum",
    "epoch-weight decay",
    "epoch-dropout",
    "epoch-proximal",
    "step-momentum",
    "step-nesterov",
    "step-beta_1",
    "step-weight decay",
    "step-dropout",
    "step-strength",
    "step-factor of a sum",
    "step-proximal",
    "step-proximal momentum",
)
@every_case
@pytest.mark.parametrize("unit", ["epoch", "step"])
def test_training_is_that_of_numpy_with_a_value_that_changes(case, unit):
    assert_close(trained(case, unit), expected(case, unit))


@pytest.mark.short("momentum", "dropout", "strength", "proximal momentum")
@every_case
def test_so_it_is_when_xla_compiles_the_step(case):
    assert_close(trained(case, "step", jit_compile=True), expected(case, "step"))


@pytest.mark.short("beta_1", "dropout", "proximal")
@every_case
def test_with_several_steps_per_execution_the_value_is_set_before_each_group(case):
    # Five batches an epoch: groups of four and one.
    assert_close(trained(case, "step", steps_per_execution=4), expected(case, "step", group=4))


@pytest.mark.parametrize("name", ["momentum", "strength"])
@pytest.mark.parametrize(("unit", "warmup"), [("epoch", 2), ("step", 4)])
def test_a_warmup_comes_before_the_schedule(name, unit, warmup):
    case = CASES[name]
    assert_close(trained(case, unit, warmup), expected(case, unit, warmup))


@pytest.mark.parametrize("name", ["momentum", "weight decay", "proximal momentum"])
def test_the_number_of_an_optimizer_with_a_scaled_loss_is_moved(name):
    case = CASES[name]
    optimizer = keras.optimizers.LossScaleOptimizer(case[3](), initial_scale=2.0**4)
    assert_close(trained(case, "step", optimizer=optimizer), expected(case, "step"))


@pytest.mark.skipif(
    not hasattr(keras.optimizers, "MultiOptimizer"), reason="this Keras has no MultiOptimizer"
)
def test_every_optimizer_of_a_multi_optimizer_is_moved():
    inner = [SGD(RATE, momentum=0.5), Adam(RATE, beta_1=0.7)]
    mapping = keras.optimizers.OptimizerMap(inner[0], {"nothing": inner[1]})
    optimizer = keras.optimizers.MultiOptimizer(mapping)
    case = CASES["momentum"]
    assert_close(trained(case, "epoch", optimizer=optimizer), expected(case, "epoch"))
    assert float(inner[1].beta_1) == pytest.approx(float(FALLING(EPOCHS - 1)))


OPTIMIZERS = ["Adam", "AdamW", "Adamax", "Lamb", "Lion", "Muon", "Nadam", "RMSprop"]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ("Adam", "Lamb", "RMSprop") else pytest.mark.long)
        for name in OPTIMIZERS
    ],
)
def test_momentum_is_that_of_an_eager_training_in_which_python_sets_it(name):
    if not hasattr(keras.optimizers, name):
        pytest.skip("this Keras has none")
    options = {"momentum": 0.5} if name == "RMSprop" else {}
    one, other = (getattr(keras.optimizers, name)(0.05, **options) for _ in range(2))
    argument = "momentum" if hasattr(one, "momentum") else "beta_1"

    def set_number(batch, logs):
        setattr(other, argument, float(FALLING(int(other.iterations))))

    moved, by_hand = linear_model(one), linear_model(other, run_eagerly=True)
    fit(moved, HyperparameterScheduler("momentum", FALLING, unit="step"))
    fit(by_hand, keras.callbacks.LambdaCallback(on_train_batch_begin=set_number))
    assert_close(weights(moved), weights(by_hand))


def test_a_moved_rate_draws_the_masks_of_a_schedule_in_the_layer_itself():
    schedule = Linear(0.0, 0.9, STEPS)
    moved, own = linear_model(SGD(RATE), rate=0.5), linear_model(SGD(RATE), rate=schedule)
    fit(moved, HyperparameterScheduler("dropout", schedule, unit="step"))
    fit(own)
    assert_close(weights(moved), weights(own))


def test_steps_are_those_of_the_optimizer_where_it_accumulates_gradients():
    optimizer, seen = SGD(RATE, momentum=0.5, gradient_accumulation_steps=2), []
    record = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(float(optimizer.momentum))
    )
    fit(linear_model(optimizer), HyperparameterScheduler("momentum", FALLING, unit="step"), record)
    assert seen == pytest.approx([float(FALLING(batch // 2)) for batch in range(STEPS)])
