"""The direction in which a metric gets better, which Keras knows and does not tell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import keras

from kerasreg._keras.internals import metric_direction


def direction_of(model: keras.Model, name: str) -> str | None:
    """Whether a metric of a model is better when larger or when smaller.

    A metric that wraps a function which is no loss of Keras has no direction.

    Args:
        model: a compiled model.
        name: the name of a metric as in the logs, with or without `val_`, such as
            `"val_accuracy"`, or `"val_head_accuracy"` of a model with several outputs.

    Returns:
        `"max"`, `"min"`, or None where the model has no such metric or Keras does not know.
    """
    # Keras numbers metrics of one name, and puts the name of an output before: a_accuracy_1.
    logged = name.removeprefix("val_")
    names = {logged, re.sub(r"_\d+$", "", logged)}
    directions = {
        metric.name: direction
        for metric in _metrics_within(getattr(model, "metrics", None) or ())
        # Not all metrics have one: a mean says nothing of what it is the mean of.
        if (direction := metric_direction(metric)) is not None
        and any(one == metric.name or one.endswith(f"_{metric.name}") for one in names)
    }
    if directions:
        return {"up": "max", "down": "min"}[directions[max(directions, key=len)]]
    return "min" if logged == "loss" or logged.endswith("_loss") else None


def _metrics_within(metrics: Any) -> Iterator[Any]:
    """Metrics, and those that Keras gathers in one: those that a model was compiled with."""
    for metric in metrics:
        yield metric
        yield from _metrics_within(getattr(metric, "metrics", None) or ())
