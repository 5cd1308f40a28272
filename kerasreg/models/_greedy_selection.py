"""Which of many trained models make a good ensemble: greedy selection with replacement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._scoring import Scorer, greedy_counts
from kerasreg._validation import check_count


def greedy_selection(
    predictions: Sequence[Any],
    targets: Any,
    metric: str | keras.losses.Loss | keras.metrics.Metric | Callable[[Any, Any], Any],
    *,
    mode: str = "auto",
    steps: int = 40,
) -> np.ndarray:
    """Chooses members of an ensemble, one after the other, by what their mean scores.

    Each step adds the model with which the mean of all that were chosen scores best; a model may be
    chosen again. The choice is cut after the step with the best score of all, so that the score
    of the chosen mean is never worse than that of the best single model.

    Choose by samples that the models were not trained with, and report a score of others: the
    score of the choice itself is too good.

    Args:
        predictions: for each model its outputs for the same samples, arrays of shape (samples, ...)
            and of values whose mean makes sense: numbers, or probabilities.
        targets: the targets of the samples, as `metric` takes them.
        metric: a loss or a metric of Keras by name or as an object, or a function of targets and
            predictions, such as those of scikit-learn, that returns a number.
        mode: `"min"` or `"max"`: whether a small or a large score is good. `"auto"` is `"min"` for
            a loss, and what Keras knows of a metric. A function must be told.
        steps: how many times a model is added at most.

    Returns:
        How often each model was chosen, whole numbers of shape (models,): `weights` of
        `kerasreg.models.ensemble`.

    Raises:
        ValueError: if predictions differ in shape or in their number from the targets, none of
            them is finite, or the direction of the metric is not known.

    After Caruana et al. 2004, "Ensemble selection from libraries of models". 40 steps follow
    Salinas and Erickson 2023, arXiv:2311.02971.

    Example:

    The mean of the first two is right; a third one that is wrong is not chosen:

    >>> import numpy as np, kerasreg
    >>> targets = np.array([1.0, 2.0, 3.0])
    >>> predictions = [targets + 1, targets - 1, targets * 5]
    >>> kerasreg.models.greedy_selection(predictions, targets, "mse").tolist()
    [1, 1, 0]
    """
    check_count("steps", steps)
    each, targets = _checked(predictions, targets)
    return greedy_counts(each, targets, Scorer(metric, mode), steps)


def _checked(predictions: Sequence[Any], targets: Any) -> tuple[list[np.ndarray], np.ndarray]:
    each = [np.asarray(ops.convert_to_numpy(of)) for of in predictions]
    each = [of if of.dtype.kind == "f" else of.astype("float64") for of in each]
    targets = np.asarray(targets)
    shapes = sorted({of.shape for of in each})
    if len(shapes) != 1 or not shapes[0] or shapes[0][0] == 0:
        raise ValueError(
            "`predictions` must be arrays of one shape (samples, ...), one for each of at least "
            f"one model. Received: shapes {shapes}"
        )
    if targets.shape[:1] != shapes[0][:1]:
        raise ValueError(
            f"`targets` must be as many as the {shapes[0][0]} samples of `predictions`. Received: "
            f"targets of shape {targets.shape}"
        )
    return each, targets
