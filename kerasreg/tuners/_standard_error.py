"""How sure the mean over folds or executions of a trial is."""

from __future__ import annotations

from typing import Any

import numpy as np


def standard_error(trial: Any, metric: str) -> float | None:
    """The standard error of a metric of a trial over its folds or executions.

    `s / √n` of the `n` values, with `s² = Σ(value − mean)² / (n − 1)`. Folds share
    training samples, so that for folds this is too small rather than too large
    (Bengio & Grandvalet 2004, "No Unbiased Estimator of the Variance of K-Fold
    Cross-Validation").

    Args:
        trial: a trial of a `kerasreg.tuners.VectorizedTuner`, completed.
        metric: such as `"val_accuracy"`.

    Returns:
        The standard error; None for a single value.

    Raises:
        ValueError: if the trial has no such metric.

    Example:

    >>> import keras_tuner, kerasreg
    >>> trial = keras_tuner.engine.trial.Trial(keras_tuner.HyperParameters())
    >>> trial.metrics.register("val_loss", "min")
    >>> for value in (1.0, 2.0, 3.0):
    ...     _ = trial.metrics.update("val_loss", value)
    >>> round(kerasreg.tuners.standard_error(trial, "val_loss"), 3)
    0.577
    """
    if not trial.metrics.exists(metric):
        raise ValueError(
            f"`metric` must be one of {sorted(trial.metrics.metrics)}. Received: metric={metric!r}"
        )
    values = trial.metrics.get_history(metric)[-1].value
    if len(values) < 2:
        return None
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))
