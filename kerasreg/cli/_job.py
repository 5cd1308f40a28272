"""The main job: search, here or by workers, and end the search."""

from __future__ import annotations

import dataclasses
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras

from kerasreg import tuners
from kerasreg._durations import check_duration
from kerasreg._files import write_json
from kerasreg._version import __version__
from kerasreg.cli._command import InterruptionError, note
from kerasreg.cli._data import Table
from kerasreg.cli._ending import Ending
from kerasreg.cli._found import give, take
from kerasreg.cli._progress import TrialLines, training_line
from kerasreg.cli._record import Cluster, SearchSettings, Shared, differences
from kerasreg.cli._search_report import while_running, write_report
from kerasreg.cli._task import SearchTask
from kerasreg.cli._worker_actors import Actors, connected
from kerasreg.cli._worker_processes import Processes
from kerasreg.cli._workers import Workers
from kerasreg.reports import SearchReport

_SEARCH = "the search"
# So long a process that is told to end has to say so in the study.
_SECONDS_TO_LEAVE = 10.0


class SearchJob:
    """One search in one folder.

    The folder holds `job.json` (settings and fingerprint of the data), `search/`
    (KerasTuner's project), and in the end `report.json`, `results.csv`, `ensemble.keras`,
    `model/<version>/`, and `report.html`, `report.md` and `search_report.json`, to look at.

    Args:
        settings: what to do.
        table: the data.
        folder: the folder; made when missing.
        write: what takes a line of output.
        earlier: settings of an earlier search, to be tried first.
        shared: where the trials of several machines are.
        cluster: the Ray cluster that searches; None for processes of this machine.
        resumed: whether a search goes on.

    Raises:
        ValueError: if a setting cannot be, or the table cannot be divided.

    Attributes:
        follows: whether it looks on while workers search.
    """

    def __init__(
        self,
        settings: SearchSettings,
        table: Table,
        folder: str,
        write: Callable[[str], None],
        earlier: Sequence[dict[str, Any]] = (),
        shared: Shared | None = None,
        cluster: Cluster | None = None,
        resumed: bool = False,
    ) -> None:
        self.shared, self.cluster, self.resumed = shared or Shared(), cluster, resumed
        self.settings, self.table, self.folder, self.write = settings, table, folder, write
        self.follows = False
        self._workers: Workers | None = None
        self._oracle: tuners.StudyOracle | None = None
        self._ray: Any = None
        self._tuner: Any = None  # Which goes through the search in this process.
        self.task = SearchTask(settings, table, folder, write, earlier)

    @property
    def record(self) -> dict[str, Any]:
        """The settings, and what was found of the data."""
        found = {"fingerprint": self.table.fingerprint(), "earlier": self.task.earlier}
        return {**dataclasses.asdict(self.settings), **found, **self.shared.told()}

    def join(self) -> None:
        """Looks, before anything is written, whether this is the search of the other machines.

        Raises:
            ValueError: if it is another one, or what all share cannot be reached or written.
        """
        shared = self.shared
        if self.cluster is not None:
            self._ray = connected(self.cluster.address)
        try:
            if shared.artifacts is not None:
                tuners.check_artifacts(shared.artifacts)
            if shared.storage is None:
                return
            oracle = self.task.oracle(shared)
            first = oracle.first("search", {**self.record, "versions": _versions()})
        except (ImportError, RuntimeError) as error:
            raise ValueError(str(error)) from error
        found = differences(self.record, first, self.resumed)
        if found:
            raise ValueError(
                f"--storage has the study {shared.study_name!r} of another search: "
                f"{'; '.join(found)}. Another --output_dir is another study"
            )
        for name, version in _versions().items():
            if version != first["versions"].get(name):
                note(
                    f"{name} is {version} here, and {first['versions'].get(name)} where the search "
                    "began: trials may have other results"
                )

    def run(self) -> dict[str, Any] | None:
        """Does all of it; returns the report, or None if another machine has it.

        Raises:
            kerasreg.tuners.SearchFailedError: if no trial completed.
            RuntimeError: if the exported model does not do what Keras does.
        """
        task, settings, record = self.task, self.settings, self.record
        write_json(os.path.join(self.folder, "job.json"), record)
        for line in task.told():
            self.write(line)
        # Trials that train together end together: until then there is nothing else to see.
        page = os.path.join(self.folder, "report.html")
        self.write(f"meanwhile {page} shows how far the search is: load it again")
        described = self.table.described()  # Which takes a hash of the data.
        begun = time.monotonic()

        def renew(report: SearchReport) -> None:
            training = training_line(report, time.monotonic() - begun)
            if training is not None:
                task.line.passing(training)
            now = while_running(report, record, self.table.name, described)
            write_report(now, self.folder)

        ending = Ending(task, record, described)
        task.phase = _SEARCH
        if settings.workers is None:
            tuner = task.tuner(task.hypermodel(True, settings.replicas), task.strategy)
            self._tuner = tuner
            task.search(tuner, settings.time, renew)
            return ending.run(tuner)
        tuner = task.study_tuner(settings.workers, self.shared)
        self._oracle = tuner.oracle
        tuner.oracle.refresh()
        was_over = tuner.oracle.is_over
        self.follows = True
        if not was_over:
            self._start(tuner, record)
        self._follow(tuner, renew)
        self.follows = False
        # A search that had ended, and is to go on, has no other machine to leave its end to.
        if self.shared.storage is None or (was_over and self.resumed):
            return ending.run(tuner)
        return self._end_once(tuner, ending)

    def _start(self, tuner: Any, record: dict[str, Any]) -> None:
        """Starts the workers of this machine, or of the cluster."""
        left, shared = self._time_left(tuner.oracle), dataclasses.asdict(self.shared)
        folder, count = self.folder, self.settings.workers or 1
        if self.cluster is None:
            processes = Processes(folder, record, count, left, _gpus(), shared)
            self._workers = Workers(processes.start, lambda: count, left, self.note)
        else:
            actors = Actors(self._ray, self.cluster, folder, record, self.table, left, shared)
            self._workers = Workers(actors.start, actors.count, left, self.note, actors.close)
        self._workers.start()

    def _time_left(self, oracle: tuners.StudyOracle) -> Callable[[], float | None]:
        """Tells the seconds that are left: of the time that began on the first machine."""
        if self.settings.time is None:
            return lambda: None
        limit = check_duration("time", self.settings.time)
        if self.shared.storage is None or self.resumed:
            end = time.monotonic() + limit
            return lambda: end - time.monotonic()
        deadline = oracle.first("deadline", time.time() + limit)
        return lambda: deadline - time.time()

    def _follow(self, tuner: Any, renew: Callable[[SearchReport], None]) -> None:
        """Looks on while workers search, here and elsewhere.

        Raises:
            RuntimeError: if workers have failed before all trials had ended.
            InterruptionError: if they were told to end before.
        """
        settings, workers = self.settings, self._workers
        limit = None if settings.time is None else check_duration("time", settings.time)
        lines = TrialLines(tuner, self.task.line, limit=limit)
        differing: set[str] = set()

        def look() -> bool:
            for machine, seconds in tuner.oracle.clocks.items():
                if abs(seconds) > tuner.oracle.worker_timeout and machine not in differing:
                    differing.add(machine)
                    self.note(
                        f"the clock of {machine} differs by {abs(seconds):.0f} s from the one "
                        "here; --time ends there as much earlier or later"
                    )
            return workers is not None and workers.look()

        def ended(trial: Any) -> None:
            if workers is not None:
                workers.trial_ended()
            lines.ended(trial)

        try:
            self.task.follow(tuner, look, ended, renew)
        except tuners.SearchFailedError:
            _check_ended(workers)  # Which knows better why.
            raise
        finally:
            if workers is not None and tuner.oracle.is_over:
                workers.wait()
            if workers is not None:
                workers.stop()
        if not tuner.oracle.is_over:
            _check_ended(workers)

    def _end_once(self, tuner: Any, ending: Ending) -> dict[str, Any] | None:
        """Ends the search, if no other machine does."""
        report: dict[str, Any] = {}
        host, folder = socket.gethostname(), os.path.abspath(self.folder)

        def end() -> dict[str, Any]:
            report.update(ending.run(tuner))
            shared = give(tuner, self.folder, report["saved_model"])
            return {"host": host, "folder": folder, "shared": shared}

        about = f"end of {len(tuner.oracle.end_order)} trials"
        waits = "waits for the end of the search, which another machine makes"
        mine, found = tuner.oracle.once(about, end, lambda: self.write(waits))
        if mine:
            return report
        take(tuner, found["shared"], self.folder)
        self.write(
            f"the search has ended: {found['host']} has made the ensemble in {found['folder']}; "
            f"a copy is in {self.folder}"
        )
        return None

    def note(self, line: str) -> None:
        """Prints what the user has to know of the workers, after the line of progress."""
        self.task.line.close()
        note(line)

    def stop_search(self) -> bool:
        """Asks what trains in this process to stop; returns whether something does."""
        return self.task.stop()

    def stands(self, stopped: tuners.SearchStopped) -> str:
        """Where the command is when what has trained in this process was stopped, in words."""
        parts = [self.task.phase]
        if self.task.phase == _SEARCH:
            total, ended = tuners.expected_trials(self._tuner), self._tuner.oracle.end_order
            of_all = "" if total is None else f" of {total}"
            parts.append(f"after {len(ended)}{of_all} trials")
        for trial_ids, of_one, of_several in (
            (stopped.kept, "goes on from a checkpoint", "go on from a checkpoint"),
            (stopped.again, "begins anew", "begin anew"),
        ):
            if trial_ids:
                count = len(trial_ids)
                parts.append(f"{count} {of_one if count == 1 else of_several}")
        return ", ".join(parts)

    def stop(self) -> None:
        """Lets the workers hand their trials back, and end; leaves what is done once to others."""
        if self._workers is not None:
            self._workers.stop()
        if self._oracle is not None:
            # Beside the thread that a signal has interrupted, perhaps in a transaction.
            leaving = threading.Thread(target=self._oracle.hand_back, daemon=True)
            leaving.start()
            leaving.join(_SECONDS_TO_LEAVE)


def _versions() -> dict[str, str]:
    """The versions on which the results of trials depend."""
    import tensorflow as tf

    return {"kerasreg": __version__, "keras": keras.__version__, "tensorflow": tf.__version__}


def _check_ended(workers: Workers | None) -> None:
    """Raises an error if workers have left trials that were not to be left."""
    if workers is None:
        return
    if workers.failures:
        raise RuntimeError(f"{workers.failures[-1]}; go on with --resume")
    if workers.interrupted:
        raise InterruptionError("the workers were told to end; continue with --resume")


def _gpus() -> list[str]:
    """The GPUs of this machine, as CUDA names them."""
    import tensorflow as tf

    there = len(tf.config.list_physical_devices("GPU"))
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return given.split(",")[:there] if given else [str(number) for number in range(there)]
