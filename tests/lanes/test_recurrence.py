"""Recurrent layers of lanes that XLA compiles: their steps in time are taken one by one."""

import keras
import numpy as np
import pytest

from kerasreg import lanes
from kerasreg._keras import lane_recurrence

layers = keras.layers
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="JAX compiles loops over time"
)


def recurrent(number):
    keras.utils.set_random_seed(number)
    model = keras.Sequential([keras.Input((5, 2)), layers.GRU(3, dropout=0.2, seed=number)])
    model.add(layers.Dense(2))
    model.compile(keras.optimizers.Adam(0.01 * (number + 1)), "mse", jit_compile=False)
    return model


@pytest.mark.long
@pytest.mark.parametrize("most", [pytest.param(8, id="unrolled"), pytest.param(4, id="loop")])
def test_lanes_are_what_they_are_without_xla(most, monkeypatch):
    monkeypatch.setattr(lane_recurrence, "MOST_STEPS", most)
    # As for a long training.
    monkeypatch.setattr("kerasreg.lanes._epochs._STEPS_WORTH_COMPILING", 1)
    x, y = (
        np.random.default_rng(0).normal(size=(4, 5, 2)).astype("float32"),
        np.ones((4, 2), "float32"),
    )
    values, compilations = {}, {}
    for jit_compile in ("auto", False):
        found = lanes.Lanes([recurrent(number) for number in range(2)], jit_compile)
        found.fit(x, y, batch_size=2, epochs=3, seed=1)
        values[jit_compile], compilations[jit_compile] = found.get_values(), found.compilations
    assert compilations == {"auto": int(most == 8), False: 0}
    for mine, other in zip(values["auto"], values[False], strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-5)
