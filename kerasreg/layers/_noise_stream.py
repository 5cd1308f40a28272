"""The keys of a layer's noise, in training and in Monte Carlo prediction."""

from __future__ import annotations

import contextlib
import random as python_random
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import keras
import numpy as np

from kerasreg._descriptions import described_component
from kerasreg._keras.hyperparameter import Hyperparameter
from kerasreg._validation import check_count
from kerasreg.random import Key, key, replica_id


class _Sample:
    """A sample of a Monte Carlo prediction: its words, and the uses of each stream so far."""

    def __init__(self, *words: Any) -> None:
        self.words = words
        self.uses: dict[int, int] = {}


_sample: ContextVar[_Sample | None] = ContextVar("monte_carlo", default=None)


@contextlib.contextmanager
def monte_carlo(*words: Any) -> Iterator[None]:
    """Turns on the noise of kerasreg's layers at prediction.

    Within this context a layer draws its noise from a key that its seed and the words
    make, whatever `training` says. Equal words give equal noise. No training step is
    counted, and schedules do not move. `kerasreg.models.mc_predict` is built on this.

    Args:
        *words: integers or scalar integer tensors that name the sample, such as a seed and
            the number of the sample.

    Returns:
        A context manager.

    Example:

    >>> import keras, kerasreg
    >>> layer = kerasreg.layers.ScheduledDropout(0.5, seed=1)
    >>> x = keras.ops.ones((1, 1000))
    >>> for sample in range(2):
    ...     with kerasreg.layers.monte_carlo(7, sample):
    ...         print(int(keras.ops.count_nonzero(layer(x))) in range(400, 600))
    True
    True
    >>> int(layer.step)
    0
    """
    token = _sample.set(_Sample(*words))
    try:
        yield
    finally:
        _sample.reset(token)


class NoiseStream:
    """The keys of a layer's masks: of its seed, the step, the use in a pass and the replica."""

    # May be a tensor where a program of many lanes is traced.
    lane_numbers = ("seed",)

    def __init__(self, seed: int | None, hyperparameter: Hyperparameter) -> None:
        if seed is None:
            seed = python_random.randint(0, 2**31 - 1)
        self.seed = check_count("seed", seed, minimum=0)
        self.hyperparameter = hyperparameter

    def draw(self, training: bool | None) -> tuple[Any, Key] | None:
        """The value of the hyperparameter and a key, or None where there is no noise."""
        sample = _sample.get()
        if sample is not None:
            use = sample.uses[id(self)] = sample.uses.get(id(self), 0) + 1
            value, *_ = self.hyperparameter.current(training=False)
            # More words than in training: never a mask of a training step.
            return value, key(self.seed, use, replica_id(), *sample.words)
        if not training:
            return None
        value, step, use = self.hyperparameter.current(training=True)
        # A layer that is shared in one pass draws another mask for each use.
        return value, key(self.seed, use, replica_id(), step)

    # A weights file has no config: with a seed that was drawn at random, a new
    # process could not go on with the same masks. Static: the seed is part of the
    # trace, and is loaded before there is one.
    def save(self, store: Any) -> None:
        """Writes the seed into a layer's own part of a weights file."""
        store["seed"] = np.array(self.seed, dtype="int64")

    def load(self, store: Any) -> None:
        """Takes the seed, where the file has one."""
        if "seed" in store.keys():  # noqa: SIM118 - not a dict
            self.seed = int(np.array(store["seed"]))


class NoisyLayer:
    """Base class of all layers and wrappers of kerasreg that add noise in training.

    `isinstance(layer, NoisyLayer)` tells which layers of a model `monte_carlo` acts on. To
    write a layer of your own, derive from `BaseScheduledDropout`.

    Attributes:
        step: the number of training steps that the layer has seen, an int32 variable.
        seed: the seed of the masks, an integer.

    Example:

    >>> import keras, kerasreg
    >>> layers = [keras.layers.Dropout(0.5), kerasreg.layers.ScheduledDropout(0.5)]
    >>> [isinstance(layer, kerasreg.layers.NoisyLayer) for layer in layers]
    [False, True]
    """

    _stream: NoiseStream

    @property
    def step(self) -> keras.Variable:
        """The number of training steps that the layer has seen: a scalar int32 variable."""
        return self._stream.hyperparameter.step

    @property
    def seed(self) -> int:
        """The seed of the masks."""
        return self._stream.seed

    def save_own_variables(self, store: Any) -> None:
        """Writes the variables of the layer, as Keras does, and the seed."""
        super().save_own_variables(store)  # type: ignore[misc]
        self._stream.save(store)

    def load_own_variables(self, store: Any) -> None:
        """Takes the seed, and the variables that the layer has itself, as Keras does."""
        self._stream.load(store)
        own = {name: store[name] for name in store.keys() if name != "seed"}  # noqa: SIM118
        if own:  # None in the file of a copy that was not built yet.
            super().load_own_variables(own)  # type: ignore[misc]

    def __repr__(self) -> str:
        return described_component(self)
