"""Keras' random numbers: where its layers get them, and others in their place."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kerasreg._keras.patching import original, patched


def replaced_draws(**functions: Callable[..., Any]) -> contextlib.AbstractContextManager[None]:
    """Which functions draw random numbers for Keras' layers, and for `keras.random`, in here?

    Read for Keras 3.10 to 3.15, whose layers all ask the module `random` of the backend.

    Args:
        **functions: the new functions by their names in `keras.random`, which take what the old
            ones take. They hold for this thread.

    Raises:
        AttributeError: if Keras draws by no function of such a name.
    """
    from keras.src import backend

    for name in functions:
        getattr(backend.random, name)
    return patched(backend.random, **functions)


def draws_by_numpy() -> contextlib.AbstractContextManager[None]:
    """Which numbers have Keras' distributions, where nobody asks for those of one seed?

    NumPy draws them in a tenth of the time in which the backend does, operation by operation.
    Within, Keras' initializers give arrays. What has a generator of seeds, or another type than
    float32 and float64, is Keras' own.

    Read for Keras 3.10 to 3.15.
    """

    # Keras names all arguments but the shape.
    def uniform(
        shape: Any, minval: Any = 0.0, maxval: Any = 1.0, dtype: Any = None, seed: Any = None
    ) -> Any:
        return _by_numpy("uniform", _uniform, shape, minval, maxval, dtype, seed)

    def normal(
        shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None
    ) -> Any:
        return _by_numpy("normal", _normal, shape, mean, stddev, dtype, seed)

    def truncated_normal(
        shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None
    ) -> Any:
        return _by_numpy("truncated_normal", _truncated_normal, shape, mean, stddev, dtype, seed)

    return replaced_draws(uniform=uniform, normal=normal, truncated_normal=truncated_normal)


def _by_numpy(
    name: str, draw: Callable[..., Any], shape: Any, one: Any, other: Any, dtype: Any, seed: Any
) -> Any:
    from keras.src import backend

    kind = keras.backend.standardize_dtype(dtype or keras.config.floatx())
    if not isinstance(seed, int) or kind not in ("float32", "float64"):
        return original(backend.random, name)(shape, one, other, dtype=dtype, seed=seed)
    return draw(np.random.Generator(np.random.SFC64(seed)), tuple(shape), one, other, kind)


def _uniform(source: Any, shape: Any, low: float, high: float, dtype: str) -> Any:
    found = source.random(shape, dtype)
    found *= high - low
    found += low
    return found


def _normal(source: Any, shape: Any, mean: float, stddev: float, dtype: str) -> Any:
    found = source.standard_normal(shape, dtype)
    found *= stddev
    found += mean
    return found


def _truncated_normal(source: Any, shape: Any, mean: float, stddev: float, dtype: str) -> Any:
    found = source.standard_normal(shape, dtype)
    while (beyond := np.abs(found) > 2.0).any():  # Of Keras' bounds, too.
        found[beyond] = source.standard_normal(int(beyond.sum()), dtype)
    found *= stddev
    found += mean
    return found


def words_of_seed(seed: Any) -> tuple[Any, Any]:
    """Which two whole numbers does a seed give for the next draw? A generator of seeds moves on.

    Read for Keras 3.10 to 3.15.

    Args:
        seed: an integer, a `keras.random.SeedGenerator`, None, or a tensor of two numbers.
    """
    from keras.src.random.seed_generator import draw_seed

    drawn = seed if keras.ops.is_tensor(seed) else draw_seed(seed)
    return drawn[0], drawn[1]


def dropout_of_keras(inputs: Any, rate: Any, noise_shape: Any = None, seed: Any = None) -> Any:
    """Which numbers does Keras' dropout give? Those, for a rate that may be a tensor.

    Keras compares the rate with 0 and 1 first. Read for Keras 3.10 to 3.15.

    Args:
        inputs: a tensor.
        rate: a number, or a scalar tensor.
        noise_shape: as for `keras.random.dropout`.
        seed: as for `keras.random.dropout`.
    """
    from keras.src import backend

    if isinstance(rate, (int, float)):
        return original(backend.random, "dropout")(inputs, rate, noise_shape, seed)
    rate = keras.ops.convert_to_tensor(rate, dtype=inputs.dtype)
    shape = backend.random._get_concrete_noise_shape(inputs, noise_shape)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        words = backend.random._cast_seed(backend.random.draw_seed(seed))
        return tf.nn.experimental.stateless_dropout(
            inputs, rate=rate, noise_shape=shape, seed=words
        )
    import jax

    words = backend.random.jax_draw_seed(seed)
    kept = jax.random.bernoulli(words, p=1.0 - rate, shape=shape)
    kept = jax.numpy.broadcast_to(kept, inputs.shape)
    return jax.lax.select(kept, inputs / (1.0 - rate), jax.numpy.zeros_like(inputs))
