"""Each policy's learning rate, in a real `fit`, is the formula written out."""

import copy
import math

import keras
import numpy as np
import pytest
from keras.optimizers.schedules import CosineDecay as CosineSchedule
from keras.optimizers.schedules import ExponentialDecay as ExponentialSchedule

from kerasreg.callbacks import (
    CosineDecay,
    ExponentialDecay,
    FixedLearningRate,
    LearningRateScheduler,
    ReduceOnPlateau,
    StepDecay,
    TimeBasedDecay,
)
from kerasreg.schedules import Warmup

EPOCHS, BATCHES = 6, 3

# The learning rate at t, epochs or steps, before any warm-up.
POLICIES = {
    "fixed": (lambda **o: FixedLearningRate(0.25, **o), lambda t: 0.25),
    "step": (
        lambda **o: StepDecay(0.5, factor=0.5, every=2, **o),
        lambda t: 0.5 * 0.5 ** (t // 2),
    ),
    "exponential": (
        lambda **o: ExponentialDecay(0.5, rate=0.8, **o),
        lambda t: 0.5 * 0.8**t,
    ),
    "time-based": (
        lambda **o: TimeBasedDecay(0.5, decay=0.3, **o),
        lambda t: 0.5 / (1 + 0.3 * t),
    ),
    "cosine": (
        lambda **o: CosineDecay(0.5, length=4, minimum=0.1, **o),
        lambda t: 0.1 + 0.4 * 0.5 * (1 + math.cos(math.pi * min(t, 4) / 4)),
    ),
    "any schedule": (
        lambda **o: LearningRateScheduler(ExponentialSchedule(0.5, 2, 0.8), **o),
        lambda t: 0.5 * 0.8 ** (t / 2),
    ),
    "any number": (lambda **o: LearningRateScheduler(0.125, **o), lambda t: 0.125),
}
every_policy = pytest.mark.parametrize(("make", "formula"), POLICIES.values(), ids=POLICIES.keys())
every_unit = pytest.mark.parametrize("unit", ["epoch", "step"])


def warmed_up(formula, warmup):
    """The docstring of Warmup: s(0)·(t + 1)/(w + 1), and s shifted by w after that."""
    return lambda t: formula(t - warmup) if t >= warmup else formula(0) * (t + 1) / (warmup + 1)


class Record(keras.callbacks.Callback):
    """The learning rate that the optimizer has in each batch."""

    def __init__(self):
        super().__init__()
        self.rates = []

    def on_train_batch_end(self, batch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))


def small_model(optimizer=None, seed=0, **options):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    options = options or {"run_eagerly": True}
    model.compile(optimizer or keras.optimizers.SGD(0.07, momentum=0.5), "mse", **options)
    return model


def fit(model, *callbacks, epochs=EPOCHS, **options):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2 * BATCHES, 2)), rng.normal(size=(2 * BATCHES, 1))
    return model.fit(
        x, y, 2, epochs, verbose=0, shuffle=False, callbacks=list(callbacks), **options
    )


def expected_rates(formula, unit):
    times = [epoch if unit == "epoch" else epoch * BATCHES + batch
             for epoch in range(EPOCHS) for batch in range(BATCHES)]  # fmt: skip
    return [formula(t) for t in times]


@pytest.mark.short(
    "0-epoch-fixed",
    "3-step-step",
    "3-epoch-exponential",
    "0-step-time-based",
    "0-epoch-cosine",
    "3-step-cosine",
    "3-epoch-any schedule",
    "0-step-any number",
)
@every_policy
@every_unit
@pytest.mark.parametrize("warmup", [0, 3])
def test_the_learning_rate_of_each_batch_is_the_formula(make, formula, unit, warmup):
    record = Record()
    history = fit(small_model(), make(unit=unit, warmup=warmup), record)
    expected = expected_rates(warmed_up(formula, warmup), unit)
    np.testing.assert_allclose(record.rates, expected, rtol=1e-6)
    # Logged at the end of each epoch: the rate of its last batch.
    assert history.history["learning_rate"] == record.rates[BATCHES - 1 :: BATCHES]


@every_policy
def test_value_is_the_formula(make, formula):
    policy, warm = make(), make(warmup=4)
    for t in (0, 1, 2, 5, 17, 100):
        assert policy.value(t) == pytest.approx(formula(t), rel=1e-5)
        assert warm.value(t) == pytest.approx(warmed_up(formula, 4)(t), rel=1e-5)


def test_a_schedule_with_a_warmup_of_its_own_is_a_schedule_like_any_other():
    schedule = Warmup(CosineSchedule(0.5, 10), steps=3)
    one, other = (
        LearningRateScheduler(schedule),
        LearningRateScheduler(CosineSchedule(0.5, 10), warmup=3),
    )
    assert [one.value(t) for t in range(12)] == [other.value(t) for t in range(12)]


def test_the_learning_rate_acts_on_the_weights():
    # Plain SGD on a sum: each step takes learning_rate off each weight.
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(9.0), lambda y, p: keras.ops.mean(p), run_eagerly=True)
    before = float(model.get_weights()[0][0, 0])
    model.fit(np.ones((3, 1)), np.ones((3, 1)), 1, 2, 0, [StepDecay(0.5, 0.5, every=1)])
    after = float(model.get_weights()[0][0, 0])
    assert before - after == pytest.approx(3 * 0.5 + 3 * 0.25, rel=1e-5)


# Interrupted and continued.


@pytest.mark.long
@every_policy
@every_unit
def test_a_resumed_training_is_the_uninterrupted_one(make, formula, unit):
    whole, record = small_model(), Record()
    history = fit(whole, make(unit=unit, warmup=2), record)

    parts, first, second = small_model(), Record(), Record()
    fit(parts, make(unit=unit, warmup=2), first, epochs=3)
    rest = fit(parts, make(unit=unit, warmup=2), second, initial_epoch=3)
    assert first.rates + second.rates == record.rates
    assert rest.history["learning_rate"] == history.history["learning_rate"][3:]
    for one, other in zip(whole.get_weights(), parts.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


# Where there is a learning rate to set.

ALL = [*(make for make, _ in POLICIES.values()), lambda: ReduceOnPlateau("loss")]


@pytest.mark.parametrize("make", ALL, ids=[*POLICIES, "plateau"])
def test_an_optimizer_with_a_schedule_of_its_own_is_refused(make):
    model = small_model(keras.optimizers.SGD(CosineSchedule(0.5, 10)))
    with pytest.raises(ValueError, match=r"`target` .* must be a number .*CosineDecay"):
        fit(model, make(), epochs=1)


@pytest.mark.parametrize("make", ALL, ids=[*POLICIES, "plateau"])
def test_a_scaled_optimizer_with_a_schedule_of_its_own_is_refused(make):
    inner = keras.optimizers.SGD(CosineSchedule(0.5, 10))
    model = small_model(keras.optimizers.LossScaleOptimizer(inner))
    with pytest.raises(ValueError, match=r"`target` .* must be a number .*CosineDecay"):
        fit(model, make(), epochs=1)


def test_a_model_that_is_not_compiled_is_refused():
    callback = FixedLearningRate(0.5)
    callback.set_model(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))
    with pytest.raises(ValueError, match="`target` must be in a model that is compiled"):
        callback.on_train_begin()


@every_unit
def test_mixed_precision_scales_the_loss_and_not_the_rate(unit):
    keras.config.set_dtype_policy("mixed_float16")
    inner = keras.optimizers.SGD(0.07)
    model, record = small_model(inner), Record()
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    make, formula = POLICIES["exponential"]
    history = fit(model, make(unit=unit), record)
    if unit == "epoch":  # Steps with too large a loss scale are skipped, and no steps.
        np.testing.assert_allclose(record.rates, expected_rates(formula, unit), rtol=1e-6)
    np.testing.assert_allclose(float(inner.learning_rate), record.rates[-1])
    assert history.history["learning_rate"][-1] == record.rates[-1]


@pytest.mark.skipif(
    not hasattr(keras.optimizers, "MultiOptimizer"), reason="this Keras has no MultiOptimizer"
)
@every_unit
def test_every_optimizer_of_a_multi_optimizer_gets_the_rate(unit):
    inner = [keras.optimizers.SGD(0.07), keras.optimizers.Adam(0.05)]
    mapping = keras.optimizers.OptimizerMap(inner[0], {".*/bias": inner[1]})
    model = small_model(keras.optimizers.MultiOptimizer(mapping))
    make, formula = POLICIES["exponential"]
    seen = []
    record = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(
            [float(optimizer.learning_rate) for optimizer in inner]
        )
    )
    history = fit(model, make(unit=unit), record)
    expected = expected_rates(formula, unit)
    np.testing.assert_allclose(seen, np.stack([expected, expected], axis=1), rtol=1e-6)
    assert history.history["learning_rate"] == [rates[0] for rates in seen[BATCHES - 1 :: BATCHES]]


@pytest.mark.skipif(
    not hasattr(keras.optimizers, "MultiOptimizer"), reason="this Keras has no MultiOptimizer"
)
def test_one_schedule_among_the_optimizers_of_a_multi_optimizer_is_refused():
    inner = [keras.optimizers.SGD(0.07), keras.optimizers.Adam(CosineSchedule(0.5, 10))]
    mapping = keras.optimizers.OptimizerMap(inner[0], {".*/bias": inner[1]})
    model = small_model(keras.optimizers.MultiOptimizer(mapping))
    with pytest.raises(ValueError, match=r"must be a number in 'adam' .*CosineDecay"):
        fit(model, FixedLearningRate(0.5), epochs=1)


# Speed and copies.


class CountedLoss:
    """The mean squared error, counting how often Python runs it: once a trace."""

    def __init__(self):
        self.traces = 0

    def __call__(self, y_true, y_pred):
        self.traces += 1
        return keras.ops.mean(keras.ops.square(y_true - y_pred))


@every_unit
def test_a_moving_rate_retraces_nothing(unit):
    loss = CountedLoss()
    model = small_model()
    model.compile(keras.optimizers.SGD(0.07), loss, jit_compile=False)
    fit(model, epochs=2)
    traces = loss.traces
    fit(model, StepDecay(0.5, 0.5, every=1, unit=unit), epochs=4)
    assert loss.traces == traces


@every_unit
def test_with_several_steps_per_execution_the_rate_is_set_before_each_group(unit):
    make, formula = POLICIES["exponential"]
    model = small_model(steps_per_execution=2, jit_compile=False)
    seen = []
    record = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(float(model.optimizer.learning_rate))
    )
    fit(model, make(unit=unit), record, epochs=2)
    # Three batches an epoch: groups of two and one, which begin at steps 0, 2, 3 and 5.
    times = [0, 2, 3, 5] if unit == "step" else [0, 0, 1, 1]
    np.testing.assert_allclose(seen, [formula(t) for t in times], rtol=1e-6)


@pytest.mark.short("step", "any number")
@every_policy
def test_a_copy_acts_on_the_model_that_it_is_given_to(make, formula):
    policy = make()
    model, record = small_model(), Record()
    fit(model, copy.deepcopy(policy), record)
    np.testing.assert_allclose(record.rates, expected_rates(formula, "epoch"), rtol=1e-6)


def test_a_copy_of_a_policy_that_was_used_leaves_the_first_model_alone():
    policy = FixedLearningRate(0.5)
    first, second = small_model(), small_model()
    fit(first, policy, epochs=1)
    first.optimizer.learning_rate = 0.125
    fit(second, copy.deepcopy(policy), epochs=1)
    assert float(first.optimizer.learning_rate) == 0.125
    assert float(second.optimizer.learning_rate) == 0.5
