"""Reaction to a plateau of a metric, with state that survives an interruption."""

from __future__ import annotations

import math
import os
from typing import Any

import keras

from kerasreg._validation import check_choice, check_count, check_number
from kerasreg.callbacks._resumable import (
    ResumableMover,
    check_metric,
    check_mode,
    larger_is_better,
    logged,
)


@keras.saving.register_keras_serializable(package="kerasreg")
class ReduceOnPlateau(ResumableMover):
    """Multiplies the learning rate, or another target, when a metric stops improving.

    An epoch improves when the metric is better than the best one so far by more
    than `min_delta`, or with `threshold_mode="rel"` by more than `min_delta` times the best.
    After `patience` epochs in a row without improvement, each number of the target
    becomes `max(factor · value, min_value)`. Then a cooldown begins: for `cooldown` epochs,
    epochs without improvement do not count. Epochs that `validation_freq` leaves out
    count neither for `patience` nor for a cooldown.

    With `backup_dir`, the best value and the counters survive an interruption. Those of
    `keras.callbacks.ReduceLROnPlateau` do not. The learning rate itself is in the optimizer's
    checkpoint.

    PyTorch and timm let `patience` epochs pass before they act, so that their `patience` is
    one less than the one here and in Keras. Keras counts the last epoch of a cooldown;
    PyTorch and this callback do not.

    Args:
        monitor: name of the metric in the epoch's logs.
        factor: from 0 to 1.
        patience: whole number >= 1 of epochs.
        mode: `"min"`, `"max"` or `"auto"`, which asks the metric. A function as a metric
            does not know: give `"min"` or `"max"` then.
        min_delta: smallest change that counts, a number >= 0.
        cooldown: whole number >= 0 of epochs.
        min_value: smallest value of the target, a number >= 0.
        backup_dir: a folder for the state of this callback alone. The state is written after
            each epoch and removed when training ends normally. Use the folder together with
            `keras.callbacks.BackupAndRestore`, or with `initial_epoch`.
        target: what is reduced; see `HyperparameterScheduler`.
        threshold_mode: `"abs"` or `"rel"`: what `min_delta` is.

    Logs:
        The value of the target in each epoch; the value of the first number where the target
        has several.

    Raises:
        ValueError: if an argument is outside its range, the monitored metric is not in the
            logs, the mode is `"auto"` and the metric does not know its direction, or the model
            has nothing that the target means.

    Example:

    >>> import kerasreg
    >>> callback = kerasreg.callbacks.ReduceOnPlateau("val_loss", factor=0.5, patience=3)
    """

    file_name = "reduce_on_plateau.json"
    remembered = ("best", "waited", "cooling")

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.5,
        patience: int = 5,
        *,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_value: float = 0.0,
        backup_dir: str | os.PathLike[str] | None = None,
        target: str = "learning_rate",
        threshold_mode: str = "abs",
    ) -> None:
        super().__init__(target, backup_dir)
        self.monitor = check_metric("monitor", monitor)
        self.factor = check_number("factor", factor, 0.0, 1.0)
        self.patience = check_count("patience", patience)
        self.mode = check_mode(mode)
        self.min_delta = check_number("min_delta", min_delta, 0.0, math.inf)
        self.cooldown = check_count("cooldown", cooldown, minimum=0)
        self.min_value = check_number("min_value", min_value, 0.0, math.inf)
        self.threshold_mode = check_choice("threshold_mode", threshold_mode, ("abs", "rel"))

    def reset(self) -> None:
        """Forgets the best value, and what was counted."""
        self.best: float | None = None
        self.waited = 0
        self.cooling = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = {} if logs is None else logs
        metric = logged(self.model, "monitor", self.monitor, logs)
        values = self.values()
        logs[self.target] = values[0]
        if metric is not None and self._needs_reduction(metric):
            # One that is below the minimum already is not raised to it.
            self.assign([min(max(self.factor * value, self.min_value), value) for value in values])
        self.remember(epoch + 1)

    def _improves(self, value: float) -> bool:
        if self.best is None:
            return True
        delta = self.min_delta
        if self.threshold_mode == "rel" and math.isfinite(self.best):
            delta *= abs(self.best)
        gain = value - self.best
        return (gain if larger_is_better(self.model, self.monitor, self.mode) else -gain) > delta

    def _needs_reduction(self, value: float) -> bool:
        """Takes one epoch's metric; says whether the target is to be reduced now."""
        improved = self._improves(value)
        in_cooldown = self.cooling > 0
        if in_cooldown:
            self.cooling -= 1
            self.waited = 0
        if improved and not math.isnan(value):
            self.best = value
            self.waited = 0
            return False
        if in_cooldown:
            return False
        self.waited += 1
        if self.waited < self.patience:
            return False
        self.cooling, self.waited = self.cooldown, 0
        return True

    def get_config(self) -> dict[str, Any]:
        names = ("monitor", "factor", "patience", "mode", "min_delta", "cooldown", "min_value")
        more = ("backup_dir", "target", "threshold_mode")
        return {name: getattr(self, name) for name in (*names, *more)}
