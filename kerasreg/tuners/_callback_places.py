"""Callbacks that write to one place: trials that share it are trained one after the other."""

from __future__ import annotations

import os
from typing import Any

import keras

from kerasreg._keras.internals import profiles_batches

# Packages whose callbacks report to one run, which is a global of theirs.
_TRACKERS = ("wandb", "mlflow", "comet_ml", "neptune", "clearml", "aim", "dvclive", "swanlab")


class CallbackPlaces:
    """Tells which trainings would write to the same place at the same time.

    Args:
        callbacks: the callbacks of the search, of which each training gets copies.
    """

    def __init__(self, callbacks: Any) -> None:
        given = [] if callbacks is None else keras.tree.flatten(callbacks)
        self._of_search = {place for callback in given for place in places_of(callback)}
        self._taken: dict[str, Any] = {}

    def why_alone(self, plan: Any) -> str | None:
        """Says why a training must not run beside others; None if it may.

        Args:
            plan: the training, with its `places` and its `trial`.
        """
        for name, place in plan.places:
            other = self._taken.setdefault(place, plan)
            if place in self._of_search or other is not plan:
                return (
                    f"its {name} writes to {place}, as those of other trials do; a {name} that "
                    "the hypermodel's `fit` makes, with a place of its own for each trial, lets "
                    "trials be trained together"
                )
        return None

    def leave(self, trial: Any) -> None:
        """Forgets the places of a trial that has ended."""
        self._taken = {p: plan for p, plan in self._taken.items() if plan.trial is not trial}


def places_of(callback: Any) -> list[str]:
    """The places that a callback writes to, in words: files, folders, addresses, globals.

    Args:
        callback: a callback. Names of files are those that they are in the current folder.
    """
    callbacks = keras.callbacks
    root = type(callback).__module__.partition(".")[0]
    if root in _TRACKERS:
        return [f"the run of {root}"]
    if isinstance(callback, callbacks.TensorBoard):
        # KerasTuner gives each training a folder of its own; the profiler is one.
        if profiles_batches(callback):
            return ["the profiler of TensorFlow"]
        if callback.update_freq != "epoch" or callback.write_steps_per_second:
            return ["the default summary writer of TensorFlow"]
        return []
    if isinstance(callback, callbacks.CSVLogger):
        return [_file(callback.filename)]
    if isinstance(callback, callbacks.ModelCheckpoint):
        return [_file(callback.filepath)]
    if isinstance(callback, callbacks.BackupAndRestore):
        return [_file(callback.backup_dir)]
    if isinstance(callback, callbacks.RemoteMonitor):
        return [f"{callback.root}{callback.path}"]
    # Files that a callback of the user's holds open.
    return [
        f"the file {value.name!r}"
        for value in vars(callback).values()
        if hasattr(value, "fileno") and hasattr(value, "write") and hasattr(value, "name")
    ]


def _file(path: Any) -> str:
    return repr(os.path.abspath(os.fspath(path)))
