"""The last layer of the networks of this package."""

from __future__ import annotations

import keras


def output_layer(classes: int | None, seed: int | None) -> keras.layers.Dense:
    """Probabilities of classes, or one number.

    Args:
        classes: number of classes; None for a number.
        seed: of the initial weights.
    """
    return keras.layers.Dense(
        classes or 1,
        activation="softmax" if classes else None,
        kernel_initializer=keras.initializers.GlorotUniform(seed=seed),
        name="output",
    )
