"""What a search with lanes shows: a line in a terminal, a bar in a notebook, lines in a pipe."""

from __future__ import annotations

import html
import importlib
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, TextIO

import keras_tuner

from kerasreg._durations import duration
from kerasreg._keras import keras_tuner_internals as internals
from kerasreg._time_left import TimeLeft, left_words

# Seconds between lines where a line cannot be written over, and between changes where it can.
_EVERY = 10.0
_CHANGES = 0.25


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


def trials_left(tuner: keras_tuner.Tuner) -> int | None:
    """How many trials are to end, where the time that they take can be foretold; else None.

    Args:
        tuner: a tuner of KerasTuner, or one made of it.

    Returns:
        The number; None for a search without a limit, and for Hyperband, whose later trials are
        longer or shorter than those before.

    Example:

    >>> import keras_tuner, kerasreg, tempfile
    >>> tuner = keras_tuner.RandomSearch(
    ...     lambda hp: None, "val_loss", max_trials=7, directory=tempfile.mkdtemp()
    ... )
    >>> kerasreg.tuners.trials_left(tuner)
    7
    """
    oracle, total = tuner.oracle, expected_trials(tuner)
    if total is None or isinstance(oracle, keras_tuner.oracles.HyperbandOracle):
        return None
    return max(0, total - len(oracle.end_order))


class Progress:
    """Lanes that run, trials that ended, the best so far, the rate, the time left.

    On a terminal the line is written over after each epoch, and is as wide as the terminal at
    most. A notebook shows one line with a bar, which changes in its place. Elsewhere (a pipe, CI)
    there is a new line every ten seconds at most, and one at the end.

    Args:
        tuner: the tuner.
        quiet: write nothing.
        stream: where to write; by default the notebook that this runs in, or standard output.
        clock: gives the time in seconds.
        limit: gives the seconds until the search ends at the latest; None for no limit.
    """

    def __init__(
        self,
        tuner: Any,
        quiet: bool = False,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        limit: Callable[[], float | None] = lambda: None,
    ) -> None:
        self.tuner = tuner
        self.quiet = quiet
        self.display: Any = _notebook() if stream is None and not quiet else None
        self.stream = sys.stdout if stream is None else stream
        self.clock, self.limit = clock, limit
        self.running = 0
        self.stopped = 0
        self._begun = self._last = clock()
        self._before = self._seen = len(tuner.oracle.end_order)
        self._left = TimeLeft(self._begun)
        self._first: dict[str, float] = {}  # When a trial that trains was seen first.
        self._shown: Any = None  # What a notebook shows.
        self._width = 0
        self._terminal = bool(getattr(self.stream, "isatty", lambda: False)())

    def update(self, running: int, last: bool = False, trials: Iterable[str] = ()) -> None:
        """Shows the present state, if it is time.

        Args:
            running: how many lanes train.
            last: nothing follows: the line stays.
            trials: the ids of the trials that train.
        """
        self.running = running
        if self.quiet:
            return
        now = self.clock()
        self._learn(now, trials)
        changes = self._terminal or self.display is not None
        wait = _CHANGES if changes and self._width else 0.0 if changes else _EVERY
        if not (last or now - self._last >= wait):
            return
        self._last = now
        line = self.line()
        if self.display is not None:
            self._show(line)
        elif self._terminal:
            self._write_over(line, last)
        else:
            self.stream.write(line + "\n")
            self.stream.flush()
        self._width = len(line)

    def _learn(self, now: float, trials: Iterable[str]) -> None:
        """Takes when trials that train were seen first, and how long those took that have ended."""
        ended = self.tuner.oracle.end_order[self._seen :]
        self._seen += len(ended)
        took = [now - self._first.pop(one) for one in ended if one in self._first]
        self._left.ended(now, len(ended), max(took, default=0.0))
        for one in trials:
            self._first.setdefault(one, now)

    def _write_over(self, line: str, last: bool) -> None:
        # A line that is wider would begin another one, which none writes over.
        columns = shutil.get_terminal_size().columns - 1
        if not last and len(line) > columns > 1:
            line = line[: columns - 1] + "\u2026"
        self.stream.write("\r" + line.ljust(min(self._width, columns)) + ("\n" if last else ""))
        self.stream.flush()

    def _show(self, line: str) -> None:
        total, done = expected_trials(self.tuner), len(self.tuner.oracle.end_order)
        bar = f'<progress max="{total}" value="{done}"></progress> ' if total else ""
        data = {"text/plain": line, "text/html": f"{bar}<code>{html.escape(line)}</code>"}
        if self._shown is None:
            self._shown = self.display(data, raw=True, display_id=True)
        else:
            self._shown.update(data, raw=True)

    def close(self) -> None:
        """Leaves a line that was to be written over, when an error ends the search."""
        if self._terminal and self._width and not self.quiet and self.display is None:
            self.stream.write("\n")
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
        now = self.clock()
        elapsed = now - self._begun
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
        trials = trials_left(self.tuner)
        side_by_side = len(oracle.ongoing_trials)
        left = left_words(self._left.left(now, trials, side_by_side, self.limit()))
        if left and self.running:
            parts.append(left)
        return ", ".join(parts)


def _notebook() -> Any:
    """IPython's `display`, where this runs in a notebook; else None.

    IPython is not imported for it: without it there is no notebook.
    """
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else getattr(ipython, "get_ipython", lambda: None)()
    if getattr(shell, "kernel", None) is None:  # A terminal of IPython has none.
        return None
    # No dependency, and so no import that is declared: it is there already.
    return importlib.import_module("IPython.display").display


def _best(oracle: Any) -> float | None:
    scores = [t.score for t in oracle.trials.values() if t.score is not None and t.score == t.score]
    if not scores:
        return None
    return float(max(scores) if oracle.objective.direction == "max" else min(scores))
