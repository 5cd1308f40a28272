"""Running a KerasTuner search so that a failure is seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras_tuner
import numpy as np

from kerasreg._warnings import warn


class SearchFailedError(RuntimeError):
    """No trial of a search completed, or the search itself broke off."""


def completed_trials(tuner: keras_tuner.Tuner) -> list[Any]:
    """The completed trials of a tuner that have a finite score, best first.

    Where the oracle has constraints, those that do not keep to them are last. KerasTuner's own
    `oracle.get_best_trials` fills up with failed trials.

    Args:
        tuner: any KerasTuner tuner.

    Returns:
        `keras_tuner` trials.

    Example:

    >>> import tempfile, keras_tuner, kerasreg
    >>> class Parabola(keras_tuner.RandomSearch):
    ...     def run_trial(self, trial):
    ...         return trial.hyperparameters.Float("x", -1.0, 1.0) ** 2
    >>> tuner = Parabola(max_trials=3, directory=tempfile.mkdtemp(), seed=1)
    >>> kerasreg.tuners.completed_trials(tuner)
    []
    """
    trials = [
        trial
        for trial in tuner.oracle.trials.values()
        if trial.status == "COMPLETED" and trial.score is not None and np.isfinite(trial.score)
    ]
    larger = tuner.oracle.objective.direction == "max"
    trials.sort(key=lambda trial: trial.score, reverse=larger)
    is_feasible = getattr(tuner.oracle, "is_feasible", lambda trial: True)
    return sorted(trials, key=lambda trial: not is_feasible(trial))


def run_search(tuner: keras_tuner.Tuner, *args: Any, **kwargs: Any) -> list[Any]:
    """Runs `tuner.search(*args, **kwargs)`, and raises an error when no trial completed.

    KerasTuner's `search` returns normally when every trial has failed. `run_search`
    raises then, with the trials' own messages, and warns when some trials have failed.

    Args:
        tuner: any KerasTuner tuner.
        *args: passed on to `tuner.search`.
        **kwargs: passed on to `tuner.search`.

    Returns:
        The completed trials, best first.

    Raises:
        SearchFailedError: if no trial completed with a finite score.

    Example:

    >>> import tempfile, keras_tuner, kerasreg
    >>> class Parabola(keras_tuner.RandomSearch):
    ...     def run_trial(self, trial):
    ...         return trial.hyperparameters.Float("x", -1.0, 1.0) ** 2
    >>> tuner = Parabola(max_trials=3, directory=tempfile.mkdtemp(), seed=1)
    >>> tuner.oracle.verbose = 0
    >>> len(kerasreg.tuners.run_search(tuner))
    3
    """
    error: BaseException | None = None
    try:
        tuner.search(*args, **kwargs)
    except RuntimeError as raised:
        # KerasTuner gives up after some failed trials in a row. What completed
        # before that is still worth having.
        if "consecutive failures" not in str(raised):
            raise
        error = raised
    return told_of_failures(tuner, error)


def told_of_failures(tuner: keras_tuner.Tuner, error: BaseException | None = None) -> list[Any]:
    """The completed trials of a search that has ended, best first; says which ones failed.

    Args:
        tuner: any KerasTuner tuner.
        error: what has ended the search, if that was an error.

    Raises:
        SearchFailedError: if no trial completed with a finite score.
    """
    completed = completed_trials(tuner)
    failed = [trial for trial in tuner.oracle.trials.values() if trial.status == "FAILED"]
    if not completed:
        raise SearchFailedError(
            f"No trial completed with a finite score: {len(failed)} of "
            f"{len(tuner.oracle.trials)} failed. "
            f"{reasons(failed)}"
        ) from error
    if failed:
        warn(f"{len(failed)} of {len(tuner.oracle.trials)} trials failed. {reasons(failed)}")
    return completed


def reasons(failed: Sequence[Any]) -> str:
    """The distinct last lines of the trials' error messages, most frequent first."""
    counts: dict[str, int] = {}
    for trial in failed:
        lines = (trial.message or "").strip().splitlines() or ["no message (a NaN objective?)"]
        counts[lines[-1]] = counts.get(lines[-1], 0) + 1
    ordered = sorted(counts, key=lambda line: -counts[line])
    return "; ".join(f"{counts[line]} x {line}" for line in ordered[:3])
