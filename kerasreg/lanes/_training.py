"""The epochs of a training of lanes: orders, validation, callbacks, and who has stopped."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np

from kerasreg._keras.stateless_optimizer import inner_optimizers
from kerasreg._validation import check_count
from kerasreg._warnings import warn
from kerasreg.lanes._batches import Examples, batch_order, split
from kerasreg.lanes._callbacks import Callbacks
from kerasreg.lanes._fit_arguments import check_rows, counts_of_lanes
from kerasreg.lanes._logs import logs_of_lanes
from kerasreg.lanes._single_batches import SingleBatches
from kerasreg.lanes._structure import Structure

if TYPE_CHECKING:
    from kerasreg.lanes._lanes import Lanes

Logs = dict[str, Any]


class Successor(NamedTuple):
    """A model that takes over a lane that has ended: see `refill` of `Lanes.fit`.

    Args:
        model: of the structure of the lanes.
        callbacks: of its own.
        rows: its examples, where lanes have rows of their own.
        validation_rows: likewise.
        epochs: number of its last epoch; by default that of the lane before.
        initial_epoch: likewise of its first one.
        structure: of the model, where it is known to be that of the lanes.
    """

    model: keras.Model
    callbacks: Sequence[Any] = ()
    rows: Any = None
    validation_rows: Any = None
    epochs: int | None = None
    initial_epoch: int | None = None
    structure: Structure | None = None


class Training:
    """A training of lanes: see `Lanes.fit` for the arguments."""

    def __init__(
        self,
        lanes: Lanes,
        x: Any,
        y: Any,
        batch_size: int,
        epochs: int | Sequence[int],
        initial_epoch: int | Sequence[int],
        validation_data: Any,
        validation_split: float,
        validation_batch_size: int | None,
        sample_weight: Any,
        class_weight: dict[int, float] | None,
        shuffle: bool,
        seed: int | None,
        callbacks: Sequence[Sequence[Any]] | None,
        rows: Sequence[Any] | None,
        validation_rows: Sequence[Any] | None,
        stop_on_nan: bool,
        on_epoch_end: Callable[[list[int], list[Logs]], Any] | None,
        refill: Callable[[dict[int, Any]], dict[int, Successor]] | None,
    ) -> None:
        count = len(lanes)
        self.lanes, self.shuffle, self.stop_on_nan = lanes, shuffle, stop_on_nan
        self.on_epoch_end, self.refill = on_epoch_end, refill
        self.batch_size = self.validation_batch_size = check_count("batch_size", batch_size)
        if validation_batch_size is not None:
            check_count("validation_batch_size", validation_batch_size)
            self.validation_batch_size = validation_batch_size
        self.last = counts_of_lanes("epochs", epochs, count, 1)
        self.first = counts_of_lanes("initial_epoch", initial_epoch, count, 0)
        self.seed = secrets.randbits(31) if seed is None else check_count("seed", seed, minimum=0)
        if validation_split and validation_data is None:
            (x, y, sample_weight), validation_data = split((x, y, sample_weight), validation_split)
        self.examples = Examples(x, y, sample_weight, class_weight)
        self.validation = None if validation_data is None else Examples(*validation_data)
        self.rows = self.validation_rows = None
        if rows is not None:
            self.rows = check_rows("rows", rows, count, self.examples.count)
        if validation_rows is not None:
            if self.validation is None:
                raise ValueError("`validation_rows` must be given with `validation_data`.")
            self.validation_rows = check_rows(
                "validation_rows", validation_rows, count, self.validation.count
            )
        given = [()] * count if callbacks is None else list(callbacks)
        if len(given) != count:
            raise ValueError(
                "`callbacks` must be a list with one list of callbacks for each lane. "
                f"Received: {len(given)} for {count} lanes"
            )
        length = self.examples.count if self.rows is None else max(map(len, self.rows))
        steps = -(-length // self.batch_size)
        self.planned = steps * max(e - b for b, e in zip(self.first, self.last, strict=True))
        self.callbacks = Callbacks(lanes, {"steps": steps, "verbose": 0, "seed": self.seed})
        self.running = np.ones(count, dtype=bool)  # Until the lane has ended.
        self.epochs = list(self.first)  # The next one of each lane.
        self.logs: list[Logs] = [{} for _ in range(count)]  # Of the last one.
        for lane, of_lane in enumerate(given):
            self.callbacks.begin(lane, of_lane, self.last[lane])
        lanes.stopped[:] = False

    def prepare(self) -> None:
        """Traces the program of whole epochs, and compiles it in a thread."""
        self._lift()
        epochs, every = self.lanes._epochs, list(range(len(self.lanes)))
        compiled = epochs.worth_compiling(self.planned)
        order = self._order(every)
        epochs.prepare("train", self.examples, order, self.batch_size, self.running, compiled)
        if self.validation is not None:
            order, size = self._validation_order(), self.validation_batch_size
            epochs.prepare("test", self.validation, order, size, self.running)

    def _lift(self) -> None:
        if self.refill is not None:
            # Those that come later may differ in any of them.
            self.lanes._state.lift_all()

    def run(self) -> list[Any]:
        """Trains until all lanes have ended, and gives the histories."""
        self._lift()
        self.callbacks.call("on_train_begin", range(len(self.lanes)))
        while True:
            ended = {lane: self._end(lane) for lane in self._which(self.running & self._done())}
            if ended and self.refill is not None:
                # A successor may have no epochs either.
                self._succeed(self.refill(ended))
            elif self.running.any():
                self._epoch()
            else:
                return self.callbacks.all_histories

    def _which(self, lanes: np.ndarray) -> list[int]:
        return [int(lane) for lane in np.flatnonzero(lanes)]

    def _done(self) -> np.ndarray:
        epochs, first, last = map(np.array, (self.epochs, self.first, self.last))
        # As with Keras, who stops before the first epoch has a part of it.
        stopped = self.lanes.stopped & (epochs > first)
        return (epochs >= last) | stopped | ~self.callbacks.sound

    def _epoch(self) -> None:
        callbacks, lanes = self.callbacks, self.lanes
        callbacks.call("on_epoch_begin", self._which(self.running), self.epochs)
        active = self.running & callbacks.sound
        if not active.any():
            return
        now = self._which(active)
        single = callbacks.want_batches("train", now) or bool(lanes.stopped[now].any())
        logs = self._run("train", self.examples, self._order(now), self.batch_size, active, single)
        now = self._which(active & callbacks.sound)
        if self.validation is not None and now:
            for mine, more in zip(logs, self._validate(now), strict=True):
                mine |= {f"val_{name}": value for name, value in more.items()}
            now = self._which(active & callbacks.sound)
        callbacks.call("on_epoch_end", now, self.epochs, logs)
        for lane in now:
            callbacks.record(lane, self.epochs[lane], logs[lane])
            losses = [logs[lane].get(name, 0.0) for name in ("loss", "val_loss")]
            if self.stop_on_nan and not np.isfinite(losses).all():
                lanes.stopped[lane] = True
            self.logs[lane] = logs[lane]
        if self.on_epoch_end is not None:
            told = [of if lane in now else {} for lane, of in enumerate(logs)]
            self.on_epoch_end(list(self.epochs), told)
        for lane in self._which(active):
            self.epochs[lane] += 1

    def _run(
        self, kind: str, examples: Examples, order: Any, size: int, active: Any, single: bool
    ) -> list[Logs]:
        epochs, hooks = self.lanes._epochs, None
        if single:
            hooks = SingleBatches(self.callbacks, kind, self.lanes.stopped)
        compiled = kind == "train" and not single and epochs.worth_compiling(self.planned)
        return logs_of_lanes(epochs.run(kind, examples, order, size, active, compiled, hooks))

    def _validate(self, now: list[int]) -> list[Logs]:
        callbacks, validation = self.callbacks, self.validation
        assert validation is not None
        callbacks.call("on_test_begin", now)
        active = np.isin(np.arange(len(self.lanes)), now) & callbacks.sound
        order = self._validation_order()
        single = callbacks.want_batches("test", now)
        logs = self._run("test", validation, order, self.validation_batch_size, active, single)
        callbacks.call("on_test_end", now, logs=logs)
        return logs

    def _validation_order(self) -> Any:
        assert self.validation is not None
        rows = self.validation_rows
        return np.arange(self.validation.count) if rows is None else rows

    def _order(self, now: list[int]) -> Any:
        count, rows = self.examples.count, self.rows
        if rows is None and not self.shuffle:
            return np.arange(count)
        epochs_now = {self.epochs[lane] for lane in now}
        if rows is None and len(epochs_now) == 1:
            # The same batches for all, which costs less.
            return batch_order(count, epochs_now.pop(), self.seed)
        own = [np.arange(count)] * len(self.lanes) if rows is None else rows
        if not self.shuffle:
            return own
        return [
            mine[batch_order(len(mine), epoch, self.seed)]
            for mine, epoch in zip(own, self.epochs, strict=True)
        ]

    def _end(self, lane: int) -> Any:
        """What Keras does when a training ends, for one lane."""
        lanes, history = self.lanes, self.callbacks.histories[lane]
        averages = any(
            getattr(part, "use_ema", False) or getattr(part, "averages_weights", False)
            for part in inner_optimizers(lanes.model.optimizer)
        )
        if averages and history.error is None:
            with lanes.view(lane):
                lanes._epochs.finalize(self.examples)
        self.callbacks.call("on_train_end", [lane], logs=self.logs)
        self.running[lane] = False
        if history.error is not None:
            warn(f"Lane {lane} stopped: {history.error!r}")
        return history

    def _succeed(self, successors: dict[int, Successor]) -> None:
        """Puts other models in the place of lanes that have ended."""
        given: dict[int, dict[str, Any]] = {}
        for lane, successor in successors.items():
            if not 0 <= lane < len(self.lanes) or self.running[lane]:
                raise ValueError(
                    f"`refill` must give models for lanes that have ended. Received: lane {lane}"
                )
            given[lane] = {
                name: None if known is None else self._check_rows(name, successor, data)
                for name, known, data in (
                    ("rows", self.rows, self.examples),
                    ("validation_rows", self.validation_rows, self.validation),
                )
            }
        self.lanes.load(
            {lane: successor.model for lane, successor in successors.items()},
            {lane: s.structure for lane, s in successors.items() if s.structure is not None},
        )
        for lane, successor in successors.items():
            self._begin(lane, successor, **given[lane])
        self.callbacks.call("on_train_begin", successors)

    def _check_rows(self, name: str, successor: Successor, examples: Any) -> np.ndarray:
        rows = getattr(successor, name)
        given = [[] if rows is None else rows]
        return check_rows(name, given, 1, examples.count)[0]

    def _begin(self, lane: int, successor: Successor, rows: Any, validation_rows: Any) -> None:
        if self.rows is not None:
            self.rows[lane] = rows
        if self.validation_rows is not None:
            self.validation_rows[lane] = validation_rows
        if successor.epochs is not None:
            self.last[lane] = check_count("epochs", successor.epochs)
        if successor.initial_epoch is not None:
            self.first[lane] = check_count("initial_epoch", successor.initial_epoch, minimum=0)
        self.epochs[lane], self.running[lane] = self.first[lane], True
        self.logs[lane] = {}
        self.callbacks.begin(lane, successor.callbacks, self.last[lane])
