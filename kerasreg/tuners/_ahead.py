"""Lanes whose program compiles while the models of other trials are still built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kerasreg.lanes import Lanes
from kerasreg.tuners._plan import Plan

if TYPE_CHECKING:
    from kerasreg.tuners._vectorized import VectorizedTuner

# Fewer lanes are built before anything is compiled.
_FEWEST = 8
# So often lanes may be made that are not used, as those of other shapes were wanted.
_MISSES = 2


class Ahead:
    """Makes lanes for trials to come, as copies of the first one.

    How many there will be is foreseen, and so may be wrong: then the lanes are
    dropped, and after some of those no more are made.

    Args:
        tuner: whose trials they are.
    """

    def __init__(self, tuner: VectorizedTuner) -> None:
        self._tuner = tuner
        self._made: tuple[Any, Lanes] | None = None
        self._tried: set[Any] = set()
        self._misses = 0

    def look(self, asked: int) -> None:
        """Makes lanes, if the trials that wait show which will be wanted.

        Args:
            asked: how many trainings are to wait in the end.
        """
        tuner, waiting = self._tuner, self._tuner._waiting
        if self._made is not None or self._misses >= _MISSES or len(waiting) < 2:
            return
        plan = waiting[-1]
        key = plan.key(tuner._digests)
        # Those of the program that runs are taken by its own lanes.
        if key in (None, tuner._key_now) or plan.rows is not None:
            return
        if waiting[-2].key(tuner._digests) != key:
            return
        same = [other for other in waiting if other.key(tuner._digests) == key]
        count = min(len(same) + min(asked - len(waiting), self._left()), tuner._lanes_now or 1)
        if len(same) < 2 or count < max(_FEWEST, 2 * len(same)) or (key, count) in self._tried:
            return
        self._tried.add((key, count))
        first, structure = same[0], same[0].structure
        assert structure is not None  # Its key says so.
        lanes = Lanes([first.model] * count, tuner.jit_compile, structures=[structure] * count)
        try:
            begin, end = first.epochs()
            lanes.precompile(
                **first.common_arguments(),
                epochs=end,
                initial_epoch=begin,
                refill=lambda ended: {},
            )
        except Exception:  # It comes again when they are trained, and is told then.
            self._misses += 1
            return
        self._made = key, lanes

    def take(self, plans: list[Plan]) -> Lanes:
        """Lanes of these trainings, those made ahead if they fit.

        Args:
            plans: of equal keys.
        """
        structures = [plan.structure for plan in plans if plan.structure is not None]
        models = [plan.model for plan in plans]
        made, self._made = self._made, None
        if made is not None:
            key, lanes = made
            if key == plans[0].key(self._tuner._digests) and len(lanes) == len(plans):
                lanes.load(dict(enumerate(models)), dict(enumerate(structures)))
                return lanes
            self._misses += 1
        return Lanes(models, self._tuner.jit_compile, structures=structures)

    def _left(self) -> int:
        """How many trainings the oracle will still give, at most."""
        tuner = self._tuner
        most = getattr(tuner.oracle, "max_trials", None)
        if most is None:
            return tuner._lanes_now or 1
        folds = tuner._fold_count() if tuner.folds is not None else 1
        return (most - len(tuner.oracle.trials)) * tuner.executions_per_trial * folds
