"""Lookahead: k steps forward, one step back (Zhang et al. 2019, arXiv:1907.08610)."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasreg._keras.internals import calls_of, trainable_variables_of
from kerasreg._keras.outer_optimizer import makes_a_step
from kerasreg._validation import check_count, check_number
from kerasreg.optimizers._wrapper import Wrapper


def lookahead(fast: Any, slow: Any, slow_step_size: float) -> Any:
    """The slow weights after a synchronization: `slow + slow_step_size · (fast - slow)`."""
    return slow + slow_step_size * (fast - slow)


@keras.saving.register_keras_serializable(package="kerasreg")
class Lookahead(Wrapper):
    """Lookahead: every `sync_period` steps the weights go part of the way back.

    After each `sync_period` steps of the inner optimizer the slow weights become
    `slow + slow_step_size · (fast - slow)`, and the model gets the slow weights. The fast
    weights are those that the inner optimizer moved. The state of the inner optimizer stays.
    TensorFlow Addons' `Lookahead` is the same: the first slow weights are the initial ones.

    Args:
        inner_optimizer: a Keras optimizer with an update rule of its own, or another
            wrapper of kerasreg. The inner optimizer then belongs to this wrapper. A
            `LossScaleOptimizer` goes around the wrapper.
        sync_period: the steps between two synchronizations, a whole number >= 1.
        slow_step_size: the part of the way that the slow weights go, a number from 0 to 1.
        name: optional name of the optimizer.

    Raises:
        ValueError: if an argument is outside its range, or the backend is PyTorch.

    Example:

    >>> import keras
    >>> from kerasreg.optimizers import Lookahead
    >>> optimizer = Lookahead(keras.optimizers.Adam(1e-3), sync_period=6)
    """

    def __init__(
        self,
        inner_optimizer: keras.optimizers.Optimizer,
        sync_period: int = 6,
        *,
        slow_step_size: float = 0.5,
        name: str | None = None,
    ) -> None:
        sync_period = check_count("sync_period", sync_period)
        slow_step_size = check_number("slow_step_size", slow_step_size, 0.0, 1.0)
        super().__init__(inner_optimizer, name=name)
        self.sync_period = sync_period
        self.slow_step_size = slow_step_size

    def make_slots(self, variables: Any) -> None:
        """Remembers the slow weights."""
        self._slow = self.slots(variables, "slow")

    def step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """The inner step, and after every `sync_period` steps the step back."""
        beginning = self.value(variable) * 1.0  # A copy, of what the step overwrites.
        super().step(gradient, variable, learning_rate)
        self._synchronize(variable, beginning, ops.convert_to_tensor(self.rule.iterations), True)

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Applies gradients, and takes variables that have none now along.

        Their slow weights begin, and go back, with those of all others.
        """
        given = self.prepare(trainable_variables)
        if len(grads) == len(given):
            completed = self.completed(grads, given)
            moved = {self.index(v) for g, v in zip(completed, given, strict=True) if g is not None}
            calls = ops.convert_to_tensor(calls_of(self.rule)) + 1
            steps = makes_a_step(self.rule, calls)
            number = ops.convert_to_tensor(self.rule.iterations)
            for index, variable in enumerate(trainable_variables_of(self.rule)):
                if index not in moved and self._slow[index] is not None:
                    # One that was frozen since stays.
                    now = ops.logical_and(steps, variable.trainable)
                    self._synchronize(variable, self.value(variable), number, now)
        super().apply(grads, trainable_variables)

    def _synchronize(self, variable: Any, beginning: Any, number: Any, steps: Any) -> None:
        """The step back of one variable, if it is time.

        Args:
            variable: the variable, which has its fast weights.
            beginning: its weights before this step.
            number: the steps that were made before this one.
            steps: whether the variable may move now, or gradients are only gathered.
        """
        slow = self._slow[self.index(variable)]
        syncs = ops.logical_and(ops.equal((number + 1) % self.sync_period, 0), steps)
        fast = self.value(variable)
        before = ops.where(ops.equal(number, 0), beginning, self.value(slow))
        synced = lookahead(fast, before, self.slow_step_size)
        self.rule.assign(slow, ops.where(syncs, synced, before))
        self.rule.assign(variable, ops.where(syncs, synced, fast))

    def get_config(self) -> dict[str, Any]:
        """The arguments, and the config of the inner optimizer."""
        return {
            **super().get_config(),
            "sync_period": self.sync_period,
            "slow_step_size": self.slow_step_size,
        }
