"""The report of a search in a folder: of the trials there, and of what the command compared."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from kerasreg.cli._record import SearchSettings, most_trials, read_record
from kerasreg.reports import SearchReport, honest_scores, search_report, trial_scores

# Beside `report.json`, which has what the command printed.
_DATA = "search_report.json"
_FILES = ("report.html", "report.md", _DATA)
# Of `kerasreg.hypermodels.TableHyperModel`, for classes and for numbers.
_OBJECTIVES = ("val_log_loss", "val_rmse")
_REFERENCE = "ensemble"
# Makes of the scores of trials and a direction their shrunken scores.
Shrink = Callable[..., Any]


def with_comparison(
    report: SearchReport, found: Mapping[str, Any], described: Mapping[str, Any] | None = None
) -> SearchReport:
    """A report with what the command found beside the trials.

    Args:
        report: of the trials.
        found: what `report.json` has.
        described: the data, as `Table.described` has them, where they are at hand.
    """
    settings, scores, differences = found["settings"], found["test"], found["compared"]
    metric = "log_loss" if found["classes"] is not None else "rmse"
    models = [
        {
            "name": name,
            "scores": dict(each),
            "difference": differences.get(name, (None, None))[0],
            "standard_error": differences.get(name, (None, None))[1],
            **found.get("measured", {}).get(name, {}),
        }
        for name, each in scores.items()
    ]
    honest = {
        "what": "the ensemble on the test part",
        "metric": metric,
        "score": scores[_REFERENCE][metric],
        "standard_error": None,
        "note": "can be trusted: nothing has seen these rows",
    }
    labels, checks = found["classes"], report.checks
    # Reports that were written before have none.
    unit = found.get("target_scale", 1.0)
    ensemble, flattering = report.ensemble, report.honesty
    if ensemble is None:  # Of a report of the trials alone.
        ensemble = _ensemble(found["ensemble"])
        flattering = [*flattering, *honest_scores("", 0, None, ensemble)]
    flattering = [_in_units(row, unit) for row in flattering]
    if checks is not None and labels and len(checks.get("classes") or ()) == len(labels):
        checks = {**checks, "classes": [str(one) for one in labels]}
    return _with(
        report,
        test={
            "rows": found["verification"]["samples"],
            "metric": metric,
            "reference": _REFERENCE,
            "models": models,
            "unit": unit,
        },
        honesty=[*flattering, honest],
        ensemble=ensemble,
        checks=checks,
        columns=_columns(found, described or {}),
        provenance={
            **report.provenance,
            "fingerprint": settings["fingerprint"],
            "command": command_of(settings),
            "code": "\n".join(
                [
                    "import keras",
                    "import kerasreg  # Its layers are in the model.",
                    "",
                    'model = keras.saving.load_model("ensemble.keras")  # In this folder.',
                    "best_setting = {",
                    *(f"    {n!r}: {v!r}," for n, v in found["best_hyperparameters"].items()),
                    "}",
                ]
            ),
        },
    )


def _in_units(row: Mapping[str, Any], unit: float) -> dict[str, Any]:
    """A row of the scores that can be trusted or not, in the units of the test part."""
    error = row["standard_error"]
    return {
        **row,
        "metric": row["metric"] if unit == 1.0 else row["metric"].removeprefix("val_"),
        "score": unit * row["score"],
        "standard_error": None if error is None else unit * error,
    }


def _with(report: SearchReport, **parts: Any) -> SearchReport:
    """A report with other parts, as JSON would give these back."""
    changed = dataclasses.replace(report, **parts)
    return SearchReport.from_dict(changed.to_dict())


def _ensemble(found: Mapping[str, Any]) -> dict[str, Any]:
    """An ensemble of `report.json`, as a report has it."""
    names = ("metric", "score", "expected_score", "standard_error", "best_score")
    members = [
        {"trial": one["trial_id"], "share": one["share"], "score": one["score"]}
        for one in found["rows"]
    ]
    return {
        **{name: found[name] for name in names},
        "best_trial": found["best_trial_id"],
        "members": members,
    }


def _columns(found: Mapping[str, Any], described: Mapping[str, Any]) -> list[dict[str, str]]:
    reading = (described.get("reading") or {}).get("columns")
    if reading is None:
        return [{"name": str(name), "kind": "number", "reason": ""} for name in found["columns"]]
    return [
        {"name": str(name), "kind": each["kind"], "reason": each["reason"]}
        for name, each in reading.items()
    ]


def command_of(settings: Mapping[str, Any]) -> str:
    """The command line of a search, without what has its default."""
    given = []
    for field in dataclasses.fields(SearchSettings):
        value = settings.get(field.name, field.default)
        value = tuple(value) if isinstance(value, list) else value
        if value != field.default:
            text = ",".join(value) if isinstance(value, tuple) else value
            given.append(f"--{field.name}={text}")
    return shlex.join(["kerasreg", "search", *given])


def stored_report(folder: str) -> SearchReport | None:
    """The report that the command has written in a folder; None if it is not of the trials there.

    Raises:
        ValueError: if the folder has no search, or what it has cannot be read.
    """
    states = _states(folder)
    path = os.path.join(folder, _DATA)
    if not os.path.exists(path):
        return None
    report = SearchReport.from_dict(_json(path))
    if report.progress is not None and report.progress["state"] in ("running", "stopped"):
        return None  # Of a search that ran on, or was killed.
    now = [(state["trial_id"], state["status"]) for state in states]
    return report if [(row["trial"], row["status"]) for row in report.trials] == now else None


def report_of_trials(folder: str, shrink: Shrink) -> SearchReport:
    """The report of the trials that are in a folder now, also of a search that has not ended.

    Args:
        folder: the folder of a search.
        shrink: makes shrunken scores.

    Raises:
        ValueError: if the folder has no search, or what it has cannot be read.
    """
    states = _states(folder)
    record = read_record(folder) or {}
    known = {name for state in states for name in state["metrics"]["metrics"]}
    objective = next((name for name in _OBJECTIVES if name in known), _OBJECTIVES[0])
    scores = {state["trial_id"]: trial_scores(state, objective) for state in states}
    scores = {trial: each for trial, each in scores.items() if each}
    shrunken: dict[str, tuple[float, float]] = {}
    if scores:
        most = max(map(len, scores.values()))
        rows = [each + [float("nan")] * (most - len(each)) for each in scores.values()]
        each = zip(scores, shrink(rows, "min"), strict=True)
        shrunken = {trial: (one.shrunken, one.shrunken_error) for trial, one in each}
    curves = os.path.join(folder, "search", "learning_curves.json")
    path, notes = os.path.join(folder, "report.json"), []
    log = os.path.join(folder, "search", "search_log.json")
    logged = _json(log) if os.path.exists(log) else {"trials": {}, "lanes": []}
    found = _json(path) if os.path.exists(path) else None
    progress: dict[str, Any] | None = None
    if found is None:
        notes.append("The search has not ended, or was cut off: nothing was compared on the test.")
        ended = sum(state["status"] in ("COMPLETED", "FAILED") for state in states)
        progress = {
            "state": "unfinished",
            "ended": ended,
            "expected": most_trials(record),
            "running": 0,
            "written": None,
        }
    elif most_trials(found["settings"]) != most_trials(record):
        notes.append("What is compared on the test part is of the search before it was resumed.")
    report = search_report(
        states,
        objective=objective,
        direction="min",
        title=os.path.basename(str(record.get("data"))),
        shrunken=shrunken,
        trained=logged["trials"],
        curves=_json(curves) if os.path.exists(curves) else None,
        provenance={
            "versions": {},
            "fingerprint": record.get("fingerprint"),
            "command": command_of(record),
            "code": None,
        },
        notes=notes,
        progress=progress,
        lanes=logged["lanes"],
    )
    best = next((row for row in report.trials if row["trial"] in report.ranking[:1]), None)
    honest = honest_scores(objective, len(report.ranking), best)
    report = _with(report, honesty=honest)
    return report if found is None else with_comparison(report, found)


def _states(folder: str) -> list[dict[str, Any]]:
    """The states of the trials of a search, in the order in which they began."""
    if read_record(folder) is None:
        raise ValueError(
            "FOLDER must be one that `kerasreg search` has written; there is no job.json in "
            f"{folder!r}"
        )
    project = os.path.join(folder, "search")
    names = os.listdir(project) if os.path.isdir(project) else []
    found = {
        name.removeprefix("trial_"): _json(path)
        for name in sorted(names)
        if os.path.exists(path := os.path.join(project, name, "trial.json"))
    }
    oracle = os.path.join(project, "oracle.json")
    began = _json(oracle)["start_order"] if os.path.exists(oracle) else []
    order = [trial for trial in dict.fromkeys([*began, *found]) if trial in found]
    return [found[trial] for trial in order]


def _json(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except ValueError as error:
        raise ValueError(f"{path!r} cannot be read: {error}") from error


def while_running(
    report: SearchReport, record: Mapping[str, Any], title: str, described: Mapping[str, Any] | None
) -> SearchReport:
    """A report of the trials of a search that has not ended, with what the command knows now.

    Args:
        report: of the trials.
        record: the settings of the search, and the fingerprint of its data.
        title: the name of the data.
        described: the data, as `Table.described` has them.
    """
    reading = {"columns": (described or {}).get("columns") or []}
    return _with(
        report,
        title=title,
        columns=_columns(reading, described or {}),
        notes=[
            *report.notes,
            "The ensemble, and what it scores on the test part, come at the end.",
        ],
        provenance={
            **report.provenance,
            "fingerprint": record["fingerprint"],
            "command": command_of(record),
        },
    )


def write_report(report: SearchReport, folder: str) -> None:
    """Writes the page, the Markdown and the values of a report into a folder."""
    for name in _FILES:
        report.write(os.path.join(folder, name))
