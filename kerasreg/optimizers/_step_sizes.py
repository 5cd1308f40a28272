"""The step size with which an optimizer really moved a variable.

A step is `w -= t·d`, where `d` is the gradient, or a mean of past gradients. Both are equal
where the gradient no longer changes. Where training comes to rest, the slope of the penalty
balances `d`, so `t` is the step size of the proximal step. Momentum that averages gradients
(Adam) does not change `t`. Momentum that sums up steps (SGD, RMSprop) sums up step sizes too:
`t ← momentum·t + (the size of this step)`. Adaptive optimizers have a `t` for each weight.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kerasreg._keras.internals import slots_of


def _sgd(optimizer: Any, index: int, learning_rate: Any) -> Any:
    return learning_rate


def _adagrad(optimizer: Any, index: int, learning_rate: Any) -> Any:
    return learning_rate / ops.sqrt(_slot(optimizer, "accumulator", index) + optimizer.epsilon)


def _rmsprop(optimizer: Any, index: int, learning_rate: Any) -> Any:
    variance = _slot(optimizer, "velocity", index)
    if optimizer.centered:
        variance = variance - ops.square(_slot(optimizer, "average_gradient", index))
    return learning_rate / ops.sqrt(variance + optimizer.epsilon)


def _adam(optimizer: Any, index: int, learning_rate: Any) -> Any:
    name = "velocity_hat" if optimizer.amsgrad else "velocity"
    corrected = ops.sqrt(_bias(optimizer, optimizer.beta_2, learning_rate))
    return learning_rate * corrected / (ops.sqrt(_slot(optimizer, name, index)) + optimizer.epsilon)


def _nadam(optimizer: Any, index: int, learning_rate: Any) -> Any:
    bias = _bias(optimizer, optimizer.beta_2, learning_rate)
    deviation = ops.sqrt(_slot(optimizer, "velocity", index) / bias)
    return learning_rate / (deviation + optimizer.epsilon)


def _adamax(optimizer: Any, index: int, learning_rate: Any) -> Any:
    return learning_rate / (_slot(optimizer, "norm", index) + optimizer.epsilon)


def _slot(optimizer: Any, name: str, index: int) -> Any:
    return ops.convert_to_tensor(slots_of(optimizer, name)[index])


def _bias(optimizer: Any, beta: Any, like: Any) -> Any:
    """`1 - βᵗ`: the bias of a mean of past values that began at zero."""
    step = ops.cast(optimizer.iterations + 1, like.dtype)
    return 1.0 - ops.power(ops.cast(beta, like.dtype), step)


_RULES: dict[Any, Callable[[Any, int, Any], Any]] = {
    keras.optimizers.SGD: _sgd,
    keras.optimizers.Adagrad: _adagrad,
    keras.optimizers.RMSprop: _rmsprop,
    keras.optimizers.Adam: _adam,
    keras.optimizers.Nadam: _nadam,
    keras.optimizers.Adamax: _adamax,
}
KNOWN = (*(kind.__name__ for kind in _RULES), "AdamW")


def rule(optimizer: Any) -> Callable[[Any, int, Any], Any] | None:
    """The function `(optimizer, index of the variable, learning rate) -> t`, or None.

    The function gives the size of one step, without the steps that momentum repeats. A class
    that inherits `update_step` from a class of Keras, as `AdamW` from `Adam`, has the rule of
    that class.
    """
    own = type(optimizer).update_step
    return next((of for kind, of in _RULES.items() if kind.update_step is own), None)


def summing_momentum(optimizer: Any) -> float:
    """The factor of a step size in the next step size, 0 for most optimizers."""
    return optimizer.momentum if rule(optimizer) in (_sgd, _rmsprop) else 0.0


def is_scalar(optimizer: Any) -> bool:
    """Whether all weights of a variable move with the same step size."""
    return rule(optimizer) is _sgd
