"""Loops over time, step by step: what recurrent layers give stays the same."""

import keras
import numpy as np
import pytest

from kerasreg._keras import lane_recurrence
from kerasreg._keras.lane_recurrence import unrolled_recurrence

if keras.backend.backend() != "tensorflow":
    pytest.skip("TensorFlow is not the backend.", allow_module_level=True)

import tensorflow as tf

layers = keras.layers
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
def test_unrolled_recurrence_gives_what_a_loop_gives(name):
    layer, x = LAYERS[name](), data(name)
    expected = np.array(layer(x))
    call = tf.function(lambda x: layer(x), autograph=False)
    with unrolled_recurrence() as left:
        graph = call.get_concrete_function(tf.TensorSpec(x.shape)).graph
        found = np.array(layer(x))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert left == []
    assert not [op.type for op in graph.get_operations() if "While" in op.type]


def test_unrolled_recurrence_heeds_masks():
    x = data("GRU")
    x[1, 3:] = x[2, :2] = 0.0
    layer = layers.GRU(3, return_sequences=True, zero_output_for_mask=True, seed=1)
    model = keras.Sequential([keras.Input((5, 2)), layers.Masking(), layer])
    expected = np.array(model(x))
    with unrolled_recurrence():
        np.testing.assert_allclose(np.array(model(x)), expected, atol=1e-6)
    assert np.array(expected[1, 3:]).tolist() == np.zeros((2, 3)).tolist()


def test_unrolled_recurrence_leaves_long_loops_and_those_of_unknown_length(monkeypatch):
    monkeypatch.setattr(lane_recurrence, "MOST_STEPS", 4)
    layer, x = LAYERS["GRU"](), data("GRU")
    call = tf.function(lambda x: layer(x), autograph=False)
    with unrolled_recurrence() as left:
        layer(x)
        layer(x[:, :4])
        call.get_concrete_function(tf.TensorSpec((4, None, 2)))
    assert left == [5, None]
