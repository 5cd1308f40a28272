"""The epochs of a training of lanes: orders, validation, callbacks, and who has stopped."""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np

from kerasreg._validation import check_count
from kerasreg.lanes._batches import Examples, batch_order, split
from kerasreg.lanes._callbacks import Callbacks
from kerasreg.lanes._structure import Structure
from kerasreg.lanes._view import has_batch_hooks

if TYPE_CHECKING:
    from kerasreg.lanes._lanes import Lanes


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


def train(
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
    on_epoch_end: Callable[[list[int], list[dict[str, Any]]], Any] | None,
    refill: Callable[[dict[int, Any]], dict[int, Successor]] | None,
) -> list[Any]:
    """See `Lanes.fit`."""
    check_count("batch_size", batch_size)
    last = _of_lanes("epochs", epochs, lanes, 1)
    first = _of_lanes("initial_epoch", initial_epoch, lanes, 0)
    seed = secrets.randbits(31) if seed is None else check_count("seed", seed, minimum=0)
    if validation_split and validation_data is None:
        (x, y, sample_weight), validation_data = split((x, y, sample_weight), validation_split)
    examples = Examples(x, y, sample_weight, class_weight)
    validation = None if validation_data is None else Examples(*validation_data)
    if rows is not None:
        rows = _check_rows("rows", rows, lanes, examples)
    if validation_rows is not None:
        if validation is None:
            raise ValueError("`validation_rows` must be given with `validation_data`.")
        validation_rows = _check_rows("validation_rows", validation_rows, lanes, validation)
    given = [()] * len(lanes) if callbacks is None else list(callbacks)
    if len(given) != len(lanes):
        raise ValueError(
            "`callbacks` must be a list with one list of callbacks for each lane. "
            f"Received: {len(given)} for {len(lanes)} lanes"
        )
    if refill is not None:
        # Those that come later may differ in any of them.
        lanes._state.lift_all()

    count = examples.count if rows is None else max(map(len, rows))
    steps = -(-count // batch_size)
    per_batch = any(has_batch_hooks(callback) for of_lane in given for callback in of_lane)
    planned = steps * max(end - begin for begin, end in zip(first, last, strict=True))
    params = {"steps": steps, "verbose": 0, "seed": seed}
    called = Callbacks(lanes, params, per_batch)
    lanes.stopped[:] = False
    training = np.array(first) < last  # Until the lane has ended.
    own_epochs = list(first)
    for lane, of_lane in enumerate(given):
        called.begin(lane, of_lane, last[lane])
    called.call("on_train_begin", range(len(lanes)))

    def order() -> Any:
        if rows is None and not shuffle:
            return np.arange(examples.count)
        epochs_now = {own_epochs[lane] for lane in now}
        if rows is None and len(epochs_now) == 1:
            # The same batches for all, which costs less.
            return batch_order(examples.count, epochs_now.pop(), seed)
        own = [np.arange(examples.count)] * len(lanes) if rows is None else rows
        if not shuffle:
            return own
        return [
            mine[batch_order(len(mine), epoch, seed)]
            for mine, epoch in zip(own, own_epochs, strict=True)
        ]

    while (active := training & ~lanes.stopped).any():
        now = np.flatnonzero(active).tolist()
        called.call("on_epoch_begin", now, own_epochs)
        between = None
        if per_batch:
            called.call("on_train_batch_begin", now, [0] * len(lanes))

            def between(done: int, now: list[int] = now) -> None:
                found = _logs(lanes._epochs.metrics())
                called.call("on_train_batch_end", now, [done - 1] * len(lanes), found)
                if done < steps:
                    called.call("on_train_batch_begin", now, [done] * len(lanes))

        found = lanes._epochs.run(
            "train",
            examples,
            order(),
            batch_size,
            active,
            not per_batch and lanes._epochs.worth_compiling(planned),
            1 if per_batch else None,
            between,
        )
        logs = _logs(found)
        if validation is not None:
            which = np.arange(validation.count) if validation_rows is None else validation_rows
            size = validation_batch_size or batch_size
            called.call("on_test_begin", now)
            tested = _logs(lanes._epochs.run("test", validation, which, size, active))
            for mine, more in zip(logs, tested, strict=True):
                mine |= {f"val_{name}": value for name, value in more.items()}
            called.call("on_test_end", now, logs=tested)
        called.call("on_epoch_end", now, own_epochs, logs)
        for lane in now:
            called.record(lane, own_epochs[lane], logs[lane])
            losses = [logs[lane].get(name, 0.0) for name in ("loss", "val_loss")]
            if stop_on_nan and not np.isfinite(losses).all():
                lanes.stopped[lane] = True
        if on_epoch_end is not None:
            on_epoch_end(own_epochs, [of if active[i] else {} for i, of in enumerate(logs)])
        ended = {}
        for lane in now:
            own_epochs[lane] += 1
            if lanes.stopped[lane] or own_epochs[lane] >= last[lane]:
                _end(lanes, called, lane, examples)
                ended[lane] = called.histories[lane]
                training[lane] = False
        if refill is None or not ended:
            continue
        successors = refill(ended)
        lanes.load(
            {lane: successor.model for lane, successor in successors.items()},
            {lane: s.structure for lane, s in successors.items() if s.structure is not None},
        )
        for lane, successor in successors.items():
            first[lane] = _either(successor.initial_epoch, first[lane])
            last[lane] = _either(successor.epochs, last[lane])
            own_epochs[lane], training[lane] = first[lane], first[lane] < last[lane]
            if rows is not None:
                rows[lane] = np.asarray(successor.rows)
            if validation_rows is not None:
                validation_rows[lane] = np.asarray(successor.validation_rows)
            called.begin(lane, successor.callbacks, last[lane])
        called.call("on_train_begin", successors)
    return called.all_histories


def _end(lanes: Lanes, called: Callbacks, lane: int, examples: Examples) -> None:
    """What Keras does when a training ends, for one lane."""
    if getattr(lanes.model.optimizer, "use_ema", False):
        with lanes.view(lane):
            lanes._epochs.finalize(examples)
    stopped = lanes.stopped[lane]
    called.call("on_train_end", [lane])
    lanes.stopped[lane] = stopped or called.histories[lane].error is not None
    if (error := called.histories[lane].error) is not None:
        warnings.warn(f"Lane {lane} stopped: {error!r}", stacklevel=4)


def _of_lanes(argument: str, value: Any, lanes: Lanes, minimum: int) -> list[int]:
    if isinstance(value, (list, tuple, np.ndarray)):
        if len(value) != len(lanes):
            raise ValueError(
                f"`{argument}` must be a number, or one for each of {len(lanes)} lanes. "
                f"Received: {argument}={value!r}"
            )
        return [check_count(argument, of_lane, minimum=minimum) for of_lane in value]
    return [check_count(argument, value, minimum=minimum)] * len(lanes)


def _either(given: int | None, otherwise: int) -> int:
    return otherwise if given is None else given


def _logs(found: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    lanes = len(next(iter(found.values())))
    return [{name: _plain(of[lane]) for name, of in found.items()} for lane in range(lanes)]


def _plain(value: Any) -> Any:
    # Some metrics have one number for each class.
    return float(value) if np.ndim(value) == 0 else np.array(value)


def _check_rows(
    argument: str, rows: Sequence[Any], lanes: Lanes, examples: Examples
) -> list[np.ndarray]:
    checked = [np.asarray(of_lane) for of_lane in rows]
    good = len(checked) == len(lanes) and all(
        of_lane.ndim == 1
        and of_lane.size > 0
        and np.issubdtype(of_lane.dtype, np.integer)
        and of_lane.min() >= 0
        and of_lane.max() < examples.count
        for of_lane in checked
    )
    if not good:
        raise ValueError(
            f"`{argument}` must have, for each of {len(lanes)} lanes, an array of rows from 0 to "
            f"{examples.count - 1}. Received: {[of.shape for of in checked]}"
        )
    return checked
