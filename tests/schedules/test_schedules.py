"""Constant and Warmup are the functions of their docstrings, and schedules of Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras.optimizers.schedules import CosineDecay, PolynomialDecay

from kerasreg.schedules import Constant, Warmup

laws = settings(deadline=None, max_examples=15, derandomize=True)
values = st.floats(-10, 10, width=32, allow_subnormal=False)
lengths = st.integers(0, 20)
steps = st.integers(0, 60)


@laws
@given(values, st.integers(0, 2**31 - 1))
def test_a_constant_is_its_value_at_every_step(value, step):
    assert float(Constant(value)(step)) == value


def test_a_constant_has_the_shape_of_the_step():
    result = Constant(0.5)(np.arange(6).reshape(2, 3))
    assert keras.backend.standardize_dtype(result.dtype) == "float32"
    np.testing.assert_array_equal(result, np.full((2, 3), 0.5))


def cosine(t, first=0.5, length=10):
    return first * 0.5 * (1 + np.cos(np.pi * min(t, length) / length))


@laws
@given(lengths, steps)
def test_warmup_rises_to_the_first_value_and_then_shifts_the_schedule(length, step):
    warmup = Warmup(CosineDecay(0.5, 10), steps=length)
    expected = cosine(step - length) if step >= length else 0.5 * (step + 1) / (length + 1)
    assert float(warmup(step)) == pytest.approx(expected, rel=1e-5, abs=1e-7)


@laws
@given(values, lengths, values, steps)
def test_warmup_rises_on_a_line_from_its_start(value, length, start, step):
    warmup = Warmup(value, steps=length, start=start)
    expected = value if step >= length else start + (value - start) * step / length
    assert float(warmup(step)) == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_the_default_warmup_wastes_no_step_at_zero_and_repeats_no_value():
    rising = [float(Warmup(1.0, steps=4)(step)) for step in range(6)]
    np.testing.assert_allclose(rising, [0.2, 0.4, 0.6, 0.8, 1.0, 1.0], rtol=1e-6)


def test_no_warmup_is_the_schedule():
    schedule = CosineDecay(0.5, 10)
    warmup = Warmup(schedule, steps=0)
    assert [float(warmup(t)) for t in range(12)] == [float(schedule(t)) for t in range(12)]


def test_warmups_nest():
    inner = Warmup(PolynomialDecay(1.0, 4, 0.0), steps=2, start=0.5)
    outer = Warmup(inner, steps=3, start=0.0)
    # The outer one rises to the first value of the inner one, which is 0.5.
    expected = [0.0, 0.5 / 3, 1.0 / 3, 0.5, 0.75, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    np.testing.assert_allclose([outer(t) for t in range(11)], expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("make", [lambda: Constant(0.25), lambda: Warmup(CosineDecay(0.5, 5), 3)])
@pytest.mark.parametrize("dtype", ["int32", "int64", "float32"])
@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "XLA"])
def test_steps_may_be_tensors_in_graphs(make, dtype, jit_compile):
    schedule = make()
    compiled = tf.function(lambda step: schedule(step), jit_compile=jit_compile)
    for step in range(10):
        result = compiled(tf.constant(step, dtype))
        assert result.dtype == "float32"
        assert tuple(result.shape) == ()
        assert float(result) == pytest.approx(float(schedule(step)), rel=1e-6, abs=1e-8)


def test_an_optimizer_of_keras_follows_a_warmup():
    schedule = Warmup(CosineDecay(0.5, 4), steps=2)
    optimizer = keras.optimizers.SGD(schedule)
    weight = keras.Variable(10.0)
    for step in range(6):
        before = float(weight)
        optimizer.apply_gradients([(tf.constant(1.0), weight)])
        assert before - float(weight) == pytest.approx(float(schedule(step)), rel=1e-4, abs=1e-6)
