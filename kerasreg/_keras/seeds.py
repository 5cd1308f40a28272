"""Seeds of initializers: checked, replaced, and derived from one another."""

from __future__ import annotations

import random
from typing import Any

import keras
import numpy as np

from kerasreg._validation import check_count


def check_seed(seed: Any) -> Any:
    """Returns a seed that Keras takes, or raises a `ValueError`.

    Whole numbers >= 0, None and `keras.random.SeedGenerator` are taken; so is the
    config of a generator, which is what a saved initializer has.
    """
    if seed is None or isinstance(seed, (keras.random.SeedGenerator, dict)):
        return seed
    try:
        return check_count("seed", seed, minimum=0)
    except ValueError as error:
        raise ValueError(
            "`seed` must be a whole number >= 0, a keras.random.SeedGenerator or None. "
            f"Received: seed={seed!r}"
        ) from error


def with_seed(initializer: Any, seed: int | None) -> Any:
    """An initializer like the given one with another seed; itself, where it has none."""
    if not isinstance(initializer, keras.initializers.Initializer):
        return initializer
    config = initializer.get_config()
    if "seed" not in config:  # Then its config may be none that it can be made of.
        return initializer
    return type(initializer).from_config({**config, "seed": seed})


class Seeds:
    """A seed for each place of a walk: the same whatever the layers are called."""

    def __init__(self, seed: int | None) -> None:
        # Python's generator, which `keras.utils.set_random_seed` sets.
        self.root = random.randint(0, 2**31 - 1) if seed is None else check_count("seed", seed, 0)

    def at(self, place: int) -> int:
        """The seed of a place, counted from 0."""
        return int(np.random.SeedSequence([self.root, place]).generate_state(1)[0] >> 1)
