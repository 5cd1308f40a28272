"""Trials in checkpoints: what is written of those that train as lanes, and how they go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kerasreg._keras import keras_tuner_internals as internals
from kerasreg._warnings import warn
from kerasreg.lanes import Lanes, LaneState
from kerasreg.tuners._checkpoints import Checkpoints, differing
from kerasreg.tuners._lane_group import LaneGroup
from kerasreg.tuners._plan import Plan
from kerasreg.tuners._trial import RunningTrial


class LaneCheckpoints:
    """Keeps trials that train as lanes in checkpoints, and lets trials go on from there.

    Args:
        files: the checkpoints of the project.
        oracle: the oracle of the search.
    """

    def __init__(self, files: Checkpoints, oracle: Any) -> None:
        self._files, self._oracle = files, oracle
        self._told: set[str] = set()

    def resume(
        self, running: RunningTrial, plans: list[Plan], most: Callable[[], int]
    ) -> list[Plan]:
        """Lets a trial that has just begun go on from a checkpoint, if there is one.

        Args:
            running: the trial.
            plans: all its trainings.
            most: gives how many lanes there are at most.

        Returns:
            The trainings that are to be done.
        """
        trial = running.trial
        found = self._files.find(trial.trial_id) if self._files.wanted else None
        # Of an attempt that has failed since, nothing is taken.
        if found is None or found["attempt"] != self._attempt(trial):
            return plans
        why = differing(trial, found) or self._why_not_resumed(plans, found, most)
        if why is not None:
            warn(f"Trial {trial.trial_id} begins again, and not from its checkpoint: {why}.")
            return plans
        running.resume(found["running"])
        states = {of["which"]: of for of in found["trainings"]}
        for plan in plans:
            if plan.which in states:
                plan.state = LaneState(**states[plan.which]["state"])
                plan.joint = states[plan.which]["joint"]
        return [plan for plan in plans if plan.which not in running.histories]

    def _why_not_resumed(
        self, plans: Sequence[Plan], found: Mapping[str, Any], most: Callable[[], int]
    ) -> str | None:
        """Why the trainings of a trial cannot go on from a checkpoint; None if they can."""
        by_which = {plan.which: plan for plan in plans}
        together: dict[int, int] = {}
        if not {which for which, *_ in found["running"]["histories"]} <= set(by_which):
            return "it has other folds and executions"
        for of in found["trainings"]:
            plan = by_which.get(of["which"])
            if plan is None:
                return "it has other folds and executions"
            if plan.key is None or plan.why_not_resumable() is not None:
                return plan.why_alone or plan.why_not_resumable()
            now = plan.outline(self._oracle.seed)
            if unlike := [name for name in now if now[name] != of["outline"].get(name)]:
                return f"its {' and '.join(unlike)} differ"
            if (names := plan.unlike_numbers(of["state"]["numbers"])) is not None:
                return f"its numbers {names} differ"
            if of["joint"]:
                together[plan.execution] = together.get(plan.execution, 0) + 1
        if max(together.values(), default=0) > (lanes := most()):
            return f"its folds are more than the {lanes} lanes"
        return None

    def write(
        self,
        group: LaneGroup,
        lanes: Lanes,
        running: Mapping[str, RunningTrial],
        why_none: str | None,
    ) -> None:
        """Writes a checkpoint of the trials that train as lanes of a group.

        Args:
            group: the group.
            lanes: its lanes.
            running: the trials that run, by id.
            why_none: why it would not be all that there is to know; None if it is.
        """
        if not self._files.wanted:
            return
        if why_none is not None:
            self._tell_once(f"There are no checkpoints of trials that run: {why_none}.")
            return
        plans, left_out = group.trainings, set[str]()
        for plan in plans.values():
            if (why := plan.why_not_resumable()) is not None:
                left_out.add(plan.trial.trial_id)
                self._tell_once(
                    f"There are no checkpoints of trials that run, of which {plan.trial.trial_id} "
                    f"is one: {why}."
                )
        states = lanes.states(
            [lane for lane, plan in plans.items() if plan.trial.trial_id not in left_out]
        )
        # A trial fails of which a callback has raised.
        left_out |= {plan.trial.trial_id for lane, plan in plans.items() if lane not in states}
        records: dict[str, Any] = {}
        for lane, plan in plans.items():
            trial = plan.trial
            if trial.trial_id in left_out or trial.trial_id not in running:
                continue
            of_trial = records.setdefault(
                trial.trial_id,
                {
                    "values": dict(trial.hyperparameters.values),
                    "attempt": self._attempt(trial),
                    "running": running[trial.trial_id].record(),
                    "trainings": [],
                },
            )
            of_trial["trainings"].append(
                {
                    "which": plan.which,
                    "joint": group.kept.is_joint(lane),
                    "outline": plan.outline(self._oracle.seed),
                    "state": states[lane]._asdict(),
                }
            )
            if (best := group.kept.known(lanes, lane)) is not None:
                of_trial["running"]["kept"].append((plan.which, *best))
            if (apart := group.kept.known(lanes, lane, apart=True)) is not None:
                of_trial["running"]["apart"].append((plan.which, *apart))
        self._files.write(records)

    def _attempt(self, trial: Any) -> Any:
        return internals.run_counts(self._oracle)[trial.trial_id]

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            warn(text)
