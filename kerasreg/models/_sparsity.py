"""The share of a model that is exactly zero."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import keras
import numpy as np

from kerasreg._keras.layers import places
from kerasreg._keras.weights import own_weights
from kerasreg._report import Report
from kerasreg._text_table import table
from kerasreg.models._matching import argument_of, check_built

_layers = keras.layers
_CONVOLUTIONS = (_layers.Conv1D, _layers.Conv2D, _layers.Conv3D)
_TRANSPOSED = (_layers.Conv1DTranspose, _layers.Conv2DTranspose, _layers.Conv3DTranspose)


class SparsityRow(NamedTuple):
    """One weight, and how much of the weight is exactly zero.

    Attributes:
        layer: the path of the layer.
        weight: the kind of the weight, such as `"kernel"`.
        shape: the shape of the weight.
        size: how many numbers the weight has.
        zeros: how many of the numbers are zero.
        share: the share of zeros, from 0 to 1.
        zero_inputs: how many inputs of the layer are multiplied by zeros alone; None where
            that is not known.
        zero_units: how many units (filters, columns of an embedding) are made with zeros
            alone; None where that is not known.
        bytes: how many bytes the weight takes as it is, zeros included.
    """

    layer: str
    weight: str
    shape: tuple[int, ...]
    size: int
    zeros: int
    share: float
    zero_inputs: int | None
    zero_units: int | None
    bytes: int


@dataclasses.dataclass(frozen=True)
class SparsityReport(Report):
    """The zeros of a model's weights; `str` of it is a table with the totals.

    Attributes:
        rows: a `SparsityRow` for each weight.
    """

    rows: tuple[SparsityRow, ...]

    @property
    def size(self) -> int:
        """How many numbers all weights have."""
        return sum(row.size for row in self.rows)

    @property
    def zeros(self) -> int:
        """How many numbers of all weights are zero."""
        return sum(row.zeros for row in self.rows)

    @property
    def share(self) -> float:
        """The share of zeros, from 0 to 1."""
        return self.zeros / self.size if self.size else 0.0

    @property
    def bytes(self) -> int:
        """How many bytes all weights take, zeros included."""
        return sum(row.bytes for row in self.rows)

    def __str__(self) -> str:
        total = (
            f"total: {self.zeros} of {self.size} numbers are zero ({self.share:.1%}), "
            f"{self.bytes} bytes"
        )
        return f"{table(SparsityRow._fields, self.rows)}\n{total}"


def sparsity_report(model: keras.Model) -> SparsityReport:
    """Counts what is exactly zero in a model: weights, inputs of layers, and units.

    A zero is a number that equals 0; nothing is rounded. A unit of a kernel counts if
    all numbers by which its inputs are multiplied are zero, and its bias, where there is
    one, too; an input if all by which it is multiplied are. Both are known of kernels of
    dense layers, also those of attention, and convolutions, and of embeddings, whose
    inputs are the tokens; a depthwise kernel has units and no inputs, since each channel
    is its own.

    What `kerasreg.models.compress` can cut out depends also on what is between layers.

    Args:
        model: a built model of any kind, also with nested ones. A weight that is
            shared counts once. Strengths, rates, seeds and metrics are no weights.

    Returns:
        A `SparsityReport`: `rows` for each weight, and `size`, `zeros`, `share` and
        `bytes` of all.

    Raises:
        ValueError: if the model is not built or has no weights.

    Example:

    >>> import keras, numpy as np, kerasreg
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="a")])
    >>> kernel = np.ones((4, 3))
    >>> kernel[0], kernel[:, 2] = 0.0, 0.0
    >>> model.set_weights([kernel, np.zeros(3)])
    >>> print(kerasreg.models.sparsity_report(model))
    layer  weight  shape   size  zeros  share  zero_inputs  zero_units  bytes
    a      kernel  (4, 3)    12      6    0.5            1           1     48
    a      bias    (3,)       3      3      1            -           -     12
    total: 9 of 15 numbers are zero (60.0%), 60 bytes
    """
    check_built(model)
    rows: list[SparsityRow] = []
    done: set[int] = set()
    for place in places(model, None):
        own = own_weights(place.layer)
        bias = next((_value(v) for v in own if v.name == "bias"), None)
        for variable in own:
            if id(variable) in done:
                continue
            done.add(id(variable))
            kind = argument_of(place.layer, variable)[1]
            value = _value(variable)
            zeros = int(np.sum(value == 0))
            inputs, units = _axes(place.layer, kind, value.ndim)
            rows.append(
                SparsityRow(
                    place.path,
                    kind,
                    value.shape,
                    value.size,
                    zeros,
                    zeros / max(value.size, 1),
                    _count(value, inputs),
                    _count(value, units, None if _has_no_bias(place.layer, kind) else bias),
                    value.nbytes,
                )
            )
    return SparsityReport(tuple(rows))


def _value(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable))


def _has_no_bias(layer: Any, kind: str) -> bool:
    """Whether the bias of a layer comes after another kernel of it."""
    separable = isinstance(layer, (_layers.SeparableConv1D, _layers.SeparableConv2D))
    return separable and kind == "depthwise_kernel"


_Axes = tuple[int, ...] | None


def _axes(layer: Any, kind: str, rank: int) -> tuple[_Axes, _Axes]:
    """The axes of a weight that count the inputs of its layer, and its units."""
    last, before = rank - 1, rank - 2
    if kind == "depthwise_kernel":
        return None, (before, last)
    if kind == "pointwise_kernel" or (isinstance(layer, _layers.Embedding) and rank == 2):
        return (before,), (last,)
    if kind != "kernel":
        return None, None
    if isinstance(layer, _layers.EinsumDense):
        # Such as "abc,cde->abde", in which the second is that of the kernel.
        inputs, _, output = layer.equation.partition("->")
        letters = inputs.split(",")[1].strip()
        units = tuple(k for k, letter in enumerate(letters) if letter in output)
        return tuple(k for k in range(rank) if k not in units), units
    if isinstance(layer, _TRANSPOSED):
        return (last,), (before,)
    if isinstance(layer, _CONVOLUTIONS):
        # In groups, an input channel is multiplied by a part of the kernel.
        return (before,) if layer.groups == 1 else None, (last,)
    return ((before,), (last,)) if isinstance(layer, _layers.Dense) else (None, None)


def _count(value: np.ndarray, axes: _Axes, bias: np.ndarray | None = None) -> int | None:
    """Along how many places of the axes all other numbers, and the bias, are zero."""
    if axes is None:
        return None
    others = tuple(k for k in range(value.ndim) if k not in axes)
    zero = np.all(value == 0, axis=others).reshape(-1)
    if bias is not None:
        # A bias that is none for each unit is one for several.
        each = bias.size == math.prod(value.shape[k] for k in axes)
        zero = zero & ((bias == 0).reshape(-1) if each else np.all(bias == 0))
    return int(np.sum(zero))
