"""Initial weights of residual networks, which depend on how deep they are.

A sum of `n` independent branches has `n` times the variance of one: without care
the signal grows with depth. Radford et al. 2019, "Language Models are
Unsupervised Multitask Learners" (GPT-2), and Zhang, Dauphin and Ma 2019, "Fixup
Initialization" (arXiv:1901.09321).
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from kerasreg._keras.seeds import check_seed, with_seed
from kerasreg._validation import check_count


@keras.saving.register_keras_serializable(package="kerasreg")
class DepthScaled(keras.initializers.Initializer):
    """Another initializer divided by `√(branches·depth)`: GPT-2's rule.

    For the kernel that ends a residual branch. All `branches·depth` of them
    together then add the variance of one to the signal.

    Args:
        depth: number of blocks of the network, a whole number >= 1.
        branches: residual branches in each block, a whole number >= 1; 2 in a
            transformer (attention, and the dense layers behind it).
        initializer: what is scaled: an initializer, or its name in Keras. By
            default GPT-2's `N(0, 0.02²)`.
        seed: an integer or a `keras.random.SeedGenerator`, given to
            `initializer`; None leaves it its own.

    Returns:
        Called with a shape and a dtype: a tensor.

    Raises:
        ValueError: if `depth` or `branches` is no whole number >= 1, or
            `initializer` is none.

    Example:

    >>> import numpy as np, kerasreg
    >>> rule = kerasreg.initializers.DepthScaled(depth=12, seed=1)
    >>> bool(abs(np.std(rule((300, 300))) * np.sqrt(24) - 0.02) < 0.001)
    True
    """

    def __init__(
        self, depth: int, branches: int = 2, *, initializer: Any = None, seed: Any = None
    ) -> None:
        self.depth = check_count("depth", depth)
        self.branches = check_count("branches", branches)
        self._seed = check_seed(seed)
        try:
            if initializer is None:
                initializer = keras.initializers.RandomNormal(stddev=0.02)
            base = keras.initializers.get(initializer)
        except (TypeError, ValueError) as error:
            base = None
            reason: Exception | None = error
        else:
            reason = None
        if not isinstance(base, keras.initializers.Initializer):
            raise ValueError(
                "`initializer` must be a Keras initializer or the name of one. "
                f"Received: initializer={initializer!r}"
            ) from reason
        self.initializer = base if seed is None else with_seed(base, self._seed)

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """A tensor of the shape and dtype."""
        return self.initializer(shape, dtype=dtype) / math.sqrt(self.branches * self.depth)

    def get_config(self) -> dict[str, Any]:
        """The arguments, with the serialised initializer."""
        return {
            "depth": self.depth,
            "branches": self.branches,
            "initializer": keras.saving.serialize_keras_object(self.initializer),
            "seed": keras.saving.serialize_keras_object(self._seed),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DepthScaled:
        """Makes the initializer of a config."""
        return cls(**config)


@keras.saving.register_keras_serializable(package="kerasreg")
class Fixup(keras.initializers.VarianceScaling):
    """He's normal weights times `depth^(-1/(2m-2))`, or zeros: for networks without normalisation.

    `m` is the number of layers in a residual branch. The last of them, and the
    network's output layer, begin at zero: with `last=True`. Fixup also has
    scalar biases and multipliers in each branch, which are for the architecture
    to add.

    Args:
        depth: number of residual branches of the network, a whole number >= 1.
        layers_in_branch: `m`, the layers with a kernel in each branch, a whole
            number >= 1; of one layer alone, that is the last.
        last: whether this is the last layer of a branch; its weights are zeros.
        seed: an integer or a `keras.random.SeedGenerator`, or None for another
            draw each time.

    Returns:
        Called with a shape and a dtype: a tensor. `fan_in` is Keras' (the product
        of all axes but the last), which is wrong for depthwise convolutions;
        `initialize` has the right one.

    Raises:
        ValueError: if `depth` or `layers_in_branch` is out of its range.

    Example:

    >>> import kerasreg
    >>> first = kerasreg.initializers.Fixup(depth=16, layers_in_branch=2, seed=1)
    >>> round(first.scale, 4)  # 2 * 16 ** -1
    0.125
    """

    def __init__(
        self, depth: int, layers_in_branch: int = 2, *, last: bool = False, seed: Any = None
    ) -> None:
        self.depth = check_count("depth", depth)
        self.layers_in_branch = check_count("layers_in_branch", layers_in_branch)
        self.last = bool(last)
        if not self.last and self.layers_in_branch == 1:
            raise ValueError(
                "`layers_in_branch` must be a whole number >= 2 where last=False: the only layer "
                "of a branch is its last. Received: layers_in_branch=1"
            )
        # Where the weights are zeros, the scale is for nothing.
        exponent = 0.0 if self.last else -2 / (2 * self.layers_in_branch - 2)
        super().__init__(2 * self.depth**exponent, "fan_in", seed=check_seed(seed))

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """A tensor of the shape and dtype."""
        if self.last:
            return ops.zeros(shape, dtype=dtype or keras.config.floatx())
        return super().__call__(shape, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {
            "depth": self.depth,
            "layers_in_branch": self.layers_in_branch,
            "last": self.last,
            "seed": super().get_config()["seed"],
        }
