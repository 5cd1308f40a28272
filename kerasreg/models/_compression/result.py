"""What `compress` made, as a table."""

from __future__ import annotations

from typing import NamedTuple

import keras

from kerasreg._text_table import table


class LayerWidth(NamedTuple):
    """A layer of which channels were cut: how many it gave and gives."""

    layer: str
    before: int
    after: int


class BlockedLayer(NamedTuple):
    """A layer that holds constant channels before it, how many, and why."""

    layer: str
    channels: int
    reason: str


class Compressed(NamedTuple):
    """What `compress` made; `str` of it is two tables.

    `model` is the smaller model; `widths` says which layers got narrower, `held` which
    layers could not be followed though channels before them are constant.
    `parameters` counts them before and after.
    """

    model: keras.Model
    widths: tuple[LayerWidth, ...]
    held: tuple[BlockedLayer, ...]
    parameters: tuple[int, int]

    def __str__(self) -> str:
        before, after = self.parameters
        parts = [table(LayerWidth._fields, self.widths)] if self.widths else []
        parts += [table(BlockedLayer._fields, self.held)] if self.held else []
        return "\n\n".join([*parts, f"parameters: {before} before, {after} after"])
