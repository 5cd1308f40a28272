"""How each column of a table is read, and why."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kerasreg._text_table import table as text_table
from kerasreg._validation import check_choice
from kerasreg.tables._dates import FORMATS, fields_of, parts_of

KINDS = ("number", "boolean", "category", "date", "dropped")
# Of more values than this, the most frequent are categories, and the others are one together.
MOST_CATEGORIES = 256
# Text with more distinct values than this part of its rows tells rows apart, and no kinds.
_DISTINCT_OF_TEXT = 0.5
# If so many values of a column are of a kind, the others are taken for mistakes.
_MOSTLY = 0.8
# With at most so many values, a column of numbers with some text is one of categories.
_FEW_TEXTS = 20
# What stands for a missing number in tables, where nothing else does that is text.
_MARKS = frozenset(("?", "-", "--", ".", "..", "n/a", "na", "nan", "none", "null"))
_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")
_LEADING_ZERO = re.compile(r"\s*0\d+")
_DECIMAL_COMMA = re.compile(r"\s*[-+]?\d*,\d+\s*")
_THOUSANDS = re.compile(r"\s*[-+]?\d{1,3}([.,'’])\d{3}(\1\d{3})*([.,]\d+)?\s*")
_IDENTIFIER = re.compile(r"(?i:(.*[_\s.-])?(id|uuid|guid|key|index|row(_?number)?))|.*[a-z]I[Dd]")
_BOOLEANS = {True: "True", False: "False"}


@dataclasses.dataclass(frozen=True)
class Column:
    """How one column is read.

    Attributes:
        name: of the column.
        kind: `"number"`, `"boolean"`, `"category"`, `"date"`, or `"dropped"`.
        dtype: what a model takes of it: `"float32"`, `"float64"`, `"int64"`, `"bool"` or
            `"string"`; `""` for a column that is dropped.
        reason: why, in a few words.
        values: the number of different values.
        missing: the number of rows without a value.
        order: of a date, such as `"day-month-year"`; otherwise `""`.
    """

    name: str
    kind: str
    dtype: str
    reason: str
    values: int = 0
    missing: int = 0
    order: str = ""


@dataclasses.dataclass(frozen=True)
class Columns:
    """How each column of a table is read: what `read_columns` returns.

    `print` shows it as a table. `to_dict` has it for a JSON file, which `read_columns` takes as
    `overrides`, edited or not.

    Attributes:
        columns: a `Column` for each column but the target, in the order of the table.
        target: the name of the target column, or None.

    Example:

    >>> import pandas, kerasreg
    >>> frame = pandas.DataFrame({"age": [20.5, 31.0, None], "sex": ["f", "m", "f"]})
    >>> columns = kerasreg.tables.read_columns(frame)
    >>> columns["sex"].kind
    'category'
    >>> columns.to_dict()["columns"]["age"]
    {'kind': 'number', 'reason': 'numbers'}
    """

    columns: tuple[Column, ...]
    target: str | None = None

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def __iter__(self) -> Any:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def used(self) -> tuple[Column, ...]:
        """Those that are not dropped."""
        return tuple(column for column in self.columns if column.kind != "dropped")

    @property
    def dropped(self) -> str:
        """Those that are dropped, and why, in a line."""
        return "; ".join(f"{c.name!r} {c.reason}" for c in self.columns if c.kind == "dropped")

    def __str__(self) -> str:
        rows = [
            (
                column.name,
                column.kind if not column.order else f"{column.kind} ({column.order})",
                column.values,
                column.missing,
                column.reason,
            )
            for column in self.columns
        ]
        return text_table(("column", "read as", "values", "missing", "because"), rows)

    def to_dict(self) -> dict[str, Any]:
        """The kind of each column, for JSON; `read_columns` takes it as `overrides`."""
        columns = {}
        for column in self.columns:
            columns[column.name] = {"kind": column.kind, "reason": column.reason}
            if column.order:
                columns[column.name]["order"] = column.order
        return {"target": self.target, "columns": columns}

    def raw(self, frame: Any) -> dict[str, np.ndarray]:
        """Rows as a model takes them that reads columns so, such as one of `Table.model`.

        Args:
            frame: a pandas DataFrame that has all the columns that are used.

        Returns:
            Arrays of the shape (rows,) by name, without the target: numbers with NaN where missing,
            text with `""`.

        Raises:
            ValueError: if a column is not there, or a value in it cannot be read; the message has
                the column and the row, counted from 1.

        Example:

        >>> import pandas, kerasreg
        >>> frame = pandas.DataFrame({"paid": [20.5, None, 3.0], "job": ["cook", "", "clerk"]})
        >>> columns = kerasreg.tables.read_columns(frame)
        >>> columns.raw(pandas.DataFrame({"job": ["cook", None], "paid": ["7", ""]}))["paid"]
        array([ 7., nan], dtype=float32)
        """
        used = [column for column in self.used if column.name != self.target]
        found = raw_arrays(frame, used)
        for column in used:
            if column.kind == "date":
                values = frame[column.name]
                _check_dates(column.name, values, missing_in(values), column.order)
        return found


def raw_arrays(frame: Any, columns: Sequence[Column]) -> dict[str, np.ndarray]:
    """As `Columns.raw`, of some columns; dates are not looked at."""
    found: dict[str, np.ndarray] = {}
    names = check_frame(frame)
    for column in columns:
        if column.name not in names:
            raise ValueError(f"`frame` must have the column {column.name!r}. It has {names}")
        values = frame[column.name]
        if column.kind == "boolean":
            found[column.name] = _raw_booleans(column, values)
        elif column.dtype == "string":
            found[column.name] = np.array(texts_in(values, column.order), dtype=object)
        else:
            found[column.name] = _raw_numbers(column, values)
    return found


def _raw_booleans(column: Column, values: Any) -> np.ndarray:
    missing = missing_in(values)
    if column.dtype != "string":
        _check_all_there(column.name, missing)
    # Numbers may be 0 and 1.
    known = {"true": "True", "1": "True", "false": "False", "0": "False", "": ""}
    found = [known.get(text.lower()) for text in texts_in(values)]
    bad = np.array([text is None for text in found], dtype=bool)
    if bad.any():
        row, value = _first(values, bad)
        raise ValueError(
            f"Column {column.name!r} is one of booleans, but has {value!r} in data row {row}: make "
            "it True, False or missing."
        )
    texts = np.array(found, dtype=object)
    return texts if column.dtype == "string" else texts == "True"


def _raw_numbers(column: Column, values: Any) -> np.ndarray:
    numbers = numbers_in(column.name, values, marks=True)
    if column.kind == "category" or column.dtype.startswith("int"):
        _check_whole(column.name, values, numbers)
    if not column.dtype.startswith("float"):
        _check_all_there(column.name, np.isnan(numbers))
    with np.errstate(over="ignore"):
        found = numbers.astype(column.dtype)
    if not np.isfinite(found[~np.isnan(numbers)]).all():
        row, value = _first(values, np.isinf(found))
        raise ValueError(
            f"Column {column.name!r} has {value!r} in data row {row}, which is too large for "
            f"{column.dtype}."
        )
    return found


def _check_all_there(name: str, missing: np.ndarray) -> None:
    if missing.any():
        row = int(np.argmax(missing)) + 1
        raise ValueError(
            f"Column {name!r} has no value in data row {row}; it had one in each row of training."
        )


def _check_whole(name: str, values: Any, numbers: np.ndarray) -> None:
    fraction = ~np.isnan(numbers) & (numbers != np.round(numbers))
    if fraction.any():
        row, value = _first(values, fraction)
        raise ValueError(
            f"Column {name!r} cannot be read as a category: it has {value!r} in data row {row}, "
            "which is no whole number."
        )


def read_columns(frame: Any, target: str | None = None, *, overrides: Any = None) -> Columns:
    """Decides how each column of a table is read.

    - Numbers are numbers, also as text. Where other text is among these, a column of at most 20
      values is a category, and one of more is refused. `?`, `-`, `.`, `n/a` and `null` are missing.
    - Booleans are booleans. Text is a category. Dates, of pandas or as text, are dates.
    - Columns that are constant, number the rows, or have another text in most rows are dropped.

    Missing are NaN, None, NaT and empty text.

    Args:
        frame: a pandas DataFrame.
        target: the name of the target column, which is left out.
        overrides: how to read columns, by name: a kind, `"number"`, `"boolean"`, `"category"`,
            `"date"` or `"dropped"`; or a dictionary of a `kind` and, for dates, an `order` of
            `"year-month-day"`, `"day-month-year"` or `"month-day-year"`. Also the path of a JSON
            file of this, or what `Columns.to_dict` returned.

    Returns:
        A `Columns`.

    Raises:
        ValueError: if a column cannot be read; the message has its name and the first bad row,
            counted from 1.

    Example:

    >>> import pandas, kerasreg
    >>> frame = pandas.DataFrame({
    ...     "id": [1, 2, 3, 4], "born": ["1999-01-31", "1987-11-02", "", "2001-05-06"],
    ...     "city": ["Ulm", "Bonn", "Ulm", "Ulm"], "paid": [True, False, True, True]})
    >>> print(kerasreg.tables.read_columns(frame, target="paid"))
    column  read as                values  missing  because
    id      dropped                     4        0  numbers the rows
    born    date (year-month-day)       3        1  dates as text
    city    category                    2        0  text of 2 values
    """
    columns = check_frame(frame)
    if target is not None:
        check_choice("target", target, columns)
    given = _check_overrides(overrides, columns)
    found = []
    for name in columns:
        if name == target:
            continue
        override = given.get(name, {})
        found.append(_read(name, frame[name], override.get("kind"), override.get("order")))
    return Columns(tuple(found), target)


def check_frame(frame: Any) -> list[str]:
    """The names of the columns of a pandas DataFrame, or a `ValueError`."""
    if not hasattr(frame, "columns") or not hasattr(frame, "iloc"):
        raise ValueError(
            f"`frame` must be a pandas DataFrame. Received: an object of type "
            f"{type(frame).__name__}"
        )
    names = list(frame.columns)
    for name in names:
        if not isinstance(name, str) or not name:
            raise ValueError(
                f"`frame` must have text as names of columns. Received: a column named {name!r}"
            )
        if names.count(name) > 1:
            raise ValueError(f"`frame` must have different names. Received: {name!r} twice")
    return names


def missing_in(values: Any) -> np.ndarray:
    """Whether each value of a pandas Series is missing."""
    missing = values.isna().to_numpy(dtype=bool)
    if not _is_text(values):
        return missing
    empty = [isinstance(value, str) and not value for value in values.astype(object).tolist()]
    return missing | np.array(empty, dtype=bool)


def numbers_in(name: str, values: Any, marks: bool = False) -> np.ndarray:
    """A pandas Series as float64, NaN where missing; a `ValueError` for what is no number.

    Args:
        name: of the column.
        values: the Series.
        marks: whether text such as `?` is missing too.
    """
    import pandas

    missing = missing_in(values)
    if _is_text(values):
        plain = values.astype(object).where(~missing, None)
        numbers = pandas.to_numeric(plain, errors="coerce").to_numpy("float64", na_value=np.nan)
        bad = np.isnan(numbers) & ~missing
        if marks:
            bad &= ~np.array([_is_mark(value) for value in plain.tolist()], dtype=bool)
        if bad.any():
            row, value = _first(values, bad)
            comma = isinstance(value, str) and _DECIMAL_COMMA.fullmatch(value)
            advice = (
                "where a comma separates the decimals, use --decimal=, or `decimal` of pandas; "
                "where it separates thousands, leave it out"
                if comma
                else "make it a number or missing, or read the column as a category"
            )
            raise ValueError(
                f"Column {name!r} is one of numbers, but has {value!r} in data row {row}: {advice}."
            )
    else:
        numbers = values.to_numpy("float64", na_value=np.nan)
    if np.isinf(numbers).any():
        row, value = _first(values, np.isinf(numbers))
        raise ValueError(f"Column {name!r} has an infinite number in data row {row}.")
    return numbers


def _is_mark(value: Any) -> bool:
    return isinstance(value, str) and value.strip().lower() in _MARKS


def texts_in(values: Any, order: str = "") -> list[str]:
    """A pandas Series as text, `""` where missing.

    Dates and times are as ISO 8601 has them, or in another order of year, month and day.
    """
    missing = missing_in(values)
    if values.dtype.kind == "M":
        day = order or "year-month-day"
        for word, directive in (("year", "%Y"), ("month", "%m"), ("day", "%d")):
            day = day.replace(word, directive)
        texts = values.dt.strftime(f"{day}T%H:%M:%S%z")
    else:
        texts = values.astype(object)
    return [
        "" if lost else _text(value) for value, lost in zip(texts.tolist(), missing, strict=True)
    ]


def _text(value: Any) -> str:
    # As a whole number where it is one: a column with holes has floats.
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _is_text(values: Any) -> bool:
    """Whether a Series may hold text: of strings, of objects, or of categories of these."""
    dtype = getattr(values.dtype, "categories", values).dtype
    return dtype.kind in "OSUT" and not hasattr(dtype, "pyarrow_dtype")


def _first(values: Any, bad: np.ndarray) -> tuple[int, Any]:
    """The number of the first bad row, from 1, and its value."""
    row = int(np.argmax(bad))
    value = values.iloc[row]
    return row + 1, value.item() if isinstance(value, np.generic) else value


def _check_overrides(overrides: Any, columns: Sequence[str]) -> dict[str, dict[str, str]]:
    if overrides is None:
        return {}
    if isinstance(overrides, (str, os.PathLike)):
        path = os.fspath(overrides)
        try:
            with open(path, encoding="utf-8-sig") as file:
                overrides = json.load(file)
        except (OSError, ValueError) as error:
            raise ValueError(f"`overrides` {path!r} cannot be read as JSON: {error}") from error
    if isinstance(overrides, Columns):
        overrides = overrides.to_dict()
    if isinstance(overrides, Mapping) and set(overrides) == {"target", "columns"}:
        overrides = overrides["columns"]
    if not isinstance(overrides, Mapping):
        raise ValueError(
            "`overrides` must be a dictionary from names of columns to kinds, or a JSON file of "
            f"one. Received: overrides={overrides!r}"
        )
    found = {}
    for name, given in overrides.items():
        check_choice("overrides", name, columns)
        given = {"kind": given} if isinstance(given, str) else given
        if not isinstance(given, Mapping) or not set(given) <= {"kind", "order", "reason"}:
            raise ValueError(
                f"`overrides` of {name!r} must be one of {KINDS}, or a dictionary of a `kind` and "
                f"an `order`. Received: {given!r}"
            )
        check_choice(f"overrides[{name!r}]", given.get("kind"), KINDS)
        if given.get("order") is not None:
            check_choice(f"overrides[{name!r}]['order']", given["order"], FORMATS)
        found[name] = dict(given)
    return found


def _read(name: str, values: Any, kind: str | None, order: str | None) -> Column:
    """How one column is read; `kind` and `order` are as the user has them, or None."""
    if kind == "dropped":
        return Column(name, "dropped", "", "as asked")
    missing = missing_in(values)
    present = values[~missing]
    try:
        distinct = int(present.nunique())
    except TypeError:
        row, value = _first(values, ~missing)
        raise ValueError(
            f"Column {name!r} must hold numbers, text, booleans or dates; it has {value!r} in data "
            f"row {row}."
        ) from None
    _check_types(name, values, missing)
    counts: dict[str, Any] = {"values": distinct, "missing": int(missing.sum())}
    if kind is not None:
        return _as_asked(name, values, missing, kind, order, counts)
    if distinct < 2 and not (distinct == 1 and missing.any()):
        what = "is empty" if distinct == 0 else f"has one value: {_text(present.iloc[0])[:40]!r}"
        return Column(name, "dropped", "", what, **counts)
    if _is_boolean(present):
        return Column(name, "boolean", _boolean_dtype(values), "booleans", **counts)
    if hasattr(values.dtype, "categories") and not _is_text(values):
        column = _as_asked(name, values, missing, "category", None, counts)
        return dataclasses.replace(column, reason=_grouped("a category of pandas", counts))
    if values.dtype.kind == "M":
        return Column(name, "date", "string", "dates", order="year-month-day", **counts)
    if not _is_text(values):
        return _number(name, numbers_in(name, values), "numbers", counts)
    return _text_column(name, values, missing, counts)


def _check_types(name: str, values: Any, missing: np.ndarray) -> None:
    """A `ValueError` for what is neither text nor a number, and for both in one column."""
    if not _is_text(values):
        if values.dtype.kind not in "biufM" and not hasattr(values.dtype, "categories"):
            row, value = _first(values, ~missing)
            raise ValueError(
                f"Column {name!r} must hold numbers, text, booleans or dates; it has {value!r} in "
                f"data row {row}."
            )
        return
    types = [_type(value) for value in values.astype(object).tolist()]
    found = np.array(types, dtype=object)
    found[missing] = None
    kinds = {one for one in found if one is not None}
    other = kinds - {"text", "number", "boolean"}
    if other:
        row, value = _first(values, np.isin(found, list(other)))
        raise ValueError(
            f"Column {name!r} must hold numbers, text, booleans or dates; it has {value!r} in data "
            f"row {row}."
        )
    if len(kinds) > 1:
        rarest = min(sorted(kinds), key=lambda one: int((found == one).sum()))
        row, value = _first(values, found == rarest)
        raise ValueError(
            f"Column {name!r} has values of several types; the first {rarest} is {value!r} in data "
            f"row {row}. Make them all of one type."
        )


def _type(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "boolean"
    if isinstance(value, (int, float, np.number)):
        return "number"
    return "text" if isinstance(value, str) else type(value).__name__


def _is_boolean(present: Any) -> bool:
    if present.dtype.kind == "b":
        return True
    return bool(present.dtype == object) and all(
        isinstance(value, (bool, np.bool_)) for value in present
    )


def _boolean_dtype(values: Any) -> str:
    """A model takes `"string"` where a value may be missing: `"True"`, `"False"` or `""`."""
    return "bool" if values.dtype == bool else "string"


def _number(name: str, numbers: np.ndarray, reason: str, counts: dict[str, Any]) -> Column:
    found = numbers[~np.isnan(numbers)]
    if len(found) == len(numbers) == counts["values"] and (found == np.round(found)).all():
        steps = np.diff(found)
        if len(found) > 2 and len(set(steps.tolist())) == 1 and abs(steps[0]) == 1:
            return Column(name, "dropped", "", "numbers the rows", **counts)
        if _IDENTIFIER.fullmatch(name) and len(found) > 2:
            return Column(name, "dropped", "", "an identifier, by its name", **counts)
    return Column(name, "number", _number_dtype(numbers), reason, **counts)


def _number_dtype(numbers: np.ndarray) -> str:
    """`"float64"` where single precision would lose differences, as of seconds since 1970."""
    found = numbers[~np.isnan(numbers)]
    if not len(found):
        return "float32"
    with np.errstate(over="ignore"):
        lost = float(np.max(np.abs(found.astype("float32").astype("float64") - found)))
    spread = float(np.quantile(found, 0.75) - np.quantile(found, 0.25)) or float(np.ptp(found))
    return "float32" if lost <= 1e-4 * spread or spread == 0 else "float64"


def _text_column(name: str, values: Any, missing: np.ndarray, counts: dict[str, Any]) -> Column:
    present = values[~missing]
    types = {_type(value) for value in present.iloc[:1].tolist()}
    if types == {"number"}:
        return _number(name, numbers_in(name, values), "numbers", counts)
    texts = [str(text) for text in present.tolist()]
    numeric = np.array([_NUMBER.fullmatch(text) is not None for text in texts])
    marks = np.array([_is_mark(text) for text in texts])
    if numeric.any() and (numeric | marks).mean() >= _MOSTLY:
        if any(_LEADING_ZERO.fullmatch(text) for text in texts):
            return _category(name, texts, f"codes with leading zeros, such as {texts[0]!r}", counts)
        others = ~(numeric | marks)
        if others.any() and counts["values"] <= _FEW_TEXTS:
            other = texts[int(np.argmax(others))]
            reason = f"text of {counts['values']} values, not all numbers: {other[:40]!r}"
            return _category(name, texts, reason, counts)
        reason = "numbers as text"
        if marks.any():
            mark = texts[int(np.argmax(marks))]
            reason += f", where {mark.strip()!r} is missing"
            counts = {**counts, "missing": counts["missing"] + int(marks.sum())}
        return _number(name, numbers_in(name, values, marks=True), reason, counts)
    commas = np.array([_DECIMAL_COMMA.fullmatch(text) is not None for text in texts])
    if (commas | numeric).mean() >= _MOSTLY:
        numbers_in(name, values)  # Which says so.
    thousands = np.array([_THOUSANDS.fullmatch(text) is not None for text in texts])
    if thousands.any() and (thousands | commas | numeric).mean() >= _MOSTLY:
        bad = ~missing
        bad[bad] = thousands & ~numeric
        row, value = _first(values, bad)
        raise ValueError(
            f"Column {name!r} is one of numbers, but has {value!r} in data row {row}: leave out "
            "what separates thousands."
        )
    order, reason = _order_of(texts)
    if order:
        _check_dates(name, values, missing, order)
        return Column(name, "date", "string", reason, order=order, **counts)
    return _category(name, texts, "", counts)


def _category(name: str, texts: Sequence[str], reason: str, counts: dict[str, Any]) -> Column:
    distinct, rows = counts["values"], len(texts)
    # Of few rows it cannot be told.
    if rows >= 20 and distinct > _DISTINCT_OF_TEXT * rows and not reason:
        return Column(name, "dropped", "", "another text in most rows", **counts)
    reason = reason or f"text of {distinct} value{'s' if distinct > 1 else ''}"
    if distinct > MOST_CATEGORIES:
        reason += f"; all but the {MOST_CATEGORIES} most frequent are one"
    return Column(name, "category", "string", reason, **counts)


def _order_of(texts: Sequence[str]) -> tuple[str, str]:
    """The order of the dates that most texts are, and what to say of it; or `""`."""
    read = {order: _share_of_dates(texts, order) for order in FORMATS}
    best = max(FORMATS, key=lambda order: read[order])
    if read[best] < _MOSTLY:
        return "", ""
    if read["day-month-year"] == read["month-day-year"] == read[best]:
        return best, "dates as text; the month may as well be first"
    return best, "dates as text"


def _share_of_dates(texts: Sequence[str], order: str) -> float:
    days = parts_of(fields_of(texts, order), order, ["days"], np)
    return float(np.mean(~np.isnan(days)))


def _check_dates(name: str, values: Any, missing: np.ndarray, order: str) -> None:
    days = parts_of(fields_of(texts_in(values, order), order), order, ["days"], np)[:, 0]
    bad = np.isnan(days) & ~missing
    if bad.any():
        row, value = _first(values, bad)
        raise ValueError(
            f"Column {name!r} is one of dates, {order}, but has {value!r} in data row {row}, which "
            "is none: make it a date or missing, or read the column as a category."
        )


def _as_asked(
    name: str,
    values: Any,
    missing: np.ndarray,
    kind: str,
    order: str | None,
    counts: dict[str, Any],
) -> Column:
    """A column of a kind that the user asked for."""
    reason = "as asked"
    if kind == "number":
        numbers = numbers_in(name, values, marks=True)
        return Column(name, kind, _number_dtype(numbers), reason, **counts)
    if kind == "date":
        texts = [text for text in texts_in(values) if text]
        order = order or _order_of(texts)[0] or "year-month-day"
        _check_dates(name, values, missing, order)
        return Column(name, kind, "string", reason, order=order, **counts)
    if kind == "boolean":
        present = values[~missing]
        if _is_boolean(present):
            return Column(name, kind, _boolean_dtype(values), reason, **counts)
        raise ValueError(
            f"Column {name!r} cannot be read as booleans: it has {present.iloc[0]!r}. Text and "
            "numbers of two values can be a category."
        )
    if _is_text(values) and not _is_boolean(values[~missing]):
        return Column(name, kind, "string", _grouped(reason, counts), **counts)
    if values.dtype.kind not in "iuf" and not hasattr(values.dtype, "categories"):
        raise ValueError(
            f"Column {name!r} of type {values.dtype} cannot be read as a category: make it text."
        )
    _check_whole(name, values, numbers_in(name, values))
    dtype = "float64" if missing.any() else "int64"
    return Column(name, kind, dtype, _grouped(reason, counts), **counts)


def _grouped(reason: str, counts: dict[str, Any]) -> str:
    if counts["values"] <= MOST_CATEGORIES:
        return reason
    return f"{reason}; all but the {MOST_CATEGORIES} most frequent are one"
