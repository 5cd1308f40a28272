"""A KerasTuner project that is whole on disk at every instant, and resumes.

KerasTuner writes its state in place: a process that is killed while it writes
leaves a file that cannot be read, and one that is killed between two files
leaves a trial that never runs again.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras_tuner

from kerasreg._files import write_json, write_texts
from kerasreg._keras import keras_tuner_internals as internals
from kerasreg._keras.patching import replace
from kerasreg.tuners._chief import WorkerOracle, parallel


def crash_safe(tuner: keras_tuner.Tuner) -> keras_tuner.Tuner:
    """Makes a tuner write its state so that it can be resumed after a kill at any time.

    The function replaces three methods of the objects that it is given: `tuner.save`,
    `tuner.oracle.save` and the method by which the oracle writes a trial. The new ones write
    each state file beside the old one and rename it. Trials that an earlier process left running
    are queued again, and the first state is written.

    Call it once, before `tuner.search`. Afterwards, do not assign these methods, do not give the
    tuner another oracle, and let no second process search in the project folder. The tuners of
    `kerasreg.tuners` are crash safe already.

    In KerasTuner's parallel searches, of a chief and workers, call it in all of them. The chief
    then gives the trials of a worker that dies to another one, ends when all are done, and can be
    started again; a worker waits for the chief, and says so.

    Args:
        tuner: a tuner that is alone in its project folder.

    Returns:
        The same tuner.

    Raises:
        OSError: if the state cannot be written.

    Example:

    >>> import tempfile, keras_tuner, kerasreg
    >>> class Parabola(keras_tuner.RandomSearch):
    ...     def run_trial(self, trial):
    ...         return trial.hyperparameters.Float("x", -1.0, 1.0) ** 2
    >>> folder = tempfile.mkdtemp()
    >>> tuner = kerasreg.tuners.crash_safe(Parabola(max_trials=3, directory=folder, seed=1))
    """
    if not isinstance(getattr(tuner.save, "__self__", None), StateFiles):
        chief = parallel(tuner)
        if chief is not None:
            replace(tuner, "search", chief.serve)
        StateFiles(tuner)
    return tuner


class StateFiles:
    """Writes the state files of a tuner, from now on: each is whole at every instant.

    Args:
        tuner: a tuner that is alone in its project folder.
    """

    def __init__(self, tuner: keras_tuner.Tuner) -> None:
        self._tuner = tuner
        self._later = False  # The states of the oracle and of the tuner.
        self._trials_later = False
        self._texts: dict[str, str] = {}  # Of trials, by path, which are written together.
        self._calls: list[Callable[[], None]] = []  # For when all is written.
        self._is_chiefs = isinstance(tuner.oracle, WorkerOracle)  # So is the state of trials.
        internals.write_state_by(tuner, self.save_oracle, self.save_trial, self.save)
        if not self._is_chiefs:
            _find_trials(tuner.oracle)
            _queue_interrupted(tuner.oracle)
        # KerasTuner reloads a project only if the tuner's own file is there, which it
        # writes after the first trial.
        self.save()

    def save_oracle(self) -> None:
        """Writes the state of the oracle."""
        if not self._later and not self._is_chiefs:
            oracle = self._tuner.oracle
            write_json(internals.oracle_path(oracle), oracle.get_state())

    def save_trial(self, trial: Any) -> None:
        """Writes the state of a trial."""
        if not self._trials_later and not self._is_chiefs:
            path = internals.trial_path(self._tuner.oracle, trial.trial_id)
            self._texts[path] = json.dumps(trial.get_state())
            if not self._later:
                self._write_trials()

    def _write_trials(self) -> None:
        texts, self._texts = self._texts, {}
        write_texts(texts)

    def save(self) -> None:
        """Writes the states of the oracle and of the tuner."""
        if not self._later:
            self._tuner.oracle.save()
            write_json(internals.tuner_path(self._tuner), self._tuner.get_state())

    def give_again(self, trial_ids: Iterable[str]) -> None:
        """Lets the oracle give trials again that have ended, as if they had not.

        Args:
            trial_ids: the ids of the trials; the last one is given first.
        """
        oracle = self._tuner.oracle
        for trial_id in trial_ids:
            trial = oracle.trials[trial_id]
            trial.status, trial.score, trial.best_step = "RUNNING", None, 0
            oracle.end_order.remove(trial_id)
            internals.queue_again(oracle, trial_id)
            self.save_trial(trial)
        self.save()

    @contextlib.contextmanager
    def written_once(self) -> Iterator[None]:
        """Writes the states when all trials are dealt with: those of trials, then the oracle's."""
        if self._later:
            yield
            return
        self._later = True
        try:
            yield
        finally:
            self._later = False
            self._write_trials()
            self._tuner.save()
            calls, self._calls = self._calls, []
            for call in calls:
                call()

    def when_written(self, call: Callable[[], None]) -> None:
        """Calls a function when the states are written as they are now."""
        if self._later:
            self._calls.append(call)
        else:
            call()

    @contextlib.contextmanager
    def trials_unwritten(self) -> Iterator[None]:
        """Writes no trial for a while: what changes is written when the trial ends."""
        before, self._trials_later = self._trials_later, True
        try:
            yield
        finally:
            self._trials_later = before


def _find_trials(oracle: keras_tuner.Oracle) -> None:
    """Adds the trials that a reloaded oracle knows of, and did not find in its folder."""
    if not set(oracle.start_order) <= set(oracle.trials):
        for trial_id, trial in internals.trials_in_folder(oracle).items():
            if trial_id in oracle.start_order:
                oracle.trials.setdefault(trial_id, trial)
        internals.check_trials(oracle, oracle.start_order)


def _queue_interrupted(oracle: keras_tuner.Oracle) -> None:
    """Leaves in the queue the trials that were running when the process ended, each once.

    KerasTuner has queued those that its state calls running. One that waits to be tried again is
    among them too, if the process ended at once.
    """
    ended, queue = set(oracle.end_order), internals.retry_queue(oracle)
    queue[:] = dict.fromkeys(queue)
    for trial_id, trial in sorted(oracle.trials.items()):
        if trial.status in ("COMPLETED", "FAILED"):
            # Killed after the trial's file was written and before the oracle's.
            if trial_id not in ended:
                internals.record_end(oracle, trial)
            if trial_id in queue:
                queue.remove(trial_id)
            continue
        if trial_id not in oracle.start_order:
            # Killed before the oracle's file knew of it: the oracle makes it again.
            os.remove(internals.trial_path(oracle, trial_id))
            del oracle.trials[trial_id]
            continue
        trial.metrics = type(trial.metrics)()  # What it reported before it was cut off.
    if isinstance(oracle, keras_tuner.oracles.GridSearchOracle):
        internals.restore_grid(oracle)
