"""The weights of every lane at its best epoch, in one file."""

from __future__ import annotations

import glob
import io
import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kerasreg._files import write_bytes

PATTERN = "lanes-*.npz"


class BestEpochs:
    """Keeps the values of `model.variables` of each lane at its best epoch.

    Args:
        objective: a KerasTuner objective.
        trial_ids: the trial of each lane.
    """

    def __init__(self, objective: Any, trial_ids: Sequence[str]) -> None:
        self.objective = objective
        self.trial_ids = list(trial_ids)
        self.scores: list[float | None] = [None] * len(self.trial_ids)
        self.values: list[np.ndarray] = []

    def update(self, lanes: Any, logs: Sequence[dict[str, Any]]) -> None:
        """Takes the epoch that has ended, for the lanes whose best it is."""
        better = np.zeros(len(self.trial_ids), dtype=bool)
        for lane, of_lane in enumerate(logs):
            if not of_lane:  # It had stopped before.
                continue
            # An objective that the logs do not have is known after the training:
            # then the last epoch is kept.
            if not self.objective.has_value(of_lane):
                better[lane] = True
                continue
            score, best = self.objective.get_value(of_lane), self.scores[lane]
            if best is None or self.objective.better_than(score, best):
                self.scores[lane], better[lane] = score, True
        if not better.any():
            return
        now = lanes.get_values()
        if not self.values:
            self.values = [np.array(value) for value in now]
        for kept, value in zip(self.values, now, strict=True):
            kept[better] = value[better]

    def of_trials(self) -> dict[str, list[np.ndarray]]:
        """The values of each trial: of the best of its executions."""
        best: dict[str, int] = {}
        for lane, trial_id in enumerate(self.trial_ids):
            known = best.get(trial_id)
            score, other = self.scores[lane], None if known is None else self.scores[known]
            worse = score is None or (
                other is not None and not self.objective.better_than(score, other)
            )
            if known is None or not worse:
                best[trial_id] = lane
        return {t: [value[lane] for value in self.values] for t, lane in best.items()}


def write(folder: str, values: dict[str, list[np.ndarray]]) -> None:
    """Writes the values of trials that have variables of the same shapes, in one file."""
    if not values:
        return
    names = sorted(values)
    columns = [np.stack(column) for column in zip(*(values[name] for name in names), strict=True)]
    content = io.BytesIO()
    np.savez(content, *columns, trials=np.array(names))
    write_bytes(os.path.join(folder, f"lanes-{names[0]}-{len(names)}.npz"), content.getvalue())


def read(folder: str, trial_id: str, model: keras.Model) -> bool:
    """Assigns the values of a trial to its model; False where there are none."""
    # The newest first: a trial that was tried again is in two files.
    files = sorted(glob.glob(os.path.join(folder, PATTERN)), key=os.path.getmtime, reverse=True)
    for path in files:
        with np.load(path) as stored:
            names = stored["trials"].tolist()
            if trial_id not in names:
                continue
            lane = names.index(trial_id)
            columns = [stored[f"arr_{index}"][lane] for index in range(len(stored.files) - 1)]
        for variable, value in zip(model.variables, columns, strict=True):
            variable.assign(value)
        return True
    return False
