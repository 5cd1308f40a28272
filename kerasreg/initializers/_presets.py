"""Initial weights by name and by activation.

The presets are Keras' own initializers, found under the names that the papers
and other libraries use, with the seed and the options passed on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from kerasreg._validation import check_choice

_keras = keras.initializers

# name -> (maker, what it is). Xavier and Glorot are one rule under two names.
_PRESETS: dict[str, tuple[Callable[..., keras.initializers.Initializer], str]] = {
    "random_normal": (_keras.RandomNormal, "N(mean, stddev²); stddev 0.05"),
    "random_uniform": (_keras.RandomUniform, "U(minval, maxval); ±0.05"),
    "truncated_normal": (_keras.TruncatedNormal, "N(mean, stddev²) within 2 stddev; 0.05"),
    "glorot_normal": (_keras.GlorotNormal, "variance 2/(fan_in+fan_out) (Glorot 2010)"),
    "glorot_uniform": (_keras.GlorotUniform, "variance 2/(fan_in+fan_out) (Glorot 2010)"),
    "xavier_normal": (_keras.GlorotNormal, "another name of glorot_normal"),
    "xavier_uniform": (_keras.GlorotUniform, "another name of glorot_uniform"),
    "he_normal": (_keras.HeNormal, "variance 2/fan_in (He 2015)"),
    "he_uniform": (_keras.HeUniform, "variance 2/fan_in (He 2015)"),
    "lecun_normal": (_keras.LecunNormal, "variance 1/fan_in (LeCun 1998, Klambauer 2017)"),
    "lecun_uniform": (_keras.LecunUniform, "variance 1/fan_in (LeCun 1998)"),
    "orthogonal": (_keras.Orthogonal, "gain times an orthogonal matrix (Saxe 2014)"),
    "zeros": (_keras.Zeros, "0"),
    "ones": (_keras.Ones, "1"),
}

# The rule whose variance keeps the signal, for each activation of Keras that has
# a published one; those like ReLU lose half of the second moment, tanh-like ones
# are near the identity around 0.
_BY_ACTIVATION = {
    **dict.fromkeys(
        ("relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "swish", "mish",
         "softplus", "hard_swish", "hard_silu"),
        "he",
    ),
    **dict.fromkeys(
        ("tanh", "sigmoid", "hard_tanh", "hard_sigmoid", "softsign", "softmax",
         "log_softmax", "linear"),
        "glorot",
    ),
    "selu": "lecun",
}  # fmt: skip


def presets() -> dict[str, str]:
    """The names of all presets, each with what it is.

    Example:

    >>> import kerasreg
    >>> kerasreg.initializers.presets()["xavier_normal"]
    'another name of glorot_normal'
    """
    return {name: what for name, (_, what) in _PRESETS.items()}


def preset(name: str, seed: int | None = None, **options: Any) -> keras.initializers.Initializer:
    """A Keras initializer by the name of its rule.

    Args:
        name: one of `presets()`; upper case, blanks and hyphens do not matter
            (`"Xavier normal"`).
        seed: an integer, or None for another draw each time.
        **options: passed on to the Keras class: `stddev` of `random_normal`,
            `gain` of `orthogonal`, ...

    Returns:
        A new `keras.initializers.Initializer`.

    Raises:
        ValueError: if there is no such preset (the nearest name is suggested) or
            it does not take one of the options.

    Example:

    >>> import kerasreg
    >>> type(kerasreg.initializers.preset("Xavier normal", seed=1)).__name__
    'GlorotNormal'
    """
    plain = str(name).strip().lower().replace(" ", "_").replace("-", "_")
    maker, _ = _PRESETS[check_choice("name", plain, _PRESETS)]
    if plain not in ("zeros", "ones"):
        options["seed"] = seed
    try:
        return maker(**options)
    except TypeError as error:
        raise ValueError(
            f"`options` must be arguments of keras.initializers.{maker.__name__}: {error}. "
            f"Received: options={options!r}"
        ) from error


def for_activation(
    activation: str | Callable[..., Any], distribution: str = "normal", seed: int | None = None
) -> keras.initializers.Initializer:
    """The initializer that suits the activation behind the weights.

    He for ReLU and its relatives, LeCun for SELU (as self-normalisation
    requires), Glorot for tanh, sigmoid and linear outputs.

    Args:
        activation: name of a Keras activation, or one of `keras.activations`;
            None is `"linear"`.
        distribution: `"normal"` (truncated, as Keras does) or `"uniform"`.
        seed: an integer, or None for another draw each time.

    Returns:
        A new `keras.initializers.Initializer`.

    Raises:
        ValueError: if no rule is known for the activation.

    PyTorch's `calculate_gain` scales tanh by 5/3 in addition; Keras' rules do
    not, and neither does this.

    Example:

    >>> import kerasreg
    >>> type(kerasreg.initializers.for_activation("relu")).__name__
    'HeNormal'
    """
    name = activation
    if name is None:
        name = "linear"
    elif callable(name):
        name = getattr(name, "__name__", type(name).__name__)
    rule = _BY_ACTIVATION[check_choice("activation", name, _BY_ACTIVATION)]
    check_choice("distribution", distribution, ("normal", "uniform"))
    return preset(f"{rule}_{distribution}", seed=seed)
