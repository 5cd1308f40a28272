"""Search spaces of the things that regularize: penalties and dropout."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import keras_tuner

from kerasreg._validation import (
    check_choice,
    check_count,
    check_number,
    check_positive,
)
from kerasreg.layers import ScheduledDropout
from kerasreg.regularizers import L1, L2, ElasticNet, Penalty
from kerasreg.spaces._conditional import when

PENALTIES = ("none", "l1", "l2", "elastic_net")
DROPOUTS = ("none", "constant", "ramp_up", "ramp_down")


def penalty(
    hp: keras_tuner.HyperParameters,
    name: str = "penalty",
    *,
    choices: Sequence[str] = PENALTIES,
    minimum: float = 1e-6,
    maximum: float = 1e-2,
) -> Penalty | None:
    """A penalty of a searched kind and strength.

    Declares `name` (a choice of kind); `name_strength` (log scale), where the
    kind is not `"none"`; `name_alpha`, where it is `"elastic_net"`.

    Args:
        hp: KerasTuner's hyperparameters.
        name: prefix of the declared names.
        choices: kinds to choose from, of `"none"`, `"l1"`, `"l2"`, `"elastic_net"`.
        minimum: smallest strength, a number > 0.
        maximum: largest strength, a number > `minimum`.

    Returns:
        A new penalty, or None for `"none"`.

    Raises:
        ValueError: if a kind is unknown or a bound is not > 0.

    Example:

    >>> import keras_tuner, kerasreg
    >>> hp = keras_tuner.HyperParameters()
    >>> kerasreg.spaces.penalty(hp) is None, hp.values
    (True, {'penalty': 'none'})
    """
    for kind in choices:
        check_choice("choices", kind, PENALTIES)
    check_positive("minimum", minimum)
    if not maximum > minimum:
        raise ValueError(
            f"`maximum` must be a number > `minimum`, {minimum:g}. Received: maximum={maximum:g}"
        )
    chosen = hp.Choice(name, list(choices), default=choices[0])
    strength = when(
        hp,
        name,
        [kind for kind in choices if kind != "none"],
        lambda: hp.Float(f"{name}_strength", minimum, maximum, sampling="log"),
        otherwise=0.0,
    )
    alpha = when(
        hp,
        name,
        [kind for kind in choices if kind == "elastic_net"],
        lambda: hp.Float(f"{name}_alpha", 0.0, 1.0, step=0.25, default=0.5),
        otherwise=0.5,
    )
    if chosen == "l1":
        return L1(strength)
    if chosen == "l2":
        return L2(strength)
    return ElasticNet(strength, alpha) if chosen == "elastic_net" else None


def dropout(
    hp: keras_tuner.HyperParameters,
    steps: int,
    *,
    name: str = "dropout",
    choices: Sequence[str] = DROPOUTS,
    maximum: float = 0.6,
    seed: int | None = None,
) -> ScheduledDropout | None:
    """A dropout layer of a searched rate and schedule.

    Declares `name` (a choice of kind) and `name_rate`, where it is not `"none"`.
    `"ramp_up"` rises linearly from 0 to the rate over the first half of the
    training, `"ramp_down"` falls from it to 0.

    Args:
        hp: KerasTuner's hyperparameters.
        steps: length of the whole training in steps, a whole number >= 1.
        name: prefix of the declared names. Calls with one name share values, so
            that each hidden layer may ask for its own layer.
        choices: kinds to choose from, of `"none"`, `"constant"`, `"ramp_up"`,
            `"ramp_down"`.
        maximum: largest rate, from 0.1 to 1.
        seed: seed of the layer's masks.

    Returns:
        A new layer, or None for `"none"`.

    Raises:
        ValueError: if a kind is unknown or an argument outside its range.

    Example:

    >>> import keras_tuner, kerasreg
    >>> hp = keras_tuner.HyperParameters()
    >>> layer = kerasreg.spaces.dropout(hp, steps=100, choices=("constant",))
    >>> hp.values
    {'dropout': 'constant', 'dropout_rate': 0.3}
    """
    for kind in choices:
        check_choice("choices", kind, DROPOUTS)
    ramp = max(check_count("steps", steps) // 2, 1)
    check_number("maximum", maximum, 0.1, 1.0)
    # A choice: KerasTuner's stepped floats miss or repeat the largest by rounding.
    rates = [tenth / 10 for tenth in range(1, 11) if tenth / 10 < maximum - 1e-6] + [maximum]
    chosen = hp.Choice(name, list(choices), default=choices[0])
    rate = when(
        hp,
        name,
        [kind for kind in choices if kind != "none"],
        lambda: hp.Choice(f"{name}_rate", rates, default=min(rates, key=lambda r: abs(r - 0.3))),
        otherwise=0.0,
    )
    linear = keras.optimizers.schedules.PolynomialDecay
    if chosen == "ramp_up":
        return ScheduledDropout(linear(0.0, ramp, rate), seed=seed)
    if chosen == "ramp_down":
        return ScheduledDropout(linear(rate, ramp, 0.0), seed=seed)
    return ScheduledDropout(rate, seed=seed) if chosen == "constant" else None
