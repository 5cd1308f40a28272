"""Learning rate and momentum in one cycle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from kerasreg._validation import check_count, check_number
from kerasreg.callbacks._hyperparameter_scheduler import HyperparameterScheduler
from kerasreg.callbacks._targets import Target, batches_since_compile
from kerasreg.schedules import OneCycle as OneCycleSchedule


@keras.saving.register_keras_serializable(package="kerasreg", name="OneCycleCallback")
class OneCycle(keras.callbacks.Callback):
    """Moves the learning rate up and down once, and the momentum the other way: 1cycle.

    Both move before each batch, by `kerasreg.schedules.OneCycle(peak, steps)` and the
    schedule's `momentum()`. The last batch has nearly the last value.

    The steps are the batches of one `fit`, of which `initial_epoch` leaves the first ones out.
    So a second `fit` has a cycle of its own, a training that is resumed goes on with the cycle
    where its epoch begins, and gradient accumulation changes nothing.

    Args:
        peak: the largest learning rate, a number >= 0, such as `find_learning_rate` suggests.
        steps: the steps of the cycle, a whole number >= 1; by default all of the training:
            its epochs times the batches of one.
        pct_start: the part in which the rate rises, above 0 and below 1, or below 0.5 with
            three phases.
        div_factor: what the peak is divided by for the first rate, a number >= 1.
        final_div_factor: what the first rate is divided by for the last, a number >= 1.
        shape: `"cosine"` or `"linear"`.
        three_phase: whether to fall to the first rate before the last.
        momentum: two numbers from 0 to 1, the largest and the smallest momentum (`beta_1` of
            Adam and its kind), or None to leave it. The optimizer must have one.

    Logs:
        `learning_rate` and `momentum`, at the end of each epoch.

    Raises:
        ValueError: if an argument is outside its range; when training begins, if
            the optimizer has a schedule or no momentum, or `steps` is not given and the
            number of batches is not known.

    Where the number of batches is not known, a resumed training goes on with the batches that
    the optimizer was given since the model was compiled.

    Smith and Topin 2018 (arXiv:1708.07120); fastai's `fit_one_cycle`.

    Example:

    >>> import kerasreg
    >>> callback = kerasreg.callbacks.OneCycle(0.1)
    """

    batch_hooks = True

    def __init__(
        self,
        peak: float,
        steps: int | None = None,
        *,
        pct_start: float = 0.3,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        shape: str = "cosine",
        three_phase: bool = False,
        momentum: Sequence[float] | None = (0.95, 0.85),
    ) -> None:
        super().__init__()
        self.steps = None if steps is None else check_count("steps", steps)
        if momentum is not None:
            if not isinstance(momentum, (list, tuple)) or len(momentum) != 2:
                raise ValueError(
                    "`momentum` must be two numbers, the largest and the smallest, or None. "
                    f"Received: momentum={momentum!r}"
                )
            momentum = tuple(check_number("momentum", number, 0.0, 1.0) for number in momentum)
        self.momentum = momentum
        # Of any length: this one checks the arguments, and has them.
        self._schedule = OneCycleSchedule(
            peak,
            self.steps or 1,
            pct_start=pct_start,
            div_factor=div_factor,
            final_div_factor=final_div_factor,
            shape=shape,
            three_phase=three_phase,
        )
        self._parts: list[HyperparameterScheduler] = []
        # The batches of the epochs before, and of the epoch so far.
        self._before: int | None = None
        self._seen = 0

    def set_model(self, model: keras.Model) -> None:
        """Takes the model, before its step is traced."""
        super().set_model(model)
        if self.momentum is not None:
            Target("momentum").prepare(model)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        # Not before: Keras says only now how many batches there are.
        steps = self.steps
        if steps is None:
            batches, epochs = self.params.get("steps"), self.params.get("epochs")
            if not batches or not epochs:
                raise ValueError(
                    "`steps` must be a whole number >= 1 where the number of batches is not "
                    "known. Received: steps=None"
                )
            steps = batches * epochs
        schedule = OneCycleSchedule(**{**self._schedule.get_config(), "steps": steps})
        self._before, self._seen = None, 0
        self._parts = [HyperparameterScheduler("learning_rate", schedule, unit="step")]
        if self.momentum is not None:
            momentum = schedule.momentum(*self.momentum)
            self._parts.append(HyperparameterScheduler("momentum", momentum, unit="step"))
        for part in self._parts:
            part.set_params(self.params)
            part.set_model(self.model)
            part.on_train_begin(logs)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        # The epoch to begin with is known only here, and what a backup restores.
        if (batches := self.params.get("steps")) is not None:
            self._before = epoch * batches
        elif self._before is None:
            self._before = batches_since_compile(self.model) if epoch else 0
        else:
            self._before += self._seen
        self._seen = 0

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        assert self._before is not None
        for part in self._parts:
            part.set_step(self._before + batch)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._seen = batch + 1

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        for part in self._parts:
            part.on_epoch_end(epoch, logs)

    def state(self) -> dict[str, Any]:
        """What the callback remembers: how many batches there were."""
        return {"before": self._before, "seen": self._seen}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes what was remembered."""
        self._before, self._seen = state["before"], state["seen"]

    def get_config(self) -> dict[str, Any]:
        config = self._schedule.get_config()
        momentum = None if self.momentum is None else list(self.momentum)
        return {**config, "steps": self.steps, "momentum": momentum}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> OneCycle:
        return cls(**config)
