"""Published schedules of dropout rates are the formulas of their papers."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.optimizers.schedules import CosineDecay, PiecewiseConstantDecay, PolynomialDecay

from kerasreg.layers import ScheduledDropout, ScheduledStochasticDepth
from kerasreg.schedules import (
    Constant,
    CurriculumDropout,
    EarlyDropout,
    LateDropout,
    Scaled,
    Warmup,
    linear_depth,
)

STEPS = range(0, 40)


def values(schedule, steps=STEPS):
    return [float(schedule(step)) for step in steps]


def polynomial(t, first, length, last):
    return first + (last - first) * min(t, length) / length


@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("gamma", [None, 0.01, 0.5])
def test_curriculum_dropout_is_the_equation_of_the_paper(rate, gamma):
    schedule = CurriculumDropout(rate, steps=20, gamma=gamma)
    speed = 10 / 20 if gamma is None else gamma
    # Equation 2 of Morerio et al., for the probability to keep, with a limit of 1 - rate.
    limit = 1 - rate
    keep = [(1 - limit) * math.exp(-speed * t) + limit for t in STEPS]
    np.testing.assert_allclose(values(schedule), 1 - np.array(keep), rtol=1e-5, atol=1e-7)


def test_curriculum_dropout_begins_at_exactly_0_and_is_half_way_after_7_percent():
    schedule = CurriculumDropout(0.5, steps=10**6)
    assert float(schedule(0)) == 0.0
    assert float(schedule(69_315)) == pytest.approx(0.25, rel=1e-4)
    # The first steps are not lost in the rounding of 1 - exp(-x).
    assert float(schedule(1)) == pytest.approx(0.5 * 1e-5, rel=1e-4)


@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_early_dropout_is_there_in_the_first_steps_only(rate):
    expected = [rate if t < 7 else 0.0 for t in STEPS]
    np.testing.assert_array_equal(values(EarlyDropout(rate, steps=7)), expected)
    expected = [rate * (1 - t / 7) if t < 7 else 0.0 for t in STEPS]
    linear = EarlyDropout(rate, steps=7, shape="linear")
    np.testing.assert_allclose(values(linear), expected, rtol=1e-6)


@pytest.mark.parametrize("start", [0, 1, 13])
def test_late_dropout_is_there_after_the_first_steps_only(start):
    expected = [0.5 if t >= start else 0.0 for t in STEPS]
    np.testing.assert_array_equal(values(LateDropout(0.5, start)), expected)


@pytest.mark.parametrize("start", [0, 1, 13])
def test_late_dropout_shifts_a_schedule_to_its_start(start):
    schedule = LateDropout(PolynomialDecay(0.1, 10, 0.6), start)
    expected = [polynomial(t - start, 0.1, 10, 0.6) if t >= start else 0.0 for t in STEPS]
    np.testing.assert_allclose(values(schedule), expected, rtol=1e-5)


@pytest.mark.parametrize("factor", [-2.0, 0.0, 0.25, 1.0, 3])
def test_scaled_is_the_multiple(factor):
    schedule = Scaled(PolynomialDecay(0.1, 10, 0.6), factor)
    expected = [factor * polynomial(t, 0.1, 10, 0.6) for t in STEPS]
    np.testing.assert_allclose(values(schedule), expected, rtol=1e-5)
    assert values(Scaled(0.5, factor), [0, 100]) == [0.5 * factor] * 2


SCHEDULES = {
    "CurriculumDropout": lambda: CurriculumDropout(0.5, 20),
    "EarlyDropout": lambda: EarlyDropout(0.5, 5),
    "EarlyDropout linear": lambda: EarlyDropout(0.5, 5, shape="linear"),
    "LateDropout": lambda: LateDropout(PolynomialDecay(0.1, 3, 0.6), 2),
    "Scaled": lambda: Scaled(CosineDecay(0.5, 5), 0.5),
}
every_schedule = pytest.mark.parametrize("name", SCHEDULES)


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32"])
@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "XLA"])
def test_steps_may_be_tensors_in_graphs(dtype, jit_compile):
    schedules = {name: make() for name, make in SCHEDULES.items()}

    @tf.function(jit_compile=jit_compile)
    def compiled(step):
        return {name: schedule(step) for name, schedule in schedules.items()}

    for step in (0, 1, 2, 4, 5, 9):
        for name, result in compiled(tf.constant(step, dtype)).items():
            assert result.dtype == "float32"
            assert tuple(result.shape) == ()
            expected = pytest.approx(float(schedules[name](step)), rel=1e-6, abs=1e-8)
            assert float(result) == expected, name


@every_schedule
@pytest.mark.parametrize("step", [0, 10, 2**24 + 1, 2**31 - 1])
def test_values_stay_in_range_at_any_step(name, step):
    assert 0.0 <= float(SCHEDULES[name]()(step)) <= 0.6 + 1e-7


def test_layers_follow_them_in_a_training():
    layers = {name: ScheduledDropout(make(), seed=1) for name, make in SCHEDULES.items()}
    model = keras.Sequential([keras.Input((4,)), *layers.values(), keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    seen = {name: [] for name in layers}

    def record(batch, logs):
        for name, layer in layers.items():
            seen[name].append(float(layer.rate))

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=record)
    model.fit(np.ones((8, 4)), np.ones((8, 1)), 2, 2, 0, [callback])
    for name, layer in layers.items():
        expected = values(layer.schedule, range(8))
        np.testing.assert_allclose(seen[name], expected, rtol=1e-6, atol=1e-8, err_msg=name)


def test_they_combine():
    # Late, then rising as in the curriculum, to half of it.
    combined = LateDropout(Scaled(CurriculumDropout(0.8, 20), 0.5), start_step=5)
    expected = [0.0 if t < 5 else 0.4 * (1 - math.exp(-(t - 5) / 2)) for t in STEPS]
    np.testing.assert_allclose(values(combined), expected, rtol=1e-5, atol=1e-7)
    warm = Warmup(EarlyDropout(0.5, 3), steps=2, start=0.0)
    np.testing.assert_allclose(values(warm, range(7)), [0, 0.25, 0.5, 0.5, 0.5, 0, 0])


def test_a_schedule_that_leaves_the_range_of_a_rate_is_refused_by_the_layer():
    with pytest.raises(ValueError, match=r"`rate` must be .*from 0 to 1"):
        ScheduledDropout(Scaled(0.8, 2.0))


# Rates that grow with depth.


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 1 / 3, 1.0])
@pytest.mark.parametrize("depth", [1, 3, 54])
def test_linear_depth_is_the_rule_of_the_paper(rate, depth):
    # Survival of block l in Huang et al.: 1 - l/L · (1 - p_L), with p_L = 1 - rate.
    survival = [1 - block / depth * (1 - (1 - rate)) for block in range(1, depth + 1)]
    rates = linear_depth(rate, depth)
    np.testing.assert_allclose(rates, 1 - np.array(survival), rtol=1e-9, atol=1e-14)
    assert rates[-1] == pytest.approx(rate, abs=1e-15)
    for value in rates:
        ScheduledStochasticDepth(value)  # Each is a rate, also at the ends.


def test_linear_depth_of_a_schedule_is_a_schedule_for_each_block():
    stairs = PiecewiseConstantDecay([0, 1], [0.0, 0.4, 0.8])
    schedules = linear_depth(stairs, 4)
    assert len(schedules) == 4
    for block, schedule in enumerate(schedules, start=1):
        expected = [float(stairs(t)) * block / 4 for t in range(4)]
        np.testing.assert_allclose(values(schedule, range(4)), expected, rtol=1e-6)
        assert float(ScheduledStochasticDepth(schedule).rate) == 0.0


def test_linear_depth_of_a_constant_schedule_is_that_of_its_number():
    scheduled = [float(schedule(0)) for schedule in linear_depth(Constant(0.3), 5)]
    np.testing.assert_allclose(scheduled, linear_depth(0.3, 5), rtol=1e-6)


@pytest.mark.parametrize("depth", [0, -1, 1.5, "3", None, True])
def test_what_is_no_depth_is_refused(depth):
    with pytest.raises(ValueError, match=r"`depth` must be .*Received: depth="):
        linear_depth(0.5, depth)


@pytest.mark.parametrize("rate", [-0.1, 1.1, math.nan, "0.5", None, True])
def test_what_is_no_rate_is_refused(rate):
    with pytest.raises(ValueError, match=r"`rate` must be .*Received: rate="):
        linear_depth(rate, 3)
