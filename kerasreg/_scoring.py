"""Scores of predictions by a loss, a metric or a function, and which of two scores is better."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._keras.internals import metric_direction
from kerasreg._keras.metrics import values_by_sample
from kerasreg._validation import check_choice

# Of so many numbers, predictions are scored at once.
_ELEMENTS = 2**22
# Keras finds out what these are by the shapes of outputs when it compiles a model.
_BY_SHAPE = ("accuracy", "acc", "crossentropy", "ce")


class Scorer:
    """Scores predictions by a loss, a metric or a function.

    Args:
        metric: a loss or a metric of Keras by name or as an object, or a function of targets and
            predictions that returns a number, or one for each sample.
        mode: `"min"` or `"max"`: whether a small or a large score is good. `"auto"` is `"min"` for
            a loss, and what Keras knows of a metric. A function must be told.
        outputs: makes of predictions what the metric takes; None if it takes them as they are.

    Attributes:
        mode: `"min"` or `"max"`.

    Raises:
        ValueError: if the metric is none, or its direction is not known.
    """

    def __init__(
        self, metric: Any, mode: str, outputs: Callable[[np.ndarray], np.ndarray] | None = None
    ) -> None:
        check_choice("mode", mode, ("auto", "min", "max"))
        is_name = isinstance(metric, str)
        self._metric = _by_name(metric) if is_name else metric
        self.mode = _direction(self._metric, is_name) if mode == "auto" else mode
        self._outputs = outputs or (lambda predicted: predicted)
        is_object = isinstance(self._metric, (keras.losses.Loss, keras.metrics.Metric))
        self._root = type(self._metric) is keras.metrics.RootMeanSquaredError
        self._by_sample: Any = None
        if self._root:
            self._by_sample = keras.losses.mean_squared_error
        elif is_object:
            self._by_sample = values_by_sample(self._metric)
        elif is_name:
            self._by_sample = self._metric
        # Functions of a user's own take targets as they are given: they may index the outputs.
        self._aligns = is_name or is_object
        self._is_checked = False

    def __call__(self, targets: np.ndarray, predicted: np.ndarray) -> float:
        """The score of predictions."""
        metric, outputs = self._metric, self._typed(self._outputs(predicted))
        targets = self._aligned(targets, outputs)
        if isinstance(metric, keras.metrics.Metric):
            metric.reset_state()
            metric.update_state(targets, outputs)
            return float(ops.convert_to_numpy(metric.result()))
        return float(np.mean(ops.convert_to_numpy(metric(targets, outputs))))

    def each(self, targets: np.ndarray, many: Iterator[np.ndarray] | list[Any]) -> np.ndarray:
        """The scores of many predictions: of a mean over samples, some are computed at once."""
        predictions = iter(many)
        first = next(predictions)
        found = [self(targets, first)]
        if self._by_sample is not None and not self._is_checked:
            self._is_checked = True
            if not self._is_mean(targets, first, found[0]):
                self._by_sample = None
        at_once = 1 if self._by_sample is None else max(1, _ELEMENTS // max(1, first.size))
        while part := list(itertools.islice(predictions, at_once)):
            alone = self._by_sample is None
            found += [self(targets, of) for of in part] if alone else self._at_once(targets, part)
        return np.array(found)

    def _is_mean(self, targets: np.ndarray, predicted: np.ndarray, score: float) -> bool:
        """Whether a score is a mean over samples: a loss may be a sum, or one number of all."""
        values = self._values(targets, predicted)
        alike = np.shape(values)[:1] == (len(targets),)
        found = self._at_once(targets, [predicted]) if alike else [np.nan]
        return bool(np.allclose(found, [score], rtol=1e-4, atol=1e-7))

    def _values(self, targets: np.ndarray, predicted: np.ndarray) -> Any:
        outputs = self._typed(self._outputs(predicted))
        return ops.convert_to_numpy(self._by_sample(self._aligned(targets, outputs), outputs))

    def _at_once(self, targets: np.ndarray, part: list[np.ndarray]) -> list[float]:
        values = self._values(np.concatenate([targets] * len(part)), np.concatenate(part))
        means = np.mean(np.reshape(values, (len(part), -1)), axis=1, dtype="float64")
        return list(np.sqrt(means) if self._root else means)

    def _aligned(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Targets with the last axis of length 1 that outputs have: some of Keras' need it."""
        lacks = self._aligns and outputs.ndim == targets.ndim + 1 and outputs.shape[-1] == 1
        return targets[..., None] if lacks else targets

    def _typed(self, outputs: np.ndarray) -> np.ndarray:
        """In the precision of the metric: some of Keras' take no other."""
        return np.asarray(outputs, getattr(self._metric, "dtype", None))


def greedy_counts(
    each: Sequence[np.ndarray], targets: np.ndarray, scorer: Scorer, steps: int
) -> np.ndarray:
    """How often each of some predictions is added to a mean that is to score well.

    Args:
        each: predictions of one shape, floating point.
        targets: the targets.
        scorer: of the mean.
        steps: how many times something is added at most.

    Raises:
        ValueError: if none of the predictions is finite, or they have no score.
    """
    sign = 1.0 if scorer.mode == "min" else -1.0
    finite = [index for index, of in enumerate(each) if np.isfinite(of).all()]
    if not finite:
        raise ValueError("`predictions` must be finite for one model at least. Received: none is.")
    # In float64: a sum of many loses what a small difference is made of.
    total = np.zeros(each[0].shape, "float64")
    order: list[int] = []
    scores: list[float] = []
    # Of a single one there is no choice.
    for count in range(1, (steps if len(finite) > 1 else 1) + 1):
        means = ((total + each[index]) / count for index in finite)
        found = sign * scorer.each(targets, means)
        if np.isnan(found).all():
            raise ValueError("`metric` must return numbers. Received: NaN")
        # The first of equal ones.
        best = int(np.nanargmin(found))
        order.append(finite[best])
        scores.append(found[best])
        total = total + each[finite[best]]
    kept = order[: int(np.argmin(scores)) + 1]
    return np.bincount(kept, minlength=len(each))


def _direction(metric: Any, is_name: bool) -> str:
    if not (isinstance(metric, keras.losses.Loss) or callable(metric)):
        raise ValueError(
            "`metric` must be a loss or a metric of Keras, its name, or a function of targets and "
            f"predictions. Received: {metric!r}"
        )
    # By name, Keras gives a loss as its function, with a value for each sample.
    found: str | None = "min" if isinstance(metric, keras.losses.Loss) or is_name else None
    if isinstance(metric, keras.metrics.Metric):
        found = {"up": "max", "down": "min"}.get(metric_direction(metric) or "")
    if found is None:
        raise ValueError(
            '`mode` must be "min" or "max" for a metric of which Keras knows no direction. '
            f'Received: mode="auto", metric={metric!r}'
        )
    return found


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
