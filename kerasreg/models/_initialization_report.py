"""The result of `initialize` and of `lsuv`."""

from __future__ import annotations

import dataclasses
from typing import Any

from kerasreg._report import Report


@dataclasses.dataclass(frozen=True)
class InitializationReport(Report):
    """The weights that `initialize` or `lsuv` set; `str` of it is a table.

    Attributes:
        rows: a named tuple for each variable (`initialize`) or layer (`lsuv`).
    """

    rows: tuple[Any, ...]

    empty = "nothing was done"

    @property
    def left_alone(self) -> InitializationReport:
        """The rows of what was not changed, or not as it should be, each with the reason."""
        return InitializationReport(tuple(row for row in self.rows if row.is_left_alone))
