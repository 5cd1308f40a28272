"""The pruners of Optuna end trials that promise little."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kerasreg.tuners._study_storage import import_optuna, quiet


class Pruning:
    """Tells an Optuna pruner of intermediate results, and asks it which trials to end.

    Args:
        pruner: an Optuna pruner, such as `optuna.pruners.MedianPruner()` or
            `optuna.pruners.SuccessiveHalvingPruner()`, which is ASHA.
        objective: a KerasTuner objective.
    """

    def __init__(self, pruner: Any, objective: Any) -> None:
        optuna: Any = import_optuna("`pruner`")
        if not isinstance(pruner, optuna.pruners.BasePruner):
            raise ValueError(f"`pruner` must be an Optuna pruner. Received: pruner={pruner!r}")
        self._optuna = optuna
        self._trials: dict[str, Any] = {}
        direction = "maximize" if objective.direction == "max" else "minimize"
        with quiet():
            self._study = optuna.create_study(direction=direction, pruner=pruner)

    def report(self, results: Mapping[str, tuple[int, float]]) -> list[str]:
        """Reports an epoch of some trials; returns the trials that should end.

        Args:
            results: for each trial its epoch, from 0, and its value.
        """
        # All report before any is judged: they ran side by side.
        for trial_id, (epoch, value) in results.items():
            if trial_id not in self._trials:
                self._trials[trial_id] = self._study.ask()
            if np.isfinite(value):
                self._trials[trial_id].report(float(value), epoch)
        return [trial_id for trial_id in results if self._trials[trial_id].should_prune()]

    def end(self, trial_id: str, value: float | None, pruned: bool) -> None:
        """Tells the result of a trial, which later ones are compared with."""
        states = self._optuna.trial.TrialState
        trial = self._trials.pop(trial_id, None)
        if trial is None:
            return
        if pruned:
            self._study.tell(trial, state=states.PRUNED)
        elif value is None or not np.isfinite(value):
            self._study.tell(trial, state=states.FAIL)
        else:
            self._study.tell(trial, value)
