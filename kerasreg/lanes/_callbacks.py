"""The callbacks of each lane, which see the lane as their model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import keras

from kerasreg.lanes._view import LaneScope, has_batch_hooks, merge

if TYPE_CHECKING:
    from kerasreg.lanes._lanes import Lanes


class Callbacks:
    """Calls the hooks of Keras callbacks, each with the model that shows its lane.

    Args:
        lanes: the lanes.
        params: what callbacks are told of the training.
        per_batch: whether hooks of single batches can be called.

    Attributes:
        histories: of the model that each lane has now.
        all_histories: of all models, in the order of their beginnings.
    """

    def __init__(self, lanes: Lanes, params: dict[str, Any], per_batch: bool) -> None:
        self.lanes = lanes
        self.params = params
        self.per_batch = per_batch
        self.histories: list[Any] = [None] * len(lanes)
        self.all_histories: list[Any] = []
        self._lists: list[Any] = [None] * len(lanes)
        self._known: list[Any] = []

    def begin(self, lane: int, callbacks: Sequence[Any], epochs: int) -> None:
        """Gives a lane a history, and callbacks of its own."""
        for callback in callbacks:
            if any(callback is known for known in self._known):
                raise ValueError(
                    "`callbacks` must not have the same callback twice: each keeps what it has "
                    f"seen of its lane. Received {type(callback).__name__} for several lanes."
                )
            if has_batch_hooks(callback) and not self.per_batch:
                raise ValueError(
                    "A callback with hooks for single batches must be given from the start. "
                    f"Received: {type(callback).__name__} for a model that takes a lane over"
                )
            self._known.append(callback)
        history = keras.callbacks.History()
        history.error, history.epoch, history.lane = None, [], lane
        params = {**self.params, "epochs": epochs}
        history.set_params(params)
        self.histories[lane] = history
        self.all_histories.append(history)
        # A lane without callbacks needs no view of it.
        self._lists[lane] = (
            # Last: callbacks add to the logs that it keeps.
            keras.callbacks.CallbackList([*callbacks, history], add_history=False, **params)
            if callbacks
            else None
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
            of_lanes: which lanes; those that have stopped are left out.
            arguments: the first argument for each lane, if there is one.
            logs: those of each lane, if there are some.
        """
        lanes, state = self.lanes, self.lanes._state
        scopes = []
        for lane in of_lanes:
            of_lane = self._lists[lane]
            if of_lane is None or self.histories[lane].error is not None:
                continue
            lanes.model.stop_training = False
            scope = LaneScope(state.variables, state.values, lane)
            try:
                with scope:
                    of_lane.set_model(lanes.model)
                    first = () if arguments is None else (arguments[lane],)
                    given = {} if logs is None else {"logs": logs[lane]}
                    getattr(of_lane, hook)(*first, **given)
            except Exception as error:  # it stops the lane, and no other
                self.histories[lane].error = error
                lanes.stopped[lane] = True
                continue
            scopes.append(scope)
            if lanes.model.stop_training:
                lanes.stopped[lane] = True
        lanes.model.stop_training = False
        state.values = list(merge(state.values, scopes))
