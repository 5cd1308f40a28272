"""The callbacks of each lane, which see the lane as their model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from kerasreg.lanes._hooks import has_batch_hooks
from kerasreg.lanes._view import merge

if TYPE_CHECKING:
    from kerasreg.lanes._lanes import Lanes


class Callbacks:
    """Calls the hooks of Keras callbacks, each with the model that shows its lane.

    Args:
        lanes: the lanes.
        params: what callbacks are told of the training.

    Attributes:
        histories: of the model that each lane has now.
        all_histories: of all models, in the order of their beginnings.
        sound: the lanes none of whose callbacks has raised, shape (lanes,).
    """

    def __init__(self, lanes: Lanes, params: dict[str, Any]) -> None:
        self.lanes = lanes
        self.params = params
        self.histories: list[Any] = [None] * len(lanes)
        self.all_histories: list[Any] = []
        self.sound = np.ones(len(lanes), dtype=bool)
        self._lists: list[Any] = [None] * len(lanes)
        self._known: list[Any] = []
        self._begun: set[int] = set()

    def begin(self, lane: int, callbacks: Sequence[Any], epochs: int) -> None:
        """Gives a lane a history, and callbacks of its own."""
        for callback in callbacks:
            if any(callback is known for known in self._known):
                raise ValueError(
                    "`callbacks` must not have the same callback twice: each keeps what it has "
                    f"seen of its lane. Received {type(callback).__name__} for several lanes."
                )
            self._known.append(callback)
        history = keras.callbacks.History()
        history.error, history.epoch, history.lane = None, [], lane
        params = {**self.params, "epochs": epochs}
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

    def want_batches(self, kind: str, of_lanes: Iterable[int]) -> bool:
        """Whether some lane has hooks for single batches of `"train"` or `"test"`."""
        return any(
            has_batch_hooks(callback, kind)
            for lane in of_lanes
            if self._lists[lane] is not None
            for callback in self._lists[lane].callbacks
        )

    def record(self, lane: int, epoch: int, logs: dict[str, Any]) -> None:
        """Puts an epoch into the history of a lane that has no callbacks to do it."""
        history = self.histories[lane]
        if self._lists[lane] is None:
            history.epoch.append(epoch)
            for name, value in logs.items():
                history.history.setdefault(name, []).append(value)

    def call(
        self,
        hook: str,
        of_lanes: Iterable[int],
        arguments: Sequence[Any] | None = None,
        logs: Sequence[Any] | None = None,
    ) -> None:
        """Calls a hook for some lanes, and keeps what was assigned.

        Args:
            hook: the name of a method of callbacks.
            of_lanes: which lanes; those of which a callback has raised are left out.
            arguments: the first argument for each lane, if there is one.
            logs: those of each lane, if there are some.
        """
        lanes, scopes = self.lanes, []
        for lane in of_lanes:
            of_lane = self._lists[lane]
            if of_lane is None or not self.sound[lane]:
                continue
            lanes.model.stop_training = bool(lanes.stopped[lane])
            try:
                with lanes._scope(lane) as scope:
                    if lane not in self._begun:
                        # Once: some begin anew with it.
                        of_lane.set_model(lanes.model)
                        self._begun.add(lane)
                    first = () if arguments is None else (arguments[lane],)
                    given = {} if logs is None else {"logs": logs[lane]}
                    getattr(of_lane, hook)(*first, **given)
            except Exception as error:  # it stops the lane, and no other
                self.histories[lane].error = error
                self.sound[lane] = False
                lanes.stopped[lane] = True
                continue
            scopes.append(scope)
            lanes.stopped[lane] = bool(lanes.model.stop_training)
        lanes.model.stop_training = False
        lanes._state.values = list(merge(lanes._state.values, scopes))
