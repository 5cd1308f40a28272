"""What `compress` made, as a table."""

from __future__ import annotations

from typing import NamedTuple

import keras

from kerasreg.initializers._record import table


class Width(NamedTuple):
    """A layer of which channels were cut: how many it gave and gives."""

    layer: str
    before: int
    after: int


class Held(NamedTuple):
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
    widths: tuple[Width, ...]
    held: tuple[Held, ...]
    parameters: tuple[int, int]

    def __str__(self) -> str:
        before, after = self.parameters
        parts = [table(Width._fields, self.widths)] if self.widths else []
        parts += [table(Held._fields, self.held)] if self.held else []
        return "\n\n".join([*parts, f"parameters: {before} before, {after} after"])
