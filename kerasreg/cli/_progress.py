"""One line for each trial: how many are done, the best so far, the time left."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import keras_tuner

from kerasreg._durations import duration
from kerasreg.tuners import completed_trials, expected_trials


def reporting(
    tuner: Any, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic
) -> Any:
    """Makes of a class of tuners one that writes a line after each trial.

    Args:
        tuner: a class of KerasTuner, or one made of it.
        write: what takes a line.
        clock: what gives the time in seconds.
    """

    class Reporting(tuner):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._begun, self._before = clock(), len(self.oracle.end_order)
            self._total = expected_trials(self)

        def on_trial_end(self, trial: Any) -> None:
            super().on_trial_end(trial)
            done = len(self.oracle.end_order)
            elapsed = clock() - self._begun
            line = progress_line(self, trial, done, self._total, elapsed, done - self._before)
            # A line that says that a trial is done is true also if the process is killed then.
            when_written = getattr(self, "when_written", lambda call: call())
            when_written(lambda: write(line))

    return Reporting


def progress_line(
    tuner: keras_tuner.Tuner,
    trial: Any,
    done: int,
    total: int | None,
    elapsed: float,
    done_now: int,
) -> str:
    """The line after one trial."""
    name = tuner.oracle.objective.name
    ended = tuner.oracle.get_trial(trial.trial_id)
    result = f"{name} {ended.score:.4f}" if ended.status == "COMPLETED" else "failed"
    best = completed_trials(tuner)
    so_far = f"best {best[0].score:.4f} (trial {best[0].trial_id})" if best else "none completed"
    count = f"{done}" if total is None else f"{done}/{total}"
    left = ""
    if total is not None and done_now > 0:
        left = f", about {duration(elapsed / done_now * max(total - done, 0))} left"
    return f"trial {count}: {result}, {so_far}, {duration(elapsed)} elapsed{left}"
