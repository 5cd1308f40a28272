"""Regularization as strong as the gap between training and validation asks for."""

from __future__ import annotations

import math
import os
from typing import Any

import keras

from kerasreg._validation import (
    check_above,
    check_below_one,
    check_count,
    check_number,
    check_positive,
)
from kerasreg.callbacks._resumable import (
    ResumableMover,
    check_metric,
    check_mode,
    larger_is_better,
    logged,
)


@keras.saving.register_keras_serializable(package="kerasreg")
class AdaptiveRegularization(ResumableMover):
    """Raises dropout or a penalty while a model overfits, and lowers it while it underfits.

    The gap of an epoch is the amount by which validation is worse: `val_metric - metric`, or
    `metric - val_metric` where larger is better. Gaps are smoothed:
    `g = smoothing · g + (1 - smoothing) · gap`. The first gap begins the average, and so does
    the first one after an infinite gap. A gap that is not a number is left out.
    After `patience` epochs in a row with `g > high_gap` each number of the target becomes
    `min(factor · value, max_value)`; after as many with `g < low_gap`,
    `max(value / factor, min_value)`.
    Epochs that `validation_freq` leaves out have no gap, and do not count.
    From `low_gap` to `high_gap` nothing moves. This hysteresis keeps the value from swinging
    about a single threshold. From the beginning, values are kept within `min_value` and
    `max_value`.

    Keras takes the training metric as the mean over an epoch, with dropout on. The gap of a
    model that does not overfit is therefore often below zero: set `low_gap` accordingly.

    Args:
        target: what moves: `"dropout"`, `"strength"` or `"weight_decay"`, with a pattern as in
            `HyperparameterScheduler`.
        min_value: smallest value, a number > 0.
        max_value: largest value, a number > `min_value`; at most 1 for dropout.
        metric: the name of a metric whose `val_` is in the logs too.
        low_gap: the model underfits while g is below this finite number.
        high_gap: the model overfits while g is above this finite number > `low_gap`.
        factor: multiplies or divides a value, a number > 1.
        patience: whole number >= 1 of epochs.
        smoothing: from 0, the gap of each epoch by itself, to below 1.
        mode: `"min"`, `"max"` or `"auto"`, as in `ReduceOnPlateau`.
        backup_dir: a folder of its own for the state, as in `ReduceOnPlateau`.

    Logs:
        The value of the target in the epoch, and g as `gap`.

    Raises:
        ValueError: if an argument is outside its range, the metric or its `val_` is not in
            the logs, or the model has nothing that the target means.

    Example:

    >>> import kerasreg
    >>> callback = kerasreg.callbacks.AdaptiveRegularization(
    ...     "dropout", min_value=0.05, max_value=0.6, metric="accuracy", low_gap=0.0, high_gap=0.03
    ... )
    """

    file_name = "adaptive_regularization.json"
    remembered = ("gap", "above", "below")

    def __init__(
        self,
        target: str,
        min_value: float,
        *,
        max_value: float,
        metric: str = "loss",
        low_gap: float = 0.0,
        high_gap: float = 0.1,
        factor: float = 1.25,
        patience: int = 1,
        smoothing: float = 0.0,
        mode: str = "auto",
        backup_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(target, backup_dir)
        if self._target.kind in ("learning_rate", "momentum"):
            raise ValueError(
                "`target` must be 'dropout', 'strength' or 'weight_decay', which regularize. "
                f"Received: target={target!r}"
            )
        self.min_value = check_positive("min_value", min_value)
        self.max_value = check_above("max_value", max_value, self.min_value)
        check_number("max_value", max_value, self.min_value, self._target.maximum)
        self.metric = check_metric("metric", metric)
        self.low_gap = check_number("low_gap", low_gap, -math.inf, math.inf)
        self.high_gap = check_above("high_gap", high_gap, self.low_gap)
        self.factor = check_above("factor", factor, 1.0)
        self.patience = check_count("patience", patience)
        self.smoothing = check_below_one("smoothing", smoothing)
        self.mode = check_mode(mode)

    def reset(self) -> None:
        """Forgets the gap, and what was counted."""
        self.gap: float | None = None
        self.above = 0
        self.below = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        super().on_train_begin(logs)
        self.assign(self._within(self.values()))

    def _within(self, values: list[float]) -> list[float]:
        return [min(max(value, self.min_value), self.max_value) for value in values]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = {} if logs is None else logs
        training = logged(self.model, "metric", self.metric, logs)
        validation = logged(self.model, "metric", f"val_{self.metric}", logs)
        values, power = self.values(), 0
        if training is not None and validation is not None:
            worse = validation - training
            larger = larger_is_better(self.model, self.metric, self.mode)
            power = self._takes(-worse if larger else worse)
        logs[self.target] = values[0]
        logs["gap"] = math.nan if self.gap is None else self.gap
        if power:
            self.assign(self._within([value * self.factor**power for value in values]))
        self.remember(epoch + 1)

    def _takes(self, gap: float) -> int:
        """Takes an epoch's gap: 1 if the values are to be raised now, -1 lowered, or 0."""
        if math.isnan(gap):
            return 0
        # After an infinite gap it begins anew; zero times infinity is no number.
        if self.gap is None or self.smoothing == 0.0 or not math.isfinite(self.gap):
            self.gap = gap
        else:
            self.gap = self.smoothing * self.gap + (1.0 - self.smoothing) * gap
        self.above = self.above + 1 if self.gap > self.high_gap else 0
        self.below = self.below + 1 if self.gap < self.low_gap else 0
        if self.above >= self.patience:
            self.above = 0
            return 1
        if self.below >= self.patience:
            self.below = 0
            return -1
        return 0

    def get_config(self) -> dict[str, Any]:
        names = (
            "target",
            "min_value",
            "max_value",
            "metric",
            "low_gap",
            "high_gap",
            "factor",
            "patience",
        )
        return {name: getattr(self, name) for name in (*names, "smoothing", "mode", "backup_dir")}
