"""Which of many trained models make a good ensemble: greedy selection with replacement."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._keras.internals import metric_direction
from kerasreg._validation import check_choice, check_count

# Keras finds out what these are by the shapes of outputs when it compiles a model.
_BY_SHAPE = ("accuracy", "acc", "crossentropy", "ce")


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
    score, is_better_small = _scoring(metric, mode)
    sign = 1.0 if is_better_small else -1.0
    finite = [index for index, of in enumerate(each) if np.isfinite(of).all()]
    if not finite:
        raise ValueError("`predictions` must be finite for one model at least. Received: none is.")
    total = np.zeros_like(each[0])
    order: list[int] = []
    scores: list[float] = []
    for count in range(1, steps + 1):
        found = [sign * score(targets, (total + each[index]) / count) for index in finite]
        if np.isnan(found).all():
            raise ValueError(f"`metric` must return numbers. Received: NaN of {metric!r}")
        # The first of equal ones.
        best = int(np.nanargmin(found))
        order.append(finite[best])
        scores.append(found[best])
        total = total + each[finite[best]]
    kept = order[: int(np.argmin(scores)) + 1]
    return np.bincount(kept, minlength=len(each))


def _checked(predictions: Sequence[Any], targets: Any) -> tuple[list[np.ndarray], np.ndarray]:
    # In float64: a sum of many loses what a small difference is made of.
    each = [np.asarray(ops.convert_to_numpy(of), "float64") for of in predictions]
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


def _scoring(metric: Any, mode: str) -> tuple[Callable[[Any, Any], float], bool]:
    """A function that scores predictions, and whether a small score is good."""
    check_choice("mode", mode, ("auto", "min", "max"))
    is_name = isinstance(metric, str)
    if is_name:
        metric = _by_name(metric)
    direction: str | None = None
    # By name, Keras gives a loss as its function, with a value for each sample.
    is_function_of_keras = is_name and not isinstance(metric, keras.metrics.Metric)
    if isinstance(metric, keras.losses.Loss) or is_function_of_keras:
        direction = "min"
    elif isinstance(metric, keras.metrics.Metric):
        direction = {"up": "max", "down": "min"}.get(metric_direction(metric) or "")
    elif not callable(metric):
        raise ValueError(
            "`metric` must be a loss or a metric of Keras, its name, or a function of targets and "
            f"predictions. Received: {metric!r}"
        )
    if mode == "auto":
        if direction is None:
            raise ValueError(
                '`mode` must be "min" or "max" for a metric of which Keras knows no direction. '
                f'Received: mode="auto", metric={metric!r}'
            )
        mode = direction

    def score(targets: Any, predicted: Any) -> float:
        if isinstance(metric, keras.metrics.Metric):
            metric.reset_state()
            metric.update_state(targets, predicted)
            return float(ops.convert_to_numpy(metric.result()))
        found = ops.convert_to_numpy(metric(targets, predicted))
        return float(np.mean(found))

    return score, mode == "min"


def _by_name(name: str) -> Any:
    if name not in _BY_SHAPE:
        for kind in (keras.metrics, keras.losses):
            with contextlib.suppress(ValueError):
                return kind.get(name)
    raise ValueError(
        "`metric` must be the name of a loss or a metric of Keras, such as "
        '"sparse_categorical_crossentropy" or "sparse_categorical_accuracy". Received: '
        f"metric={name!r}"
    )
