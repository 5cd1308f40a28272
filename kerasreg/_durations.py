"""Times as people write and read them."""

from __future__ import annotations

import math
import numbers
import re
from typing import Any

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_TEXT = re.compile("".join(rf"(?:(?P<{unit}>\d+(?:\.\d+)?){unit})?" for unit in _UNITS))


def duration(seconds: float) -> str:
    """Minutes and seconds, and hours if there are some."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def check_duration(argument: str, value: Any) -> float:
    """Returns a time in seconds, or raises a `ValueError` that names the argument.

    Accepted are numbers of seconds > 0, and texts such as `"90"`, `"60s"`, `"5m"`, `"1.5h"` and
    `"1d12h"`.
    """
    seconds = math.nan
    if isinstance(value, str):
        found = _TEXT.fullmatch(value.replace(" ", "").lower())
        if found and found[0]:
            seconds = sum(float(found[unit] or 0) * of for unit, of in _UNITS.items())
        elif re.fullmatch(r"\d+(\.\d+)?", value.strip()):
            seconds = float(value)
    elif isinstance(value, numbers.Real) and not isinstance(value, bool):
        seconds = float(value)
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(
            f"`{argument}` must be a number of seconds > 0, or a text such as '60s', '5m' or "
            f"'1h30m'. Received: {argument}={value!r}"
        )
    return seconds
