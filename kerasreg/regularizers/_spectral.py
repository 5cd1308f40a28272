"""Penalties on a weight as a matrix: low rank, bounded gain, orthogonal columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kerasreg.regularizers._penalty import Penalty
from kerasreg.regularizers._proximal_operators import (
    clip_largest,
    of_singular_values,
    soft_threshold,
)


def as_matrix(w: Any) -> Any:
    """`(inputs, outputs)`: all axes but the last one joined.

    A `Dense` kernel stays as it is, a convolution kernel gets a column for each filter, and a
    vector is one column.
    """
    return ops.reshape(w, (-1, 1 if len(w.shape) < 2 else w.shape[-1]))


def sum_of_singular_values(w: Any, largest: int | None = None) -> Any:
    """The sum of the singular values of `as_matrix(w)`, or of the `largest` ones."""
    matrix = as_matrix(w)
    u, _, vt = ops.svd(ops.stop_gradient(matrix), full_matrices=False)
    # Equal to the sum, with the gradient that it has, `u·vᵀ`; the derivative of the
    # decomposition itself is not finite where singular values are equal.
    return ops.sum(matrix * ops.matmul(u[:, :largest], vt[:largest, :]))


def prox_of_singular_values(v: Any, operator: Callable[[Any], Any]) -> Any:
    """Applies a proximal operator to the singular values of `as_matrix(v)`."""
    return ops.reshape(of_singular_values(as_matrix(v), operator), v.shape)


@keras.saving.register_keras_serializable(package="kerasreg")
class Nuclear(Penalty):
    """The nuclear norm `strength * Σσᵢ`: a kernel gets a low rank.

    σ are the singular values of the weights as a matrix `(inputs, outputs)`, in which all axes
    but the last one are joined.

    Args:
        strength: λ, a finite number >= 0 or a schedule of such numbers.
        name: optional name of the penalty.

    Returns:
        Called with a tensor of any shape: a scalar of its dtype; float32 for
        half precision. Each call decomposes the matrix, in about
        `inputs * outputs * min(inputs, outputs)` operations.

    Raises:
        ValueError: if the strength is negative, or a schedule that becomes negative.

    Fazel 2002; its proximal operator: Cai, Candès and Shen 2010.

    Example:

    >>> import numpy as np, kerasreg
    >>> penalty = kerasreg.regularizers.Nuclear(1.0)
    >>> round(float(penalty(np.diag([3.0, 1.0]))), 5)
    4.0
    >>> penalty.prox(np.diag([3.0, 1.0]), t=2.0).numpy().round(5).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """

    takes_step_sizes = False

    def unit_penalty(self, w: Any) -> Any:
        return sum_of_singular_values(w)

    def unit_prox(self, v: Any, t: Any) -> Any:
        return prox_of_singular_values(v, lambda s: soft_threshold(s, t))


@keras.saving.register_keras_serializable(package="kerasreg")
class SpectralNorm(Penalty):
    """The spectral norm `strength * σ₁`: how much a kernel can amplify.

    σ₁ is the largest singular value of the weights as a matrix `(inputs, outputs)`, in which all
    axes but the last one are joined.

    Args:
        strength: λ, a finite number >= 0 or a schedule of such numbers.
        name: optional name of the penalty.

    Returns:
        Called with a tensor of any shape: a scalar of its dtype; float32 for
        half precision. Each call decomposes the matrix exactly; the paper iterates.

    Raises:
        ValueError: if the strength is negative, or a schedule that becomes negative.

    Yoshida and Miyato 2017 penalise ½·σ₁². `keras.layers.SpectralNormalization`
    divides by σ₁ instead.

    Example:

    >>> import numpy as np, kerasreg
    >>> penalty = kerasreg.regularizers.SpectralNorm(1.0)
    >>> round(float(penalty(np.diag([3.0, 1.0]))), 5)
    3.0
    """

    takes_step_sizes = False

    def unit_penalty(self, w: Any) -> Any:
        return sum_of_singular_values(w, largest=1)

    def unit_prox(self, v: Any, t: Any) -> Any:
        return prox_of_singular_values(v, lambda s: clip_largest(s, t))


@keras.saving.register_keras_serializable(package="kerasreg")
class Orthogonal(Penalty):
    """Soft orthogonality `strength * ‖WᵀW - I‖²`: columns of length 1 at right angles.

    W are the weights as a matrix `(inputs, outputs)`, in which all axes but the last one are
    joined. A matrix with more columns than rows cannot have orthogonal columns: there the
    penalty is `‖WWᵀ - I‖²`, of the rows. There is no proximal operator.

    Args:
        strength: λ, a finite number >= 0 or a schedule of such numbers.
        name: optional name of the penalty.

    Returns:
        Called with a tensor of any shape: a scalar of its dtype; float32 for
        half precision.

    Raises:
        ValueError: if the strength is negative, or a schedule that becomes negative.

    Bansal, Chen and Wang 2018. `keras.regularizers.OrthogonalRegularizer` scales the columns to
    length 1 first, and so penalises the angles only.

    Example:

    >>> import numpy as np, kerasreg
    >>> float(kerasreg.regularizers.Orthogonal(0.5)(np.diag([2.0, 1.0])))
    4.5
    """

    def unit_penalty(self, w: Any) -> Any:
        matrix = as_matrix(w)
        rows, columns = matrix.shape
        if rows is not None and columns > rows:
            matrix = ops.transpose(matrix)
        gram = ops.matmul(ops.transpose(matrix), matrix)
        return ops.sum(ops.square(gram - ops.eye(gram.shape[0], dtype=gram.dtype)))
