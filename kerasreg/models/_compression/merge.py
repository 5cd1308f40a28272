"""Layers that join tensors, or lay one out anew, when a model gets smaller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kerasreg._keras.internals import operation_classes
from kerasreg.models._compression.channels import Channels, Tensor
from kerasreg.models._compression.rule import LayerRule, Shape

_MERGED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Add": lambda parts: parts.sum(axis=0),
    "Subtract": lambda parts: parts[0] - parts[1],
    "Average": lambda parts: parts.mean(axis=0),
    "Maximum": lambda parts: parts.max(axis=0),
    "Minimum": lambda parts: parts.min(axis=0),
    # A factor of zero makes zero of what varies.
    "Multiply": lambda parts: np.where((parts == 0).any(axis=0), 0.0, np.prod(parts, axis=0)),
}
# As layers, and as functions: `x + y` of two tensors. `keras.ops.average` is a mean over an axis.
MERGING = (
    *(getattr(keras.layers, name) for name in _MERGED),
    *operation_classes(tuple(name for name in _MERGED if name != "Average")),
)


class Merging(LayerRule):
    """A layer that joins tensors place by place: their channels stay or go together."""

    @staticmethod
    def takes(inputs: list[Tensor], shape: Shape) -> bool:
        """Whether all are tensors, and of one width: one channel beside many is of all."""
        widths = {len(part.channels) for part in inputs}
        return len(inputs) > 1 and bool(shape) and widths == {shape[-1]}

    def analyse(self, channels: Channels) -> Tensor:
        """The channels of all."""
        first = self.inputs[0].channels
        for part in self.inputs[1:]:
            channels.unite(first, part.channels)
        parts = np.stack([part.constant for part in self.inputs])
        return Tensor(first, _MERGED[type(self.layer).__name__](parts), self.shape)


class Concatenating(LayerRule):
    """`Concatenate`: along the channels, or along another axis."""

    @staticmethod
    def takes(inputs: list[Tensor], shape: Shape) -> bool:
        """Whether all are tensors."""
        return bool(inputs)

    def analyse(self, channels: Channels) -> Tensor:
        """The channels of all, one behind another or together."""
        if self.layer.axis in (-1, len(self.shape)):
            joined = np.concatenate([part.channels for part in self.inputs])
            constant = np.concatenate([part.constant for part in self.inputs])
            return Tensor(joined, constant, self.shape)
        first = self.inputs[0].channels
        for part in self.inputs[1:]:
            channels.unite(first, part.channels)
        parts = np.stack([part.constant for part in self.inputs])
        return Tensor(
            first, np.where((parts == parts[0]).all(axis=0), parts[0], np.nan), self.shape
        )


class Flattening(LayerRule):
    """`Flatten`: each channel then has many places."""

    def analyse(self, channels: Channels) -> Tensor:
        """The same channels, once for each place."""
        channel, constant, _ = self.inputs[0]
        times = int(self.shape[-1] or 0) // max(len(channel), 1)
        return Tensor(np.tile(channel, times), np.tile(constant, times), self.shape)


class Reshaping(LayerRule):
    """A `Reshape` that leaves the last axis, or that splits it where the channels are new.

    Places that then are of one channel stay or go together.
    """

    @staticmethod
    def has_width(layer: Any) -> bool:
        """The target may end with it."""
        return True

    def analyse(self, channels: Channels) -> Tensor:
        """The channels of the new last axis."""
        channel, constant, shape = self.inputs[0]
        width, flat = int(self.shape[-1] or 0), len(shape) == 1
        if len(channel) == width:
            return Tensor(channel, constant, self.shape)
        if not flat or not width:  # Channels become places.
            channels.keep(channel)
            made = channels.new(width)
            channels.keep(made)
            return Tensor(made, np.full(width, np.nan), self.shape)
        rows = channel.reshape(-1, width)
        for row in rows[1:]:
            channels.unite(rows[0], row)
        constants = constant.reshape(-1, width)
        same = (constants == constants[0]).all(axis=0)
        return Tensor(rows[0], np.where(same, constants[0], np.nan), self.shape)

    def config(self, stays: np.ndarray) -> dict[str, Any]:
        """A smaller last axis."""
        target = list(self.layer.target_shape)
        if target and target[-1] != -1:
            target[-1] = int(stays[self.output.channels].sum())
        return {"target_shape": target}
