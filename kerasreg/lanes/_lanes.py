"""Many Keras models of one structure, trained as one program."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kerasreg._validation import check_count
from kerasreg.lanes._batches import Examples
from kerasreg.lanes._models import StackedModels
from kerasreg.lanes._training import Successor, Training


class Lanes(StackedModels):
    """Keras models that share a program, trained, evaluated and asked together.

    All state of the models (weights, other variables, slots of the optimizer,
    hyperparameters in variables, seeds, metrics) gets a first axis, the lanes,
    and one training step moves all of them. A lane's result is that of its
    model trained alone with the same batches, up to rounding.

    Models share a program if they differ only in values: those of variables,
    the seeds of kerasreg's layers, and the numbers of Keras' optimizers
    (`momentum`, `weight_decay`, `beta_1`, ...), L1 and L2 regularizers and
    learning-rate schedules. `kerasreg.lanes.group` finds out.

    Args:
        models: built and compiled Keras models. Their values are taken now; they
            are not changed but by `unstack`.
        jit_compile: True, False, or `"auto"`: whether XLA compiles the program
            on the TensorFlow backend. `"auto"` does it where a training is long
            enough to pay for that.
        structures: of the models, where they are known to be equal.

    Raises:
        ValueError: if a model is not compiled or not built, if it cannot be a
            lane, which is said why, or if two models differ, which is said where.

    Example:

    >>> import keras, numpy as np, kerasreg
    >>> def model(learning_rate):
    ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    ...     model.compile(keras.optimizers.SGD(learning_rate), "mse")
    ...     return model
    >>> lanes = kerasreg.lanes.Lanes([model(0.1), model(0.01)])
    >>> x, y = np.ones((8, 3)), np.ones((8, 1))
    >>> histories = lanes.fit(x, y, batch_size=4, epochs=2)
    >>> [len(history.history["loss"]) for history in histories]
    [2, 2]
    >>> lanes.unstack(1).predict(x, verbose=0).shape
    (8, 1)
    """

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int = 32,
        epochs: int | Sequence[int] = 1,
        *,
        initial_epoch: int | Sequence[int] = 0,
        validation_data: Any = None,
        validation_split: float = 0.0,
        validation_batch_size: int | None = None,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        shuffle: bool = True,
        seed: int | None = None,
        callbacks: Sequence[Sequence[Any]] | None = None,
        rows: Sequence[Any] | None = None,
        validation_rows: Sequence[Any] | None = None,
        stop_on_nan: bool = True,
        on_epoch_end: Callable[[list[int], list[dict[str, Any]]], Any] | None = None,
        refill: Callable[[dict[int, Any]], dict[int, Successor]] | None = None,
    ) -> list[Any]:
        """Trains all lanes, as `model.fit` would each of the models.

        Args:
            x: inputs: an array, or a list, tuple or dictionary of arrays; the
                same examples for all lanes.
            y: targets, likewise.
            batch_size: examples in a batch, 32 by default.
            epochs: number of the last epoch, or one for each lane.
            initial_epoch: number of the first epoch, from 0, or one for each lane.
            validation_data: `(x, y)` or `(x, y, sample_weight)`.
            validation_split: fraction of the examples, the last ones, that
                validate instead.
            validation_batch_size: as `batch_size`, which it is by default.
            sample_weight: weights of examples.
            class_weight: weights of classes, by number.
            shuffle: whether each epoch has another order of the examples: that of
                `kerasreg.lanes.batch_order`, the same for all lanes.
            seed: seed of that order; drawn at random by default, and kept in
                each history's `params`.
            callbacks: Keras callbacks for each lane: a list with one list for each.
                They see the lane as their model. A callback with hooks for
                single batches makes each step a run of its own, which is slow.
            rows: which examples each lane has: for each an array of rows of `x`;
                by default all of them. For folds.
            validation_rows: likewise for the validation.
            stop_on_nan: whether a lane whose loss is not finite stops, as with
                `keras.callbacks.TerminateOnNaN`.
            on_epoch_end: a function of the list of each lane's epoch and the
                list of its logs, called when the callbacks were. The logs of a
                lane that had stopped before are empty. It may set
                `lanes.stopped[lane]` to end a lane.
            refill: a function of the lanes that have just ended, a dictionary of
                their histories, which gives a dictionary of a
                `kerasreg.lanes.Successor` for each lane that is taken over by
                another model: any that does not train. It begins with its own
                first epoch, and nothing is compiled for it.

        Returns:
            A `keras.callbacks.History` for each lane, and then for each model
            that took one over; its `lane` says which.

        Raises:
            ValueError: if an argument is outside its range.

        A lane stops alone: by a callback, by a loss that is not finite, or by a
        callback that raises, whose error is then the `error` of its history.
        """
        arguments = {name: value for name, value in locals().items() if name != "self"}
        return Training(self, **arguments).run()

    def prepare(self, x: Any = None, y: Any = None, **arguments: Any) -> None:
        """Begins to compile what `fit` will run, in a thread beside what is done meanwhile.

        Nothing but time changes: `fit` waits for it. Values may be assigned, and
        other models loaded (`load`), before `fit`. On the JAX backend nothing
        is done ahead.

        Args:
            x: as for `fit`.
            y: as for `fit`.
            **arguments: others of `fit`, which is to be called with the same.

        Example:

        >>> import keras, numpy as np, kerasreg
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> lanes = kerasreg.lanes.Lanes.copies(model, 8)
        >>> data = {"x": np.ones((8, 3)), "y": np.ones((8, 1)), "epochs": 2}
        >>> lanes.prepare(**data)
        >>> len(lanes.fit(**data))
        8
        """
        bound = inspect.signature(Lanes.fit).bind(self, x, y, **arguments)
        bound.apply_defaults()
        Training(*bound.arguments.values()).prepare()

    def evaluate(
        self, x: Any, y: Any = None, batch_size: int = 32, sample_weight: Any = None
    ) -> list[dict[str, float]]:
        """Loss and metrics of every lane, as `model.evaluate(..., return_dict=True)`.

        Args:
            x: inputs.
            y: targets.
            batch_size: examples in a batch.
            sample_weight: weights of examples.

        Returns:
            A dictionary for each lane.
        """
        examples = Examples(x, y, sample_weight)
        every = np.ones(len(self), dtype=bool)
        check_count("batch_size", batch_size)
        # What it moves, metrics and seeds of layers, is not kept.
        before = list(self._state.values)
        try:
            found = self._epochs.run("test", examples, np.arange(examples.count), batch_size, every)
        finally:
            self._state.values[: len(before)] = before
        return [{name: float(of[lane]) for name, of in found.items()} for lane in range(len(self))]

    def predict(self, x: Any, batch_size: int = 32) -> Any:
        """The outputs of every lane: those of the model with a first axis of lanes.

        Args:
            x: inputs.
            batch_size: examples in a batch.
        """
        return self._epochs.predict(Examples(x), check_count("batch_size", batch_size))
