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


class LeftOut(NamedTuple):
    """An argument of a layer that holds for the old shape of a weight or an output alone.

    Attributes:
        layer: the path of the layer.
        argument: the name of the argument. In the new layer an initializer is the default of
            its argument, a regularizer or a constraint is None.
        before: what the argument was in the old layer.
        shape: the new shape, which it does not take.
    """

    layer: str
    argument: str
    before: str
    shape: tuple[int | None, ...]


@dataclasses.dataclass(frozen=True)
class Compressed(Report):
    """A compressed model, and where channels were cut; `str` of it is its tables.

    Attributes:
        rows: a `LayerWidth` for each layer that got narrower.
        blocked: a `BlockedLayer` for each layer that keeps constant channels in the model.
        parameters: how many parameters the model had, and how many the new one has.
        model: the smaller model.
        left_out: a `LeftOut` for each argument of a layer that does not take the new shape.
    """

    rows: tuple[LayerWidth, ...]
    blocked: tuple[BlockedLayer, ...]
    parameters: tuple[int, int]
    model: keras.Model
    left_out: tuple[LeftOut, ...] = ()

    objects = ("model",)

    def __str__(self) -> str:
        before, after = self.parameters
        parts = [table(LayerWidth._fields, self.rows)] if self.rows else []
        parts += [table(BlockedLayer._fields, self.blocked)] if self.blocked else []
        parts += [table(LeftOut._fields, self.left_out)] if self.left_out else []
        return "\n\n".join([*parts, f"parameters: {before} before, {after} after"])
