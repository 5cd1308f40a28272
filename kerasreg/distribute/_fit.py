"""`fit` and `evaluate` of a model under a strategy: Keras' contract, by a loop of our own."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from kerasreg._keras import replicas as of_keras
from kerasreg._keras.patching import patched
from kerasreg._keras.tensorflow_internals import operation_seeds_state, restore_operation_seeds
from kerasreg._overrides import has_own
from kerasreg.distribute._lost_workers import workers_answer
from kerasreg.distribute._replicas import Replicas, all_sums

# What writes files, which all workers would write at once. Others say `chief_only = True`.
_WRITERS = (
    keras.callbacks.BackupAndRestore,
    keras.callbacks.CSVLogger,
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.RemoteMonitor,
    keras.callbacks.TensorBoard,
)


def fit(
    model: keras.Model,
    x: Any = None,
    y: Any = None,
    batch_size: int | None = None,
    epochs: int = 1,
    verbose: str | int = "auto",
    callbacks: Sequence[keras.callbacks.Callback] | None = None,
    validation_split: float = 0.0,
    validation_data: Any = None,
    shuffle: bool = True,
    class_weight: dict[int, float] | None = None,
    sample_weight: Any = None,
    initial_epoch: int = 0,
    steps_per_epoch: int | None = None,
    validation_steps: int | None = None,
    validation_batch_size: int | None = None,
    validation_freq: int | list[int] = 1,
) -> keras.callbacks.History:
    """Trains a model under any `tf.distribute` strategy as one device trains it.

    It takes what `model.fit` takes, and calls callbacks as that does. Batches are global ones: each
    replica has a part of each batch, and parts may differ by a sample, or be empty. With ℓᵢ the
    loss of sample i, wᵢ its weight, n the samples of the batch and Ω the penalties, the loss is

        (1/n)·Σᵢ wᵢ·ℓᵢ + Ω

    over the samples of all replicas, whatever parts they have, and penalties count once. So a
    training is the one of one device to rounding, but for what is said here. Gradients are added up
    before they are clipped, accumulated or checked. Each replica draws numbers of its own,
    also in Keras' layers. `BatchNormalization` normalizes by the part of a replica, unless it is
    `synchronized`; its statistics for inference are the mean over all samples of the batch.

    With several workers each one runs this with the same data. They begin with the chief's
    weights and its epoch, and take over its values after each epoch. Training stops on all when
    it is to stop on one. Callbacks that write files (`ModelCheckpoint`, `BackupAndRestore`,
    `TensorBoard`, `CSVLogger`, `RemoteMonitor`, and what has an attribute `chief_only` that is
    true) act on the chief alone, and must not call what needs all workers. The chief shows
    progress.

    Without a strategy this is `model.fit`.

    Args:
        model: a compiled model that was built in the scope of the strategy.
        x: as of `model.fit`: arrays, a `tf.data.Dataset` of global batches, a `PyDataset`, a
            generator. Workers need the same batches in the same order: give `shuffle` of a
            dataset a seed.
        y: targets, if `x` are arrays.
        batch_size: size of a global batch, if `x` are arrays; None for 32.
        epochs: the epoch to end before.
        verbose: as of `model.fit`.
        callbacks: as of `model.fit`.
        validation_split: the share of arrays that is held out, at their end.
        validation_data: `(x, y)`, `(x, y, sample_weight)`, or a dataset.
        shuffle: whether arrays are shuffled in each epoch; with several workers in the same order.
        class_weight: a weight for each class.
        sample_weight: a weight for each sample.
        initial_epoch: the epoch to begin with.
        steps_per_epoch: batches in an epoch; None for all.
        validation_steps: batches of a validation; None for all.
        validation_batch_size: size of a global batch of the validation; None for `batch_size`.
        validation_freq: validates each so many epochs, or in these.

    Returns:
        The history, equal on all workers.

    Raises:
        ValueError: if the model was compiled with `jit_compile=True` or with
            `steps_per_execution` above 1; or if workers have other data.
        WorkerLostError: if a worker is gone. TensorFlow hears of it at once where its process has
            ended, and after about ten seconds where it does not answer.

    Example:

    >>> import keras, numpy as np, kerasreg
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> x, y = np.ones((7, 2)), np.ones((7, 1))
    >>> history = kerasreg.distribute.fit(model, x, y, batch_size=4, epochs=2, verbose=0)
    >>> len(history.history["loss"])
    2
    """
    given = dict(locals())
    if not trains_here(model):
        with of_keras.undivided_data(model):
            return type(model).fit(given.pop("model"), **given)
    of_keras.check_compiled(model, "fit")
    check_model(model)
    with workers_answer(model.distribute_strategy):
        if validation_split and validation_data is None:
            (x, y, sample_weight), validation_data = of_keras.split_for_validation(
                (x, y, sample_weight), validation_split
            )
        replicas = Replicas(model)
        train = _epochs(
            replicas,
            "train",
            x=x,
            y=y,
            sample_weight=sample_weight,
            batch_size=batch_size,
            steps_per_epoch=steps_per_epoch,
            shuffle=shuffle,
            class_weight=class_weight,
        )
        test = None
        if validation_data is not None:
            test_x, test_y, test_weight = keras.utils.unpack_x_y_sample_weight(validation_data)
            test = _epochs(
                replicas,
                "test",
                x=test_x,
                y=test_y,
                sample_weight=test_weight,
                batch_size=validation_batch_size or batch_size,
                steps_per_epoch=validation_steps,
                shuffle=False,
            )
        called = _called(replicas, callbacks, verbose, epochs, train.num_batches, True)
        if replicas.has_workers:
            of_keras.prepare_saving(model)
        replicas.stops_within_epochs = replicas.any(_has_batch_hooks(called))
        model.stop_training = False
        with _for_replicas(model):
            called.on_train_begin()
            first = of_keras.initial_epoch_of(model) or initial_epoch
            logs: dict[str, Any] = {}
            for epoch in range(_begun(replicas, first), epochs):
                model.reset_metrics()
                called.on_epoch_begin(epoch)
                logs = _train_epoch(replicas, train, called)
                if test is not None and of_keras.is_validated(model, epoch, validation_freq):
                    found = _evaluated(replicas, test, called)
                    logs.update({f"val_{name}": value for name, value in found.items()})
                called.on_epoch_end(epoch, logs)
                replicas.take_from_chief()
                model.stop_training = replicas.any(model.stop_training)
                if model.stop_training:
                    break
            if isinstance(model.optimizer, keras.optimizers.Optimizer) and epochs > 0:
                model.optimizer.finalize_variable_values(model.trainable_weights)
            called.on_train_end(logs or None)
        history: keras.callbacks.History = model.history
        return history


def evaluate(
    model: keras.Model,
    x: Any = None,
    y: Any = None,
    batch_size: int | None = None,
    verbose: str | int = "auto",
    sample_weight: Any = None,
    steps: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] | None = None,
    return_dict: bool = False,
) -> Any:
    """Evaluates a model under any `tf.distribute` strategy as one device evaluates it.

    It takes what `model.evaluate` takes, and batches as `kerasreg.distribute.fit` does: nothing
    has to divide evenly. Without a strategy this is `model.evaluate`.

    Args:
        model: a compiled model that was built in the scope of the strategy.
        x: arrays, or a `tf.data.Dataset` of global batches.
        y: targets, if `x` are arrays.
        batch_size: size of a global batch, if `x` are arrays; None for 32.
        verbose: as of `model.evaluate`.
        sample_weight: a weight for each sample.
        steps: batches to evaluate; None for all.
        callbacks: as of `model.evaluate`.
        return_dict: whether metrics are given by name.

    Returns:
        The loss and the metrics, as `model.evaluate` gives them; equal on all workers.

    Raises:
        ValueError: as of `kerasreg.distribute.fit`.
        WorkerLostError: likewise.

    Example:

    >>> import keras, numpy as np, kerasreg
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> x, y = np.zeros((7, 2)), np.ones((7, 1))
    >>> kerasreg.distribute.evaluate(model, x, y, verbose=0, return_dict=True)
    {'loss': 1.0}
    """
    given = dict(locals())
    if not trains_here(model):
        with of_keras.undivided_data(model):
            return type(model).evaluate(given.pop("model"), **given)
    of_keras.check_compiled(model, "evaluate")
    check_model(model)
    replicas = Replicas(model)
    with workers_answer(replicas.strategy):
        test = _epochs(
            replicas,
            "test",
            x=x,
            y=y,
            sample_weight=sample_weight,
            batch_size=batch_size,
            steps_per_epoch=steps,
            shuffle=False,
        )
        called = _called(replicas, callbacks, verbose, 1, test.num_batches, False)
        with _for_replicas(model):
            logs = _evaluated(replicas, test, called)
    return logs if return_dict else of_keras.in_order_of_metrics(model, logs)


def trains_here(model: keras.Model) -> bool:
    """Whether a model was built under a strategy of several replicas or workers."""
    strategy = getattr(model, "distribute_strategy", None)
    if strategy is None:
        return False
    workers = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    return strategy.num_replicas_in_sync > 1 or workers


def check_model(model: keras.Model) -> None:
    """Raises a ValueError if a model is compiled as none can be trained under a strategy."""
    if model.jit_compile:
        raise ValueError(
            "`jit_compile` must be False or 'auto' under a strategy: XLA compiles no exchange of "
            "gradients here. Received: jit_compile=True in `compile`"
        )
    if model.steps_per_execution > 1:
        raise ValueError(
            "`steps_per_execution` must be 1 under a strategy. Received: "
            f"steps_per_execution={model.steps_per_execution} in `compile`"
        )
    # Keras decides in these whether to exchange anything, which no graph of replicas can.
    for name in ("gradient_accumulation_steps", "ema_overwrite_frequency"):
        for optimizer in of_keras.with_inner_optimizers(model.optimizer):
            value = getattr(optimizer, name, None)
            if value is not None:
                raise ValueError(
                    f"`{name}` of the optimizer must be None under a strategy. Received: "
                    f"{name}={value!r} of {type(optimizer).__name__}"
                )


@contextlib.contextmanager
def trained_by_replicas(model: keras.Model) -> Iterator[list[str]]:
    """Within, `model.fit` and `model.evaluate` are `kerasreg.distribute.fit` and `evaluate`.

    So code that calls `model.fit`, such as a hypermodel's, trains replicas as one device trains.

    Args:
        model: a model that was built under a strategy of several replicas; any other one stays
            as it is.

    Returns:
        A context manager, which gives a list of what was called so far, `"fit"` or `"evaluate"`.

    Example:

    >>> import keras, kerasreg
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> with kerasreg.distribute.trained_by_replicas(model):
    ...     "fit" in vars(model)  # It has one device.
    False
    """
    called: list[str] = []

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            called.append(function.__name__)
            return function(model, *args, **kwargs)

        return call

    with contextlib.ExitStack() as stack:
        if trains_here(model):
            own = {one.__name__: counted(one) for one in (fit, evaluate)}
            stack.enter_context(patched(model, **own))
        else:
            stack.enter_context(of_keras.undivided_data(model))
        yield called


@contextlib.contextmanager
def _for_replicas(model: keras.Model) -> Iterator[None]:
    """Within, a built model has what replicas share, or have alone, where they need it."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(of_keras.losses_of_each_replica(model))
        if model.optimizer is not None:
            stack.enter_context(of_keras.summed_gradients(model.optimizer, all_sums))
        yield


def _epochs(replicas: Replicas, kind: str, **data: Any) -> Any:
    """Keras' iterator over epochs of batches that are divided among replicas."""
    if isinstance(data["x"], tf.distribute.DistributedDataset):
        raise ValueError(
            "`x` must be arrays or a dataset of global batches, which are divided here. Received: "
            "a dataset that was distributed"
        )

    def distribute(dataset: tf.data.Dataset) -> Any:
        replicas.build(dataset)
        return replicas.distributed(kind, dataset)

    with _seeds_of_chief(replicas):
        return of_keras.epoch_iterator(distribute, **data)


@contextlib.contextmanager
def _seeds_of_chief(replicas: Replicas) -> Iterator[None]:
    """Within, what shuffles arrays is made with the same seed on all workers."""
    if not replicas.has_workers:
        yield
        return
    before = operation_seeds_state()
    tf.random.set_seed(replicas.gathered([random.randrange(2**31)])[0, 0])
    try:
        yield
    finally:
        restore_operation_seeds(before)


def _called(
    replicas: Replicas,
    callbacks: Any,
    verbose: str | int,
    epochs: int,
    steps: int | None,
    has_history: bool,
) -> keras.callbacks.CallbackList:
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    mine = list(keras.tree.flatten(callbacks or []))
    if not replicas.is_chief:
        mine = [one for one in mine if not _is_of_chief(one)]
        verbose = 0
    return keras.callbacks.CallbackList(
        mine,
        add_history=has_history,
        add_progbar=verbose != 0,
        model=replicas.model,
        verbose=verbose,
        epochs=epochs,
        steps=steps,
    )


def _is_of_chief(callback: keras.callbacks.Callback) -> bool:
    return bool(getattr(callback, "chief_only", isinstance(callback, _WRITERS)))


def _has_batch_hooks(called: keras.callbacks.CallbackList) -> bool:
    """Whether a callback may end the training after a batch."""
    names = ("on_batch_end", "on_train_batch_begin", "on_train_batch_end")
    return any(
        has_own(callback, name, keras.callbacks.Callback)
        for callback in called.callbacks
        if not isinstance(callback, keras.callbacks.ProgbarLogger)
        for name in (*names, "on_batch_begin", "on_test_batch_end", "on_epoch_begin")
    )


def _begun(replicas: Replicas, initial_epoch: int) -> int:
    """The epoch to begin with, which is the chief's: what it has restored, all begin with."""
    replicas.take_from_chief()
    return int(replicas.gathered([initial_epoch])[0, 0])


def _train_epoch(
    replicas: Replicas, train: Any, called: keras.callbacks.CallbackList
) -> dict[str, Any]:
    model = replicas.model
    logs: dict[str, Any] = {}
    for step, batch in _batches(replicas, train, called.on_train_batch_begin):
        logs = replicas.train_step(batch)
        called.on_train_batch_end(step, logs)
        if replicas.stop_within_epoch():
            model.stop_training = True
            break
    return {name: _number(value) for name, value in logs.items()}


def _evaluated(
    replicas: Replicas, test: Any, called: keras.callbacks.CallbackList
) -> dict[str, Any]:
    model = replicas.model
    test.reset()
    model.stop_evaluating = False
    called.on_test_begin()
    model.reset_metrics()
    logs: dict[str, Any] = {}
    for step, batch in _batches(replicas, test, called.on_test_batch_begin):
        logs = replicas.test_step(batch)
        called.on_test_batch_end(step, logs)
        if model.stop_evaluating:
            break
    found = {name: _number(value) for name, value in logs.items()}
    called.on_test_end(found)
    return found


def _batches(
    replicas: Replicas, epochs: Any, begins: Callable[[int], None]
) -> Iterator[tuple[int, Any]]:
    """The batches of an epoch with their numbers; each is taken after `begins` was called."""
    with epochs.catch_stop_iteration():
        for step, iterator in epochs:
            begins(step)
            batch, mark = next(iterator)
            if step == 0:
                _check_same_data(replicas, mark)
            yield step, batch


def _check_same_data(replicas: Replicas, mark: Any) -> None:
    if not replicas.has_workers:
        return
    own = int(replicas.strategy.experimental_local_results(mark)[0])
    marks = replicas.gathered([own])[:, 0]
    if len(set(marks)) > 1:
        raise ValueError(
            "`x` must be the same batches in the same order on all workers, of which each takes "
            "its part: give `shuffle` of a dataset a seed. Received: other batches on worker "
            f"{', '.join(str(i) for i, of in enumerate(marks) if of != marks[0])} than on the chief"
        )


def _number(value: Any) -> Any:
    array = keras.ops.convert_to_numpy(value)
    return float(array) if array.ndim == 0 else array
