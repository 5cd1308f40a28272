"""What the tests of searches with lanes share: data, and a hypermodel of values."""

import keras
import numpy as np
import pytest

from kerasreg.layers import ScheduledDropout


@pytest.fixture(scope="session")
def blobs():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 6)).astype("float32")
    y = (x[:, :3] + 0.3 * rng.normal(size=(90, 3))).argmax(axis=1)
    return x[:60], y[:60], (x[60:], y[60:])


def _build(hp):
    """Trials differ in values, and begin with the same weights."""
    seeded = keras.initializers.GlorotUniform(seed=1)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(4, "tanh", kernel_initializer=seeded),
            ScheduledDropout(hp.Float("rate", 0.0, 0.5), seed=2),
            keras.layers.Dense(3, kernel_initializer=keras.initializers.GlorotUniform(seed=3)),
        ]
    )
    model.compile(
        keras.optimizers.Adam(hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    return model


@pytest.fixture(scope="session")
def build():
    return _build
