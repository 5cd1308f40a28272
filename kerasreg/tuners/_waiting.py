"""Trainings that wait to begin, and which of them begin together."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from kerasreg.tuners._plan import Plan

# So many trials in a row that share no program show that others will not either.
_UNLIKE = 8


class Waiting:
    """Trainings whose models are built, and which have not begun, in their order.

    Attributes:
        plans: the trainings. Those of a trial stand one after another.
    """

    def __init__(self) -> None:
        self.plans: list[Plan] = []
        self._unlike = 0  # So many trials in a row shared no program with another one.
        self._compared = ""  # The trial of the last training that was compared.

    def add(self, plans: Sequence[Plan]) -> None:
        """Lets trainings wait behind the others."""
        self.plans = [*self.plans, *plans]

    def add_first(self, plans: Sequence[Plan]) -> None:
        """Lets trainings wait before the others."""
        self.plans = [*plans, *self.plans]

    def leave(self, trial: Any) -> None:
        """Takes out the trainings of a trial that has ended."""
        self.plans = [plan for plan in self.plans if plan.trial is not trial]

    def compare(self, plan: Plan, key_now: Any) -> None:
        """Notes whether a training that was prepared shares a program with others.

        Args:
            plan: the training, which does not wait yet.
            key_now: the key of the program that runs, or None.
        """
        same = plan.key is not None and (plan.key == key_now or self.has(plan.key))
        # The folds of a trial are prepared before any of them waits, and count as one.
        first, self._compared = plan.trial.trial_id != self._compared, plan.trial.trial_id
        self._unlike = 0 if same else self._unlike + first

    def has(self, key: Any) -> bool:
        """Whether a training of a program waits."""
        return any(plan.key == key for plan in self.plans)

    @property
    def are_enough(self) -> bool:
        """Whether nothing is won by more that wait: one is trained alone, or none shares one."""
        return self.has(None) or (bool(self.plans) and self._unlike >= _UNLIKE)

    def take_alone(self) -> list[Plan]:
        """Takes the first training that shares its program with no other."""
        alone = next(index for index, plan in enumerate(self.plans) if plan.key is None)
        plan = self.plans[alone]
        self.plans = self.plans[:alone] + self.plans[alone + 1 :]
        return [plan]

    def take(self, key: Any, most: int, lanes: int | None) -> list[Plan]:
        """Takes the first trainings of a program.

        Args:
            key: of the program.
            most: at most so many.
            lanes: how many trainings run at a time; None for as many as there are.
        """
        same = [plan for plan in self.plans if plan.key == key]
        taken = whole_trials(same, most, lanes or len(same))
        chosen = set(map(id, taken))
        self.plans = [plan for plan in self.plans if id(plan) not in chosen]
        return taken


def whole_trials(plans: Sequence[Plan], most: int, lanes: int) -> list[Plan]:
    """At most so many of some trainings, without parting the folds of a trial.

    They have their best epoch together, and so begin together, unless they are more than lanes.

    Args:
        plans: the trainings, those of a trial one after another.
        most: at most so many.
        lanes: how many trainings run at a time.
    """
    taken: list[Plan] = []
    for _, group in itertools.groupby(plans, lambda plan: (plan.trial.trial_id, plan.execution)):
        together = list(group)
        if len(together) > lanes:
            return taken or list(plans[:most])
        if len(taken) + len(together) > most:
            break
        taken += together
    return taken
