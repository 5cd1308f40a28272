"""The end of a training by the clock."""

from __future__ import annotations

import os
import time
from typing import Any

import keras

from kerasreg._validation import check_choice, check_positive
from kerasreg.callbacks._resumable import Resumable


@keras.saving.register_keras_serializable(package="kerasreg")
class TimeStopping(Resumable):
    """Stops the training when it has run for so many seconds.

    It ends with the epoch, or with the batch, in which they have passed: what was
    begun is finished, so validation and other callbacks see whole epochs.

    In contrast to TensorFlow Addons' `TimeStopping`, the time before an interruption counts,
    when `backup_dir` is given.

    Args:
        seconds: a number > 0.
        unit: `"epoch"` or `"step"`: after which it looks at the clock.
        backup_dir: a folder of its own for the seconds that have passed, written after each
            epoch and removed when training ends normally; use it together with
            `keras.callbacks.BackupAndRestore`, or with `initial_epoch`.

    Attributes:
        passed: the seconds of this training, up to the last time it looked.

    Raises:
        ValueError: if an argument is outside its range.

    Example:

    >>> import kerasreg
    >>> callback = kerasreg.callbacks.TimeStopping(seconds=3600)
    """

    file_name = "time_stopping.json"
    remembered = ("passed",)

    def __init__(
        self,
        seconds: float,
        *,
        unit: str = "epoch",
        backup_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(backup_dir)
        self.seconds = check_positive("seconds", seconds)
        self.unit = check_choice("unit", unit, ("epoch", "step"))
        self.batch_hooks = self.unit == "step"

    def reset(self) -> None:
        """Begins to count anew."""
        self.passed = 0.0
        self._looked = time.monotonic()

    def _look(self) -> None:
        now = time.monotonic()
        self.passed += now - self._looked
        self._looked = now
        if self.passed >= self.seconds:
            self.model.stop_training = True

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self.unit == "step":
            self._look()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._look()
        self.remember(epoch + 1)

    def get_config(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "unit": self.unit, "backup_dir": self.backup_dir}
