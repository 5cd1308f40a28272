"""Where a value is on an axis, and at which values an axis has marks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from kerasreg.reports._words import name, number

_MOST_CATEGORIES = 24


class Scale:
    """An axis of numbers or of categories, which gives places from 0 to 1.

    Args:
        low: the least number.
        high: the greatest one.
        log: whether equal factors are equal distances.
        categories: of an axis of categories, their names.
    """

    def __init__(
        self,
        low: float = 0.0,
        high: float = 1.0,
        log: bool = False,
        categories: Sequence[str] | None = None,
    ) -> None:
        self.categories = None if categories is None else list(categories)
        self._places = {one: k for k, one in enumerate(self.categories or ())}
        self.log = log and low > 0
        if low == high:
            low, high = (low / 2, high * 2) if self.log else (low - 0.5, high + 0.5)
        self.low, self.high = float(low), float(high)

    @classmethod
    def of(cls, hyperparameter: dict[str, Any]) -> Scale:
        """The axis of a hyperparameter of a report."""
        if hyperparameter["kind"] == "category":
            return cls(categories=hyperparameter["categories"])
        log = hyperparameter["scale"] == "log"
        return cls(hyperparameter["least"], hyperparameter["most"], log)

    def place(self, value: Any) -> float:
        """The place of a value, from 0 to 1."""
        if self.categories is not None:
            count = len(self.categories)
            return (self._places.get(str(value), 0) + 0.5) / count
        found = self._number(float(value))
        return min(1.0, max(0.0, found))

    def _number(self, value: float) -> float:
        if self.log:
            if value <= 0:
                return 0.0
            width = math.log(self.high) - math.log(self.low)
            return (math.log(value) - math.log(self.low)) / width
        # Halves, as the difference of two large numbers may be infinite.
        return (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)

    def marks(self, most: int = 5) -> list[tuple[float, str]]:
        """Places of marks with their texts."""
        if self.categories is not None:
            step = math.ceil(len(self.categories) / min(most, _MOST_CATEGORIES))
            return [(self.place(one), name(one)) for one in self.categories[::step]]
        values = self._factors(most) if self.log else []
        if len(values) < 2:
            values = self._round(most)
        return [(self._number(value), number(value)) for value in values]

    def _factors(self, most: int) -> list[float]:
        """Powers of ten; where there are few, their doubles and fives too."""
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for factors in ((1, 2, 5), (1, 3), (1,)):
            values = [k * 10.0**power for power in range(first, last + 1) for k in factors]
            values = [value for value in values if self.low <= value <= self.high]
            if len(values) <= most:
                return values
        return values[:: -(-len(values) // most)]

    def _round(self, most: int) -> list[float]:
        width = self.high / most - self.low / most
        if width <= 0 or not math.isfinite(width):
            return [self.low, self.high]
        step = 10.0 ** math.floor(math.log10(width))
        step *= next(k for k in (1, 2, 5, 10) if k * step >= width * 0.7)
        first = math.ceil(self.low / step - 1e-9)
        values = [k * step for k in range(first, first + most + 2)]
        return [value for value in values if value <= self.high + 1e-9 * step] or [self.low]
