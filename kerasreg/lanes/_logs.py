"""Metrics as callbacks are given them."""

from __future__ import annotations

from typing import Any

import numpy as np


def logs_of_lanes(found: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """The logs of each lane, of arrays with one value for each of them."""
    lanes = len(next(iter(found.values())))
    return [{name: _plain(of[lane]) for name, of in found.items()} for lane in range(lanes)]


def _plain(value: Any) -> Any:
    # Some metrics have one number for each class.
    return float(value) if np.ndim(value) == 0 else np.array(value)
