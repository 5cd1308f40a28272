"""What was done to a model: rows that print as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def table(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows as aligned text; numbers to the right, with three digits."""
    rows = [list(row) for row in rows]
    cells = [list(titles), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(titles))]
    # A column that has a number in it is one of numbers.
    numbers = [any(isinstance(row[k], (int, float)) for row in rows) for k in range(len(titles))]
    lines = []
    for line in cells:
        aligned = [
            value.rjust(width) if right else value.ljust(width)
            for value, width, right in zip(line, widths, numbers, strict=True)
        ]
        lines.append("  ".join(aligned).rstrip())
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


class Record(tuple):
    """What `initialize` and `lsuv` did: a tuple of rows, one for each variable or layer.

    Each row is a named tuple; `str(record)` is an aligned table of them, and
    `record.left_alone` the rows of what was not changed.
    """

    def __str__(self) -> str:
        if not self:
            return "nothing was done"
        return table(self[0]._fields, self)

    @property
    def left_alone(self) -> Record:
        """The rows of what was not changed, or not as it should be, each with the reason."""
        return Record(row for row in self if row.is_left_alone)
