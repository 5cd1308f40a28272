"""Kernels kept in 16 or 8 bits and widened where the model reads them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kerasreg._keras.fans import kernel_fans
from kerasreg._keras.internals import walk_layers
from kerasreg._keras.member_stack import MemberStack
from kerasreg._keras.weights import own_weights
from kerasreg._validation import check_choice

MODES = ("float16", "int8")
_LARGEST = 127  # Symmetric: -128 is left out, so that 0 stays 0.


class StoredWeights(tf.Module):
    """The weights of a model, those with two or more axes in fewer bits.

    `"float16"` rounds them to half precision. `"int8"` to

        q = round(w / s),    s = max |w| / 127,

    with a scale `s` for each output of the layer (each row of an embedding), after Jacob et al.
    2018, arXiv:1712.05877. The model computes with `q s` in the type that it had; zeros stay zeros.

    Args:
        model: a built model; it is not changed.
        mode: `"float16"` or `"int8"`.

    Raises:
        ValueError: if there is nothing to store in fewer bits, or a weight is not finite or is
            too large for half precision.
    """

    def __init__(self, model: keras.Model, mode: str) -> None:
        check_choice("quantization", mode, MODES)
        super().__init__(name="stored_weights")
        self._kernels: list[Any] = []
        self.stored: list[tf.Variable] = []
        self.scales: list[tf.Variable] = []
        for layer, kernel, like in _kernels(model):
            values = ops.convert_to_numpy(ops.cast(kernel, "float32"))
            stored, scale = _narrow(layer, kernel, like, values, mode)
            self._kernels.append(kernel)
            self.stored.append(tf.Variable(stored, trainable=False))
            self.scales.append(tf.Variable(scale, trainable=False))
        if not self.stored:
            raise ValueError(
                "`quantization` must be None for a model without floating weights of two or more "
                f"axes. Received: quantization={mode!r}"
            )
        narrow = {id(kernel) for kernel in self._kernels}
        # A SavedModel holds the variables that are found from here.
        self.others = [weight.value for weight in model.variables if id(weight) not in narrow]
        # A SavedModel keeps the tables of the model, such as those of strings, which it finds from
        # here. Of weights it has those that its functions read.
        self._model = model

    def track(self, archive: keras.export.ExportArchive) -> None:
        """Adds what the model needs in a SavedModel, but not the weights that it has here."""
        archive.track(self)

    @property
    def bytes(self) -> int:
        """Of all that is stored."""
        variables = [*self.stored, *self.scales, *self.others]
        return sum(variable.shape.num_elements() * variable.dtype.size for variable in variables)

    def read(self) -> AbstractContextManager[Any]:
        """Where the model reads the stored weights in place of its own."""
        stored = zip(self._kernels, self.stored, self.scales, strict=True)
        return keras.StatelessScope(
            [
                (kernel, tf.cast(tf.cast(value, scale.dtype) * scale, kernel.dtype))
                for kernel, value, scale in stored
            ]
        )


def _kernels(model: keras.Model) -> Iterator[tuple[Any, Any, Any]]:
    """Each floating weight with two or more axes, once, and what a layer owns: it, or its like.

    A weight of several members of an ensemble is like one of a member, behind an axis of members.
    """
    seen = set()
    for layer in walk_layers(model):
        if isinstance(layer, MemberStack):
            owned = layer.originals()
        else:
            owned = [(weight, weight, layer) for weight in own_weights(layer)]
        for weight, like, owner in owned:
            floating = keras.backend.is_float_dtype(weight.dtype)
            if floating and len(like.shape) >= 2 and id(weight) not in seen:
                seen.add(id(weight))
                yield owner, weight, like


def _narrow(layer: Any, kernel: Any, like: Any, values: np.ndarray, mode: str) -> tuple[Any, Any]:
    """Values in fewer bits, and by what they are multiplied when they are read."""
    largest = float(np.max(np.abs(values), initial=0.0))
    limit = float(np.finfo("float16").max) if mode == "float16" else float(np.finfo("float32").max)
    if not largest <= limit:
        raise ValueError(
            f"`quantization` must be None for weights that are not finite or exceed {limit:.3g}. "
            f"Received: quantization={mode!r} for {kernel.path} with {largest:.3g}"
        )
    if mode == "float16":
        return values.astype("float16"), np.float32(1)
    axes = kernel_fans(layer, like.name, like.shape).summed
    if isinstance(layer, keras.layers.Embedding):
        axes = (1,)
    # Each member has scales of its own.
    axes = tuple(axis + len(kernel.shape) - len(like.shape) for axis in axes)
    scale = np.max(np.abs(values), axis=axes, keepdims=True, initial=0.0) / _LARGEST
    # What is all zero, or so small that its scale is zero, stays zero.
    scale = np.where(scale > 0, scale, 1).astype("float32")
    return np.rint(values / scale).astype("int8"), scale
