"""Stochastic weight averaging (Izmailov et al. 2018, arXiv:1803.05407)."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasreg._keras.internals import show_moving_averages
from kerasreg._validation import check_count
from kerasreg.optimizers._wrapper import Wrapper, rule_of


def running_mean(mean: Any, value: Any, count: Any) -> Any:
    """The mean of `count + 1` values, of the mean of the first `count` and the last value."""
    return mean + (value - mean) / (count + 1.0)


@keras.saving.register_keras_serializable(package="kerasreg")
class WeightAveraging(Wrapper):
    """Averages the weights along the way, each counted alike: SWA.

    After steps `start`, `start + period`, `start + 2·period`, ... (the first step of a
    training is step 1) the weights are taken into the mean, of which the first is the
    whole. Training goes on from the weights, not from the mean; when it ends the mean takes
    their place. To validate with it, put Keras' `SwapEMAWeights` callback beside it,
    which swaps these averages too.

    Keras' own `use_ema` is an exponential average, in which old weights fade. TensorFlow
    Addons' `SWA` is this with `start = start_averaging + 1`; PyTorch's
    `AveragedModel` averages where it is called. Batch normalization has statistics of the
    weights that it saw: call `update_batch_normalization(model, x)` when training has ended.

    Args:
        inner_optimizer: a Keras optimizer with an update rule of its own, or another
            wrapper of kerasreg. It then belongs to this one. Around a
            `LossScaleOptimizer`, this goes inside.
        start: a whole number >= 1 of steps, such as three quarters of the training.
        period: a whole number >= 1 of steps, such as an epoch.
        name: optional name of the optimizer.

    Raises:
        ValueError: if an argument is none of these, or the backend is PyTorch.

    Example:

    >>> import keras
    >>> from kerasreg.optimizers import WeightAveraging
    >>> optimizer = WeightAveraging(keras.optimizers.SGD(0.1), start=1000, period=100)
    """

    # Lanes ask it: whether the end of a training moves the weights.
    averages_weights = True

    def __init__(
        self,
        inner_optimizer: keras.optimizers.Optimizer,
        start: int = 1,
        period: int = 1,
        name: str | None = None,
    ) -> None:
        inner_optimizer = self.checked(inner_optimizer)
        rule = rule_of(inner_optimizer)
        if rule.use_ema:
            raise ValueError(
                "`inner_optimizer` must be one that does not average. Received: inner_optimizer="
                f"{type(rule).__name__} with use_ema=True"
            )
        start, period = check_count("start", start), check_count("period", period)
        super().__init__(inner_optimizer, name=name)
        self.start = start
        self.period = period

    def make_slots(self, variables: Any) -> None:
        """Remembers the means, where Keras' `SwapEMAWeights` looks for averages."""
        self._model_variables_moving_average = self.slots(variables, "mean")
        # It looks into whatever has an inner optimizer, for one that scales losses.
        show_moving_averages(self.rule, self._model_variables_moving_average)

    def step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """The inner step, and every `period` of them the weights into the mean."""
        super().step(gradient, variable, learning_rate)
        average = self._model_variables_moving_average[self.index(variable)]
        after = ops.convert_to_tensor(self.rule.iterations) + 1 - self.start
        taken = ops.logical_and(after >= 0, ops.equal(after % self.period, 0))
        value, mean = self.value(variable), self.value(average)
        count = ops.cast(ops.maximum(after, 0) // self.period, mean.dtype)
        mean = ops.where(taken, running_mean(mean, value, count), mean)
        # Until there is a mean, the weights themselves stand for it.
        self.rule.assign(average, ops.where(after < 0, value, mean))

    def finalize_variable_values(self, var_list: Any) -> None:
        """Puts the means in the place of the weights."""
        super().finalize_variable_values(var_list)
        for variable in var_list:
            average = self._model_variables_moving_average[self.index(variable)]
            variable.assign(average)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {**super().get_config(), "start": self.start, "period": self.period}
