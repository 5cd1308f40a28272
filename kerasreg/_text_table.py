"""Rows as a table of aligned text."""

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
