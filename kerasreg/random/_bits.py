"""Counter-based random bits: a hash of a key and an element's index, no state.

The hash uses 32-bit integers only. So the same integers give the same bits in eager, graph and
XLA execution, inside `tf.vectorized_map`, and on every backend.
"""

from __future__ import annotations

import math
from typing import Any

from keras import ops

from kerasreg._keras.fused import fused_draw, is_static
from kerasreg.random._key import Key, absorb, word

# How finely a rate is resolved: masks compare this many random bits.
RATE_BITS = 24
# The prime next to 2³²/φ, with φ the golden ratio.
_ROW = 0x9E3779B1


def bits(shape: Any, key: Key) -> Any:
    """Draws 32 random bits for each element.

    Args:
        shape: shape of the result; entries may be scalar tensors.
        key: a key, from `kerasreg.random.key`.

    Returns:
        A uint32 tensor. The element at `i` on the last axis, and at `r` on all others (in
        row-major order), is a hash of the key and `0x9E3779B1·r + i`, modulo 2³². So a wider
        tensor has the bits of a narrower one, and more beside these. Axes of length 1 do not
        count.

    Example:

    >>> import kerasreg
    >>> kerasreg.random.bits((2, 3), kerasreg.random.key(7)).shape
    TensorShape([2, 3])
    """
    words = hashed_words(shape, key)
    # The last product of the hash mixes the low bits least.
    return ops.bitwise_xor(words, ops.right_shift(words, word(14)))


def hashed_words(shape: Any, key: Key) -> Any:
    """Words of 32 bits, whose high bits are the best.

    The constants and shifts are those of `triple32` (C. Wellons, "Prospecting
    for Hash Functions", 2018), whose bias is near the least that a hash can
    have. The second word of the key enters after the first product, so that no
    two keys draw shifted copies of each other.
    """
    first, second = absorb(absorb((key.first, key.second), key.before_last), key.last)
    x = _counters(shape) + word(first)
    x = ops.bitwise_xor(x, ops.right_shift(x, word(17))) * word(0xED5AD4BB)
    x = ops.bitwise_xor(x, ops.right_shift(x, word(11))) + word(second)
    x = x * word(0xAC4C1B51)
    x = ops.bitwise_xor(x, ops.right_shift(x, word(15))) * word(0x31848BAB)
    return ops.reshape(x, shape)


def _counters(shape: Any) -> Any:
    """A number for each element, which is the same in a wider tensor.

    The rows are 2³²/φ apart, modulo 2³². Of all distances this one lets rows come close to each
    other last: no two elements have the same number in a tensor of fewer than 2·10⁸ elements.
    """
    # Maps in either order of their axes, (rows, 1, maps) and (rows, maps, 1), are the same.
    shape = tuple(length for length in shape if not (isinstance(length, int) and length == 1))
    last = _numbers(shape[-1:])
    if len(shape) < 2:
        return last
    rows = _numbers(shape[:-1]) * word(_ROW)
    return ops.expand_dims(rows, -1) + ops.expand_dims(last, 0)


def _numbers(shape: Any) -> Any:
    return ops.cast(ops.arange(_product(shape), dtype="int32"), "uint32")


def _product(shape: Any) -> Any:
    """The number of elements: a Python integer where all entries are integers, else a tensor."""
    if is_static(shape):
        return math.prod(shape)
    return ops.prod(ops.stack([ops.cast(length, "int32") for length in shape]))


def keep_mask(shape: Any, rate: Any, key: Key) -> tuple[Any, Any]:
    """Draws the mask of a dropout, and the factor that scales the kept elements.

    An element is dropped when its 24 random bits are below `round(rate·2²⁴)`. (These bits are
    the high ones of the hash before the last step, not those of `bits`.) The rate is resolved
    to 2⁻²⁴ (6e-8). The scale is the inverse of the keep probability *after* that rounding, so
    that expectations are exact.

    Args:
        shape: shape of the mask; entries may be scalar tensors.
        rate: drop probability, a number or a scalar tensor from 0 to 1.
        key: a key, from `kerasreg.random.key`.

    Returns:
        `(mask, scale)`: a boolean tensor, true where kept, and a float32
        scalar, `1 / (1 - rate)`; 0 where `rate` is 1.

    Example:

    >>> import kerasreg
    >>> mask, scale = kerasreg.random.keep_mask((4,), 0.5, kerasreg.random.key(7))
    >>> float(scale)
    2.0
    """
    return _keep_mask(ops.cast(rate, "float32"), key, shape=shape)


@fused_draw
def _keep_mask(rate: Any, key: Key, shape: Any) -> tuple[Any, Any]:
    levels = 2**RATE_BITS
    # Multiplying a float32 by a power of two is exact; only `round` rounds.
    dropped = ops.cast(ops.round(rate * float(levels)), "int32")
    drawn = ops.cast(ops.right_shift(hashed_words(shape, key), word(32 - RATE_BITS)), "int32")
    kept = ops.cast(levels - dropped, "float32")
    # No division by 0 at rate 1, where the numerator is 0 too.
    scale = ops.minimum(kept, 1.0) * float(levels) / ops.maximum(kept, 1.0)
    return ops.greater_equal(drawn, dropped), scale
