"""Warnings point to the line of the user's program, however deep they are raised."""

import warnings

import keras
import numpy as np

import kerasreg


def line_of(function):
    """The file and the line that a warning of a function points to."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function()
    ours = [w for w in caught if issubclass(w.category, UserWarning)]
    assert ours
    return ours[-1].filename, ours[-1].lineno


def test_a_warning_points_to_the_call():
    layers = [keras.layers.Dropout(0.5), kerasreg.layers.ScheduledDropout(0.5)]
    model = keras.Sequential([keras.Input((2,)), *layers])

    def call():
        kerasreg.models.mc_predict(model, np.ones((1, 2)), passes=2)

    def deeper():
        call()

    assert line_of(deeper) == (__file__, call.__code__.co_firstlineno + 1)


def test_so_does_one_of_lsuv():
    dead = keras.layers.Dense(2, "relu", kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((2,)), dead])

    def call():
        kerasreg.models.lsuv(model, np.zeros((4, 2)), seed=1)

    assert line_of(call) == (__file__, call.__code__.co_firstlineno + 1)
