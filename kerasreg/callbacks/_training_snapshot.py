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

from kerasreg._keras.internals import global_seed_generator, restore_global_seed_generator
from kerasreg._keras.tensorflow_internals import forget_kernels, operation_seeds


class TrainingSnapshot:
    """The variables of a compiled and built model, and the generators, as they are now."""

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        variables = [*model.variables, *model.metrics_variables, *model.optimizer.variables]
        # There is none before the first draw, which takes its seed from Python's.
        self._keras = global_seed_generator()
        if self._keras is not None:
            variables.append(self._keras.state)
        # By identity: a metric may be shared.
        unique = {id(variable): variable for variable in variables}.values()
        self._values = [(v, np.array(keras.ops.convert_to_numpy(v))) for v in unique]
        self._python = random.getstate()
        self._numpy = np.random.get_state()
        self._tensorflow = _of_tensorflow()
        self._tensorflow_state = self._tensorflow and self._tensorflow.getstate()

    def restore(self) -> None:
        """Puts all back, as often as it is called."""
        self._model.reset_metrics()  # Those too that there were not yet.
        for variable, value in self._values:
            variable.assign(value)
        restore_global_seed_generator(self._keras)
        random.setstate(self._python)
        np.random.set_state(self._numpy)
        if self._tensorflow is not None:
            self._tensorflow.setstate(self._tensorflow_state)
            # An operation that comes again with its seed would go on where it was.
            forget_kernels()


def _of_tensorflow() -> Any:
    """The generator of the seeds of TensorFlow's operations, if a global seed was set."""
    if keras.backend.backend() != "tensorflow":
        return None
    return operation_seeds()


class _Borrowed(keras.utils.PyDataset):
    """The batches of a `PyDataset`, which hears nothing of the epochs in which they are used."""

    def __init__(self, dataset: keras.utils.PyDataset) -> None:
        super().__init__(dataset.workers, dataset.use_multiprocessing, dataset.max_queue_size)
        self._dataset = dataset

    @property
    def num_batches(self) -> int | None:
        count: int | None = self._dataset.num_batches
        return count

    def __getitem__(self, index: int) -> Any:
        return self._dataset[index]


def independent(dataset: Any) -> Any:
    """The same data for a trial run that leaves the order of the next pass as it is.

    Args:
        dataset: a `tf.data.Dataset`, which is copied without its caches and with
            generators of its own, or a `PyDataset`, whose batches are taken without its being
            told of epochs; anything else is returned as it is.

    Raises:
        ValueError: if it can't be copied.
    """
    if isinstance(dataset, keras.utils.PyDataset):
        return _Borrowed(dataset)
    if keras.backend.backend() != "tensorflow":
        return dataset
    import tensorflow as tf

    if not isinstance(dataset, tf.data.Dataset):
        return dataset
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
    graph = tf.compat.v1.GraphDef.FromString(serialised.numpy())
    _separate(graph)
    copied = tf.raw_ops.DatasetFromGraph(graph_def=graph.SerializeToString())
    return tf.data.experimental.from_variant(copied, dataset.element_spec)


def _separate(graph: Any) -> None:
    """Takes from a graph of a pipeline what it would share with the pipeline it was made of."""
    passed_by = {}
    for node in graph.node:
        if node.op == "ShuffleDatasetV3":
            # Its fifth input is the generator, which the copy would share. The first
            # version of the operation has one of its own.
            node.op = "ShuffleDataset"
            del node.input[4:]
        elif node.op == "RandomDatasetV2":
            node.op = "RandomDataset"
            del node.input[2:]
            del node.attr["rerandomize_each_iteration"]
        elif node.op in ("CacheDataset", "CacheDatasetV2", "SnapshotDatasetV2"):
            # A pass that ends early would leave half a cache.
            passed_by[node.name] = node.input[0]
    for node in graph.node:
        for index, name in enumerate(node.input):
            while name in passed_by:
                name = passed_by[name]
            node.input[index] = name
