"""One line: how many trials are done, the best so far, the time left, what is in training."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import keras_tuner

from kerasreg._durations import duration
from kerasreg._time_left import TimeLeft, left_words
from kerasreg.reports import SearchReport
from kerasreg.tuners import completed_trials, expected_trials, trials_left


def reporting(
    tuner: Any,
    write: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
    limit: float | None = None,
) -> Any:
    """Makes of a class of tuners one that writes a line after each trial.

    Args:
        tuner: a class of KerasTuner, or one made of it.
        write: what takes a line.
        clock: what gives the time in seconds.
        limit: the search ends after so many seconds at the latest.
    """

    class Reporting(tuner):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._lines = TrialLines(self, write, clock, limit)

        def on_trial_end(self, trial: Any) -> None:
            super().on_trial_end(trial)
            done, running = len(self.oracle.end_order), len(self.oracle.ongoing_trials)
            line = self._lines.line(trial, done, running)
            # A line that says that a trial is done is true also if the process is killed then.
            when_written = getattr(self, "when_written", lambda call: call())
            when_written(lambda: write(line))

    return Reporting


class TrialLines:
    """The lines of the trials of a search, one for each that has ended.

    Args:
        tuner: the tuner.
        write: what takes a line.
        clock: what gives the time in seconds.
        limit: the search ends after so many seconds at the latest.
    """

    def __init__(
        self,
        tuner: Any,
        write: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        limit: float | None = None,
    ) -> None:
        self._tuner, self._write, self._clock, self._limit = tuner, write, clock, limit
        self._begun = clock()
        self._left = TimeLeft(self._begun)
        self._total = expected_trials(tuner)
        self._done = len(tuner.oracle.end_order)

    def line(self, trial: Any, done: int, running: int) -> str:
        """The line of a trial that has ended.

        Args:
            trial: the trial.
            done: how many have ended.
            running: how many run.
        """
        now = self._clock()
        self._left.ended(now)
        elapsed = now - self._begun
        until = None if self._limit is None else self._limit - elapsed
        left = left_words(self._left.left(now, trials_left(self._tuner), running, until))
        return progress_line(self._tuner, trial, done, self._total, elapsed, left)

    def ended(self, trial: Any) -> None:
        """Writes the line of a trial that another process has ended."""
        self._done += 1
        oracle = self._tuner.oracle
        running = len(oracle.trials) - len(oracle.end_order)
        self._write(self.line(trial, self._done, running))


def progress_line(
    tuner: keras_tuner.Tuner,
    trial: Any,
    done: int,
    total: int | None,
    elapsed: float,
    left: str = "",
) -> str:
    """The line after one trial.

    Args:
        tuner: the tuner.
        trial: the trial that has ended.
        done: how many have ended.
        total: how many there will be, or None.
        elapsed: the seconds since the beginning.
        left: the time left in words, or nothing.
    """
    name = tuner.oracle.objective.name
    ended = tuner.oracle.get_trial(trial.trial_id)
    # The count is not the name, which begins at 0.
    result = (
        f"{name} {ended.score:.4f} ({trial.trial_id})" if ended.status == "COMPLETED" else "failed"
    )
    best = completed_trials(tuner)
    so_far = f"best {best[0].score:.4f} ({best[0].trial_id})" if best else "none completed"
    line = f"trial {_of_all(done, total)}: {result}, {so_far}, {duration(elapsed)} elapsed"
    return f"{line}, {left}" if left and done != total else line


def training_line(report: SearchReport, elapsed: float) -> str | None:
    """The line between the ends of trials, which those that train together reach together.

    Args:
        report: of the search that runs.
        elapsed: the seconds since the beginning.

    Returns:
        The line; None if nothing is in training.
    """
    progress = report.progress
    if progress is None or not progress["running"]:
        return None
    done = _of_all(progress["ended"], progress["expected"])
    return f"trial {done}: {progress['running']} in training, {duration(elapsed)} elapsed"


def _of_all(done: int, total: int | None) -> str:
    """How many trials have ended, of how many if that is known."""
    return f"{done}" if total is None else f"{done}/{total}"


class OneLine:
    """Takes lines of progress: on a terminal each over the one before, elsewhere each for good.

    Args:
        write: what takes a line for good.
        stream: where the lines of a terminal are written; standard output by default.
    """

    def __init__(self, write: Callable[[str], None], stream: TextIO | None = None) -> None:
        self._write, self._stream = write, sys.stdout if stream is None else stream
        self._terminal = bool(getattr(self._stream, "isatty", lambda: False)())
        self._width = 0

    def __call__(self, line: str) -> None:
        """Shows a line."""
        if not self._terminal:
            self._write(line)
            return
        # A line that is wider would begin another one, which none writes over.
        columns = shutil.get_terminal_size().columns - 1
        if len(line) > columns > 1:
            line = line[: columns - 1] + "\u2026"
        self._stream.write("\r" + line.ljust(self._width))
        self._stream.flush()
        self._width = len(line)

    def passing(self, line: str) -> None:
        """Shows a line until the next one; elsewhere than on a terminal, nowhere."""
        if self._terminal:
            self(line)

    def close(self) -> None:
        """The last line stays."""
        if self._width:
            self._stream.write("\n")
            self._stream.flush()
            self._width = 0
