"""Explored values are declared ones, near the value that there was, and another where there is."""

import random

import keras_tuner
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasreg.tuners._explore import explored

pytestmark = pytest.mark.shares_programs


def declared(kind, *args, **kwargs):
    space = keras_tuner.HyperParameters()
    getattr(space, kind)("x", *args, **kwargs)
    return space.space[0]


def reached(hp, value):
    """All values that may come after one, as exact as they are."""
    source = random.Random(0)
    found = {explored(hp, value, source) for _ in range(30)}
    assert {type(one) for one in found} == {type(value)}
    return sorted(found)


CASES = {
    "whole numbers at the lower bound": (("Int", 0, 8), {}, 0, [1]),
    "one": (("Int", 0, 8), {}, 1, [0, 2]),
    "two": (("Int", 0, 8), {}, 2, [1, 3]),
    "ten": (("Int", 0, 20), {}, 10, [8, 12]),
    "negative whole numbers": (("Int", -5, 5), {}, -1, [-2, 0]),
    "zero within": (("Int", -5, 5), {}, 0, [-1, 1]),
    "whole numbers at the upper bound": (("Int", 0, 20), {}, 20, [16]),
    "two of them": (("Int", 0, 1), {}, 1, [0]),
    "only one": (("Int", 3, 3), {}, 3, [3]),
    "units": (("Int", 32, 256), {"step": 32}, 128, [96, 160]),
    "a step that is no part of the range": (("Int", 0, 10), {"step": 6}, 6, [0]),
    "many steps": (("Int", 0, 10**12), {"step": 10}, 1000, [800, 1200]),
    "without a step": (("Int", 1, 1000), {"sampling": "log"}, 100, [80, 120]),
    "a small one without a step": (("Int", 1, 1000), {"sampling": "log"}, 1, [2]),
    "powers": (("Int", 16, 256), {"step": 2, "sampling": "log"}, 64, [32, 128]),
    "the largest power": (("Int", 16, 300), {"step": 2, "sampling": "log"}, 256, [128]),
    "a reversed scale": (("Int", 1, 100), {"step": 3, "sampling": "reverse_log"}, 92, [74, 100]),
    "rates in steps": (("Float", 0.0, 0.5), {"step": 0.25}, 0.25, [0.0, 0.5]),
    "a rate of zero in steps": (("Float", 0.0, 0.5), {"step": 0.25}, 0.0, [0.25]),
    "floating point": (("Float", 0.0, 1.0), {}, 0.5, [0.4, 0.6]),
    "zero": (("Float", 0.0, 0.5), {}, 0.0, [0.05]),
    "the upper bound": (("Float", 0.0, 0.5), {}, 0.5, [0.4]),
    "negative": (("Float", -1.0, 1.0), {}, -0.5, [-0.6, -0.4]),
    "a scale of powers": (("Float", 1e-4, 1e-2), {"sampling": "log"}, 1e-4, [1.2e-4]),
    "decades": (("Float", 1e-4, 1e-1), {"step": 10, "sampling": "log"}, 1e-3, [1e-4, 1e-2]),
    "a choice": (("Choice", [16, 32, 64]), {}, 32, [16, 64]),
    "the first choice": (("Choice", ["a", "b", "c"]), {}, "a", ["b"]),
    "numbers to choose from": (("Choice", [0.1, 0.5, 3.0]), {}, 3.0, [0.5]),
    "the only choice": (("Choice", ["a"]), {}, "a", ["a"]),
    "a Boolean": (("Boolean",), {}, True, [False]),
    "a constant": (("Fixed", 3), {}, 3, [3]),
}


@pytest.mark.parametrize("kind", CASES)
def test_what_may_come_after_a_value(kind):
    arguments, options, value, expected = CASES[kind]
    found = reached(declared(*arguments, **options), value)
    numbers = isinstance(value, float)
    assert found == (pytest.approx(expected, rel=1e-9) if numbers else expected)


@given(
    st.integers(-30, 30),
    st.integers(0, 60),
    st.integers(1, 9),
    st.sampled_from([int, float]),
    st.integers(0, 2**31),
)
def test_numbers_in_steps_stay_on_their_grid_and_move(low, length, step, kind, seed):
    name = "Int" if kind is int else "Float"
    hp = declared(name, kind(low), kind(low + length), step=kind(step))
    grid, source = list(hp.values), random.Random(seed)
    value = hp.random_sample(seed)
    for _ in range(8):
        other = explored(hp, value, source)
        assert other in grid
        assert (other != value) == (len(grid) > 1)
        value = other
