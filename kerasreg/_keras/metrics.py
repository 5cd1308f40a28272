"""What Keras does not tell of a metric: when it gets better, and its values by sample."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras

from kerasreg._keras.internals import logged_metrics, metric_direction


def direction_of(model: keras.Model, name: str) -> str | None:
    """Whether a metric of a model is better when larger or when smaller.

    The metric that is logged under this name is asked, not the name. A metric that wraps a
    function which is no loss of Keras has no direction. What has none and is called a loss, as
    Keras calls the loss of an output `head_loss`, is one.

    Args:
        model: a compiled model that was trained or evaluated.
        name: the name of a metric as in the logs, with or without `val_`, such as
            `"val_accuracy"`, or `"val_head_accuracy"` of a model with several outputs.

    Returns:
        `"max"`, `"min"`, or None where the model has no such metric or Keras does not know.
    """
    logged = name.removeprefix("val_")
    metric = logged_metrics(model).get(logged)
    if metric is not None and (direction := metric_direction(metric)) is not None:
        return {"up": "max", "down": "min"}[direction]
    return "min" if logged == "loss" or logged.endswith("_loss") else None


def values_by_sample(metric: Any) -> Callable[[Any, Any], Any] | None:
    """Of which function of targets and outputs is a loss or a metric the mean over samples?

    Read for Keras 3.10 to 3.15.

    Args:
        metric: a loss or a metric of Keras.

    Returns:
        The function; None for a metric that is no mean over samples.

    Raises:
        RuntimeError: if Keras' metrics have their function elsewhere.
    """
    if isinstance(metric, keras.losses.Loss):
        return metric.call
    if not isinstance(metric, keras.metrics.MeanMetricWrapper):
        return None
    if not hasattr(metric, "_fn") or not hasattr(metric, "_fn_kwargs"):
        raise RuntimeError(f"Keras {keras.__version__} has the function of a metric elsewhere.")
    return functools.partial(metric._fn, **metric._fn_kwargs)
