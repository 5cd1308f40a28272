"""Any hyperparameter as a schedule says, written to its variable.

The learning rate, a dropout rate, a penalty's strength are variables. This callback
assigns one at the beginning of each epoch or step, so nothing is retraced, and keeps no
state of its own: the value is a function of the epoch that Keras passes, or of the steps of
the optimizer, so a resumed training has the same values as one that was never interrupted,
and a copy of the callback is as good as the original.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasreg._validation import check_choice, check_count, check_number, check_schedule
from kerasreg.callbacks._targets import Place, Target, steps_of
from kerasreg.schedules import Constant, Schedule, Warmup

# How many values are computed at once.
_AHEAD = 1024


@keras.saving.register_keras_serializable(package="kerasreg")
class HyperparameterScheduler(keras.callbacks.Callback):
    """Sets a hyperparameter to `schedule(t)`, `t` in epochs or in steps.

    Args:
        target: what to move. `"learning_rate"`, `"momentum"` (for Adam and its kind
            `beta_1`) and `"weight_decay"` of the optimizer, which must be numbers > 0
            in it; `"dropout"`: the rate of every layer of `kerasreg.layers`; `"strength"`:
            that of every penalty of `kerasreg.regularizers`, of a sum its factor. These
            two may have a pattern after a colon, as `"dropout:block1/*"` or
            `"strength:*/kernel"`, which the name or the path of a layer, of a penalty or of a
            penalised weight matches. Of weight decay, also that of `DecoupledWeightDecay`.
        schedule: a number, or a `keras.optimizers.schedules.LearningRateSchedule`
            (Keras' own or one of `kerasreg.schedules`) with values >= 0, and <= 1 for
            momentum and dropout.
        unit: `"epoch"`: `t` is the epoch, from 0, and the value is set when an
            epoch begins. A second `fit` begins at 0 again, or at its `initial_epoch`.
            `"step"`: `t` is `optimizer.iterations`, the steps since the model was compiled.
            It goes on in a second `fit`. With gradient accumulation it counts the steps that
            are made, whereas Keras counts batches for a schedule within the optimizer. The
            value is set before each batch (with `steps_per_execution`, before each group of
            batches).
        warmup: length of a linear rise before the schedule, in units; see
            `kerasreg.schedules.Warmup`.

    Logs:
        The target, under its name, at the end of each epoch: into `History`, and into
        `TensorBoard` where that comes after it in the list of callbacks. Of several
        numbers the first is logged.

    Raises:
        ValueError: if an argument is outside its range; when training begins, if
            the model has nothing that the target means, or a schedule moves it already.

    In the optimizer, a schedule of the learning rate moves within the step; for
    rates and strengths give the component the schedule itself, unless the unit is
    epochs or one schedule is for many. Momentum and weight decay are not for the JAX
    backend, nor for lanes.

    Example:

    >>> import kerasreg
    >>> ramp = kerasreg.schedules.Linear(0.0, 0.4, steps=8)
    >>> callback = kerasreg.callbacks.HyperparameterScheduler("dropout:block*", ramp)
    >>> [round(callback.value(epoch), 2) for epoch in (0, 4, 8)]
    [0.0, 0.2, 0.4]
    """

    def __init__(self, target: str, schedule: Any, *, unit: str = "epoch", warmup: int = 0) -> None:
        super().__init__()
        self._target = Target(target)
        low, high = self._target.minimum, self._target.maximum
        if isinstance(schedule, dict):
            schedule = keras.saving.deserialize_keras_object(schedule)
        if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
            schedule = Constant(check_number("schedule", schedule, low, high))
        check_schedule("schedule", schedule, low, high)
        self.schedule = schedule
        self.unit = check_choice("unit", unit, ("epoch", "step"))
        # Lanes make each step a run of its own for a callback that acts in steps.
        self.batch_hooks = self.unit == "step"
        self.warmup = check_count("warmup", warmup, minimum=0)
        self._schedule = Warmup(schedule, self.warmup) if self.warmup else schedule
        self._places: list[Place] = []
        self._known: dict[int, float] = {}

    @property
    def target(self) -> str:
        """The name of the target."""
        return self._target.name

    def value(self, t: int) -> float:
        """The value in epoch, or at step, `t`."""
        return float(ops.convert_to_numpy(self._schedule(t)))

    def _value(self, t: int) -> float:
        """The value at a step; one call computes many, which are each too small for one."""
        if t not in self._known:
            self._known = {}
            if isinstance(self._schedule, Schedule):
                steps = range(t, t + _AHEAD)
                try:
                    ahead = ops.convert_to_numpy(self._schedule(ops.array(steps, dtype="int32")))
                    self._known = dict(zip(steps, map(float, ahead), strict=True))
                except Exception:  # a schedule within it that takes one step only
                    self._known = {t: self.value(t)}
            else:
                self._known = {t: self.value(t)}
        return self._known[t]

    def set_model(self, model: keras.Model) -> None:
        """Takes the model, before its step is traced."""
        super().set_model(model)
        self._target.prepare(model)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._places = self._target.places(self.model)

    def _assign(self, value: float) -> None:
        for place in self._places:
            place.assign(value)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.unit == "epoch":
            self._assign(self.value(epoch))

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self.unit == "step":
            self.set_step(steps_of(self.model, self.target))

    def set_step(self, step: int) -> None:
        """Sets the value of a step."""
        self._assign(self._value(step))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None:
            logs[self.target] = float(ops.convert_to_numpy(self._places[0].variable))

    def state(self) -> dict[str, Any]:
        """What the callback remembers, which is nothing: values follow from the epoch or step."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes what was remembered."""

    def get_config(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "unit": self.unit,
            "warmup": self.warmup,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> HyperparameterScheduler:
        return cls(**config)
