"""The sections of a report, in their order: paragraphs, tables, code and charts.

The page and the Markdown show the same sections; those of which nothing is known are not there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kerasreg.reports import _charts
from kerasreg.reports._trials import near, stopped_trials
from kerasreg.reports._verdict import WHAT, verdict
from kerasreg.reports._words import (
    count,
    cut,
    name,
    number,
    seconds,
    sentence,
    share,
    shown,
    size,
    with_error,
)

# So many hyperparameters have a chart, an axis and a column.
_MOST_EFFECTS = 16
_MOST_AXES = 12
_MOST_COLUMNS = 24
_MOST_ROWS = 200
# Of the best trials so many cells are listed at most; half as many of the others.
_MOST_CELLS = 2000
_MOST_CATEGORIES = 40  # More have no axis.
_LONGEST_CELL = 24
_MOST_MEMBERS = 60
_MOST_TABLE_COLUMNS = 300
_MOST_EPOCHS = 60
_LONGEST_CODE = 50_000


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """Some sentences, and whether these are an aside."""

    text: str
    is_note: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """A table; the first cell of each row is its title.

    Attributes:
        caption: what it shows.
        titles: of the columns.
        rows: the texts of the cells.
        numbers: which columns have numbers.
        folded: whether it is the twin of a chart, which is folded away.
        shares: for each row a part from 0 to 1, drawn as a bar, or none.
    """

    caption: str
    titles: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = frozenset()
    folded: bool = False
    shares: Sequence[float] | None = None


@dataclasses.dataclass(frozen=True)
class Code:
    """Code, ready to paste."""

    caption: str
    text: str
    language: str


@dataclasses.dataclass(frozen=True)
class Charts:
    """Charts that stand side by side, each with a caption and the table of what it shows."""

    each: Sequence[tuple[str, str, Table | None]]
    key: Sequence[tuple[str, str]] = ()


@dataclasses.dataclass(frozen=True)
class Parallel:
    """The parallel coordinates of trials."""

    svg: str
    axes: list[dict[str, Any]]
    places: dict[str, list[int]]


@dataclasses.dataclass(frozen=True)
class Leaderboard:
    """The trials in a table that can be sorted; each cell has its text and what sorts it."""

    caption: str
    titles: Sequence[str]
    trials: Sequence[str]
    rows: Sequence[Sequence[tuple[str, Any]]]
    stopped: frozenset[str] = frozenset()


Block = Paragraph | Table | Code | Charts | Parallel | Leaderboard


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the report under a title."""

    identity: str
    title: str
    blocks: Sequence[Block]


def sections(report: Any) -> list[Section]:
    """The sections of a `SearchReport`, but those that would be empty."""
    makers: list[tuple[str, str, Callable[[Any], Iterator[Block]]]] = [
        ("verdict", "Verdict", _verdict),
        ("honesty", "How far the scores can be trusted", _honesty),
        ("learning-curves", "Learning curves", _curves),
        ("effects", "Effect of each hyperparameter", _effects),
        ("trials", "Trials over their hyperparameters", _parallel),
        ("importance", "Importance of hyperparameters", _importance),
        ("leaderboard-of-trials", "Leaderboard", _leaderboard),
        ("members", "Members of the ensemble", _members),
        ("checks", "Predictions of the ensemble", _checks),
        ("columns", "Columns as they were read", _columns),
        ("time", "Time", _time),
        ("failures", "Trials without a result", _failures),
        ("reproduce", "Where it comes from, and how to do it again", _provenance),
    ]
    found = []
    for identity, title, make in makers:
        blocks = list(make(report))
        if blocks:
            found.append(Section(identity, title, blocks))
    return found


def _verdict(report: Any) -> Iterator[Block]:
    for one in verdict(report):
        yield Paragraph(one)
    for note in report.notes:
        yield Paragraph(sentence(note), is_note=True)
    test = report.test
    if test:
        metrics = list(dict.fromkeys(m for model in test["models"] for m in model["scores"]))
        titles = ["model", *map(name, metrics), f"{name(test['metric'])} − {test['reference']}"]
        rows = [
            [
                WHAT.get(model["name"], name(model["name"])),
                *(number(model["scores"].get(metric)) for metric in metrics),
                ""
                if model["difference"] is None
                else with_error(model["difference"], model["standard_error"], "+"),
            ]
            for model in test["models"]
        ]
        measured = [one for one in _MEASURED if any(m.get(one) is not None for m in test["models"])]
        titles += [_MEASURED[one][0] for one in measured]
        for row, model in zip(rows, test["models"], strict=True):
            row += [_MEASURED[one][1](model.get(one)) for one in measured]
        caption = "Scores on the test part; differences are paired by rows, ± one standard error"
        yield Table(caption, titles, rows, frozenset(range(1, len(titles))))
        if "milliseconds" in measured:
            yield Paragraph(
                "Time is the median of calls with one row, after the first one, in the process of "
                "the search: each model as Python calls it. One that is served has another time.",
                is_note=True,
            )


# What was measured of the models that are compared.
_MEASURED: dict[str, tuple[str, Callable[[Any], str]]] = {
    "zeros": ("zeros", share),
    "bytes": ("weights", size),
    "milliseconds": ("one row", lambda value: "" if value is None else f"{number(value)} ms"),
}


def _honesty(report: Any) -> Iterator[Block]:
    if report.honesty:
        rows = [
            [
                sentence(one["what"]),
                name(one["metric"]),
                with_error(one["score"], one["standard_error"]),
                sentence(one["note"]),
            ]
            for one in report.honesty
        ]
        yield Table(
            "Scores, from the one that flatters most to the one that can be trusted",
            ["score of", "metric", "score", "what to think of it"],
            rows,
            frozenset([2]),
        )


def _curves(report: Any) -> Iterator[Block]:
    if not report.curves or not report.curves["trials"]:
        return
    drawn = report.curves["trials"]
    told = [
        f"{len(drawn)} of {count(len(report.ranking), 'trial')} are drawn. Scores beyond the "
        "worst twentieth are drawn at the edge."
    ]
    charts: list[tuple[str, str, Table | None]] = []
    key = [("", "the best trials"), ("grey", "others")]
    if stopped_trials(report):
        key.append(("stopped", "stopped early"))
    lasts = [
        [name(one["trial"]), str(one["epochs"][-1] + 1), number(one["validation"][-1])]
        for one in drawn[:20]
    ]
    metric = name(report.curves["metric"])
    twin = Table(
        "The last epoch of the first of these trials",
        ["trial", "epochs", metric],
        lasts,
        frozenset([1, 2]),
        folded=True,
    )
    charts.append((f"{metric} by the epoch", _charts.curves(report), twin))
    best = next((one for one in drawn if one["trial"] == report.ranking[0]), None)
    if best is not None and best["training"]:
        key.append(("dash", "training"))
        step = -(-len(best["epochs"]) // _MOST_EPOCHS)
        rows = [
            [str(epoch + 1), number(train), number(validation)]
            for epoch, train, validation in list(
                zip(best["epochs"], best["training"], best["validation"], strict=True)
            )[::step]
        ]
        twin = Table(
            f"Trial {name(best['trial'])} by the epoch",
            ["epoch", "training", "validation"],
            rows,
            frozenset([0, 1, 2]),
            folded=True,
        )
        charts.append(
            (
                f"The best trial, {name(best['trial'])}: validation and training",
                _charts.train_gap(report, best),
                twin,
            )
        )
        gap = _gap(best)
        if gap is not None:
            told.append(
                f"At its last epoch the best trial has {number(gap[0])} in training and "
                f"{number(gap[1])} in validation: a gap of {number(abs(gap[1] - gap[0]))}. "
                "Dropout and penalties are on in training, so that the gap may be negative."
            )
    yield Paragraph(" ".join(told))
    yield Charts(charts, key)


def _gap(one: Mapping[str, Any]) -> tuple[float, float] | None:
    train, validation = one["training"][-1], one["validation"][-1]
    return None if train is None or validation is None else (train, validation)


def _by_importance(report: Any, most: int) -> list[dict[str, Any]]:
    """The hyperparameters that vary, the most important ones where there are many."""
    varied = [
        one
        for one in report.hyperparameters
        if one["distinct"] > 1 and len(one["categories"] or ()) <= _MOST_CATEGORIES
    ]
    if report.importance:
        places = {one["hyperparameter"]: k for k, one in enumerate(report.importance["rows"])}
        varied.sort(key=lambda one: places.get(one["name"], len(places)))
    return varied[:most]


def _effects(report: Any) -> Iterator[Block]:
    if not report.effects:
        return
    limit, left_out = report.effects["limit"], report.effects["left_out"]
    done = set(report.ranking)
    completed = [row for row in report.trials if row["trial"] in done]
    rows = near(completed, limit, report.objective["direction"])
    told = (
        "Each dot is a trial. The line is the mean of scores in bins of trials, the band one "
        "standard error of that mean; other hyperparameters differ too within a bin."
    )
    if left_out:
        told += (
            f" {count(left_out, 'trial')} with a score beyond {number(limit)} "
            f"{'is' if left_out == 1 else 'are'} far off, and in neither."
        )
    yield Paragraph(told)
    found = {one["hyperparameter"]: one for one in report.effects["rows"]}
    charts: list[tuple[str, str, Table | None]] = []
    for one in _by_importance(report, _MOST_EFFECTS):
        if one["name"] in found:
            effect = found[one["name"]]
            svg = _charts.effect(report, f"effect-{len(charts)}", effect, one, rows)
            caption = f"{name(report.objective['name'])} by {name(one['name'])}"
            charts.append((caption, svg, _bins(report, effect)))
    if len(found) > len(charts):
        yield Paragraph(f"The {len(charts)} most important of {len(found)} are drawn.")
    yield Charts(charts, [("", "mean and one standard error")])


def _bins(report: Any, effect: Mapping[str, Any]) -> Table:
    rows = []
    for each in effect["bins"][:_MOST_ROWS]:
        at = shown(each["category"] if each["category"] is not None else each["low"])
        if each["category"] is None and each["high"] != each["low"]:
            at += f" to {shown(each['high'])}"
        rows.append([at, str(each["count"]), with_error(each["mean"], each["standard_error"])])
    return Table(
        f"Mean {name(report.objective['name'])} by {name(effect['hyperparameter'])}",
        [name(effect["hyperparameter"]), "trials", "mean ± standard error"],
        rows,
        frozenset([1, 2]),
        folded=True,
    )


def _listed(report: Any) -> tuple[list[dict[str, Any]], int]:
    """The trials that are listed, and how many of them are the best ones.

    The others are evenly spaced by their rank. Where there are many columns there are fewer rows.
    """
    by_trial = {row["trial"]: row for row in report.trials}
    rows = [by_trial[trial] for trial in report.ranking]
    columns = 3 + len(_known_columns(rows)) + min(_MOST_COLUMNS, len(report.hyperparameters))
    best = min(_MOST_ROWS, _MOST_CELLS // columns)
    rest = rows[best:]
    step = -(-len(rest) // (best // 2)) or 1
    return rows[:best] + rest[::step], min(best, len(rows))


def _parallel(report: Any) -> Iterator[Block]:
    axes = _by_importance(report, _MOST_AXES)
    rows, _ = _listed(report)
    if axes and len(rows) > 1:
        yield Parallel(*_charts.parallel(report, axes, rows))


def _importance(report: Any) -> Iterator[Block]:
    found = report.importance
    if not found:
        return
    told = f"By {found['method']}. Of {count(found['trials'], 'trial')}."
    if found["explained"] is not None:
        told += (
            f" The forest explains {max(0.0, found['explained']):.0%} of the variance of trials "
            "that it has not seen"
        )
        told += (
            ": next to nothing, so that the table tells little."
            if found["explained"] < 0.1
            else "."
        )
    yield Paragraph(told)
    most = max([one["importance"] for one in found["rows"]] + [1e-12])
    listed = found["rows"][:_MOST_COLUMNS]
    rows = [[name(one["hyperparameter"]), _importance_of(one)] for one in listed]
    shares = [max(0.0, one["importance"]) / most for one in listed]
    yield Table(
        "Importance, the greatest first",
        ["hyperparameter", "importance"],
        rows,
        frozenset([1]),
        shares=shares,
    )


def _importance_of(one: Mapping[str, Any]) -> str:
    error = one["standard_error"]
    # No zero with a sign.
    return f"{round(one['importance'], 3) + 0.0:.3f}" + ("" if error is None else f" ± {error:.3f}")


def _leaderboard(report: Any) -> Iterator[Block]:
    rows, best = _listed(report)
    if not rows:
        return
    varied = _by_importance(report, _MOST_COLUMNS)
    keep = _known_columns(rows)
    titles = ["rank", "trial", name(report.objective["name"])]
    titles += [_OWN[column][0] for column in keep] + [name(one["name"]) for one in varied]
    cells = []
    for rank, row in enumerate(_ranks(report, rows)):
        of_row = rows[rank]
        cells.append(
            [
                (str(row), row),
                (name(of_row["trial"]), of_row["trial"]),
                (number(of_row["score"]), of_row["score"]),
                *((_OWN[column][1](of_row.get(column)), of_row.get(column)) for column in keep),
                *(_value(of_row, one) for one in varied),
            ]
        )
    caption = f"The best {best} of {count(len(report.ranking), 'trial')}"
    if len(rows) > best:
        caption += f", and {len(rows) - best} others, evenly spaced by rank"
    stopped = stopped_trials(report)
    yield Leaderboard(caption, titles, [row["trial"] for row in rows], cells, stopped)
    if "zeros" in keep or "bytes" in keep:
        yield Paragraph(
            "Zeros are the part of the numbers in the weights of a trial that are exactly 0, bytes "
            "what all of them take; of a trial with folds, those of one model.",
            is_note=True,
        )


# The columns of a leaderboard beside rank, trial and score, where some trial has them.
_OWN: dict[str, tuple[str, Callable[[Any], str]]] = {
    "standard_error": ("± error", number),
    "shrunken": ("shrunken", number),
    "best_epoch": ("best epoch", lambda epoch: number(None if epoch is None else epoch + 1)),
    "stopped": ("stopped by", lambda value: "" if value is None else name(value)),
    "zeros": ("zeros", share),
    "bytes": ("bytes", size),
    "seconds": ("seconds", seconds),
}


def _known_columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [one for one in _OWN if any(row.get(one) is not None for row in rows)]


def _ranks(report: Any, rows: Sequence[Mapping[str, Any]]) -> list[int]:
    places = {trial: place for place, trial in enumerate(report.ranking, 1)}
    return [places[row["trial"]] for row in rows]


def _value(row: Mapping[str, Any], one: Mapping[str, Any]) -> tuple[str, Any]:
    if one["name"] not in row["values"]:
        return "", None
    value = row["values"][one["name"]]
    if isinstance(value, (bool, str)):
        return cut(str(value), _LONGEST_CELL), None
    return number(value), value


def _members(report: Any) -> Iterator[Block]:
    found = report.ensemble
    if not found:
        return
    listed = found["members"][:_MOST_MEMBERS]
    rows = [[name(one["trial"]), f"{one['share']:.1%}", number(one["score"])] for one in listed]
    yield Table(
        "Trials whose mean is the ensemble, by their shares",
        ["trial", "share", f"{name(found['metric'])} alone"],
        rows,
        frozenset([1, 2]),
        shares=[one["share"] for one in listed],
    )


def _checks(report: Any) -> Iterator[Block]:
    found = report.checks
    if not found:
        return
    of = f"Of {count(found['samples'], 'sample')} that no member was trained with: "
    if found["kind"] == "regression":
        yield Paragraph(
            f"{of}RMSE {number(found['rmse'])}, mean residual {number(found['bias'])}, in the "
            "units in which the networks were trained."
        )
        yield Charts([("Residuals by the prediction", _charts.residuals(found), None)])
        return
    yield Paragraph(
        f"{of}{found['accuracy']:.1%} are right; how sure the ensemble is differs from that by "
        f"{found['calibration_error']:.1%} on average."
    )
    rows = [
        [
            f"{one['low']:.0%} to {one['high']:.0%}",
            str(one["count"]),
            f"{one['confidence']:.1%}",
            f"{one['accuracy']:.1%}",
        ]
        for one in found["calibration"]
    ]
    twin = Table(
        "Calibration",
        ["confidence", "samples", "mean confidence", "right"],
        rows,
        frozenset([1, 2, 3]),
        folded=True,
    )
    yield Charts([("How often the ensemble is right", _charts.calibration(found), twin)])
    if found["confusion"]:
        yield Table(
            "Confusion: rows are the classes, columns what the ensemble says",
            ["class", *(name(one) for one in found["classes"])],
            [
                [name(label), *map(str, row)]
                for label, row in zip(found["classes"], found["confusion"], strict=True)
            ],
            frozenset(range(1, len(found["classes"]) + 1)),
        )


def _columns(report: Any) -> Iterator[Block]:
    if not report.columns:
        return
    listed = report.columns[:_MOST_TABLE_COLUMNS]
    more = len(report.columns) - len(listed)
    if more:
        yield Paragraph(f"The first {len(listed)} of {len(report.columns)} columns.")
    titles = ["column", "read as", "because"]
    rows = [[name(one["name"]), name(one["kind"]), sentence(one["reason"])] for one in listed]
    if not any(row[-1] for row in rows):
        titles, rows = titles[:-1], [row[:-1] for row in rows]
    yield Table("Columns of the data", titles, rows)


def _time(report: Any) -> Iterator[Block]:
    yield from _programs(report)
    if report.lanes:
        drawn = _charts.lanes(report)
        told = [
            [
                str(number),
                seconds(one["seconds"][-1] if one["seconds"] else 0.0),
                str(one["most"]),
                f"{one['mean']:.1f}",
            ]
            for number, one in enumerate(report.lanes, 1)
        ]
        twin = Table(
            "Trainings at the same time, for each search of the project",
            ["search", "time", "most", "mean"],
            told,
            frozenset([1, 2, 3]),
            folded=True,
        )
        yield Charts([("Trainings at the same time", drawn, twin)])


def _programs(report: Any) -> Iterator[Block]:
    if not report.programs:
        return
    total = sum(one["seconds"] or 0.0 for one in report.programs)
    yield Paragraph(
        f"{seconds(total)} of tracing, compiling and training; building the models is not in it."
    )
    rows = [
        [
            _trained_as(one),
            str(one["trials"]),
            str(one["at_once"]),
            seconds(one["seconds"]),
            seconds(one["tracing"]),
            sentence(one["why"]),
        ]
        for one in report.programs[:_MOST_MEMBERS]
    ]
    yield Table(
        "How trials were trained: as lanes of a program, on replicas, or alone",
        ["trained", "trials", "at once", "time", "of it tracing", "why"],
        rows,
        frozenset([1, 2, 3, 4]),
    )


def _trained_as(row: Mapping[str, Any]) -> str:
    if row.get("by") == "replicas":  # Reports of earlier versions do not say it.
        return f"{row['replicas']} replica{'' if row['replicas'] == 1 else 's'}"
    return "alone" if row["program"] is None else f"program {row['program']}"


def _failures(report: Any) -> Iterator[Block]:
    if not report.failures:
        return
    yield Table(
        "Reasons, the most frequent first",
        ["trials", "status", "reason", "such as"],
        [
            [
                str(one["count"]),
                name(one["status"]).lower(),
                sentence(one["message"]),
                ", ".join(map(name, one["trials"])),
            ]
            for one in report.failures[:_MOST_MEMBERS]
        ],
    )


def _provenance(report: Any) -> Iterator[Block]:
    found = report.provenance
    rows = [[name(key), name(value)] for key, value in (found.get("versions") or {}).items()]
    if found.get("fingerprint"):
        rows.append(["data (SHA-256)", sentence(found["fingerprint"])])
    if rows:
        yield Table("Versions and data", ["of", "is"], rows)
    if found.get("command"):
        yield Code("The command:", found["command"], "sh")
    if found.get("code") and len(found["code"]) <= _LONGEST_CODE:
        yield Code("The best setting in Keras:", found["code"], "python")
