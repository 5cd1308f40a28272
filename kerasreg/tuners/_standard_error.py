"""The values of a metric of a trial in its folds and executions, and how sure their mean is."""

from __future__ import annotations

from typing import Any

import numpy as np

from kerasreg._error_of_mean import error_of_mean


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
    return error_of_mean(values_of(trial, metric))


def values_of(trial: Any, metric: str) -> list[float]:
    """The values of a metric in each execution and fold of a trial, at its best epoch.

    Args:
        trial: a trial, completed.
        metric: the name of the metric.

    Returns:
        The values, those of the folds of an execution one after the other.

    Raises:
        ValueError: if the trial has no such metric.
    """
    if not trial.metrics.exists(metric):
        raise ValueError(
            f"`metric` must be one of {sorted(trial.metrics.metrics)}. Received: metric={metric!r}"
        )
    history = trial.metrics.get_history(metric)
    # Code of the user's may have reported several steps.
    at_best = [observation for observation in history if observation.step == trial.best_step]
    return [float(value) for value in (at_best or history)[-1].value]


def scores_of_folds(tuner: Any, trial: Any, metric: str) -> list[float]:
    """The values of a metric in each fold of a trial: the mean over executions, if there are some.

    Args:
        tuner: the tuner of the trial.
        trial: a trial, completed.
        metric: the name of the metric.

    Returns:
        A value for each fold; without folds, one for each execution.
    """
    values = values_of(trial, metric)
    executions = getattr(tuner, "executions_per_trial", 1)
    if getattr(tuner, "folds", None) is None or len(values) % executions:
        return values
    # Executions of a fold have its samples in common, and so are no independent repeats.
    return [float(value) for value in np.mean(np.reshape(values, (executions, -1)), axis=0)]
