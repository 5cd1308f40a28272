"""Counter-based random bits: a hash of (key, element index), no state.

The same integers give the same bits in eager, graph and XLA execution and on
every backend, because nothing but 32-bit integer arithmetic is involved. The
mixing function is the bias-optimised `lowbias32` family of integer hashes (C.
Wellons, "Prospecting for Hash Functions", 2018), keyed twice. It is made for
masks, not for cryptography.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

# How finely a rate is resolved: masks compare this many random bits.
RATE_BITS = 24


def _word(value: Any) -> Any:
    """An integer scalar as uint32, modulo 2³²."""
    if isinstance(value, int):
        return ops.cast(ops.convert_to_tensor(value % 2**32, dtype="uint32"), "uint32")
    return ops.cast(value, "uint32")


def _mix(x: Any) -> Any:
    """A bijection of uint32 in which every input bit reaches every output bit."""
    x = ops.bitwise_xor(x, ops.right_shift(x, _word(16)))
    x = x * _word(0x21F0AAAD)
    x = ops.bitwise_xor(x, ops.right_shift(x, _word(15)))
    x = x * _word(0xD35A2D97)
    return ops.bitwise_xor(x, ops.right_shift(x, _word(15)))


def key(*words: Any) -> tuple[Any, Any]:
    """Hashes integers (seed, step, layer, replica, ...) into a key.

    Args:
        *words: Python integers or scalar integer tensors; order matters.

    Returns:
        Two uint32 scalars, to be given to `bits`.

    Example:

    >>> import kerasreg
    >>> first, second = kerasreg.random.key(seed := 7, step := 0)
    """
    first, second = _word(0x9E3779B9), _word(0x7F4A7C15)
    for word in words:
        first = _mix(ops.bitwise_xor(first, _word(word)) + _word(0x9E3779B9))
        second = _mix(second + first)
    return first, second


def bits(shape: Any, key: tuple[Any, Any]) -> Any:
    """32 random bits for each element.

    Args:
        shape: shape of the result; entries may be scalar tensors.
        key: what `key()` returned.

    Returns:
        A uint32 tensor. Element `i` (in row-major order) is a hash of the key
        and `i`.

    Example:

    >>> import kerasreg
    >>> kerasreg.random.bits((2, 3), kerasreg.random.key(7)).shape
    TensorShape([2, 3])
    """
    first, second = key
    size = 1
    for length in shape:
        size = size * length
    index = ops.cast(ops.arange(size, dtype="int32"), "uint32")
    # Two rounds with a key word before each: index and key are both mixed fully.
    hashed = _mix(_mix(index * _word(0x9E3779B1) + first) + second)
    return ops.reshape(hashed, shape)


def keep_mask(shape: Any, rate: Any, key: tuple[Any, Any]) -> tuple[Any, Any]:
    """Which elements a dropout of this rate keeps, and what scales them.

    An element is dropped when its 24 random bits are below `round(rate·2²⁴)`:
    the rate is resolved to 2⁻²⁴ (6e-8), and the scale is the inverse of the
    keep probability *after* that rounding, so that expectations are exact.

    Args:
        shape: shape of the mask; entries may be scalar tensors.
        rate: drop probability, a number or a scalar tensor from 0 to 1.
        key: what `key()` returned.

    Returns:
        `(mask, scale)`: a boolean tensor, true where kept, and a float32
        scalar, `1 / (1 - rate)`; 0 where `rate` is 1.

    Example:

    >>> import kerasreg
    >>> mask, scale = kerasreg.random.keep_mask((4,), 0.5, kerasreg.random.key(7))
    >>> float(scale)
    2.0
    """
    levels = 2**RATE_BITS
    # Multiplying a float32 by a power of two is exact; only `round` rounds.
    dropped = ops.cast(ops.round(ops.cast(rate, "float32") * float(levels)), "int32")
    drawn = ops.cast(ops.right_shift(bits(shape, key), _word(32 - RATE_BITS)), "int32")
    kept = levels - dropped
    scale = ops.where(kept > 0, float(levels) / ops.cast(ops.maximum(kept, 1), "float32"), 0.0)
    return ops.greater_equal(drawn, dropped), ops.cast(scale, "float32")


def replica_id() -> Any:
    """The number of this replica under `tf.distribute`, else 0.

    Returns:
        A scalar integer tensor inside a replica, the Python integer 0 elsewhere.

    Example:

    >>> import kerasreg
    >>> kerasreg.random.replica_id()
    0
    """
    if keras.backend.backend() != "tensorflow":
        return 0
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return 0
    return context.replica_id_in_sync_group
