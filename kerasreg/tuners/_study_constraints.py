"""What the metrics of a trial must keep to, so that it may be the best one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from kerasreg._validation import check_number
from kerasreg.tuners._standard_error import values_of

# For each metric its bounds, None where there is none.
Bounds = dict[str, tuple[float | None, float | None]]


def bounds_of(constraints: Any) -> Bounds:
    """Checks constraints.

    Args:
        constraints: by the names of metrics, the largest value that is admitted, or a pair of the
            smallest and the largest, None where there is no bound; None for no constraints.

    Returns:
        Pairs by the names of metrics.

    Raises:
        ValueError: if they are none of these.
    """
    if constraints is None:
        return {}
    if not isinstance(constraints, Mapping):
        raise _not_bounds(constraints)
    found: Bounds = {}
    for name, given in constraints.items():
        pair = tuple(given) if isinstance(given, (list, tuple)) else (None, given)
        if not isinstance(name, str) or len(pair) != 2:
            raise _not_bounds(constraints)
        try:
            low, high = (_end(name, end) for end in pair)
        except ValueError:
            raise _not_bounds(constraints) from None
        # No bound at all, or none between the two.
        if (low is None and high is None) or (low is not None and high is not None and low > high):
            raise _not_bounds(constraints)
        found[name] = low, high
    return found


def _end(name: str, end: Any) -> float | None:
    return None if end is None else check_number(name, end, -math.inf, math.inf)


def _not_bounds(constraints: Any) -> ValueError:
    return ValueError(
        "`constraints` must be, by the names of metrics, the largest value or a pair of the "
        "smallest and the largest one, None where there is no bound. "
        f"Received: constraints={constraints!r}"
    )


def violations(bounds: Bounds, trial: Any) -> dict[str, float]:
    """By how much a trial that has ended is beyond each bound.

        value - highest,    lowest - value

    Args:
        bounds: as `bounds_of` returns them.
        trial: a KerasTuner trial. The value of a metric is that of the trial's best epoch, or the
            last one where that epoch has none; the mean over executions and folds.

    Returns:
        A number for each bound, by a text such as `"bytes <= 5e+04"`: at most 0 where the trial
        keeps to it, and infinite where the value is no finite number.

    Raises:
        ValueError: if the trial has not reported a metric.
    """
    found = {}
    for name, (low, high) in bounds.items():
        value = _value(trial, name)
        for sign, end, word in ((-1.0, low, ">="), (1.0, high, "<=")):
            if end is not None:
                beyond = sign * (value - end)
                # Optuna's samplers take no NaN, and what is infinite is larger than any other.
                found[f"{name} {word} {end:g}"] = beyond if math.isfinite(beyond) else math.inf
    return found


def keeps_to(bounds: Bounds, trial: Any) -> bool:
    """Whether a trial that has ended keeps to all bounds."""
    return all(beyond <= 0.0 for beyond in violations(bounds, trial).values())


def _value(trial: Any, name: str) -> float:
    if not trial.metrics.exists(name):
        raise ValueError(
            "`constraints` must name metrics that trials report: "
            f"{', '.join(sorted(trial.metrics.metrics))}. Received: {name!r}"
        )
    return float(np.mean(values_of(trial, name)))
