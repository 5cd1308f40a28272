"""Everything random around a model as it was: what a trial run must leave behind.

A training shuffles with Python's, NumPy's or TensorFlow's generators, and a `tf.data`
pipeline with one of its own. After a trial run they are put back, so that the
training that follows sees the batches that it would have seen.
"""

from __future__ import annotations

import random
from typing import Any

import keras
import numpy as np

# Private: the generator of layers that have no seed of their own.
from keras.src.random.seed_generator import global_seed_generator


class State:
    """The variables of a compiled and built model, and the generators, as they are now."""

    def __init__(self, model: keras.Model) -> None:
        variables = [*model.variables, *model.optimizer.variables, global_seed_generator().state]
        # By identity: a metric may be shared.
        unique = {id(variable): variable for variable in variables}.values()
        self._values = [(v, np.array(keras.ops.convert_to_numpy(v))) for v in unique]
        self._python = random.getstate()
        self._numpy = np.random.get_state()
        self._tensorflow = _of_tensorflow()
        self._tensorflow_state = self._tensorflow and self._tensorflow.getstate()

    def restore(self) -> None:
        """Puts all back."""
        for variable, value in self._values:
            variable.assign(value)
        random.setstate(self._python)
        np.random.set_state(self._numpy)
        if self._tensorflow is not None:
            self._tensorflow.setstate(self._tensorflow_state)


def _of_tensorflow() -> Any:
    """The generator of the seeds of TensorFlow's operations, if a global seed was set."""
    if keras.backend.backend() != "tensorflow":
        return None
    from tensorflow.python.eager import context  # No public way, from 2.18 to 2.21.

    # There is none as long as no seed was set.
    return getattr(context.context(), "_rng", None)


def independent(dataset: Any) -> Any:
    """A copy of a `tf.data.Dataset` that leaves the order of its next pass as it is.

    Args:
        dataset: a dataset; anything else is returned as it is.

    Raises:
        ValueError: if it can't be copied.
    """
    if keras.backend.backend() != "tensorflow":
        return dataset
    import tensorflow as tf

    if not isinstance(dataset, tf.data.Dataset):
        return dataset
    from tensorflow.core.framework import graph_pb2

    try:
        serialised = tf.raw_ops.DatasetToGraphV2(
            input_dataset=tf.data.experimental.to_variant(dataset),
            external_state_policy=1,  # To be ignored.
        )
    except tf.errors.OpError as error:
        raise ValueError(
            "`x` must be a dataset that can be copied, so that its order is left as it is, or "
            f"arrays. Received: {dataset!r}, of which TensorFlow says: {error.message}"
        ) from error
    graph = graph_pb2.GraphDef.FromString(serialised.numpy())
    for node in graph.node:
        if node.op == "ShuffleDatasetV3":
            # Its fifth input is the generator, which the copy would share. The first
            # version of the operation has one of its own.
            node.op = "ShuffleDataset"
            del node.input[4:]
    copied = tf.raw_ops.DatasetFromGraph(graph_def=graph.SerializeToString())
    return tf.data.experimental.from_variant(copied, dataset.element_spec)
