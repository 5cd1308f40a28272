"""The line that a search with lanes shows on the screen."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import keras_tuner

from kerasreg._durations import duration
from kerasreg._keras import keras_tuner_internals as internals

# Seconds between lines where a line cannot be written over.
_EVERY = 10.0


def expected_trials(tuner: keras_tuner.Tuner) -> int | None:
    """How many trials a search will run at most, those included that have ended.

    Args:
        tuner: a tuner of KerasTuner, or one made of it.

    Returns:
        The limit of the tuner; for Hyperband, the trials of all its brackets and rounds; None for
        a search without a limit.

    Example:

    >>> import keras_tuner, kerasreg, tempfile
    >>> tuner = keras_tuner.RandomSearch(
    ...     lambda hp: None, "val_loss", max_trials=7, directory=tempfile.mkdtemp()
    ... )
    >>> kerasreg.tuners.expected_trials(tuner)
    7
    """
    oracle = tuner.oracle
    if isinstance(oracle, keras_tuner.oracles.HyperbandOracle):
        return internals.hyperband_trials(oracle)
    return oracle.max_trials


class Progress:
    """One line: lanes that run, trials that ended, the best so far, the rate, the time left.

    On a terminal the line is written over after each epoch; elsewhere (a notebook,
    a pipe, CI) there is a new one every ten seconds at most, and one at the end.

    Args:
        tuner: the tuner.
        quiet: write nothing.
        stream: where to write, standard output by default.
        clock: gives the time in seconds.
    """

    def __init__(
        self,
        tuner: Any,
        quiet: bool = False,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tuner = tuner
        self.quiet = quiet
        self.stream = sys.stdout if stream is None else stream
        self.clock = clock
        self.running = 0
        self.stopped = 0
        self._begun = self._last = clock()
        self._before = len(tuner.oracle.end_order)
        self._width = 0
        self._terminal = bool(getattr(self.stream, "isatty", lambda: False)())

    def update(self, running: int, last: bool = False) -> None:
        """Shows the present state, if it is time.

        Args:
            running: how many lanes train.
            last: nothing follows: the line stays.
        """
        self.running = running
        now = self.clock()
        if self.quiet or not (self._terminal or last or now - self._last >= _EVERY):
            return
        self._last = now
        line = self.line()
        if self._terminal:
            self.stream.write("\r" + line.ljust(self._width) + ("\n" if last else ""))
        else:
            self.stream.write(line + "\n")
        self._width = len(line)
        self.stream.flush()

    def say(self, text: str) -> None:
        """Writes a line for good."""
        if not self.quiet:
            self.stream.write(text + "\n")
            self.stream.flush()

    def line(self) -> str:
        """The line as it is now."""
        oracle = self.tuner.oracle
        total, done = expected_trials(self.tuner), len(oracle.end_order)
        elapsed = self.clock() - self._begun
        rate = (done - self._before) / elapsed if elapsed > 0 else 0.0
        parts = [f"trials {done}" if total is None else f"trials {done}/{total}"]
        if self.running:
            parts.append(f"{self.running} running")
        failed = sum(oracle.trials[i].status in ("FAILED", "INVALID") for i in oracle.end_order)
        if self.stopped:
            parts.append(f"{self.stopped} stopped early")
        if failed:
            parts.append(f"{failed} failed")
        best = _best(oracle)
        if best is not None:
            parts.append(f"best {oracle.objective.name} {best:.4g}")
        parts.append(f"{rate:.2g}/s" if rate < 10 else f"{rate:.0f}/s")
        parts.append(f"{duration(elapsed)} elapsed")
        if total is not None and rate > 0 and total > done:
            parts.append(f"about {duration((total - done) / rate)} left")
        return ", ".join(parts)


def _best(oracle: Any) -> float | None:
    scores = [t.score for t in oracle.trials.values() if t.score is not None and t.score == t.score]
    if not scores:
        return None
    return float(max(scores) if oracle.objective.direction == "max" else min(scores))
