"""The direction in which a metric gets better, which Keras knows and does not tell."""

from __future__ import annotations

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
