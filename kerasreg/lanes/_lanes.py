"""Many Keras models of one structure, trained as one program."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from kerasreg._validation import check_count
from kerasreg.lanes._callbacks import LaneHistory
from kerasreg.lanes._derived import DerivedModel, template_of
from kerasreg.lanes._draws import RandomNumbers
from kerasreg.lanes._lane_state import LaneState
from kerasreg.lanes._stack import ModelStack
from kerasreg.lanes._streams import DataError, evaluation_blocks
from kerasreg.lanes._structure import ModelStructure
from kerasreg.lanes._training import FitArguments, Replacement, Training


class Lanes:
    """Keras models that share a program, trained, evaluated and asked together.

    All state of the models gets a first axis, the lanes: weights, other variables,
    slots of the optimizer, hyperparameters in variables, seeds and metrics. One
    training step moves all lanes. The result of a lane is the result of its model
    trained alone with the same batches, up to rounding.

    Models share a program if they differ only in values: those of variables, the
    seeds of layers, and numbers that are not whole: of layers (`rate` of a Dropout),
    losses (`label_smoothing`), regularizers, optimizers (`momentum`, `weight_decay`),
    learning-rate schedules, functions (in closures and defaults), operators (`x * 0.5`) and
    `loss_weights`. A number that decides what is computed, as in `if alpha == 1`,
    is no such value. `kerasreg.lanes.group_by_program` finds out.

    Models of Keras' functional and Sequential kind may also differ in widths, such as `units` and
    `filters`, if one of them, or `template`, is as wide as each of the others. Narrow models are
    padded with zeros, and all that one sees of a lane is as wide as its model. Not every model can
    be padded: where something is a mean over units, as in GroupNormalization, or the optimizer
    mixes weights, as Adafactor and Muon do, the error says so. A padded lane is what it is alone,
    but for random masks of padded units that do not lie on a last axis by themselves, as behind a
    Flatten: these follow from the width of the template too.

    Args:
        models: built and compiled Keras models, one for each lane. Their values are
            copied now. Only `unstack` changes the models themselves.
        jit_compile: True, False, or `"auto"`: whether XLA compiles the program on
            the TensorFlow backend. `"auto"` compiles if the training is long enough
            to pay for the compilation.
        random_numbers: which random numbers Keras' own layers, such as `keras.layers.Dropout`,
            draw. `"vectorized"` draws from `kerasreg.random`, by the seed state of each layer: of
            Keras' distributions, and fast. `"keras"` draws what Keras draws when the model is
            trained alone, for one lane after the other.
        structures: a `kerasreg.lanes.ModelStructure` of each model, if the caller
            knows that these share a program. The models are not compared then.
        template: a built and compiled model that is as wide as each of `models`, and of each that
            takes a lane over; by default the widest of `models`.
        template_structure: the structure of `template`, if the caller has it.
        devices: the devices among which the lanes are divided, such as
            `keras.distribution.list_devices()`: a list of names such as `"gpu:0"`. Each moves its
            part of the lanes, and they exchange nothing but the values after each run over data.
            None for the backend's default device.

    Attributes:
        models: a list of the model that each lane has now.
        model: the model whose Python objects all lanes share: the template.
        stopped: a Boolean array, one entry for each lane, that tells which lanes are
            to stop training. Set `lanes.stopped[lane] = True` in `on_epoch_end` of
            `fit` to end the training of a lane.
        traces: the number of functions that were traced so far. A training that
            reuses the program traces nothing: the number stays the same.
        compilations: the number of those functions that XLA compiles.
        loops: the layer and the operation of all that runs for one lane after the other, since
            the backend has no form of it for all lanes.

    Raises:
        ValueError: if a model cannot be a lane (the message gives the reason), or
            two models share no program (the message names the place), or a device is none.

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
        models: Sequence[keras.Model | DerivedModel],
        jit_compile: bool | str = "auto",
        *,
        random_numbers: RandomNumbers = "vectorized",
        structures: Sequence[ModelStructure] | None = None,
        template: keras.Model | None = None,
        template_structure: ModelStructure | None = None,
        devices: Sequence[str] | None = None,
    ) -> None:
        given = None if template is None else (template, template_structure)
        self._stack = ModelStack(models, jit_compile, structures, random_numbers, given, devices)
        self._training: Training | None = None  # While `fit` runs.

    @classmethod
    def from_model(
        cls,
        model: keras.Model,
        count: int,
        *,
        assign: Callable[[keras.Model, int], Any] | None = None,
        jit_compile: bool | str = "auto",
        random_numbers: RandomNumbers = "vectorized",
        devices: Sequence[str] | None = None,
    ) -> Self:
        """Makes lanes of one model, which may differ in the values of its variables.

        Args:
            model: a built and compiled model.
            count: the number of lanes.
            assign: a function of the model and the number of a lane. It assigns
                variables of the model, and only that lane gets the values.
            jit_compile: as for `Lanes`.
            random_numbers: as for `Lanes`.
            devices: as for `Lanes`.

        Raises:
            ValueError: if the model cannot be a lane, or `count` is not at least 1.

        Example:

        >>> import keras, kerasreg
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> def assign(model, lane):
        ...     model.optimizer.learning_rate = 0.1 / 2**lane
        >>> len(kerasreg.lanes.Lanes.from_model(model, 8, assign=assign))
        8
        """
        lanes = cls(
            [model] * check_count("count", count),
            jit_compile,
            random_numbers=random_numbers,
            devices=devices,
        )
        if assign is not None:
            for lane in range(count):
                with lanes.view(lane) as shown:
                    assign(shown, lane)
        return lanes

    def __len__(self) -> int:
        return len(self._stack)

    @property
    def models(self) -> list[keras.Model]:
        """The model that each lane has now."""
        return [self._stack.own_model(lane)[0] for lane in range(len(self))]

    def is_current(self) -> bool:
        """Whether other models may still take lanes over.

        Not if `model` was changed, or compiled again, since the lanes were made.

        Example:

        >>> import keras, kerasreg
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> lanes = kerasreg.lanes.Lanes([model])
        >>> model.compile("sgd", "mse")
        >>> lanes.is_current()
        False
        """
        return not self._stack.is_changed and self._stack.state.is_current()

    def lent(self, lane: int) -> contextlib.AbstractContextManager[None]:
        """Lends the model of a lane to the code that has it, while `fit` trains other lanes.

        The lane has ended, and the code goes on: it may compile the model again, or freeze a
        layer. If it is the model whose Python objects all lanes share, the other lanes and
        their callbacks find these as they were. When `fit` returns, the model is as the code
        left it.

        Args:
            lane: the number of the lane.

        Returns:
            A context manager. Within it, the model is as the code left it the last time.

        Example:

        >>> import keras, numpy as np, kerasreg
        >>> def model(learning_rate):
        ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        ...     model.compile(keras.optimizers.SGD(learning_rate), "mse")
        ...     return model
        >>> lanes = kerasreg.lanes.Lanes([model(0.5), model(0.25)])
        >>> def refill(ended):
        ...     if 0 in ended:
        ...         with lanes.lent(0):
        ...             lanes.model.compile("adam", "mae")
        ...         print(lanes.model.loss)
        ...     return {}
        >>> histories = lanes.fit(np.ones((8, 3)), np.ones((8, 1)), epochs=[1, 2], refill=refill)
        mse
        >>> lanes.model.loss
        'mae'
        """
        return self._stack.lent(lane)

    @property
    def model(self) -> keras.Model:
        """The model whose Python objects all lanes share."""
        return self._stack.model

    @property
    def stopped(self) -> np.ndarray:
        """The lanes that are to stop training, shape (lanes,), Boolean; to be assigned to."""
        return self._stack.stopped

    @property
    def traces(self) -> int:
        """The number of functions that were traced so far."""
        return self._stack.epochs.traces

    @property
    def compilations(self) -> int:
        """The number of traced functions that XLA compiles."""
        return self._stack.epochs.compilations

    @property
    def loops(self) -> list[tuple[str, str]]:
        """The layer and the operation of all that runs for one lane after the other."""
        return self._stack.epochs.loops

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int | Sequence[int] = 1,
        *,
        initial_epoch: int | Sequence[int] = 0,
        validation_data: Any = None,
        validation_split: float = 0.0,
        validation_batch_size: int | None = None,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_freq: int | Sequence[int] = 1,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | Sequence[Mapping[int, float] | None] | None = None,
        shuffle: bool = True,
        seed: int | Sequence[int] | None = None,
        callbacks: Sequence[Sequence[Any]] | None = None,
        rows: Sequence[Any] | None = None,
        validation_rows: Sequence[Any] | None = None,
        stop_on_nan: bool = True,
        on_epoch_end: Callable[[list[int], list[dict[str, Any]]], Any] | None = None,
        refill: Callable[[dict[int, Any]], dict[int, Replacement]] | None = None,
        states: Sequence[LaneState | None] | None = None,
    ) -> list[LaneHistory]:
        """Trains all lanes, as `model.fit` would train each of the models.

        A lane stops by itself, and no other lane with it: by a callback, by a loss
        that is not finite, or by a callback that raises. The last is warned of, and
        the error is the `error` of the lane's history.

        A stream (a `tf.data.Dataset`, a `keras.utils.PyDataset`, a generator or a loader of
        batches) is read once for all lanes, block by block: at most 64 batches or 64 MiB. The
        next block is read, in a thread, while lanes train with the present one. All lanes see
        the batches of the pass that is read: a replacement begins with the next epoch of the
        stream. Streams begin, end and warn as with `model.fit`; `shuffle` holds for a
        `PyDataset` as there. Arrays of more than 256 MiB are read in blocks of 128 MiB.

        Args:
            x: inputs: an array, or a list, tuple or dictionary of arrays; or a stream of inputs,
                `(inputs, targets)` or `(inputs, targets, sample_weight)`. All lanes see the same
                samples.
            y: targets, as `x`. None for a stream.
            batch_size: the number of samples in a batch of arrays; 32 by default.
            epochs: the number of the last epoch, or a list with one for each lane.
            initial_epoch: the number of the first epoch, from 0, or a list with one
                for each lane.
            validation_data: `(x, y)` or `(x, y, sample_weight)`, or a stream.
            validation_split: the fraction of the samples, the last ones, that
                validate and do not train.
            validation_batch_size: the number of samples in a batch of the validation;
                `batch_size` by default.
            steps_per_epoch: the number of batches in an epoch; by default all that there are. The
                next epoch goes on with the batch after the last one. Of arrays without a
                `batch_size` so many batches are made.
            validation_steps: the number of batches of `validation_data`; by default all.
            validation_freq: every so many epochs of a lane are validated; or a list of the numbers
                of these epochs, from 1.
            sample_weight: weights of samples.
            class_weight: a dictionary of weights by class number, or a list with one or None for
                each lane. The weights of a list are values of the lanes, of one program. Samples of
                a lane with None have weights of 1.
            shuffle: whether each epoch has another order of the samples. All lanes have
                the order that `kerasreg.lanes.batch_order` returns.
            seed: the seed of that order. By default it is drawn at random; the
                `params` of each history have it. With a list of one for each lane, each lane of
                arrays has the order of its seed, the same alone and among others. The members of
                an ensemble then differ more. `rows` drawn with replacement are a bootstrap.
            callbacks: a list with a list of Keras callbacks for each lane. They see
                the lane as their model. A callback that acts on single batches makes
                each step a run of its own, which is slow.
            rows: a list with an array for each lane: the rows of `x` that the lane is
                trained with. By default a lane has all rows. For cross-validation.
            validation_rows: a list with an array for each lane: the rows of
                `validation_data` that the lane is validated with.
            stop_on_nan: whether a lane stops if its loss is not finite, as with
                `keras.callbacks.TerminateOnNaN`.
            on_epoch_end: a function that is called with two lists after each epoch and
                its callbacks. The first has the number of the epoch of each lane, the
                second the logs of each lane. A lane that did not train has empty
                logs; one whose callback raised at the end of the epoch has its logs.
                The function may set `lanes.stopped[lane]`.
            refill: a function that is called when lanes have ended, with a dictionary
                of their histories by lane. It returns a dictionary of a
                `kerasreg.lanes.Replacement` by lane. Each may take over any lane that
                has ended, now or before. Nothing is compiled for a replacement.
            states: for each lane what `states` has returned for an equal model, whose training
                goes on, or None to begin. The other arguments are to be the same, and callbacks of
                the same classes.

        Returns:
            A list of histories: one for each lane, then one for each replacement in
            the order in which they began. Each is a `keras.callbacks.History` with two
            more attributes: `lane`, the number of the lane, and `error`, which is None
            or the error that a callback raised.

        Raises:
            ValueError: if an argument is outside its range, or a replacement does not
                share the program.
            kerasreg.lanes.DataError: if a stream raises, has no batch, or has batches that differ
                in more than their number of samples.

        Example:

        The lane that is worse after two epochs is stopped, and another model takes
        the lane over:

        >>> import keras, numpy as np, kerasreg
        >>> def model(learning_rate):
        ...     model = keras.Sequential(
        ...         [keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="zeros")]
        ...     )
        ...     model.compile(keras.optimizers.SGD(learning_rate), "mse")
        ...     return model
        >>> lanes = kerasreg.lanes.Lanes([model(0.1), model(0.001)])
        >>> waiting = [model(0.05)]
        >>> def on_epoch_end(epochs, logs):
        ...     if epochs == [1, 1]:
        ...         lanes.stopped[int(np.argmax([of_lane["loss"] for of_lane in logs]))] = True
        >>> def refill(ended):
        ...     free = list(ended)[: len(waiting)]
        ...     return {lane: kerasreg.lanes.Replacement(waiting.pop()) for lane in free}
        >>> histories = lanes.fit(
        ...     np.ones((8, 3)), np.ones((8, 1)), epochs=4,
        ...     on_epoch_end=on_epoch_end, refill=refill)
        >>> [(history.lane, len(history.epoch)) for history in histories]
        [(0, 4), (1, 2), (1, 4)]
        """
        arguments = FitArguments(
            lanes=len(self),
            x=x,
            y=y,
            batch_size=batch_size,
            epochs=epochs,
            initial_epoch=initial_epoch,
            validation_data=validation_data,
            validation_split=validation_split,
            validation_batch_size=validation_batch_size,
            steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps,
            validation_freq=validation_freq,
            sample_weight=sample_weight,
            class_weight=class_weight,
            shuffle=shuffle,
            seed=seed,
            callbacks=callbacks,
            rows=rows,
            validation_rows=validation_rows,
            stop_on_nan=stop_on_nan,
            on_epoch_end=on_epoch_end,
            refill=refill,
            states=states,
        )
        self._training = Training(self._stack, arguments)
        try:
            return self._training.run()
        finally:
            self._training = None

    def states(self, lanes: Sequence[int]) -> dict[int, LaneState]:
        """What the trainings of lanes are now, so that `fit` can go on in another process.

        To be called in `on_epoch_end` of `fit`. A training that goes on ends with the results that
        it would have had, on the same backend, where its data are arrays. Of a stream, a process
        that begins has the first batches.

        Args:
            lanes: the numbers of lanes that train, whose callbacks are such that
                `kerasreg.lanes.why_not_resumable` gives no reason.

        Returns:
            The states, by the numbers of the lanes, without those of which a callback has raised.

        Raises:
            ValueError: if `fit` does not run, a lane trains no more, or has a callback whose state
                cannot be kept.

        Example:

        >>> import keras, numpy as np, kerasreg
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> lanes = kerasreg.lanes.Lanes.from_model(model, 2)
        >>> def on_epoch_end(epochs, logs):
        ...     print(lanes.states([1])[1].epoch)
        >>> histories = lanes.fit(
        ...     np.ones((8, 3)), np.ones((8, 1)), epochs=2, on_epoch_end=on_epoch_end)
        1
        2
        """
        if self._training is None:
            raise ValueError("`lanes` have states while `fit` runs. Received: it does not run")
        return self._training.states(lanes)

    def precompile(self, x: Any = None, y: Any = None, **arguments: Any) -> None:
        """Begins to compile the program of `fit` in another thread.

        Results stay the same; `fit` waits for the thread. Before `fit`, values may be
        assigned and other models loaded (`load`). On the JAX backend nothing is
        compiled ahead.

        Args:
            x: inputs, as for `fit`.
            y: targets, as for `fit`.
            **arguments: the other arguments of `fit`, which is to be called with the
                same ones.

        Raises:
            ValueError: if an argument is outside its range, or tracing shows that the
                models cannot be lanes.

        Example:

        >>> import keras, numpy as np, kerasreg
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> lanes = kerasreg.lanes.Lanes.from_model(model, 8)
        >>> data = {"x": np.ones((8, 3)), "y": np.ones((8, 1)), "epochs": 2}
        >>> lanes.precompile(**data)
        >>> traces = lanes.traces
        >>> histories = lanes.fit(**data)
        >>> lanes.traces == traces
        True
        """
        Training(self._stack, FitArguments(lanes=len(self), x=x, y=y, **arguments)).precompile()

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int = 32,
        *,
        sample_weight: Any = None,
        steps: int | None = None,
    ) -> list[dict[str, float]]:
        """The loss and the metrics of each lane, as `model.evaluate(..., return_dict=True)`.

        The lanes stay as they are.

        Args:
            x: inputs: an array, or a list, tuple or dictionary of arrays; or a stream of batches,
                as for `fit`. All lanes see the same samples.
            y: targets, as `x`.
            batch_size: the number of samples in a batch of arrays.
            sample_weight: weights of samples.
            steps: the number of batches; all by default.

        Returns:
            A list with a dictionary for each lane: a number for the name of the loss
            and of each metric.

        Raises:
            ValueError: if `batch_size` or `steps` is not at least 1, or the arrays are empty or
                have different lengths.

        Example:

        >>> import keras, numpy as np, kerasreg
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> lanes = kerasreg.lanes.Lanes.from_model(model, 2)
        >>> [sorted(of_lane) for of_lane in lanes.evaluate(np.ones((8, 3)), np.ones((8, 1)))]
        [['loss'], ['loss']]
        """
        blocks = evaluation_blocks((x, y, sample_weight), batch_size, steps)
        every = np.ones(len(self), dtype=bool)
        state, epochs = self._stack.state, self._stack.epochs
        # Metrics and the seeds of layers move, and are put back.
        before = list(state.values)
        try:
            found = epochs.run("test", blocks, every)
        finally:
            state.values[: len(before)] = before
        if not found:
            raise DataError(f"`x` must have at least one batch. Received: x={x!r}")
        return [{name: float(of[lane]) for name, of in found.items()} for lane in range(len(self))]

    def predict(self, x: Any, batch_size: int = 32, *, steps: int | None = None) -> Any:
        """The outputs of all lanes for the same samples, as `model.predict` of each.

        Args:
            x: inputs: an array, or a list, tuple or dictionary of arrays; or a stream of batches,
                as for `fit`.
            batch_size: the number of samples in a batch of arrays.
            steps: the number of batches; all by default.

        Returns:
            The outputs in the structure of the model's outputs. Each is an array of
            shape (lanes, samples, ...): a model's own output with a first axis of lanes.

        Raises:
            ValueError: if `batch_size` or `steps` is not at least 1, or the arrays are empty or
                have different lengths.

        Example:

        >>> import keras, numpy as np, kerasreg
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> kerasreg.lanes.Lanes.from_model(model, 2).predict(np.ones((8, 3))).shape
        (2, 8, 1)
        """
        outputs = self._stack.epochs.predict(
            evaluation_blocks((x, None, None), batch_size, steps, single=True)
        )
        if outputs is None:
            raise DataError(f"`x` must have at least one batch. Received: x={x!r}")
        return outputs

    def load(
        self,
        models: Mapping[int, keras.Model | DerivedModel],
        structures: Mapping[int, ModelStructure] | None = None,
    ) -> None:
        """Puts other models in the place of some lanes.

        The program is traced again only if a number in no variable, such as a
        `momentum`, was the same for all lanes and now differs.

        Args:
            models: a dictionary of built and compiled models by lane.
            structures: a dictionary of their structures by lane, for models that the
                caller knows to share the program.

        Raises:
            ValueError: if a model does not share the program. No lane is changed then.

        Example:

        >>> import keras, numpy as np, kerasreg
        >>> def model(learning_rate):
        ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        ...     model.compile(keras.optimizers.SGD(learning_rate), "mse")
        ...     return model
        >>> lanes = kerasreg.lanes.Lanes([model(0.5), model(0.25)])
        >>> lanes.load({1: model(0.125)})
        >>> with lanes.view(1) as shown:
        ...     float(shown.optimizer.learning_rate)
        0.125
        """
        self._stack.load(models, structures or {})

    def copy(self, source: int, target: int) -> None:
        """Gives a lane all values of another lane: of its variables and its optimizer.

        Args:
            source: the number of the lane that is copied.
            target: the number of the lane that becomes a copy.

        Example:

        >>> import keras, numpy as np, kerasreg
        >>> def model(learning_rate):
        ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        ...     model.compile(keras.optimizers.SGD(learning_rate), "mse")
        ...     return model
        >>> lanes = kerasreg.lanes.Lanes([model(0.5), model(0.25)])
        >>> lanes.copy(source=0, target=1)
        >>> kernels = lanes.get_values()[0]
        >>> bool(np.all(kernels[0] == kernels[1]))
        True
        """
        self._stack.state.copy(source, target)

    def assign_hyperparameters(self, lane: int, model: keras.Model) -> None:
        """Gives a lane the hyperparameters of another model.

        These are the learning rate, the numbers of optimizers, regularizers and
        schedules, and the rates and strengths of kerasreg. The lane keeps its weights,
        slots of the optimizer, seeds and counts of steps.

        Args:
            lane: the number of the lane.
            model: a built and compiled model of the same structure.

        Raises:
            ValueError: if the model does not share the program.

        Example:

        >>> import keras, numpy as np, kerasreg
        >>> def model(learning_rate):
        ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        ...     model.compile(keras.optimizers.SGD(learning_rate), "mse")
        ...     return model
        >>> lanes = kerasreg.lanes.Lanes([model(0.5), model(0.25)])
        >>> lanes.assign_hyperparameters(0, model(0.0625))
        >>> with lanes.view(0) as shown:
        ...     float(shown.optimizer.learning_rate)
        0.0625
        """
        stack = self._stack
        stack.state.assign_hyperparameters(lane, model, stack.structure_of(model))

    def unstack(
        self, lane: int, model: keras.Model | None = None, *, slots: bool = True
    ) -> keras.Model:
        """Assigns the values of a lane to an ordinary Keras model.

        Args:
            lane: the number of the lane.
            model: the model to assign to, of the same structure. By default it is the
                model that the lane was made of.
            slots: whether the optimizer's variables are assigned too. False is faster,
                and enough for a model that is not trained further.

        Returns:
            The model.

        Raises:
            ValueError: if the model does not share the program.

        Example:

        >>> import keras, numpy as np, kerasreg
        >>> def model(learning_rate):
        ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        ...     model.compile(keras.optimizers.SGD(learning_rate), "mse")
        ...     return model
        >>> lanes = kerasreg.lanes.Lanes([model(0.5), model(0.25)])
        >>> best = lanes.unstack(1)
        >>> best.predict(np.ones((8, 3)), verbose=0).shape
        (8, 1)
        """
        stack = self._stack
        if model is None or model is stack.models[lane]:
            model, structure = stack.own_model(lane)
        else:
            structure = stack.structure_of(model)
        stack.state.store(lane, model, structure, slots)
        return model

    def view(self, lane: int) -> contextlib.AbstractContextManager[keras.Model]:
        """Shows one lane as a model: the lane's values are read from it and assigned to it.

        The model is the one that all lanes share, or, if that is wider, the one that the
        lane was made of. Until the context is left, its variables have the values of the
        lane. Its `fit`, `evaluate`, `predict`, `save` and the like are those of the model
        that the lane was made of, with the values of the lane. Each of those models traces
        its own functions for them.

        Args:
            lane: the number of the lane.

        Returns:
            A context manager, which gives the model.

        Example:

        >>> import keras, kerasreg
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> model.compile(keras.optimizers.SGD(0.5), "mse")
        >>> lanes = kerasreg.lanes.Lanes.from_model(model, 2)
        >>> with lanes.view(1) as shown:
        ...     shown.optimizer.learning_rate = 0.25
        >>> with lanes.view(0) as shown:
        ...     float(shown.optimizer.learning_rate)
        0.5
        """
        return self._stack.view(lane)

    def get_values(self) -> list[np.ndarray]:
        """The values of the variables of all lanes, without those of optimizers.

        Returns:
            A list of arrays in the order of `model.variables`, each of the shape of the
            variable with a first axis of lanes. Lanes of narrower models have zeros beside
            their values, which `trimmed` cuts off. At the end are states of random numbers of
            layers that draw none in `model`, as a rate of it is zero.

        Example:

        >>> import keras, kerasreg
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> [value.shape for value in kerasreg.lanes.Lanes.from_model(model, 2).get_values()]
        [(2, 3, 1), (2, 1)]
        """
        state = self._stack.state
        return [ops.convert_to_numpy(state.values[index]) for index in state.own_variables()]

    def trimmed(self, lane: int, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Cuts off what lies beside the values of a lane, and what its model does not have.

        Args:
            lane: the number of the lane.
            values: a value of the lane for each variable, in the order of `get_values`.

        Returns:
            The values for the variables of the model of the lane, in their order.

        Example:

        >>> import keras, kerasreg
        >>> def model(units):
        ...     hidden = keras.layers.Dense(units, "relu")
        ...     model = keras.Sequential([keras.Input((3,)), hidden, keras.layers.Dense(1)])
        ...     model.compile("sgd", "mse")
        ...     return model
        >>> lanes = kerasreg.lanes.Lanes([model(2), model(4)])
        >>> values = [value[0] for value in lanes.get_values()]
        >>> [value.shape for value in values]
        [(3, 4), (4,), (4, 1), (1,)]
        >>> [value.shape for value in lanes.trimmed(0, values)]
        [(3, 2), (2,), (2, 1), (1,)]
        """
        stack = self._stack
        return stack.state.values_in_model(
            lane, template_of(stack.models[lane]), stack.structures[lane], values
        )
