"""Exact zeros with any optimizer: the proximal step after the step of the optimizer."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras

from kerasreg._keras.internals import (
    outside_stateless_scopes,
    stateless_scope,
    trainable_variables_of,
)
from kerasreg._validation import check_choice
from kerasreg.optimizers._step_sizes import KNOWN, is_scalar, rule, summing_momentum
from kerasreg.optimizers._wrapper import Wrapper
from kerasreg.regularizers import Penalty

# The values of `step_size` under the name that it had before 0.1.0, `metric`.
_STEP_SIZES = {"scaled": "per_weight", "plain": "learning_rate"}


@keras.saving.register_keras_serializable(package="kerasreg")
class Proximal(Wrapper):
    """Wraps an optimizer: a step on the loss without penalties, then a proximal step.

    `w ← prox_{t·Ω}(w - t·d)`, where `w - t·d` is the step of the inner optimizer and Ω is
    the penalty of `kerasreg.regularizers` on the weight. Weights that the penalty holds at
    zero become exactly zero; a gradient would step over zero. The reported loss contains the
    penalty, once.

    The inner optimizer has a step size for each weight. For SGD it is the learning rate. For
    RMSprop, Adagrad, Adam, AdamW, Nadam and Adamax it is the learning rate over the root of
    the mean squared gradient. Momentum that sums up steps (SGD, RMSprop) sums up step sizes
    too, towards `1 / (1 - momentum)` of one step size.

    - With `step_size="per_weight"` the proximal step uses these step sizes. Training comes to
      rest where loss plus penalty is least.
    - With `step_size="learning_rate"` the proximal step uses the learning rate for all
      weights. The penalty is then decoupled from the scale of the gradient, like the decay of
      AdamW, and training comes to rest elsewhere.

    Clipping, weight decay, gradient accumulation, moving averages and loss scaling are those
    of the inner optimizer. The proximal step follows each step of the inner optimizer, and
    constraints follow the proximal step. A moving average of weights with zeros has no exact
    zeros. A penalty on an `Embedding` shrinks all rows in each step, also rows without a
    gradient. Other regularizers, such as Keras' own, stay part of the loss.

    A model that is compiled with another optimizer has its penalties in the gradient as usual.
    On the JAX backend `Proximal` trains in `kerasreg.lanes` only, for one model or many.
    Keras' own `fit` shows the optimizer no strengths there, and is refused.

    Args:
        inner_optimizer: a Keras optimizer with an update rule of its own. The inner optimizer
            then belongs to this wrapper. A `LossScaleOptimizer` goes around the wrapper.
        step_size: `"per_weight"` or `"learning_rate"`; with SGD, both are the same.
        name: optional name of the optimizer.

    Raises:
        ValueError: if an argument is outside its range; with `"per_weight"`, if the step sizes
            of the inner optimizer are not known. When training begins: if no variable has a
            penalty of kerasreg; if a penalty has no proximal operator, or none for a step
            size for each weight (`Nuclear`, `SpectralNorm`, `TotalVariation`); if the step
            size reaches the one at which the operator of `MCP` or `SCAD` jumps; if a layer
            calls a penalty by itself, as in `add_loss`.

    Parikh and Boyd 2014; for adaptive optimizers Yun, Lozano and Yang 2021.

    Example:

    >>> import keras, numpy as np
    >>> from kerasreg.optimizers import Proximal
    >>> from kerasreg.regularizers import L1
    >>> keras.utils.set_random_seed(1)
    >>> x = np.random.normal(size=(64, 5))
    >>> y = x[:, :1]
    >>> model = keras.Sequential([keras.layers.Dense(1, kernel_regularizer=L1(0.5))])
    >>> model.compile(Proximal(keras.optimizers.SGD(0.1)), "mse")
    >>> history = model.fit(x, y, epochs=30, verbose=0)
    >>> np.flatnonzero(model.layers[0].kernel).tolist()
    [0]
    """

    # Its step sizes are those of an update rule.
    wraps_wrappers = False

    _new_names: ClassVar = {"metric": "step_size"}

    def __init__(
        self,
        inner_optimizer: keras.optimizers.Optimizer,
        step_size: str = "per_weight",
        *,
        name: str | None = None,
    ) -> None:
        inner_optimizer = self.checked(inner_optimizer)
        check_choice("step_size", step_size, ("per_weight", "learning_rate"))
        if step_size == "per_weight" and rule(inner_optimizer) is None:
            raise ValueError(
                f"`step_size` must be 'learning_rate' for {type(inner_optimizer).__name__}: the "
                f"step sizes are known of {', '.join(KNOWN)}. Received: step_size={step_size!r}"
            )
        super().__init__(inner_optimizer, name=name)
        self.step_size = step_size
        # Identities of the penalties that asked before this was built.
        self._asked: set[int] = set()
        # Indices of variables whose penalties are checked in the first step.
        self._unchecked: set[int] = set()

    def build(self, variables: Any) -> None:
        """Makes the inner optimizer's state and takes the penalties over."""
        inner = self.inner_optimizer
        penalties = [_penalty_of(variable) for variable in variables]
        if not any(penalties):
            self.refuse(
                "`Proximal` needs a model with penalties of `kerasreg.regularizers` on its "
                f"weights. Received: {len(variables)} variables without one."
            )
        for index, (penalty, variable) in enumerate(zip(penalties, variables, strict=True)):
            if penalty is None:
                continue
            if self.is_restored:  # Strengths and learning rates may not be restored yet.
                self._unchecked.add(index)
            else:
                self._check(penalty, variable)
        super().build(variables)
        self._asked.clear()
        sums = self.step_size == "per_weight" and summing_momentum(inner) != 0
        # Among the inner optimizer's slots, which steps that only gather gradients restore;
        # None where momentum sums up no step sizes.
        inner.summed_step_sizes = [
            inner.add_variable(
                () if is_scalar(inner) else variable.shape,
                dtype=variable.dtype,
                name=f"{variable.path.replace('/', '_')}_step_size",
            )
            if sums and penalty is not None
            else None
            for penalty, variable in zip(penalties, variables, strict=True)
        ]
        for penalty in penalties:
            if penalty is not None:
                penalty.applied_by = weakref.ref(self)

    def _check(self, penalty: Penalty, variable: keras.Variable) -> None:
        of = f"The penalty {type(penalty).__name__} of {variable.path}"
        if not penalty.has_prox:
            raise ValueError(
                f"{of} has no proximal operator, which `Proximal` needs. Use one that has, "
                "such as L1 or GroupLasso, or train without `Proximal`."
            )
        scalar = self.step_size == "learning_rate" or is_scalar(self.inner_optimizer)
        if not scalar and not penalty.takes_step_sizes:
            raise ValueError(
                f"{of} has no proximal operator for a step size for each weight: `step_size` must "
                "be 'learning_rate', or the inner optimizer SGD. "
                f"Received: step_size={self.step_size!r}"
            )
        if scalar:
            t = _value_outside_of_graphs(lambda: self.learning_rate)
            if self.step_size == "per_weight":
                momentum = _value_outside_of_graphs(lambda: summing_momentum(self.inner_optimizer))
                t = t / (1.0 - momentum) if momentum < 1 else math.inf
            bound = _value_outside_of_graphs(lambda: penalty.largest_step_size)
            if t >= bound:
                raise ValueError(
                    f"{of} needs a step size below {bound:g}, which its `gamma` sets. "
                    f"Received: a step size of {t:g}"
                )

    def _step_size(self, index: int, learning_rate: Any) -> Any:
        inner = self.inner_optimizer
        of = rule(inner) if self.step_size == "per_weight" else None
        if of is None:
            return learning_rate
        size = of(inner, index, learning_rate)
        if (summed := inner.summed_step_sizes[index]) is None:
            return size
        momentum = keras.ops.cast(summing_momentum(inner), size.dtype)
        total = momentum * keras.ops.convert_to_tensor(summed) + size
        inner.assign(summed, total)
        return momentum * total + size if getattr(inner, "nesterov", False) else total

    def step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """The inner optimizer's step for a variable, then the proximal step."""
        self.say_notes()
        inner = self.inner_optimizer
        super().step(gradient, variable, learning_rate)
        index = self.index(variable)
        # Static: which variables have a penalty. `variable` may be the backend's own.
        penalty = _penalty_of(trainable_variables_of(inner)[index])
        if penalty is not None:
            if index in self._unchecked:
                with outside_stateless_scopes():
                    self._check(penalty, self.known(variable))
                self._unchecked.discard(index)
            w = self.value(variable)
            t = self._step_size(index, keras.ops.cast(learning_rate, w.dtype))
            inner.assign(variable, _prox(penalty, w, t))

    def prepare(self, trainable_variables: Any) -> list[Any]:
        """Builds, if nobody did, and checks then that the penalties asked before."""
        built, asked = self.built, set(self._asked)
        variables = super().prepare(trainable_variables)
        if built:
            return variables
        taken = {id(p) for p in map(_penalty_of, trainable_variables_of(self)) if p is not None}
        if taken - asked:
            raise ValueError(
                "`Proximal` must be built before the loss is computed, in a training loop of "
                "your own: call `optimizer.build(model.trainable_variables)` first."
            )
        if asked - taken:
            raise ValueError(
                "`Proximal` applies penalties that are the regularizer of a trainable weight. "
                "Received: one that a layer calls by itself, as in `add_loss`."
            )
        return variables

    def completed(self, grads: Sequence[Any], variables: Sequence[Any]) -> Sequence[Any]:
        """The gradients, with zeros for penalised weights of which the loss knows nothing.

        With another optimizer the penalty would be their gradient.
        """
        return [
            keras.ops.zeros_like(self.value(variable))
            if gradient is None and _penalty_of(self.known(variable)) is not None
            else gradient
            for gradient, variable in zip(grads, variables, strict=True)
        ]

    def takes_over(self, penalty: Penalty, w: Any) -> bool:
        """Whether a penalty must stop its own gradient; the penalty asks when it is called.

        Keras builds an optimizer when the first step is traced, after the loss of that step.
        So penalties ask while the loss is computed.

        Args:
            penalty: the penalty that asks.
            w: the tensor or variable that the penalty was called with.

        Returns:
            True if this optimizer applies the penalty to `w`.
        """
        if not self.built:
            weight = isinstance(w, keras.Variable)
            if weight:
                self._asked.add(id(penalty))
            return weight
        # In a stateless scope Keras gives its regularizers the value in the variable's place.
        scope = stateless_scope()
        return any(
            w is variable or (scope is not None and scope.get_current_value(variable) is w)
            for variable in trainable_variables_of(self)
            if variable.regularizer is penalty
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments, and the config of the inner optimizer."""
        return {**super().get_config(), "step_size": self.step_size}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Makes an optimizer from its config, at step 0."""
        if "metric" in config:  # Before 0.1.0.
            config = {**config, "metric": _STEP_SIZES[config["metric"]]}
        return super().from_config(config, custom_objects)


def _penalty_of(variable: keras.Variable) -> Penalty | None:
    return variable.regularizer if isinstance(variable.regularizer, Penalty) else None


def _prox(penalty: Penalty, w: Any, t: Any) -> Any:
    """`penalty.prox`, with the strength of the stateless scopes that are open.

    A scope in which an optimizer runs, such as that of `LossScaleOptimizer` in lanes, may hold
    the variables of the optimizer only. The strength is then in a scope around that one.
    """
    if stateless_scope() is None:
        return penalty.prox(w, t)
    values = []
    for variable in penalty.variables:
        scope = stateless_scope()
        while scope is not None and (value := scope.get_current_value(variable)) is None:
            scope = scope.original_scope
        if scope is None:
            raise ValueError(
                "`Proximal` does not train in `fit` of Keras on the JAX backend, which gives an "
                "optimizer no variables but its own, and so not the strength of a penalty. Train "
                f"with `kerasreg.lanes.Lanes([model])` there. Received: {penalty.name}"
            )
        values.append((variable, value))
    with keras.StatelessScope(state_mapping=values):
        return penalty.prox(w, t)


def _value_outside_of_graphs(compute: Callable[[], Any]) -> float:
    """A number of the optimizer as it is now, also while a step is traced."""
    if keras.backend.backend() != "tensorflow":
        return float(keras.ops.convert_to_numpy(compute()))
    import tensorflow as tf

    with tf.init_scope():
        return float(keras.ops.convert_to_numpy(compute()))
