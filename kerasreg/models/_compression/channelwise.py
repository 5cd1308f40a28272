"""Layers that hand channels on, each by itself, when a model gets smaller."""

from __future__ import annotations

from typing import Any

import numpy as np

from kerasreg.models._compression.channels import Channels, Tensor
from kerasreg.models._compression.rule import LayerRule, applied, array, is_elementwise


class PassThrough(LayerRule):
    """A layer that gives constants as they are: dropout when it does not train, pooling."""

    @staticmethod
    def has_width(layer: Any) -> bool:
        """The shape of a mask of dropout may end with it."""
        return bool(getattr(layer, "noise_shape", None))

    def config(self, stays: np.ndarray) -> dict[str, Any]:
        """A smaller last axis of the mask."""
        mask = getattr(self.layer, "noise_shape", None)
        if not mask or mask[-1] != len(self.inputs[0].channels):
            return {}
        return {"noise_shape": (*mask[:-1], int(stays[self.inputs[0].channels].sum()))}

    def analyse(self, channels: Channels) -> Tensor:
        """The same channels."""
        channel, constant, _ = self.inputs[0]
        return Tensor(channel, constant, self.shape)


class ZeroPadded(PassThrough):
    """A layer that puts zeros around: no constant but zero stays one."""

    def analyse(self, channels: Channels) -> Tensor:
        """The same channels."""
        channel, constant, _ = self.inputs[0]
        return Tensor(channel, np.where(constant == 0, 0.0, np.nan), self.shape)


class Elementwise(PassThrough):
    """An activation as a layer."""

    @staticmethod
    def unsupported_reason(layer: Any) -> str | None:
        """Why such a layer is not followed, or None."""
        known = is_elementwise(getattr(layer, "activation", None))
        return None if known else "its activation mixes channels"

    def analyse(self, channels: Channels) -> Tensor:
        """The same channels."""
        channel, constant, _ = self.inputs[0]
        return Tensor(channel, applied(self.layer.call, constant, self.layer), self.shape)


class ByChannel(LayerRule):
    """A layer with weights for each channel, which is the last axis of each."""

    def assign(self, new: Any, stays: np.ndarray) -> None:
        """The weights of the channels that stay."""
        kept = stays[self.inputs[0].channels]
        for mine, theirs in zip(new.weights, self.layer.weights, strict=True):
            mine.assign(np.array(theirs)[..., kept])


class Normalizing(ByChannel):
    """`BatchNormalization` over the last axis."""

    @staticmethod
    def unsupported_reason(layer: Any) -> str | None:
        """Why such a layer is not followed, or None."""
        last = layer.axis in (-1, layer.input_spec.ndim - 1)
        return None if last else "its channels are not the last axis"

    def analyse(self, channels: Channels) -> Tensor:
        """A factor of zero makes a constant too."""
        layer, (channel, constant, _) = self.layer, self.inputs[0]
        deviation = np.sqrt(array(layer.moving_variance) + layer.epsilon)
        factor = array(layer.gamma, 1.0) / deviation
        difference = np.where(factor == 0, 0.0, constant - array(layer.moving_mean))
        return Tensor(channel, factor * difference + array(layer.beta), self.shape)


class PReLURule(ByChannel):
    """`PReLU`, whose slopes may differ between places."""

    def analyse(self, channels: Channels) -> Tensor:
        """Constant where all places have the same."""
        channel, constant, _ = self.inputs[0]
        slopes = array(self.layer.alpha).reshape(-1, len(channel))
        value = np.where(constant < 0, slopes * constant, constant)
        same = (value == value[:1]).all(axis=0)
        return Tensor(channel, np.where(same, value[0], np.nan), self.shape)


class Depthwise(LayerRule):
    """A `DepthwiseConv`: each channel makes `depth_multiplier` others, which stay with it."""

    @staticmethod
    def unsupported_reason(layer: Any) -> str | None:
        """Why such a layer is not followed, or None."""
        known = is_elementwise(layer.activation)
        return LayerRule.unsupported_reason(layer) if known else "its activation mixes channels"

    def analyse(self, channels: Channels) -> Tensor:
        """A window of zeros makes a constant too."""
        channel, constant, _ = self.inputs[0]
        kernel = array(self.layer.kernel)
        window = tuple(range(kernel.ndim - 2))
        self._times = kernel.shape[-1]
        self.pads = bool(np.prod(kernel.shape[:-2]) > 1 and self.layer.padding != "valid")
        if self.pads:
            # Around the edge, a window sees zeros beside a constant.
            constant = np.where(constant == 0, 0.0, np.nan)
        zero = ~(kernel != 0).any(axis=window).ravel()
        value = np.where(zero, 0.0, np.repeat(constant, self._times)) * kernel.sum(window).ravel()
        value = applied(self.layer.activation, value + array(self.layer.bias), self.layer)
        return Tensor(np.repeat(channel, self._times), value, self.shape)

    def assign(self, new: Any, stays: np.ndarray) -> None:
        """The windows of the channels that stay."""
        kept = stays[self.inputs[0].channels]
        new.kernel.assign(np.array(self.layer.kernel)[..., kept, :])
        if new.bias is not None:
            new.bias.assign(np.array(self.layer.bias)[np.repeat(kept, self._times)])
