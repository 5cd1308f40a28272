"""What `test_streams_on_jax.py` runs with KERAS_BACKEND=jax: lanes of streams, and alone by Keras.

Prints a JSON object: for each stream the largest difference of weights and losses, relative to the
largest value; and the number of traces of an epoch in several blocks.
"""

import itertools
import json

import keras
import numpy as np
import scipy.sparse
import tensorflow as tf

import kerasreg
from kerasreg.lanes import _streams

RANDOM = np.random.default_rng(1)
X = RANDOM.normal(size=(40, 6)).astype("float32")
Y = RANDOM.integers(0, 3, 40)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 5

    def __getitem__(self, index):
        return X[index * 8 : index * 8 + 8], Y[index * 8 : index * 8 + 8]


def dataset(size):
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(size)


def generator():
    for begin in itertools.cycle(range(0, 33, 8)):
        yield X[begin : begin + 8], Y[begin : begin + 8]


STREAMS = {
    "a dataset": lambda: {"x": dataset(16), "validation_data": dataset(12)},
    "a dataset of unknown length": lambda: {"x": dataset(16).filter(lambda x, y: True)},
    "a sequence": lambda: {"x": Batches(), "validation_data": Batches(), "validation_steps": 2},
    "a generator": lambda: {"x": generator(), "steps_per_epoch": 3},
    "arrays in steps": lambda: {"x": X, "y": Y, "steps_per_epoch": 3, "batch_size": 8},
    "sparse arrays": lambda: {"x": scipy.sparse.csr_matrix(np.where(X > 0, X, 0.0)), "y": Y},
}


def build(number, units=4):
    keras.utils.set_random_seed(number)
    layers = [
        keras.Input((6,)),
        keras.layers.Dense(units, "tanh"),
        keras.layers.BatchNormalization(),
        kerasreg.layers.ScheduledDropout(0.1 * (number + 1), seed=number),
        keras.layers.Dense(3),
    ]
    model = keras.Sequential(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05 * (number + 1), momentum=0.3), loss)
    return model


def difference(kind):
    together = kerasreg.lanes.Lanes([build(0), build(1)])
    given = {"epochs": 3, "shuffle": False}
    histories = together.fit(**STREAMS[kind](), **given)
    alone = build(1)
    history = alone.fit(**STREAMS[kind](), **given, verbose=0).history
    pairs = [(histories[1].history[name], values) for name, values in history.items()]
    pairs += list(zip(together.unstack(1).get_weights(), alone.get_weights(), strict=True))
    return max(
        float(np.abs(np.asarray(found) - expected).max() / max(np.abs(expected).max(), 1e-3))
        for found, expected in pairs
    )


def traces_of_blocks():
    """Of 5 batches in blocks of 2, of which the last one is not full."""
    _streams._MOST_STEPS = 2
    # Of a structure whose program is not there yet.
    together = kerasreg.lanes.Lanes([build(0, 5), build(1, 5)])
    together.fit(Batches(), epochs=2)
    return together.traces


if __name__ == "__main__":
    assert keras.backend.backend() == "jax"
    found = {kind: difference(kind) for kind in STREAMS}
    print(json.dumps({**found, "traces": traces_of_blocks()}))
