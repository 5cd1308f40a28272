"""The initial scale of the weights that an activation needs: its gain.

He et al. 2015 (arXiv:1502.01852) derive it for ReLU, Klambauer et al. 2017
(arXiv:1706.02515) build SELU so that it is 1, and Poole et al. 2016
(arXiv:1606.05340) give the map of variances through wide random networks of any
activation, of which it is a fixed point.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kerasreg._keras.activations import activation_name, elementwise
from kerasreg._validation import check_choice, check_positive

# Activations of outputs: not elementwise, or no activation at all. What follows
# them is a loss, and Glorot's rule weighs both directions alike.
_OUTPUTS = ("linear", "softmax", "log_softmax", "sparsemax")
# Squares of gains for which Keras has a class.
_CLASSES = {2.0: "He", 1.0: "Lecun"}
# Nodes of the quadrature: Gauss–Legendre panels, not Gauss–Hermite, which is slow
# to converge where an activation has a kink. Beyond 10 the density is below 1e-22.
_PANELS, _ORDER, _REACH = 400, 6, 10.0
# The steepest map from layer to layer that is accepted: by 1.25 an error of 1 % is
# one of 90 % after 20 layers, by 1.33 (soft_shrink) one that leaves no signal.
_STEEPEST = 1.25


def activation_gain(
    activation: str | Callable[..., Any] | None, second_moment: float | None = None
) -> float:
    """The gain by which weights keep the second moment of a layer's output.

    The gain `g` solves `E[φ(g·√m·z)²] = m` with `z ~ N(0, 1)`: weights of
    variance `g²/fan_in` turn inputs of second moment `m` into pre-activations of
    variance `g²·m`, and these into outputs of second moment `m` again. The
    expectation is a quadrature in float64; the smallest solution is taken.

    Args:
        activation: name of a Keras activation, or an elementwise function of
            arrays (one of `keras.activations`, an activation layer, your own);
            None is `"linear"`.
        second_moment: the `m` to keep, a number > 0. By default 1, the second
            moment of standardised inputs, where the activation reaches it; for
            those that do not, like tanh and sigmoid, `E[φ(z)²]`: the variance
            of the pre-activations is then 1.

    Returns:
        The gain, a number > 0: √2 for ReLU, 1 for SELU, 1.59 for tanh.

    Raises:
        ValueError: if the activation is unknown, is not elementwise, or no gain
            keeps that second moment.

    PyTorch's `calculate_gain` gives 5/3 for tanh, which is a rule of thumb, and
    1 for sigmoid, with which the signal fades.

    Example:

    >>> import kerasreg
    >>> round(kerasreg.initializers.activation_gain("relu") ** 2, 6)
    2.0
    """
    function = elementwise(activation)
    if second_moment is None:
        kept = 1.0
        gain = _smallest_gain(function, kept)
        if gain is None:
            kept = float(_second_moments(function, np.ones(1))[0])
            gain = 1 / math.sqrt(kept) if math.isfinite(kept) and kept > 0 else None
    else:
        kept = check_positive("second_moment", second_moment)
        gain = _smallest_gain(function, kept)
    if gain is None:
        raise ValueError(
            "`activation` must be one of which some gain keeps the second moment "
            f"{kept:g}. Received: activation={activation_name(activation)!r}"
        )
    return gain


def for_activation(
    activation: str | Callable[..., Any] | None,
    distribution: str = "normal",
    *,
    seed: int | keras.random.SeedGenerator | None = None,
) -> keras.initializers.Initializer:
    """The initializer that suits the activation behind the weights.

    The variance of the weights is `g²/fan_in` with the gain `g` of
    `activation_gain`: He's rule for ReLU, LeCun's for SELU (as
    self-normalisation requires), and what plays their part for every other
    activation. Outputs (`linear`, `softmax`) have Glorot's rule.

    With standardised inputs, the second moments of the outputs of 20 wide layers
    stay within a factor of 2 of each other, and so do those of most draws of 512
    units: chance alone moves a draw, with ReLU, by about `√(100/width)` in 20
    layers, whatever the gain. With `silu` (also named `swish`) and `hard_silu`
    no gain is stable: the chance of each layer grows by 15 to 20 % in the next,
    and in 20 layers of 512 units to one of 2 to 4 in the median. Use `lsuv` or
    normalisation with them.

    Args:
        activation: name of a Keras activation, or an elementwise function of
            arrays (one of `keras.activations`, an activation layer, your own);
            None is `"linear"`.
        distribution: `"normal"` (truncated, as Keras does) or `"uniform"`.
        seed: an integer or a `keras.random.SeedGenerator`, or None for another
            draw each time.

    Returns:
        A new `keras.initializers.Initializer`; the class that Keras has for the
        rule, where it has one.

    Raises:
        ValueError: if the activation is unknown or not elementwise; or if it
            has no gain, or one with which small errors grow so fast that no
            deep network can be started with it (`exponential`, `soft_shrink`).

    Example:

    >>> import kerasreg
    >>> type(kerasreg.initializers.for_activation("relu")).__name__
    'HeNormal'
    >>> round(kerasreg.initializers.for_activation("tanh").scale, 2)
    2.54
    """
    check_choice("distribution", distribution, ("normal", "uniform"))
    name = activation_name(activation)
    is_keras = not callable(activation) or activation is getattr(keras.activations, name, None)
    if is_keras and name in _OUTPUTS:
        return getattr(keras.initializers, f"Glorot{distribution.title()}")(seed=seed)
    # A network has one for each layer, and a search many networks.
    function = getattr(keras.activations, name, None)
    # A user may have registered another one by that name.
    known = is_keras and callable(function) and keras.activations.get(activation) is function
    gain, steepness = _of_keras(function) if known else _gain_and_steepness(activation)
    if steepness > _STEEPEST:
        raise ValueError(
            "`activation` must be one through which the second moment of a deep network is "
            f"stable. Received: activation={name!r}, with which an error of 1 % becomes "
            f"{100 * (1.01**steepness - 1):.2g} % in the next layer"
        )
    for square, rule in _CLASSES.items():
        if math.isclose(gain**2, square, rel_tol=1e-5):
            return getattr(keras.initializers, f"{rule}{distribution.title()}")(seed=seed)
    return keras.initializers.VarianceScaling(
        gain**2, "fan_in", "truncated_normal" if distribution == "normal" else "uniform", seed=seed
    )


def _gain_and_steepness(activation: Any) -> tuple[float, float]:
    gain = activation_gain(activation)
    return gain, _steepness(elementwise(activation), gain)


@functools.cache
def _of_keras(activation: Any) -> tuple[float, float]:
    """The same for a function of `keras.activations`."""
    return _gain_and_steepness(activation)


def _second_moments(function: Callable[[np.ndarray], np.ndarray], deviations: np.ndarray) -> Any:
    """`E[φ(d·z)²]` with `z ~ N(0, 1)`, for each `d` of `deviations`."""
    nodes, weights = np.polynomial.legendre.leggauss(_ORDER)
    edges = np.linspace(-_REACH, _REACH, _PANELS + 1)  # One of them is 0.
    half = _REACH / _PANELS
    z = ((edges[:-1] + half)[:, None] + half * nodes).ravel()
    density = np.tile(half * weights, _PANELS) * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    values = function(deviations[:, None] * z)
    with np.errstate(over="ignore"):  # Infinity is the right answer then.
        return np.square(values) @ density


def _smallest_gain(
    function: Callable[[np.ndarray], np.ndarray], second_moment: float
) -> float | None:
    """The smallest gain that keeps the second moment, or None."""
    scale = math.sqrt(second_moment)

    def excess(gains: np.ndarray) -> np.ndarray:
        return np.asarray(_second_moments(function, gains * scale) - second_moment)

    gains = np.geomspace(0.05, 20, 60)
    above = excess(gains) > 0
    # Already above with hardly any weights: the activation makes a signal of nothing.
    if above[0] or not above.any():
        return None
    low, high = gains[np.argmax(above) - 1], gains[np.argmax(above)]
    for _ in range(4):  # Each leaves 1/31 of the interval.
        gains = np.linspace(low, high, 32)
        above = excess(gains) > 0
        above[-1] = True
        low, high = gains[np.argmax(above) - 1], gains[np.argmax(above)]
    # The secant of what is left: linear to the last digits.
    below, beyond = excess(np.array([low, high]))
    return float(low + (high - low) * (below / (below - beyond) if beyond > below else 0.5))


def _steepness(function: Callable[[np.ndarray], np.ndarray], gain: float) -> float:
    """`d log m' / d log m`: how a relative error of the second moment `m` changes in a layer."""
    at = gain * math.sqrt(_kept(function, gain))
    low, high = _second_moments(function, at * np.exp(np.array([-0.005, 0.005])))
    return float((math.log(high) - math.log(low)) / 0.02)


def _kept(function: Callable[[np.ndarray], np.ndarray], gain: float) -> float:
    """The second moment that a gain of `activation_gain` keeps by default."""
    at_one = float(_second_moments(function, np.ones(1))[0])
    # Bounded: pre-activations of variance 1.
    return at_one if math.isclose(gain**2 * at_one, 1, rel_tol=1e-9) else 1.0
