"""The best epoch of each training of a trial, and the weights then, in files for many trials."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from kerasreg._files import write_bytes
from kerasreg.lanes import Lanes

# Of more bytes, files of weights are not read in whole to see whether they can be.
_MOST_READ = 2**31
# The weights at the epochs that other folds choose are kept where those of all lanes have no more
# bytes.
_MOST_BYTES_APART = 2**28
# Before the name of the values at an epoch that the fold itself did not choose.
_APART = "apart:"


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
        # Of a lane that an error ended before its first epoch there is nothing.
        self._kept = np.zeros(lanes, dtype=bool)

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
        self._kept |= better
        now = lanes.get_values()
        if not self.values:
            self.values = [np.array(value) for value in now]
        for kept, value in zip(self.values, now, strict=True):
            kept[better] = value[better]

    @property
    def nbytes(self) -> int:
        """How many bytes the values have."""
        return sum(value.nbytes for value in self.values)

    def take(self, lane: int) -> tuple[float | None, list[np.ndarray]] | None:
        """Returns the best score of a lane and the values then; the lane begins again.

        None for a lane of which no epoch was kept.
        """
        found = self.known(lane)
        self.scores[lane], self._kept[lane] = None, False
        return found

    def known(self, lane: int) -> tuple[float | None, list[np.ndarray]] | None:
        """What `take` would return; the lane goes on."""
        if not self._kept[lane]:
            return None
        return self.scores[lane], [np.array(value[lane]) for value in self.values]


class JointEpochs:
    """The best epoch that the folds of a trial have together, while they train as lanes.

    Folds that begin together see an epoch as one result: the mean of their logs. Once one of them
    has ended, no epoch is a result of them all, and their weights stay as they are.

    Args:
        folds: how many folds an execution of a trial has.
    """

    def __init__(self, folds: int) -> None:
        self._folds = folds
        self._groups: dict[int, dict[int, Any]] = {}  # For each lane the lanes of its trial.

    def begin(self, plans: Mapping[int, Any]) -> None:
        """Takes trainings that begin together, by lane."""
        groups: dict[Any, dict[int, Any]] = {}
        for lane, plan in plans.items():
            self._groups.pop(lane, None)
            groups.setdefault((plan.trial.trial_id, plan.execution), {})[lane] = plan
        for group in groups.values():
            resumed = {plan.joint for plan in group.values()} - {None}
            if resumed:
                # What they were when they began together they are still.
                if resumed == {True}:
                    whole = len(group) == self._folds
                    self._groups |= dict.fromkeys(group, group if whole else {})
                continue
            if len(group) == self._folds and all(plan.fold is not None for plan in group.values()):
                self._groups |= dict.fromkeys(group, group)

    def is_joint(self, lane: int) -> bool:
        """Whether a lane has its best epoch together with the other folds of its trial."""
        return lane in self._groups

    def logs(
        self, seen: Mapping[int, Any], lanes: int, apart: bool = False
    ) -> list[dict[str, Any]]:
        """The logs of an epoch by which the weights of each lane are kept, or are not.

        Args:
            seen: for lanes that trained the training, its epoch and its logs.
            lanes: how many lanes there are.
            apart: whether the epochs of a fold are to be chosen by the other folds alone: means
                are over these then, and what did not begin with other folds has none.

        Returns:
            For each lane its logs; the means over its trial where folds began together; none
            where there is nothing to keep.
        """
        return [self._logs(lane, seen, apart) if lane in seen else {} for lane in range(lanes)]

    def _logs(self, lane: int, seen: Mapping[int, Any], apart: bool) -> dict[str, Any]:
        group = self._groups.get(lane)
        own: dict[str, Any] = seen[lane].logs
        if group is None or (apart and len(group) == 1):
            return {} if apart else own
        if not group:  # Some of its folds ended in an earlier process.
            return {}
        every = [seen[other] for other, plan in group.items() if _trains(seen.get(other), plan)]
        if len(every) < len(group) or len({one.epoch for one in every}) > 1:
            return {}
        if apart:
            every = [one for one in every if one is not seen[lane]]
        return {
            name: float(np.mean([one.logs[name] for one in every]))
            for name, value in own.items()
            if np.ndim(value) == 0 and all(name in one.logs for one in every)
        }


def _trains(seen: Any, plan: Any) -> bool:
    """Whether it is still this training that a lane trains."""
    return seen is not None and seen.plan is plan


class KeptEpochs:
    """The weights that lanes keep while they train: those of the best epoch of each.

    Args:
        objective: a KerasTuner objective.
        plans: the trainings that begin, by lane.
        folds: how many folds an execution of a trial has.
        apart: whether the weights at the epoch that the other folds choose are kept too.
    """

    def __init__(
        self, objective: Any, plans: Mapping[int, Any], *, folds: int, apart: bool
    ) -> None:
        self._best = BestEpochs(objective, len(plans))
        self._apart = BestEpochs(objective, len(plans))
        self._keeps_apart = apart
        self._together = JointEpochs(folds)
        self._together.begin(plans)

    def begin(self, plans: Mapping[int, Any]) -> None:
        """Takes trainings that begin together, by lane."""
        self._together.begin(plans)

    def is_joint(self, lane: int) -> bool:
        """Whether a lane has its best epoch together with the other folds of its trial."""
        return self._together.is_joint(lane)

    def update(self, lanes: Lanes, seen: Mapping[int, Any]) -> None:
        """Keeps the weights of the lanes for which the epoch that has ended is the best.

        Args:
            lanes: the lanes.
            seen: for lanes that trained the training, its epoch and its logs.
        """
        values, count = _ValuesOfEpoch(lanes), len(lanes)
        self._best.update(values, self._together.logs(seen, count))
        if self._keeps_apart and self._best.nbytes <= _MOST_BYTES_APART:
            self._apart.update(values, self._together.logs(seen, count, apart=True))

    def known(
        self, lanes: Lanes, lane: int, apart: bool = False
    ) -> tuple[float | None, list[Any]] | None:
        """The score of the best epoch of a lane and the weights then, if there is one yet.

        Args:
            lanes: the lanes.
            lane: the number of one.
            apart: whether of the epoch that the other folds choose.
        """
        return _trimmed(lanes, lane, (self._apart if apart else self._best).known(lane))

    def take(
        self, lanes: Lanes, lane: int, apart: bool = False
    ) -> tuple[float | None, list[Any]] | None:
        """What `known` returns; the lane begins again."""
        return _trimmed(lanes, lane, (self._apart if apart else self._best).take(lane))


def _trimmed(
    lanes: Lanes, lane: int, found: tuple[float | None, list[Any]] | None
) -> tuple[float | None, list[Any]] | None:
    return None if found is None else (found[0], lanes.trimmed(lane, found[1]))


class _ValuesOfEpoch:
    """The values of lanes after an epoch, which are fetched once, where they are asked for."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._values: Any = None

    def get_values(self) -> Any:
        if self._values is None:
            self._values = self._lanes.get_values()
        return self._values


def joint_epoch(results: Sequence[Any], objective: Any) -> int | None:
    """The number, from 0, of the epoch whose mean over trainings is best.

    Args:
        results: what `fit` returned for each training.
        objective: a KerasTuner objective.

    Returns:
        The number; None where results are no histories, or do not have the objective in each epoch.
    """
    names = names_of(objective)
    for result in results:
        if not isinstance(result, keras.callbacks.History):
            return None
        lengths = {len(result.history.get(name, [])) for name in names}
        lengths |= {len(values) for values in result.history.values()}
        if lengths != {len(result.epoch)}:
            return None
    best, epoch = None, None
    for number in range(min(len(result.epoch) for result in results)):
        logs = {name: float(np.mean([r.history[name][number] for r in results])) for name in names}
        score = objective.get_value(logs)
        if best is None or objective.better_than(score, best):
            best, epoch = score, number
    return epoch


def names_of(objective: Any) -> list[str]:
    """The names of the metrics that an objective is made of."""
    return [one.name for one in getattr(objective, "objectives", [objective])]


class TrialWeights(NamedTuple):
    """The weights of a trial.

    Attributes:
        trial_id: the id of the trial.
        kept: for each execution and fold the values of `model.variables`.
        best: those of them that are the weights of the trial.
        apart: for an execution and a fold the values at the epoch that the other folds choose,
            where that is another one.
    """

    trial_id: str
    kept: Mapping[tuple[int, int | None], list[np.ndarray]]
    best: list[np.ndarray]
    apart: Mapping[tuple[int, int | None], list[np.ndarray]] = {}

    @property
    def named(self) -> dict[str, list[np.ndarray]]:
        """The values by the names that they have in files; of one training, the trial's."""
        every = dict(sorted(self.kept.items(), key=lambda of: (of[0][0], of[0][1] or 0)))
        if len(every) == 1:
            return {self.trial_id: self.best}
        named = {self._name(which): values for which, values in every.items()}
        # With the mark in front they are no trainings of the trial, also for earlier versions.
        apart = {f"{_APART}{self._name(which)}": of for which, of in self.apart.items()}
        return named | apart

    def _name(self, which: tuple[int, int | None]) -> str:
        return "/".join([self.trial_id, *(str(part) for part in which if part is not None)])


class WeightFile(NamedTuple):
    """The weights of some trials, in one file.

    Attributes:
        trial_ids: the ids of the trials.
        trainings: how many trainings of them are in it.
        content: what is in the file.
    """

    trial_ids: list[str]
    trainings: int
    content: bytes


def files_of(weights: Sequence[TrialWeights]) -> list[WeightFile]:
    """The values of trials as files; those of equal shapes are in one."""
    groups: dict[Any, list[tuple[str, list[np.ndarray], str]]] = {}
    for of_trial in sorted(weights, key=lambda one: one.trial_id):
        for name, values in of_trial.named.items():
            best = of_trial.trial_id if values is of_trial.best else ""
            shapes = str([value.shape for value in values])
            groups.setdefault(shapes, []).append((name, values, best))
    found = []
    for group in groups.values():
        columns = [np.stack(column) for column in zip(*(of[1] for of in group), strict=True)]
        names, of_trials = (np.array([of[k] for of in group]) for k in (0, 2))
        content = io.BytesIO()
        np.savez(content, *columns, trials=names, best=of_trials)
        names_of = (name.removeprefix(_APART).partition("/")[0] for name, _, _ in group)
        ids = list(dict.fromkeys(names_of))
        found.append(WeightFile(ids, len(names), content.getvalue()))
    return found


def write(folder: str, weights: Sequence[TrialWeights], part: str = "") -> None:
    """Writes the values of trials; those of equal shapes in one file.

    Args:
        folder: the folder of the project.
        weights: the weights of the trials.
        part: what sets the files of this process apart from those that others write meanwhile.
    """
    for one in files_of(weights):
        # A number of its own for each file: a trial that is tried again is in another one.
        number = 1 + max(map(_number, _names(folder)), default=0)
        of_part = f"-{part}" if part else ""
        name = f"lanes-{number:06d}-{one.trial_ids[0]}-{one.trainings}{of_part}.npz"
        write_bytes(os.path.join(folder, name), one.content)


def read(
    folder: str, trial_id: str, model: keras.Model, paths: Sequence[str] | None = None
) -> bool:
    """Assigns the values of a trial to its model; False where there are none.

    Args:
        folder: the folder that has the files.
        trial_id: the id of the trial.
        model: its model.
        paths: the files, the oldest first, where they are not those of the folder.
    """
    # The newest first: a trial that was tried again is in two files.
    for path in _newest_first(folder, paths):
        with _opened(path) as stored:
            names = stored["trials"].tolist()
            # Files of earlier versions have one training of each trial.
            best = stored["best"].tolist() if "best" in stored.files else names
            if trial_id not in best:
                continue
            values = [column[best.index(trial_id)] for column in _columns(stored)]
        assign(model, values)
        return True
    return False


def read_all(
    folder: str, trial_ids: Sequence[str], paths: Sequence[str] | None = None
) -> dict[str, list[list[np.ndarray]]]:
    """The values of all trainings of trials, by trial, in the order of executions and folds.

    Args:
        folder: as for `read`.
        trial_ids: the ids of the trials.
        paths: as for `read`.
    """
    wanted = set(trial_ids)
    found: dict[str, list[list[np.ndarray]]] = {}
    for path in _newest_first(folder, paths):
        with _opened(path) as stored:
            names = stored["trials"].tolist()
            places: dict[str, list[int]] = {}
            for place, of in enumerate(names):
                places.setdefault(of.partition("/")[0], []).append(place)
            new = [trial_id for trial_id in places if trial_id in wanted - found.keys()]
            if new:
                columns = _columns(stored)
                found |= {
                    one: [[column[place] for column in columns] for place in places[one]]
                    for one in new
                }
    return found


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Any]:
    """Opens a file of weights; names it if they cannot be read."""
    try:
        with np.load(path) as stored:
            yield stored
    except Exception as error:  # Of zipfile, zlib and NumPy.
        raise RuntimeError(
            f"{path!r} has no weights of trials that can be read ({type(error).__name__}: "
            f"{error}). `search` sets it aside, and trains these trials again."
        ) from error


def set_damaged_aside(folder: str) -> tuple[list[str], set[str]]:
    """Renames files of weights that cannot be read.

    Returns:
        What is wrong with each, in words, and the trials of all other files.
    """
    damaged, trials = list[str](), set[str]()
    paths = _paths(folder)
    reads_all = sum(map(os.path.getsize, paths)) <= _MOST_READ
    for path in paths:
        try:
            with _opened(path) as stored:
                if reads_all and (part := stored.zip.testzip()) is not None:
                    raise ValueError(f"{part} is not what was written")
                trials |= {name.partition("/")[0] for name in stored["trials"].tolist()}
        except RuntimeError as error:
            damaged.append(str(error))
            os.replace(path, f"{path}.damaged")
    return damaged, trials


def read_apart(
    folder: str, trial_ids: Sequence[str], folds: int, paths: Sequence[str] | None = None
) -> dict[str, dict[int, list[np.ndarray]]]:
    """The values at epochs that the fold itself did not choose, where they are others.

    Args:
        folder: of the project.
        trial_ids: the ids of trials.
        folds: how many folds an execution has.
        paths: as for `read`.

    Returns:
        By trial, and by the number of the training in the order of `read_all`.
    """
    wanted, met = set(trial_ids), set[str]()
    found: dict[str, dict[int, list[np.ndarray]]] = {}
    for path in _newest_first(folder, paths):
        with _opened(path) as stored:
            names = stored["trials"].tolist()
            # A trial that was tried again has those of its newest trainings alone.
            here = {of.removeprefix(_APART).partition("/")[0] for of in names}
            new = (here & wanted) - met
            places = [
                (place, of.removeprefix(_APART).split("/"))
                for place, of in enumerate(names)
                if of.startswith(_APART)
            ]
            places = [(place, parts) for place, parts in places if parts[0] in new]
            columns = _columns(stored) if places else []
            for place, (trial_id, execution, fold) in places:
                number = int(execution) * folds + int(fold)
                found.setdefault(trial_id, {})[number] = [column[place] for column in columns]
            met |= new
    return found


def assign(model: keras.Model, values: Sequence[np.ndarray]) -> None:
    """Gives the variables of a model these values."""
    for variable, value in zip(model.variables, values, strict=True):
        variable.assign(value)


def _columns(stored: Any) -> list[np.ndarray]:
    """The values of each variable, for all trainings of a file."""
    count = sum(name.startswith("arr_") for name in stored.files)
    return [stored[f"arr_{index}"] for index in range(count)]


def _newest_first(folder: str, paths: Sequence[str] | None) -> list[str]:
    """The files of weights: these, or those of the folder."""
    return list(reversed(_paths(folder) if paths is None else paths))


def _paths(folder: str) -> list[str]:
    """The files of weights in a folder, by age."""
    return [os.path.join(folder, name) for name in _names(folder)]


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
    return int(parts[1]) if len(parts) in (4, 5) and parts[1].isdigit() else 0
