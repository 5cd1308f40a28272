"""The main job: search, choose an ensemble, report, export, verify."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from kerasreg import tuners
from kerasreg._durations import check_duration
from kerasreg._files import write_json
from kerasreg.cli._command import InterruptionError, note
from kerasreg.cli._data import Table
from kerasreg.cli._ending import Ending
from kerasreg.cli._progress import TrialLines
from kerasreg.cli._record import SearchSettings
from kerasreg.cli._search_report import while_running, write_report
from kerasreg.cli._task import SearchTask
from kerasreg.cli._workers import Workers
from kerasreg.reports import SearchReport


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

    Raises:
        ValueError: if a setting cannot be, or the table cannot be divided.
    """

    def __init__(
        self,
        settings: SearchSettings,
        table: Table,
        folder: str,
        write: Callable[[str], None],
        earlier: Sequence[dict[str, Any]] = (),
    ) -> None:
        self.settings, self.table, self.folder, self.write = settings, table, folder, write
        self._workers: Workers | None = None
        self.task = SearchTask(settings, table, folder, write, earlier)

    def run(self) -> dict[str, Any]:
        """Does all of it; returns the report.

        Raises:
            kerasreg.tuners.SearchFailedError: if no trial completed.
            RuntimeError: if the exported model does not do what Keras does.
        """
        task, settings = self.task, self.settings
        found = {"fingerprint": self.table.fingerprint(), "earlier": task.earlier}
        record = {**dataclasses.asdict(settings), **found}
        write_json(os.path.join(self.folder, "job.json"), record)
        for line in task.told():
            self.write(line)
        described = self.table.described()  # Which takes a hash of the data.

        def renew(report: SearchReport) -> None:
            now = while_running(report, record, self.table.name, described)
            write_report(now, self.folder)

        if settings.workers is None:
            tuner = task.tuner(task.hypermodel(True, settings.replicas), task.strategy)
            task.search(tuner, settings.time, renew)
        else:
            tuner = self._search_by_workers(record, renew)
        return Ending(task, record, described).run(tuner)

    def _search_by_workers(
        self, record: dict[str, Any], renew: Callable[[SearchReport], None]
    ) -> Any:
        """Lets processes search, and looks on; returns the tuner that knows what they found.

        Raises:
            RuntimeError: if workers have failed before all trials had ended.
        """
        task, settings = self.task, self.settings
        limit = None if settings.time is None else check_duration("time", settings.time)
        begun = time.monotonic()
        count = settings.workers or 1
        tuner = task.study_tuner(count)
        lines = TrialLines(tuner, task.line, limit=limit)
        workers = Workers(
            self.folder,
            record,
            count,
            lambda: None if limit is None else limit - (time.monotonic() - begun),
            self.note,
            _gpus(),
        )
        self._workers = workers

        def ended(trial: Any) -> None:
            workers.trial_ended()
            lines.ended(trial)

        tuner.oracle.refresh()
        if not tuner.oracle.is_over:
            workers.start()
        try:
            task.follow(tuner, workers.look, ended, renew)
        except tuners.SearchFailedError:
            _check_ended(workers)  # Which knows better why.
            raise
        finally:
            if tuner.oracle.is_over:
                workers.wait()
            workers.stop()
        if not tuner.oracle.is_over:
            _check_ended(workers)
        return tuner

    def note(self, line: str) -> None:
        """Prints what the user has to know of the workers, after the line of progress."""
        self.task.line.close()
        note(line)

    def stop(self) -> None:
        """Lets the workers hand their trials back, and end."""
        if self._workers is not None:
            self._workers.stop()


def _check_ended(workers: Workers) -> None:
    """Raises an error if workers have left trials that were not to be left."""
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
