"""Sums and norms of arrays, of which penalties are made.

These functions have gradients that are finite everywhere, and take weights as well as
batches of activities.
"""

from __future__ import annotations

import math
from typing import Any

from keras import ops

Axis = int | tuple[int, ...]


def total(terms: Any) -> Any:
    """The sum of numbers >= 0, a scalar.

    The sum goes by way of vectors where the static size allows it: XLA adds up to one scalar
    with one number at a time.
    """
    # A length that is not known may be None, or an object of JAX's.
    known = all(isinstance(length, int) for length in terms.shape)
    size = math.prod(terms.shape) if known else 0
    if size < 4096 or size % 8:
        return ops.sum(terms)
    # XLA would join the two sums to one, if nothing stood between.
    return ops.sum(ops.maximum(ops.sum(ops.reshape(terms, (8, -1)), axis=0), 0.0))


@ops.custom_gradient
def absolute_sum(w: Any) -> Any:
    """`Σ|w|` over all elements, a scalar."""

    # The gradient in one pass: that of a sum is written out by TensorFlow first.
    def gradient(*arguments: Any, upstream: Any = None) -> Any:
        return (arguments[0] if upstream is None else upstream) * ops.sign(w)

    return total(ops.abs(w)), gradient


@ops.custom_gradient
def half_square_sum(w: Any) -> Any:
    """`½·Σw²` over all elements, a scalar."""

    def gradient(*arguments: Any, upstream: Any = None) -> Any:
        return (arguments[0] if upstream is None else upstream) * w

    return 0.5 * total(ops.square(w)), gradient


def norm(v: Any, axes: tuple[int, ...]) -> Any:
    """The Euclidean norm over `axes`, which stay with length 1.

    The gradient at zero is zero, an element of the subdifferential. Numbers whose squares
    are below the smallest number of their dtype count as zero.
    """
    squares = ops.sum(ops.square(v), axis=axes, keepdims=True)
    positive = squares > 0.0
    # Twice: the gradient of what `where` leaves out must be finite too.
    return ops.where(positive, ops.sqrt(ops.where(positive, squares, 1.0)), 0.0)


def check_axis(axis: Any) -> Axis:
    """Returns an axis or several different ones, or raises a `ValueError`."""
    axes = [axis] if isinstance(axis, int) else axis
    whole = isinstance(axes, list | tuple) and all(type(each) is int for each in axes)
    if not whole or not axes or len(set(axes)) < len(axes):
        raise ValueError(
            "`axis` must be an integer, or several different ones in a tuple. "
            f"Received: axis={axis!r}"
        )
    return axis if isinstance(axis, int) else tuple(axes)


def axes_within(axis: Axis, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes over which a group extends: all of `shape` but `axis`."""
    rank = len(shape)
    kept = (axis,) if isinstance(axis, int) else axis
    if any(not -rank <= each < rank for each in kept):
        raise ValueError(
            f"`axis` must be from {-rank} to {rank - 1} for weights of shape {tuple(shape)}. "
            f"Received: axis={axis!r}"
        )
    return tuple(each for each in range(rank) if each not in {k % rank for k in kept})


def root_of_size(w: Any, axes: tuple[int, ...]) -> Any:
    """`√p` of groups of `p` numbers: static for weights, not for a batch of activities."""
    sizes = ops.shape(w)
    size = math.prod(sizes[axis] for axis in axes)
    return math.sqrt(size) if isinstance(size, int) else ops.sqrt(ops.cast(size, w.dtype))


def norm_sum(w: Any, axis: Axis) -> Any:
    """`√p·Σ_g‖w_g‖` over the groups along `axis`, of `p` weights each."""
    axes = axes_within(axis, w.shape)
    return root_of_size(w, axes) * ops.sum(norm(w, axes)) if axes else absolute_sum(w)
