"""Tables for `kerasreg search`: scikit-learn's bundled ones, CSV and Parquet files."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import json
import os
import re
import shlex
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasreg._classes import MOST_CLASSES_OF_NUMBERS, are_classes
from kerasreg._first_line import first_line
from kerasreg._validation import check_choice
from kerasreg.cli._command import loading
from kerasreg.cli._options import BUNDLED, TASKS

if TYPE_CHECKING:
    from kerasreg.tables import Columns

_LEAST_ROWS = 10
_LEAST_GROUPS = 3
# Of a class: one each for training, validation and test. Those that have fewer are to train with.
LEAST_ROWS_OF_A_CLASS = 3
# How pandas calls an index that a table was written with, in a .csv file and in a .parquet file.
_INDEX = re.compile(r"Unnamed: 0(\.\d+)*|__index_level_\d+__")
_DECIMAL_COMMA = re.compile(r"\s*[-+]?\d*,\d+\s*")
# A target of text of which so many values are numbers is one of numbers, with mistakes.
_MOSTLY_NUMBERS = 0.8
_EXTENSIONS = (".csv", ".parquet")
_SEPARATORS = (",", ";", "\t", "|")


@dataclasses.dataclass(frozen=True)
class Table:
    """Features and a target, ready for a network.

    Attributes:
        name: where it came from.
        x: features, float32, shape (rows, columns).
        y: class numbers, int64, or targets, float32; shape (rows,).
        columns: names of the features.
        classes: labels of the classes in order of their numbers; None for
            regression.
        notes: what a user has to know of how the table was read.
        reading: how columns are read that are not all numbers without holes; `x` has no columns
            then, but `frame` has: what is made of them depends on the training part.
        frame: a pandas DataFrame of the features, or None.
        groups: the number of the group of each row, or None.
        times: numbers by which the rows follow each other in time, or None.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    columns: tuple[str, ...]
    classes: tuple[Any, ...] | None
    notes: tuple[str, ...] = ()
    reading: Columns | None = None
    frame: Any = None
    groups: np.ndarray | None = None
    times: np.ndarray | None = None

    def fingerprint(self) -> str:
        """SHA-256 of the values: tells whether a search is resumed on the same data."""
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for values in (self.x, self.y, self.groups, self.times):
            if values is None:
                continue
            digest.update(str((values.shape, values.dtype.str)).encode())
            digest.update(np.ascontiguousarray(values).tobytes())
        if self.reading is not None:
            import pandas

            digest.update(json.dumps(self.reading.to_dict()).encode())
            digest.update(pandas.util.hash_pandas_object(self.frame, index=False).to_numpy())
        return digest.hexdigest()

    def described(self) -> dict[str, Any]:
        """For the card of a model, as JSON has it: of what `kerasreg predict` reads such rows."""
        found = {
            "name": self.name,
            "sha256": self.fingerprint(),
            "rows": len(self.y),
            "columns": list(self.columns),
        }
        if self.classes is not None:
            found["classes"] = [str(label) for label in self.classes]
        if self.reading is not None:
            found["reading"] = self.reading.to_dict()
        return found


def load_table(
    data: str,
    target: str | None = None,
    task: str = "auto",
    drop: Sequence[str] = (),
    sep: str = ",",
    decimal: str = ".",
    columns: str | None = None,
    groups: str | None = None,
    order: str | None = None,
) -> Table:
    """Loads a bundled data set, or a CSV or Parquet file.

    Args:
        data: one of `BUNDLED`, or the path of a `.csv` or `.parquet` file.
        target: name of the target column; for files only. Rows without a value in it are left
            out.
        task: `"classification"`, `"regression"`, or `"auto"`: classification
            where the target is text, boolean, or has at most 20 distinct whole
            numbers.
        drop: names of columns to leave out.
        sep: what separates the columns of a `.csv` file: one character, or `"tab"`.
        decimal: what separates the decimals of numbers in a `.csv` file, `"."` or `","`.
        columns: the path of a JSON file that says how columns are read, see
            `kerasreg.tables.read_columns`.
        groups: name of a column of groups, which is no feature.
        order: name of a column of dates or numbers by which the rows follow each other in time.

    Returns:
        A `Table`. A column without a name that numbers the rows, as pandas writes an index, is
        left out, and its `notes` say so.

    Raises:
        ValueError: if anything in the data cannot be used; it names the column
            and says what to do.
    """
    check_choice("task", task, TASKS)
    sep = check_separators(sep, decimal)
    frame, target = _read(data, target, sep, decimal)
    named = [("target", target), *(("drop", name) for name in drop)]
    named += [("groups", groups)] if groups is not None else []
    named += [("order", order)] if order is not None else []
    for argument, name in named:
        _check_column(argument, name, frame.columns)
    if groups is not None and order is not None:
        raise ValueError(
            "`order` and `groups` cannot both be given: a group may have rows of all times. "
            f"Received: order={order!r}, groups={groups!r}"
        )
    if order == target:
        raise ValueError(f"`order` must not be the target. Received: order={order!r}")
    if groups == target or groups in drop:
        raise ValueError(
            f"`groups` must be neither the target nor dropped. Received: groups={groups!r}"
        )
    # Numbers of rows in messages are those of the file, also where rows are left out.
    frame = frame.reset_index(drop=True)
    kept = ~frame[target].isna().to_numpy(dtype=bool)
    numbers = None if groups is None else _groups(frame[groups])
    in_time = None if order is None else frame[order]
    frame = frame.drop(columns=[*drop, *([] if groups is None else [groups])])
    unnamed = [name for name in frame.columns if name != target and _INDEX.fullmatch(name)]
    index = [name for name in unnamed if _is_index(frame[name])]
    frame = frame.drop(columns=index)
    notes = tuple(
        f"column {name!r} of {os.path.basename(data)!r} only numbers the rows, as pandas writes an "
        "index: it is left out; give it another name to use it"
        if name in index
        else f"column {name!r} of {os.path.basename(data)!r} has no name: it is a feature like the "
        f"others; --drop={shlex.quote(name)} leaves it out"
        for name in unnamed
    )
    if target not in frame.columns:
        raise ValueError(f"`drop` must not name the target. Received: {target!r}")
    if kept.sum() < _LEAST_ROWS:
        what = "rows" if kept.all() else f"rows with a {target!r}"
        raise ValueError(f"{data!r} must have at least {_LEAST_ROWS} {what}. It has {kept.sum()}.")
    notes += _without_target(kept, target, data)
    features = frame.drop(columns=[target])
    if features.shape[1] == 0:
        raise ValueError(f"{data!r} must have a column besides the target {target!r}.")
    column = frame[target][kept]
    floats = not kept.all() and column.dtype.kind == "f"
    if floats and np.isfinite(column).all() and (column == column.round()).all():
        column = column.astype("int64")  # Which pandas has as floats beside what is missing.
    y, classes = _target(column, task)
    if classes is not None:
        notes += _rare_classes(column, y, classes, groups is not None or order is not None)
    numbers = None if numbers is None else numbers[kept]
    name = data if data in BUNDLED else os.path.basename(data)
    names = tuple(map(str, features.columns))
    if columns is None and all(map(_is_plain, (features[name] for name in features.columns))):
        x = np.stack([_numbers(features[name]) for name in features.columns], axis=1)[kept]
        notes += _duplicates(features[kept], y, data)
        times = None if in_time is None else _times(in_time, None)[kept]
        return Table(name, x, y, names, classes, notes, groups=numbers, times=times)
    with loading():  # Of Keras, on which the package stands.
        from kerasreg.tables import read_columns
    reading = read_columns(features, overrides=columns)
    if not reading.used:
        raise ValueError(f"{data!r} must have a column that is of use. {reading.dropped}")
    times = None if in_time is None else _times(in_time, reading)[kept]
    used = [column.name for column in reading.used]
    features = features[used][kept].reset_index(drop=True)
    x = np.zeros((len(features), 0), "float32")
    notes += _duplicates(features, y, data)
    return Table(name, x, y, tuple(used), classes, notes, reading, features, numbers, times)


def _without_target(kept: np.ndarray, target: str, data: str) -> tuple[str, ...]:
    """A note, if rows have no target."""
    count = int((~kept).sum())
    if not count:
        return ()
    are = "row has" if count == 1 else f"of the {len(kept)} rows have"
    return (
        f"{count} {are} no {target!r} in {os.path.basename(data)!r}, the first in data row "
        f"{int(np.argmin(kept)) + 1}, and {'is' if count == 1 else 'are'} left out",
    )


def _times(column: Any, reading: Columns | None) -> np.ndarray:
    """Numbers that have the order of a column of dates or numbers.

    Args:
        column: of pandas.
        reading: how the columns are read, which may tell the order of day and month.
    """
    import pandas

    what = f"The column of order {column.name!r}"
    missing = column.isna().to_numpy(dtype=bool)
    if missing.any():
        raise ValueError(f"{what} has no value in data row {int(np.argmax(missing)) + 1}.")
    if pandas.api.types.is_datetime64_any_dtype(column):
        found = pandas.DatetimeIndex(column).asi8
    elif pandas.api.types.is_bool_dtype(column):
        raise ValueError(f"{what} must have dates or numbers; it has {_plain(column.iloc[0])!r}.")
    elif _are_numbers(column).all():
        found = pandas.to_numeric(column.astype(object)).to_numpy("float64")
    else:
        found = _of_dates(column, reading)
    if not np.isfinite(found).all():
        row = int(np.argmin(np.isfinite(found)))
        value = _plain(column.iloc[row])
        raise ValueError(
            f"{what} must have dates or numbers; it has {value!r} in data row {row + 1}."
        )
    if np.ptp(found) == 0:
        value = _plain(column.iloc[0])
        raise ValueError(f"{what} has one value, {value!r}: its rows have no order.")
    return np.asarray(found)


def _of_dates(column: Any, reading: Columns | None) -> np.ndarray:
    """Days since 1970 of dates that are text."""
    with loading():
        import tensorflow as tf

        from kerasreg import tables
    known = [one for one in reading or () if one.name == column.name and one.kind == "date"]
    if not known:
        try:
            one = {str(column.name): "date"}
            known = list(tables.read_columns(column.to_frame(), overrides=one))
        except ValueError as error:
            # Without its advice to read the column otherwise.
            reason = str(error).partition(": make it")[0].rstrip(".")
            raise ValueError(
                f"`order` must name a column of dates or numbers. {reason}."
            ) from error
    texts = tables.Columns(tuple(known)).raw(column.to_frame())[str(column.name)]
    return np.array(tables.DateNumbers(known[0].order)(tf.constant(texts, tf.string)))[:, 0]


def _groups(column: Any) -> np.ndarray:
    """The number of the group of each row."""
    missing = column.isna().to_numpy(dtype=bool)
    if missing.any():
        raise ValueError(
            f"The column of groups {column.name!r} has no value in data row "
            f"{int(np.argmax(missing)) + 1}."
        )
    numbers = np.unique(column.astype(str).to_numpy(dtype=str), return_inverse=True)[1]
    count = int(numbers.max()) + 1
    if count < _LEAST_GROUPS:
        raise ValueError(
            f"The column of groups {column.name!r} must have at least {_LEAST_GROUPS} groups: to "
            f"train, to validate and to test. It has {count}."
        )
    return np.asarray(numbers)


def _duplicates(features: Any, y: np.ndarray, data: str) -> tuple[str, ...]:
    """A note, if there are rows that are equal: of them, training may have what tests it."""
    # Numbers of the rows differ, and tell nothing of them.
    numbering = [name for name in features.columns if _numbers_rows(features[name])]
    count = int(features.drop(columns=numbering).assign(**{"\0": y}).duplicated(keep=False).sum())
    if not count:
        return ()
    return (
        f"{count} of the {len(y)} rows of {os.path.basename(data)!r} are equal to another one in "
        "all features and the target, and fall into training and test parts alike; if they are "
        "copies, scores are better than those of new rows",
    )


def _numbers_rows(column: Any) -> bool:
    return column.dtype.kind in "iu" and bool((abs(column.diff().iloc[1:]) == 1).all())


def check_separators(sep: str, decimal: str) -> str:
    """Returns the separator of columns as a character."""
    check_choice("decimal", decimal, (".", ","))
    # As people write it on a command line.
    sep = {"tab": "\t", "\\t": "\t"}.get(sep, sep)
    if len(sep) != 1 or sep in '\r\n"' or sep.isalnum():
        raise ValueError(f"`sep` must be one character, or 'tab'. Received: {sep!r}")
    if sep == decimal:
        raise ValueError(
            f"`sep` and `decimal` must differ. Received: sep={sep!r}, decimal={decimal!r}; a table "
            "with decimal commas often has --sep=';'"
        )
    return sep


def _is_index(column: Any) -> bool:
    """Whether a column without a name has another whole number, or text, in each row."""
    return column.dtype.kind != "f" and not column.hasnans and bool(column.is_unique)


def _read(data: str, target: str | None, sep: str, decimal: str) -> tuple[Any, str]:
    """Returns the pandas table and the name of its target column."""
    if data in BUNDLED:
        if target is not None:
            raise ValueError(f"`target` is for files; {data!r} has its own. Received: {target!r}")
        from sklearn import datasets

        frame = getattr(datasets, f"load_{data}")(as_frame=True).frame
        return frame, "target"
    if not os.path.exists(data) and _extension(data) not in _EXTENSIONS:
        check_choice("data", data, BUNDLED)
    if not os.path.isfile(data):
        raise ValueError(
            f"`data` must be one of {', '.join(BUNDLED)}, or a file. No file: {data!r}"
        )
    _check_file("`data`", data, sep, decimal)
    if target is None:
        raise ValueError("`target` must name the column to predict, when `data` is a file.")
    return _read_file(data, [target], sep, decimal), target


def read_features(
    path: str, names: Sequence[str], texts: Sequence[str], sep: str = ",", decimal: str = "."
) -> Any:
    """Reads a file of rows to predict.

    Args:
        path: of a `.csv` or `.parquet` file.
        names: columns that it must have.
        texts: those of all columns whose text is to be as it is written, also where it is one of
            numbers.
        sep: as for `load_table`.
        decimal: as for `load_table`.

    Returns:
        A pandas DataFrame of all columns.

    Raises:
        ValueError: if the file cannot be read, has no rows, or lacks a column.
    """
    check_file(path, sep, decimal)
    sep = check_separators(sep, decimal)
    frame = _read_file(path, names, sep, decimal, texts)
    for name in names:
        if name not in frame.columns:
            near = difflib.get_close_matches(name, frame.columns, n=1)
            hint = f"; did you mean its {near[0]!r}?" if near else ""
            raise ValueError(f"{path!r} has no column {name!r}, which is needed{hint}")
    if not len(frame):
        raise ValueError(f"{path!r} has no rows.")
    return frame


def check_file(path: str, sep: str, decimal: str) -> None:
    """A `ValueError` if a file of rows to predict is none, or its columns cannot be told."""
    sep = check_separators(sep, decimal)
    if not os.path.isfile(path):
        raise ValueError(f"FILE must be a .csv or .parquet file. No file: {path!r}")
    _check_file("FILE", path, sep, decimal)


def index_columns(frame: Any) -> list[str]:
    """The columns without a name that only number the rows, as pandas writes an index."""
    return [name for name in frame.columns if _INDEX.fullmatch(name) and _is_index(frame[name])]


def _extension(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _check_file(argument: str, path: str, sep: str, decimal: str) -> None:
    if _extension(path) not in _EXTENSIONS:
        raise ValueError(f"{argument} must end in .csv or .parquet. Received: {path!r}")
    if os.path.getsize(path) == 0:
        raise ValueError(f"{path!r} is empty.")
    if _extension(path) != ".csv" and (sep, decimal) != (",", "."):
        raise ValueError(f"`sep` and `decimal` are for .csv files. Received: {path!r}")


def _read_file(
    path: str, wanted: Sequence[str], sep: str, decimal: str, texts: Sequence[str] = ()
) -> Any:
    """A file as a pandas DataFrame, whose names are text."""
    try:
        if _extension(path) == ".csv":
            frame = _read_csv(path, wanted, sep, decimal, texts)
        else:
            frame = _read_parquet(path)
    except (_HeaderError, ModuleNotFoundError):
        raise
    except Exception as error:  # The readers raise many types of their own libraries.
        advice = "; save it as UTF-8" if isinstance(error, UnicodeError) else ""
        raise ValueError(
            f"{path!r} cannot be read as {_extension(path)[1:]}: {first_line(error)}{advice}"
        ) from error
    frame.columns = [str(name) for name in frame.columns]
    return frame


class _HeaderError(ValueError):
    """Two columns have one name (pandas would rename one, or stumble), or all are one."""


def _check_twice(data: str, names: Sequence[str]) -> None:
    twice = [name for name in names if list(names).count(name) > 1]
    if twice:
        raise _HeaderError(f"{data!r} has two columns named {twice[0]!r}.")


def _read_csv(
    data: str, wanted: Sequence[str], sep: str, decimal: str, texts: Sequence[str]
) -> Any:
    import pandas

    def names(sep: str) -> list[str]:
        options = {"header": None, "nrows": 1, "dtype": str, "keep_default_na": False}
        return list(pandas.read_csv(data, sep=sep, skipinitialspace=True, **options).iloc[0])

    columns = names(sep)
    for name in wanted:
        for other in _SEPARATORS if name not in columns else ():
            if other != sep and name in names(other):
                shown = "tab" if other == "\t" else other
                raise _HeaderError(
                    f"{data!r} has no column {name!r} where its columns are separated by "
                    f"{sep!r}; with --sep={shown!r} it has."
                )
    _check_twice(data, [name for name in columns if name])
    options: dict[str, Any] = {"index_col": False, "sep": sep, "decimal": decimal}
    # As `a, b` is written, "b" is meant.
    options |= {"skipinitialspace": True}
    # All rows at once: of parts that are read one by one, each would have types of its own.
    options |= {"dtype": dict.fromkeys(texts, str), "low_memory": False}
    # A row that is longer than the header is an error, and its first field no index.
    with warnings.catch_warnings():
        warnings.simplefilter("error", pandas.errors.ParserWarning)
        return pandas.read_csv(data, **options)


def _read_parquet(data: str) -> Any:
    import pandas
    import pyarrow.parquet

    schema = pyarrow.parquet.read_schema(data)
    _check_twice(data, schema.names)
    frame = pandas.read_parquet(data)
    # As objects of Python, they would be neither dates nor numbers to anybody.
    for field in schema:
        if field.name in frame.columns and frame[field.name].dtype == object:
            if pyarrow.types.is_date(field.type):
                frame[field.name] = pandas.to_datetime(frame[field.name])
            elif pyarrow.types.is_decimal(field.type):
                frame[field.name] = frame[field.name].astype("float64")
    return frame


def _check_column(argument: str, name: str, columns: Any) -> None:
    if name not in columns:
        check_choice(argument, name, [str(column) for column in columns])


def _is_numeric(column: Any) -> bool:
    import pandas

    return bool(pandas.api.types.is_numeric_dtype(column))


def _is_plain(column: Any) -> bool:
    """Whether a column has a number, or a boolean, in each row."""
    return _is_numeric(column) and not column.isna().any()


def _numbers(column: Any) -> np.ndarray:
    """A column as float32, or a `ValueError` that says what is wrong with it."""
    import pandas

    if not (_is_numeric(column) or pandas.api.types.is_bool_dtype(column)):
        row, value = _no_number(column)
        advice = "A regression needs numbers; for labels use --task=classification."
        if re.fullmatch(_DECIMAL_COMMA, str(value)):
            advice = "Where a comma separates the decimals, use --decimal=,"
        raise ValueError(
            f"Column {column.name!r} is not numeric: it has {value!r} in data row {row}. {advice}"
        )
    with np.errstate(over="ignore"):
        values = column.to_numpy().astype("float32")
    if not np.isfinite(values).all():
        row = _row(column, int(np.argmin(np.isfinite(values))))
        raise ValueError(
            f"Column {column.name!r} has an infinite value, or one too large for float32, in "
            f"data row {row}."
        )
    return values


def _no_number(column: Any) -> tuple[int, Any]:
    """The first value that is no number, and its row, from 1; else those of the first row."""
    place = int(np.argmin(_are_numbers(column)))
    return _row(column, place), _plain(column.iloc[place])


def _row(column: Any, place: int) -> int:
    """The number of a row in the file, from 1; some may have been left out."""
    return int(column.index[place]) + 1


def _are_numbers(column: Any) -> np.ndarray:
    import pandas

    plain = column.astype(object)
    return np.asarray(pandas.to_numeric(plain, errors="coerce").notna())


def _task_of(column: Any) -> str:
    """The task of a target, if nobody says it."""
    import pandas

    if _is_numeric(column) and not pandas.api.types.is_bool_dtype(column):
        return "classification" if are_classes(column.to_numpy("float64")) else "regression"
    if all(isinstance(value, str) for value in column):
        plain = _are_numbers(column)
        commas = [re.fullmatch(_DECIMAL_COMMA, value) is not None for value in column]
        numbers = float(np.mean(plain | np.array(commas, dtype=bool)))
        many = column.nunique() > MOST_CLASSES_OF_NUMBERS
        if many and numbers >= _MOSTLY_NUMBERS and not plain.all():
            return "regression"  # Which names the others: they are taken for mistakes.
    return "classification"


def _target(column: Any, task: str) -> tuple[np.ndarray, tuple[Any, ...] | None]:
    if task == "auto":
        task = _task_of(column)
    if task == "regression":
        values = _numbers(column)
        if np.ptp(values) == 0:
            raise ValueError(f"The target column {column.name!r} has one value: {values[0]:g}.")
        return values, None
    labels_are_plain = _is_numeric(column) or column.dtype.kind in "OSUb"
    if not labels_are_plain or not all(
        isinstance(_plain(label), (bool, int, float, str)) for label in column
    ):
        raise ValueError(
            f"The target column {column.name!r} must hold numbers or text. It holds for example "
            f"{column.iloc[0]!r}."
        )
    labels, numbers, counts = np.unique(column.to_numpy(), return_inverse=True, return_counts=True)
    if len(labels) < 2:
        raise ValueError(
            f"The target column {column.name!r} has one class, {_plain(labels[0])!r}; it must have "
            "at least two."
        )
    _check_counts(column, labels, counts)
    return numbers.astype("int64"), tuple(_plain(label) for label in labels)


def _check_counts(column: Any, labels: np.ndarray, counts: np.ndarray) -> None:
    """Refuses a target most of whose rows are of classes that cannot be tested."""
    rare = counts < LEAST_ROWS_OF_A_CLASS
    frequent = int(counts[~rare].sum())
    if not rare.any() or ((~rare).sum() >= 2 and 2 * frequent >= len(column)):
        return
    rarest = int(np.argmin(counts))
    advice = "leave the rows of rare classes out, or give them one class together"
    if _is_numeric(column):
        advice += "; if it is a quantity, use --task=regression"
    raise ValueError(
        "Two classes, and those of half of the rows, must have at least "
        f"{LEAST_ROWS_OF_A_CLASS} rows each, but {int(rare.sum())} of the {len(labels)} classes of "
        f"{column.name!r} have fewer: {_plain(labels[rarest])!r} has {counts[rarest]}, first in "
        f"data row {_first_row(column, labels[rarest])}: {advice}."
    )


def _rare_classes(
    column: Any, y: np.ndarray, classes: tuple[Any, ...], divided_otherwise: bool
) -> tuple[str, ...]:
    """A note, if there are classes that have no row in the test part, or perhaps none to train."""
    counts = np.bincount(y, minlength=len(classes))
    rare = counts < LEAST_ROWS_OF_A_CLASS
    if not rare.any():
        return ()
    rarest = classes[int(np.argmin(counts))]
    count, of = int(counts[rare].sum()), int(rare.sum())
    rows = "1 row is" if count == 1 else f"{count} rows are"
    them = f"a class of {column.name!r}" if of == 1 else f"{of} classes of {column.name!r}"
    where = (
        "there may be none of them to train with"
        if divided_otherwise
        else "to train with, and in no test part: no score tells how well they are predicted"
    )
    return (
        f"{rows} of {them} with fewer than {LEAST_ROWS_OF_A_CLASS} rows, such as {rarest!r} in "
        f"data row {_first_row(column, rarest)}: {where}",
    )


def _first_row(column: Any, label: Any) -> int:
    return _row(column, int(np.argmax(column == label)))


def _plain(label: Any) -> Any:
    """A label as Python has it, for JSON and for messages."""
    return label.item() if isinstance(label, np.generic) else label
