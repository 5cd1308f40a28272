"""Parts of a table: to train, to validate and to test; or to search with, and to test."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasreg.cli._data import LEAST_ROWS_OF_A_CLASS, Table

if TYPE_CHECKING:
    from kerasreg import tables


# A part of so many rows is of use although it does not have each class.
_LARGE_PART = 10


@dataclasses.dataclass(frozen=True)
class Parts:
    """Rows of a table, shuffled and divided; classes keep their shares.

    Attributes:
        train: `(x, y)` to train on.
        validation: `(x, y)` that the search looks at.
        test: `(x, y)` that nothing looks at before the report.
        target_mean: what was subtracted from regression targets, else 0.
        target_scale: what they were then divided by, else 1.
        fitted: of a table with more than numbers, what its training part says of its columns.
        test_rows: the rows of the test part.
    """

    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    target_mean: float
    target_scale: float
    fitted: tables.Table | None
    test_rows: np.ndarray

    def first_layers(self) -> dict[str, Any]:
        """Arguments of `DenseHyperModel` for its first layers."""
        if self.fitted is not None:
            return {"table": self.fitted}
        x, _ = self.train
        return {"mean": x.mean(axis=0, dtype="float64"), "variance": x.var(axis=0, dtype="float64")}


def split(
    table: Table, validation_fraction: float = 0.2, test_fraction: float = 0.2, seed: int = 0
) -> Parts:
    """Divides a table into training, validation and test parts.

    Regression targets of the training and validation parts are standardised by
    the training part's mean and standard deviation; the test part is as it was.

    Args:
        table: the table.
        validation_fraction: share of the rows to validate on.
        test_fraction: share of the rows to test on.
        seed: seed of the shuffle.

    Returns:
        The parts.

    Raises:
        ValueError: if there are too few rows for the parts.
    """
    rest, test = _divided(table, np.arange(len(table.y)), test_fraction, seed)
    places = _divided(table, rest, validation_fraction / (1.0 - test_fraction), seed)
    train, validation = (rest[part] for part in places)
    mean, scale, standardised = _standardised(table, train)
    y = table.y
    x, fitted = table.x, None
    if table.reading is not None:
        from kerasreg import tables

        fitted = tables.Table(table.frame.iloc[train], table.reading)
        x = fitted.arrays(table.frame)
    return Parts(
        (x[train], standardised[train]),
        (x[validation], standardised[validation]),
        (x[test], y[test]),
        mean,
        scale,
        fitted,
        test,
    )


@dataclasses.dataclass(frozen=True)
class SearchData:
    """What a search is given of a table, and what it is not.

    Attributes:
        x: rows of `fitted.arrays` to search with.
        y: their class numbers, or standardised targets.
        rows: their numbers in the table.
        test_rows: the numbers of the rows that nothing looks at before the report.
        frame: the features of all rows of the table, a pandas DataFrame.
        fitted: what the rows to search with say of the columns.
        target_mean: what was subtracted from regression targets, else 0.
        target_scale: what they were then divided by, else 1.
        groups: the number of the group of each row to search with, or None.
    """

    x: np.ndarray
    y: np.ndarray
    rows: np.ndarray
    test_rows: np.ndarray
    frame: Any
    fitted: tables.Table
    target_mean: float
    target_scale: float
    groups: np.ndarray | None

    def parts(self, table: Table, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Places in `x` to train with, and others to validate with, as the table was divided."""
        return _divided(table, self.rows, share, seed)


def search_data(table: Table, test_fraction: float = 0.2, seed: int = 0) -> SearchData:
    """Divides a table into rows to search with, and rows to test on; classes keep their shares.

    Where rows follow each other in time, the last ones are the test part, and the rows to search
    with are in this order.

    Args:
        table: the table.
        test_fraction: share of the rows to test on.
        seed: seed of the shuffle.

    Raises:
        ValueError: if there are too few rows for a test part.
    """
    import pandas

    from kerasreg import tables

    rows, test_rows = _divided(table, np.arange(len(table.y)), test_fraction, seed)
    mean, scale, y = _standardised(table, rows)
    frame, reading = table.frame, table.reading
    if reading is None:
        frame = pandas.DataFrame(table.x, columns=list(table.columns))
        # All of them, so that the model takes the columns of the file.
        overrides = dict.fromkeys(table.columns, "number")
        reading = tables.read_columns(frame, overrides=overrides)
    fitted = tables.Table(frame.iloc[rows], reading)
    x = fitted.arrays(frame.iloc[rows])
    groups = None if table.groups is None else table.groups[rows]
    return SearchData(x, y[rows], rows, test_rows, frame, fitted, mean, scale, groups)


def _divided(
    table: Table, rows: np.ndarray, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Divides rows in two, of which the second has a share of them: their places in `rows`."""
    from sklearn import model_selection

    places, strata = np.arange(len(rows)), _strata(table, rows)
    if table.times is not None:
        places = np.argsort(table.times[rows], kind="stable")
        border = len(rows) - max(round(share * len(rows)), 1)
        return places[:border], places[border:]
    try:
        if table.groups is None and strata is None:
            first, second = model_selection.train_test_split(
                places, test_size=share, random_state=seed
            )
            return first, second
        if table.groups is None:
            return _stratified(table, rows, share, seed)
        groups = table.groups[rows]
        count = min(round(1 / share), len(np.unique(groups)))
        if strata is None:
            splitter = model_selection.GroupKFold(count)
        else:
            splitter = model_selection.StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        with warnings.catch_warnings():
            # The table's own note tells of rare classes.
            warnings.filterwarnings("ignore", "The least populated class in y")
            first, second = next(iter(splitter.split(places, strata, groups)))
    except ValueError as error:
        raise ValueError(
            f"{table.name!r} has too few rows ({len(table.y)}) for a part of {share:g}: {error}"
        ) from error
    return first, second


def _stratified(
    table: Table, rows: np.ndarray, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """As `_divided`, in which classes keep their shares; rare ones are all in the first part."""
    from sklearn import model_selection

    y = table.y[rows]
    rare = np.bincount(table.y)[y] < LEAST_ROWS_OF_A_CLASS
    rare |= np.bincount(y)[y] < 2  # Of which scikit-learn makes no two parts.
    places = np.flatnonzero(~rare)
    # A part that is smaller than the number of classes cannot have all of them.
    smallest = min(math.ceil(share * len(places)), math.floor((1 - share) * len(places)))
    is_large = smallest >= _LARGE_PART and smallest < len(np.unique(y[places]))
    first, second = model_selection.train_test_split(
        places, test_size=share, random_state=seed, stratify=None if is_large else y[places]
    )
    return np.concatenate([first, np.flatnonzero(rare)]), second


def _standardised(table: Table, rows: np.ndarray) -> tuple[float, float, np.ndarray]:
    """The mean and the scale of regression targets in some rows, and all targets by these."""
    if table.classes is not None:
        return 0.0, 1.0, table.y
    mean, scale = float(table.y[rows].mean()), float(table.y[rows].std()) or 1.0
    return mean, scale, ((table.y - mean) / scale).astype("float32")


def _strata(table: Table, rows: np.ndarray) -> np.ndarray | None:
    return None if table.classes is None else table.y[rows]
