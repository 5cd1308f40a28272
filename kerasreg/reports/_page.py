"""A report as one HTML page: its style, its script and its charts stand in it."""

from __future__ import annotations

import importlib.resources
import json
from typing import Any

from kerasreg.reports._charts import bar, text
from kerasreg.reports._progress import progress_words
from kerasreg.reports._sections import (
    Block,
    Charts,
    Code,
    Leaderboard,
    Paragraph,
    Parallel,
    Table,
    sections,
)
from kerasreg.reports._words import name

# A browser loads nothing that is not in the page, whatever stands in it.
_STATES = {
    "running": "running",
    "finished": "finished",
    "stopped": "stopped",
    "unfinished": "stopped",
}
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)


def page(report: Any) -> str:
    """The page of a `SearchReport`."""
    every = sections(report)
    title = name(report.title)
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        f'<title>{text(title)} – kerasreg report</title><link rel="icon" href="data:,">',
        f"<style>{_file('page.css')}</style></head><body>",
        f"<header><h1>Report of a search: <bdi>{text(title)}</bdi></h1>{_state(report)}</header>",
        '<nav aria-label="Sections"><ul>',
        *(f'<li><a href="#{one.identity}">{text(one.title)}</a></li>' for one in every),
        "</ul></nav><main>",
    ]
    for one in every:
        parts.append(
            f'<section id="{one.identity}" aria-labelledby="{one.identity}-h">'
            f'<h2 id="{one.identity}-h">{text(one.title)}</h2>'
        )
        inner = "\n".join(_block(block) for block in one.blocks)
        parts.append(f'<div class="verdict">{inner}</div>' if one.identity == "verdict" else inner)
        parts.append("</section>")
    parts.append(f"</main><script>{_file('page.js')}</script></body></html>")
    return "\n".join(parts) + "\n"


def _state(report: Any) -> str:
    """Whether the search still ran; the page's script says when that was long ago."""
    words = progress_words(report)
    if words is None:
        return ""
    found = report.progress
    when = ""
    if found["state"] == "running" and found.get("written"):
        when = f' data-written="{text(found["written"])}"'
    kind = _STATES.get(found["state"], "stopped")
    return (
        f'<p id="state" class="state {kind}"{when}>{text(words)}</p>'
        '<p id="late" class="state stopped" hidden></p>'
    )


def _file(called: str) -> str:
    return importlib.resources.files("kerasreg.reports").joinpath(called).read_text("utf-8")


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        kind = ' class="note"' if block.is_note else ""
        return f"<p{kind}>{text(block.text)}</p>"
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Code):
        return (
            f'<p>{text(block.caption)}</p><pre tabindex="0" role="region" '
            f'aria-label="{text(block.caption)}"><code>{text(block.text)}</code></pre>'
        )
    if isinstance(block, Charts):
        return _charts(block)
    if isinstance(block, Parallel):
        return _parallel(block)
    return _leaderboard(block)


def _table(table: Table) -> str:
    heads = "".join(
        f'<th scope="col"{_kind(table, k)}>{_isolated(title)}</th>'
        for k, title in enumerate(table.titles)
    )
    if table.shares is not None:
        heads += '<td aria-hidden="true"></td>'
    rows = []
    for place, row in enumerate(table.rows):
        cells = [f'<th scope="row"{_kind(table, 0)}>{_isolated(row[0])}</th>']
        cells += [
            f"<td{_kind(table, k, cell)}>{_isolated(cell)}</td>"
            for k, cell in enumerate(row[1:], 1)
        ]
        if table.shares is not None:
            cells.append(f'<td aria-hidden="true">{bar(table.shares[place])}</td>')
        rows.append(f"<tr>{''.join(cells)}</tr>")
    found = (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(table.caption)}">'
        f"<table><caption>{_isolated(table.caption)}</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )
    if table.folded:
        return f"<details><summary>As a table</summary>{found}</details>"
    return found


def _kind(table: Table, column: int, cell: str = "") -> str:
    if column in table.numbers:
        return ' class="n"'
    return ' class="wide"' if len(cell) > 40 else ""


def _isolated(value: str) -> str:
    """A text whose direction of writing does not reach beyond it."""
    return f"<bdi>{text(value)}</bdi>" if not value.isascii() else text(value)


def _charts(charts: Charts) -> str:
    figures = []
    for caption, svg, twin in charts.each:
        figures.append(
            f"<figure><figcaption>{_isolated(caption)}</figcaption>{svg}"
            f"{'' if twin is None else _table(twin)}</figure>"
        )
    key = "".join(f'<span class="key {kind}">{text(what)}</span>' for kind, what in charts.key)
    return (f'<p class="note">{key}</p>' if key else "") + (
        f'<div class="charts">{"".join(figures)}</div>'
    )


def _parallel(found: Parallel) -> str:
    fields = []
    for axis in found.axes:
        ends = "".join(
            f'<label>{end} <input type="range" min="0" max="1000" step="1" data-end="{which}" '
            f'value="{value}"><output></output></label>'
            for end, which, value in (("from", "low", 0), ("to", "high", 1000))
        )
        fields.append(f"<fieldset><legend>{_isolated(axis['name'])}</legend>{ends}</fieldset>")
    data = {"axes": found.axes, "trials": found.places}
    key = '<span class="key stopped">stopped early</span>'
    stopped = key if '<path class="trial stopped"' in found.svg else ""
    return (
        '<p class="note"><span class="key">the best trials</span><span class="key grey">others'
        f"</span>{stopped}</p>"
        "<p>Draw along an axis, or move the ends below, to see only the trials between "
        "them, here and in the leaderboard. A trial that is pointed at is marked everywhere.</p>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Lines of trials">'
        '<figure class="wide" id="parallel-chart">'
        f"{found.svg}</figure></div>"
        '<div id="filtering" hidden><p><span id="told" role="status"></span> '
        '<button type="button" class="plain" id="all">Show all</button></p>'
        '<details><summary>Ends of each axis</summary><div class="filters" id="filters">'
        f"{''.join(fields)}</div></details></div>"
        f'<script type="application/json" id="data">{_in_script(data)}</script>'
    )


def _in_script(value: Any) -> str:
    """JSON that cannot end the element that it stands in, nor begin a comment there."""
    written = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return written.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _leaderboard(board: Leaderboard) -> str:
    heads = "".join(
        f'<th scope="col"><button type="button" disabled>{_isolated(title)}</button></th>'
        for title in board.titles
    )
    rows = []
    for trial, row in zip(board.trials, board.rows, strict=True):
        cells = [_cell("td", row[0]), _cell('th scope="row" tabindex="0"', row[1])]
        cells += [_cell("td", cell) for cell in row[2:]]
        kind = ' class="stopped"' if trial in board.stopped else ""
        rows.append(f'<tr data-t="{text(trial)}"{kind}>{"".join(cells)}</tr>')
    return (
        '<div class="scroll high" tabindex="0" role="region" aria-label="Table of trials">'
        f'<table id="leaderboard"><caption>{text(board.caption)}. A title sorts.</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(tag: str, cell: tuple[str, Any]) -> str:
    """A cell; the script sorts those of numbers by these, others by their texts."""
    shown, value = cell
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    key = f' class="n" data-v="{value}"' if is_number else ""
    return f"<{tag}{key}>{_isolated(shown)}</{tag.split(' ')[0]}>"
