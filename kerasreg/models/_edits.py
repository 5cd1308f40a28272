"""The result of attaching, replacing or removing regularizers."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import keras

from kerasreg._report import Report
from kerasreg._text_table import table
from kerasreg.regularizers import Penalty


class RegularizerEdit(NamedTuple):
    """One weight, and its regularizer before and after.

    Attributes:
        layer: the path of the layer.
        weight: the kind of the weight, such as `"kernel"`.
        shape: the shape of the weight.
        size: how many numbers the weight has.
        before: the regularizer before, as text; `"-"` for none.
        after: the regularizer after, as text.
        note: where the regularizer has less effect than one might think; empty elsewhere.
    """

    layer: str
    weight: str
    shape: tuple[int, ...]
    size: int
    before: str
    after: str
    note: str


@dataclasses.dataclass(frozen=True)
class RegularizerEdits(Report):
    """The weights whose regularizer was attached, replaced or removed.

    `str` of it is a table with the number of weights, `len` that number, and a loop over it
    gives the rows.

    Attributes:
        rows: a `RegularizerEdit` for each weight.
    """

    rows: tuple[RegularizerEdit, ...]

    def __str__(self) -> str:
        has_notes = any(row.note for row in self.rows)
        titles = RegularizerEdit._fields if has_notes else RegularizerEdit._fields[:-1]
        rows = [row[: len(titles)] for row in self.rows]
        total = sum(row.size for row in self.rows)
        return f"{table(titles, rows)}\nweights: {len(self)}, numbers in them: {total}"


def named(regularizer: Any) -> str:
    """A regularizer in a word, with its strength where it has one."""
    if regularizer is None:
        return "-"
    name = getattr(regularizer, "__name__", type(regularizer).__name__)
    if not isinstance(regularizer, Penalty):
        return str(name)
    if regularizer.schedule is not None:
        return f"{name}({type(regularizer.schedule).__name__})"
    parts = getattr(regularizer, "penalties", None)
    strength = f"{float(keras.ops.convert_to_numpy(regularizer.strength)):.3g}"
    if parts is None:
        return f"{name}({strength})"
    factor = "" if strength == "1" else f"{strength} * "
    return f"{factor}({' + '.join(map(named, parts))})"
