"""A trial while it runs: its trainings, their results, and what was seen of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from kerasreg.tuners._plan import Plan


class Running:
    """A trial and its executions and folds.

    Args:
        trial: a KerasTuner trial.
        objective: a KerasTuner objective.

    Attributes:
        plans: its trainings.
        results: what each that is done gave.
        best: the weights of the best epoch of the best training.
        pruned: whether it was ended early.
    """

    def __init__(self, trial: Any, objective: Any) -> None:
        self.trial = trial
        self.objective = objective
        self.plans: list[Plan] = []
        self.results: list[Any] = []
        self.left = 0
        self.pruned = False
        self.best: list[np.ndarray] = []
        self._score: float | None = None
        self._epochs: dict[int, list[dict[str, float]]] = {}

    def add(self, plan: Plan) -> None:
        """Takes one more training."""
        self.plans.append(plan)
        self.left += 1

    def keep(self, score: float | None, values: list[np.ndarray]) -> None:
        """Takes the weights of a training's best epoch, if it is the best so far."""
        known = score is not None and self._score is not None
        if not self.best or (known and self.objective.better_than(score, self._score)):
            self._score, self.best = score, values

    def seen(self, epoch: int, logs: dict[str, Any]) -> dict[str, float] | None:
        """Takes an epoch of one training; gives the means, if all have had that epoch."""
        plain = {name: value for name, value in logs.items() if np.ndim(value) == 0}
        of_epoch = self._epochs.setdefault(epoch, [])
        of_epoch.append(plain)
        if len(of_epoch) < len(self.plans):
            return None
        del self._epochs[epoch]
        return {name: float(np.mean([logs[name] for logs in of_epoch])) for name in plain}
