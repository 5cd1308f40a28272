"""The weights of every lane at its best epoch, in one file."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kerasreg._files import write_bytes


class BestEpochs:
    """Keeps the values of `model.variables` of each lane at its best epoch.

    Args:
        objective: a KerasTuner objective.
        lanes: how many lanes.
    """

    def __init__(self, objective: Any, lanes: int) -> None:
        self.objective = objective
        self.scores: list[float | None] = [None] * lanes
        self.values: list[np.ndarray] = []

    def update(self, lanes: Any, logs: Sequence[dict[str, Any]]) -> None:
        """Keeps the values of the lanes for which the epoch that has ended is the best.

        Args:
            lanes: the lanes.
            logs: the logs of the epoch for each lane; empty ones where nothing is to be kept.
        """
        better = np.zeros(len(self.scores), dtype=bool)
        for lane, of_lane in enumerate(logs):
            if not of_lane:
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

    def take(self, lane: int) -> tuple[float | None, list[np.ndarray]]:
        """Returns the best score of a lane and the values then; the lane begins again."""
        score, self.scores[lane] = self.scores[lane], None
        return score, [np.array(value[lane]) for value in self.values]


def write(folder: str, values: dict[str, list[np.ndarray]]) -> None:
    """Writes the values of trials; those of equal shapes in one file."""
    groups: dict[Any, list[str]] = {}
    for name, of_trial in sorted(values.items()):
        groups.setdefault(str([value.shape for value in of_trial]), []).append(name)
    for names in groups.values():
        # A number of its own for each file: a trial that is tried again is in another one.
        number = 1 + max(map(_number, _names(folder)), default=0)
        every = (values[name] for name in names)
        columns = [np.stack(column) for column in zip(*every, strict=True)]
        content = io.BytesIO()
        np.savez(content, *columns, trials=np.array(names))
        path = os.path.join(folder, f"lanes-{number:06d}-{names[0]}-{len(names)}.npz")
        write_bytes(path, content.getvalue())


def read(folder: str, trial_id: str, model: keras.Model) -> bool:
    """Assigns the values of a trial to its model; False where there are none."""
    # The newest first: a trial that was tried again is in two files.
    for name in reversed(_names(folder)):
        path = os.path.join(folder, name)
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


def _names(folder: str) -> list[str]:
    """The names of the files of weights, by age.

    No pattern finds them: the name of the folder may look like one.
    """
    if not os.path.isdir(folder):
        return []
    names = [name for name in os.listdir(folder) if name.startswith("lanes-")]
    return sorted(
        (name for name in names if name.endswith(".npz")),
        # Those of earlier versions have no number.
        key=lambda name: (_number(name), os.path.getmtime(os.path.join(folder, name))),
    )


def _number(name: str) -> int:
    parts = name.removesuffix(".npz").split("-")
    return int(parts[1]) if len(parts) == 4 and parts[1].isdigit() else 0
