"""Weight decay beside the gradient (Loshchilov and Hutter 2019, arXiv:1711.05101)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._descriptions import described_component
from kerasreg._keras.patterns import check_patterns, matches, names_within
from kerasreg._validation import check_number, check_schedule
from kerasreg.optimizers._wrapper import Wrapper


@keras.saving.register_keras_serializable(package="kerasreg")
class DecoupledWeightDecay(Wrapper):
    """Any optimizer with weight decay beside it, a number or a schedule.

    `w ← w - η·λ·w`, then the step of the inner optimizer. With `scaled_by_learning_rate`, η is
    the learning rate, as for Keras' own argument `weight_decay` and PyTorch's AdamW. Without
    it, η is 1, as in TensorFlow Addons and the paper; then a schedule of the learning rate
    must be given to the decay too.

    Keras' optimizers have an argument `weight_decay` and a method
    `exclude_from_weight_decay`. This wrapper adds schedules, patterns of names that are saved
    with the optimizer, and a decay that does not follow the learning rate.

    Args:
        inner_optimizer: a Keras optimizer with an update rule of its own and no
            `weight_decay`, or another wrapper of kerasreg. The inner optimizer then belongs to
            this wrapper. A `LossScaleOptimizer` goes around the wrapper.
        weight_decay: λ, a number >= 0, or a schedule of such numbers over the optimizer's steps.
        exclude: patterns of names, such as `["bias", "gamma", "block1/*"]`, of the variables
            that do not decay. A pattern matches the path of a variable, the name of the
            variable, or the name of a layer around the variable.
        scaled_by_learning_rate: whether η is the learning rate.
        name: optional name of the optimizer.

    Attributes:
        weight_decay: λ in a variable, which may be assigned where no schedule moves λ.
        schedule: the schedule of λ, or None.

    Raises:
        ValueError: if an argument is outside its range, or the backend is PyTorch. When the
            optimizer is built: if a pattern matches no variable.

    Warns:
        UserWarning: when training begins with an optimizer of a loaded model, of which a
            pattern matches no variable any more, since layers are frozen or have other names.

    Example:

    >>> import keras
    >>> from kerasreg.optimizers import DecoupledWeightDecay
    >>> inner = keras.optimizers.RMSprop(1e-3)
    >>> optimizer = DecoupledWeightDecay(inner, 0.01, exclude=["bias"])
    >>> _ = optimizer.weight_decay.assign(0.02)
    >>> optimizer
    DecoupledWeightDecay(inner_optimizer=RMSprop(learning_rate=0.001), weight_decay=0.02,
    exclude=('bias',))
    """

    def __init__(
        self,
        inner_optimizer: keras.optimizers.Optimizer,
        weight_decay: Any,
        *,
        exclude: Sequence[str] = (),
        scaled_by_learning_rate: bool = True,
        name: str | None = None,
    ) -> None:
        inner_optimizer = self.checked(inner_optimizer)
        # A wrapper's own decay is another one, beside this one.
        wraps = isinstance(inner_optimizer, Wrapper)
        own = None if wraps else getattr(inner_optimizer, "weight_decay", None)
        if own is not None:
            raise ValueError(
                "`inner_optimizer` must be one without a `weight_decay` of its own. Received: "
                f"inner_optimizer={type(inner_optimizer).__name__} with weight_decay={own}"
            )
        if isinstance(weight_decay, dict):
            weight_decay = keras.saving.deserialize_keras_object(weight_decay)
        schedule = None
        if isinstance(weight_decay, keras.optimizers.schedules.LearningRateSchedule):
            first = check_schedule("weight_decay", weight_decay, 0.0, math.inf)
            schedule = weight_decay
        else:
            first = check_number("weight_decay", weight_decay, 0.0, math.inf, or_schedule=True)
        exclude = check_patterns("exclude", exclude, fewest=0)
        if not isinstance(scaled_by_learning_rate, bool):
            raise ValueError(
                "`scaled_by_learning_rate` must be True or False. "
                f"Received: scaled_by_learning_rate={scaled_by_learning_rate!r}"
            )
        super().__init__(inner_optimizer, name=name)
        self.schedule = schedule
        self.exclude = exclude
        self.scaled_by_learning_rate = scaled_by_learning_rate
        # Keras' constructor set it to None, its own decay, which is never asked for here: the
        # step is made by the inner optimizer.
        self.weight_decay = self.add_variable(
            (),
            # Not a constant of Keras', which is a float32 on its way.
            initializer=lambda shape, dtype: ops.convert_to_tensor(np.full(shape, first, dtype)),
            dtype=keras.config.floatx(),
            name="decay",  # As it was called before 0.1.0, and as checkpoints may have it.
        )

    def __repr__(self) -> str:
        decay = self.weight_decay if self.schedule is None else self.schedule
        return described_component(self, weight_decay=decay)

    def make_slots(self, variables: Any) -> None:
        """Checks that each pattern matches a variable."""
        self.check_names("exclude", self.exclude, variables)

    def step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """The decay, and then the inner step."""
        self.say_notes()
        # Static: which variables decay.
        of = self.known(variable)
        if not any(matches(pattern, names_within(of.path)) for pattern in self.exclude):
            w = self.value(variable)
            schedule, decay = self.schedule, self.weight_decay
            if schedule is not None:
                decay = schedule(self.rule.iterations)
            decay = ops.cast(decay, w.dtype)
            if self.scaled_by_learning_rate:
                decay = decay * ops.cast(learning_rate, w.dtype)
            self.rule.assign(variable, w - w * decay)
        super().step(gradient, variable, learning_rate)

    def get_config(self) -> dict[str, Any]:
        """The arguments; a weight decay that was assigned is given as it is now."""
        if self.schedule is not None:
            decay: Any = keras.saving.serialize_keras_object(self.schedule)
        else:
            decay = float(ops.convert_to_numpy(self.weight_decay))
        return {
            **super().get_config(),
            "weight_decay": decay,
            "exclude": list(self.exclude),
            "scaled_by_learning_rate": self.scaled_by_learning_rate,
        }
