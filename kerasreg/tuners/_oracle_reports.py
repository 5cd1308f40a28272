"""What an oracle is told of a trial: its epochs while it runs, and its results when it ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras_tuner

from kerasreg._keras import keras_tuner_internals as internals
from kerasreg._overrides import has_own
from kerasreg.tuners._best_epochs import joint_epoch, names_of
from kerasreg.tuners._crash_safe import StateFiles
from kerasreg.tuners._plan import Plan
from kerasreg.tuners._trial import RunningTrial


def updates_as_usual(oracle: Any) -> bool:
    """Whether an oracle only keeps what it is told of a trial, as KerasTuner's own do."""
    return not has_own(oracle, "update_trial", keras_tuner.Oracle)


class OracleReports:
    """Tells an oracle of metrics. They are written when the trial ends.

    Args:
        oracle: the oracle.
        files: the state files of its tuner.
    """

    def __init__(self, oracle: Any, files: StateFiles) -> None:
        self._oracle, self._files = oracle, files
        self._directions: dict[str, str | None] = {}  # Of metrics: is more better?

    def tell_epoch(self, running: RunningTrial, means: Mapping[str, float], epoch: int) -> bool:
        """Tells of an epoch that all trainings of a trial have had.

        Args:
            running: the trial.
            means: of the metrics.
            epoch: its number, from 0.

        Returns:
            Whether the oracle ends the trial.
        """
        # KerasTuner's own oracles do nothing with it: for those who look, the objective is enough.
        told = dict(means)
        if updates_as_usual(self._oracle):
            objectives = set(names_of(self._oracle.objective))
            told = {name: value for name, value in told.items() if name in objectives}
        running.told = True
        return bool(self._tell(running.trial.trial_id, told, epoch).status == "STOPPED")

    def tell_results(self, running: RunningTrial, folded: bool) -> None:
        """Tells of the results of a trial that ends.

        Args:
            running: the trial.
            folded: whether its trainings are folds.
        """
        for metrics, step in results_of(running, self._oracle.objective, folded):
            plain = {k: v for k, v in metrics.items() if getattr(v, "ndim", 0) == 0}
            # Of each execution: the tracker takes the mean, and keeps them all.
            self._tell(running.trial.trial_id, plain, step)

    def _tell(self, trial_id: str, metrics: dict[str, Any], step: int) -> Any:
        """Tells of metrics; returns the trial."""
        # KerasTuner tries names of metrics for each trial anew.
        oracle = self._oracle
        tracked = oracle.trials[trial_id].metrics
        for name, direction in self._directions.items():
            if name in metrics and not tracked.exists(name):
                tracked.register(name, direction=direction)
        if updates_as_usual(oracle) and metrics.keys() <= tracked.metrics.keys():
            internals.record_metrics(oracle, oracle.trials[trial_id], metrics, step)
            return oracle.trials[trial_id]
        with self._files.trials_unwritten():
            oracle.update_trial(trial_id, metrics, step=step)
        for name, of_name in tracked.metrics.items():
            self._directions.setdefault(name, of_name.direction)
        # Another oracle may return what it wants.
        return oracle.trials[trial_id]


def results_of(
    running: RunningTrial, objective: Any, folded: bool
) -> list[tuple[dict[str, Any], int]]:
    """The metrics of each training of a trial at its best epoch, and that epoch.

    Folds have one best epoch together: by the best one of each, a trial would look better
    than what it gives for data that nobody has seen.

    Args:
        running: the trial.
        objective: a KerasTuner objective.
        folded: whether its trainings are folds.
    """
    executions = [] if running.reported_itself else running.executions
    results = [result for of_folds in executions for result in of_folds]
    if not results:
        return []
    epochs = [joint_epoch(of_folds, objective) if folded else None for of_folds in executions]
    if None in epochs:
        step = internals.best_step_of_results(results, objective)
        found = [(internals.metrics_of_result(result, objective), step) for result in results]
        return [(_with_objective(metrics, objective), step) for metrics, step in found]
    found = [
        ({name: values[epoch] for name, values in of.history.items()}, of.epoch[epoch])
        for of_folds, epoch in zip(executions, epochs, strict=True)
        for of in of_folds
    ]
    step = round(sum(epoch for _, epoch in found) / len(found))
    return [(_with_objective(metrics, objective), step) for metrics, _ in found]


def _with_objective(metrics: dict[str, Any], objective: Any) -> dict[str, Any]:
    """The metrics, and what several objectives are together, by which KerasTuner's oracles score.

    KerasTuner adds it to what `fit` returned, and not to a dictionary.
    """
    if objective.name in metrics or not objective.has_value(metrics):
        return metrics
    return {**metrics, objective.name: objective.get_value(metrics)}


def check_objective(objective: Any, plan: Plan, logs: Mapping[str, Any]) -> None:
    """Ends a search whose objective no epoch will have, after the first one.

    Code of the user's may compute the objective when the training has ended.

    Args:
        objective: a KerasTuner objective.
        plan: a training.
        logs: the logs of one of its epochs.

    Raises:
        keras_tuner.errors.FatalValueError: if the logs do not have it.
    """
    given = plan.arguments or {}
    own = plan.thread is not None or given.get("validation_freq", 1) != 1
    if own or objective.has_value(logs):
        return
    missing = [name for name in names_of(objective) if name not in logs]
    raise keras_tuner.errors.FatalValueError(
        f"`objective` must be a number that each epoch has, one of {sorted(logs)}. "
        f"Received: {', '.join(map(repr, missing))}"
    )
