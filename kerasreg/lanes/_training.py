"""A training of lanes: its arguments, its epochs, and the lanes that have ended."""

from __future__ import annotations

import dataclasses
import functools
import secrets
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kerasreg._keras.stateless_optimizer import inner_optimizers
from kerasreg._keras.streams import is_stream
from kerasreg._validation import check_count
from kerasreg._warnings import warn
from kerasreg.lanes._batches import Block, Samples, batch_order, split
from kerasreg.lanes._callbacks import Callbacks, LaneHistory, Logs, SingleBatches, logs_of_lanes
from kerasreg.lanes._class_weights import (
    ClassWeight,
    ClassWeights,
    check_class_weight,
    class_weights_of,
    unweighted,
)
from kerasreg.lanes._derived import DerivedModel, template_of
from kerasreg.lanes._epochs import Kind
from kerasreg.lanes._lane_state import LaneState
from kerasreg.lanes._stack import ModelStack
from kerasreg.lanes._streams import DataError, Stream, ahead, check_nothing_beside
from kerasreg.lanes._structure import ModelStructure

Blocks = Generator[Block, None, None]
# Rows in the order of their use: one array for all lanes, or an array for each.
Order = np.ndarray | Sequence[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Replacement:
    """A model that takes over a lane whose training has ended.

    The argument `refill` of `kerasreg.lanes.Lanes.fit` returns replacements.

    Args:
        model: a built and compiled model that shares the program of the lanes.
        callbacks: the Keras callbacks of the model's training.
        rows: the rows of the samples that the model is trained with. Required if `fit`
            was given `rows`.
        validation_rows: the rows of the samples that the model is validated with.
            Required if `fit` was given `validation_rows`.
        epochs: the number of the model's last epoch; by default the last epoch of the model
            that had the lane before.
        initial_epoch: the number of the model's first epoch; by default the first epoch of the
            model that had the lane before.
        structure: the structure of `model`, if the caller knows that the model shares
            the program. The model is not checked then.
        class_weight: a dictionary of weights by class number, if `fit` was given a list of them.
        seed: the seed of the order of the batches, if `fit` was given a list of them.
        state: what `kerasreg.lanes.Lanes.states` has returned for an equal model, whose training
            goes on; None to begin.

    Example:

    >>> import keras, numpy as np, kerasreg
    >>> def model(learning_rate):
    ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    ...     model.compile(keras.optimizers.SGD(learning_rate), "mse")
    ...     return model
    >>> waiting = [model(0.02), model(0.01)]
    >>> def refill(ended):
    ...     return {
    ...         lane: kerasreg.lanes.Replacement(waiting.pop(0), epochs=3)
    ...         for lane in sorted(ended)
    ...         if waiting
    ...     }
    >>> lanes = kerasreg.lanes.Lanes([model(0.1), model(0.05)])
    >>> histories = lanes.fit(np.ones((8, 3)), np.ones((8, 1)), epochs=[1, 2], refill=refill)
    >>> [(history.lane, len(history.epoch)) for history in histories]
    [(0, 1), (1, 2), (0, 3), (1, 3)]
    """

    model: keras.Model | DerivedModel
    callbacks: Sequence[Any] = ()
    _: dataclasses.KW_ONLY
    rows: Any = None
    validation_rows: Any = None
    epochs: int | None = None
    initial_epoch: int | None = None
    structure: ModelStructure | None = None
    class_weight: ClassWeight = None
    seed: int | None = None
    state: LaneState | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitArguments:
    """The arguments of `kerasreg.lanes.Lanes.fit`, checked.

    Args:
        lanes: the number of lanes. All others are as for `fit`.

    Raises:
        ValueError: if an argument is outside its range.
    """

    lanes: int
    x: Any = None
    y: Any = None
    batch_size: int | None = None
    epochs: int | Sequence[int] = 1
    initial_epoch: int | Sequence[int] = 0
    validation_data: Any = None
    validation_split: float = 0.0
    validation_batch_size: int | None = None
    steps_per_epoch: int | None = None
    validation_steps: int | None = None
    validation_freq: int | Sequence[int] = 1
    sample_weight: Any = None
    class_weight: ClassWeight | Sequence[ClassWeight] = None
    shuffle: bool = True
    seed: int | Sequence[int] | None = None
    callbacks: Sequence[Sequence[Any]] | None = None
    rows: Sequence[Any] | None = None
    validation_rows: Sequence[Any] | None = None
    stop_on_nan: bool = True
    on_epoch_end: Callable[[list[int], list[Logs]], Any] | None = None
    refill: Callable[[dict[int, Any]], dict[int, Replacement]] | None = None
    states: Sequence[LaneState | None] | None = None

    def __post_init__(self) -> None:
        for name in ("batch_size", "validation_batch_size", "steps_per_epoch", "validation_steps"):
            if (value := getattr(self, name)) is not None:
                check_count(name, value)
        self._check_frequency()
        if self.validation_rows is not None and self.validation is None:
            raise ValueError("`validation_rows` must be given with `validation_data`.")
        if self.callbacks is not None and len(self.callbacks) != self.lanes:
            raise ValueError(
                "`callbacks` must be a list with one list of callbacks for each lane. "
                f"Received: {len(self.callbacks)} for {self.lanes} lanes"
            )
        if self.states is not None and len(self.states) != self.lanes:
            raise ValueError(
                "`states` must be a list with a state or None for each lane. "
                f"Received: {len(self.states)} for {self.lanes} lanes"
            )
        # Each of these checks what it is made of.
        for name in (
            "class_weights_of_lanes",
            "seeds_of_lanes",
            "first_epochs",
            "last_epochs",
            "rows_of_lanes",
            "validation_rows_of_lanes",
        ):
            getattr(self, name)

    @functools.cached_property
    def drawn_seed(self) -> int:
        """The seed, drawn at random if none was given; the first one if each lane has its own."""
        if self.seeds_of_lanes is not None:
            return self.seeds_of_lanes[0]
        return secrets.randbits(31) if self.seed is None else check_count("seed", self.seed, 0)

    @functools.cached_property
    def seeds_of_lanes(self) -> list[int] | None:
        """The seed of the order of each lane; None if all lanes have the same order."""
        if self.seed is None or isinstance(self.seed, (int, np.integer)):
            return None
        found = self._count_of_lanes("seed", self.seed, minimum=0)
        if self.shuffle and (is_stream(self.x) or self.steps_per_epoch is not None):
            raise ValueError(
                "`seed` must be one number where the data are read batch by batch, which all lanes "
                f"see in one order; give arrays. Received: seed={self.seed!r}"
            )
        return found

    def _check_frequency(self) -> None:
        given = self.validation_freq
        if isinstance(given, Sequence) and not isinstance(given, str):
            for epoch in given:
                check_count("validation_freq", epoch)
        else:
            check_count("validation_freq", given)

    @functools.cached_property
    def _data(self) -> tuple[Samples | Stream, Samples | Stream | None]:
        given, validation = (self.x, self.y, self.sample_weight), self.validation_data
        if self.validation_split and validation is None:
            if is_stream(self.x):
                raise ValueError(
                    "`validation_split` must be 0.0 where `x` has batches of its own. Received: "
                    f"validation_split={self.validation_split}"
                )
            given, validation = split(given, self.validation_split)
        found = self._source("x", given, self.steps_per_epoch, self.batch_size, self.shuffle)
        if validation is None:
            return found, None
        given = keras.utils.unpack_x_y_sample_weight(validation)
        size = self.validation_batch_size or self.batch_size
        return found, self._source("validation_data", given, self.validation_steps, size)

    def _source(
        self,
        name: str,
        given: tuple[Any, Any, Any],
        steps: int | None,
        batch_size: int | None,
        shuffle: bool = False,
    ) -> Samples | Stream:
        """The data as they are read: in whole, or batch by batch."""
        trains = name == "x"
        class_weight = self._class_weight_of_data if trains else None
        if is_stream(given[0]):
            check_nothing_beside(name, given)
            if (self.rows if trains else self.validation_rows) is not None:
                rows = "rows" if trains else "validation_rows"
                raise ValueError(
                    f"`{rows}` must be None where `{name}` is no array. Received "
                    f"{type(given[0]).__name__}"
                )
            return Stream(
                given[0],
                steps,
                name=name,
                steps_name="steps_per_epoch" if trains else "validation_steps",
                shuffle=shuffle,
                class_weight=class_weight,
            )
        samples = Samples(*given, class_weight)
        if steps is None:
            return samples
        if self.rows is not None or self.validation_rows is not None:
            raise ValueError(
                "`steps_per_epoch` and `validation_steps` must be None where lanes have rows of "
                f"their own. Received: {steps}"
            )
        return Stream(
            samples, steps, name=name, batch_size=batch_size, shuffle=shuffle, seed=self.drawn_seed
        )

    @property
    def data(self) -> Samples | Stream:
        """The data that train."""
        return self._data[0]

    @property
    def validation(self) -> Samples | Stream | None:
        """The data that validate, if there are any."""
        return self._data[1]

    @functools.cached_property
    def class_weights_of_lanes(self) -> list[ClassWeight] | None:
        """The weights of classes of each lane; None if lanes have none of their own."""
        return check_class_weight(self.class_weight, self.lanes)

    @property
    def _class_weight_of_data(self) -> Mapping[int, float] | None:
        of_lanes = self.class_weights_of_lanes
        if of_lanes is not None:
            return unweighted(of_lanes)
        assert self.class_weight is None or isinstance(self.class_weight, Mapping)
        return self.class_weight

    @functools.cached_property
    def first_epochs(self) -> list[int]:
        """The number of the first epoch of each lane, from 0."""
        return self._count_of_lanes("initial_epoch", self.initial_epoch, minimum=0)

    @functools.cached_property
    def last_epochs(self) -> list[int]:
        """The number of the last epoch of each lane, from 1."""
        return self._count_of_lanes("epochs", self.epochs, minimum=1)

    @functools.cached_property
    def rows_of_lanes(self) -> list[np.ndarray] | None:
        """The rows of the samples that train each lane; None if each lane has all of them."""
        samples = self.data
        if self.rows is None or isinstance(samples, Stream):
            return None
        return check_rows("rows", self.rows, self.lanes, samples)

    @functools.cached_property
    def validation_rows_of_lanes(self) -> list[np.ndarray] | None:
        """The rows of the samples that validate each lane; None if each lane has all of them."""
        samples = self.validation
        if self.validation_rows is None or not isinstance(samples, Samples):
            return None
        return check_rows("validation_rows", self.validation_rows, self.lanes, samples)

    @property
    def callbacks_of_lanes(self) -> list[Sequence[Any]]:
        """The callbacks of each lane."""
        return [()] * self.lanes if self.callbacks is None else list(self.callbacks)

    @property
    def size_of_batch(self) -> int:
        """The number of samples in a batch of arrays."""
        return self.batch_size or 32

    @property
    def size_of_validation_batch(self) -> int:
        """The number of samples in a batch of arrays that validate."""
        return self.validation_batch_size or self.size_of_batch

    @property
    def steps_of_epoch(self) -> int | None:
        """The number of training steps in an epoch of the lane with the most samples, if known."""
        rows, data = self.rows_of_lanes, self.data
        if isinstance(data, Stream):
            return data.steps
        count = data.count if rows is None else max(map(len, rows))
        return -(-count // self.size_of_batch)

    def validates(self, epoch: int) -> bool:
        """Whether an epoch ends with a validation, if there are data for one."""
        given = self.validation_freq
        return (epoch + 1) % given == 0 if isinstance(given, int) else epoch + 1 in given

    @functools.cached_property
    def planned_steps(self) -> int:
        """The number of training steps of the lane with the most epochs, if it is not stopped."""
        epochs = zip(self.first_epochs, self.last_epochs, strict=True)
        return (self.steps_of_epoch or 0) * max(last - first for first, last in epochs)

    @functools.cached_property
    def planned_validation_steps(self) -> int:
        """The number of validation steps of the lane with the most epochs, as `planned_steps`."""
        rows, data = self.validation_rows_of_lanes, self.validation
        if not isinstance(data, Samples):
            return 0
        count = data.count if rows is None else max(map(len, rows))
        steps = -(-count // self.size_of_validation_batch)
        lanes = zip(self.first_epochs, self.last_epochs, strict=True)
        return steps * max(sum(map(self.validates, range(first, last))) for first, last in lanes)

    def _count_of_lanes(self, argument: str, value: Any, minimum: int) -> list[int]:
        if isinstance(value, (list, tuple, np.ndarray)):
            if len(value) != self.lanes:
                raise ValueError(
                    f"`{argument}` must be a number, or one for each of {self.lanes} lanes. "
                    f"Received: {argument}={value!r}"
                )
            return [check_count(argument, of_lane, minimum=minimum) for of_lane in value]
        return [check_count(argument, value, minimum=minimum)] * self.lanes


def check_rows(
    argument: str, rows: Sequence[Any], lanes: int, samples: Samples
) -> list[np.ndarray]:
    """The rows of samples for each lane, as arrays.

    Args:
        argument: the name of the argument.
        rows: the rows for each lane.
        lanes: the number of lanes.
        samples: the samples that have the rows.

    Raises:
        ValueError: if `rows` is not an array of existing rows for each lane.
    """
    checked = [np.asarray(of_lane) for of_lane in rows]
    good = len(checked) == lanes and all(
        of_lane.ndim == 1
        and of_lane.size > 0
        and np.issubdtype(of_lane.dtype, np.integer)
        and of_lane.min() >= 0
        and of_lane.max() < samples.count
        for of_lane in checked
    )
    if not good:
        raise ValueError(
            f"`{argument}` must have, for each of {lanes} lanes, an array of rows from 0 to "
            f"{samples.count - 1}. Received: {[of.shape for of in checked]}"
        )
    return checked


def _is_finite(number: Any) -> bool:
    # What callbacks write need be no number.
    return not isinstance(number, (int, float)) or bool(np.isfinite(number))


class Training:
    """The epochs of a training of lanes, each with its validation and its callbacks.

    Args:
        stack: the models of the lanes.
        arguments: the arguments of `kerasreg.lanes.Lanes.fit`.
    """

    def __init__(self, stack: ModelStack, arguments: FitArguments) -> None:
        count = len(stack)
        self.stack, self.arguments = stack, arguments
        self.data, self.validation = arguments.data, arguments.validation
        self.seed = arguments.drawn_seed
        # These six change when another model takes a lane over.
        self.first = list(arguments.first_epochs)
        self.last = list(arguments.last_epochs)
        rows, validation_rows = arguments.rows_of_lanes, arguments.validation_rows_of_lanes
        self.rows = None if rows is None else list(rows)
        self.validation_rows = None if validation_rows is None else list(validation_rows)
        of_lanes = arguments.class_weights_of_lanes
        self.class_weights = None if of_lanes is None else list(of_lanes)
        seeds = arguments.seeds_of_lanes
        self.seeds = None if seeds is None else list(seeds)
        params = {"steps": arguments.steps_of_epoch, "verbose": 0}
        self.callbacks = Callbacks(stack, params)
        self.running = np.ones(count, dtype=bool)  # Until the lane has ended.
        self.epochs = list(self.first)  # The next one of each lane.
        self.logs: list[Logs] = [{} for _ in range(count)]  # Of the last one.
        for lane, callbacks in enumerate(arguments.callbacks_of_lanes):
            self.callbacks.begin(lane, callbacks, self.last[lane], self._seed(lane))
        stack.stopped[:] = False

    def precompile(self) -> None:
        """Traces the program of whole epochs, and compiles it in a thread.

        Of data that are read batch by batch, none is read for that.
        """
        if not isinstance(self.data, Samples) or not self.data.is_resident:
            return
        self._vary()
        epochs, every = self.stack.epochs, list(range(len(self.stack)))
        compiled = self._compiles("train")
        blocks, weights = self._training_blocks(every), self._class_weights
        epochs.precompile("train", blocks, self.running, compiled, weights)
        if isinstance(self.validation, Samples) and self.validation.is_resident:
            epochs.precompile(
                "test", self._validation_blocks(), self.running, self._compiles("test")
            )

    def _vary(self) -> None:
        if self.arguments.refill is not None:
            # Models that come later may differ in any of them.
            self.stack.state.vary_all()

    def run(self) -> list[LaneHistory]:
        """Trains until all lanes have ended; returns the histories of all models."""
        try:
            return self._run_all()
        finally:
            self.stack.give_back()

    def _run_all(self) -> list[LaneHistory]:
        self._vary()
        refill = self.arguments.refill
        if isinstance(self.data, Stream):
            self.data.begin()
        self.callbacks.call("on_train_begin", range(len(self.stack)))
        given = self.arguments.states or ()
        self._restore({lane: state for lane, state in enumerate(given) if state is not None})
        while True:
            ended = {lane: self._end(lane) for lane in self._which(self.running & self._done())}
            if ended and refill is not None:
                # A replacement may have no epochs either.
                self._replace(refill(ended))
            elif self.running.any():
                self._epoch()
            else:
                return self.callbacks.all_histories

    def _which(self, lanes: np.ndarray) -> list[int]:
        return [int(lane) for lane in np.flatnonzero(lanes)]

    def _done(self) -> np.ndarray:
        epochs, first, last = map(np.array, (self.epochs, self.first, self.last))
        # As with Keras, who stops before the first epoch has a part of it.
        stopped = self.stack.stopped & (epochs > first)
        return (epochs >= last) | stopped | ~self.callbacks.sound

    def _epoch(self) -> None:
        callbacks, stopped = self.callbacks, self.stack.stopped
        given = self.arguments
        callbacks.call("on_epoch_begin", self._which(self.running), self.epochs)
        active = self.running & callbacks.sound
        if not active.any():
            return
        now = self._which(active)
        single = callbacks.want_batches("train", now) or bool(stopped[now].any())
        logs = self._run("train", self._training_blocks(now, single), active, single)
        if not any(logs):
            raise DataError("`x` must have at least one batch. Received: no batch")
        validated = self._which(active & callbacks.sound & self._validates())
        if validated:
            for mine, more in zip(logs, self._validate(validated), strict=True):
                mine |= {f"val_{name}": value for name, value in more.items()}
        now = self._which(active & callbacks.sound)
        callbacks.call("on_epoch_end", now, self.epochs, logs)
        for lane in now:
            if not callbacks.sound[lane]:
                continue
            self.logs[lane] = logs[lane]
            logs[lane] = callbacks.record(lane, self.epochs[lane], logs[lane])
            losses = [logs[lane].get(name) for name in ("loss", "val_loss")]
            if given.stop_on_nan and not all(map(_is_finite, losses)):
                stopped[lane] = True
        if given.on_epoch_end is not None:
            told = [of if lane in now else {} for lane, of in enumerate(logs)]
            given.on_epoch_end(list(self.epochs), told)
        for lane in self._which(active):
            self.epochs[lane] += 1

    def _run(self, kind: Kind, blocks: Blocks, active: Any, single: bool) -> list[Logs]:
        epochs, hooks = self.stack.epochs, None
        if single:
            hooks = SingleBatches(self.callbacks, kind, self.stack.stopped)
        compiled = not single and self._compiles(kind)
        weights = self._class_weights if kind == "train" else None
        found = epochs.run(kind, blocks, active, compiled, hooks, weights)
        return logs_of_lanes(found) if found else [{} for _ in range(len(self.stack))]

    @functools.cached_property
    def _class_weights(self) -> ClassWeights | None:
        """The weights of classes of the lanes as they are now: see `_begin`."""
        return None if self.class_weights is None else class_weights_of(self.class_weights)

    def _compiles(self, kind: Kind) -> bool:
        """Whether the epochs of the training pay for a compilation of theirs."""
        given = self.arguments
        steps = given.planned_steps if kind == "train" else given.planned_validation_steps
        return self.stack.epochs.worth_compiling(kind, steps)

    def _validates(self) -> np.ndarray:
        """The lanes whose epoch ends with a validation, shape (lanes,), Boolean."""
        if self.validation is None:
            return np.zeros(len(self.stack), dtype=bool)
        return np.array([self.arguments.validates(epoch) for epoch in self.epochs])

    def _validate(self, now: list[int]) -> list[Logs]:
        """The results of the validation, empty ones for the lanes that have none."""
        callbacks = self.callbacks
        if isinstance(self.validation, Stream):
            self.validation.begin()
        callbacks.call("on_test_begin", now)
        active = np.isin(np.arange(len(self.stack)), now) & callbacks.sound
        single = callbacks.want_batches("test", now)
        logs = self._run("test", self._validation_blocks(single), active, single)
        callbacks.call("on_test_end", now, logs=logs)
        return [of if lane in now else {} for lane, of in enumerate(logs)]

    def _training_blocks(self, now: list[int], single: bool = False) -> Blocks:
        """The batches of an epoch of training: of one block if they are not to be single ones."""
        limit = 1 if single else None
        if isinstance(self.data, Stream):
            return self.data.blocks(limit)
        return self._blocks(
            self.data, self._order(self.data, now), self.arguments.size_of_batch, limit
        )

    def _validation_blocks(self, single: bool = False) -> Blocks:
        validation, limit = self.validation, 1 if single else None
        assert validation is not None
        if isinstance(validation, Stream):
            return validation.blocks(limit)
        rows = self.validation_rows
        order = np.arange(validation.count) if rows is None else rows
        return self._blocks(validation, order, self.arguments.size_of_validation_batch, limit)

    def _blocks(self, samples: Samples, order: Order, size: int, limit: int | None) -> Blocks:
        blocks = samples.blocks(order, size, limit)
        # What is not in memory is read while the batches before are used.
        return blocks if samples.is_resident else ahead(blocks)

    def _seed(self, lane: int) -> int:
        return self.seed if self.seeds is None else self.seeds[lane]

    def _order(self, samples: Samples, now: list[int]) -> Order:
        count, rows, shuffle = samples.count, self.rows, self.arguments.shuffle
        if rows is None and not shuffle:
            return np.arange(count)
        epochs_now = {self.epochs[lane] for lane in now}
        if rows is None and self.seeds is None and len(epochs_now) == 1:
            # The same batches for all, which costs less.
            return batch_order(count, epochs_now.pop(), seed=self.seed)
        own = [np.arange(count)] * len(self.stack) if rows is None else rows
        if not shuffle:
            return own
        return [
            mine[batch_order(len(mine), self.epochs[lane], seed=self._seed(lane))]
            for lane, mine in enumerate(own)
        ]

    def _end(self, lane: int) -> LaneHistory:
        """Does what Keras does when a training ends, for one lane."""
        stack, history = self.stack, self.callbacks.histories[lane]
        averages = any(
            getattr(part, "use_ema", False) or getattr(part, "averages_weights", False)
            for part in inner_optimizers(stack.model.optimizer)
        )
        if averages and history.error is None:
            with stack.view(lane, shared=True):
                stack.epochs.finalize()
        self.callbacks.call("on_train_end", [lane], logs=self.logs)
        self.running[lane] = False
        if history.error is not None:
            warn(f"Lane {lane} stopped: {history.error!r}")
        return history

    def _replace(self, replacements: dict[int, Replacement]) -> None:
        """Puts other models in the place of lanes that have ended."""
        rows: dict[int, tuple[np.ndarray | None, np.ndarray | None]] = {}
        for lane, replacement in replacements.items():
            if not 0 <= lane < len(self.stack) or self.running[lane]:
                raise ValueError(
                    f"`refill` must give models for lanes that have ended. Received: lane {lane}"
                )
            rows[lane] = (
                self._check_rows("rows", replacement.rows, self.rows, self.data),
                self._check_rows(
                    "validation_rows",
                    replacement.validation_rows,
                    self.validation_rows,
                    self.validation,
                ),
            )
            if (replacement.seed is None) != (self.seeds is None):
                raise ValueError(
                    "`seed` of a replacement must be given if, and only if, `fit` was given a list "
                    f"of them. Received: seed={replacement.seed!r}"
                )
            if self.class_weights is not None:
                check_class_weight([replacement.class_weight], 1)
            elif replacement.class_weight is not None:
                raise ValueError(
                    "`class_weight` of a replacement must be None where `fit` was given no list "
                    f"of them. Received: {replacement.class_weight!r}"
                )
        self.stack.load(
            {lane: replacement.model for lane, replacement in replacements.items()},
            {lane: r.structure for lane, r in replacements.items() if r.structure is not None},
        )
        for lane, replacement in replacements.items():
            self._begin(lane, replacement, *rows[lane])
        self.callbacks.call("on_train_begin", replacements)
        self._restore(
            {lane: one.state for lane, one in replacements.items() if one.state is not None}
        )

    def _restore(self, states: Mapping[int, LaneState]) -> None:
        """Lets lanes go on whose trainings have just begun."""
        stack = self.stack
        if not states:
            return
        stack.state.restore(
            {lane: self._like(lane) for lane in states},
            {lane: state.values for lane, state in states.items()},
            {lane: state.numbers for lane, state in states.items()},
        )
        for lane, state in states.items():
            self.callbacks.restore(lane, state)
            self.epochs[lane], self.logs[lane] = state.epoch, dict(state.logs)
            # What a callback asked for in the hook was for a training that begins.
            stack.stopped[lane] = state.stopped or not self.callbacks.sound[lane]

    def _like(self, lane: int) -> tuple[keras.Model, ModelStructure]:
        """A model like that of a lane, which need not be built for that, and its structure."""
        return template_of(self.stack.models[lane]), self.stack.structures[lane]

    def states(self, lanes: Sequence[int]) -> dict[int, LaneState]:
        """The states of lanes, at the end of an epoch; lanes whose callbacks raised are left out.

        Raises:
            ValueError: if a lane trains no more, or has a callback whose state cannot be kept.
        """
        for lane in lanes:
            if not 0 <= lane < len(self.stack) or not self.running[lane]:
                raise ValueError(f"`lanes` must be lanes that train. Received: lane {lane}")
        lanes = [lane for lane in lanes if self.callbacks.sound[lane]]
        state, histories = self.stack.state, self.callbacks.histories
        values = state.values_of_lanes({lane: self._like(lane) for lane in lanes})
        return {
            lane: LaneState(
                epoch=self.epochs[lane] + 1,
                stopped=bool(self.stack.stopped[lane]),
                values=values[lane],
                numbers=state.numbers_of(lane),
                epochs=list(histories[lane].epoch),
                history={name: list(of) for name, of in histories[lane].history.items()},
                logs=dict(self.logs[lane]),
                callbacks=self.callbacks.states(lane),
            )
            for lane in lanes
        }

    def _check_rows(
        self,
        name: str,
        rows: Any,
        of_lanes: list[np.ndarray] | None,
        samples: Samples | Stream | None,
    ) -> np.ndarray | None:
        """The rows of a replacement, where lanes have rows of their own."""
        if of_lanes is None or not isinstance(samples, Samples):
            return None
        return check_rows(name, [[] if rows is None else rows], 1, samples)[0]

    def _begin(
        self,
        lane: int,
        replacement: Replacement,
        rows: np.ndarray | None,
        validation_rows: np.ndarray | None,
    ) -> None:
        if self.rows is not None and rows is not None:
            self.rows[lane] = rows
        if self.validation_rows is not None and validation_rows is not None:
            self.validation_rows[lane] = validation_rows
        if self.seeds is not None:
            self.seeds[lane] = check_count("seed", replacement.seed, minimum=0)
        if self.class_weights is not None:
            self.class_weights[lane] = replacement.class_weight
            vars(self).pop("_class_weights", None)
        if replacement.epochs is not None:
            self.last[lane] = check_count("epochs", replacement.epochs)
        if replacement.initial_epoch is not None:
            self.first[lane] = check_count("initial_epoch", replacement.initial_epoch, minimum=0)
        self.epochs[lane], self.running[lane] = self.first[lane], True
        self.logs[lane] = {}
        self.callbacks.begin(lane, replacement.callbacks, self.last[lane], self._seed(lane))
