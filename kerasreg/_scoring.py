"""Scores of predictions by a loss, a metric or a function, and which of two scores is better."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._keras.internals import metric_direction
from kerasreg._validation import check_choice

# Keras finds out what these are by the shapes of outputs when it compiles a model.
_BY_SHAPE = ("accuracy", "acc", "crossentropy", "ce")


def scoring(metric: Any, mode: str) -> tuple[Callable[[Any, Any], float], str]:
    """A function of targets and predictions that scores them, and `"min"` or `"max"`.

    Args:
        metric: a loss or a metric of Keras by name or as an object, or a function of targets and
            predictions that returns a number, or one for each sample.
        mode: `"min"` or `"max"`: whether a small or a large score is good. `"auto"` is `"min"` for
            a loss, and what Keras knows of a metric. A function must be told.

    Raises:
        ValueError: if the metric is none, or its direction is not known.
    """
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
            # In its own precision: some of Keras' metrics take no other.
            metric.update_state(targets, np.asarray(predicted, metric.dtype))
            return float(ops.convert_to_numpy(metric.result()))
        found = ops.convert_to_numpy(metric(targets, predicted))
        return float(np.mean(found))

    return score, mode


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
