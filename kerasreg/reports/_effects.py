"""Of which hyperparameters scores depend, and how: means in bins, and importance."""

from __future__ import annotations

import importlib.util
import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Of fewer trials a forest learns nothing that can be told from noise.
_FEWEST = 20
# Of so many trials importance is estimated; more cost time, and tell no more.
_MOST = 2000
_BINS = 8
_MOST_CATEGORIES = 40
_PARTS = 5
_REPEATS = 5
_ROWS = 50_000  # That a forest is given at once.

FOREST = (
    "permutation importance of a random forest (scikit-learn, 100 trees) that predicts the ranks "
    "of scores, on trials that it was not trained with: by how much of their variance the squared "
    "error grows if the values of one hyperparameter are shuffled"
)
CORRELATION = (
    "squared rank correlation with the score, of categories the part of the variance of ranks "
    "between them; each hyperparameter is taken alone"
)


def effects(
    hyperparameters: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The mean score for values of each hyperparameter that varies.

    Args:
        hyperparameters: of the report.
        rows: the trials to look at: with scores, and not far off.

    Returns:
        A dictionary for each: its `hyperparameter` and its `bins`, each with `low` and `high`, or
        the `category`; `count`, `mean` and `standard_error` (None of a single trial).
    """
    found = []
    for one in hyperparameters:
        if len(one["categories"] or ()) > _MOST_CATEGORIES:
            continue
        pairs = [(row["values"][one["name"]], row["score"]) for row in rows if _has(row, one)]
        bins = _category_bins(one, pairs) if one["kind"] == "category" else _number_bins(pairs)
        if len(bins) > 1:
            found.append({"hyperparameter": one["name"], "bins": bins})
    return found


def _has(row: Mapping[str, Any], one: Mapping[str, Any]) -> bool:
    return one["name"] in row["values"]


def _category_bins(
    one: Mapping[str, Any], pairs: Sequence[tuple[Any, float]]
) -> list[dict[str, Any]]:
    bins = []
    for category in one["categories"]:
        scores = [score for value, score in pairs if str(value) == category]
        if scores:
            bins.append({"category": category, "low": None, "high": None, **_summary(scores)})
    return bins


def _number_bins(pairs: Sequence[tuple[Any, float]]) -> list[dict[str, Any]]:
    """Each distinct value where there are few, else bins of about equally many trials."""
    distinct = sorted({value for value, _ in pairs})
    if len(distinct) <= _BINS:
        groups = [[pair for pair in pairs if pair[0] == value] for value in distinct]
    else:
        ordered = sorted(pairs)
        count = max(2, min(_BINS, len(ordered) // 4))
        ends = [round(k * len(ordered) / count) for k in range(count + 1)]
        groups = [ordered[low:high] for low, high in itertools.pairwise(ends)]
    return [
        {
            "category": None,
            "low": min(value for value, _ in group),
            "high": max(value for value, _ in group),
            **_summary([score for _, score in group]),
        }
        for group in groups
        if group
    ]


def _summary(scores: Sequence[float]) -> dict[str, Any]:
    error = statistics.stdev(scores) / math.sqrt(len(scores)) if len(scores) > 1 else None
    return {"count": len(scores), "mean": statistics.fmean(scores), "standard_error": error}


def importance(
    hyperparameters: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """How much scores depend on each hyperparameter that varies.

    Args:
        hyperparameters: of the report.
        rows: the trials with scores.

    Returns:
        The `method` in words, how many `trials` it saw, `explained`: the part of the variance that
        the forest predicts, None of correlations; and `rows`, the most important first. None of
        fewer than 20 trials, or where no two hyperparameters vary.
    """
    varied = [one for one in hyperparameters if one["distinct"] > 1]
    rows = [rows[k] for k in _evenly(len(rows), _MOST)]
    if len(rows) < _FEWEST or len(varied) < 2:
        return None
    columns = np.stack([_column(one, rows) for one in varied], axis=1)
    ranks = _ranks(np.array([row["score"] for row in rows]))
    explained: float | None = None
    errors: Sequence[float | None]
    if importlib.util.find_spec("sklearn"):
        method = FOREST
        means, errors, explained = _by_forest(columns, ranks)
    else:
        method = CORRELATION
        means = [_correlation(one, rows, ranks) for one in varied]
        errors = [None] * len(varied)
    found = [
        {"hyperparameter": one["name"], "importance": mean, "standard_error": error}
        for one, mean, error in zip(varied, means, errors, strict=True)
    ]
    found.sort(key=lambda one: -one["importance"])
    return {"method": method, "trials": len(rows), "explained": explained, "rows": found}


def _evenly(count: int, most: int) -> list[int]:
    """Numbers below `count`, at most `most`, evenly spaced."""
    if count <= most:
        return list(range(count))
    return [round(k * (count - 1) / (most - 1)) for k in range(most)] if most > 1 else [0]


def _column(one: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """The values as numbers for a forest, for which only their order counts; -1 where not set."""
    values = [row["values"].get(one["name"]) for row in rows]
    if one["kind"] == "category":
        numbers = {name: float(k) for k, name in enumerate(one["categories"])}
        return np.array([numbers.get(str(value), -1.0) for value in values])
    known = np.array([np.nan if value is None else float(value) for value in values])
    ranks = np.full(len(known), -1.0)
    there = ~np.isnan(known)
    ranks[there] = np.unique(known[there], return_inverse=True)[1]
    return ranks


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0 to 1; equal values have one."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - counts / 2)[places] / len(values))


def _by_forest(
    columns: np.ndarray, ranks: np.ndarray
) -> tuple[list[float], list[float], float | None]:
    from sklearn.ensemble import RandomForestRegressor

    generator = np.random.default_rng(0)
    parts = np.array_split(generator.permutation(len(ranks)), _PARTS)
    variance = float(ranks.var()) or 1.0
    rises = np.zeros((_PARTS, columns.shape[1]))
    squares = 0.0
    for number, part in enumerate(parts):
        others = np.setdiff1d(np.arange(len(ranks)), part)
        forest = RandomForestRegressor(100, min_samples_leaf=2, random_state=number)
        forest.fit(columns[others], ranks[others])
        x, y = columns[part], ranks[part]
        error = float(((forest.predict(x) - y) ** 2).mean())
        squares += error * len(part)
        # Many rows at once, as each call of a forest takes long.
        step = max(1, _ROWS // (_REPEATS * len(x)))
        for first in range(0, x.shape[1], step):
            chunk = range(first, min(first + step, x.shape[1]))
            shuffled = np.tile(x, (len(chunk), _REPEATS, 1, 1))
            for column, repeats in zip(chunk, shuffled, strict=True):
                for repeat in repeats:
                    repeat[:, column] = generator.permutation(repeat[:, column])
            predicted = forest.predict(shuffled.reshape(-1, x.shape[1]))
            squared = (predicted.reshape(len(chunk), -1) - np.tile(y, _REPEATS)) ** 2
            rises[number, chunk] = squared.mean(axis=1) - error
    rises /= variance
    errors = rises.std(axis=0, ddof=1) / math.sqrt(_PARTS)
    explained = 1.0 - squares / len(ranks) / variance
    return rises.mean(axis=0).tolist(), errors.tolist(), explained


def _correlation(
    one: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], ranks: np.ndarray
) -> float:
    there = [k for k, row in enumerate(rows) if one["name"] in row["values"]]
    y = ranks[there]
    column = _column(one, [rows[k] for k in there])
    if len(y) < 3 or not y.std() or not column.std():
        return 0.0
    if one["kind"] == "number":
        return float(np.corrcoef(_ranks(column), y)[0, 1] ** 2)
    between = sum(
        (column == value).mean() * (y[column == value].mean() - y.mean()) ** 2
        for value in np.unique(column)
    )
    return float(between / y.var())
