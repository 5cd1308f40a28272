"""Exact zeros with any optimizer: the proximal step after its own."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import Any

import keras

from kerasreg._keras.internals import stateless_scope, trainable_variables_of
from kerasreg.optimizers._step_sizes import KNOWN, is_scalar, rule, summing_momentum
from kerasreg.optimizers._wrapper import Wrapper
from kerasreg.regularizers import Penalty


@keras.saving.register_keras_serializable(package="kerasreg")
class Proximal(Wrapper):
    """Wraps an optimizer: its step on the loss without penalties, then their proximal step.

    `w ← prox_{t·Ω}(w - t·d)`, where `w - t·d` is the step of the inner optimizer and Ω
    the penalty of `kerasreg.regularizers` on that weight. Weights that the penalty
    holds at zero become zero exactly, where a gradient steps over it. The loss that is
    reported contains the penalty, once.

    The step size t is the one that the inner optimizer really used: for SGD the learning
    rate; for RMSprop, Adagrad, Adam, AdamW, Nadam and Adamax another one for each
    weight, the learning rate over the root of its mean squared gradient. Momentum that
    sums up steps (SGD, RMSprop) sums these up too, towards `1 / (1 - momentum)` of one.
    With `metric="scaled"` the proximal step uses these, so that training comes to rest
    where loss plus penalty is least. With `"plain"` it uses the learning rate for all
    weights: then the penalty is to these optimizers what AdamW's decay is to Adam's
    gradient, decoupled from its scale, and comes to rest elsewhere.

    Clipping, weight decay, gradient accumulation, moving averages and loss scaling
    are those of the inner optimizer, in the order of Keras, with the proximal step after
    each of its steps; constraints come after it. Moving averages are of the weights with
    their zeros, and have none of their own. A penalty on an `Embedding` shrinks all of its
    rows in each step, also those without a gradient. Other regularizers, such as
    Keras' own, stay part of the loss. A model whose optimizer is another one, also after
    this one, has its penalties in its gradient as usual. On the JAX backend it trains
    in `kerasreg.lanes` only, of one model or many: Keras' own `fit` shows an optimizer
    no strengths there, and is refused.

    Args:
        inner_optimizer: any Keras optimizer with an update rule of its own. It then
            belongs to this one. Around a `LossScaleOptimizer`, this goes inside.
        metric: `"scaled"` or `"plain"`; with SGD, they are the same.
        name: optional name of the optimizer.

    Raises:
        ValueError: if an argument is none of these; with `"scaled"`, if the step sizes
            of the inner optimizer are not known. When training begins: if no variable
            has a penalty of kerasreg; if one has no proximal operator, or none for a
            step size for each weight (`Nuclear`, `SpectralNorm`, `TotalVariation`); if
            the step size is then not below the one at which that of `MCP` or `SCAD`
            jumps; if a layer calls a penalty by itself, as in `add_loss`.

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

    def __init__(
        self,
        inner_optimizer: keras.optimizers.Optimizer,
        metric: str = "scaled",
        name: str | None = None,
    ) -> None:
        inner_optimizer = self.checked(inner_optimizer)
        if metric not in ("scaled", "plain"):
            raise ValueError(f"`metric` must be 'scaled' or 'plain'. Received: metric={metric!r}")
        if metric == "scaled" and rule(inner_optimizer) is None:
            raise ValueError(
                f"`metric` must be 'plain' for {type(inner_optimizer).__name__}: the step sizes "
                f"are known of {', '.join(KNOWN)}. Received: metric={metric!r}"
            )
        super().__init__(inner_optimizer, name=name)
        self.metric = metric
        # Identities of the penalties that asked before this was built.
        self._asked: set[int] = set()

    def build(self, variables: Any) -> None:
        """Makes the inner optimizer's state and takes the penalties over."""
        inner = self.inner_optimizer
        penalties = [_penalty_of(variable) for variable in variables]
        if not any(penalties):
            raise ValueError(
                "`Proximal` needs a model with penalties of `kerasreg.regularizers` on its "
                f"weights. Received: {len(variables)} variables without one."
            )
        for penalty, variable in zip(penalties, variables, strict=True):
            if penalty is not None:
                self._check(penalty, variable)
        super().build(variables)
        self._asked.clear()
        sums = self.metric == "scaled" and summing_momentum(inner) != 0
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
        scalar = self.metric == "plain" or is_scalar(self.inner_optimizer)
        if not scalar and not penalty.takes_step_sizes:
            raise ValueError(
                f"{of} has no proximal operator for a step size for each weight: `metric` must be "
                f"'plain', or the inner optimizer SGD. Received: metric={self.metric!r}"
            )
        if scalar:
            t = _value_outside_of_graphs(lambda: self.learning_rate)
            if self.metric == "scaled":
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
        of = rule(inner) if self.metric == "scaled" else None
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
        inner = self.inner_optimizer
        super().step(gradient, variable, learning_rate)
        index = self.index(variable)
        # Static: which variables have a penalty. `variable` may be the backend's own.
        penalty = _penalty_of(trainable_variables_of(inner)[index])
        if penalty is not None:
            w = self.value(variable)
            t = self._step_size(index, keras.ops.cast(learning_rate, w.dtype))
            inner.assign(variable, _prox(penalty, w, t))

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Applies gradients, and the penalties."""
        if not self.built:
            asked = set(self._asked)
            with keras.name_scope(self.name, caller=self):
                self.build(list(trainable_variables))
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
        self.inner_optimizer.apply(grads, trainable_variables)

    def takes_over(self, penalty: Penalty, w: Any) -> bool:
        """Whether a penalty must stop its own gradient, asked by it when it is called with `w`.

        Keras builds an optimizer when its first step is traced, and by then the loss of
        that step is there: so this is asked while it is computed.
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
        """The arguments."""
        return {**super().get_config(), "metric": self.metric}


def _penalty_of(variable: keras.Variable) -> Penalty | None:
    return variable.regularizer if isinstance(variable.regularizer, Penalty) else None


def _prox(penalty: Penalty, w: Any, t: Any) -> Any:
    """`penalty.prox`, with the strength as it is in the stateless scopes that are open.

    A scope in which an optimizer runs, as that of `LossScaleOptimizer` in lanes, may
    have the optimizer's own variables only: then the strength is in one around it.
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
    """A number of the optimizer's as it is now, also while a step is traced."""
    if keras.backend.backend() != "tensorflow":
        return float(keras.ops.convert_to_numpy(compute()))
    import tensorflow as tf

    with tf.init_scope():
        return float(keras.ops.convert_to_numpy(compute()))
