"""Dates that are written as text, as numbers: the same arithmetic in NumPy and in a model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._validation import check_choice

_YEAR, _ONE_OR_TWO = r"(\d{4})", r"(\d{1,2})"
_ORDERS = {
    "year-month-day": (_YEAR, _ONE_OR_TWO, _ONE_OR_TWO),
    "day-month-year": (_ONE_OR_TWO, _ONE_OR_TWO, _YEAR),
    "month-day-year": (_ONE_OR_TWO, _ONE_OR_TWO, _YEAR),
}
# Python and TensorFlow (RE2) read it alike: no `\s`, `$` or Unicode digits.
_TIME = r"(?:[T ](\d{1,2}):(\d{2})(?::(\d{2})(?:[.]\d+)?)?)?"
_ZONE = r"(?:Z|([+-])(\d{2}):?(\d{2}))?"
FORMATS = tuple(_ORDERS)
# What a date is made to. Months, days of the week and hours are angles: 23:59 is next to 0:00.
PARTS = ("days", "year", "month", "weekday", "hour")


def pattern(order: str) -> str:
    """The regular expression of an order, with nine groups."""
    text = "[-/.]".join(_ORDERS[order]) + _TIME + _ZONE
    return text.replace(r"\d", "[0-9]")


def fields_of(texts: Any, order: str) -> np.ndarray:
    """The nine fields of each text, float64, shape (texts, 9); NaN in all of what is no date."""
    found = re.compile(pattern(order))
    read: dict[str, list[float]] = {}
    for text in set(texts):
        match = found.fullmatch(text)
        groups = [None] * 9 if match is None else list(match.groups())
        nothing = np.nan if match is None else 0.0
        read[text] = [
            nothing if not group else {"+": 1.0, "-": -1.0}.get(group) or float(group)
            for group in groups
        ]
    return np.array([read[text] for text in texts], "float64").reshape(-1, 9)


def parts_of(fields: Any, order: str, parts: Sequence[str], xp: Any) -> Any:
    """Numbers of dates from their fields, shape (dates, numbers); NaN where there is no date.

    Args:
        fields: shape (dates, 9), float64.
        order: of year, month and day.
        parts: some of `PARTS`.
        xp: `numpy`, or `keras.ops`.
    """
    places = [("year", "month", "day").index(word) for word in order.split("-")]
    year, month, day = (fields[:, places.index(k)] for k in range(3))
    hour, minute, second, sign, off_hours, off_minutes = (fields[:, k] for k in range(3, 9))
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    # Of 30 days: the 4th, 6th, 9th and 11th month.
    short = (month == 4) | (month == 6) | (month == 9) | (month == 11)
    february = xp.where(leap, 29.0 + 0 * year, 28.0 + 0 * year)
    length = xp.where(month == 2, february, xp.where(short, 30.0 + 0 * year, 31.0 + 0 * year))
    good = (month >= 1) & (month <= 12) & (day >= 1) & (day <= length)
    good = good & (hour < 24) & (minute < 60) & (second < 61) & (off_hours < 24)
    # Days since 1970-01-01 of the Gregorian calendar, in years that begin in March.
    shifted = year - xp.where(month <= 2, 1.0 + 0 * year, 0 * year)
    era = xp.floor(shifted / 400.0)
    of_era = shifted - 400.0 * era
    of_year = xp.floor((153.0 * ((month + 9.0) % 12.0) + 2.0) / 5.0) + day - 1.0
    whole = 365.0 * of_era + xp.floor(of_era / 4.0) - xp.floor(of_era / 100.0) + of_year
    days = 146097.0 * era + whole - 719468.0
    seconds = 3600.0 * hour + 60.0 * minute + second
    universal = seconds - sign * (3600.0 * off_hours + 60.0 * off_minutes)
    numbers = {
        "days": [days + universal / 86400.0],
        "year": [year],
        "month": _angle((month - 1.0) / 12.0, xp),
        "weekday": _angle((days + 3.0) % 7.0 / 7.0, xp),
        "hour": _angle(seconds / 86400.0, xp),
    }
    found = xp.stack([number for part in parts for number in numbers[part]], axis=-1)
    return xp.where(good[:, None], found, xp.full_like(found, float("nan")))


def _angle(turns: Any, xp: Any) -> list[Any]:
    return [xp.sin(2.0 * np.pi * turns), xp.cos(2.0 * np.pi * turns)]


def names_of(parts: Sequence[str]) -> list[str]:
    """The name of each number of a date."""
    angles = ("month", "weekday", "hour")
    return [
        name
        for part in parts
        for name in ([f"{part}_sin", f"{part}_cos"] if part in angles else [part])
    ]


@keras.saving.register_keras_serializable(package="kerasreg")
class DateNumbers(keras.layers.Layer):
    """Dates that are text, such as `2026-11-29 06:35`, as numbers. It needs TensorFlow.

    Read are a year of four digits, a month and a day, separated by `-`, `/` or `.`; then, after a
    space or a `T`, perhaps a time; then perhaps `Z` or a time zone such as `+02:00`. Days are
    counted in universal time; the other numbers are of the local one. Fractions of a second are
    left out. What is no date, such as `""`, is NaN.

    Args:
        order: `"year-month-day"`, `"day-month-year"` or `"month-day-year"`.
        parts: some of `"days"` (since 1970, with the time as a fraction), `"year"`, and `"month"`,
            `"weekday"` and `"hour"`, of which each gives the sine and the cosine of an angle.
        **kwargs: `name`, `dtype` of a Keras layer; `dtype` is `"float64"` by default.

    Call arguments:
        inputs: strings of the shape (batch,).

    Returns:
        A tensor of the shape (batch, numbers).

    Raises:
        ValueError: if an argument is none of these.

    Example:

    >>> import kerasreg, tensorflow as tf
    >>> layer = kerasreg.tables.DateNumbers("day-month-year", ["days", "year"])
    >>> layer(tf.constant(["02.01.1970 12:00", "32.01.1970"])).numpy().tolist()
    [[1.5, 1970.0], [nan, nan]]
    """

    def __init__(
        self,
        order: str = "year-month-day",
        parts: Sequence[str] = ("days",),
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float64", **kwargs})
        self.order = check_choice("order", order, FORMATS)
        if isinstance(parts, str) or not parts:
            raise ValueError(f"`parts` must be a list of {PARTS}. Received: parts={parts!r}")
        self.parts = [check_choice("parts", part, PARTS) for part in parts]
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Reads the fields of each date, and makes numbers of them."""
        import tensorflow as tf

        form = f"^(?:{pattern(self.order)})$"
        is_date = tf.strings.regex_full_match(inputs, pattern(self.order))
        fields = []
        for number in range(1, 10):
            text = tf.strings.regex_replace(inputs, form, rf"\{number}")
            if number == 7:
                text = tf.strings.regex_replace(text, "^([+-])$", r"\11")  # RE2: group 1, then 1.
            given = is_date & (tf.strings.length(text) > 0)
            value = tf.strings.to_number(tf.where(given, text, "0"), tf.float64)
            fields.append(tf.where(is_date, value, tf.constant(np.nan, tf.float64)))
        found = parts_of(tf.stack(fields, axis=-1), self.order, self.parts, ops)
        return ops.cast(found, self.compute_dtype)

    def compute_output_spec(self, inputs: Any) -> Any:
        """(batch, numbers)."""
        return keras.KerasTensor((*inputs.shape, len(names_of(self.parts))), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {**super().get_config(), "order": self.order, "parts": self.parts}
