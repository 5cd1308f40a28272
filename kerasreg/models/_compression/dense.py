"""Layers that mix channels, when a model gets smaller: dense layers, convolutions, lookups."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kerasreg.models._compression.channels import Channels, Consumer, Tensor
from kerasreg.models._compression.rule import LayerRule, Shape, applied, array, is_elementwise


class DenseOrConvRule(LayerRule):
    """`activation(inputs·kernel + bias)`: a `Dense` layer or a convolution.

    The two last axes of the kernel are inputs and outputs.
    """

    @staticmethod
    def unsupported_reason(layer: Any) -> str | None:
        """Why such a layer is not followed, or None."""
        if getattr(layer, "groups", 1) != 1:
            return "its groups divide channels"
        if getattr(layer, "lora_enabled", False) or layer.quantization_mode is not None:
            return "its kernel is stored otherwise"
        return LayerRule.unsupported_reason(layer)

    def analyse(self, channels: Channels) -> Tensor:
        """A unit is constant where all that varies has a weight of zero."""
        layer, inputs = self.layer, self.inputs[0]
        kernel = array(layer.kernel)
        window = tuple(range(kernel.ndim - 2))
        self._sum, looks_at = kernel.sum(axis=window), (kernel != 0).any(axis=window)
        self._outputs = channels.new(kernel.shape[-1])
        # Around the edge, a window sees zeros beside a constant.
        self.pads = padded = bool(np.prod(kernel.shape[:-2]) > 1 and layer.padding != "valid")
        channels.consume(Consumer(inputs, looks_at, self._outputs, folds=not padded))
        if not is_elementwise(layer.activation):
            channels.keep(self._outputs)
            return Tensor(self._outputs, np.full(len(self._outputs), np.nan), self.shape)
        known = (inputs.constant == 0) | (np.isfinite(inputs.constant) & (not padded))
        value = np.where(known, inputs.constant, 0.0) @ self._sum + array(layer.bias)
        varies = looks_at[~known].any(axis=0)
        value = np.where(varies, np.nan, applied(layer.activation, value, layer))
        return Tensor(self._outputs, value, self.shape)

    def _folded(self, stays: np.ndarray) -> np.ndarray:
        """The sum that the inputs which go have given to each output."""
        inputs = self.inputs[0]
        gone = ~stays[inputs.channels] & np.isfinite(inputs.constant)
        return np.where(gone, inputs.constant, 0.0) @ self._sum

    def config(self, stays: np.ndarray) -> dict[str, Any]:
        """Fewer units, and a bias where constants need one."""
        size = "units" if isinstance(self.layer, keras.layers.Dense) else "filters"
        outs = stays[self._outputs]
        changed: dict[str, Any] = {size: int(outs.sum())}
        if self.layer.bias is None and self._folded(stays)[outs].any():
            changed["use_bias"] = True
        return changed

    def assign(self, new: Any, stays: np.ndarray) -> None:
        """Rows and columns that stay, and in the bias what has gone."""
        ins, outs = stays[self.inputs[0].channels], stays[self._outputs]
        new.kernel.assign(np.array(self.layer.kernel)[..., ins, :][..., outs])
        if new.bias is not None:
            new.bias.assign((array(self.layer.bias) + self._folded(stays))[outs])


class EmbeddingRule(LayerRule):
    """An `Embedding`: its inputs are numbers of rows, its columns channels."""

    @staticmethod
    def takes(inputs: list[Tensor], shape: Shape) -> bool:
        """Whether it is given one tensor, of any rank."""
        return len(inputs) == 1

    @staticmethod
    def unsupported_reason(layer: Any) -> str | None:
        """Why such a layer is not followed, or None."""
        stored = getattr(layer, "lora_enabled", False) or layer.quantization_mode is not None
        return "its rows are stored otherwise" if stored else None

    def analyse(self, channels: Channels) -> Tensor:
        """A column is constant where all rows have the same."""
        channels.keep(self.inputs[0].channels)
        rows = array(self.layer.embeddings)
        self._outputs = channels.new(rows.shape[1])
        constant = np.where((rows == rows[:1]).all(axis=0), rows[0], np.nan)
        return Tensor(self._outputs, constant, self.shape)

    def config(self, stays: np.ndarray) -> dict[str, Any]:
        """Fewer columns."""
        return {"output_dim": int(stays[self._outputs].sum())}

    def assign(self, new: Any, stays: np.ndarray) -> None:
        """The columns that stay."""
        new.embeddings.assign(np.array(self.layer.embeddings)[:, stays[self._outputs]])
