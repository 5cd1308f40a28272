"""Keys: hashes of integers, on which draws depend.

The mixing function belongs to the bias-optimised `lowbias32` family of integer hashes
(C. Wellons, "Prospecting for Hash Functions", 2018). The function is made for masks, not for
cryptography.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import keras
from keras import ops


class Key(NamedTuple):
    """Four words of 32 bits, each a Python integer or a scalar uint32 tensor.

    The first two hash all words of `key()` but the last two. The last two words follow as they
    are, and are hashed where the bits are drawn: there a step that is only known when the
    program runs costs next to nothing.

    Attributes:
        first: a hash of all words but the last two.
        second: another hash of all words but the last two.
        before_last: the word before the last one.
        last: the last word.

    Example:

    >>> import kerasreg
    >>> kerasreg.random.key(7, 8, 9).before_last
    8
    """

    first: Any
    second: Any
    before_last: Any
    last: Any


def word(value: Any) -> Any:
    """An integer scalar as a uint32 tensor, modulo 2³²."""
    if isinstance(value, int):
        return ops.cast(ops.convert_to_tensor(value % 2**32, dtype="uint32"), "uint32")
    return ops.cast(value, "uint32")


def mix(x: Any) -> Any:
    """Hashes integers: a bijection of 32 bits, in which all output bits depend on each input bit.

    `key` is made of this hash. Alone it is for numbers that name the elements of a tensor, such
    as seeds that depend on the features of an example.

    Args:
        x: a uint32 tensor, or a Python integer from 0 to 2³² - 1.

    Returns:
        A uint32 tensor of the shape of `x`, or a Python integer.

    Example:

    >>> import kerasreg
    >>> kerasreg.random.mix(0), kerasreg.random.mix(1)
    (0, 114555507)
    """
    if isinstance(x, int):
        x ^= x >> 16
        x = x * 0x21F0AAAD & 0xFFFFFFFF
        x ^= x >> 15
        x = x * 0xD35A2D97 & 0xFFFFFFFF
        return x ^ x >> 15
    x = ops.bitwise_xor(x, ops.right_shift(x, word(16)))
    x = x * word(0x21F0AAAD)
    x = ops.bitwise_xor(x, ops.right_shift(x, word(15)))
    x = x * word(0xD35A2D97)
    return ops.bitwise_xor(x, ops.right_shift(x, word(15)))


def absorb(state: tuple[Any, Any], value: Any) -> tuple[Any, Any]:
    """Mixes one more word into two; Python integers stay Python integers."""
    first, second = state
    # Static where all are known while tracing: costs nothing in the program.
    if all(isinstance(part, int) for part in (first, second, value)):
        first = mix(((first ^ value) + 0x9E3779B9) % 2**32)
        return first, mix((second + first) % 2**32)
    first = mix(ops.bitwise_xor(word(first), word(value)) + word(0x9E3779B9))
    return first, mix(word(second) + first)


def key(*words: Any) -> Key:
    """Hashes integers (seed, layer, replica, step, ...) into a key.

    Args:
        *words: integers or scalar integer tensors; modulo 2³², order matters.
            A word that changes while the program runs is cheapest among the last two.

    Returns:
        A `Key`, for `bits`, `keep_mask`, `uniform` and `normal`.

    Example:

    >>> import kerasreg
    >>> key = kerasreg.random.key(seed := 7, step := 0)
    >>> key.last
    0
    """
    plain = [_word_or_integer(value) for value in words]
    # The number of words is hashed too, so that (1,) is not (0, 1).
    state: tuple[Any, Any] = (0x9E3779B9, 0x7F4A7C15)
    state = absorb(state, len(plain))
    for value in plain[:-2]:
        state = absorb(state, value)
    return Key(*state, *[0, 0, *plain][-2:])


def fold_in(key: Key, number: Any) -> Key:
    """Makes another key of a key and an integer, for the parts of one layer or weight.

    Args:
        key: a key, from `kerasreg.random.key`.
        number: an integer or a scalar integer tensor, modulo 2³².

    Returns:
        A `Key`; different numbers give independent draws.

    Example:

    >>> import kerasreg
    >>> key = kerasreg.random.key(7)
    >>> kernel, bias = (kerasreg.random.fold_in(key, part) for part in range(2))
    >>> kernel == bias
    False
    """
    state = absorb((key.first, key.second), _word_or_integer(number))
    return Key(*state, key.before_last, key.last)


def _word_or_integer(value: Any) -> Any:
    """Modulo 2³²: of a Python or NumPy integer a Python integer, else a tensor."""
    try:
        # Not of a tensor, even where it has a value now: its kind must not depend
        # on the execution.
        return word(value) if ops.is_tensor(value) else operator.index(value) % 2**32
    except TypeError:  # A variable.
        return word(value)


def replica_id() -> Any:
    """Returns the number of this replica under `tf.distribute`, else 0.

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
