"""What a callback remembers is all of it, and nothing of the training."""

import keras
import numpy as np

from kerasreg._keras.callback_memory import memory_of, remember


def fitted(callback, epochs):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 1)), np.ones((4, 1)), epochs=epochs, callbacks=[callback], verbose=0)
    return callback


def test_memory_of():
    stopping = fitted(keras.callbacks.EarlyStopping("loss", patience=7), 2)
    memory = memory_of(stopping)
    assert memory["patience"] == 7
    assert memory["best"] == stopping.best
    # The model, and what Keras tells of the training, are another's in another training.
    assert not any(value is stopping.model or value is stopping.params for value in memory.values())
    of_all = set(vars(keras.callbacks.Callback()))
    assert set(vars(keras.callbacks.EarlyStopping("loss"))) - of_all <= set(memory)
    assert not of_all & set(memory)


def test_remember():
    stopping = fitted(keras.callbacks.EarlyStopping("loss", patience=7), 2)
    other = keras.callbacks.EarlyStopping("loss", patience=7)
    remember(other, memory_of(stopping))
    assert (other.best, other.wait) == (stopping.best, stopping.wait)
