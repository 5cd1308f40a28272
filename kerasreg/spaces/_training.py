"""Search spaces of how a model is trained: optimizer, learning-rate policy, batch size."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import keras
import keras_tuner

from kerasreg import callbacks
from kerasreg._optimizer_names import OPTIMIZERS
from kerasreg._validation import check_choice, check_count, check_positive
from kerasreg.spaces._conditional import when

POLICIES = ("fixed", "step", "exponential", "time_based", "cosine", "plateau")

# Which optimizers share a scale of learning rates, and that scale.
_RATES = {
    "sgd_learning_rate": (("sgd", "nesterov"), 1e-3, 0.3, 0.03),
    "adaptive_learning_rate": (("rmsprop", "adam", "adamw"), 1e-4, 1e-2, 1e-3),
    "adagrad_learning_rate": (("adagrad",), 1e-3, 0.3, 0.03),
    "adadelta_learning_rate": (("adadelta",), 0.1, 10.0, 1.0),
}


def optimizer(
    hp: keras_tuner.HyperParameters,
    name: str = "optimizer",
    *,
    choices: Sequence[str] = OPTIMIZERS,
) -> keras.optimizers.Optimizer:
    """An optimizer of a searched kind and learning rate.

    Declares `name` (a choice of kind) and, conditional on it, one learning rate
    on a log scale for each family with a common scale (`sgd_learning_rate`,
    `adaptive_learning_rate`, `adagrad_learning_rate`, `adadelta_learning_rate`),
    `momentum` (Nesterov) and `weight_decay` (AdamW).

    Args:
        hp: KerasTuner's hyperparameters.
        name: name of the choice.
        choices: kinds to choose from: `"sgd"`, `"nesterov"`, `"adagrad"`,
            `"adadelta"`, `"rmsprop"`, `"adam"`, `"adamw"`.

    Returns:
        A new Keras optimizer whose learning rate is a variable.

    Raises:
        ValueError: if a kind is unknown.

    Example:

    >>> import keras_tuner, kerasreg
    >>> hp = keras_tuner.HyperParameters()
    >>> type(kerasreg.spaces.optimizer(hp, choices=("adam", "sgd"))).__name__
    'Adam'
    """
    for kind in choices:
        check_choice("choices", kind, OPTIMIZERS)
    chosen = hp.Choice(name, list(choices), default=choices[0])
    rate = 0.0
    for rate_name, (family, low, high, default) in _RATES.items():
        declare = functools.partial(hp.Float, rate_name, low, high, sampling="log", default=default)
        rate = when(hp, name, [kind for kind in family if kind in choices], declare, otherwise=rate)
    momentum = when(
        hp,
        name,
        [kind for kind in choices if kind == "nesterov"],
        lambda: hp.Choice("momentum", [0.8, 0.9, 0.95, 0.99], default=0.9),
        otherwise=0.9,
    )
    decay = when(
        hp,
        name,
        [kind for kind in choices if kind == "adamw"],
        lambda: hp.Float("weight_decay", 1e-5, 1e-1, sampling="log", default=4e-3),
        otherwise=0.0,
    )
    makers = {
        "sgd": lambda: keras.optimizers.SGD(rate),
        "nesterov": lambda: keras.optimizers.SGD(rate, momentum=momentum, nesterov=True),
        "adagrad": lambda: keras.optimizers.Adagrad(rate),
        "adadelta": lambda: keras.optimizers.Adadelta(rate),
        "rmsprop": lambda: keras.optimizers.RMSprop(rate),
        "adam": lambda: keras.optimizers.Adam(rate),
        "adamw": lambda: keras.optimizers.AdamW(rate, weight_decay=decay),
    }
    return makers[chosen]()


def learning_rate_policy(
    hp: keras_tuner.HyperParameters,
    learning_rate: float,
    epochs: int,
    *,
    name: str = "learning_rate_policy",
    choices: Sequence[str] = POLICIES,
    monitor: str = "val_loss",
) -> keras.callbacks.Callback:
    """A learning-rate callback of a searched policy, for `epochs` epochs.

    Declares `name` (a choice of policy) and, conditional on it, the one number
    of that policy, and `warmup_epochs` (not for `"plateau"`).

    Args:
        hp: KerasTuner's hyperparameters.
        learning_rate: the rate that the policy starts from, a number > 0.
        epochs: length of the whole training, a whole number >= 1.
        name: name of the choice.
        choices: policies to choose from: `"fixed"`, `"step"`, `"exponential"`,
            `"time_based"`, `"cosine"`, `"plateau"`.
        monitor: metric that `"plateau"` reacts to.

    Returns:
        A new callback of `kerasreg.callbacks`.

    Raises:
        ValueError: if a policy is unknown or an argument outside its range.

    Example:

    >>> import keras_tuner, kerasreg
    >>> hp = keras_tuner.HyperParameters()
    >>> policy = kerasreg.spaces.learning_rate_policy(hp, 0.1, 20, choices=("step", "fixed"))
    >>> type(policy).__name__, policy.every
    ('StepDecay', 10)
    """
    for kind in choices:
        check_choice("choices", kind, POLICIES)
    check_count("epochs", epochs)
    check_positive("learning_rate", learning_rate)
    chosen = hp.Choice(name, list(choices), default=choices[0])
    longest = max(epochs // 5, 1)

    def only(kind: str, parameter: str, values: list[Any], default: Any) -> Any:
        active = [one for one in choices if one == kind]
        declare = functools.partial(hp.Choice, parameter, values, default=default)
        return when(hp, name, active, declare, otherwise=default)

    factor = only("plateau", "plateau_factor", [0.2, 0.5], 0.5)
    drops = only("step", "step_drops", [1, 2, 4], 1)
    # Searched as what is left at the end, which does not depend on `epochs`.
    exponential_final = only("exponential", "exponential_final", [0.3, 0.1, 0.01], 0.1)
    time_based_final = only("time_based", "time_based_final", [0.5, 0.3, 0.1], 0.3)
    warmup = when(
        hp,
        name,
        [kind for kind in choices if kind != "plateau"],
        lambda: hp.Choice("warmup_epochs", [0, longest], default=0),
        otherwise=0,
    )
    if chosen == "plateau":
        patience = max(epochs // 10, 2)
        return callbacks.ReduceOnPlateau(monitor, factor, patience=patience)
    length = max(epochs - warmup, 1)  # A policy begins after the warm-up.
    if chosen == "step":
        every = max(length // (drops + 1), 1)
        return callbacks.StepDecay(learning_rate, 0.3, every=every, warmup=warmup)
    if chosen == "exponential":
        rate = exponential_final ** (1 / length)
        return callbacks.ExponentialDecay(learning_rate, rate, warmup=warmup)
    if chosen == "time_based":
        decay = (1 / time_based_final - 1) / length
        return callbacks.TimeBasedDecay(learning_rate, decay, warmup=warmup)
    if chosen == "cosine":
        return callbacks.CosineDecay(learning_rate, length, warmup=warmup)
    return callbacks.FixedLearningRate(learning_rate, warmup=warmup)


def batch_size(
    hp: keras_tuner.HyperParameters,
    name: str = "batch_size",
    *,
    values: Sequence[int] = (32, 64, 128),
) -> int:
    """A searched batch size.

    Args:
        hp: KerasTuner's hyperparameters.
        name: name of the choice.
        values: sizes to choose from, whole numbers >= 1.

    Returns:
        The batch size.

    Raises:
        ValueError: if a size is no whole number >= 1.

    Example:

    >>> import keras_tuner, kerasreg
    >>> kerasreg.spaces.batch_size(keras_tuner.HyperParameters(), values=(16, 32))
    16
    """
    sizes = [check_count("values", value) for value in values]
    return int(hp.Choice(name, sizes, default=sizes[0]))
