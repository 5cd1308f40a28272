"""The steps of a model under a strategy, such that replicas do what one device does.

Each replica has a part of each global batch, one sample more or fewer than the others, or none
where there are fewer samples than replicas. Losses are divided by the samples of the whole batch,
so nothing has to divide evenly. The steps are Keras' own, or those that the model defines.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from kerasreg._keras.internals import build_by_batch
from kerasreg._keras.replicas import (
    own_draws,
    share_of_mean,
    statistics_of_batches,
    weighted_by_samples,
)
from kerasreg.distribute._cluster import has_workers, is_chief

Batch: TypeAlias = Any
Logs: TypeAlias = dict[str, Any]


class Replicas:
    """The replicas of a compiled model: its data divided among them, its steps, what they agree on.

    Args:
        model: a model that was compiled in the scope of a strategy.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self.strategy: tf.distribute.Strategy = model.distribute_strategy
        self.has_workers = has_workers(self.strategy)
        self.is_chief = is_chief(self.strategy)
        # Whether a callback of some worker may end the training after a batch.
        self.stops_within_epochs = True
        self._steps: dict[str, Callable[..., Any]] = {}
        self._specs: dict[str, Any] = {}

    # Data.

    def distributed(self, kind: str, dataset: tf.data.Dataset) -> Any:
        """Divides the batches of a dataset: elements are `(part of the batch, mark of the batch)`.

        The mark is a number that is the same for equal batches; 0 for a single process.

        Args:
            kind: of the steps that take the batches, `"train"` or `"test"`.
            dataset: of global batches.
        """
        replicas = self.strategy.num_replicas_in_sync

        def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
            here = replicas // context.num_input_pipelines
            first = here * context.input_pipeline_id
            numbers = tf.range(first, first + here, dtype=tf.int64)

            def divided(*batch: Any) -> tf.data.Dataset:
                whole = batch if len(batch) != 1 else batch[0]
                mark = _mark(whole) if self.has_workers else tf.zeros((), tf.int64)

                def part(number: Any) -> Any:
                    return _part(whole, number, replicas), mark

                return tf.data.Dataset.from_tensor_slices(numbers).map(part)

            return dataset.flat_map(divided).prefetch(2 * here)

        found = self.strategy.distribute_datasets_from_function(of_worker)
        self._specs[kind] = found.element_spec[0]
        return found

    def build(self, dataset: tf.data.Dataset) -> None:
        """Builds the model, its metrics and its optimizer, in the scope of the strategy."""
        specs = dataset.element_spec
        if any(spec.shape.rank is None for spec in tf.nest.flatten(specs)):
            specs = next(iter(dataset))

        def symbolic(spec: Any) -> keras.KerasTensor:
            return keras.KerasTensor((None, *spec.shape[1:]), spec.dtype.name)

        with self.strategy.scope():
            build_by_batch(self.model, tf.nest.map_structure(symbolic, specs))

    # Steps.

    def train_step(self, batch: Batch) -> Logs:
        """Trains with a batch that was divided; returns the logs of all replicas."""
        return self._step("train", batch)

    def test_step(self, batch: Batch) -> Logs:
        """Evaluates a batch that was divided; returns the logs of all replicas."""
        return self._step("test", batch)

    def _step(self, kind: str, batch: Batch) -> Logs:
        if kind not in self._steps:

            def step(batch: Batch) -> Logs:
                with self.strategy.scope():
                    return self._on_all(kind, batch)

            if not self.model.run_eagerly:
                # Else there would be one program for full batches and one for the last.
                step = tf.function(step, input_signature=[self._specs[kind]], autograph=False)
            self._steps[kind] = step
        logs: Logs = self._steps[kind](batch)
        return logs

    def _on_all(self, kind: str, batch: Batch) -> Logs:
        @tf.autograph.experimental.do_not_convert
        def on_replica(batch: Batch) -> tuple[Any, Any, Any]:
            return self._on_replica(kind, batch)

        logs, mine, total = self.strategy.run(on_replica, args=(batch,))
        metrics = self.model.get_metrics_result()
        if not isinstance(logs, dict) or set(logs) == set(metrics):
            return dict(metrics)
        # Of a step that is not Keras': what is no metric is taken as a mean over samples.
        return {
            name: metrics[name] if name in metrics else self._mean(value, mine, total)
            for name, value in logs.items()
        }

    def _mean(self, value: Any, mine: Any, total: Any) -> Any:
        @tf.autograph.experimental.do_not_convert
        def weighted(value: Any, mine: Any, total: Any) -> Any:
            return share_of_mean(keras.ops.cast(value, keras.config.floatx()), mine, total)

        parts = self.strategy.run(weighted, (value, mine, total))
        return self.strategy.reduce("SUM", parts, axis=None)

    def _on_replica(self, kind: str, batch: Batch) -> tuple[Any, Any, Any]:
        context = tf.distribute.get_replica_context()
        mine = tf.cast(_rows(batch), tf.float32)
        total = _sum_of_one(mine)
        model = self.model
        with (
            weighted_by_samples(model, mine, total, _sum_of_one),
            own_draws(context.replica_id_in_sync_group),
        ):
            logs = model.train_step(batch) if kind == "train" else model.test_step(batch)
        if kind == "train":
            _agree_on_statistics(statistics_of_batches(model), mine, total)
        return logs, mine, total

    # What all workers agree on.

    def gathered(self, numbers: Sequence[int]) -> np.ndarray:
        """The whole numbers of each worker, in a row for each; of one process, a single row."""
        return gathered(self.strategy, numbers)

    def any(self, flag: bool) -> bool:
        """Whether it is so on any worker."""
        return bool(self.gathered([int(flag)]).any())

    def stop_within_epoch(self) -> bool:
        """Whether the training is to end after a batch."""
        if not self.has_workers:
            return bool(self.model.stop_training)
        return self.stops_within_epochs and self.any(self.model.stop_training)

    def take_from_chief(self) -> None:
        """Gives the model and its optimizer the values that the chief has, on all workers."""
        if not self.has_workers:
            return
        of_metrics = {id(variable) for variable in self.model.metrics_variables}
        variables = [v for v in self.model.variables if id(v) not in of_metrics]
        if self.model.optimizer is not None:
            variables += self.model.optimizer.variables
        if "chief" not in self._steps:
            step = functools.partial(_from_first_replica, self.strategy, variables)
            self._steps["chief"] = tf.function(step, autograph=False)
        self._steps["chief"]()


def _part(batch: Any, number: Any, parts: int) -> Any:
    """The part of a batch with a number, of so many that differ by one sample at most."""
    rows = tf.cast(_rows(batch), tf.int64)
    begin, end = number * rows // parts, (number + 1) * rows // parts

    def cut(tensor: Any) -> Any:
        if isinstance(tensor, tf.SparseTensor):
            rest = tensor.dense_shape[1:]
            start = tf.concat([begin[None], tf.zeros_like(rest)], 0)
            return tf.sparse.slice(tensor, start, tf.concat([(end - begin)[None], rest], 0))
        return tensor[begin:end]

    return tf.nest.map_structure(cut, batch)


def _rows(batch: Any) -> Any:
    first = next(tensor for tensor in tf.nest.flatten(batch) if tensor is not None)
    if isinstance(first, tf.RaggedTensor):
        return first.nrows()
    return first.dense_shape[0] if isinstance(first, tf.SparseTensor) else tf.shape(first)[0]


def _mark(batch: Any) -> Any:
    """A number of the first and the last sample of a batch, and of how many there are."""
    texts = [tf.strings.as_string(_rows(batch))]
    for tensor in tf.nest.flatten(batch, expand_composites=True):
        ends = tf.concat([tensor[:1], tensor[-1:]], 0) if tensor.shape.rank else tensor
        texts.append(tf.io.serialize_tensor(ends))
    return tf.strings.to_hash_bucket_fast(tf.strings.join(texts), 2**62)


def all_sums(values: Sequence[Any]) -> list[Any]:
    """The sums of tensors over all replicas; called in each of them."""
    context = tf.distribute.get_replica_context()
    found: dict[int, Any] = {}
    # Workers exchange tensors of one type at once.
    for dtype in dict.fromkeys(value.dtype for value in values):
        places = [place for place, value in enumerate(values) if value.dtype == dtype]
        sums = context.all_reduce("SUM", [values[place] for place in places])
        found.update(zip(places, sums, strict=True))
    return [found[place] for place in range(len(values))]


def _sum_of_one(value: Any) -> Any:
    return all_sums([value])[0]


def _agree_on_statistics(variables: Sequence[Any], mine: Any, total: Any) -> None:
    """Gives variables the mean over all samples of what the replicas have."""
    if not variables:
        return
    parts = [share_of_mean(tf.convert_to_tensor(one), mine, total) for one in variables]
    for variable, value in zip(variables, all_sums(parts), strict=True):
        variable.assign(value)


def gathered(strategy: tf.distribute.Strategy, numbers: Sequence[int]) -> np.ndarray:
    """The whole numbers of each worker, in a row for each; of one process, a single row."""
    if not has_workers(strategy):
        return np.array([numbers], "int64")
    row = tf.constant(list(numbers), tf.int64)
    here = len(strategy.extended.worker_devices)
    return np.array(_rows_of_replicas(strategy, row))[::here]


@tf.function(autograph=False)
def _rows_of_replicas(strategy: tf.distribute.Strategy, row: Any) -> Any:
    @tf.autograph.experimental.do_not_convert
    def on_replica(row: Any) -> Any:
        context = tf.distribute.get_replica_context()
        number = context.replica_id_in_sync_group
        places = tf.one_hot(number, strategy.num_replicas_in_sync, dtype=row.dtype)
        return context.all_reduce("SUM", places[:, None] * row[None, :])

    return strategy.experimental_local_results(strategy.run(on_replica, (row,)))[0]


def _from_first_replica(strategy: tf.distribute.Strategy, variables: Sequence[Any]) -> None:
    @tf.autograph.experimental.do_not_convert
    def on_replica() -> None:
        context = tf.distribute.get_replica_context()
        is_first = tf.equal(context.replica_id_in_sync_group, 0)
        values = []
        for variable in variables:
            value = tf.convert_to_tensor(variable)
            if not (value.dtype.is_floating or value.dtype in (tf.int32, tf.int64)):
                value = tf.cast(value, tf.int64)
            values.append(tf.where(is_first, value, tf.zeros_like(value)))
        for variable, value in zip(variables, all_sums(values), strict=True):
            variable.assign(tf.cast(value, variable.dtype))

    strategy.run(on_replica)
