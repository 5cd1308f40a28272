"""The one shape of results: rows that print as a table, and plain values to write down."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from kerasreg._text_table import table


class Report:
    """Base class of results, which are frozen dataclasses with `rows`: named tuples of one type.

    A report is also the sequence of its rows.
    """

    rows: Any
    # Fields that are objects to work with, such as a model, and no values to write down.
    objects: ClassVar[tuple[str, ...]] = ()
    # Said in place of a table that has no rows.
    empty: ClassVar[str] = "no rows"

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    def __str__(self) -> str:
        return table(self.rows[0]._fields, self.rows) if self.rows else self.empty

    def to_dict(self) -> dict[str, Any]:
        """The report as dictionaries, lists, strings and numbers.

        Returns:
            A dictionary with the fields by name; `rows` is a list of dictionaries. Objects such
            as a model are left out.
        """
        names = [field.name for field in dataclasses.fields(self)]  # type: ignore[arg-type]
        return {n: plain(getattr(self, n)) for n in names if n not in self.objects}


def plain(value: Any) -> Any:
    """A value as dictionaries, lists, strings and numbers of Python's own."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(part) for name, part in value._asdict().items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return value
