"""Schedules equal optax's, which are computed in float64, over 10⁴ steps."""

import jax
import numpy as np
import optax
import pytest
from keras.optimizers.schedules import CosineDecay

from kerasreg import schedules

STEPS = np.arange(10_000)

# Each pair is of one definition, but for what the arguments say.
PAIRS = {
    "linear": (
        schedules.Linear(0.1, 1e-3, 8000),
        lambda: optax.linear_schedule(0.1, 1e-3, 8000),
    ),
    "polynomial": (
        schedules.Polynomial(0.1, 1e-3, 8000, power=2.5),
        lambda: optax.polynomial_schedule(0.1, 1e-3, 2.5, 8000),
    ),
    "polynomial that begins later": (
        schedules.Polynomial(1e-3, 0.1, 5000, power=0.5).shift(700),
        lambda: optax.polynomial_schedule(1e-3, 0.1, 0.5, 5000, transition_begin=700),
    ),
    "cosine": (
        schedules.Cosine(0.1, 1e-3, 8000),
        lambda: optax.cosine_decay_schedule(0.1, 8000, alpha=1e-2),
    ),
    "warm-up and cosine": (
        schedules.Warmup(schedules.Cosine(0.1, 1e-4, 7500), steps=500, start=0.0),
        # Its length contains the warm-up.
        lambda: optax.warmup_cosine_decay_schedule(0.0, 0.1, 500, 8000, end_value=1e-4),
    ),
    "warm-up and exponential": (
        # Not before Keras' schedule of that name: its power is of a rounded number.
        schedules.Warmup(schedules.Step(0.1, 0.5, every=1000), steps=400, start=1e-3),
        lambda: optax.warmup_exponential_decay_schedule(
            1e-3, 0.1, 400, 1000, decay_rate=0.5, staircase=True
        ),
    ),
    "joined": (
        schedules.Join(
            [schedules.Linear(0.0, 0.1, 100), schedules.Cosine(0.1, 0.01, 3000), 0.02],
            [100, 4000],
        ),
        lambda: optax.join_schedules(
            [
                optax.linear_schedule(0.0, 0.1, 100),
                optax.cosine_decay_schedule(0.1, 3000, alpha=0.1),
                optax.constant_schedule(0.02),
            ],
            [100, 4000],
        ),
    ),
    "one cycle, cosine": (
        schedules.OneCycle(0.1, 10_000),
        lambda: optax.cosine_onecycle_schedule(10_000, 0.1),
    ),
    "one cycle, linear": (
        schedules.Piecewise(
            [3000, 8500, 10_000], [0.1 / 25, 0.1, 0.1 / 25, 0.1 / 25 / 1e4], shape="linear"
        ),
        lambda: optax.linear_onecycle_schedule(10_000, 0.1),
    ),
    "sgdr": (
        schedules.Join(
            [
                schedules.Warmup(schedules.Cosine(peak, 1e-3, length - 50), steps=50, start=0.0)
                for peak, length in ((0.1, 1000), (0.05, 2000), (0.025, 4000))
            ],
            [1000, 3000],
        ),
        lambda: optax.sgdr_schedule(
            [
                {
                    "init_value": 0.0,
                    "peak_value": peak,
                    "warmup_steps": 50,
                    "decay_steps": length,
                    "end_value": 1e-3,
                }
                for peak, length in ((0.1, 1000), (0.05, 2000), (0.025, 4000))
            ]
        ),
    ),
    "restarts": (
        schedules.CosineRestarts(0.1, 1000, growth=2.0, peak_factor=0.5, cycles=3),
        lambda: optax.join_schedules(
            [
                *(
                    optax.cosine_decay_schedule(peak, length)
                    for peak, length in ((0.1, 1000), (0.05, 2000), (0.025, 4000))
                ),
                optax.constant_schedule(0.0),
            ],
            [1000, 3000, 7000],
        ),
    ),
    "drops at milestones": (
        schedules.MultiStep(0.1, [1000, 4000, 4500], factor=[0.3, 0.5, 2.0]),
        lambda: optax.piecewise_constant_schedule(0.1, {1000: 0.3, 4000: 0.5, 4500: 2.0}),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_it_is_optax_s(name):
    ours, make = PAIRS[name]
    with jax.enable_x64(True):
        expected = np.array([float(value) for value in jax.vmap(make())(STEPS.astype("float64"))])
    assert np.ptp(expected) > 0
    # What optax says of a cosine near its end, 1 + cos(πx), has 16 digits after the point.
    np.testing.assert_allclose(ours(STEPS), expected, rtol=1e-6, atol=1e-17)


def test_the_cosine_of_keras_loses_what_ours_has_where_it_ends_near_zero():
    end = np.array([7999, 7990])
    exact = 0.1 * np.sin(np.pi / 2 * (8000 - end) / 8000) ** 2
    np.testing.assert_allclose(schedules.Cosine(0.1, 0.0, 8000)(end), exact, rtol=1e-6)
    keras_values = np.array([float(CosineDecay(0.1, 8000)(int(step))) for step in end])
    assert np.max(np.abs(keras_values / exact - 1)) > 1e-3
