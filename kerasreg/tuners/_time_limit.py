"""The time that a whole search may take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kerasreg._durations import check_duration, duration
from kerasreg._keras import keras_tuner_internals as internals


class TimeLimit:
    """Tells when a search is to end, and which trials end by that.

    Args:
        limit: seconds, or a text such as `"90s"` or `"1h30m"`; None for no limit. The time begins
            now.
        clock: gives the time in seconds.

    Raises:
        ValueError: if `limit` is no time > 0.
    """

    def __init__(
        self, limit: float | str | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = None if limit is None else check_duration("time_limit", limit)
        self._clock = clock
        self._begun = clock()
        self._ended: set[str] = set()  # The ids of the trials that were asked to end.
        self._given_back = 0

    def now(self) -> float:
        """The time, in seconds."""
        return self._clock()

    @property
    def left(self) -> float | None:
        """The seconds that are left, perhaps fewer than 0; None where there is no limit."""
        return None if self._seconds is None else self._begun + self._seconds - self._clock()

    @property
    def over(self) -> bool:
        """Whether the time is over."""
        left = self.left
        return left is not None and left <= 0.0

    def ending(
        self, seen: Iterable[tuple[str, int, Mapping[str, Any]]], objective: Any
    ) -> set[str]:
        """Which trials are to end after an epoch: all of them, if the time is over.

        Args:
            seen: the id of a trial, the epoch and its logs, for each of some trainings.
            objective: an epoch without it gives no result, and does not end a trial, as with
                `validation_freq`; None if the logs need not have it.

        Returns:
            The ids.
        """
        if not self.over:
            return set()
        found = {
            trial_id for trial_id, _, logs in seen if objective is None or objective.has_value(logs)
        }
        self._ended |= found
        return found

    def has_ended(self, trial_id: str) -> bool:
        """Whether a trial was asked to end, as the time is over."""
        return trial_id in self._ended

    def give_back(self, oracle: Any, trial_id: str) -> None:
        """Lets an oracle give a trial again that was begun, in a search to come.

        Args:
            oracle: the oracle.
            trial_id: the id of the trial.
        """
        places = oracle.ongoing_trials
        for place in [place for place, trial in places.items() if trial.trial_id == trial_id]:
            del places[place]
        internals.queue_again(oracle, trial_id)
        self._given_back += 1

    def note(self, oracle: Any) -> str:
        """Says what became of the trials of a search whose time is over."""
        status = [trial.status for trial in oracle.trials.values()]
        early = sum(oracle.trials[of].status == "COMPLETED" for of in self._ended)
        parts = [f"{status.count('COMPLETED')} completed"]
        if early:
            parts[0] += f" ({early} of them ended early)"
        if status.count("FAILED"):
            parts.append(f"{status.count('FAILED')} failed")
        if self._given_back:
            parts.append(f"{self._given_back} left to the next search")
        limit = duration(self._seconds or 0.0)
        why = "is over" if self.over else "is too short for one more trial"
        return f"The time limit of {limit} {why}; trials: {', '.join(parts)}."
