"""The report of a search, renewed while the search runs."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from kerasreg._warnings import warn
from kerasreg.reports import SearchReport, check_path
from kerasreg.tuners._sparing import Sparing

# What is kept beside trials, and the report, cost at most this part of the time of a search.
_PART = 0.01


def check_targets(report: Any) -> list[Any]:
    """The files that a report is written to, or functions that take it.

    Args:
        report: a path, a function, or several of these; None for nothing.

    Raises:
        ValueError: if it is something else, or a file has another ending.
    """
    if report is None:
        return []
    alone = isinstance(report, (str, os.PathLike)) or callable(report)
    targets = [report] if alone or not isinstance(report, Iterable) else list(report)
    for target in targets:
        if isinstance(target, (str, os.PathLike)):
            check_path(target)
        elif not callable(target):
            raise ValueError(
                "`report` must be a .html, .json or .md file, a function that takes a "
                f"`SearchReport`, or a list of these. Received: report={report!r}"
            )
    return targets


class Stage:
    """How far a search is.

    Args:
        state: `"running"`, `"finished"`, or `"stopped"` before it was that.
        running: how many trials are in training.

    Attributes:
        time: when that was so, in UTC.
    """

    def __init__(self, state: str, running: int = 0) -> None:
        self.state, self.running = state, running
        self.time = datetime.datetime.now(datetime.UTC)


class Renewal:
    """Keeps what a search knows on disk, and renews its report, while it runs.

    Both are done where the state of the search is whole: when an epoch, or trials, have ended. The
    state is kept where that has cost less than 1 % of the time so far, and so is the report. A
    report that cannot be made ends no search: a warning says why, and it is renewed no more.

    Args:
        targets: what `check_targets` returned.
        make: makes a report, given how far the search is.
        keep: writes what is known beside the trials.
        keeping: when that is due; by default as said above.
        renewing: when a new report is due, likewise.
    """

    def __init__(
        self,
        targets: Sequence[Any],
        make: Callable[[Stage], SearchReport],
        keep: Callable[[], None],
        keeping: Sparing | None = None,
        renewing: Sparing | None = None,
    ) -> None:
        self._targets, self._make, self._keep = list(targets), make, keep
        self._keeping = Sparing(_PART) if keeping is None else keeping
        self._renewing = Sparing(_PART) if renewing is None else renewing

    def look(self, running: int) -> None:
        """Does what is due.

        Args:
            running: how many trials are in training.
        """
        if self._keeping.due:
            with self._keeping.spending():
                self._keep()
        if self._targets and self._renewing.due:
            with self._renewing.spending():
                self._renew(Stage("running", running))

    def close(self, stage: Stage) -> None:
        """Keeps and renews for the last time.

        Args:
            stage: how the search has ended.
        """
        self._keep()
        if self._targets:
            self._renew(stage)

    def _renew(self, stage: Stage) -> None:
        try:
            report = self._make(stage)
            for target in self._targets:
                if callable(target):
                    target(report)
                else:
                    report.write(target)
        except Exception as error:
            # A picture of the search is no reason to lose the search.
            self._targets = []
            warn(f"The report is not renewed any more: {type(error).__name__}: {error}")
