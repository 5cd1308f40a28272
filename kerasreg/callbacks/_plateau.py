"""Reaction to a plateau of a metric, with state that survives an interruption."""

from __future__ import annotations

import json
import math
import os
from typing import Any

import keras

from kerasreg._files import write_json
from kerasreg._validation import check_choice, check_count, check_number
from kerasreg.callbacks._learning_rate import get_learning_rate, optimizers_of, set_learning_rate


@keras.saving.register_keras_serializable(package="kerasreg")
class ReduceOnPlateau(keras.callbacks.Callback):
    """Multiplies the learning rate by `factor` when a metric stops improving.

    An epoch improves when the metric is better than the best one so far by more
    than `min_delta`. After `patience` epochs in a row without improvement the
    learning rate becomes `max(factor · lr, minimum)`; for `cooldown` epochs
    after that, epochs without improvement are not counted.

    In contrast to `keras.callbacks.ReduceLROnPlateau`, the best value and the
    counters survive an interruption, when `backup_dir` is given. (The learning
    rate itself is in the optimizer's checkpoint.)

    Args:
        monitor: name of the metric in the epoch's logs.
        factor: from 0 to 1.
        patience: whole number >= 1 of epochs.
        mode: `"min"`, `"max"` or `"auto"`: larger is better for names that
            contain acc, auc, f1, precision, recall or r2.
        min_delta: smallest change that counts, a number >= 0.
        cooldown: whole number >= 0 of epochs.
        minimum: smallest learning rate, a number >= 0.
        backup_dir: a folder of its own for the state, written after each epoch
            and removed when training ends normally; use it together with
            `keras.callbacks.BackupAndRestore`, or with `initial_epoch`.

    Logs:
        `learning_rate`, at the end of each epoch: the rate of that epoch.

    Raises:
        ValueError: if an argument is outside its range, or the monitored metric
            is not in the logs.

    Example:

    >>> import kerasreg
    >>> callback = kerasreg.callbacks.ReduceOnPlateau("val_loss", factor=0.5, patience=3)
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.5,
        patience: int = 5,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        minimum: float = 0.0,
        backup_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(monitor, str):
            raise ValueError(
                f"`monitor` must be the name of a metric. Received: monitor={monitor!r}"
            )
        if backup_dir is not None and not isinstance(backup_dir, (str, os.PathLike)):
            raise ValueError(
                f"`backup_dir` must be a path or None. Received: backup_dir={backup_dir!r}"
            )
        self.monitor = monitor
        self.factor = check_number("factor", factor, 0.0, 1.0)
        self.patience = check_count("patience", patience)
        self.mode = check_choice("mode", mode, ("auto", "min", "max"))
        self.min_delta = check_number("min_delta", min_delta, 0.0, math.inf)
        self.cooldown = check_count("cooldown", cooldown, minimum=0)
        self.minimum = check_number("minimum", minimum, 0.0, math.inf)
        self.backup_dir = None if backup_dir is None else os.fspath(backup_dir)
        self._reset()

    def _reset(self) -> None:
        self.best: float | None = None
        self.waited = 0
        self.cooling = 0
        # The states after the last two epochs: a process that is killed between
        # this callback and the one that writes the backup repeats an epoch.
        self._states: list[dict[str, Any]] = []

    @property
    def _larger_is_better(self) -> bool:
        if self.mode != "auto":
            return self.mode == "max"
        return any(
            part in self.monitor for part in ("acc", "auc", "f1", "precision", "recall", "r2")
        )

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        optimizers_of(self.model)
        self._reset()
        self._resumable = self._read_states()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        # The epoch to resume at is known only here: a state of a training that
        # began again from epoch 0 must not be taken for this one's.
        saved, self._resumable = self._resumable, []
        for state in saved:
            if state["next_epoch"] == epoch:
                self.best, self.waited = state["best"], state["waited"]
                self.cooling = state["cooling"]
                # A backup that was written before this callback acted has the old one.
                set_learning_rate(self.model, state["learning_rate"])
                self._states = [state]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = {} if logs is None else logs
        if self.monitor not in logs:
            raise ValueError(
                f"`monitor` must be a metric of this training: {', '.join(sorted(logs))}. "
                f"Received: monitor={self.monitor!r}"
            )
        rate = get_learning_rate(self.model)
        logs["learning_rate"] = rate
        if self._needs_reduction(float(logs[self.monitor])):
            reduced = max(self.factor * rate, self.minimum)
            # A rate that is below the minimum already is not raised to it.
            set_learning_rate(self.model, min(reduced, rate))
        self._write_state(epoch + 1)

    def _needs_reduction(self, value: float) -> bool:
        """Takes one epoch's metric; says whether the rate is to be reduced now."""
        gain = 0.0 if self.best is None else value - self.best
        improved = self.best is None or (gain if self._larger_is_better else -gain) > self.min_delta
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

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self.backup_dir is not None and os.path.exists(self._state_file):
            os.remove(self._state_file)

    @property
    def _state_file(self) -> str:
        assert self.backup_dir is not None
        return os.path.join(self.backup_dir, "reduce_on_plateau.json")

    def _read_states(self) -> list[dict[str, Any]]:
        if self.backup_dir is None or not os.path.exists(self._state_file):
            return []
        with open(self._state_file) as file:
            return json.load(file)["states"]

    def _write_state(self, next_epoch: int) -> None:
        if self.backup_dir is None:
            return
        state = {
            "next_epoch": next_epoch,
            "best": self.best,
            "waited": self.waited,
            "cooling": self.cooling,
            "learning_rate": get_learning_rate(self.model),
        }
        self._states = [*self._states[-1:], state]
        write_json(self._state_file, {"states": self._states})

    def get_config(self) -> dict[str, Any]:
        names = ("monitor", "factor", "patience", "mode", "min_delta", "cooldown", "minimum")
        return {**{name: getattr(self, name) for name in names}, "backup_dir": self.backup_dir}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ReduceOnPlateau:
        return cls(**config)
