"""Learning-rate policies as callbacks: a schedule, written to the optimizer's variable.

The learning rate is a variable of the optimizer. These callbacks assign it at
the beginning of each epoch (or step), so nothing is retraced, and they keep no
state of their own: the value is a function of the epoch that Keras passes (or
of `optimizer.iterations`), so a resumed training has the same learning rates as
one that was never interrupted, and a copy of the callback is as good as the
original.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasreg._validation import (
    check_choice,
    check_count,
    check_number,
    check_schedule,
)
from kerasreg.schedules import Constant, Warmup

keras_schedules = keras.optimizers.schedules


def optimizers_of(model: keras.Model) -> list[keras.optimizers.Optimizer]:
    """The optimizers of a compiled model whose `learning_rate` may be assigned.

    Raises:
        ValueError: if the model is not compiled, or an optimizer was built with
            a schedule as its learning rate, which Keras does not let change.
    """
    outer = getattr(model, "optimizer", None)
    if outer is None:
        raise ValueError("The model has no optimizer: call `model.compile(...)` first.")
    # `MultiOptimizer` has no learning rate of its own.
    found = list(getattr(outer, "optimizers", None) or [outer])
    for optimizer in found:
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        if not isinstance(inner._learning_rate, keras.Variable):
            raise ValueError(
                f"The learning rate of {inner.name!r} must be a number for a callback to "
                f"move it. Received: a {type(inner._learning_rate).__name__}; give the "
                "optimizer a number, or leave the callback out."
            )
    return found


def get_learning_rate(model: keras.Model) -> float:
    """The learning rate now (of the first optimizer, where there are several)."""
    return float(ops.convert_to_numpy(optimizers_of(model)[0].learning_rate))


def set_learning_rate(model: keras.Model, value: float) -> None:
    """Assigns the learning rate of every optimizer of the model."""
    for optimizer in optimizers_of(model):
        optimizer.learning_rate = value


@keras.saving.register_keras_serializable(package="kerasreg")
class LearningRateScheduler(keras.callbacks.Callback):
    """Sets the learning rate to `schedule(t)`, `t` in epochs or in steps.

    In contrast to `keras.callbacks.LearningRateScheduler`, which calls a Python
    function of the epoch, this takes a schedule object, which serialises, and
    can count optimizer steps.

    Args:
        schedule: a number, or a `keras.optimizers.schedules.LearningRateSchedule`
            (Keras' own or one of `kerasreg.schedules`) with values >= 0.
        unit: `"epoch"`: `t` is the epoch, from 0, and the rate is set when an
            epoch begins. `"step"`: `t` is `optimizer.iterations`, and the rate
            is set before each batch (with `steps_per_execution`, before each
            group of batches).
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

    def __init__(self, schedule: Any, unit: str = "epoch", warmup: int = 0) -> None:
        super().__init__()
        if isinstance(schedule, dict):
            schedule = keras.saving.deserialize_keras_object(schedule)
        if not isinstance(schedule, keras_schedules.LearningRateSchedule):
            schedule = Constant(check_number("schedule", schedule, 0.0, float("inf")))
        check_schedule("schedule", schedule, 0.0, float("inf"))
        self.schedule = schedule
        self.unit = check_choice("unit", unit, ("epoch", "step"))
        # Lanes make each step a run of its own for a callback that acts in steps.
        self.batch_hooks = self.unit == "step"
        self.warmup = check_count("warmup", warmup, minimum=0)
        self._schedule = Warmup(schedule, self.warmup) if self.warmup else schedule

    def value(self, t: int) -> float:
        """The learning rate in epoch, or at step, `t`."""
        return float(ops.convert_to_numpy(self._schedule(t)))

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        optimizers_of(self.model)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.unit == "epoch":
            set_learning_rate(self.model, self.value(epoch))

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self.unit == "step":
            iterations = optimizers_of(self.model)[0].iterations
            set_learning_rate(self.model, self.value(int(ops.convert_to_numpy(iterations))))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = get_learning_rate(self.model)

    def get_config(self) -> dict[str, Any]:
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "unit": self.unit,
            "warmup": self.warmup,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LearningRateScheduler:
        return cls(**config)
