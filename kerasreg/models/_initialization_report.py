"""The rows of what `initialize` and `lsuv` did to a model."""

from __future__ import annotations

from kerasreg._text_table import table


class InitializationReport(tuple):
    """What `initialize` and `lsuv` did: a tuple of rows, one for each variable or layer.

    Each row is a named tuple; `str(record)` is an aligned table of them, and
    `record.left_alone` the rows of what was not changed.
    """

    def __str__(self) -> str:
        if not self:
            return "nothing was done"
        return table(self[0]._fields, self)

    @property
    def left_alone(self) -> InitializationReport:
        """The rows of what was not changed, or not as it should be, each with the reason."""
        return InitializationReport(row for row in self if row.is_left_alone)
