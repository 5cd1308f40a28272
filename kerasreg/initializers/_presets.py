"""Initial weights by the name of their rule.

The presets are Keras' own initializers and those of this package, found under the
names that the papers and other libraries use, with the seed and the options
passed on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from kerasreg._validation import check_choice
from kerasreg.initializers._delta_orthogonal import DeltaOrthogonal
from kerasreg.initializers._depth import DepthScaled, Fixup
from kerasreg.initializers._siren import Siren

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
    "delta_orthogonal": (DeltaOrthogonal, "convolutions that keep norms (Xiao 2018)"),
    "depth_scaled": (DepthScaled, "N(0, 0.02²/(2·depth)); needs depth (Radford 2019)"),
    "fixup": (Fixup, "He times depth^(-1/(2m-2)); needs depth (Zhang 2019)"),
    "siren": (Siren, "U(±√(6/fan_in)/30), for sine activations (Sitzmann 2020)"),
    "zeros": (_keras.Zeros, "0"),
    "ones": (_keras.Ones, "1"),
}


def presets() -> dict[str, str]:
    """The names of all presets, each with what it is.

    Example:

    >>> import kerasreg
    >>> kerasreg.initializers.presets()["xavier_normal"]
    'another name of glorot_normal'
    """
    return {name: what for name, (_, what) in _PRESETS.items()}


def preset(name: str, seed: int | None = None, **options: Any) -> keras.initializers.Initializer:
    """An initializer by the name of its rule.

    Args:
        name: one of `presets()`; upper case, blanks and hyphens do not matter
            (`"Xavier normal"`).
        seed: an integer, or None for another draw each time.
        **options: passed on to the class: `stddev` of `random_normal`, `gain` of
            `orthogonal`, `depth` of `fixup`, ...

    Returns:
        A new `keras.initializers.Initializer`.

    Raises:
        ValueError: if there is no such preset (the nearest name is suggested) or
            it does not take one of the options, or needs one that is missing.

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
            f"`options` must be arguments of {_where(maker)}.{maker.__name__}: {error}. "
            f"Received: options={options!r}"
        ) from error


def _where(maker: Any) -> str:
    return (
        "kerasreg.initializers" if maker.__module__.startswith("kerasreg") else "keras.initializers"
    )
