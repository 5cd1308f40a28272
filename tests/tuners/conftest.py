"""What the tests of searches with lanes share: data, and a hypermodel of values."""

import keras
import pytest
from helpers import data

from kerasreg.layers import ScheduledDropout


@pytest.fixture(scope="session")
def blobs():
    return data.blobs(90, 60)


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
