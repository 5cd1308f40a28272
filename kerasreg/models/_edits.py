"""What was changed at a model: rows that print as a table."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras

from kerasreg._text_table import table
from kerasreg.regularizers import Penalty


class RegularizerEdit(NamedTuple):
    """One weight, and its regularizer before and after.

    `weight` is the kind, `size` how many numbers the weight has. `note` says where
    the regularizer has less effect than one might think, and is empty elsewhere.
    """

    layer: str
    weight: str
    shape: tuple[int, ...]
    size: int
    before: str
    after: str
    note: str


class RegularizerEdits(tuple):
    """The rows of an edit of regularizers: a tuple with one row for each weight.

    `attach_regularizer`, `replace_regularizer` and `remove_regularizer` return it.

    `str` of it is an aligned table with the number of weights.
    """

    def __str__(self) -> str:
        has_notes = any(row.note for row in self)
        titles = RegularizerEdit._fields if has_notes else RegularizerEdit._fields[:-1]
        rows = [row[: len(titles)] for row in self]
        total = sum(row.size for row in self)
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
