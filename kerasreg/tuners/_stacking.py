"""Trainings of one program as lanes: what they have in common, and what each has of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kerasreg.lanes import Lanes, ModelStructure, Replacement
from kerasreg.tuners._plan import Plan
from kerasreg.tuners._searching_tuner import SearchingTuner


class Stacking:
    """Makes lanes of trainings whose keys are equal.

    Args:
        tuner: says how lanes are made, and in which order they see their batches.
    """

    def __init__(self, tuner: SearchingTuner) -> None:
        self._seed, self._own_batches = tuner.oracle.seed, tuner.batches == "own"
        self._options: Any = {
            "jit_compile": tuner.jit_compile,
            "random_numbers": tuner.random_numbers,
            "devices": tuner.devices,
        }

    def lanes(self, plans: Sequence[Plan]) -> Lanes:
        """The lanes of some trainings."""
        model, structure = plans[0].wide or (None, None)
        return Lanes(
            [plan.lane_model for plan in plans],
            structures=_structures(plans),
            template=model,
            template_structure=structure,
            **self._options,
        )

    def load(self, lanes: Lanes, plans: Sequence[Plan]) -> None:
        """Lets lanes have the models of other trainings of the same program."""
        lanes.load(
            dict(enumerate(plan.lane_model for plan in plans)), dict(enumerate(_structures(plans)))
        )

    def fit_arguments(self, plans: Sequence[Plan]) -> dict[str, Any]:
        """Arguments of `Lanes.fit` and `Lanes.precompile`, but epochs, callbacks and states."""
        found = {**plans[0].common_arguments(), "seed": self._seed}
        if plans[0].rows is not None:
            every = [plan.rows for plan in plans if plan.rows is not None]
            found |= {"rows": [r[0] for r in every], "validation_rows": [r[1] for r in every]}
        if plans[0].class_weight is not None:
            found["class_weight"] = [plan.class_weight for plan in plans]
        if self._own_batches:
            found["seed"] = [self._own_seed(plan) for plan in plans]
        return found

    def replacement(self, plan: Plan) -> Replacement:
        """A training that takes over a lane."""
        rows, validation_rows = plan.rows or (None, None)
        first, last = plan.epochs()
        return Replacement(
            plan.lane_model,
            plan.callbacks_of_lane(),
            rows=rows,
            validation_rows=validation_rows,
            epochs=last,
            initial_epoch=first,
            structure=plan.structure,
            class_weight=plan.class_weight,
            seed=self._own_seed(plan),
            state=plan.state,
        )

    def _own_seed(self, plan: Plan) -> int | None:
        """The seed of the order of the batches of a training; None if all have one order."""
        return plan.seed(self._seed) if self._own_batches else None


def _structures(plans: Sequence[Plan]) -> list[ModelStructure]:
    """Of each plan, which has one as it has a key."""
    return [plan.structure for plan in plans if plan.structure is not None]
