"""What Keras' own steps need under `tf.distribute`, so that replicas do what one device does.

Keras gives each replica the same weight, whatever its part of a batch is; it clips the gradients
of each replica, and not their sum; and its own layers draw the same numbers on all of them. These
functions change that within, for a step that is Keras' or the user's own.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import ops

from kerasreg._keras.patching import original, patched


@contextlib.contextmanager
def weighted_by_samples(
    model: Any, mine: Any, total: Any, all_sum: Callable[[Any], Any]
) -> Iterator[None]:
    """How are losses of replicas those of the whole batch? Within, they add up to it.

    A mean over a batch is divided by the samples of all replicas, and not by those of one; what
    is the same for all, such as a penalty on weights, counts once. Then a replica may have fewer
    samples than another one, or none. Enter it in each replica. Read for Keras 3.10 to 3.15.

    Args:
        model: the model, whose metrics of losses weigh batches alike.
        mine: a float tensor: how many samples this replica has.
        total: a float tensor: how many all of them have.
        all_sum: adds a tensor up over all replicas.
    """
    from keras.src.losses import loss as module

    some = ops.maximum(mine, 1.0)

    def scale(value: Any) -> Any:
        return value * ratio(mine, total, value.dtype)

    def unscale(value: Any) -> Any:
        # Keras weighs it with the samples of this replica, for the mean over all of them.
        return value * ratio(total, some, value.dtype)

    def of_values(
        values: Any, sample_weight: Any = None, reduction: Any = "sum_over_batch_size"
    ) -> Any:
        if reduction in (None, "none"):
            return original(module, "reduce_values")(values, sample_weight, reduction)
        if len(values.shape) == 0:
            # A loss that took the mean itself, which of no sample is no number.
            return scale(values) if reduction == "sum" else share_of_mean(values, mine, total)
        loss = ops.sum(values)
        if reduction == "sum":
            return loss
        if reduction == "mean_with_sample_weight" and sample_weight is not None:
            divisor = all_sum(ops.cast(ops.sum(sample_weight), loss.dtype))
        else:
            divisor = _count(values, loss.dtype) * ratio(total, some, loss.dtype)
        return ops.divide_no_nan(loss, divisor)

    def of_mask(sample_weight: Any, mask: Any, dtype: Any, reduction: Any) -> Any:
        if mask is None or reduction not in ("mean", "sum_over_batch_size"):
            return original(module, "apply_mask")(sample_weight, mask, dtype, reduction)
        # Keras counts what is not masked of this replica.
        valid = all_sum(ops.sum(ops.cast(mask, dtype)))
        count = _count(mask, dtype) * ratio(total, some, dtype)
        weight = ops.where(ops.cast(mask, "bool"), ops.divide_no_nan(count, valid), 0)
        if sample_weight is None:
            return weight
        given = ops.cast(sample_weight, dtype)
        weight, given = module.squeeze_or_expand_to_same_rank(weight, given)
        return given * weight

    losses_of_outputs = {id(metric) for metric in getattr(model._compile_loss, "metrics", [])}

    def update(metric: Any, values: Any, sample_weight: Any = None) -> Any:
        # Keras gives the samples only where their number is known when the step is traced.
        if id(metric) in losses_of_outputs:
            sample_weight = mine
        return original(keras.metrics.Mean, "update_state")(metric, values, sample_weight)

    with (
        patched(
            module,
            scale_loss_for_distribution=scale,
            unscale_loss_for_distribution=unscale,
            reduce_values=of_values,
            apply_mask=of_mask,
        ),
        patched(keras.metrics.Mean, update_state=update),
    ):
        yield


def ratio(one: Any, other: Any, dtype: Any) -> Any:
    """The ratio of two counts, as exact as a type is, and not less than float32."""
    precise = "float64" if keras.backend.standardize_dtype(dtype) == "float64" else "float32"
    return ops.cast(ops.cast(one, precise) / ops.cast(other, precise), dtype)


def share_of_mean(value: Any, mine: Any, total: Any) -> Any:
    """What the mean over the samples of a replica adds to the mean over all; nothing of no sample.

    Args:
        value: the mean of the replica.
        mine: how many samples the replica has.
        total: how many all have.
    """
    return ops.where(mine > 0, value * ratio(mine, total, value.dtype), ops.zeros_like(value))


def _count(values: Any, dtype: Any) -> Any:
    shape = ops.convert_to_tensor(ops.shape(values), dtype="int32")
    return ops.cast(ops.prod(shape), dtype)


@contextlib.contextmanager
def own_draws(replica: Any) -> Iterator[None]:
    """How does a replica draw numbers of its own by Keras' generators? Within, it does.

    Replica 0 draws what one device draws. Enter it in each replica. Read for Keras 3.10 to 3.15.

    Args:
        replica: the number of this replica, a tensor.
    """
    from keras.src.backend.tensorflow import random as module

    def draw(seed: Any) -> Any:
        words = ops.convert_to_tensor(original(module, "draw_seed")(seed))
        # The first word is the seed, the second counts draws.
        step = ops.stack([ops.cast(replica, words.dtype) * _APART, ops.zeros((), words.dtype)])
        return words + step

    with patched(module, draw_seed=draw):
        yield


_APART = 1_000_003  # So that seeds of neighbours, which are small numbers, do not meet.


@contextlib.contextmanager
def summed_gradients(optimizer: Any, all_sum: Callable[[list[Any]], list[Any]]) -> Iterator[None]:
    """How does an optimizer take the sum of all replicas' gradients? Within, it does.

    Keras adds up what each replica has clipped, accumulated or looked through for infinities.
    Read for Keras 3.10 to 3.15.

    Args:
        optimizer: the optimizer of a model, which nobody else uses meanwhile.
        all_sum: adds tensors up over all replicas; it is called in each of them.
    """
    apply = optimizer.apply

    def with_sums(grads: Any, trainable_variables: Any = None) -> Any:
        grads = list(grads)
        places = [place for place, gradient in enumerate(grads) if gradient is not None]
        if places:
            for place, found in zip(places, all_sum([grads[i] for i in places]), strict=True):
                grads[place] = found
        return apply(grads, trainable_variables)

    def as_they_are(grads_and_vars: Any) -> Any:
        return list(grads_and_vars)

    with contextlib.ExitStack() as stack:
        stack.enter_context(patched(optimizer, apply=with_sums))
        for one in with_inner_optimizers(optimizer):
            if not hasattr(one, "_all_reduce_sum_gradients"):
                raise AttributeError(f"Keras {keras.__version__} adds gradients up elsewhere")
            stack.enter_context(patched(one, _all_reduce_sum_gradients=as_they_are))
        yield


def with_inner_optimizers(optimizer: Any) -> list[Any]:
    """Which optimizers does an optimizer consist of? Itself, and those within; of None, none."""
    if optimizer is None:
        return []
    inner = getattr(optimizer, "inner_optimizer", None)
    several = [inner, *(getattr(optimizer, "optimizers", None) or [])]
    return [optimizer, *(deeper for one in several for deeper in with_inner_optimizers(one))]


class _OfThreads(list[Any]):
    """A list of which each thread has its own."""

    def __init__(self) -> None:
        super().__init__()
        self._local = threading.local()

    @property
    def _own(self) -> list[Any]:
        own: list[Any] = self._local.__dict__.setdefault("own", [])
        return own

    def append(self, value: Any) -> None:
        self._own.append(value)

    def extend(self, values: Any) -> None:
        self._own.extend(values)

    def remove(self, value: Any) -> None:
        self._own.remove(value)

    def clear(self) -> None:
        self._own.clear()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)

    def __getitem__(self, place: Any) -> Any:
        return self._own[place]

    def __setitem__(self, place: Any, value: Any) -> None:
        self._own[place] = value


@contextlib.contextmanager
def losses_of_each_replica(model: Any) -> Iterator[None]:
    """Where do layers keep the losses of a call? Within, each replica has a place of its own.

    Replicas are traced in threads that take turns wherever they exchange something. One that
    begins a call would forget the losses that another one has not read yet. Read for Keras 3.10 to
    3.15.

    Args:
        model: a built model, which nobody else uses meanwhile.
    """
    with contextlib.ExitStack() as stack:
        for layer in model._flatten_layers():
            if not isinstance(layer._losses, list):
                raise AttributeError(f"Keras {keras.__version__} keeps losses elsewhere")
            stack.enter_context(patched(layer, _losses=_OfThreads()))
        yield


def statistics_of_batches(model: Any) -> list[Any]:
    """Which variables has each replica its own values of, from its part of a batch?

    Those that Keras' BatchNormalization keeps for inference, unless it takes all replicas together
    already. Read for Keras 3.10 to 3.15.

    Args:
        model: a built model.
    """
    found = []
    for layer in model._flatten_layers():
        its = isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        if its and not layer.synchronized:
            found += [v for v in layer.non_trainable_variables if "float" in v.dtype]
    return found


class _Steps:
    """Keras' iterator over epochs, of which later versions give the last step too."""

    def __init__(self, iterator: Any) -> None:
        self._iterator = iterator

    def __iter__(self) -> Iterator[Any]:
        for step in self._iterator:
            yield step[0], step[-1]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._iterator, name)


def epoch_iterator(distribute: Callable[[Any], Any], **data: Any) -> Any:
    """What iterates over the epochs of the data of a `fit`, as Keras' does on TensorFlow?

    Read for Keras 3.10 to 3.15.

    Args:
        distribute: makes of a `tf.data.Dataset` of batches what is iterated over.
        **data: as Keras' iterator takes it: `x`, `y`, `sample_weight`, `batch_size`,
            `steps_per_epoch`, `shuffle`, `class_weight`.

    Returns:
        Keras' iterator: `(step, iterator)` for each step, `catch_stop_iteration`, `num_batches`,
        `reset`.
    """
    from keras.src.backend.tensorflow.trainer import TFEpochIterator

    class Distributes:
        def experimental_distribute_dataset(self, dataset: Any) -> Any:
            return distribute(dataset)

    return _Steps(TFEpochIterator(distribute_strategy=Distributes(), steps_per_execution=1, **data))


@contextlib.contextmanager
def undivided_data(model: Any) -> Iterator[None]:
    """What does Keras iterate over under a strategy of one replica? Within, over the data alone.

    Otherwise it is an iterator of TensorFlow that fetches ahead for several devices. Keras drops
    it before its end, and with a single device the process now and then dies of that, by a
    segmentation fault: TensorFlow 2.21, on CPUs. Read for Keras 3.10 to 3.15.

    Args:
        model: a model that was built under a strategy of one replica, or under none.
    """
    strategy = getattr(model, "distribute_strategy", None)
    if strategy is None:
        yield
        return
    with patched(strategy, experimental_distribute_dataset=lambda dataset, options=None: dataset):
        yield


def split_for_validation(arrays: Any, validation_split: float) -> Any:
    """Which samples does Keras hold out of arrays? The last ones. Read for Keras 3.10 to 3.15.

    Args:
        arrays: `(x, y, sample_weight)`.
        validation_split: the share of them.

    Returns:
        The arrays to train with, and those to validate with.
    """
    from keras.src.trainers.data_adapters import array_slicing

    return array_slicing.train_validation_split(arrays, validation_split=validation_split)


def prepare_saving(model: Any) -> None:
    """What does Keras make when it saves a model? This makes it now, and keeps it.

    These are objects with variables, which one worker alone cannot make: it would wait for the
    others. Keras keeps their attributes, but looks for them under another name. Read for Keras
    3.10 to 3.15.

    Args:
        model: a built and compiled model.
    """
    from keras.src.backend.common.global_state import set_global_attribute
    from keras.src.saving.saving_lib import get_attr_skipset

    parts = [*model._flatten_layers(), *model.metrics, *with_inner_optimizers(model.optimizer)]
    kinds = [part._obj_type() for part in (*parts, keras.losses.MeanSquaredError())]
    for kind in dict.fromkeys(kinds):
        set_global_attribute(f"saving_attr_skiplist_{kind}", get_attr_skipset(kind))


def initial_epoch_of(model: Any) -> int | None:
    """Which epoch did `BackupAndRestore` put a model at? Read for Keras 3.10 to 3.15."""
    epoch: int | None = model._initial_epoch
    return epoch


def is_validated(model: Any, epoch: int, validation_freq: Any) -> bool:
    """Is the model validated after an epoch? Read for Keras 3.10 to 3.15."""
    return bool(model._should_eval(epoch, validation_freq))


def in_order_of_metrics(model: Any, logs: Any) -> Any:
    """What does Keras' `evaluate` return for logs? Read for Keras 3.10 to 3.15."""
    return model._flatten_metrics_in_order(logs)


def check_compiled(model: Any, method: str) -> None:
    """Raises Keras' error if a model was not compiled. Read for Keras 3.10 to 3.15."""
    model._assert_compile_called(method)
