"""Checks of what `Lanes.fit` is given for each lane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kerasreg._validation import check_count


def counts_of_lanes(argument: str, value: Any, lanes: int, minimum: int) -> list[int]:
    """A count for each lane, of one for all or of a list of them."""
    if isinstance(value, (list, tuple, np.ndarray)):
        if len(value) != lanes:
            raise ValueError(
                f"`{argument}` must be a number, or one for each of {lanes} lanes. "
                f"Received: {argument}={value!r}"
            )
        return [check_count(argument, of_lane, minimum=minimum) for of_lane in value]
    return [check_count(argument, value, minimum=minimum)] * lanes


def check_rows(argument: str, rows: Sequence[Any], lanes: int, examples: int) -> list[np.ndarray]:
    """Rows of examples for each lane.

    Args:
        argument: its name.
        rows: what was given.
        lanes: for how many lanes.
        examples: how many examples there are.

    Raises:
        ValueError: if they are no arrays of rows that there are.
    """
    checked = [np.asarray(of_lane) for of_lane in rows]
    good = len(checked) == lanes and all(
        of_lane.ndim == 1
        and of_lane.size > 0
        and np.issubdtype(of_lane.dtype, np.integer)
        and of_lane.min() >= 0
        and of_lane.max() < examples
        for of_lane in checked
    )
    if not good:
        raise ValueError(
            f"`{argument}` must have, for each of {lanes} lanes, an array of rows from 0 to "
            f"{examples - 1}. Received: {[of.shape for of in checked]}"
        )
    return checked
