"""A table as arrays to train with, and as the first and last layers of what is served."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._classes import are_classes
from kerasreg._keras.graph import nodes, unmasked
from kerasreg._keras.internals import input_structure
from kerasreg._validation import check_choice, check_count
from kerasreg.layers import (
    CategoryEmbedding,
    FeatureScale,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
)
from kerasreg.tables._columns import (
    MOST_CATEGORIES,
    Column,
    Columns,
    check_frame,
    missing_in,
    numbers_in,
    raw_arrays,
    read_columns,
)
from kerasreg.tables._dates import DateNumbers, fields_of, names_of, parts_of
from kerasreg.tables._numbers import RobustScaling, scale_of, scaled

TASKS = ("auto", "classification", "regression")
EMBEDDINGS = ("none", "piecewise_linear", "periodic")
# What a model takes of such a type, if nothing else is known of a column.
KIND_OF_DTYPE = {"string": "category", "int64": "category", "bool": "boolean"}
_BOOLEANS = ["False", "True"]
# Places of a category that is missing, and of one that training never saw.
_MISSING, _NEVER_SEEN, _FIRST = 0, 1, 2


class Table:
    """A table, read column by column, with what its training rows say of scales and categories.

    A table makes arrays for training, `arrays` and `targets`; the first layers of a network that
    learns from these, `inputs` and `encode`; and, of the trained network, a model that takes raw
    rows by column name, `model`. The arrays are what that model computes from raw rows.

    In an array, columns are in this order: numbers (dates make several), robustly scaled and
    smoothly clipped, see `RobustScaling`; booleans; an indicator for each of these columns that
    misses values in training; categories, as whole numbers: 0 if missing, 1 if never seen in
    training, or in one row only, or not among the 256 most frequent; then the values by frequency.

    Args:
        frame: a pandas DataFrame of the training rows; no other row is looked at.
        columns: how columns are read: what `read_columns` returned, of all rows. By default
            of `frame`.
        target: the name of the target column; by default that of `columns`. None without one.
        task: `"classification"`, `"regression"`, or `"auto"`: classification where the target is
            text, boolean, or has at most 20 distinct whole numbers.

    Attributes:
        columns: how columns are read.
        features: the name of each number of a row in `arrays`.
        numbers: how many of these are numbers that embeddings are for; they come first.
        sizes: of the categories, which come last: the number of places of each column.
        labels: the classes, as text, in the order of their numbers; None for regression.
        classes: the classes themselves; None for regression.

    Raises:
        ValueError: if no column is left, or a value cannot be read; the message has the column
            and the row.

    Example:

    >>> import keras, pandas, kerasreg
    >>> frame = pandas.DataFrame({
    ...     "age": [39.0, 50.0, None, 28.0], "job": ["clerk", "cook", "clerk", "cook"],
    ...     "income": ["low", "high", "low", "high"]})
    >>> table = kerasreg.tables.Table(frame, target="income")
    >>> inputs = table.inputs()
    >>> outputs = keras.layers.Dense(2, "softmax")(table.encode(inputs))
    >>> network = keras.Model(inputs, outputs)
    >>> network.compile("adam", "sparse_categorical_crossentropy")
    >>> history = network.fit(table.arrays(frame), table.targets(frame), verbose=0)
    >>> served = table.model(network)
    >>> served.predict(table.raw(frame), verbose=0).shape
    (4, 2)
    """

    def __init__(
        self,
        frame: Any,
        columns: Columns | None = None,
        *,
        target: str | None = None,
        task: str = "auto",
    ) -> None:
        check_choice("task", task, TASKS)
        names = check_frame(frame)
        if not len(frame):
            raise ValueError("`frame` must have rows. Received: a frame without")
        if columns is None:
            columns = read_columns(frame, target)
        elif not isinstance(columns, Columns):
            raise ValueError(
                f"`columns` must be what `read_columns` returns. Received: columns={columns!r}"
            )
        self.columns = columns
        self.target = columns.target if target is None else check_choice("target", target, names)
        by_kind: dict[str, list[Column]] = {
            kind: [c for c in columns.used if c.kind == kind and c.name != self.target]
            for kind in ("number", "date", "boolean", "category")
        }
        if not any(by_kind.values()):
            raise ValueError(f"`frame` must have a column that is of use. {columns.dropped}")
        self._numbers, self._dates = by_kind["number"], by_kind["date"]
        self._booleans, self._categories = by_kind["boolean"], by_kind["category"]
        self._taken = [*self._numbers, *self._dates, *self._booleans, *self._categories]
        raw = self.raw(frame)
        self._parts = {c.name: _parts_found(raw[c.name], c.order) for c in self._dates}
        self._fit_numbers(raw)
        self._fit_categories(raw)
        self.classes: tuple[Any, ...] | None = None
        self._center, self._scale = 0.0, 1.0
        if self.target is not None:
            self._fit_target(_column(frame, self.target), task)
        coded = self._arrays(raw)
        self._edges_of = coded[:, : self.numbers]
        width = coded.shape[1] - len(self.sizes)
        self.unused = [
            (k, place)
            for k, size in enumerate(self.sizes)
            for place in range(size)
            if not (coded[:, width + k] == place).any()
        ]

    def _fit_numbers(self, raw: Mapping[str, np.ndarray]) -> None:
        found = self._uncoded(raw)
        of_numbers = [c.name for c in self._numbers]
        for date in self._dates:
            of_numbers += [f"{date.name}_{part}" for part in names_of(self._parts[date.name])]
        self.numbers = len(of_numbers)
        scales = [scale_of(found[:, k]) for k in range(self.numbers)]
        # Booleans are 0 and 1: made about -1 and 1, and 0 where missing.
        scales += [(0.5, 0.5)] * len(self._booleans)
        self._centers = np.array([center for center, _ in scales])
        self._scales = np.array([scale for _, scale in scales])
        names = [*of_numbers, *(c.name for c in self._booleans)]
        # The numbers of a date are missing together: the first tells.
        later = {
            f"{date.name}_{part}"
            for date in self._dates
            for part in names_of(self._parts[date.name])[1:]
        }
        self._indicators = [
            k for k, name in enumerate(names) if name not in later and np.isnan(found[:, k]).any()
        ]
        self.features = [*names, *(f"{names[k]}_missing" for k in self._indicators)]
        self.features += [c.name for c in self._categories]

    def _fit_categories(self, raw: Mapping[str, np.ndarray]) -> None:
        self._vocabularies: list[list[Any]] = []
        for column in self._categories:
            values = raw[column.name]
            there = values[~_is_missing(values)]
            found, counts = np.unique(there, return_counts=True)
            # By falling frequency; equal ones in their own order.
            order = np.argsort(-counts, kind="stable")
            kept = [k for k in order if counts[k] > 1 or len(found) <= 2][:MOST_CATEGORIES]
            whole = column.dtype != "string"
            self._vocabularies.append([int(found[k]) if whole else str(found[k]) for k in kept])
        self.sizes = [_FIRST + len(vocabulary) for vocabulary in self._vocabularies]

    def _fit_target(self, values: Any, task: str) -> None:
        _check_target(self.target, values)
        plain = values.to_numpy()
        if task == "auto":
            whole = values.dtype.kind not in "iuf" or are_classes(plain)
            task = "classification" if whole else "regression"
        if task == "classification":
            found = np.unique(plain.astype(str) if plain.dtype == object else plain)
            if len(found) < 2:
                label = found.tolist()[0]
                raise ValueError(f"The target column {self.target!r} has one class, {label!r}.")
            self.classes = tuple(found.tolist())
            return
        numbers = numbers_in(str(self.target), values)
        self._center, self._scale = float(numbers.mean()), float(numbers.std())
        if self._scale == 0:
            raise ValueError(f"The target column {self.target!r} has one value: {numbers[0]:g}.")

    @property
    def labels(self) -> list[str] | None:
        """The classes, as text, in the order of their numbers; None for regression."""
        return None if self.classes is None else [str(label) for label in self.classes]

    @property
    def target_scale(self) -> float:
        """A difference of targets in raw units over that in `targets`; 1 for classes."""
        return self._scale

    def raw(self, frame: Any) -> dict[str, np.ndarray]:
        """Rows as the served model takes them: an array for each column by name.

        Args:
            frame: a pandas DataFrame that has all the columns that are used.

        Returns:
            Arrays of the shape (rows,): numbers with NaN where missing, text with `""`. Keras'
            `predict` makes single precision of any array; where the `dtype` of a column is
            `"float64"`, call the model with tensors instead, as what is exported is called.

        Raises:
            ValueError: if a column is not there, or a value in it cannot be read.

        Example:

        >>> import pandas, kerasreg
        >>> frame = pandas.DataFrame({"job": ["clerk", None, "cook", "clerk"]})
        >>> kerasreg.tables.Table(frame).raw(frame)["job"].tolist()
        ['clerk', '', 'cook', 'clerk']
        """
        return raw_arrays(frame, self._taken)

    def arrays(self, frame: Any) -> np.ndarray:
        """Rows as a network takes them that begins with `inputs`.

        Args:
            frame: a pandas DataFrame that has all the columns that are used.

        Returns:
            float32 of the shape (rows, features).

        Raises:
            ValueError: if a column is not there, or a value in it cannot be read.

        Example:

        >>> import pandas, kerasreg
        >>> frame = pandas.DataFrame({"job": ["clerk", None, "cook", "clerk", "cook"]})
        >>> kerasreg.tables.Table(frame).arrays(frame)[:, 0].tolist()
        [2.0, 0.0, 3.0, 2.0, 3.0]
        """
        return self._arrays(self.raw(frame))

    def _arrays(self, raw: Mapping[str, np.ndarray]) -> np.ndarray:
        numbers = self._uncoded(raw)
        if numbers.shape[1]:
            numbers = scaled(numbers, self._centers, self._scales, self._indicators, np)
        columns = [numbers.astype("float32")]
        for column, vocabulary in zip(self._categories, self._vocabularies, strict=True):
            columns.append(_places(raw[column.name], vocabulary)[:, None])
        return np.concatenate(columns, axis=1)

    def _uncoded(self, raw: Mapping[str, np.ndarray]) -> np.ndarray:
        """All numbers, those of dates and of booleans too, float64, NaN where missing."""
        found = [raw[c.name].astype("float64")[:, None] for c in self._numbers]
        for date in self._dates:
            fields = fields_of(raw[date.name], date.order)
            numbers = parts_of(fields, date.order, self._parts[date.name], np)
            lost = np.isnan(numbers[:, 0]) & (raw[date.name] != "")
            if lost.any():
                row = int(np.argmax(lost))
                raise ValueError(
                    f"Column {date.name!r} is one of dates, {date.order}, but has "
                    f"{raw[date.name][row]!r} in data row {row + 1}."
                )
            found.append(numbers)
        for column in self._booleans:
            values = raw[column.name]
            if column.dtype == "string":
                known = {"True": 1.0, "False": 0.0}
                values = np.array([known.get(text, np.nan) for text in values])
            found.append(values.astype("float64")[:, None])
        rows = len(next(iter(raw.values())))
        return np.concatenate(found, axis=1) if found else np.zeros((rows, 0))

    def targets(self, frame: Any) -> np.ndarray:
        """Targets to train with: numbers of classes, or standardised numbers.

        Args:
            frame: a pandas DataFrame that has the target column.

        Returns:
            Shape (rows,); int64 of classes, float32 of numbers, whose mean over the training rows
            is 0, and the standard deviation 1. The outputs of `model` are in raw units.

        Raises:
            ValueError: if a target is missing, or a class is not one of training.

        Example:

        >>> import pandas, kerasreg
        >>> frame = pandas.DataFrame({"x": [0.5, 1.0, 4.0], "y": [10.5, 20.5, 30.5]})
        >>> table = kerasreg.tables.Table(frame, target="y")
        >>> [round(float(number), 3) for number in table.targets(frame)]
        [-1.225, 0.0, 1.225]
        """
        if self.target is None:
            raise ValueError("`target` must name a column for that: the table has none.")
        values = _column(frame, self.target)
        _check_target(self.target, values)
        if self.classes is None:
            numbers = numbers_in(self.target, values)
            return ((numbers - self._center) / self._scale).astype("float32")
        plain = values.to_numpy()
        plain = plain.astype(str) if plain.dtype == object else plain
        numbers = np.searchsorted(np.array(self.classes), plain)
        classes = np.array(self.classes)
        bad = classes[np.minimum(numbers, len(classes) - 1)] != plain
        if bad.any():
            row = int(np.argmax(bad))
            raise ValueError(
                f"The target column {self.target!r} has the class {values.iloc[row]!r} in data row "
                f"{row + 1}, which is none of training."
            )
        return numbers.astype("int64")

    def inputs(self) -> Any:
        """A `keras.Input` for rows of `arrays`.

        Example:

        >>> import pandas, kerasreg
        >>> frame = pandas.DataFrame({"x": [0.5, 1.0, 4.0]})
        >>> kerasreg.tables.Table(frame).inputs().shape
        (None, 1)
        """
        return keras.Input((len(self.features),), name="features", dtype="float32")

    def encode(
        self,
        inputs: Any,
        *,
        embedding: str = "piecewise_linear",
        width: int = 8,
        bins: int = 16,
        frequencies: int = 16,
        sigma: float = 0.1,
        category_width: int = 8,
        one_hot: int = 10,
        initial_scale: float = 1.0,
        seed: int | None = None,
    ) -> Any:
        """The first layers of a network: embeddings of numbers and categories, side by side.

        Numbers themselves, with a learned scale, are beside their embeddings, so that a network
        sees how far a number lies beyond those of training.

        Args:
            inputs: what `inputs` returned.
            embedding: of numbers: `"piecewise_linear"`, see
                `kerasreg.layers.PiecewiseLinearEmbedding`; `"periodic"`, see
                `kerasreg.layers.PeriodicEmbedding`; or `"none"`.
            width: length of the vector of a number.
            bins: of the piecewise-linear embedding: quantiles of the training rows are the edges.
            frequencies: of the periodic embedding.
            sigma: of the periodic embedding.
            category_width: length of the vector of a category, see
                `kerasreg.layers.CategoryEmbedding`.
            one_hot: the most values of a column that is one-hot.
            initial_scale: a factor on the initial weights of all embeddings.
            seed: of initial weights.

        Returns:
            A symbolic tensor of the shape (batch, numbers of all columns).

        Raises:
            ValueError: if an argument is none of these.

        Example:

        >>> import pandas, kerasreg
        >>> frame = pandas.DataFrame({"x": [0.5, 1.0, 4.0]})
        >>> table = kerasreg.tables.Table(frame)
        >>> table.encode(table.inputs(), width=3).shape
        (None, 4)
        """
        check_choice("embedding", embedding, EMBEDDINGS)
        parts = []
        numbers = inputs[:, : self.numbers]
        plain = len(self.features) - len(self.sizes)
        if plain:
            parts.append(FeatureScale(name="scale")(inputs[:, :plain]))
        if self.numbers and embedding != "none":
            layer: keras.layers.Layer
            if embedding == "piecewise_linear":
                edges = self.edges(bins)
                layer = PiecewiseLinearEmbedding(
                    edges,
                    width,
                    activation="relu",
                    initial_scale=initial_scale,
                    seed=seed,
                    name="number_embedding",
                )
            else:
                layer = PeriodicEmbedding(
                    frequencies,
                    width,
                    sigma=sigma,
                    initial_scale=initial_scale,
                    seed=seed,
                    name="number_embedding",
                )
            parts.append(keras.layers.Flatten()(layer(numbers)))
        if self.sizes:
            parts.append(
                CategoryEmbedding(
                    self.sizes,
                    category_width,
                    one_hot=one_hot + _FIRST,
                    unused=self.unused,
                    initial_scale=initial_scale,
                    seed=seed,
                    name="category_embedding",
                )(inputs[:, plain:])
            )
        return parts[0] if len(parts) == 1 else keras.layers.Concatenate()(parts)

    def edges(self, bins: int = 16) -> np.ndarray:
        """Quantiles of each number in the training rows, for `PiecewiseLinearEmbedding`.

        Args:
            bins: between the edges, a whole number >= 1.

        Returns:
            Shape (numbers, bins + 1). Equal neighbours are bins that are empty.

        Example:

        >>> import pandas, kerasreg
        >>> frame = pandas.DataFrame({"x": [1.0, 2.5, 3.0]})
        >>> kerasreg.tables.Table(frame).edges(2).shape
        (1, 3)
        """
        quantiles = np.linspace(0, 1, check_count("bins", bins) + 1)
        if not self.numbers:
            return np.zeros((0, len(quantiles)), "float32")
        return np.quantile(self._edges_of, quantiles, axis=0).T.astype("float32")

    def preprocessing(self) -> keras.Model:
        """A Keras model from raw columns by name to rows of `arrays`.

        Text needs TensorFlow, as `keras.layers.StringLookup` does.

        Returns:
            A model whose inputs are a dictionary of tensors of the shape (batch,).

        Example:

        >>> import numpy as np, pandas, kerasreg
        >>> frame = pandas.DataFrame({"x": [1.0, None, 3.5], "job": ["cook", "cook", ""]})
        >>> model = kerasreg.tables.Table(frame).preprocessing()
        >>> sorted(model.input)
        ['job', 'x']
        """
        inputs = {
            c.name: keras.Input((), name=_layer_name(c.name), dtype=c.dtype) for c in self._taken
        }
        return _named_by_keys(inputs, self._preprocessed(inputs), "preprocessing")

    def _preprocessed(self, inputs: Mapping[str, Any]) -> Any:
        found = []
        for column in self._numbers:
            found.append(ops.expand_dims(ops.cast(inputs[column.name], "float64"), -1))
        for column in self._dates:
            layer = DateNumbers(column.order, self._parts[column.name])
            found.append(layer(inputs[column.name]))
        for column in self._booleans:
            value = inputs[column.name]
            if column.dtype == "string":
                # Of two places for text that is none of the two: NaN.
                index = keras.layers.StringLookup(vocabulary=_BOOLEANS, mask_token=None)(value)
                value = ops.take(np.array([np.nan, 0.0, 1.0]), index)
            found.append(ops.expand_dims(ops.cast(value, "float64"), -1))
        parts = []
        if found:
            joined = found[0] if len(found) == 1 else ops.concatenate(found, axis=-1)
            scaling = RobustScaling(
                self._centers, self._scales, indicators=self._indicators, dtype="float64"
            )
            parts.append(ops.cast(scaling(joined), "float32"))
        places = []
        for column, vocabulary in zip(self._categories, self._vocabularies, strict=True):
            value = inputs[column.name]
            if column.dtype == "string":
                lookup = keras.layers.StringLookup(vocabulary=vocabulary or None, mask_token="")
            else:
                lost = _token_of_missing(vocabulary)
                lookup = keras.layers.IntegerLookup(vocabulary=vocabulary, mask_token=lost)
                if column.dtype != "int64":
                    missing = ops.isnan(value)
                    value = ops.where(missing, ops.cast(lost, "int64"), ops.cast(value, "int64"))
            places.append(ops.cast(lookup(value), "float32"))
        if places:
            parts.append(ops.stack(places, axis=-1))
        return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)

    def model(self, network: keras.Model) -> keras.Model:
        """A trained network as a model that takes raw columns by name.

        Args:
            network: a model that takes rows of `arrays`.

        Returns:
            A model whose inputs are a dictionary of tensors of the shape (batch,), for
            `kerasreg.serving.export`. For regression its outputs are in raw units. It has the
            layers of the network, which can be trained on.

        Raises:
            ValueError: if the network takes other arrays.

        Example:

        >>> import keras, pandas, kerasreg
        >>> frame = pandas.DataFrame({"x": [1.0, 2.5, 3.5], "y": [10.5, 20.5, 30.5]})
        >>> table = kerasreg.tables.Table(frame, target="y")
        >>> network = keras.Sequential([table.inputs(), keras.layers.Dense(1)])
        >>> table.model(network).predict(table.raw(frame), verbose=0).shape
        (3, 1)
        """
        self._check_network(network)
        preprocessing = self.preprocessing()
        outputs = self._in_raw_units(network(preprocessing.output))
        return _named_by_keys(preprocessing.input, outputs, "table")

    def vector_model(self, network: keras.Model) -> keras.Model:
        """A trained network as a model that takes the numbers of a row as one vector.

        Args:
            network: a model that takes rows of `arrays`.

        Returns:
            A model whose input is a float32 tensor of the shape (batch, columns), the columns that
            are used in their order, NaN where missing. Otherwise it is as `model`.

        Raises:
            ValueError: if the network takes other arrays, or a column is not of numbers.

        Example:

        >>> import keras, numpy as np, pandas, kerasreg
        >>> frame = pandas.DataFrame({"x": [1.0, 2.5, 3.5], "z": [0.5, 1.5, 4.5]})
        >>> table = kerasreg.tables.Table(frame)
        >>> network = keras.Sequential([table.inputs(), keras.layers.Dense(1)])
        >>> table.vector_model(network).predict(frame.to_numpy("float32"), verbose=0).shape
        (3, 1)
        """
        self._check_network(network)
        others = [*self._dates, *self._booleans, *self._categories]
        if others:
            raise ValueError(
                "A vector has numbers alone, but the column "
                f"{others[0].name!r} is read as a {others[0].kind}: use `model`."
            )
        inputs = keras.Input((len(self._numbers),), name="features", dtype="float32")
        scaling = RobustScaling(
            self._centers, self._scales, indicators=self._indicators, dtype="float64"
        )
        rows = ops.cast(scaling(ops.cast(inputs, "float64")), "float32")
        return keras.Model(inputs, self._in_raw_units(network(rows)), name="table")

    def _in_raw_units(self, outputs: Any) -> Any:
        if self.target is None or self.classes is not None:
            return outputs
        return keras.layers.Rescaling(self._scale, self._center, dtype="float32")(outputs)

    def _check_network(self, network: keras.Model) -> None:
        if tuple(getattr(network, "input_shape", ())) != (None, len(self.features)):
            raise ValueError(
                f"`network` must take rows of {len(self.features)} numbers, as `inputs` has them. "
                f"Received: network={network.name!r}, which takes "
                f"{getattr(network, 'input_shape', None)}"
            )


def model_columns(model: keras.Model) -> Columns:
    """How a model of raw columns reads them, as far as its layers tell.

    Args:
        model: one that `Table.model` or `Table.preprocessing` made, also saved and loaded; or
            another functional model whose inputs are a dictionary.

    Returns:
        A `Columns`, of which `raw` makes of a table what the model takes.

    Raises:
        ValueError: if the model does not take a dictionary of columns.

    Example:

    >>> import pandas, kerasreg
    >>> frame = pandas.DataFrame({"born": ["1.2.1999", "31.7.2001"], "x": [1, 2]})
    >>> model = kerasreg.tables.Table(frame).preprocessing()
    >>> kerasreg.tables.model_columns(model)["born"].order
    'day-month-year'
    """
    inputs = input_structure(model)
    if not isinstance(inputs, dict) or not all(
        isinstance(one, keras.KerasTensor) for one in inputs.values()
    ):
        raise ValueError(
            "`model` must be a functional model that takes a dictionary of columns. Received: "
            f"model={model.name!r}, which takes {inputs}"
        )
    readers = {id(taken): node.operation for node in nodes(model) for taken in unmasked(node)}
    columns = []
    for name, tensor in inputs.items():
        dtype = keras.backend.standardize_dtype(tensor.dtype)
        layer = readers.get(id(tensor))
        kind = KIND_OF_DTYPE.get(dtype, "number")
        if isinstance(layer, DateNumbers):
            kind = "date"
        elif isinstance(layer, keras.layers.StringLookup):
            words = layer.get_vocabulary(include_special_tokens=False)
            kind = "boolean" if (layer.mask_token, words) == (None, _BOOLEANS) else kind
        order = layer.order if isinstance(layer, DateNumbers) else ""
        columns.append(Column(name, kind, dtype, "as the model has it", order=order))
    return Columns(tuple(columns))


def _column(frame: Any, name: str) -> Any:
    if name not in check_frame(frame):
        raise ValueError(f"`frame` must have the column {name!r}. It has {list(frame.columns)}")
    return frame[name]


def _check_target(name: Any, values: Any) -> None:
    missing = missing_in(values)
    if missing.any():
        row = int(np.argmax(missing)) + 1
        raise ValueError(
            f"The target column {name!r} has {int(missing.sum())} missing values, the first in "
            f"data row {row}. Remove those rows."
        )


def _is_missing(values: np.ndarray) -> np.ndarray:
    return values == "" if values.dtype == object else np.isnan(values.astype("float64"))


def _places(values: np.ndarray, vocabulary: list[Any]) -> np.ndarray:
    """The place of each value, float32: missing, never seen, or in the vocabulary."""
    import pandas

    index = pandas.Index(vocabulary, dtype=object if values.dtype == object else "float64")
    found = index.get_indexer(pandas.Index(values, dtype=index.dtype))
    places = np.where(found < 0, _NEVER_SEEN, found + _FIRST)
    return np.where(_is_missing(values), _MISSING, places).astype("float32")


def _parts_found(texts: np.ndarray, order: str) -> list[str]:
    """Of what dates have, what differs among some; the days always."""
    found = fields_of([text for text in texts if text], order)
    numbers = parts_of(found, order, ["year", "month", "weekday", "hour"], np)
    names = names_of(["year", "month", "weekday", "hour"])
    differ = {
        name.partition("_")[0]
        for k, name in enumerate(names)
        if len(np.unique(numbers[:, k].round(9))) > 1
    }
    return ["days", *(part for part in ("year", "month", "weekday", "hour") if part in differ)]


def _token_of_missing(vocabulary: list[int]) -> int:
    """A whole number that is no category."""
    return min([0, *vocabulary]) - 1


def _named_by_keys(inputs: Any, outputs: Any, name: str) -> keras.Model:
    """A model whose inputs have the keys of a dictionary as names, whatever the layers have."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "When providing `inputs` as a dict", UserWarning)
        return keras.Model(inputs, outputs, name=name)


def _layer_name(name: str) -> str:
    """A name that a layer of Keras may have; the keys of a dictionary are those that users see."""
    return name.replace("/", "_")
