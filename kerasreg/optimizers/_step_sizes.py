"""The step size with which an optimizer really moved a variable.

A step of any of them is `w -= t·d`, where `d` is the gradient, or a mean of past ones that
is equal to it where it no longer changes. `t` is so what the point where training comes to
rest knows: there `d` is balanced by the slope of the penalty. Momentum that averages
gradients (of Adam) has no part in it. One that sums up steps (of SGD, RMSprop) sums
up step sizes as well: `t ← momentum·t + (the size of this one)`. Adaptive optimizers have
a `t` for each weight.
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
    """`1 - βᵗ`: how far a mean of past values is from zero, where it begins."""
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

    It is the size of one step, without those that momentum repeats.

    A class that derives from one of Keras' and has its `update_step`, as `AdamW` has
    that of `Adam`, has its rule.
    """
    own = type(optimizer).update_step
    return next((of for kind, of in _RULES.items() if kind.update_step is own), None)


def summing_momentum(optimizer: Any) -> float:
    """The factor with which a step size goes on into the next one, 0 for most."""
    return optimizer.momentum if rule(optimizer) in (_sgd, _rmsprop) else 0.0


def is_scalar(optimizer: Any) -> bool:
    """Whether all weights of a variable move with the same step size."""
    return rule(optimizer) is _sgd
