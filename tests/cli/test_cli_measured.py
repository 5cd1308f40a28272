"""What models that are compared cost: their sizes, their zeros, and their times."""

import keras
import numpy as np
import pytest

from kerasreg.cli._measured import milliseconds, of_network


class Clock:
    """Each call of what is measured takes the next of some times."""

    def __init__(self, *seconds):
        self.now, self.seconds, self.calls = 0.0, list(seconds), 0

    def __call__(self):
        return self.now

    def call(self):
        self.calls += 1
        self.now += self.seconds.pop(0)


def test_it_is_the_median_without_the_first_call():
    clock = Clock(50.0, *[0.01, 0.03, 0.02] * 7)
    assert milliseconds(clock.call, clock) == pytest.approx(20.0)
    assert clock.calls == 21


def test_slow_models_are_called_a_few_times():
    clock = Clock(50.0, *[0.6] * 30)
    assert milliseconds(clock.call, clock) == pytest.approx(600.0)
    assert clock.calls == 3
    clock = Clock(1.0, 90.0)
    assert milliseconds(clock.call, clock) == pytest.approx(90_000.0)


def test_the_size_of_a_network_is_that_of_its_numbers():
    inputs = {name: keras.Input((2,), name=name) for name in ("a", "b")}
    joined = keras.layers.Concatenate()(list(inputs.values()))
    dropped = keras.layers.Dropout(0.5, seed=1)(joined)  # Its seeds are no weights.
    model = keras.Model(inputs, keras.layers.Dense(3, use_bias=False)(dropped))
    kernel = np.ones((4, 3))
    kernel[:3] = 0.0
    model.layers[-1].set_weights([kernel])
    found = of_network(model, {name: np.ones((5, 2)) for name in inputs})
    assert (found["zeros"], found["bytes"]) == (0.75, 48)
    assert found["milliseconds"] > 0.0
