"""What a search was begun with, and whether it may begin, or go on, in a folder."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from kerasreg._urls import without_password
from kerasreg.cli._options import TableOptions, kinds, option

TUNERS = ("random", "bayesian", "hyperband", "grid")
# Those that workers can share, and the samplers of Optuna that take their places.
SAMPLERS = {"random": "random", "bayesian": "tpe"}
# Trials of a search where neither their number nor its time is given.
_TRIALS = 16


@dataclasses.dataclass(frozen=True)
class SearchSettings(TableOptions):
    """Everything that decides what a search does, beside its data: its record."""

    tuner: str = option("random", "Search algorithm of KerasTuner.", choices=TUNERS)
    trials: int | None = option(
        None,
        "Number of settings to try. By default 16, or with --time as many as end in that time; "
        "hyperband decides by itself.",
        minimum=1,
    )
    epochs: int = option(
        0, "Epochs of a whole training; 0 for 20 to 100, by the task and the rows.", minimum=0
    )
    folds: int = option(
        0,
        "Folds of the cross-validation, 1 for a single validation part of a fifth. 0 for 8 below "
        "1,000 rows, 5 up to 50,000 or with --order, and 1 above, or with --replicas.",
        minimum=0,
    )
    groups: str | None = option(
        None,
        "Column of groups, such as patients: the rows of a group are all to train, to validate or "
        "to test. It is no feature.",
    )
    order: str | None = option(
        None,
        "Column of dates or numbers by which rows follow each other in time: the last rows are "
        "the test part, and each fold is validated by rows after those that it is trained on. It "
        "is a feature too, unless it is dropped. (--time is a limit.)",
    )
    start_from: str | None = option(
        None,
        "Settings to try first: the folder of an earlier search, whose ensemble and best trials "
        "are taken, at most 16 and half of --trials; or an exported model, or its "
        "model_card.json.",
    )
    time: str | None = option(
        None,
        "Time of the search, such as 60s, 5m or 1h30m: then it ends, with the trials that it has. "
        "What comes after, the report and the export, takes its own.",
    )
    seed: int = option(
        0, "Seed of the split, the search and the trainings.", minimum=0, maximum=2**32 - 1
    )
    lanes: int = option(
        0,
        "At most so many trainings at a time, each fold one; 0 for as many as memory allows, or "
        "as the tuner learns from.",
        minimum=0,
    )
    retrain: int | None = option(
        None,
        "How often each setting of the ensemble is trained again, with all rows but those of the "
        "test part, which gives a smaller model than those of its folds. By "
        "default 1 with --order, where the models of early folds have not seen the latest rows, "
        "and else 0.",
        minimum=0,
    )
    replicas: int = option(
        1,
        "Train each trial on this many GPUs, or logical CPU devices where there are none.",
        minimum=1,
    )
    workers: int | None = option(
        None,
        "Search with this many processes, which share the cores and the memory, and the trials by "
        "a study of Optuna's: random or, in the place of bayesian, Optuna's TPE. Without it this "
        "process searches alone, with KerasTuner's algorithms.",
        minimum=1,
    )


# Of the data; what was read where --start_from says; and where the trials of several machines are.
_FOUND: dict[str, tuple[type, bool]] = {
    "fingerprint": (str, False),
    "earlier": (list, False),
    "storage": (str, True),
    "artifacts": (str, True),
}
# Where the same search has the same data, but other paths; and what each machine has its own of.
_OF_MACHINE = frozenset({"data", "columns", "start_from", "lanes", "workers"})
# What a resumed search may change.
_OF_TIME = frozenset({"trials", "time"})
# Settings that searches which earlier versions began do not have: they had the defaults.
_LATER = ("sep", "decimal", "columns", "order", "start_from", "retrain", "workers")


_NONE: dict[str, Any] = {"earlier": [], "storage": None, "artifacts": None}


@dataclasses.dataclass(frozen=True)
class Shared:
    """Where the trials of several machines are.

    Attributes:
        storage: the URL of a database, or the path of a file; None for a file of this machine.
        artifacts: the folder, or the object store, of what an ensemble needs; None for the folder
            of the search.
        study_name: the name of the study; None for that of this machine.
    """

    storage: str | None = None
    artifacts: str | None = None
    study_name: str | None = None

    @classmethod
    def of(cls, storage: str | None, artifacts: str | None, folder: str) -> Shared:
        """What is given to the command, with absolute paths.

        Raises:
            ValueError: if the artifacts of several machines have no place.
        """
        if storage is not None and artifacts is None:
            raise ValueError(
                "--storage needs --artifacts: a folder or an object store that all machines reach, "
                "such as s3://bucket/search"
            )
        name = None if storage is None else os.path.basename(os.path.abspath(folder))
        return cls(_absolute(storage), _absolute(artifacts), name)

    def told(self) -> dict[str, str | None]:
        """The places as a record has them, without passwords."""
        return {
            "storage": None if self.storage is None else without_password(self.storage),
            "artifacts": None if self.artifacts is None else without_password(self.artifacts),
        }

    def check_resumed(self, record: Mapping[str, Any]) -> None:
        """Refuses other places than those that a search began with.

        Raises:
            ValueError: if they are others.
        """
        for name, value in self.told().items():
            if value != record[name]:
                given, begun = (
                    f"--{name}={one}" if one is not None else f"no --{name}"
                    for one in (value, record[name])
                )
                raise ValueError(
                    f"--resume needs the places of the search, which was begun with {begun}. "
                    f"Received: {given}"
                )


def _absolute(place: str | None) -> str | None:
    return place if place is None or "://" in place else os.path.abspath(place)


def differences(mine: Mapping[str, Any], first: Mapping[str, Any], resumed: bool) -> list[str]:
    """What differs between a search and the one that another machine has begun, in words.

    Args:
        mine: the record of the search.
        first: that of the first machine.
        resumed: whether the search goes on, perhaps for longer.
    """
    if mine["fingerprint"] != first["fingerprint"]:
        return [f"the data of {mine['data']!r} are others"]
    left_out = _OF_MACHINE | (_OF_TIME if resumed else frozenset())
    names = [field.name for field in dataclasses.fields(SearchSettings)]
    names = [*(name for name in names if name not in left_out), "artifacts"]
    found = [
        f"--{name}={_plain(mine[name])} here and {_plain(first[name])} there"
        for name in names
        if _plain(mine[name]) != _plain(first[name])
    ]
    if mine["earlier"] != first["earlier"]:
        found.append("--start_from has other settings")
    return found


def _plain(value: Any) -> Any:
    return ",".join(value) if isinstance(value, (list, tuple)) else value


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A Ray cluster, whose actors search.

    Attributes:
        address: its address, `"auto"` or `"local"`.
        workers: how many actors there are to be; None for as many as there is place for.
    """

    address: str
    workers: int | None

    @classmethod
    def of(cls, address: str | None, workers: int | None) -> Cluster | None:
        """What is given to the command; None where it is no cluster.

        Raises:
            ValueError: if the address is empty, or Ray is missing.
        """
        if address is None:
            return None
        if not address:
            raise ValueError("--ray must be auto, local or the address of a cluster; it is empty")
        if importlib.util.find_spec("ray") is None:
            raise ValueError("--ray needs Ray: pip install 'kerasreg[ray]'")
        return cls(address, workers)


def most_trials(settings: Mapping[str, Any]) -> int | None:
    """How many trials a search has at most; None where its time or its tuner is the limit.

    Args:
        settings: the settings of a search, by name.
    """
    if settings.get("tuner") == "hyperband":
        return None
    without = None if settings.get("time") is not None else _TRIALS
    return settings.get("trials") or without


def settings_of(record: Mapping[str, Any]) -> SearchSettings:
    """The settings that are in a record."""
    names = [field.name for field in dataclasses.fields(SearchSettings)]
    given = {name: record[name] for name in names}
    return SearchSettings(**{**given, "drop": tuple(given["drop"])})


def table_of(settings: SearchSettings) -> Any:
    """Loads the data of a search.

    Raises:
        ValueError: if anything in the data cannot be used.
    """
    from kerasreg.cli import _data

    return _data.load_table(
        settings.data,
        settings.target,
        settings.task,
        settings.drop,
        settings.sep,
        settings.decimal,
        columns=settings.columns,
        groups=settings.groups,
        order=settings.order,
    )


def check_workers(settings: SearchSettings) -> None:
    """Refuses what workers cannot do together.

    Raises:
        ValueError: if the algorithm needs one process, there are replicas, or Optuna is missing.
    """
    if settings.workers is None:
        return
    if settings.tuner not in SAMPLERS:
        raise ValueError(
            f"--tuner={settings.tuner} is for one process: with --workers it must be one of "
            f"{', '.join(SAMPLERS)}"
        )
    if importlib.util.find_spec("optuna") is None:
        raise ValueError("--workers needs Optuna: pip install 'kerasreg[optuna]'")
    if settings.replicas > 1:
        raise ValueError(
            f"--replicas={settings.replicas} must be 1 with --workers, which train lanes"
        )


def read_record(folder: str) -> dict[str, Any] | None:
    """The record of the search in a folder, or None where there is none.

    Raises:
        ValueError: if the record cannot be read.
    """
    path = os.path.join(folder, "job.json")
    if not os.path.exists(path):
        return None
    try:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
        if "trials" in record and "folds" not in record:
            raise ValueError("an earlier version of kerasreg began it, and can go on with it")
        defaults = {one.name: one.default for one in dataclasses.fields(SearchSettings)}
        record = {**{name: defaults[name] for name in _LATER}, **_NONE, **record}
        for name, (kind, may_be_none) in (kinds(SearchSettings) | _FOUND).items():
            if kind is tuple:  # Which JSON has as a list.
                record[name] = tuple(record[name])
            if not (isinstance(record[name], kind) or (may_be_none and record[name] is None)):
                raise TypeError(f"{name} is {record[name]!r}")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path!r} is not the record of a search: {error}") from error
    return record


def check_record(
    folder: str, settings: SearchSettings, fixed: Iterable[str], resume: bool
) -> dict[str, Any] | None:
    """Checks that a search may begin, or go on, in a folder.

    Args:
        folder: where the search is, or is to be.
        settings: the settings that are wanted now.
        fixed: names of those that were given and must equal the record's.
        resume: whether a search is to go on.

    Returns:
        The record of the search that goes on; None for one that begins.

    Raises:
        ValueError: if there is a search and none may be, or the other way round,
            or it was begun with another setting.
    """
    record = read_record(folder)
    if not resume:
        if record is not None:
            raise ValueError(
                f"{folder!r} already holds a search; go on with it with --resume, or choose "
                "another --output_dir"
            )
        if os.path.isdir(folder) and os.listdir(folder):
            raise ValueError(f"--output_dir must be a new or an empty folder; {folder!r} is not")
        return None
    if record is None:
        raise ValueError(f"--resume needs a search in --output_dir; there is none in {folder!r}")
    if settings.workers is not None and record["workers"] is None:
        raise ValueError(
            f"--workers={settings.workers} needs a search that was begun with --workers; the one "
            f"in {folder!r} has its trials in KerasTuner's files, and goes on in one process"
        )
    for name in sorted(fixed):
        wanted = getattr(settings, name)
        if wanted != record[name]:
            raise ValueError(
                f"--{name}={wanted} differs from the search in {folder!r}, which was "
                f"begun with --{name}={record[name]}"
            )
    return record
