"""A KerasTuner project that is whole on disk at every instant, and resumes.

KerasTuner writes its state in place: a process that is killed while it writes
leaves a file that cannot be read, and one that is killed between two files
leaves a trial that never runs again.
"""

from __future__ import annotations

import functools
import os
from typing import Any

import keras_tuner

from kerasreg._files import write_json


def keep_whole(tuner: keras_tuner.Tuner) -> keras_tuner.Tuner:
    """Makes a tuner write its state so that it can be resumed after a kill at any time.

    State files are written beside and renamed, and trials that an earlier
    process left running are queued again.

    Args:
        tuner: a tuner that is alone in its project folder. (Chief and workers
            have a protocol of their own.)

    Returns:
        The same tuner.

    Example:

    >>> import tempfile, keras_tuner, kerasreg
    >>> class Parabola(keras_tuner.RandomSearch):
    ...     def run_trial(self, trial):
    ...         return trial.hyperparameters.Float("x", -1.0, 1.0) ** 2
    >>> folder = tempfile.mkdtemp()
    >>> tuner = kerasreg.tuners.keep_whole(Parabola(max_trials=3, directory=folder, seed=1))
    """
    oracle = tuner.oracle

    def save_oracle() -> None:
        write_json(oracle._get_oracle_fname(), oracle.get_state())

    def save_trial(trial: Any) -> None:
        path = os.path.join(oracle._get_trial_dir(trial.trial_id), "trial.json")
        write_json(path, trial.get_state())

    def save_tuner() -> None:
        oracle.save()
        write_json(tuner._get_tuner_fname(), tuner.get_state())

    oracle.save, oracle._save_trial, tuner.save = save_oracle, save_trial, save_tuner
    _queue_interrupted(oracle)
    # KerasTuner reloads a project only if the tuner's own file is there, which it
    # writes after the first trial.
    tuner.save()
    return tuner


def _queue_interrupted(oracle: Any) -> None:
    """Queues trials that were running when the process ended, and only those."""
    ended = set(oracle.end_order)
    for trial_id, trial in sorted(oracle.trials.items()):
        if trial.status in ("COMPLETED", "FAILED"):
            # Killed after the trial's file was written and before the oracle's.
            if trial_id not in ended:
                oracle.update_space(trial.hyperparameters)
                oracle._record_values(trial)
                oracle._run_times[trial_id] += 1
                oracle.end_order.append(trial_id)
            if trial_id in oracle._retry_queue:
                oracle._retry_queue.remove(trial_id)
            continue
        if trial_id not in oracle.start_order:
            # Killed before the oracle's file knew of it: the oracle makes it again.
            os.remove(os.path.join(oracle._get_trial_dir(trial_id), "trial.json"))
            del oracle.trials[trial_id]
            continue
        trial.metrics = type(trial.metrics)()  # What it reported before it was cut off.
        if trial_id not in oracle._retry_queue:
            oracle._retry_queue.append(trial_id)
    if isinstance(oracle, keras_tuner.oracles.GridSearchOracle):
        _restore_grid(oracle)


def _restore_grid(oracle: Any) -> None:
    """Rebuilds what KerasTuner's grid search does not save: which points it has visited."""
    values = {name: trial.hyperparameters.values for name, trial in oracle.trials.items()}
    order = functools.cmp_to_key(lambda one, other: oracle._compare(values[one], values[other]))
    previous = None
    for trial_id in sorted(values, key=order):
        oracle._ordered_ids.insert(trial_id, previous)
        previous = trial_id
    # Those whose next point has been visited are passed over.
    oracle._populate_next = list(oracle.end_order)
