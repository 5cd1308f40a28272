"""Recurrent layers of lanes that XLA compiles: their steps in time are taken one by one."""

import keras
import numpy as np
import pytest

from kerasreg import lanes
from kerasreg._keras import lane_recurrence
from kerasreg._keras.lane_recurrence import unrolled_recurrence

layers = keras.layers
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="JAX compiles loops over time"
)

LAYERS = {
    "GRU": lambda: layers.GRU(3, seed=1),
    "LSTM backwards": lambda: layers.LSTM(3, go_backwards=True, return_sequences=True, seed=1),
    "both directions": lambda: layers.Bidirectional(layers.SimpleRNN(3, seed=1)),
    "cells": lambda: layers.RNN([layers.GRUCell(3, seed=1), layers.LSTMCell(2, seed=2)]),
    "in space": lambda: layers.ConvLSTM1D(2, 2, seed=1),
}


def data(name):
    shape = (4, 5, 6, 2) if name == "in space" else (4, 5, 2)
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_gives_what_it_gives_as_a_loop(name):
    import tensorflow as tf

    layer, x = LAYERS[name](), data(name)
    expected = np.array(layer(x))
    call = tf.function(lambda x: layer(x), autograph=False)
    with unrolled_recurrence() as left:
        graph = call.get_concrete_function(tf.TensorSpec(x.shape)).graph
        found = np.array(layer(x))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert left == []
    assert not [op.type for op in graph.get_operations() if "While" in op.type]


def test_a_mask_holds():
    x = data("GRU")
    x[1, 3:] = x[2, :2] = 0.0
    layer = layers.GRU(3, return_sequences=True, zero_output_for_mask=True, seed=1)
    model = keras.Sequential([keras.Input((5, 2)), layers.Masking(), layer])
    expected = np.array(model(x))
    with unrolled_recurrence():
        np.testing.assert_allclose(np.array(model(x)), expected, atol=1e-6)
    assert np.array(expected[1, 3:]).tolist() == np.zeros((2, 3)).tolist()


def test_a_long_loop_and_one_of_unknown_length_stay_loops(monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(lane_recurrence, "MOST_STEPS", 4)
    layer, x = LAYERS["GRU"](), data("GRU")
    call = tf.function(lambda x: layer(x), autograph=False)
    with unrolled_recurrence() as left:
        layer(x)
        layer(x[:, :4])
        call.get_concrete_function(tf.TensorSpec((4, None, 2)))
    assert left == [5, None]


def recurrent(number):
    keras.utils.set_random_seed(number)
    model = keras.Sequential([keras.Input((5, 2)), layers.GRU(3, dropout=0.2, seed=number)])
    model.add(layers.Dense(2))
    model.compile(keras.optimizers.Adam(0.01 * (number + 1)), "mse", jit_compile=False)
    return model


@pytest.mark.parametrize("most", [pytest.param(8, id="unrolled"), pytest.param(4, id="loop")])
def test_lanes_are_what_they_are_without_xla(most, monkeypatch):
    monkeypatch.setattr(lane_recurrence, "MOST_STEPS", most)
    # As for a long training.
    monkeypatch.setattr("kerasreg.lanes._epochs._STEPS_WORTH_COMPILING", 1)
    x, y = data("GRU"), np.ones((4, 2), "float32")
    values, compilations = {}, {}
    for jit_compile in ("auto", False):
        found = lanes.Lanes([recurrent(number) for number in range(2)], jit_compile)
        found.fit(x, y, batch_size=2, epochs=3, seed=1)
        values[jit_compile], compilations[jit_compile] = found.get_values(), found.compilations
    assert compilations == {"auto": int(most == 8), False: 0}
    for mine, other in zip(values["auto"], values[False], strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-5)
