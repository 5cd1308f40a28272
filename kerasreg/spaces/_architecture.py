"""Search spaces of the network itself: activation and initial weights."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import keras_tuner

from kerasreg import initializers
from kerasreg._validation import check_choice

ACTIVATIONS = ("relu", "tanh", "selu", "gelu")
INITIALIZERS = (
    "for_activation",
    "random_normal",
    "random_uniform",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "lecun_normal",
    "orthogonal",
)


def activation(
    hp: keras_tuner.HyperParameters,
    name: str = "activation",
    *,
    choices: Sequence[str] = ACTIVATIONS,
) -> str:
    """The name of a searched activation.

    Args:
        hp: KerasTuner's hyperparameters.
        name: name of the choice.
        choices: names of Keras activations to choose from.

    Returns:
        A name that `keras.layers.Activation` takes.

    Example:

    >>> import keras_tuner, kerasreg
    >>> kerasreg.spaces.activation(keras_tuner.HyperParameters())
    'relu'
    """
    return str(hp.Choice(name, list(choices), default=choices[0]))


def initializer(
    hp: keras_tuner.HyperParameters,
    activation: str,
    *,
    name: str = "initializer",
    choices: Sequence[str] = INITIALIZERS,
    seed: int | None = None,
) -> keras.initializers.Initializer:
    """A searched initializer preset.

    Args:
        hp: KerasTuner's hyperparameters.
        activation: name of the activation behind the weights, for the choice
            `"for_activation"`.
        name: name of the choice.
        choices: presets of `kerasreg.initializers`, or `"for_activation"`.
        seed: seed of the initializer.

    Returns:
        A new Keras initializer.

    Raises:
        ValueError: if a preset is unknown.

    Example:

    >>> import keras_tuner, kerasreg
    >>> hp = keras_tuner.HyperParameters()
    >>> type(kerasreg.spaces.initializer(hp, "selu")).__name__
    'LecunNormal'
    """
    for kind in choices:
        check_choice("choices", kind, ("for_activation", *initializers.presets()))
    chosen = hp.Choice(name, list(choices), default=choices[0])
    if chosen == "for_activation":
        return initializers.for_activation(activation, seed=seed)
    return initializers.preset(chosen, seed=seed)
