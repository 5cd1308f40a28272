"""A report as Markdown: its sections without the charts, whose tables stand in their place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from kerasreg.reports._progress import progress_words
from kerasreg.reports._sections import (
    Block,
    Charts,
    Code,
    Paragraph,
    Parallel,
    Table,
    sections,
)
from kerasreg.reports._words import name

_MOST_ROWS = 20
# What has a meaning in Markdown, or begins HTML or a reference to a character.
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|&~!])")


def markdown(report: Any) -> str:
    """The Markdown of a `SearchReport`."""
    lines = [f"# Report of a search: {_text(name(report.title))}"]
    if (words := progress_words(report)) is not None:
        lines.append(_text(words))
    for one in sections(report):
        blocks = [made for block in one.blocks if (made := _block(block))]
        if blocks:
            lines += [f"## {_text(one.title)}", *blocks]
    return "\n\n".join(lines) + "\n"


def _text(value: str) -> str:
    return _SPECIAL.sub(r"\\\1", value)


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return _text(block.text)
    if isinstance(block, Table):
        return _table(block.caption, block.titles, block.rows, block.numbers)
    if isinstance(block, Code):
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", block.text)), default=0))
        return f"{_text(block.caption)}\n\n{fence}{block.language}\n{block.text}\n{fence}"
    if isinstance(block, Charts):
        tables = [twin for _, _, twin in block.each if twin is not None]
        return "\n\n".join(_block(one) for one in tables)
    if isinstance(block, Parallel):
        return ""
    rows = [[shown for shown, _ in row] for row in block.rows]
    numbers = frozenset([0, *range(2, len(block.titles))])
    return _table(block.caption, block.titles, rows, numbers)


def _table(
    caption: str,
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    numbers: frozenset[int],
) -> str:
    lines = [
        _row(titles),
        _row_of_marks(["--:" if k in numbers else "---" for k in range(len(titles))]),
        *(_row(row) for row in rows[:_MOST_ROWS]),
    ]
    more = len(rows) - _MOST_ROWS
    after = f"\n\nAnd {more} more." if more > 0 else ""
    return f"{_text(caption)}:\n\n" + "\n".join(lines) + after


def _row(cells: Sequence[str]) -> str:
    return _row_of_marks([_text(cell) for cell in cells])


def _row_of_marks(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
