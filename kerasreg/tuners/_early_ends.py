"""Trials that end early: by the oracle, by a pruner, or as the time of the search is over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kerasreg.tuners._oracle_reports import OracleReports
from kerasreg.tuners._progress import Progress
from kerasreg.tuners._pruning import Pruning
from kerasreg.tuners._study_oracle import StudyOracle
from kerasreg.tuners._time_limit import TimeLimit
from kerasreg.tuners._trial import RunningTrial


class EarlyEnds:
    """Tells of epochs those who may end a trial.

    Args:
        oracle: the oracle of the search.
        reports: tell the oracle.
        pruning: ends trials; None to end none.
        limit: ends all trials when the time is over.
        own_code: whether code of the user's may compute the objective when it has trained.
        progress: shows how many trials ended so.
    """

    def __init__(
        self,
        oracle: Any,
        reports: OracleReports,
        pruning: Pruning | None,
        limit: TimeLimit,
        own_code: bool,
        progress: Progress,
    ) -> None:
        self._oracle, self._reports = oracle, reports
        self._pruning, self._limit = pruning, limit
        self._own_code, self._progress = own_code, progress

    def after(
        self,
        running: Mapping[str, RunningTrial],
        seen: Iterable[tuple[str, int, dict[str, Any]]],
    ) -> set[str]:
        """Tells of epochs; returns the ids of the trials that are to end.

        Args:
            running: the trials that run, by id.
            seen: the id of a trial, the epoch and its logs, for each of some trainings.
        """
        seen, objective = list(seen), self._oracle.objective
        complete: dict[str, tuple[int, float]] = {}
        stopped_by: dict[str, str] = {}
        for trial_id, epoch, logs in seen:
            of_trial = running.get(trial_id)
            means = None if of_trial is None else of_trial.seen(epoch, logs)
            if of_trial is None or means is None or not objective.has_value(means):
                continue
            complete[trial_id] = epoch, objective.get_value(means)
            if self._reports.tell_epoch(of_trial, means, epoch):
                stopped_by[trial_id] = "oracle"
        ended = set[str]()
        if isinstance(self._oracle, StudyOracle):
            ended |= set(self._oracle.trials_to_end(complete))
        if self._pruning is not None:
            ended |= set(self._pruning.report(complete))
        stopped_by |= dict.fromkeys(ended, "pruner")
        for trial_id, by in stopped_by.items():
            running[trial_id].stopped_by = by
        self._progress.stopped += len(stopped_by)
        objective = None if self._own_code else objective
        return set(stopped_by) | self._limit.ending(seen, objective)
