"""Random numbers of Keras' own layers, drawn for all lanes at once.

Keras' layers draw by a state that each has in a variable, with operations of the backend that
TensorFlow runs for one lane after the other, and that XLA gives other numbers for. In the program
of lanes the same state is a key of `kerasreg.random`. So a lane draws what it would draw alone, or
beside any other lanes, in any form of execution. The distributions are Keras' own.
"""

from __future__ import annotations

import contextlib
import math
from typing import Any, Literal

import keras
from keras import ops

from kerasreg import random
from kerasreg._keras.random_draws import dropout_of_keras, replaced_draws, words_of_seed

RandomNumbers = Literal["vectorized", "keras"]
# Set apart from all keys of the package's own layers.
_OF_KERAS = 0x6B657261
# Numbers of so few bits can be held: more would be rounded up to 1.
_BITS = {"float16": 11, "bfloat16": 8}
# The share of a normal distribution below two standard deviations.
_BELOW = 0.5 * math.erfc(math.sqrt(2.0))


def lane_draws(random_numbers: RandomNumbers) -> contextlib.AbstractContextManager[None]:
    """Lets Keras' layers draw for lanes, while a program is traced.

    Args:
        random_numbers: "vectorized", or "keras" for the numbers that Keras draws. Those of a gamma,
            beta or binomial distribution are Keras' own in both.
    """
    if random_numbers == "keras":
        return replaced_draws(dropout=dropout_of_keras)
    return replaced_draws(
        uniform=uniform,
        normal=normal,
        truncated_normal=truncated_normal,
        randint=randint,
        categorical=categorical,
        dropout=dropout,
        shuffle=shuffle,
    )


def _key(seed: Any) -> random.Key:
    return random.key(_OF_KERAS, *words_of_seed(seed))


def _shape(shape: Any) -> tuple[Any, ...]:
    if ops.is_tensor(shape):
        return tuple(shape[axis] for axis in range(shape.shape[0]))
    return tuple(shape)


def _dtype(dtype: Any) -> str:
    return str(keras.backend.standardize_dtype(dtype or keras.config.floatx()))


def _unit(shape: Any, dtype: str, key: random.Key) -> Any:
    """Numbers from 0 to below 1, of which none is rounded to 1."""
    drawn = random.uniform(shape, key)
    if dtype in _BITS:
        drawn = ops.floor(drawn * 2.0 ** _BITS[dtype]) * 2.0 ** -_BITS[dtype]
    return ops.cast(drawn, dtype)


def uniform(
    shape: Any, minval: Any = 0.0, maxval: Any = 1.0, dtype: Any = None, seed: Any = None
) -> Any:
    """As `keras.random.uniform`: numbers from `minval` to `maxval`, of 23 random bits."""
    dtype = _dtype(dtype)
    low, high = ops.cast(minval, dtype), ops.cast(maxval, dtype)
    return low + _unit(_shape(shape), dtype, _key(seed)) * (high - low)


def normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None
) -> Any:
    """As `keras.random.normal`."""
    dtype = _dtype(dtype)
    drawn = ops.cast(random.normal(_shape(shape), _key(seed)), dtype)
    return drawn * ops.cast(stddev, dtype) + ops.cast(mean, dtype)


def truncated_normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None
) -> Any:
    """As `keras.random.truncated_normal`: within two standard deviations."""
    dtype = _dtype(dtype)
    # From -1 to 1, without the share that lies beyond.
    drawn = (2.0 * random.uniform(_shape(shape), _key(seed)) - 1.0) * (1.0 - 2.0 * _BELOW)
    found = ops.cast(math.sqrt(2.0) * ops.erfinv(drawn), dtype)
    return found * ops.cast(stddev, dtype) + ops.cast(mean, dtype)


def randint(shape: Any, minval: Any, maxval: Any, dtype: Any = "int32", seed: Any = None) -> Any:
    """As `keras.random.randint`: whole numbers from `minval` to below `maxval`."""
    low, high = ops.cast(minval, "int64"), ops.cast(maxval, "int64")
    drawn = ops.cast(random.bits(_shape(shape), _key(seed)), "int64")
    return ops.cast(low + ops.mod(drawn, high - low), dtype)


def categorical(logits: Any, num_samples: int, dtype: Any = "int64", seed: Any = None) -> Any:
    """As `keras.random.categorical`, by the largest of `logits` with Gumbel noise (Gumbel 1954)."""
    rows, classes = ops.shape(logits)
    drawn = random.uniform((rows, num_samples, classes), _key(seed))
    noise = ops.cast(-ops.log(-ops.log(drawn)), logits.dtype)
    return ops.cast(ops.argmax(logits[:, None, :] + noise, axis=-1), dtype)


def dropout(inputs: Any, rate: Any, noise_shape: Any = None, seed: Any = None) -> Any:
    """As `keras.random.dropout`."""
    if isinstance(rate, (int, float)) and rate in (0, 1):
        return inputs if rate == 0 else ops.zeros_like(inputs)
    of_inputs = ops.shape(inputs)
    shape = of_inputs if noise_shape is None else noise_shape
    shape = [of if own is None else own for of, own in zip(of_inputs, shape, strict=True)]
    kept, scale = random.keep_mask(tuple(shape), rate, _key(seed))
    scaled = inputs * ops.cast(scale, inputs.dtype)
    return ops.where(kept, scaled, ops.zeros_like(inputs))


def shuffle(x: Any, axis: int = 0, seed: Any = None) -> Any:
    """As `keras.random.shuffle`: one order for all that lies along the axis."""
    order = ops.argsort(random.uniform((ops.shape(x)[axis],), _key(seed)))
    return ops.take(x, order, axis=axis)
