"""Failed trials: counted in the order in which the trials began, as without lanes."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Iterator
from typing import Any

from kerasreg._keras import keras_tuner_internals as internals

# Reasons that the last error tells, the most frequent first.
_MOST_REASONS = 5


class Failures:
    """Tells when too many trials failed in a row.

    KerasTuner counts in the order in which trials end. Of trials that run together, those that
    cannot be built or diverge end first, so that a few among many would end the search. Here a
    trial counts when all trials that began before have ended.

    Args:
        oracle: the oracle of the search.
    """

    def __init__(self, oracle: Any) -> None:
        self._oracle = oracle

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Keeps the oracle from ending the search by itself; `too_many` tells instead."""
        with internals.failures_uncounted(self._oracle):
            yield

    @property
    def too_many(self) -> bool:
        """Whether too many trials failed in a row."""
        return self._row() is not None

    def check(self) -> None:
        """Raises an error if too many trials failed in a row.

        Raises:
            RuntimeError: with the counts and the reasons.
        """
        row = self._row()
        if row is None:
            return
        trials = self._oracle.trials.values()
        status = collections.Counter(trial.status for trial in trials)
        reasons = collections.Counter(
            _reason(trial) for trial in trials if trial.status == "FAILED"
        ).most_common(_MOST_REASONS)
        told = "\n".join(f"- {count} of: {reason}" for reason, count in reasons)
        raise RuntimeError(
            "Number of consecutive failures exceeded the limit of "
            f"{self._oracle.max_consecutive_failed_trials}: trials {', '.join(row)} failed one "
            f"after another. Of {len(trials)} trials, {status['COMPLETED']} are completed and "
            f"{status['FAILED']} failed:\n{told}\nThe last error:\n"
            f"{self._oracle.trials[row[-1]].message or 'The objective is not a number.'}"
        )

    def _row(self) -> list[str] | None:
        """The trials that failed one after another, if they are too many."""
        oracle, row = self._oracle, list[str]()
        for trial_id in dict.fromkeys(oracle.start_order):
            status = oracle.trials[trial_id].status
            if status == "FAILED":
                row.append(trial_id)
            elif status == "COMPLETED":
                row = []
            else:
                return None
            if len(row) >= oracle.max_consecutive_failed_trials:
                return row
        return None


def _reason(trial: Any) -> str:
    lines = (trial.message or "").strip().splitlines()
    return lines[-1][:200] if lines else f"the objective is not a number: {trial.score}"
