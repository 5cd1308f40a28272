"""Lanes whose program compiles while the models of other trials are still built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kerasreg.lanes import Lanes
from kerasreg.tuners._lane_report import LaneRecord
from kerasreg.tuners._plan import Plan
from kerasreg.tuners._stacking import Stacking

# Fewer lanes are built before anything is compiled.
_FEWEST = 8
# So often lanes may be made that are not used, as lanes of other shapes were wanted.
_MISSES = 2


class LookAhead:
    """Makes lanes before all their models are there.

    The lanes are copies of the first trial. How many trials there will be is foreseen, and so
    may be wrong: then the lanes are dropped, and after some of those no more are made.

    Args:
        stacking: makes the lanes.
        record: learns how long it took to trace a program.
    """

    def __init__(self, stacking: Stacking, record: LaneRecord) -> None:
        self._stacking, self._record = stacking, record
        self._made: tuple[Any, Lanes] | None = None
        self._tried: set[Any] = set()
        self._misses = 0

    def look(
        self,
        waiting: Sequence[Plan],
        asked: int,
        left: Callable[[], int],
        most: int,
        key_now: Any,
    ) -> None:
        """Makes lanes, if the trainings that wait show which will be wanted.

        Args:
            waiting: trainings that wait.
            asked: how many trainings are to wait in the end.
            left: gives how many trainings the oracle will still give, at most.
            most: how many trainings run at a time.
            key_now: the key of the program that runs.
        """
        if self._made is not None or self._misses >= _MISSES or len(waiting) < 2:
            return
        key = waiting[-1].key
        # Those of the program that runs are taken by its own lanes.
        if key is None or key == key_now or waiting[-1].rows is not None:
            return
        if waiting[-2].key != key:
            return
        same = [plan for plan in waiting if plan.key == key]
        count = min(len(same) + min(asked - len(waiting), left()), most)
        enough = len(same) >= 2 and count >= max(_FEWEST, 2 * len(same))
        if not enough or (key, count) in self._tried:
            return
        self._tried.add((key, count))
        with self._record.traced_ahead(key):
            self._make(key, same, count)

    def _make(self, key: Any, same: list[Plan], count: int) -> None:
        """Makes lanes of a program: of the trainings that there are, and copies of the first."""
        # In which numbers they differ, others will.
        plans = same + [same[0]] * (count - len(same))
        lanes, first = self._stacking.lanes(plans), same[0]
        try:
            begin, end = first.epochs()
            lanes.precompile(
                **self._stacking.fit_arguments(plans),
                epochs=end,
                initial_epoch=begin,
                refill=lambda ended: {},
            )
        except Exception:  # It comes again when they are trained, and is told then.
            self._misses += 1
            return
        self._made = key, lanes

    def take(self, plans: Sequence[Plan]) -> Lanes:
        """Returns lanes of trainings of equal keys: those made ahead if they fit."""
        made, self._made = self._made, None
        if made is not None:
            key, lanes = made
            if key == plans[0].key and len(lanes) == len(plans):
                self._stacking.load(lanes, plans)
                return lanes
            self._misses += 1
        return self._stacking.lanes(plans)
