"""Stochastic weight averaging (Izmailov et al. 2018, arXiv:1803.05407)."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops

from kerasreg._keras.internals import calls_of, show_moving_averages, trainable_variables_of
from kerasreg._keras.outer_optimizer import makes_a_step
from kerasreg._validation import check_count
from kerasreg.optimizers._wrapper import Wrapper


def running_mean(mean: Any, value: Any, count: Any) -> Any:
    """Adds a value to the mean of the first `count` values."""
    return mean + (value - mean) / (count + 1.0)


@keras.saving.register_keras_serializable(package="kerasreg")
class WeightAveraging(Wrapper):
    """Stochastic weight averaging (SWA): the plain mean of the weights along the way.

    The mean takes the weights after the steps `start_step`, `start_step + period`,
    `start_step + 2·period`, ... Steps are counted by `iterations` of the optimizer, from 1:
    with gradient accumulation those that were made, in a second `fit` on from the first. The
    weights are those that the model has then, after constraints, and after a `Lookahead`
    outside or inside. Training goes on from the weights, not from the mean. When training
    ends, the mean replaces the weights, unless no step was averaged yet.
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
        if inner_optimizer.use_ema:
            raise ValueError(
                "`inner_optimizer` must be one that does not average. Received: inner_optimizer="
                f"{type(inner_optimizer).__name__} with use_ema=True"
            )
        start_step = check_count("start_step", start_step)
        period = check_count("period", period)
        super().__init__(inner_optimizer, name=name)
        self.start_step = start_step
        self.period = period

    # Keras asks it too, where it looks for averages.
    @property
    def use_ema(self) -> bool:
        """Whether the weights are averaged: they are."""
        return True

    @use_ema.setter
    def use_ema(self, use_ema: bool) -> None:
        # Keras' constructor sets it, before there is an inner optimizer.
        if not use_ema and "inner_optimizer" in vars(self):
            raise ValueError(
                "`use_ema` must be True in `WeightAveraging`, which always averages. "
                f"Received: use_ema={use_ema!r}"
            )

    def make_slots(self, variables: Any) -> None:
        """Remembers the means, where Keras' `SwapEMAWeights` looks for averages."""
        self._means = self.slots(variables, "mean")
        # It looks into whatever has an inner optimizer, for one that scales losses.
        show_moving_averages(self.rule, self._means)

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Applies gradients, and takes the weights into the means after every `period` steps.

        Of all variables: those without a gradient have weights after the step as well. Not in
        `step`, which comes before constraints.
        """
        super().apply(grads, trainable_variables)
        if not len(grads):
            return
        rule = self.rule
        calls, number = map(ops.convert_to_tensor, (calls_of(rule), rule.iterations))
        after = number - self.start_step
        taken = ops.logical_and(after >= 0, ops.equal(after % self.period, 0))
        taken = ops.logical_and(taken, makes_a_step(rule, calls))
        for variable, average in zip(trainable_variables_of(rule), self._means, strict=True):
            if average is None:
                continue
            value, mean = self.value(variable), self.value(average)
            count = ops.cast(ops.maximum(after, 0) // self.period, mean.dtype)
            mean = ops.where(taken, running_mean(mean, value, count), mean)
            # Until there is a mean, the weights themselves stand for it.
            rule.assign(average, ops.where(after < 0, value, mean))

    def finalize_variable_values(self, var_list: Any) -> None:
        """Replaces the weights by their means, if there are any yet."""
        super().finalize_variable_values(var_list)
        begun = ops.convert_to_tensor(self.rule.iterations) >= self.start_step
        for variable in var_list:
            average = self._means[self.index(variable)]
            if average is not None:
                mean, value = self.value(average), self.value(variable)
                variable.assign(ops.where(begun, mean, value))

    def get_config(self) -> dict[str, Any]:
        """The arguments, and the config of the inner optimizer."""
        return {**super().get_config(), "start_step": self.start_step, "period": self.period}
