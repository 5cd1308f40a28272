"""The trainings of a trial before they begin: their models, and by which program they train."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from kerasreg._keras.deferred_variables import deferred_variables
from kerasreg.lanes import DerivedModel
from kerasreg.tuners._callback_places import CallbackPlaces
from kerasreg.tuners._digests import Digests
from kerasreg.tuners._folds import FoldsOfSearch
from kerasreg.tuners._plan import Plan
from kerasreg.tuners._searching_tuner import SearchingTuner
from kerasreg.tuners._templates import Templates
from kerasreg.tuners._traced_build import traced
from kerasreg.tuners._trial import failing
from kerasreg.tuners._widths import Widths


class Preparation:
    """Makes the trainings of trials, and finds with which others each may train, or why alone.

    Args:
        tuner: builds the models.
        args: positional arguments of `search`, for the hypermodel's `fit`.
        kwargs: keyword arguments of `search`, likewise.
        folds: divide the data of trainings.
        digests: hashes of the data.
        left: gives how many trainings the search will still have, at most.
        found: is called with each training, when it is known how it is to be trained.
    """

    def __init__(
        self,
        tuner: SearchingTuner,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        folds: FoldsOfSearch,
        digests: Digests,
        left: Callable[[], int],
        found: Callable[[Plan], None],
    ) -> None:
        self._tuner, self._args, self._kwargs = tuner, args, kwargs
        self._folds, self._digests, self._found = folds, digests, found
        self._templates = Templates(tuner.build_model)
        self._widths = Widths(tuner.build_model, left)
        self._places = CallbackPlaces(kwargs.get("callbacks"))

    def trainings(self, trial: Any) -> list[Plan]:
        """The trainings of a trial that has no code of its own, prepared: executions and folds."""
        plans = []
        for execution in range(self._tuner.executions_per_trial):
            for fold in self._folds.numbers:
                plan = self._training(trial, execution, fold)
                self.prepare(plan)
                plans.append(plan)
        return plans

    def _training(self, trial: Any, execution: int, fold: int | None) -> Plan:
        """A training of a trial, whose model is derived from others or built."""
        hp = trial.hyperparameters
        model, trace, was_built = None, None, True
        may_derive = self._tuner.derive_models and self._tuner.builds_by_hypermodel_alone(hp)
        if may_derive:
            model, was_built = self._templates.derive(hp)
        if model is None:
            # What will not be derived need not be traced.
            tracing = traced(hp) if may_derive else contextlib.nullcontext()
            with tracing as trace, deferred_variables():
                model = self._tuner.build_model(hp)
        call = self._args, self._tuner.fit_arguments(trial, execution, self._kwargs)
        plan = Plan(trial, execution, model, None, call, fold=fold)
        if isinstance(model, DerivedModel):
            plan.was_built = was_built
        elif trace is not None:
            self._templates.learn(trace, plan, hp)
        return plan

    def prepare(self, plan: Plan) -> None:
        """Finds how a model is to be trained: the rows of its fold, and with which others.

        Args:
            plan: the training.

        Raises:
            keras_tuner.errors.FatalValueError: if no training can be as it was asked for.
        """
        plan.check(self._tuner.batches == "own")
        if plan.fold is not None and plan.arguments is not None:
            plan.rows = self._folds.rows(plan.arguments, plan.fold)
        if self._may_pad(plan):
            plan.wide, plan.why_not_padded = self._widths.find(plan)
        plan.find_key(self._digests)
        if plan.key is not None:
            plan.why_alone = self._places.why_alone(plan)
            plan.key = None if plan.why_alone else plan.key
        self._found(plan)

    def _may_pad(self, plan: Plan) -> bool:
        """Whether models may be built for the widths of others: code of the user's sees each."""
        tuner = self._tuner
        if not tuner.pad_widths or tuner.runs_own_code or plan.structure is None:
            return False
        return tuner.builds_by_hypermodel_alone(plan.trial.hyperparameters)

    def prepare_again(self, plans: list[Plan]) -> None:
        """Prepares trainings that broke off for another beginning.

        Args:
            plans: the trainings, in whose places others are put.
        """
        for index, plan in enumerate(plans):
            if plan.thread is not None:  # Nobody but the user can make its callbacks again.
                plan.error = None
                plan.look_again()
                self.prepare(plan)
                continue
            # If this fails, as it does when its model cannot be built, so does the trial.
            plan.key, plan.why_alone = None, "its model could not be built again"
            with failing(plan.trial):
                kwargs = self._tuner.fit_arguments(plan.trial, plan.execution, self._kwargs)
                call = self._args, kwargs
                again = Plan(
                    plan.trial, plan.execution, plan.lane_model, None, call, fold=plan.fold
                )
                again.was_built = plan.was_built
                again.state, again.joint = plan.state, plan.joint
                self.prepare(again)
                plans[index] = again

    def forget(self, trial: Any) -> None:
        """A trial has ended: its callbacks write nowhere any more."""
        self._places.leave(trial)
