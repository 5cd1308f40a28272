"""Checkpoints of trials that train as lanes, from which another process goes on.

A process has at most one, of all trials that train at the time, in a file of its own beside the
trials. It is replaced at the end of an epoch, and deleted when the trials have ended.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import keras

from kerasreg._durations import check_duration
from kerasreg._files import write_bytes
from kerasreg._version import __version__
from kerasreg._warnings import warn
from kerasreg.tuners._packed import pack, unpack
from kerasreg.tuners._sparing import Sparing

_FOLDER = "checkpoints"
# They cost at most this part of the time of a search, and are so many seconds apart.
_PART, _LEAST = 0.01, 10.0
# What a process has begun to write, and left so long ago, it will not write to its end.
_SECONDS_LEFT_OVER = 600.0
# Of a change of these the values may mean something else.
_FORMAT = 1


def check_every(value: Any) -> float | str | None:
    """The argument `checkpoint_every`: `"auto"`, None, or seconds.

    Raises:
        ValueError: if it is none of these.
    """
    if value is None or (isinstance(value, str) and value == "auto"):
        return value
    try:
        return check_duration("checkpoint_every", value)
    except ValueError as error:
        raise ValueError(f'{error}. "auto" and None are accepted too') from error


def _made_by() -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "kerasreg": __version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
    }


class Checkpoints:
    """The checkpoints in the folder of a project.

    Args:
        folder: the folder of the project.
        every: as `check_every` returns it.
        has_ended: says by its id whether a trial has ended.
        alone: whether no other process searches in the folder.
    """

    def __init__(
        self,
        folder: str,
        every: float | str | None,
        has_ended: Callable[[str], bool],
        alone: bool,
    ) -> None:
        self._folder = os.path.join(folder, _FOLDER)
        self._every, self._has_ended, self._alone = every, has_ended, alone
        self._path = os.path.join(self._folder, f"checkpoint-{uuid.uuid4().hex[:16]}.npz")
        least = _LEAST if every is None or isinstance(every, str) else every
        self._sparing = Sparing(_PART, least=least) if every == "auto" else _Every(least)
        self._told: set[str] = set()
        self._mine: set[str] = set()  # The trials in the file of this process.
        # The trials in other files, when these were written, and which version of them that was.
        self._trials: dict[str, tuple[float, set[str], Any]] = {}
        self._last: tuple[str, Any] | None = None  # The last file that was read.

    @property
    def wanted(self) -> bool:
        """Whether there are checkpoints at all."""
        return self._every is not None

    @property
    def due(self) -> bool:
        """Whether one may be written now."""
        return self.wanted and self._sparing.due

    @property
    def trial_ids(self) -> frozenset[str]:
        """The trials that the checkpoint of this process has."""
        return frozenset(self._mine)

    def spending(self) -> AbstractContextManager[None]:
        """What a checkpoint costs is done within."""
        return self._sparing.spending()

    def write(self, records: Mapping[str, Any]) -> None:
        """Replaces the checkpoint of this process. A disk that is full is no end of the search.

        Args:
            records: what there is to know of each trial that trains, by its id.
        """
        if not records:
            self.remove()
            return
        content = pack({**_made_by(), "time": time.time(), "trials": dict(records)})
        try:
            os.makedirs(self._folder, exist_ok=True)
            free = shutil.disk_usage(self._folder).free
            if free < 2 * len(content):  # The results of trials need some of it.
                raise OSError(f"it has {len(content)} bytes, and the disk {free} left")
            write_bytes(self._path, content)
        except OSError as error:
            self._tell_once(f"No checkpoint could be written to {self._folder!r}", error)
            return
        self._mine = set(records)
        self._clear()

    def remove(self) -> None:
        """Deletes the checkpoint of this process, whose trials have ended."""
        if self._mine:
            self._mine = set()
            _delete(self._path)
        self._clear()

    def find(self, trial_id: str) -> Any:
        """What the newest checkpoint has of a trial; None if none has it."""
        best: tuple[float, Any] | None = None
        for path in self._paths():
            known = self._trials.get(path)
            if known is not None and trial_id not in known[1] and known[2] == _version(path):
                continue
            if self._last is None or self._last[0] != path:
                self._last = path, self._read(path)
            found = self._last[1]
            if found is None or trial_id not in found["trials"]:
                continue
            if best is None or found["time"] > best[0]:
                best = found["time"], found["trials"][trial_id]
        return None if best is None else best[1]

    def forget(self) -> None:
        """Holds no more what was read."""
        self._last = None

    def close(self) -> None:
        """Deletes what is of no use when a search has no trials left."""
        for path in self._paths():
            if not self._alone and path not in self._trials:
                self._read(path)
        self._clear()
        if self._alone:
            for path in self._paths():
                _delete(path)
        if os.path.isdir(self._folder) and not os.listdir(self._folder):
            os.rmdir(self._folder)

    def begin(self) -> None:
        """Deletes what processes that were killed have begun to write."""
        if not os.path.isdir(self._folder):
            return
        for name in os.listdir(self._folder):
            path = os.path.join(self._folder, name)
            if name.startswith(".checkpoint-") and (
                self._alone or time.time() - _modified(path) > _SECONDS_LEFT_OVER
            ):
                _delete(path)

    def _read(self, path: str) -> Any:
        """What is in a file; None if it cannot be used, which is told once."""
        version = _version(path)
        try:
            with open(path, "rb") as file:
                found = unpack(file.read())
            made_by = {name: found[name] for name in _made_by()}
            trials, _ = set(found["trials"]), float(found["time"])
        except FileNotFoundError:  # Its process has gone on, or ended.
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._tell_once(
                f"The checkpoint {path!r} cannot be read, and the trials that it had begin again",
                error,
            )
            return None
        if made_by != _made_by():
            there = ", ".join(f"{name} {made_by[name]}" for name in made_by if name != "format")
            self._tell_once(
                f"The checkpoint {path!r} is of another version, and the {len(trials)} trials that "
                "it has begin again",
                there,
            )
            return None
        self._trials[path] = float(found["time"]), trials, version
        return found

    def _clear(self) -> None:
        """Deletes files of which each trial has ended, or is in a newer one."""
        # Another process may have replaced its file since.
        self._trials = {path: of for path, of in self._trials.items() if of[2] == _version(path)}
        for path, (of, trials, _) in list(self._trials.items()):
            newer = set(self._mine)
            for other, (time_of_other, theirs, _) in self._trials.items():
                newer |= theirs if other != path and time_of_other > of else set()
            if all(one in newer or self._has_ended(one) for one in trials):
                _delete(path)
                del self._trials[path]

    def _paths(self) -> list[str]:
        """The files of other processes."""
        if not os.path.isdir(self._folder):
            return []
        names = [one for one in os.listdir(self._folder) if one.startswith("checkpoint-")]
        paths = [os.path.join(self._folder, name) for name in names if name.endswith(".npz")]
        return sorted(path for path in paths if path != self._path)

    def _tell_once(self, what: str, why: object) -> None:
        if what not in self._told:
            self._told.add(what)
            warn(f"{what}: {why}")


class _Every(Sparing):
    """Work that is due so many seconds after the last time, whatever it costs."""

    def __init__(self, seconds: float) -> None:
        super().__init__(1.0, first=0.0, least=seconds)

    @property
    def due(self) -> bool:
        return self._clock() - self._last >= self._least


def differing(trial: Any, record: Mapping[str, Any]) -> str | None:
    """In what a trial differs from the one that a checkpoint has; None if in nothing.

    Args:
        trial: the trial, with the hyperparameters that its build has declared.
        record: what the checkpoint has of it.
    """
    now, then = trial.hyperparameters.values, record["values"]
    names = [name for name in now if name in then and now[name] != then[name]]
    names += sorted((set(then) - set(now)) | (set(now) - set(then)))
    return f"its hyperparameters {', '.join(map(repr, names))} differ" if names else None


def _version(path: str) -> Any:
    """What differs when a file was replaced."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _modified(path: str) -> float:
    try:
        return os.path.getmtime(path)
    except OSError:
        return time.time()


def _delete(path: str) -> None:
    try:
        os.remove(path)
    except OSError:  # Gone, or another process holds it: it does no harm.
        return
