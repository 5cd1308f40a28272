"""Weight decay beside the gradient (Loshchilov and Hutter 2019, arXiv:1711.05101)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._descriptions import described_component
from kerasreg._keras.internals import calls_of, decays
from kerasreg._keras.outer_optimizer import rule_of
from kerasreg._keras.patterns import check_patterns, matches
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
        weight_decay: λ, a number >= 0, or a schedule of such numbers over the optimizer's steps,
            which are counted as Keras does for a schedule of the learning rate: with gradient
            accumulation, batches.
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
        rule = rule_of(inner_optimizer)
        if rule.weight_decay is not None:
            raise ValueError(
                "`inner_optimizer` must be one without a `weight_decay` of its own. Received: "
                f"inner_optimizer={type(rule).__name__} with weight_decay={rule.weight_decay}"
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
        self.weight_decay = self.add_variable(
            (),
            # Not a constant of Keras', which is a float32 on its way.
            initializer=lambda shape, dtype: ops.convert_to_tensor(np.full(shape, first, dtype)),
            dtype=keras.config.floatx(),
            name="decay",  # As it was called before 0.1.0, and as checkpoints may have it.
        )

    @property
    def weight_decay(self) -> Any:
        """λ in a variable."""
        return vars(self).get("weight_decay")

    @weight_decay.setter
    def weight_decay(self, weight_decay: Any) -> None:
        if isinstance(weight_decay, keras.Variable):
            self.__dict__["weight_decay"] = weight_decay  # The constructor's.
        elif (variable := self.weight_decay) is not None:  # Not yet in Keras' constructor.
            if self.schedule is not None:
                raise ValueError(
                    "`weight_decay` must not be set where a schedule moves it. "
                    f"Received: weight_decay={weight_decay!r}"
                )
            variable.assign(check_number("weight_decay", weight_decay, 0.0, math.inf))

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """Excludes variables from this decay, and from those within, as Keras does.

        In contrast to `exclude`, that is not saved with the optimizer.

        Args:
            var_list: variables that do not decay.
            var_names: texts; a variable whose name has one of them in it does not decay.
        """
        keras.optimizers.Optimizer.exclude_from_weight_decay(self, var_list, var_names)
        super().exclude_from_weight_decay(var_list, var_names)

    def __repr__(self) -> str:
        decay = self.weight_decay if self.schedule is None else self.schedule
        return described_component(self, weight_decay=decay)

    def make_slots(self, variables: Any) -> None:
        """Finds the variables that do not decay."""
        self.decide("exclude", self.exclude, variables)

    def by_names(self, names: Sequence[frozenset[str]]) -> list[bool]:
        """Whether each variable decays."""
        return [not any(matches(pattern, of) for pattern in self.exclude) for of in names]

    def step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """The decay, and then the inner step."""
        self.say_notes()
        # Static: which variables decay.
        included = self.decided is None or self.decided[self.index(variable)]
        if included and decays(self, variable):
            w = self.value(variable)
            schedule, decay = self.schedule, self.weight_decay
            if schedule is not None:
                decay = schedule(calls_of(self.rule))  # As Keras calls that of the rate.
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
