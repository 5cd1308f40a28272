"""The leading trials of a search, trained again on other folds and with other random numbers."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from typing import Any

import keras_tuner

from kerasreg.tuners._standard_error import scores_of_folds


class GivenSettings(keras_tuner.Oracle):
    """An oracle that gives the settings that it was given, one after the other.

    Args:
        objective: a KerasTuner objective.
        settings: the values of the hyperparameters of each trial.
        hyperparameters: the space.
        seed: a whole number.
    """

    def __init__(
        self,
        objective: Any,
        settings: Sequence[dict[str, Any]],
        hyperparameters: keras_tuner.HyperParameters,
        seed: int,
    ) -> None:
        super().__init__(
            objective=objective,
            max_trials=len(settings),
            hyperparameters=hyperparameters,
            seed=seed,
            # One that fails says nothing of the others.
            max_consecutive_failed_trials=len(settings) + 1,
        )
        self._settings = [dict(values) for values in settings]

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the next setting."""
        return {"status": "RUNNING", "values": dict(self._settings[int(trial_id)])}


class LastEpoch(keras_tuner.Objective):
    """An objective of which each epoch is better than those before."""

    def better_than(self, a: float, b: float) -> bool:
        """Whatever they are."""
        return True


def project_of(
    tuner: Any, what: str, trials: Sequence[Any], executions: int, seed: int, part: str = ""
) -> tuple[str, str]:
    """The folder in which trials are trained again, and its name within the tuner's own.

    The same trials with the same seed have the same folder, where they are gone on with, but for
    that of a worker of several, which has a part of its own.
    """
    which = repr(([trial.trial_id for trial in trials], executions, seed)).encode()
    name = f"{what}-{zlib.crc32(which):08x}"
    return os.path.abspath(tuner.project_dir), f"{name}-{part}" if part else name


def leading_trials(tuner: Any, first: Any, leading: int) -> list[Any]:
    """The trials that are worth training again: those with the best scores, and the chosen one.

    A rule may have chosen one of which others are better by no more than chance.

    Args:
        tuner: the tuner of the search.
        first: the `Selection` by the search alone.
        leading: how many trials, >= 1.
    """
    names = [row.setting for row in first.rows[:leading]]
    if first.trial.trial_id not in names:
        names[-1] = first.trial.trial_id
    return [tuner.oracle.trials[name] for name in names]


def scores_again(tuner: Any, again: Any, trials: Sequence[Any]) -> dict[str, list[float]]:
    """The scores of trials that were trained again, by the ids that they have in the search.

    Args:
        tuner: the tuner of the search.
        again: the tuner that has trained them again.
        trials: the trials, in the order in which they were trained again.
    """
    name, found = tuner.oracle.objective.name, dict[str, list[float]]()
    for trial, trial_again in zip(
        trials,
        sorted(again.oracle.trials.values(), key=lambda one: int(one.trial_id)),
        strict=False,
    ):
        if trial_again.status == "COMPLETED":
            found[trial.trial_id] = scores_of_folds(again, trial_again, name)
    return found
