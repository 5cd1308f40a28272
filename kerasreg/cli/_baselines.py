"""Models that are no networks, with their defaults, beside the networks of a search."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.util
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kerasreg._durations import duration
from kerasreg.cli._data import Table
from kerasreg.cli._measured import milliseconds

NAMES = ("linear", "HistGradientBoosting", "LightGBM", "CatBoost", "XGBoost")
# Of a column with more values than this, HistGradientBoosting takes the others for one.
_MOST_CATEGORIES = 254
# With fewer, threads wait for each other longer than they compute where others use the cores too.
_MOST_CELLS_OF_A_THREAD = 1_000_000
# What dates are to a model of numbers.
_PARTS_OF_DATES = ("days", "year", "month", "weekday", "hour")


def baselines(
    table: Table,
    train_rows: np.ndarray,
    test_rows: np.ndarray,
    seed: int = 0,
    names: Sequence[str] = NAMES,
    seconds: float = math.inf,
    left_out: Callable[[str], None] | None = None,
    measured: dict[str, Any] | None = None,
) -> dict[str, np.ndarray]:
    """Trains other kinds of models on rows of a table, and asks them for others.

    - `linear`: scikit-learn's LogisticRegression, or Ridge, of standardised numbers, whose holes
      are filled by the median, and categories as one-hot vectors.
    - `HistGradientBoosting`: scikit-learn's, which takes categories and missing values itself.
    - `LightGBM`, `CatBoost` and `XGBoost`, where they are installed, which do so too.

    All have the defaults of their packages.

    Args:
        table: the table.
        train_rows: numbers of the rows to train on.
        test_rows: numbers of the rows to answer.
        seed: of what is random in a model.
        names: of the models, some of `NAMES`; those that are not installed are passed over.
        seconds: no model begins later than this.
        left_out: is given a line for each model that fails, or begins too late.
        measured: gets by name the `milliseconds` of a call with one row.

    Returns:
        By name, class probabilities of the shape (test rows, classes), or predictions of the shape
        (test rows,).
    """
    columns = _columns_of(table, train_rows)
    y = table.y[train_rows]
    present: np.ndarray | None = None
    if table.classes is not None:
        # A class may have no row to train on, and some models take only 0, 1, 2, ...
        present, y = np.unique(y, return_inverse=True)
    found = {}
    begun = time.monotonic()
    say = left_out or (lambda line: None)
    # Before its threads are limited: only those of what is loaded can be.
    import sklearn.ensemble  # noqa: F401
    from threadpoolctl import threadpool_limits

    for name in names:
        if time.monotonic() - begun >= seconds:
            say(f"{name} is left out: the time for such models, {duration(seconds)}, is over")
            continue
        try:
            with threadpool_limits(columns.threads), warnings.catch_warnings():
                # Of one that has not converged, with its defaults, and the like.
                warnings.simplefilter("ignore")
                ask = _MODELS[name](columns, train_rows, y, present is not None, seed)
                if ask is None:
                    continue
                outputs = np.asarray(ask(test_rows), "float64")
                if measured is not None:
                    row = test_rows[:1]
                    measured[name] = {"milliseconds": milliseconds(functools.partial(ask, row))}
        except Exception as error:  # Of packages of others: one that fails costs itself alone.
            lines = str(error).strip().splitlines() or [""]
            say(f"{name} is left out: {type(error).__name__}: {lines[0]}")
            continue
        if present is not None:
            outputs = _of_all_classes(outputs, present, len(table.classes or ()))
        found[name] = outputs
    return found


def _of_all_classes(outputs: np.ndarray, present: np.ndarray, classes: int) -> np.ndarray:
    found = np.zeros((len(outputs), classes))
    found[:, present] = outputs
    return found


@dataclasses.dataclass(frozen=True)
class _Columns:
    """Columns of a table, before any model.

    Attributes:
        numbers: float64, (rows, numbers); NaN is missing.
        texts: the category of each row, as text; `""` is missing; an array for each column.
        places: the place of a category by falling frequency in training, NaN where it is missing
            or is not there; float64, (rows, categories).
        sizes: how many values each category has in training.
    """

    numbers: np.ndarray
    texts: list[np.ndarray]
    places: np.ndarray
    sizes: list[int]

    @property
    def threads(self) -> int | None:
        """One for few rows: several wait for each other, the longer the busier a machine is."""
        few = self.numbers.size + self.places.size <= _MOST_CELLS_OF_A_THREAD
        return 1 if few else None

    def frame(self) -> Any:
        """A pandas DataFrame; names are plain, because LightGBM refuses others."""
        import pandas

        found = pandas.DataFrame(
            self.numbers, columns=[f"number_{k}" for k in range(self.numbers.shape[1])]
        )
        for k, size in enumerate(self.sizes):
            codes = np.where(np.isnan(self.places[:, k]), -1, self.places[:, k]).astype(int)
            categories = pandas.Categorical.from_codes(codes, categories=np.arange(size))
            found[f"category_{k}"] = categories
        return found


def _columns_of(table: Table, train_rows: np.ndarray) -> _Columns:
    if table.reading is None:
        return _Columns(table.x.astype("float64"), [], np.zeros((len(table.x), 0)), [])
    raw = table.reading.raw(table.frame)
    numbers, texts = [np.zeros((len(table.frame), 0))], []
    for column in table.reading.used:
        values = raw[column.name]
        if column.kind == "category":
            texts.append(_as_texts(values))
        elif column.kind == "date":
            numbers.append(_of_dates(values, column.order))
        elif column.dtype == "string":  # Booleans, some of them missing.
            known = {"True": 1.0, "False": 0.0}
            numbers.append(np.array([known.get(one, np.nan) for one in values])[:, None])
        else:
            numbers.append(values.astype("float64")[:, None])
    # Columns without a value in training are none: some models stumble over them.
    joined = np.concatenate(numbers, axis=1)
    joined = joined[:, ~np.isnan(joined[train_rows]).all(axis=0)]
    texts = [each for each in texts if (each[train_rows] != "").any()]
    placed = [_places(each, each[train_rows]) for each in texts]
    places = np.stack([place for place, _ in placed], axis=1) if placed else joined[:, :0]
    return _Columns(joined, texts, places, [size for _, size in placed])


def _as_texts(values: np.ndarray) -> np.ndarray:
    if values.dtype == object:
        return values
    found = [("" if value != value else str(int(value))) for value in values.tolist()]
    return np.array(found, dtype=object)


def _of_dates(texts: np.ndarray, order: str) -> np.ndarray:
    import tensorflow as tf

    from kerasreg.tables import DateNumbers

    return np.array(DateNumbers(order, _PARTS_OF_DATES)(tf.constant(texts, tf.string)))


def _places(texts: np.ndarray, training: np.ndarray) -> tuple[np.ndarray, int]:
    """The place of each text among those of training, by falling frequency, and their number."""
    import pandas

    values, counts = np.unique(training[training != ""].astype(str), return_counts=True)
    index = pandas.Index(values[np.argsort(-counts, kind="stable")], dtype=object)
    places = index.get_indexer(pandas.Index(texts, dtype=object))
    return np.where(places < 0, np.nan, places), len(index)


def _asking(model: Any, rows_of: Callable[[np.ndarray], Any], classification: bool) -> Any:
    """What a fitted model answers to rows of a table."""
    answer = model.predict_proba if classification else model.predict
    return lambda rows: answer(rows_of(rows))


def _linear(columns: _Columns, train: np.ndarray, y: Any, classification: bool, seed: int) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    count = columns.numbers.shape[1]
    table = np.concatenate(
        [columns.numbers.astype(object), *(each[:, None] for each in columns.texts)], axis=1
    )
    filled = SimpleImputer(strategy="median")
    kinds = [
        ("numbers", make_pipeline(filled, StandardScaler()), np.arange(count)),
        ("categories", OneHotEncoder(handle_unknown="ignore"), np.arange(count, table.shape[1])),
    ]
    steps = ColumnTransformer([one for one in kinds if len(one[2])])
    last = LogisticRegression(random_state=seed) if classification else Ridge(random_state=seed)
    model = make_pipeline(steps, last).fit(table[train], y)
    return _asking(model, lambda rows: table[rows], classification)


def _hist(columns: _Columns, train: np.ndarray, y: Any, classification: bool, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if classification else HistGradientBoostingRegressor
    count = columns.numbers.shape[1]
    places = np.minimum(columns.places, _MOST_CATEGORIES)  # NaN stays NaN.
    table = np.concatenate([columns.numbers, places], axis=1)
    mask = np.arange(table.shape[1]) >= count
    # Of many rows a part is set aside, in which a class of one row cannot be.
    single = classification and np.bincount(y).min() < 2
    options = {"early_stopping": False} if single else {}
    model = kind(categorical_features=mask, random_state=seed, **options).fit(table[train], y)
    return _asking(model, lambda rows: table[rows], classification)


def _installed(name: str) -> Any:
    """A package that is no dependency, or None if it is not installed."""
    found = importlib.util.find_spec(name) is not None
    return importlib.import_module(name) if found else None


def _of_frames(
    package: str,
    classifier: str,
    regressor: str,
    options: Mapping[str, Any],
    columns: _Columns,
    train: np.ndarray,
    y: Any,
    classification: bool,
    seed: int,
) -> Any:
    """A model of another package that takes the categories of a pandas DataFrame."""
    module = _installed(package)
    if module is None:
        return None
    kind = getattr(module, classifier if classification else regressor)
    frame = columns.frame()
    model = kind(random_state=seed, n_jobs=columns.threads, **options).fit(frame.iloc[train], y)
    return _asking(model, lambda rows: frame.iloc[rows], classification)


def _catboost(columns: _Columns, train: np.ndarray, y: Any, classification: bool, seed: int) -> Any:
    catboost = _installed("catboost")
    if catboost is None:
        return None
    kind = catboost.CatBoostClassifier if classification else catboost.CatBoostRegressor
    frame = columns.frame()
    names = [name for name in frame.columns if name.startswith("category_")]
    for name, texts in zip(names, columns.texts, strict=True):
        frame[name] = texts
    # Without the files that it writes beside, and the lines that it prints.
    model = kind(
        random_seed=seed,
        verbose=False,
        allow_writing_files=False,
        thread_count=columns.threads or -1,
    )
    model.fit(frame.iloc[train], y, cat_features=names)
    return _asking(model, lambda rows: frame.iloc[rows], classification)


_lightgbm = functools.partial(
    _of_frames, "lightgbm", "LGBMClassifier", "LGBMRegressor", {"verbose": -1}
)
_xgboost = functools.partial(
    _of_frames,
    "xgboost",
    "XGBClassifier",
    "XGBRegressor",
    {"enable_categorical": True, "verbosity": 0},
)
_MODELS: dict[str, Callable[..., Any]] = dict(
    zip(NAMES, (_linear, _hist, _lightgbm, _catboost, _xgboost), strict=True)
)
