"""What all layers that add noise in training share: a scheduled rate and a stream of keys."""

from __future__ import annotations

import contextlib
import random as python_random
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import keras
import numpy as np

from kerasreg._keras.hyperparameter import Hyperparameter, NumberOrSchedule
from kerasreg._validation import check_choice, check_count
from kerasreg.random import Key, key, replica_id

# Rates at which noise of infinite variance would be needed are refused.
BELOW_ONE = 0.999999


class MonteCarlo:
    """Prediction with noise: what makes a sample, and how often each layer was used in it."""

    def __init__(self, *words: Any) -> None:
        self.words = words
        self.uses: dict[int, int] = {}


_monte_carlo: ContextVar[MonteCarlo | None] = ContextVar("monte_carlo", default=None)


@contextlib.contextmanager
def monte_carlo(*words: Any) -> Iterator[None]:
    """Noise at inference, from keys that these words make, with no step counted."""
    token = _monte_carlo.set(MonteCarlo(*words))
    try:
        yield
    finally:
        _monte_carlo.reset(token)


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
        sampling = _monte_carlo.get()
        if sampling is not None:
            use = sampling.uses[id(self)] = sampling.uses.get(id(self), 0) + 1
            value, _ = self.hyperparameter.current(training=False)
            # More words than in training: never a mask of a training step.
            return value, key(self.seed, use, replica_id(), *sampling.words)
        if not training:
            return None
        value, step = self.hyperparameter.current(training=True)
        # A layer that is shared in one pass draws another mask for each use.
        return value, key(self.seed, self.hyperparameter.use_in_pass(), replica_id(), step)

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
    """What a layer with a stream of keys has, whatever it does with them."""

    _stream: NoiseStream

    @property
    def step(self) -> keras.Variable:
        """How many training steps the layer has seen: a scalar int32 variable."""
        return self._stream.hyperparameter.step

    @property
    def seed(self) -> int:
        """The seed of the masks."""
        return self._stream.seed

    def save_own_variables(self, store: Any) -> None:
        """Keras' own, and the seed."""
        super().save_own_variables(store)  # type: ignore[misc]
        self._stream.save(store)

    def load_own_variables(self, store: Any) -> None:
        """The seed: variables are those of the layers inside."""
        self._stream.load(store)


class BaseScheduledDropout(NoisyLayer, keras.layers.Layer):
    """A layer that is the identity at inference, and noise of a scheduled rate in training.

    Subclasses define `drop(inputs, rate, key)`, and their own arguments in
    `get_config`.
    """

    maximum_rate = 1.0

    def __init__(self, rate: NumberOrSchedule, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._rate = Hyperparameter(rate, "rate", maximum=self.maximum_rate, count_steps=True)
        self._stream = NoiseStream(seed, self._rate)
        self.supports_masking = True
        self.built = True

    @property
    def rate(self) -> keras.Variable:
        """The rate of the last training step: a scalar variable, which may be assigned."""
        return self._rate.variable

    @property
    def schedule(self) -> Any:
        """The schedule of the rate, or None."""
        return self._rate.schedule

    def drop(self, inputs: Any, rate: Any, key: Key) -> Any:
        """The inputs with noise, for a rate and a key: a pure function."""
        raise NotImplementedError

    def call(self, inputs: Any, training: bool | None = False) -> Any:
        drawn = self._stream.draw(training)
        return inputs if drawn is None else self.drop(inputs, *drawn)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self._rate.get_value(), "seed": self.seed}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        return cls(**config)


class BaseMaskedDropout(BaseScheduledDropout):
    """One whose mask may have another shape than its inputs."""

    def __init__(
        self,
        rate: NumberOrSchedule,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(rate, seed, **kwargs)
        self.noise_shape = check_noise_shape(noise_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "noise_shape": self.noise_shape}


def check_noise_shape(noise_shape: Any) -> tuple[int | None, ...] | None:
    """The noise shape as a tuple, or a `ValueError`."""
    if noise_shape is None:
        return None
    expected = "None, or a sequence whose entries are None or whole numbers >= 1"
    if isinstance(noise_shape, (str, bytes)) or not hasattr(noise_shape, "__iter__"):
        raise ValueError(f"`noise_shape` must be {expected}. Received: noise_shape={noise_shape!r}")
    entries = tuple(noise_shape)
    for entry in entries:
        if entry is not None and (not isinstance(entry, int) or entry < 1):
            raise ValueError(
                f"`noise_shape` must be {expected}. Received: noise_shape={noise_shape!r}"
            )
    return entries


def check_data_format(data_format: str | None) -> str:
    """The data format, or Keras' default."""
    if data_format is None:
        return str(keras.config.image_data_format())
    return check_choice("data_format", data_format, ("channels_last", "channels_first"))
