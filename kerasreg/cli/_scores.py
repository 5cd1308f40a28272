"""Test scores of a model, by scikit-learn's definitions."""

from __future__ import annotations

import numpy as np


def score(y: np.ndarray, outputs: np.ndarray, classification: bool) -> dict[str, float]:
    """Scores of a network's outputs.

    Args:
        y: class numbers or targets, shape (samples,).
        outputs: class probabilities, shape (samples, classes), or predictions,
            shape (samples, 1).
        classification: which of the two.

    Returns:
        accuracy, and precision, recall and F1 averaged over the classes (macro;
        0 where a class is never predicted); or R² and RMSE.
    """
    from sklearn import metrics

    if classification:
        predicted = outputs.argmax(axis=1)
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(
            y, predicted, average="macro", zero_division=0.0
        )
        return {
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


def format_scores(scores: dict[str, dict[str, float]]) -> str:
    """A table of scores: a row for each model, a column for each score."""
    names = list(next(iter(scores.values())))
    lines = [" " * 10 + "".join(f"{name:>11}" for name in names)]
    for model, values in scores.items():
        lines.append(f"{model:<10}" + "".join(f"{values[name]:>11.4f}" for name in names))
    return "\n".join(lines)
