"""The callbacks of each lane, which see the lane as their model, and the lane's history."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from kerasreg._keras.internals import profiles_batches
from kerasreg._overrides import has_own
from kerasreg.lanes._epochs import BatchHooks, Kind
from kerasreg.lanes._lane_state import CallbackState, LaneState, restore_callback, state_of_callback
from kerasreg.lanes._stack import ModelStack

Logs = dict[str, Any]


def logs_of_lanes(metrics: dict[str, np.ndarray]) -> list[Logs]:
    """The logs of each lane, of arrays whose first axis is the lanes."""
    lanes = len(next(iter(metrics.values())))
    return [{name: _plain(of[lane]) for name, of in metrics.items()} for lane in range(lanes)]


def _plain(value: Any) -> Any:
    # Some metrics have one number for each class.
    return float(value) if np.ndim(value) == 0 else np.array(value)


class LaneHistory(keras.callbacks.History):
    """The history of one model's training in a lane.

    Args:
        lane: the number of the lane.

    Attributes:
        lane: the number of the lane.
        error: the error that a callback raised, which ended the training; or None.
        logs: the logs of the last epoch, with what callbacks have added to them.
    """

    def __init__(self, lane: int) -> None:
        super().__init__()
        self.epoch: list[int] = []  # Keras makes it when a training begins.
        self.lane = lane
        self.error: Exception | None = None
        self.logs: Logs = {}

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Keeps the logs, too."""
        # Keras gives all callbacks one dictionary for each epoch, and this one is the last.
        self.logs = {} if logs is None else logs
        super().on_epoch_end(epoch, logs)


class Callbacks:
    """Calls the hooks of Keras callbacks, each with the model that shows its lane.

    Args:
        stack: the models of the lanes.
        params: the parameters of the training that callbacks are told.

    Attributes:
        histories: for each lane, the history of the model that it has now.
        all_histories: the histories of all models, in the order of their beginnings.
        sound: the lanes none of whose callbacks has raised, shape (lanes,).
    """

    def __init__(self, stack: ModelStack, params: dict[str, Any]) -> None:
        self.stack = stack
        self.params = params
        self.histories: dict[int, LaneHistory] = {}
        self.all_histories: list[LaneHistory] = []
        self.sound = np.ones(len(stack), dtype=bool)
        self._lists: list[Any] = [None] * len(stack)
        # Those that ended are not kept, nor is what they hold.
        self._known = weakref.WeakValueDictionary[int, Any]()
        self._begun: set[int] = set()

    def begin(self, lane: int, callbacks: Sequence[Any], epochs: int, seed: int) -> None:
        """Gives a lane a history, and callbacks of its own."""
        for callback in callbacks:
            if self._known.get(id(callback)) is callback:
                raise ValueError(
                    "`callbacks` must not have the same callback twice: each keeps what it has "
                    f"seen of its lane. Received {type(callback).__name__} for several lanes."
                )
            self._known[id(callback)] = callback
        history = LaneHistory(lane)
        params = {**self.params, "epochs": epochs, "seed": seed}
        history.set_params(params)
        self.histories[lane] = history
        self.all_histories.append(history)
        self.sound[lane] = True
        self._begun.discard(lane)
        # A lane without callbacks needs no view of it.
        self._lists[lane] = (
            # Last: callbacks add to the logs that it keeps.
            keras.callbacks.CallbackList([*callbacks, history], add_history=False, **params)
            if callbacks
            else None
        )

    def want_batches(self, kind: Kind, of_lanes: Iterable[int]) -> bool:
        """Whether some lane has hooks for single batches of training or of testing."""
        return any(
            has_batch_hooks(callback, kind)
            for lane in of_lanes
            if self._lists[lane] is not None
            for callback in self._lists[lane].callbacks
        )

    def record(self, lane: int, epoch: int, logs: Logs) -> Logs:
        """Puts an epoch into the history of a lane that has no callbacks to do it.

        Returns:
            The logs, with what callbacks have added to them.
        """
        history = self.histories[lane]
        if self._lists[lane] is not None:
            return history.logs
        history.epoch.append(epoch)
        for name, value in logs.items():
            history.history.setdefault(name, []).append(value)
        return logs

    def states(self, lane: int) -> list[CallbackState]:
        """What each callback of a lane remembers.

        Raises:
            ValueError: if one has a state that cannot be kept.
        """
        of_lane = self._lists[lane]
        if of_lane is None:
            return []
        with self.stack.scope(lane):  # Some read variables of the model.
            return [state_of_callback(one) for one in of_lane.callbacks[:-1]]

    def restore(self, lane: int, state: LaneState) -> None:
        """Lets the history and the callbacks of a lane, whose training has begun, go on."""
        history = self.histories[lane]
        history.epoch = list(state.epochs)
        history.history = {name: list(of) for name, of in state.history.items()}
        history.logs = dict(state.logs)
        of_lane = self._lists[lane]
        if of_lane is None or not self.sound[lane]:
            return
        theirs, kept = of_lane.callbacks[:-1], state.callbacks
        names = [type(one).__name__ for one in theirs]
        if names != [name for name, _ in kept]:
            raise ValueError(
                f"`states` must be of trainings with the callbacks of lane {lane}, {names}. "
                f"Received: {[name for name, _ in kept]}"
            )
        with self.stack.scope(lane) as scope:
            for callback, (_, of_callback) in zip(theirs, kept, strict=True):
                restore_callback(callback, of_callback)
        self.stack.keep([scope])

    def call(
        self,
        hook: str,
        of_lanes: Iterable[int],
        arguments: Sequence[Any] | None = None,
        logs: Sequence[Logs] | None = None,
    ) -> None:
        """Calls a hook for some lanes, and keeps the values that it assigns.

        Args:
            hook: the name of a method of callbacks.
            of_lanes: the lanes; those with a callback that has raised are left out.
            arguments: the first argument of the hook for each lane, if it has one.
            logs: the logs for each lane, if the hook is given some.
        """
        stack, scopes = self.stack, []
        for lane in of_lanes:
            of_lane = self._lists[lane]
            if of_lane is None or not self.sound[lane]:
                continue
            try:
                with stack.scope(lane) as scope:
                    scope.model.stop_training = bool(stack.stopped[lane])
                    if lane not in self._begun:
                        # Once: some begin anew with it.
                        of_lane.set_model(scope.model)
                        self._begun.add(lane)
                    first = () if arguments is None else (arguments[lane],)
                    given = {} if logs is None else {"logs": logs[lane]}
                    getattr(of_lane, hook)(*first, **given)
            except Exception as error:  # it stops the lane, and no other
                self.histories[lane].error = error
                self.sound[lane] = False
                stack.stopped[lane] = True
                continue
            scopes.append(scope)
            stack.stopped[lane] = bool(scope.model.stop_training)
            scope.model.stop_training = False
        stack.model.stop_training = False
        stack.keep(scopes)


# Single batches.

_HOOKS: dict[Kind, tuple[str, ...]] = {
    "train": ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end"),
    "test": ("on_test_batch_begin", "on_test_batch_end"),
}


def has_batch_hooks(callback: keras.callbacks.Callback, kind: Kind) -> bool:
    """Whether a callback acts before or after single batches of training or of testing.

    A callback that has hooks for batches of training, but does not always act in
    them, has an attribute `batch_hooks` that says whether it does.
    """
    if kind == "train":
        declared = getattr(callback, "batch_hooks", None)
        if declared is not None:
            return bool(declared)
        # Stops at the epoch's end here; a lane that diverged harms no other.
        if isinstance(callback, keras.callbacks.TerminateOnNaN):
            return False
        # These have hooks for batches and, as they are by default, no use for them.
        if isinstance(callback, keras.callbacks.ModelCheckpoint):
            return bool(callback.save_freq != "epoch")
        if isinstance(callback, keras.callbacks.TensorBoard):
            of_epochs = callback.update_freq == "epoch" and not callback.write_steps_per_second
            return not of_epochs or profiles_batches(callback)
    # Those of a `LambdaCallback` are in the object.
    return any(has_own(callback, name, keras.callbacks.Callback) for name in _HOOKS[kind])


class SingleBatches(BatchHooks):
    """Calls the hooks of callbacks in an epoch that is run batch by batch.

    Args:
        callbacks: the callbacks of the lanes.
        kind: an epoch of training or of testing.
        stopped: the lanes that callbacks have stopped, shape (lanes,).
    """

    def __init__(self, callbacks: Callbacks, kind: Kind, stopped: np.ndarray) -> None:
        self.callbacks = callbacks
        self.kind = kind
        self.stopped = stopped
        self.counts = np.zeros(len(stopped), dtype=int)

    def begin(self, moved: np.ndarray) -> np.ndarray:
        """Calls the hooks before a batch; returns the lanes that are to see it."""
        moved = moved & self.callbacks.sound
        if self.kind == "train":
            # Keras looks whether to stop after a batch: there is always a first one.
            moved &= ~(self.stopped & (self.counts > 0))
        self._call("begin", moved)
        return moved & self.callbacks.sound

    def end(self, moved: np.ndarray, metrics: dict[str, np.ndarray]) -> None:
        """Calls the hooks after a batch, with the metrics of the epoch so far."""
        self._call("end", moved, logs_of_lanes(metrics))
        self.counts += moved

    def _call(self, hook: str, moved: np.ndarray, logs: list[Logs] | None = None) -> None:
        which = np.flatnonzero(moved).tolist()
        self.callbacks.call(f"on_{self.kind}_batch_{hook}", which, self.counts.tolist(), logs)
