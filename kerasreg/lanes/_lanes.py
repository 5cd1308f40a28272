"""Many Keras models of one structure, trained as one program."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._validation import check_count
from kerasreg.lanes._batches import Examples
from kerasreg.lanes._epochs import Epochs
from kerasreg.lanes._group import structure_of
from kerasreg.lanes._state import State
from kerasreg.lanes._structure import Structure
from kerasreg.lanes._training import train
from kerasreg.lanes._view import LaneScope, merge


class Lanes:
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

    def __init__(
        self,
        models: Sequence[keras.Model],
        jit_compile: bool | str = "auto",
        structures: Sequence[Structure] | None = None,
    ) -> None:
        self.models = list(models)
        if not self.models:
            raise ValueError("`models` must be at least one model. Received: models=[]")
        if jit_compile not in (True, False, "auto"):
            raise ValueError(
                f'`jit_compile` must be True, False or "auto". Received: {jit_compile!r}'
            )
        self.model = self.models[0]
        known = [None] * len(self.models) if structures is None else structures
        structure = known[0] or self._structure_of(self.model)
        self._state = State(self.model, structure, len(self.models))
        self._structures = [structure]
        for model, found in zip(self.models[1:], known[1:], strict=True):
            same = model is self.model
            self._structures.append(structure if same else found or self._structure_of(model))
        lanes = range(len(self.models))
        self._state.load(list(zip(lanes, self.models, self._structures, strict=True)))
        self._epochs = Epochs(self._state, jit_compile)
        self.stopped = np.zeros(len(self.models), dtype=bool)

    def __len__(self) -> int:
        return len(self.models)

    @classmethod
    def copies(
        cls,
        model: keras.Model,
        count: int,
        assign: Callable[[keras.Model, int], Any] | None = None,
        jit_compile: bool | str = "auto",
    ) -> Lanes:
        """Lanes of one model, which differ by what is assigned to its variables.

        Args:
            model: a built and compiled model.
            count: number of lanes.
            assign: a function of the model and the number of a lane, which
                assigns variables of the model: those of the lane only.
            jit_compile: as for `Lanes`.

        Example:

        >>> import keras, kerasreg
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> def assign(model, lane):
        ...     model.optimizer.learning_rate = 0.1 / 2**lane
        >>> len(kerasreg.lanes.Lanes.copies(model, 8, assign))
        8
        """
        lanes = cls([model] * check_count("count", count), jit_compile)
        if assign is not None:
            for lane in range(count):
                with lanes.view(lane) as shown:
                    assign(shown, lane)
        return lanes

    def load(
        self,
        models: Mapping[int, keras.Model],
        structures: Mapping[int, Structure] | None = None,
    ) -> None:
        """Puts other models of the same structure in the place of some lanes.

        Nothing is compiled anew, but for a number in no variable that was the
        same for all lanes until now.

        Args:
            models: a built and compiled model for each of these lanes.
            structures: theirs, where they are known to be equal.

        Raises:
            ValueError: if a model does not share the program.
        """
        known = structures or {}
        loaded = [
            (lane, model, known.get(lane) or self._structure_of(model))
            for lane, model in models.items()
        ]
        if loaded:
            self._state.load(loaded)
        for lane, model, structure in loaded:
            self.models[lane], self._structures[lane] = model, structure
            self.stopped[lane] = False

    def copy(self, source: int, target: int) -> None:
        """Gives a lane all values of another, of its variables and its optimizer.

        Args:
            source: the number of the lane that is copied.
            target: the number of the lane that becomes a copy.
        """
        self._state.copy(source, target)

    def assign_hyperparameters(self, lane: int, model: keras.Model) -> None:
        """Gives a lane the hyperparameters of another model.

        These are the learning rate, the numbers of optimizers, regularizers and
        schedules, and the rates and strengths of kerasreg. Weights, slots of the
        optimizer, seeds and counts of steps stay those of the lane.

        Args:
            lane: the number of the lane.
            model: a built and compiled model of the same structure.

        Raises:
            ValueError: if the model does not share the program.
        """
        self._state.assign_hyperparameters(lane, model, self._structure_of(model))

    def unstack(
        self, lane: int, model: keras.Model | None = None, slots: bool = True
    ) -> keras.Model:
        """Assigns the values of a lane to an ordinary Keras model, and returns it.

        Args:
            lane: the number of the lane.
            model: the model to assign to, of the same structure. By default the
                one that the lane was made of.
            slots: False leaves the optimizer as it is, which is faster: for a
                model that is not trained further.

        Returns:
            The model, with the weights, the optimizer's slots and all other
            variables of the lane.
        """
        model = self.models[lane] if model is None else model
        same = model is self.models[lane]
        structure = self._structures[lane] if same else self._structure_of(model)
        self._state.store(lane, model, structure, slots)
        return model

    @contextlib.contextmanager
    def view(self, lane: int) -> Iterator[keras.Model]:
        """Shows one lane as a model: what is read, and assigned, is the lane's.

        The model is the one that all lanes share; its variables have the values
        of the lane until the context is left. Its `fit`, `evaluate` and
        `predict` are not for use within: see `unstack`.

        Args:
            lane: the number of the lane.
        """
        scope = LaneScope(self._state.variables, self._state.values, lane)
        with scope:
            yield self.model
        self._state.values = list(merge(self._state.values, [scope]))

    def get_values(self) -> list[np.ndarray]:
        """The values of `model.variables`, in that order, each with a first axis of lanes."""
        index = {id(variable): i for i, variable in enumerate(self._state.variables)}
        return [
            ops.convert_to_numpy(self._state.values[index[id(variable)]])
            for variable in self.model.variables
            if id(variable) in index
        ]

    def fit(self, x: Any = None, y: Any = None, **arguments: Any) -> list[Any]:
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
        return train(self, x, y, **arguments)

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
        found = self._epochs.run("test", examples, np.arange(examples.count), batch_size, every)
        return [{name: float(of[lane]) for name, of in found.items()} for lane in range(len(self))]

    def predict(self, x: Any, batch_size: int = 32) -> Any:
        """The outputs of every lane: those of the model with a first axis of lanes.

        Args:
            x: inputs.
            batch_size: examples in a batch.
        """
        return self._epochs.predict(Examples(x), check_count("batch_size", batch_size))

    def _structure_of(self, model: keras.Model) -> Structure:
        known = None if model is self.model else self._state.structure
        return structure_of(model, self.model, known)
