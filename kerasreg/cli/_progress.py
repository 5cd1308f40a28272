"""One line for each trial: how many are done, the best so far, the time left."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import keras_tuner

from kerasreg._durations import duration
from kerasreg._keras.keras_tuner_internals import expected_trials
from kerasreg._keras.patching import replace
from kerasreg.tuners import completed_trials


def report_progress(
    tuner: keras_tuner.Tuner,
    write: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Makes a tuner write a line after each trial.

    Args:
        tuner: the tuner; its `on_trial_end` is extended.
        write: what takes a line.
        clock: what gives the time in seconds.
    """
    total = expected_trials(tuner)
    begun = clock()
    before = len(tuner.oracle.end_order)
    inherited = tuner.on_trial_end

    def on_trial_end(trial: Any) -> None:
        inherited(trial)
        done = len(tuner.oracle.end_order)
        write(progress_line(tuner, trial, done, total, clock() - begun, done - before))

    replace(tuner, "on_trial_end", on_trial_end)


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
