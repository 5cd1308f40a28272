"""Trials as a report has them: read from the states that KerasTuner writes of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kerasreg._error_of_mean import error_of_mean

# Of the bad side: scores beyond this many interquartile ranges say nothing of good settings.
_FAR = 3.0
_FEWEST_FOR_FAR = 8


def finite(value: Any) -> float | None:
    """A number as JSON can hold it: None in place of NaN, an infinite one, and what is none."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def trial_row(state: Mapping[str, Any], objective: str, executions: int = 1) -> dict[str, Any]:
    """One trial.

    Args:
        state: the state of a KerasTuner trial, as `trial.get_state()` and `trial.json` have it.
        objective: the name of the objective.
        executions: of folds, how many executions have one each; else 1.
    """
    scores = trial_scores(state, objective, executions)
    return {
        "trial": str(state["trial_id"]),
        "status": str(state["status"]),
        "score": finite(state.get("score")),
        "standard_error": finite(error_of_mean(scores)),
        "shrunken": None,
        "shrunken_error": None,
        "best_epoch": state.get("best_step") if scores else None,
        "scores": [finite(score) for score in scores],
        "values": {name: _plain(value) for name, value in _active(state).items()},
        "metrics": _metrics(state),
        "message": _last_line(state.get("message")),
        "program": None,
        "why_alone": None,
        "seconds": None,
        "stopped": None,
        "zeros": None,
        "bytes": None,
        "began": None,
        "ended": None,
    }


def _metrics(state: Mapping[str, Any]) -> dict[str, float | None]:
    """The mean of each metric over folds and executions, at the best epoch."""
    if state["status"] != "COMPLETED":
        return {}
    found = {}
    for name in state["metrics"]["metrics"]:
        values = _values(state, name)
        found[str(name)] = finite(statistics.fmean(values)) if values else None
    return found


def trial_scores(state: Mapping[str, Any], objective: str, executions: int = 1) -> list[float]:
    """The objective of a completed trial in each fold: the mean over executions, if there are some.

    Args:
        state: the state of a KerasTuner trial, as `trial.get_state()` and `trial.json` have it.
        objective: the name of the objective.
        executions: of folds, how many executions have one each; else 1.

    Returns:
        A score for each fold; without folds, for each execution; none of a trial without a result.

    Example:

    >>> import kerasreg
    >>> state = {"status": "COMPLETED", "best_step": 2, "metrics": {"metrics": {"val_loss": {
    ...     "observations": [{"step": 2, "value": [0.5, 0.25]}]}}}}
    >>> kerasreg.reports.trial_scores(state, "val_loss")
    [0.5, 0.25]
    """
    if state["status"] != "COMPLETED" or objective not in state["metrics"]["metrics"]:
        return []
    values = _values(state, objective)
    if len(values) % executions:
        return values
    folds = len(values) // executions
    return [statistics.fmean(values[fold::folds]) for fold in range(folds)]


def _values(state: Mapping[str, Any], metric: str) -> list[float]:
    history = state["metrics"]["metrics"][metric]["observations"]
    at_best = [one for one in history if one["step"] == state.get("best_step")]
    every = at_best or history
    return [float(value) for value in every[-1]["value"]] if every else []


def _active(state: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a trial, without those of conditions that do not hold."""
    values = state["hyperparameters"]["values"]
    declared: dict[str, bool] = {}
    for one in state["hyperparameters"]["space"]:
        config = one["config"]
        holds = all(_holds(condition, values) for condition in config.get("conditions", ()))
        declared[config["name"]] = declared.get(config["name"], False) or holds
    return {name: value for name, value in values.items() if declared.get(name, True)}


def _holds(condition: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    config = condition["config"]
    return config["name"] in values and values[config["name"]] in config["values"]


def _plain(value: Any) -> Any:
    """A value of a hyperparameter as JSON can hold it."""
    if isinstance(value, (bool, str)) or value is None:
        return value
    if isinstance(value, int):
        return value
    number = finite(value)
    return str(value) if number is None else number


def _last_line(message: Any) -> str | None:
    lines = str(message or "").strip().splitlines()
    return lines[-1] if lines else None


def hyperparameters_of(
    states: Iterable[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Each hyperparameter that some trial has: its kind, its scale, and whether it varies.

    But those of Hyperband's own, which are about the search and not about the model.
    """
    logarithmic: dict[str, bool] = {}
    choices: dict[str, list[Any]] = {}
    spaces: dict[str, dict[str, Any]] = {}
    for state in states:
        for one in state["hyperparameters"]["space"]:
            config = one["config"]
            name = str(config["name"])
            spaces.setdefault(name, _space(one))
            logarithmic[name] = config.get("sampling") in ("log", "reverse_log")
            if "values" in config:
                known = choices.setdefault(name, [])
                known += [value for value in map(_plain, config["values"]) if value not in known]
    values: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in row["values"].items():
            if not str(name).startswith("tuner/"):
                values.setdefault(str(name), []).append(value)
    return [
        {
            **_hyperparameter(name, found, logarithmic.get(name, False), choices.get(name, [])),
            "space": spaces.get(name),
        }
        for name, found in values.items()
    ]


def _space(declared: Mapping[str, Any]) -> dict[str, Any]:
    """What a hyperparameter was drawn from, as KerasTuner's `Float`, `Choice`, ... declare it."""
    config = declared["config"]
    choices = config.get("values")
    return {
        "kind": str(declared.get("class_name", "")),
        "low": finite(config.get("min_value")),
        "high": finite(config.get("max_value")),
        "step": finite(config.get("step")),
        "sampling": config.get("sampling"),
        "values": None if choices is None else [_plain(value) for value in choices],
    }


def _hyperparameter(
    name: str, found: Sequence[Any], logarithmic: bool, choices: Sequence[Any]
) -> dict[str, Any]:
    is_number = all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in found)
    if is_number and choices:
        # Numbers to choose from, such as 0, 1e-5 and 1e-3, are steps and no scale.
        choices, is_number = sorted(choices), False
    # `1` and `True` are equal, and two kinds.
    distinct = list({(type(one), one): one for one in found}.values())
    kind: dict[str, Any] = {"name": name, "distinct": len(distinct)}
    if is_number:
        log = logarithmic and min(found) > 0
        return {
            **kind,
            "kind": "number",
            "scale": "log" if log else "linear",
            "least": min(found),
            "most": max(found),
            "categories": None,
        }
    order = [one for one in choices if one in distinct]
    order += [one for one in distinct if one not in order]
    return {
        **kind,
        "kind": "category",
        "scale": None,
        "least": None,
        "most": None,
        "categories": list(dict.fromkeys(map(str, order))),
    }


def far_limit(rows: Sequence[Mapping[str, Any]], direction: str) -> float | None:
    """The score beyond which trials are far worse than others; None where none is.

    Tukey's outer fence, on the bad side.
    """
    scores = sorted(row["score"] for row in rows if row["score"] is not None)
    if len(scores) < _FEWEST_FOR_FAR:
        return None
    low, _, high = statistics.quantiles(scores, n=4)
    if direction == "max":
        limit = low - _FAR * (high - low)
        return limit if scores[0] < limit else None
    limit = high + _FAR * (high - low)
    return limit if scores[-1] > limit else None


def near(
    rows: Sequence[Mapping[str, Any]], limit: float | None, direction: str
) -> list[Mapping[str, Any]]:
    """The trials whose scores are not beyond a limit, as `far_limit` found it."""
    sign = 1.0 if direction == "min" else -1.0
    return [row for row in rows if limit is None or sign * (row["score"] - limit) <= 0]


def ranked(rows: Sequence[dict[str, Any]], direction: str) -> list[dict[str, Any]]:
    """The completed trials with a score, the best first, as the report orders them.

    By shrunken scores where all have one, and equal ones by scores; as `tuner.select` does.
    """
    sign = 1.0 if direction == "min" else -1.0
    known = [row for row in rows if row["status"] == "COMPLETED" and row["score"] is not None]
    by_shrunken = all(row["shrunken"] is not None for row in known)

    def key(row: dict[str, Any]) -> tuple[float, float]:
        return sign * (row["shrunken"] if by_shrunken else row["score"]), sign * row["score"]

    return sorted(known, key=key)


def stopped_trials(report: Any) -> frozenset[str]:
    """The trials that something stopped before their last epoch."""
    return frozenset(row["trial"] for row in report.trials if row.get("stopped"))
