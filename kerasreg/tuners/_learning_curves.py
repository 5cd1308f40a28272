"""The objective of trials by the epoch, kept beside their results."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from kerasreg._files import write_json
from kerasreg.tuners._parts import path_of_part, paths_of_parts, remove

_NAME = "learning_curves.json"
_MOST_EPOCHS = 60
_BEST, _OTHERS = 100, 100  # So many trials are kept on disk.


class _Curve(NamedTuple):
    epochs: list[int]
    validation: np.ndarray
    training: np.ndarray | None


class LearningCurves:
    """Learning curves of the trials of a search.

    KerasTuner keeps the results of a trial, and no epochs. Here are those of the objective, and of
    the same metric of the samples to train with: means over the folds and executions of a trial,
    as far as all of them go. Long ones are thinned.

    Args:
        objective: a KerasTuner objective.
        part: the name of the part that this process writes, where others write parts too.
    """

    def __init__(self, objective: Any, part: str = "") -> None:
        self._part = part
        self._metric = str(getattr(objective, "name", ""))
        of_training = self._metric.removeprefix("val_")
        self._training = of_training if of_training != self._metric else None
        self._kept: dict[str, _Curve] = {}

    def keep(self, trial_id: str, results: Sequence[Any]) -> None:
        """Takes what `fit` returned for each training of a trial that has ended."""
        histories = [one for one in results if isinstance(one, keras.callbacks.History)]
        validation = _mean(histories, self._metric)
        if validation is None:
            return
        training = None if self._training is None else _mean(histories, self._training)
        count = len(validation) if training is None else min(len(validation), len(training))
        count = min(count, *(len(one.epoch) for one in histories))
        if not count:
            return
        thinned = np.linspace(0, count - 1, min(count, _MOST_EPOCHS)).round().astype(int)
        epochs = [int(histories[0].epoch[number]) for number in thinned]
        self._kept[trial_id] = _Curve(
            epochs, validation[thinned], None if training is None else training[thinned]
        )

    def to_dict(
        self, ranking: Sequence[str], folder: str, every: bool = False
    ) -> dict[str, Any] | None:
        """The curves of some trials, as a report has them; None where there are none.

        Args:
            ranking: the ids of the completed trials, the best first: the best ones are told, and
                some of the others.
            folder: the folder of the project, which has those of earlier processes.
            every: whether all that are known are told.
        """
        stored = {one["trial"]: one for one in read(folder, self._metric)}
        known = [one for one in ranking if one in self._kept or one in stored]
        rest = known[_BEST:]
        step = 1 if every else -(-len(rest) // _OTHERS) or 1
        shown = known[:_BEST] + rest[::step]
        return self._found(
            [self._told(one) if one in self._kept else dict(stored[one]) for one in shown]
        )

    def _found(self, trials: list[dict[str, Any]]) -> dict[str, Any] | None:
        if not trials:
            return None
        return {"metric": self._metric, "training_metric": self._training, "trials": trials}

    def write(self, ranking: Sequence[str], folder: str) -> None:
        """Keeps the curves on disk, where there are new ones."""
        if not self._kept:
            return
        if self._part:
            found = self._found(list(map(self._told, self._kept)))
        else:
            found = self.to_dict(ranking, folder)
        if found is not None:
            write_json(path_of_part(folder, _NAME, self._part), found)

    def gather(self, ranking: Sequence[str], folder: str) -> None:
        """Makes one file of the parts that other processes have written."""
        parts = paths_of_parts(folder, _NAME)
        if (found := self.to_dict(ranking, folder)) is not None:
            path = path_of_part(folder, _NAME, "")
            write_json(path, found)
            remove(part for part in parts if part != path)

    def told(self, trial_id: str) -> dict[str, Any] | None:
        """The curve of a trial that this process has trained or learnt of, or None."""
        return self._told(trial_id) if trial_id in self._kept else None

    def learn(self, told: Mapping[str, Any]) -> None:
        """Takes the curve of a trial that another process has trained, as `told` gives it."""
        training = told["training"]
        self._kept[str(told["trial"])] = _Curve(
            list(told["epochs"]),
            np.array(told["validation"], "float32"),
            None if training is None else np.array(training, "float32"),
        )

    def _told(self, trial_id: str) -> dict[str, Any]:
        curve = self._kept[trial_id]
        return {
            "trial": trial_id,
            "epochs": curve.epochs,
            "validation": _numbers(curve.validation),
            "training": None if curve.training is None else _numbers(curve.training),
        }


def read(folder: str, metric: str) -> list[Mapping[str, Any]]:
    """The curves that a project has on disk, of an objective of that name."""
    trials: dict[str, Mapping[str, Any]] = {}
    for path in paths_of_parts(folder, _NAME):
        try:
            found = _stored(path)
        except (OSError, ValueError):
            continue  # They are to be looked at, and nothing depends on them.
        if found["metric"] == metric:
            trials |= {one["trial"]: one for one in found["trials"]}
    return list(trials.values())


def damage(folder: str) -> str | None:
    """What is wrong with the file of a project, in words; None if nothing is, or there is none."""
    for path in paths_of_parts(folder, _NAME):
        try:
            _stored(path)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            what = "the learning curves of earlier trials are lost."
            return f"{path!r} cannot be read ({error}): {what}"
    return None


def _stored(path: str) -> dict[str, Any]:
    with open(path, encoding="utf-8") as file:
        found = json.load(file)
    try:
        whole = [dict(one) for one in found["trials"] if isinstance(one["trial"], str)]
        return {**found, "metric": found["metric"], "trials": whole}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"it is of another kind, {type(error).__name__}: {error}") from error


def _mean(histories: Sequence[Any], metric: str) -> np.ndarray | None:
    every = [one.history.get(metric, []) for one in histories]
    count = min(map(len, every), default=0)
    if not count or any(np.ndim(value) for one in every for value in one[:count]):
        return None
    return np.mean([one[:count] for one in every], axis=0, dtype="float64").astype("float32")


def _numbers(values: np.ndarray) -> list[float | None]:
    # Digits that no picture shows are not written.
    rounded = [float(f"{value:.6g}") for value in values.tolist()]
    return [value if math.isfinite(value) else None for value in rounded]
