"""How far predictions for samples that no member was trained with can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_BINS = 10
_MOST_CLASSES = 20
_MOST_POINTS = 500


def checks(
    predictions: Any, targets: Any, classes: Sequence[Any] | None = None
) -> dict[str, Any] | None:
    """Calibration and confusion of classes, or the residuals of a number.

    Args:
        predictions: probabilities, logits or numbers, an array of shape (samples, ...).
        targets: class numbers, one-hot rows or numbers.
        classes: the names of the classes.

    Returns:
        A dictionary whose `kind` is `"classification"` or `"regression"`; None of other outputs.

    Example:

    >>> import numpy as np, kerasreg
    >>> found = kerasreg.reports.checks(np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0, 1]))
    >>> found["accuracy"], found["confusion"]
    (0.5, [[1, 0], [1, 0]])
    """
    predicted, known = np.asarray(predictions), np.asarray(targets)
    if predicted.dtype.kind not in "fiu" or known.dtype.kind not in "fiub" or not len(predicted):
        return None
    predicted = predicted.astype("float64")
    if known.ndim == 2 and known.shape[1] == 1:
        known = known[:, 0]
    if predicted.ndim == 2 and predicted.shape[1] == 1:
        predicted = predicted[:, 0]
    if not np.isfinite(predicted).all() or known.shape[0] != predicted.shape[0]:
        return None
    if predicted.ndim == 2:
        if known.shape == predicted.shape and set(np.unique(known)) <= {0, 1}:
            known = known.argmax(axis=1)
        return (
            _of_classes(_softmax(predicted), known, classes)
            if _are_classes(known, predicted.shape[1])
            else None
        )
    if predicted.ndim != 1 or known.ndim != 1:
        return None
    if set(np.unique(known)) <= {0, 1}:
        ones = _sigmoid(predicted)
        return _of_classes(np.stack([1 - ones, ones], axis=1), known.astype(int), classes)
    return _of_numbers(predicted, known.astype("float64"))


def _are_classes(known: np.ndarray, count: int) -> bool:
    if known.ndim != 1 or not np.isfinite(known.astype("float64")).all():
        return False
    return bool((known == np.round(known)).all() and known.min() >= 0 and known.max() < count)


def _softmax(outputs: np.ndarray) -> np.ndarray:
    """Probabilities, of logits too."""
    if (outputs >= 0).all() and np.allclose(outputs.sum(axis=1), 1.0, atol=1e-3):
        return outputs
    raised = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _sigmoid(outputs: np.ndarray) -> np.ndarray:
    if (outputs >= 0).all() and (outputs <= 1).all():
        return outputs
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * outputs)))


def _of_classes(
    probabilities: np.ndarray, known: np.ndarray, classes: Sequence[Any] | None
) -> dict[str, Any]:
    count, known = probabilities.shape[1], known.astype(int)
    names = [str(one) for one in (classes if classes and len(classes) == count else range(count))]
    best = probabilities.argmax(axis=1)
    sure, right = probabilities.max(axis=1), best == known
    confusion = None
    if count <= _MOST_CLASSES:
        table = np.zeros((count, count), int)
        np.add.at(table, (known, best), 1)
        confusion = table.tolist()
    places = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    bins = [
        {
            "low": k / _BINS,
            "high": (k + 1) / _BINS,
            "count": int(inside.sum()),
            "confidence": float(sure[inside].mean()),
            "accuracy": float(right[inside].mean()),
        }
        for k in range(_BINS)
        if (inside := places == k).any()
    ]
    gap = sum(one["count"] * abs(one["confidence"] - one["accuracy"]) for one in bins)
    return {
        "kind": "classification",
        "samples": len(known),
        "accuracy": float(right.mean()),
        "calibration_error": float(gap / len(known)),
        "calibration": bins,
        "classes": names if confusion is not None else None,
        "confusion": confusion,
    }


def _of_numbers(predicted: np.ndarray, known: np.ndarray) -> dict[str, Any]:
    residuals = known - predicted
    shown = np.unique(np.linspace(0, len(known) - 1, min(len(known), _MOST_POINTS)).round())
    points = np.stack([predicted, residuals], axis=1)[shown.astype(int)]
    return {
        "kind": "regression",
        "samples": len(known),
        "rmse": float(np.sqrt((residuals**2).mean())),
        "bias": float(residuals.mean()),
        "points": points.tolist(),
    }
