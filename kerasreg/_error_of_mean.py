"""How sure a mean is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def error_of_mean(values: Sequence[float]) -> float | None:
    """The standard error of the mean of some values; None for a single one."""
    if len(values) < 2:
        return None
    with np.errstate(invalid="ignore"):  # Of values that are not finite it is NaN.
        return float(np.std(values, ddof=1) / np.sqrt(len(values)))
