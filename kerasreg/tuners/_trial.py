"""A trial while it runs: its trainings, their weights and their epochs."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import keras_tuner
import numpy as np

from kerasreg.tuners._plan import Plan, Which
from kerasreg.tuners._trial_thread import TrialThread


class RunningTrial:
    """A trial and its trainings: executions and folds.

    Args:
        trial: a KerasTuner trial.
        objective: a KerasTuner objective.
        trainings: how many trainings report each epoch.

    Attributes:
        thread: the thread that runs the user's code of the trial, if there is some.
        plans: the trainings of the trial that were prepared.
        results: what own code returned, a result for each training.
        histories: of a trial without own code, those of the trainings that are done.
        left: how many trainings are not done.
        best: the weights of the best epoch of the best training.
        kept: the weights of the best epoch of each training, by its execution and its fold.
        stopped_by: what ended the trial early, or None.
        told: whether the oracle was told of intermediate results.
        reports: the epochs that all trainings have had, with the means of their results.
        reported_itself: whether own code has told the oracle of the results.
        now: the execution and the fold that own code trains now, and their model.
        replicated: under a strategy, what was called of `kerasreg.distribute`, else None.
    """

    def __init__(self, trial: Any, objective: Any, trainings: int) -> None:
        self.trial = trial
        self.objective = objective
        self.thread: TrialThread | None = None
        self.plans: list[Plan] = []
        self.results: list[Any] = []
        self.left = 0
        self.stopped_by: str | None = None
        self.told = self.reported_itself = False
        self.now: tuple[int, int | None, Any] = (0, None, None)
        self.replicated: list[str] | None = None
        self.best: list[np.ndarray] = []
        self.kept: dict[Which, list[np.ndarray]] = {}
        self._apart: dict[Which, tuple[float, list[np.ndarray]]] = {}
        self.histories: dict[Which, Any] = {}
        self._scores: dict[Which, float | None] = {}
        self._trainings = trainings
        self._score: float | None = None
        self._epochs: dict[int, list[dict[str, float]]] = {}
        self.reports: list[tuple[int, dict[str, float]]] = []
        self._resumed: dict[str, Any] | None = None

    def add(self, plan: Plan) -> None:
        """Takes one more training."""
        self.plans.append(plan)
        self.left += 1

    @property
    def executions(self) -> list[list[Any]]:
        """The results of the folds of each execution; of own code, all of them."""
        if not self.histories:
            return [self.results]
        found: dict[int, list[Any]] = {}
        for execution, fold in sorted(self.histories, key=_order):
            found.setdefault(execution, []).append(self.histories[execution, fold])
        return list(found.values())

    def keep(self, score: float | None, values: list[np.ndarray], which: Which) -> None:
        """Takes the weights of a training's best epoch.

        As KerasTuner's: where the logs do not have the objective, the last epoch is the best.

        Args:
            score: the objective then; None if it is not known.
            values: the weights.
            which: the execution and the fold of the training.
        """
        if self._is_better(score, self._scores.get(which)):
            self._scores[which] = self._scores.get(which) if score is None else score
            self.kept[which] = values
        if self._is_better(score, self._score):
            self._score = self._score if score is None else score
            self.best = values

    def keep_apart(self, score: float, values: list[np.ndarray], which: Which) -> None:
        """Takes the weights of a fold at the epoch that the other folds choose.

        Args:
            score: the objective of the other folds then.
            values: the weights.
            which: the execution and the fold of the training.
        """
        known = self._apart.get(which)
        if known is None or self._is_better(score, known[0]):
            self._apart[which] = score, values

    @property
    def apart(self) -> dict[Which, list[np.ndarray]]:
        """The weights that `keep_apart` has taken, where they are not those of the best epoch."""
        return {
            which: values
            for which, (_, values) in self._apart.items()
            if not all(map(np.array_equal, self.kept.get(which, []), values))
        }

    def keep_model(self, model: Any, logs: dict[str, Any], which: Which) -> None:
        """Takes the weights of a model after an epoch, if it is the best so far of the training."""
        score = self.objective.get_value(logs) if self.objective.has_value(logs) else None
        if self._is_better(score, self._scores.get(which)):
            values = [np.array(keras.ops.convert_to_numpy(v)) for v in model.variables]
            self.keep(score, values, which)

    def _is_better(self, score: float | None, best: float | None) -> bool:
        return score is None or best is None or bool(self.objective.better_than(score, best))

    def forget_epochs(self) -> None:
        """Forgets the epochs of trainings that begin again, where they have begun."""
        kept = self._resumed or {"epochs": {}, "reports": []}
        self._epochs = {epoch: list(of) for epoch, of in kept["epochs"].items()}
        self.reports = list(kept["reports"])
        self.told = False

    def record(self) -> dict[str, Any]:
        """What a checkpoint has of the trial, beside its trainings."""
        return {
            "stopped_by": self.stopped_by,
            "epochs": {epoch: list(of) for epoch, of in self._epochs.items()},
            "reports": list(self.reports),
            "kept": [(which, self._scores.get(which), of) for which, of in self.kept.items()],
            "apart": [(which, *of) for which, of in self._apart.items()],
            "histories": [
                (which, list(of.epoch), dict(of.history)) for which, of in self.histories.items()
            ],
        }

    def resume(self, record: Mapping[str, Any]) -> None:
        """Takes what `record` has returned in another process."""
        self._resumed = dict(record)
        self.stopped_by = record["stopped_by"]
        self.forget_epochs()
        for which, score, values in record["kept"]:
            self.keep(score, values, which)
        for which, score, values in record["apart"]:
            self.keep_apart(score, values, which)
        for which, epochs, metrics in record["histories"]:
            history = keras.callbacks.History()
            history.epoch, history.history = list(epochs), dict(metrics)
            self.histories[which] = history

    def seen(self, epoch: int, logs: dict[str, Any]) -> dict[str, float] | None:
        """Takes an epoch of one training; returns the means, if all have had that epoch."""
        plain = {name: value for name, value in logs.items() if np.ndim(value) == 0}
        of_epoch = self._epochs.setdefault(epoch, [])
        of_epoch.append(plain)
        if len(of_epoch) < self._trainings:
            return None
        del self._epochs[epoch]
        shared = [name for name in plain if all(name in logs for logs in of_epoch)]
        means = {name: float(np.mean([logs[name] for logs in of_epoch])) for name in shared}
        self.reports.append((epoch, means))
        return means


def _order(which: Which) -> tuple[int, int]:
    return which[0], which[1] or 0


@contextlib.contextmanager
def failing(trial: Any) -> Iterator[None]:
    """Marks a trial as failed where KerasTuner would."""
    try:
        yield
    except Exception as error:
        if isinstance(error, keras_tuner.errors.FatalError):
            raise
        failed = isinstance(error, keras_tuner.errors.FailedTrialError)
        trial.status = "FAILED" if failed else "INVALID"
        trial.message = traceback.format_exc()
