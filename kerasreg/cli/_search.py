"""`kerasreg search`: an ensemble of networks for a table, exported as a SavedModel."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Set
from typing import TYPE_CHECKING, Any

from absl import logging

from kerasreg.cli._command import (
    Command,
    InterruptionError,
    UsageError,
    bad_input,
    check_writable,
    loading,
    note,
    write,
    writing,
)
from kerasreg.cli._interruption import Interruption
from kerasreg.cli._options import BUNDLED, option
from kerasreg.cli._record import (
    Cluster,
    SearchSettings,
    Shared,
    check_record,
    check_workers,
    most_trials,
    read_record,
    table_of,
)

if TYPE_CHECKING:
    from kerasreg.cli._job import SearchJob

# What a resumed search may change: everything else decides what it found so far.
_CHANGEABLE = frozenset({"trials", "time", "lanes", "workers"})
_GO_ON = "continue with --resume"
_SETTINGS = [field.name for field in dataclasses.fields(SearchSettings)]


@dataclasses.dataclass(frozen=True)
class SearchOptions(SearchSettings):
    """The settings of a search, and where it is."""

    storage: str | None = option(
        None,
        "Storage of Optuna that all machines of a search reach, such as "
        "postgresql://user:password@host/database: the same command on each of them takes part "
        "in the search. The study has the name of the folder. It needs --artifacts.",
    )
    artifacts: str | None = option(
        None,
        "A folder or an object store that all workers reach, for what the ensemble needs of each "
        "trial, such as s3://bucket/search, by fsspec. Without it the folder of the search.",
    )
    ray: str | None = option(
        None,
        "Search by actors of a Ray cluster, with a GPU each, or a core where there is no GPU: auto "
        "for the cluster of this machine, its address, or local for one that is made for the "
        "search. As many as there is place for, also on machines that join later, or --workers "
        "of them.",
    )
    output_dir: str = option("kerasreg_search", "Folder for all that is written.")
    resume: bool = option(False, "Continue the search in --output_dir.")


def _run(options: SearchOptions, given: Set[str], _: str | None) -> None:
    place = _Place(options.output_dir)
    with Interruption(place.stop, place.leave, place.line, place.follows) as interruption:
        _search(options, given, place, interruption)


class _Place:
    """Where the command is, for when it is told to end.

    Args:
        folder: the folder of the search.

    Attributes:
        job: the search, when it is there.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.job: SearchJob | None = None

    def stop(self) -> bool:
        return self.job is not None and self.job.stop_search()

    def leave(self) -> None:
        if self.job is not None:
            self.job.stop()

    def follows(self) -> bool:
        return self.job is not None and self.job.follows

    def line(self) -> str:
        """What is said where it ends at once."""
        if self.job is not None and self.job.task.phase:
            return f"interrupted in {self.job.task.phase}; {_GO_ON}"
        try:
            begun = read_record(self.folder) is not None
        except ValueError:  # It cannot be read, which the command says when it is run again.
            begun = True
        return f"interrupted before the search began; {_GO_ON if begun else 'start it again'}"


def _search(
    options: SearchOptions, given: Set[str], place: _Place, interruption: Interruption
) -> None:
    folder = options.output_dir
    _check_folder(folder)
    check_writable("--output_dir", folder)
    with bad_input():
        settings = SearchSettings(**{name: getattr(options, name) for name in _SETTINGS})
        shared = Shared.of(options.storage, options.artifacts, folder)
        cluster = Cluster.of(options.ray, options.workers)
        if settings.workers is None and (shared != Shared() or cluster is not None):
            settings = dataclasses.replace(settings, workers=1)
        if settings.data not in BUNDLED and os.path.exists(settings.data):
            # So that a search may be resumed from another folder.
            settings = dataclasses.replace(settings, data=os.path.abspath(settings.data))
        for name in ("columns", "start_from"):
            if (path := getattr(settings, name)) is not None:
                absolute: dict[str, Any] = {name: os.path.abspath(path)}
                settings = dataclasses.replace(settings, **absolute)
        fixed = (given & set(_SETTINGS)) - _CHANGEABLE
        resume = options.resume
        if shared.storage is not None:
            # The search is in the study: a machine that was started anew may have its folder, or
            # a new one.
            resume = read_record(folder) is not None
        record = check_record(folder, settings, fixed, resume)
        if record is not None:
            shared.check_resumed(record)
            recorded = {name: record[name] for name in _SETTINGS if name not in given}
            settings = dataclasses.replace(settings, **recorded)
        check_workers(settings)
        table = table_of(settings)
        if record is not None and record["fingerprint"] != table.fingerprint():
            raise ValueError(
                f"--resume needs the data that the search in {folder!r} began with; "
                f"{settings.data!r} has changed"
            )
        for line in table.notes:
            note(line)
        if table.reading is not None:
            write(f"{table.reading}\n")
        # Here, after the data has been read: this imports TensorFlow.
        with loading():
            from kerasreg.cli import _earlier, _job
            from kerasreg.tuners import SearchStopped
        earlier = record["earlier"] if record is not None else []
        if record is None and settings.start_from is not None:
            most = most_trials(dataclasses.asdict(settings))
            earlier = _earlier.earlier_settings(settings.start_from, most)
        job = _job.SearchJob(
            settings, table, folder, write, earlier, shared, cluster, resumed=options.resume
        )
        job.join()
    logging.set_verbosity(logging.WARNING)  # Keras' export logs each file.
    interruption.handle()  # Ray takes SIGTERM for itself.
    place.job = job
    try:
        # `SearchFailedError` is a `RuntimeError`.
        with writing(folder):
            job.run()
    except SearchStopped as stopped:
        job.stop()
        raise InterruptionError(f"interrupted in {job.stands(stopped)}; {_GO_ON}") from None


def _check_folder(folder: str) -> None:
    if not folder:
        raise UsageError("--output_dir must name a folder; it is empty")
    existing = os.path.abspath(folder)
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    if not os.path.isdir(existing):
        shown = folder if os.path.exists(folder) else existing
        raise UsageError(f"--output_dir must be a folder; {shown!r} is a file")


SEARCH = Command(
    name="search",
    summary=[
        "search dense networks for a table, compare their ensemble with the",
        "network without regularization and with other models, and export",
        "it as a SavedModel",
    ],
    purpose="find a network's regularization, training and shape for a table",
    examples=[
        "kerasreg search                                  # scikit-learn's digits",
        "kerasreg search --data=houses.csv --target=price --time=5m --trials=100",
        "kerasreg search --resume                         # go on after an interruption",
        "kerasreg search --workers=4 --trials=200         # four processes",
        "kerasreg search --ray=auto --trials=1000         # a Ray cluster",
        "kerasreg search --storage=postgresql://me:secret@host/db --artifacts=s3://bucket/found",
        "kerasreg search --data=sales.csv --target=sold --order=day --start_from=last_week",
    ],
    options=SearchOptions,
    run=_run,
)
