"""What a search sees of its trials, and KerasTuner does not keep: times, stops, sizes, lanes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kerasreg._files import write_json
from kerasreg.tuners._parts import path_of_part, paths_of_parts, remove

_NAME = "search_log.json"
# So many numbers of lanes over time are kept of a search, and so many searches of a project.
_MOST_CHANGES = 400
_MOST_SEARCHES = 20
# What is raised where the file is not whole, or is another one.
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError)


class LanesInUse:
    """How many trainings run at the same time, over the time of a search.

    Of many changes two neighbours become one, whose number is the mean over their time.

    Args:
        clock: gives the seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._began = clock()
        self._changes: list[tuple[float, float]] = []
        self._most = 0
        self._total, self._since, self._now = 0.0, 0.0, 0
        self._end: float | None = None

    def _time(self) -> float:
        """The seconds since the beginning, which never go back."""
        return max(self._clock() - self._began if self._end is None else self._end, self._since)

    def close(self) -> None:
        """The search has ended."""
        self._end = self._time()

    def set(self, count: int) -> None:
        """So many trainings run from now on."""
        if count == self._now and self._changes:
            return
        at = self._time()
        self._total += self._now * (at - self._since)
        self._since, self._now, self._most = at, count, max(self._most, count)
        self._changes.append((at, float(count)))
        if len(self._changes) > _MOST_CHANGES:
            self._changes = _halved(self._changes)

    def to_dict(self) -> dict[str, Any]:
        """The numbers, as a report has them."""
        at = self._time()
        total = self._total + self._now * (at - self._since)
        changes = list(self._changes)
        if changes and at > self._since:
            changes.append((at, float(self._now)))
        return {
            "began": self._began,
            "seconds": [round(when, 3) for when, _ in changes],
            "in_use": [round(count, 2) for _, count in changes],
            "most": self._most,
            "mean": round(total / at, 3) if at > 0 else 0.0,
        }


def _halved(changes: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Pairs of neighbours as one; of the last ones nobody knows how long they last."""
    found = []
    for place in range(0, len(changes) - 2, 2):
        (begin, first), (middle, second), (end, _) = changes[place : place + 3]
        area = first * (middle - begin) + second * (end - middle)
        found.append((begin, area / (end - begin) if end > begin else second))
    return [*found, *changes[2 * len(found) :]]


class SearchLog:
    """The times of the trials of a project, what stopped them, their sizes, and lanes in use.

    Args:
        clock: gives the seconds since 1970.
        part: the name of the part that this process writes, where others write parts too.
    """

    def __init__(self, clock: Callable[[], float] = time.time, part: str = "") -> None:
        self._clock, self._part = clock, part
        self._trials: dict[str, dict[str, Any]] = {}
        self._searches: list[LanesInUse] = []

    @property
    def is_empty(self) -> bool:
        """Whether no search has begun in this process."""
        return not self._searches

    def begin(self) -> None:
        """A search begins."""
        self._searches.append(LanesInUse(self._clock))

    def end(self) -> None:
        """The search that began last has ended."""
        self._searches[-1].close()

    def lanes(self, count: int) -> None:
        """So many trainings run from now on."""
        self._searches[-1].set(count)

    def trial_began(self, trial_id: str) -> None:
        """A trial begins, perhaps for a second time."""
        self._trials[trial_id] = {"began": round(self._clock(), 3)}

    def trial_ended(
        self, trial_id: str, stopped: str | None, weights: Sequence[np.ndarray] | None
    ) -> None:
        """A trial has ended.

        Args:
            trial_id: the id of the trial.
            stopped: what ended it before its last epoch, or None.
            weights: the values of its model's variables; whole numbers, as of seeds, count not.
        """
        found = self._trials.setdefault(trial_id, {})
        found |= {"ended": round(self._clock(), 3), "stopped": stopped}
        numbers = [one for one in weights or () if one.dtype.kind not in "iub"]
        if count := sum(one.size for one in numbers):
            there = sum(int(np.count_nonzero(one)) for one in numbers)
            found |= {"zeros": (count - there) / count, "bytes": sum(one.nbytes for one in numbers)}

    def told(self, trial_id: str) -> dict[str, Any] | None:
        """What is known of a trial of this process, or None."""
        return self._trials.get(trial_id)

    def learn(self, trial_id: str, told: Mapping[str, Any]) -> None:
        """Takes what another process knows of a trial, as `told` gives it."""
        self._trials[trial_id] = dict(told)

    def to_dict(
        self, folder: str, trained: Mapping[str, Mapping[str, Any]] | None = None
    ) -> dict[str, Any]:
        """All that is known, with that of earlier processes.

        Args:
            folder: the folder of the project.
            trained: by the ids of trials how they were trained in this process.
        """
        return self._with(read(folder), trained)

    def _with(
        self, stored: Mapping[str, Any], trained: Mapping[str, Mapping[str, Any]] | None
    ) -> dict[str, Any]:
        trials = dict(stored["trials"])
        for trial_id, found in self._trials.items():
            trials[trial_id] = {**found, **(trained or {}).get(trial_id, {})}
        lanes = [one.to_dict() for one in self._searches]
        mine = {one["began"] for one in lanes}
        earlier = [one for one in stored["lanes"] if one["began"] not in mine]
        return {"trials": trials, "lanes": [*earlier, *lanes][-_MOST_SEARCHES:]}

    def write(self, folder: str, trained: Mapping[str, Mapping[str, Any]]) -> None:
        """Keeps all that is known on disk, beside the trials."""
        if not self.is_empty or self._trials:
            before = {"trials": {}, "lanes": []} if self._part else read(folder)
            write_json(path_of_part(folder, _NAME, self._part), self._with(before, trained))

    def gather(self, folder: str) -> None:
        """Makes one file of the parts that other processes have written."""
        parts, path = paths_of_parts(folder, _NAME), path_of_part(folder, _NAME, "")
        if parts:
            write_json(path, self.to_dict(folder))
            remove(part for part in parts if part != path)


def read(folder: str) -> dict[str, Any]:
    """What a project has on disk: its `trials` by their ids, and its `lanes`."""
    trials: dict[str, Any] = {}
    lanes: dict[float, dict[str, Any]] = {}
    for path in paths_of_parts(folder, _NAME):
        try:
            found = _stored(path)
        except _UNREADABLE:
            continue  # It is to be looked at, and nothing depends on it.
        trials |= found["trials"]
        lanes |= {one["began"]: one for one in found["lanes"]}
    return {"trials": trials, "lanes": [lanes[began] for began in sorted(lanes)]}


def damage(folder: str) -> str | None:
    """What is wrong with the file of a project, in words; None if nothing is, or there is none."""
    for path in paths_of_parts(folder, _NAME):
        try:
            _stored(path)
        except FileNotFoundError:
            continue
        except _UNREADABLE as error:
            why = f"{type(error).__name__}: {error}"
            return f"{path!r} cannot be read ({why}): the times of earlier trials are lost."
    return None


def _stored(path: str) -> dict[str, Any]:
    with open(path, encoding="utf-8") as file:
        found = json.load(file)
    lanes = [dict(one, began=float(one["began"])) for one in found["lanes"]]
    return {"trials": {name: dict(of) for name, of in found["trials"].items()}, "lanes": lanes}
