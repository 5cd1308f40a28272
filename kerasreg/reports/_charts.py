"""The charts of a report, as SVG that stands in its page."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from kerasreg.reports._scales import Scale
from kerasreg.reports._trials import near, stopped_trials
from kerasreg.reports._words import cut, name

# Of a chart that is as wide as a telephone, in its own units, which are pixels there.
_WIDTH, _HEIGHT = 340, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 12, 40
_AXIS_GAP = 104  # Of parallel coordinates, at least, and more where a wide page has room.
_MOST_GAP, _PARALLEL_WIDTH = 180, 1040
_PARALLEL_HEIGHT = 300
_NOT_SET = 22  # So far below an axis are trials that do not have its hyperparameter.
_MOST_POINTS = 400
_INSIDE = 8  # So far from the ends of an axis is what is at its ends.
_FEW = 100
# A unit of time, its seconds, and from how many seconds it is used.
_TIMES = (("hours", 3600.0, 7200.0), ("minutes", 60.0, 180.0), ("seconds", 1.0, 0.0))
_LETTER = 6.4  # The width of a letter, as far as that can be told.


def text(value: Any) -> str:
    """A text as HTML has it, also within quotes."""
    return html.escape(str(value), quote=True)


class _Plot:
    """A chart with two axes, onto which marks are put."""

    def __init__(self, identity: str, title: str, about: str, x: Scale, y: Scale) -> None:
        self._identity, self._title, self._about = identity, title, about
        self._x, self._y = x, y
        self._marks: list[str] = []

    def at(self, x: Any, y: Any) -> str:
        """The coordinates of a point, as SVG has them."""
        return f"{self.left(x):.1f} {self.top(y):.1f}"

    def left(self, x: Any) -> float:
        return self._across(self._x.place(x))

    def top(self, y: Any) -> float:
        return self._upwards(self._y.place(y))

    @staticmethod
    def _across(place: float) -> float:
        return _LEFT + _INSIDE + place * (_WIDTH - _LEFT - _RIGHT - 2 * _INSIDE)

    @staticmethod
    def _upwards(place: float) -> float:
        return _TOP + _INSIDE + (1 - place) * (_HEIGHT - _TOP - _BOTTOM - 2 * _INSIDE)

    def dots(self, points: Sequence[tuple[Any, Any]], kind: str) -> None:
        """Points as one path of lines without a length, whose caps are round."""
        if points:
            kind = f"{kind} few" if len(points) < _FEW else kind
            path = "".join(f"M{self.at(x, y)}h0" for x, y in points)
            self._marks.append(f'<path class="{kind}" d="{path}"/>')

    def line(self, points: Sequence[tuple[Any, Any]], kind: str, trial: str | None = None) -> None:
        if len(points) == 1:
            self.dots(points, f"dot {kind}")
        elif points:
            of = "" if trial is None else f' data-t="{text(trial)}"'
            path = "L".join(self.at(x, y) for x, y in points)
            self._marks.append(f'<path class="{kind}"{of} d="M{path}"/>')

    def area(self, points: Sequence[tuple[Any, Any]], kind: str) -> None:
        path = "L".join(self.at(x, y) for x, y in points)
        self._marks.append(f'<path class="{kind}" d="M{path}Z"/>')

    def svg(self, x_title: str, y_title: str) -> str:
        bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
        parts = [f'<path class="axis" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>']
        for place, label in self._y.marks(5):
            y = self._upwards(place)
            parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{right}"/>')
            parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" class="end">{text(label)}</text>')
        marks = self._x.marks(4 if self._x.categories is None else 6)
        room = (right - _LEFT) / max(1, len(marks))
        end = 0.0
        for place, label in marks:
            x, short = self._across(place), _fitting(label, room)
            width = _LETTER * len(short)
            # A text does not leave the picture, and stands on no other one.
            left = min(x - width / 2, _WIDTH - width)
            if left < end + 4:
                continue
            end = left + width
            parts.append(
                f'<text x="{left + width / 2:.1f}" y="{bottom + 16}" class="middle">'
                f"{text(short)}</text>"
            )
        middle = (_LEFT + right) / 2
        parts.append(
            f'<text x="{middle}" y="{_HEIGHT - 6}" class="middle name">'
            f"{text(_fitting(x_title, right - _LEFT))}</text>"
        )
        about = f"{self._about} Across: {x_title}; upwards: {y_title}."
        return _svg(self._identity, self._title, about, _WIDTH, _HEIGHT, [*parts, *self._marks])


def _fitting(label: str, room: float) -> str:
    """A text cut to a width in pixels, as far as that can be told."""
    most = max(3, int(room / _LETTER))
    return label if len(label) <= most else f"{label[: most - 1]}\u2026"


def _svg(
    identity: str, title: str, about: str, width: float, height: float, parts: Sequence[str]
) -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-labelledby="{identity}-t {identity}-d">'
        f'<title id="{identity}-t">{text(title)}</title>'
        f'<desc id="{identity}-d">{text(about)}</desc>{"".join(parts)}</svg>'
    )


def curves(report: Any) -> str:
    """The learning curves of trials: the objective by the epoch, the best ones coloured."""
    shown = report.curves["trials"]
    metric = report.curves["metric"]
    values = [v for one in shown for v in one["validation"] if v is not None]
    epochs = [e for one in shown for e in one["epochs"]]
    y = Scale(*_range(values, report.objective["direction"]))
    plot = _Plot(
        "curves",
        f"{name(metric)} of {len(shown)} trials by the epoch",
        "Each line is a trial, the mean over its folds.",
        Scale(min(epochs) + 1, max(epochs) + 1),
        y,
    )
    best, stopped = _places(report), stopped_trials(report)
    for one in sorted(shown, key=lambda one: -best.get(one["trial"], len(best))):
        kind = "curve good" if best.get(one["trial"], len(best)) < _leading(report) else "curve"
        kind = "curve stopped" if one["trial"] in stopped else kind
        plot.line(_points(one, "validation"), kind, one["trial"])
    return plot.svg("epoch", metric)


def train_gap(report: Any, one: Mapping[str, Any]) -> str:
    """The curves of one trial, for samples to train with and for those to validate."""
    both = [v for part in ("validation", "training") for v in one[part] if v is not None]
    plot = _Plot(
        "gap",
        f"Trial {name(one['trial'])}: training and validation",
        "The solid line is of samples to validate, the dashed one of those to train with.",
        Scale(min(one["epochs"]) + 1, max(one["epochs"]) + 1),
        Scale(*_range(both, report.objective["direction"])),
    )
    plot.line(_points(one, "training"), "training")
    plot.line(_points(one, "validation"), "validation")
    return plot.svg("epoch", report.curves["metric"])


def _points(one: Mapping[str, Any], part: str) -> list[tuple[Any, Any]]:
    pairs = zip(one["epochs"], one[part] or [], strict=False)
    return [(epoch + 1, value) for epoch, value in pairs if value is not None]


def _range(values: Sequence[float], direction: str) -> tuple[float, float]:
    """The range of an axis: first epochs, and trials that are far off, may leave it."""
    ordered = sorted(values)
    cut = max(1, len(ordered) // 20) if len(ordered) >= 20 else 0
    if direction == "min":
        return ordered[0], ordered[len(ordered) - 1 - cut]
    return ordered[cut], ordered[-1]


def _places(report: Any) -> dict[str, int]:
    return {trial: place for place, trial in enumerate(report.ranking)}


def _leading(report: Any) -> int:
    """So many of the best trials are coloured."""
    return max(1, min(10, len(report.ranking) // 4))


def effect(
    report: Any,
    identity: str,
    one: Mapping[str, Any],
    hyperparameter: dict[str, Any],
    rows: Sequence[Mapping[str, Any]],
) -> str:
    """The scores of trials by a hyperparameter, with means and a band of one standard error."""
    x = Scale.of(hyperparameter)
    scores = [row["score"] for row in rows]
    y = Scale(min(scores), max(scores))
    scale = ", on a logarithmic axis" if x.log else ""
    plot = _Plot(
        identity,
        f"{report.objective['name']} by {name(hyperparameter['name'])}",
        f"Dots are trials{scale}; the line is the mean, the band one standard error.",
        x,
        y,
    )
    known = [row for row in rows if hyperparameter["name"] in row["values"]]
    points = [(row["values"][hyperparameter["name"]], row["score"]) for row in known]
    plot.dots(points[:: max(1, -(-len(points) // _MOST_POINTS))], "dot")
    bins = one["bins"]
    if x.categories is not None:
        for each in bins:
            error = each["standard_error"] or 0.0
            at = each["category"]
            plot.line([(at, each["mean"] - error), (at, each["mean"] + error)], "bar")
        plot.dots([(each["category"], each["mean"]) for each in bins], "dot mean")
    else:
        middles = [_middle(x, each) for each in bins]
        errors = [each["standard_error"] or 0.0 for each in bins]
        upper = [(m, b["mean"] + e) for m, b, e in zip(middles, bins, errors, strict=True)]
        lower = [(m, b["mean"] - e) for m, b, e in zip(middles, bins, errors, strict=True)]
        plot.area([*upper, *reversed(lower)], "band")
        plot.line([(m, b["mean"]) for m, b in zip(middles, bins, strict=True)], "mean")
    return plot.svg(name(hyperparameter["name"]), report.objective["name"])


def _middle(x: Scale, one: Mapping[str, Any]) -> float:
    low, high = float(one["low"]), float(one["high"])
    return (low * high) ** 0.5 if x.log else low / 2 + high / 2


def lanes(report: Any) -> str:
    """How many trainings ran at the same time, over the time of all searches of the project."""
    points: list[tuple[float, float]] = []
    before = 0.0
    for one in report.lanes:
        # Each search begins and ends without a training.
        level = 0.0
        for at, used in zip(one["seconds"], one["in_use"], strict=True):
            points += [(before + at, level), (before + at, used)]
            level = used
        before = points[-1][0] if points else before
    most = max(one["most"] for one in report.lanes)
    unit, factor = next((u, f) for u, f, least in _TIMES if before >= least)
    points = [(at / factor, used) for at, used in points] or [(0.0, 0.0)]
    plot = _Plot(
        "lanes",
        "Trainings at the same time",
        "The area is how many trainings run as lanes, or alone.",
        Scale(0.0, points[-1][0] or 1.0),
        Scale(0.0, max(1, most)),
    )
    plot.area([(points[0][0], 0.0), *points, (points[-1][0], 0.0)], "band")
    plot.line(points, "mean")
    return plot.svg(f"{unit} of the search", "trainings")


def calibration(found: Mapping[str, Any]) -> str:
    """The part of samples that is right, by how sure the ensemble is."""
    plot = _Plot(
        "calibration",
        "Calibration of the ensemble",
        "Points on the diagonal are as often right as the ensemble says.",
        Scale(),
        Scale(),
    )
    plot.line([(0, 0), (1, 1)], "ideal")
    points = [(one["confidence"], one["accuracy"]) for one in found["calibration"]]
    plot.line(points, "mean")
    plot.dots(points, "dot mean")
    return plot.svg("confidence", "part that is right")


def residuals(found: Mapping[str, Any]) -> str:
    """The residuals by the predictions."""
    points = [(x, y) for x, y in found["points"]]
    xs, ys = zip(*points, strict=True)
    largest = max(map(abs, ys)) or 1.0
    plot = _Plot(
        "residuals",
        "Residuals of the ensemble",
        "Each dot is a sample: its target less its prediction, by the prediction.",
        Scale(min(xs), max(xs)),
        Scale(-largest, largest),
    )
    plot.line([(min(xs), 0.0), (max(xs), 0.0)], "ideal")
    plot.dots(points, "dot")
    return plot.svg("prediction", "target − prediction")


def parallel(
    report: Any,
    hyperparameters: Sequence[dict[str, Any]],
    rows: Sequence[Mapping[str, Any]],
) -> tuple[str, list[dict[str, Any]], dict[str, list[int]]]:
    """The trials as lines over an axis for each hyperparameter, and one of the score.

    Returns:
        The SVG; for each axis its name and what its places stand for; and for each trial its
        places, from 0 to 1000, and -1 where the hyperparameter is not set.
    """
    limit = (report.effects or {}).get("limit")
    scores = [row["score"] for row in near(rows, limit, report.objective["direction"])]
    scales = [Scale.of(one) for one in hyperparameters] + [Scale(min(scores), max(scores))]
    names = [one["name"] for one in hyperparameters] + [report.objective["name"]]
    gap = max(_AXIS_GAP, min(_MOST_GAP, _PARALLEL_WIDTH // (len(scales) - 1)))
    lefts = [70 + k * gap for k in range(len(scales))]
    top, bottom = 34, _PARALLEL_HEIGHT - _NOT_SET - 12
    parts, places = [], {}
    best, stopped = _places(report), stopped_trials(report)
    for row in sorted(rows, key=lambda row: -best[row["trial"]]):
        values = [row["values"].get(one["name"]) for one in hyperparameters] + [row["score"]]
        there = [
            -1 if value is None else round(1000 * scale.place(value))
            for scale, value in zip(scales, values, strict=True)
        ]
        places[row["trial"]] = there
        points = [
            f"{x} {bottom + _NOT_SET if p < 0 else round(bottom - p * (bottom - top) / 1000)}"
            for x, p in zip(lefts, there, strict=True)
        ]
        kind = "trial good" if best[row["trial"]] < _leading(report) else "trial"
        kind = "trial stopped" if row["trial"] in stopped else kind
        parts.append(
            f'<path class="{kind}" data-t="{text(row["trial"])}" d="M{"L".join(points)}"/>'
        )
    for k, (x, scale, label) in enumerate(zip(lefts, scales, names, strict=True)):
        parts.append(f'<path class="axis" d="M{x} {top}V{bottom}"/>')
        parts.append(
            f'<text x="{x}" y="16" class="middle name">'
            f"{text(_fitting(name(label), min(gap, 130)))}</text>"
        )
        for place, mark in scale.marks(5):
            y = bottom - place * (bottom - top)
            parts.append(
                f'<text x="{x - 5}" y="{y + 4:.0f}" class="end halo">'
                f"{text(_fitting(mark, gap - 40))}</text>"
            )
        parts.append(f'<rect class="brush" data-a="{k}" x="{x - 7}" width="14" y="0" height="0"/>')
        parts.append(
            f'<rect class="grip" data-a="{k}" x="{x - 14}" width="28" y="{top}" '
            f'height="{bottom - top}"/>'
        )
    axes = [_axis(scale, name(label)) for scale, label in zip(scales, names, strict=True)]
    picture = _svg(
        "parallel",
        f"{len(rows)} trials over their hyperparameters",
        "Each line is a trial. A line below an axis does not have that hyperparameter.",
        lefts[-1] + 60,
        _PARALLEL_HEIGHT,
        parts,
    )
    return picture, axes, places


def _axis(scale: Scale, label: str) -> dict[str, Any]:
    """An axis as the page's script reads it."""
    if scale.categories is not None:
        return {"name": label, "categories": [cut(one, 24) for one in scale.categories]}
    return {"name": label, "low": scale.low, "high": scale.high, "log": scale.log}


def bar(share: float) -> str:
    """A bar of a part of its cell, for those who see; the number stands beside."""
    width = max(0.0, min(1.0, share)) * 100
    return (
        '<svg class="share" viewBox="0 0 100 8" aria-hidden="true">'
        f'<rect width="{width:.1f}" height="8"/></svg>'
    )
