"""Numbers and texts as a report shows them."""

from __future__ import annotations

import unicodedata
from typing import Any

DASH = "\u2013"
# Longer names and messages are cut: no name can make a report larger than a browser likes.
_LONGEST_NAME = 60
_LONGEST_TEXT = 300


def number(value: Any, sign: str = "") -> str:
    """A number with four digits; a dash of none."""
    if value is None:
        return DASH
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:{sign}d}" if abs(value) < 10**15 else f"{value:{sign}.4g}"
    text = f"{value:{sign}.4g}"
    return text.replace("-", "\u2212") if not text.startswith("-0.0000") else text


def with_error(value: Any, error: Any, sign: str = "") -> str:
    """A number and its standard error, if there is one."""
    return number(value, sign) + ("" if error is None else f" ± {error:.2g}")


def shown(value: Any) -> str:
    """A value of a hyperparameter."""
    if isinstance(value, (bool, str)):
        return name(str(value))
    return number(value)


def name(text: Any) -> str:
    """A name in one line, cut where it is too long."""
    return cut(str(text), _LONGEST_NAME)


def sentence(text: Any) -> str:
    """A text of some length in one line, cut where it is too long."""
    return cut(str(text), _LONGEST_TEXT)


def share(value: Any) -> str:
    """A part of a whole."""
    if value is None:
        return DASH
    # What is not all, or nothing, does not look like it.
    text = f"{value:.1%}"
    return (
        {"0.0%": "<0.1%", "100.0%": ">99.9%"}.get(text, text) if 0 < value < 1 else f"{value:.0%}"
    )


def size(value: Any) -> str:
    """A number of bytes."""
    if value is None:
        return DASH
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.4g} GB"


def seconds(value: Any) -> str:
    """A time."""
    if value is None:
        return DASH
    if value < 100:
        return f"{value:.3g} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def count(value: int, noun: str) -> str:
    """Such as `1 trial` and `2 trials`."""
    return f"{value:,} {noun}{'' if value == 1 else 's'}".replace(",", "\u202f")


def cut(text: str, longest: int) -> str:
    """A text in one line, cut where it is too long."""
    # Control characters are no text, and surrogates alone cannot be written.
    text = "".join(one if unicodedata.category(one) not in ("Cc", "Cs") else " " for one in text)
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 1]}\u2026"
