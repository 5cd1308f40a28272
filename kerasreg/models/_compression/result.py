"""The result of `compress`."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import keras

from kerasreg._report import Report
from kerasreg._text_table import table


class LayerWidth(NamedTuple):
    """A layer of which channels were cut.

    Attributes:
        layer: the path of the layer.
        before: how many channels the layer gave.
        after: how many channels the layer gives.
    """

    layer: str
    before: int
    after: int


class BlockedLayer(NamedTuple):
    """A layer past which constant channels could not be followed, so that they stay.

    Attributes:
        layer: the path of the layer.
        channels: how many constant channels the layer is given.
        reason: why they could not be followed.
    """

    layer: str
    channels: int
    reason: str


@dataclasses.dataclass(frozen=True)
class Compressed(Report):
    """A compressed model, and where channels were cut; `str` of it is two tables.

    Attributes:
        rows: a `LayerWidth` for each layer that got narrower.
        blocked: a `BlockedLayer` for each layer that keeps constant channels in the model.
        parameters: how many parameters the model had, and how many the new one has.
        model: the smaller model.
    """

    rows: tuple[LayerWidth, ...]
    blocked: tuple[BlockedLayer, ...]
    parameters: tuple[int, int]
    model: keras.Model

    objects = ("model",)

    def __str__(self) -> str:
        before, after = self.parameters
        parts = [table(LayerWidth._fields, self.rows)] if self.rows else []
        parts += [table(BlockedLayer._fields, self.blocked)] if self.blocked else []
        return "\n\n".join([*parts, f"parameters: {before} before, {after} after"])
