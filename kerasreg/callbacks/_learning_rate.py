"""The learning rate as a schedule says."""

from __future__ import annotations

from typing import Any

import keras

from kerasreg.callbacks._hyperparameter_scheduler import HyperparameterScheduler


@keras.saving.register_keras_serializable(package="kerasreg")
class LearningRateScheduler(HyperparameterScheduler):
    """Sets the learning rate to `schedule(t)`, `t` in epochs or in steps.

    In contrast to `keras.callbacks.LearningRateScheduler`, which calls a Python
    function of the epoch, this takes a schedule object, which serialises, and
    can count optimizer steps.

    Args:
        schedule: a number, or a `keras.optimizers.schedules.LearningRateSchedule`
            (Keras' own or one of `kerasreg.schedules`) with values >= 0.
        unit: `"epoch"`: `t` is the epoch, from 0, and the rate is set when an
            epoch begins. A second `fit` begins at 0 again, or at its `initial_epoch`.
            `"step"`: `t` is `optimizer.iterations`, the steps since the model was compiled.
            It goes on in a second `fit`. With gradient accumulation it counts the steps that
            are made, whereas Keras counts batches for a schedule within the optimizer. The
            rate is set before each batch (with `steps_per_execution`, before each group of
            batches).
        warmup: length of a linear rise before the schedule, in units; see
            `kerasreg.schedules.Warmup`.

    Logs:
        `learning_rate`, at the end of each epoch, into `History` and any logger.

    Raises:
        ValueError: if an argument is outside its range; at the beginning of
            training, if the optimizer was built with a schedule of its own.

    Example:

    >>> import keras, kerasreg
    >>> cosine = keras.optimizers.schedules.CosineDecay(0.1, decay_steps=10)
    >>> callback = kerasreg.callbacks.LearningRateScheduler(cosine, warmup=3)
    >>> round(callback.value(0), 4), round(callback.value(3), 4)
    (0.025, 0.1)
    """

    def __init__(self, schedule: Any, *, unit: str = "epoch", warmup: int = 0) -> None:
        super().__init__("learning_rate", schedule, unit=unit, warmup=warmup)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["target"]
        return config
