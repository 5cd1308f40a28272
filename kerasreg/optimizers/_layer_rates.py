"""Learning rates that differ between layers (Howard and Ruder 2018, arXiv:1801.06146)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from kerasreg._keras.patterns import check_patterns, matches
from kerasreg._validation import check_number
from kerasreg.optimizers._wrapper import Wrapper


@keras.saving.register_keras_serializable(package="kerasreg")
class LayerLearningRates(Wrapper):
    """One optimizer with a multiple of its learning rate for some layers.

    The step of each variable uses `learning_rate · multiplier`, so a schedule or a callback
    moves all of them. A variable with multiplier 0 is not moved by gradients. The inner
    optimizer's own `weight_decay` is not multiplied; a `DecoupledWeightDecay` inside is.

    TensorFlow Addons' `MultiOptimizer`, and Keras' own since 3.15, take one optimizer for each
    group of layers. Where the groups differ in the learning rate only, the result is the same.

    Args:
        inner_optimizer: a Keras optimizer with an update rule of its own, or another
            wrapper of kerasreg. The inner optimizer then belongs to this wrapper. A
            `LossScaleOptimizer` goes around the wrapper.
        multipliers: a dict of patterns of names, such as `{"block1*": 0.1, "bias": 2.0}`, and
            numbers >= 0. A pattern matches the path of a variable, the name of the variable, or
            the name of a layer around the variable. Where several match, the first counts.
        default: the multiplier of all other variables, a number >= 0.
        name: optional name of the optimizer.

    Raises:
        ValueError: if an argument is outside its range, or the backend is PyTorch. When the
            optimizer is built: if a pattern matches no variable.

    Warns:
        UserWarning: when training begins with an optimizer of a loaded model, of which a
            pattern matches no variable any more, since layers are frozen or have other names.

    Example:

    >>> import keras
    >>> from kerasreg.optimizers import LayerLearningRates
    >>> inner = keras.optimizers.Adam(1e-3)
    >>> optimizer = LayerLearningRates(inner, {"backbone": 0.1, "head": 1.0})
    """

    def __init__(
        self,
        inner_optimizer: keras.optimizers.Optimizer,
        multipliers: Mapping[str, float],
        *,
        default: float = 1.0,
        name: str | None = None,
    ) -> None:
        if not isinstance(multipliers, Mapping) or not multipliers:
            raise ValueError(
                "`multipliers` must be a dict of patterns of names and numbers >= 0. "
                f"Received: multipliers={multipliers!r}"
            )
        check_patterns("multipliers", list(multipliers))
        numbers = {
            pattern: check_number("multipliers", number, 0.0, math.inf)
            for pattern, number in multipliers.items()
        }
        default = check_number("default", default, 0.0, math.inf)
        super().__init__(inner_optimizer, name=name)
        self.multipliers = numbers
        self.default = default

    def make_slots(self, variables: Any) -> None:
        """Finds the multiplier of each variable."""
        self.decide("multipliers", self.multipliers, variables)

    def by_names(self, names: Sequence[frozenset[str]]) -> list[float]:
        """The multiplier of each variable: that of the first pattern that matches."""
        return [
            next(
                (number for pattern, number in self.multipliers.items() if matches(pattern, of)),
                self.default,
            )
            for of in names
        ]

    def step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """The inner step, with the learning rate of the variable."""
        self.say_notes()
        # Static: the multipliers.
        multiplier = self.decided[self.index(variable)]
        super().step(gradient, variable, learning_rate * multiplier)

    def get_config(self) -> dict[str, Any]:
        """The arguments, and the config of the inner optimizer."""
        return {
            **super().get_config(),
            "multipliers": dict(self.multipliers),
            "default": self.default,
        }
