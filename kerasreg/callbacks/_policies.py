"""The classic learning-rate policies, each a schedule under its own name.

Epochs are those of a `fit`, steps are those of the optimizer: see `LearningRateScheduler`.
"""

from __future__ import annotations

from typing import Any

import keras

from kerasreg._validation import check_count, check_number, check_positive
from kerasreg.callbacks._learning_rate import LearningRateScheduler
from kerasreg.schedules import Constant, Cosine, Step, TimeBased


class _Policy(LearningRateScheduler):
    """A named policy: its arguments make the schedule, and are its config."""

    def __init__(self, schedule: Any, unit: str, warmup: int, **arguments: float) -> None:
        super().__init__(schedule, unit=unit, warmup=warmup)
        self._arguments = arguments

    def get_config(self) -> dict[str, Any]:
        return {**self._arguments, "unit": self.unit, "warmup": self.warmup}


@keras.saving.register_keras_serializable(package="kerasreg")
class FixedLearningRate(_Policy):
    """`lr(t) = learning_rate`, after an optional warm-up.

    Args:
        learning_rate: the value, a number >= 0.
        unit: `"epoch"` or `"step"`, as for `LearningRateScheduler`:
            what `warmup` counts.
        warmup: length of a linear rise, in units.

    Raises:
        ValueError: if an argument is outside its range.

    Example:

    >>> import kerasreg
    >>> kerasreg.callbacks.FixedLearningRate(0.5, warmup=1).value(0)
    0.25
    """

    def __init__(self, learning_rate: float, *, unit: str = "epoch", warmup: int = 0) -> None:
        rate = check_number("learning_rate", learning_rate, 0.0, float("inf"))
        super().__init__(Constant(rate), unit=unit, warmup=warmup, learning_rate=rate)


@keras.saving.register_keras_serializable(package="kerasreg")
class StepDecay(_Policy):
    """`lr(t) = learning_rate · factor^⌊t / every⌋`.

    Args:
        learning_rate: first value, a number >= 0.
        factor: what each drop multiplies by, from 0 to 1.
        every: units between drops, a whole number >= 1.
        unit: `"epoch"` or `"step"`, as for `LearningRateScheduler`:
            what `t`, `every` and `warmup` count.
        warmup: length of a linear rise, in units.

    Raises:
        ValueError: if an argument is outside its range.

    Example:

    >>> import kerasreg
    >>> policy = kerasreg.callbacks.StepDecay(1.0, factor=0.5, every=10)
    >>> policy.value(9), policy.value(10), policy.value(25)
    (1.0, 0.5, 0.25)
    """

    def __init__(
        self,
        learning_rate: float,
        factor: float = 0.5,
        *,
        every: int = 10,
        unit: str = "epoch",
        warmup: int = 0,
    ) -> None:
        rate = check_number("learning_rate", learning_rate, 0.0, float("inf"))
        factor = check_number("factor", factor, 0.0, 1.0)
        every = check_count("every", every)
        schedule = Step(rate, factor, every)
        super().__init__(
            schedule, unit=unit, warmup=warmup, learning_rate=rate, factor=factor, every=every
        )
        self.factor, self.every = factor, every


@keras.saving.register_keras_serializable(package="kerasreg")
class ExponentialDecay(_Policy):
    """`lr(t) = learning_rate · rate^t`.

    Args:
        learning_rate: first value, a number >= 0.
        rate: the factor per unit, from 0 to 1.
        unit: `"epoch"` or `"step"`, as for `LearningRateScheduler`:
            what `t` and `warmup` count.
        warmup: length of a linear rise, in units.

    Raises:
        ValueError: if an argument is outside its range.

    Example:

    >>> import kerasreg
    >>> kerasreg.callbacks.ExponentialDecay(1.0, rate=0.5).value(3)
    0.125
    """

    def __init__(
        self, learning_rate: float, rate: float = 0.95, *, unit: str = "epoch", warmup: int = 0
    ) -> None:
        first = check_number("learning_rate", learning_rate, 0.0, float("inf"))
        rate = check_number("rate", rate, 0.0, 1.0)
        schedule = Step(first, rate, 1)
        super().__init__(schedule, unit=unit, warmup=warmup, learning_rate=first, rate=rate)


@keras.saving.register_keras_serializable(package="kerasreg")
class TimeBasedDecay(_Policy):
    """`lr(t) = learning_rate / (1 + decay · t)`.

    Args:
        learning_rate: first value, a number >= 0.
        decay: k, a number >= 0 per unit.
        unit: `"epoch"` or `"step"`, as for `LearningRateScheduler`:
            what `t` and `warmup` count. Keras 2's
            `decay` argument of optimizers counted steps.
        warmup: length of a linear rise, in units.

    Raises:
        ValueError: if an argument is outside its range.

    Example:

    >>> import kerasreg
    >>> kerasreg.callbacks.TimeBasedDecay(1.0, decay=0.5).value(2)
    0.5
    """

    def __init__(
        self, learning_rate: float, decay: float = 0.01, *, unit: str = "epoch", warmup: int = 0
    ) -> None:
        rate = check_number("learning_rate", learning_rate, 0.0, float("inf"))
        decay = check_number("decay", decay, 0.0, float("inf"))
        schedule = TimeBased(rate, decay)
        super().__init__(schedule, unit=unit, warmup=warmup, learning_rate=rate, decay=decay)


@keras.saving.register_keras_serializable(package="kerasreg")
class CosineDecay(_Policy):
    """Half a cosine from `learning_rate` down to `minimum`, then constant.

    `lr(t) = minimum + (learning_rate - minimum) · ½(1 + cos(π·min(t, length)/length))`

    Args:
        learning_rate: first value, a number > 0.
        length: units until the minimum is reached, a whole number >= 1, not
            counting the warm-up.
        minimum: last value, from 0 to `learning_rate`.
        unit: `"epoch"` or `"step"`, as for `LearningRateScheduler`:
            what `t`, `length` and `warmup` count.
        warmup: length of a linear rise, in units.

    Raises:
        ValueError: if an argument is outside its range.

    Loshchilov and Hutter 2017 (arXiv:1608.03983), without restarts.

    Example:

    >>> import kerasreg
    >>> policy = kerasreg.callbacks.CosineDecay(1.0, length=10)
    >>> round(policy.value(5), 6), round(policy.value(10), 6)
    (0.5, 0.0)
    """

    def __init__(
        self,
        learning_rate: float,
        length: int,
        *,
        minimum: float = 0.0,
        unit: str = "epoch",
        warmup: int = 0,
    ) -> None:
        rate = check_positive("learning_rate", learning_rate)
        length = check_count("length", length)
        minimum = check_number("minimum", minimum, 0.0, rate)
        schedule = Cosine(rate, minimum, length)
        super().__init__(
            schedule, unit=unit, warmup=warmup, learning_rate=rate, length=length, minimum=minimum
        )
