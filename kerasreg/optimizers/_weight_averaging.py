"""Stochastic weight averaging (Izmailov et al. 2018, arXiv:1803.05407)."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops

from kerasreg._keras.internals import show_moving_averages
from kerasreg._validation import check_count
from kerasreg.optimizers._wrapper import Wrapper, rule_of


def running_mean(mean: Any, value: Any, count: Any) -> Any:
    """Adds a value to the mean of the first `count` values."""
    return mean + (value - mean) / (count + 1.0)


@keras.saving.register_keras_serializable(package="kerasreg")
class WeightAveraging(Wrapper):
    """Stochastic weight averaging (SWA): the plain mean of the weights along the way.

    The mean takes the weights after the steps `start_step`, `start_step + period`,
    `start_step + 2·period`, ... (the first step of a training is step 1). Training goes on
    from the weights, not from the mean. When training ends, the mean replaces the weights.
    Keras' callback `SwapEMAWeights` swaps these means too, to validate with the mean.

    Keras' own `use_ema` is an exponential average, in which old weights fade. TensorFlow
    Addons' `SWA(start_averaging)` starts at `start_step = start_averaging + 1`. PyTorch's
    `AveragedModel` averages when it is called. Batch normalization keeps statistics of the
    weights before averaging: call `kerasreg.models.update_batch_normalization(model, x)` after
    training.

    Args:
        inner_optimizer: a Keras optimizer with an update rule of its own, or another
            wrapper of kerasreg. The inner optimizer then belongs to this wrapper. A
            `LossScaleOptimizer` goes around the wrapper.
        start_step: the first step whose weights are averaged, a whole number >= 1, such as
            three quarters of the training.
        period: the steps between two averaged weights, a whole number >= 1, such as an epoch.
        name: optional name of the optimizer.

    Raises:
        ValueError: if an argument is outside its range, or the backend is PyTorch.

    Example:

    >>> import keras
    >>> from kerasreg.optimizers import WeightAveraging
    >>> optimizer = WeightAveraging(keras.optimizers.SGD(0.1), start_step=1000, period=100)
    """

    # Lanes ask it: whether the end of a training moves the weights.
    averages_weights = True

    _new_names: ClassVar = {"start": "start_step"}

    def __init__(
        self,
        inner_optimizer: keras.optimizers.Optimizer,
        start_step: int = 1,
        *,
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
        start_step = check_count("start_step", start_step)
        period = check_count("period", period)
        super().__init__(inner_optimizer, name=name)
        self.start_step = start_step
        self.period = period

    def make_slots(self, variables: Any) -> None:
        """Remembers the means, where Keras' `SwapEMAWeights` looks for averages."""
        self._model_variables_moving_average = self.slots(variables, "mean")
        # It looks into whatever has an inner optimizer, for one that scales losses.
        show_moving_averages(self.rule, self._model_variables_moving_average)

    def step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """The inner step, and after every `period` steps the weights into the mean."""
        super().step(gradient, variable, learning_rate)
        average = self._model_variables_moving_average[self.index(variable)]
        after = ops.convert_to_tensor(self.rule.iterations) + 1 - self.start_step
        taken = ops.logical_and(after >= 0, ops.equal(after % self.period, 0))
        value, mean = self.value(variable), self.value(average)
        count = ops.cast(ops.maximum(after, 0) // self.period, mean.dtype)
        mean = ops.where(taken, running_mean(mean, value, count), mean)
        # Until there is a mean, the weights themselves stand for it.
        self.rule.assign(average, ops.where(after < 0, value, mean))

    def finalize_variable_values(self, var_list: Any) -> None:
        """Replaces the weights by their means."""
        super().finalize_variable_values(var_list)
        for variable in var_list:
            average = self._model_variables_moving_average[self.index(variable)]
            variable.assign(average)

    def get_config(self) -> dict[str, Any]:
        """The arguments, and the config of the inner optimizer."""
        return {**super().get_config(), "start_step": self.start_step, "period": self.period}
