"""Learning rates that differ between layers (Howard and Ruder 2018, arXiv:1801.06146)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._descriptions import described_component
from kerasreg._keras.internals import calls_of
from kerasreg._keras.patterns import check_patterns, matches
from kerasreg._validation import check_number, check_schedule
from kerasreg.optimizers._wrapper import Wrapper

_Schedule = keras.optimizers.schedules.LearningRateSchedule


@keras.saving.register_keras_serializable(package="kerasreg")
class LayerLearningRates(Wrapper):
    """One optimizer with a multiple of its learning rate for some layers.

    The step of each variable uses `learning_rate · multiplier`, so a schedule or a callback
    moves all of them. A variable with multiplier 0 is not moved by gradients; Ftrl takes no 0, as
    it divides by the learning rate. The inner optimizer's own `weight_decay` is not multiplied; a
    `DecoupledWeightDecay` inside is.

    Rates that differ so are known as layer-wise, or discriminative, learning rates. A multiplier
    that is a schedule, such as one that is 0 at first, unfreezes a layer gradually. Multipliers
    are in variables, and lanes may differ in them.

    TensorFlow Addons' `MultiOptimizer`, and Keras' own since 3.15, take one optimizer for each
    group of layers. Where the groups differ in the learning rate only, the result is the same.

    Args:
        inner_optimizer: a Keras optimizer with an update rule of its own, or another
            wrapper of kerasreg. The inner optimizer then belongs to this wrapper. A
            `LossScaleOptimizer` goes around the wrapper.
        multipliers: a dict of patterns of names, such as `{"block1*": 0.1, "bias": 2.0}`, and
            numbers >= 0, or schedules of such numbers over the optimizer's steps. A pattern
            matches the path of a variable, the name of the variable, or the name of a layer
            around the variable. Where several match, the first counts.
        default: the multiplier of all other variables, a number >= 0 or such a schedule.
        name: optional name of the optimizer.

    Attributes:
        multipliers: by pattern the schedule, or the number in a variable, which may be assigned.
        default: the same for all other variables.

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
    >>> optimizer = LayerLearningRates(inner, {"backbone": 0.0, "head/bias": 2.0})
    >>> _ = optimizer.multipliers["backbone"].assign(0.1)
    >>> optimizer
    LayerLearningRates(inner_optimizer=Adam(learning_rate=0.001),
    multipliers={'backbone': 0.1, 'head/bias': 2})
    """

    def __init__(
        self,
        inner_optimizer: keras.optimizers.Optimizer,
        multipliers: Mapping[str, Any],
        *,
        default: Any = 1.0,
        name: str | None = None,
    ) -> None:
        if not isinstance(multipliers, Mapping) or not multipliers:
            raise ValueError(
                "`multipliers` must be a dict of patterns of names, and numbers >= 0 or schedules. "
                f"Received: multipliers={multipliers!r}"
            )
        check_patterns("multipliers", list(multipliers))
        checked = [_checked("multipliers", value) for value in multipliers.values()]
        last = _checked("default", default)
        super().__init__(inner_optimizer, name=name)
        if isinstance(self.rule, keras.optimizers.Ftrl):
            for argument, value in [*(("multipliers", of) for of in checked), ("default", last)]:
                if float(value(0) if isinstance(value, _Schedule) else value) == 0:
                    raise ValueError(
                        f"`{argument}` must be > 0 with Ftrl, which divides by the learning rate. "
                        f"Received: {argument}={value!r}"
                    )
        held = [self._held(value, f"multiplier_{n}") for n, value in enumerate([*checked, last])]
        # Past Keras' tracking: the variables are tracked already.
        self.__dict__["multipliers"] = dict(zip(multipliers, held[:-1], strict=True))
        self.__dict__["default"] = held[-1]

    def _held(self, value: Any, name: str) -> Any:
        """A schedule, or a number in a variable."""
        if isinstance(value, _Schedule):
            return value
        return self.add_variable(
            (),
            # Not a constant of Keras', which is a float32 on its way.
            initializer=lambda shape, dtype: ops.convert_to_tensor(np.full(shape, value, dtype)),
            dtype=keras.config.floatx(),
            name=name,
        )

    @property
    def _later_variables(self) -> list[keras.Variable]:
        """The multipliers, which were no variables before 0.1.0."""
        held = [*self.multipliers.values(), self.default]
        return [one for one in held if isinstance(one, keras.Variable)] + super()._later_variables

    def make_slots(self, variables: Any) -> None:
        """Finds the multiplier of each variable."""
        self.decide("multipliers", self.multipliers, variables)

    def by_names(self, names: Sequence[frozenset[str]]) -> list[int]:
        """Which multiplier each variable has: the number of the first pattern that matches."""
        patterns = list(self.multipliers)
        return [
            next((n for n, pattern in enumerate(patterns) if matches(pattern, of)), len(patterns))
            for of in names
        ]

    def step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """The inner step, with the learning rate of the variable."""
        self.say_notes()
        # Static: which multiplier. Traced: its value.
        held = [*self.multipliers.values(), self.default][self.decided[self.index(variable)]]
        if isinstance(held, _Schedule):
            held = held(calls_of(self.rule))  # As Keras calls that of the rate.
        multiplier = ops.cast(held, keras.backend.standardize_dtype(learning_rate.dtype))
        super().step(gradient, variable, learning_rate * multiplier)

    def __repr__(self) -> str:
        return described_component(self)

    def get_config(self) -> dict[str, Any]:
        """The arguments, as they are now, and the config of the inner optimizer."""
        return {
            **super().get_config(),
            "multipliers": {name: _serialized(held) for name, held in self.multipliers.items()},
            "default": _serialized(self.default),
        }


def _checked(argument: str, value: Any) -> Any:
    """A number >= 0, or a schedule of such numbers."""
    if isinstance(value, dict):
        value = keras.saving.deserialize_keras_object(value)
    if isinstance(value, _Schedule):
        check_schedule(argument, value, 0.0, math.inf)
        return value
    return check_number(argument, value, 0.0, math.inf, or_schedule=True)


def _serialized(held: Any) -> Any:
    if isinstance(held, _Schedule):
        return keras.saving.serialize_keras_object(held)
    return float(ops.convert_to_numpy(held))
