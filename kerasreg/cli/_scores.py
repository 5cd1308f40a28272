"""Test scores of models, by scikit-learn's definitions, and how sure their differences are."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

# A probability below this is taken for this, as scikit-learn does in single precision.
_LEAST_PROBABILITY = float(np.finfo("float32").eps)


def score(y: np.ndarray, outputs: np.ndarray, classification: bool) -> dict[str, float]:
    """Scores of a model's outputs.

    Args:
        y: class numbers or targets, shape (samples,).
        outputs: class probabilities, shape (samples, classes), or predictions,
            shape (samples, 1) or (samples,).
        classification: which of the two.

    Returns:
        log loss (of the natural logarithm), accuracy, and precision, recall and F1 averaged over
        the classes (macro; 0 where a class is never predicted); or R² and RMSE.
    """
    from sklearn import metrics

    if classification:
        predicted = outputs.argmax(axis=1)
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(
            y, predicted, average="macro", zero_division=0.0
        )
        return {
            "log_loss": float(losses(y, outputs, classification).mean()),
            "accuracy": float(metrics.accuracy_score(y, predicted)),
            "precision": float(precision),
            "recall": float(recall),
            "f1": float(f1),
        }
    predicted = outputs.reshape(len(y))
    return {
        "r2": float(metrics.r2_score(y, predicted)),
        "rmse": float(metrics.root_mean_squared_error(y, predicted)),
    }


def losses(y: np.ndarray, outputs: np.ndarray, classification: bool) -> np.ndarray:
    """The log loss, or the squared error, of each row; arguments as those of `score`."""
    if not classification:
        return (np.asarray(outputs, "float64").reshape(len(y)) - y) ** 2
    given = np.asarray(outputs, "float64")
    chosen = given[np.arange(len(y)), y] / given.sum(axis=1)
    return -np.log(np.clip(chosen, _LEAST_PROBABILITY, 1.0))


def paired_difference(
    y: np.ndarray, outputs_a: np.ndarray, outputs_b: np.ndarray, classification: bool
) -> tuple[float, float]:
    """The difference of two models on the same rows, and its standard error.

    Rows that are hard are so for both models: the standard error of the difference is much smaller
    than that of either loss.

    Args:
        y: as for `score`.
        outputs_a: of a model, as for `score`.
        outputs_b: of another one.
        classification: as for `score`.

    Returns:
        The mean log loss, or squared error, of the first model less that of the second, and the
        standard error of this mean; NaN of a single row.
    """
    each = losses(y, outputs_a, classification) - losses(y, outputs_b, classification)
    error = each.std(ddof=1) / math.sqrt(len(each)) if len(each) > 1 else math.nan
    return float(each.mean()), float(error)


def differences(
    y: np.ndarray, outputs: Mapping[str, np.ndarray], classification: bool, reference: str
) -> dict[str, tuple[float, float]]:
    """For each other model, its log loss or RMSE less that of the reference, and a standard error.

    That of RMSE is `paired_difference` over the sum of the two, because
    `a - b = (a² - b²) / (a + b)`.

    Args:
        y: as for `score`.
        outputs: of each model, by name, as for `score`.
        classification: as for `score`.
        reference: the name of a model.
    """
    found = {}
    for name, each in outputs.items():
        if name == reference:
            continue
        difference, error = paired_difference(y, each, outputs[reference], classification)
        if not classification:
            both = (losses(y, one, False).mean() ** 0.5 for one in (each, outputs[reference]))
            scale = sum(both) or 1.0
            difference, error = difference / scale, error / scale
        found[name] = (float(difference), float(error))
    return found


def format_scores(
    scores: Mapping[str, Mapping[str, float]],
    compared: Mapping[str, tuple[float, float]] | None = None,
    reference: str = "",
) -> str:
    """A table of scores: a row for each model, a column for each score.

    Args:
        scores: of each model, by name.
        compared: what `differences` returned, or None for a table without that column.
        reference: the model that the others were compared with.
    """
    names = list(next(iter(scores.values())))
    cells = [["", *names]]
    for model, values in scores.items():
        cells.append([model, *(_number(values[name]) for name in names)])
    if compared is not None:
        loss = "log_loss" if "log_loss" in names else "rmse"
        cells[0].append(f"{loss} - that of {reference}")
        shown = {
            name: f"{_number(difference, '+')} ± {_number(error)}"
            for name, (difference, error) in compared.items()
        }
        for row in cells[1:]:
            row.append(shown.get(row[0], ""))
    first = max(len(row[0]) for row in cells)
    widths = [max(9, *(len(row[k]) for row in cells)) + 2 for k in range(1, len(cells[0]))]
    lines = []
    for model, *others in cells:
        right = (one.rjust(width) for one, width in zip(others, widths, strict=True))
        lines.append(model.ljust(max(first, 10)) + "".join(right))
    return "\n".join(lines)


def _number(value: float, sign: str = "") -> str:
    return f"{value:{sign}.4f}" if not abs(value) >= 1e5 else f"{value:{sign}.6g}"
