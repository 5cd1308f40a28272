"""First layers for columns of a table: numbers and categories, embedded column by column."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._validation import check_count, check_positive


@keras.saving.register_keras_serializable(package="kerasreg")
class FeatureScale(keras.layers.Layer):
    """A learned factor for each feature: `y = s · x`, with `s` of the shape (features,).

    The factors begin at 1. Penalties and weight decay of the layer behind it act on features of
    a scale that the training chooses (Holzmüller et al. 2024, arXiv 2407.04491).

    Args:
        **kwargs: `name`, `dtype`, `trainable` of a Keras layer.

    Call arguments:
        inputs: a floating-point tensor of the shape (..., features).

    Returns:
        A tensor of the shape and dtype of `inputs`.

    Example:

    >>> import keras, kerasreg
    >>> layer = kerasreg.layers.FeatureScale()
    >>> [float(number) for number in layer(keras.ops.ones((1, 2)))[0]]
    [1.0, 1.0]
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def build(self, input_shape: Any) -> None:
        """Makes the factors."""
        self.scale = self.add_weight(name="scale", shape=input_shape[-1:], initializer="ones")

    def call(self, inputs: Any) -> Any:
        """Multiplies each feature by its factor."""
        return inputs * self.scale

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the inputs."""
        return input_shape


class _NumberEmbedding(keras.layers.Layer):
    """What embeddings of numbers share: a dense layer of each feature's own behind an encoding.

    A subclass makes the encoding, and calls `_add_dense` and `_dense`.

    Args:
        width: as for the subclass.
        activation: as for the subclass.
        initial_scale: as for the subclass.
        seed: as for the subclass.
        **kwargs: as for the subclass.
    """

    def __init__(
        self, width: int, activation: Any, initial_scale: float, seed: int | None, **kwargs: Any
    ) -> None:
        # In half precision, what tells numbers apart would be rounded: encoded before the cast.
        super().__init__(**{"autocast": False, **kwargs})
        self.width = check_count("width", width)
        self.activation = _activation(activation)
        self.initial_scale = _initial_scale(initial_scale)
        self._seeds = _seeds(seed)

    def _add_dense(self, features: int, inner: int, first: int) -> None:
        """Makes the weights, with seeds that begin `first` after that of the layer.

        They begin as those of a dense layer of so many inputs in PyTorch, of which the papers'
        figures are.
        """
        bound = self.initial_scale * (1 / math.sqrt(inner))
        shapes = {"kernel": (features, inner, self.width), "bias": (features, self.width)}
        self.kernel, self.bias = (
            self.add_weight(
                name=name,
                shape=shape,
                initializer=keras.initializers.RandomUniform(
                    -bound, bound, seed=self._seeds.seed + first + number
                ),
            )
            for number, (name, shape) in enumerate(shapes.items())
        )

    def _dense(self, encoded: Any) -> Any:
        """(batch, features, inner) to (batch, features, width)."""
        dtype = self.compute_dtype
        kernel, bias = ops.cast(self.kernel, dtype), ops.cast(self.bias, dtype)
        return self.activation(ops.einsum("bfi,fiw->bfw", ops.cast(encoded, dtype), kernel) + bias)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(batch, features, width)."""
        return (*input_shape, self.width)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {
            **super().get_config(),
            "width": self.width,
            "activation": keras.activations.serialize(self.activation),
            "initial_scale": float(self.initial_scale),
            "seed": self._seeds.seed,
        }


@keras.saving.register_keras_serializable(package="kerasreg")
class PiecewiseLinearEmbedding(_NumberEmbedding):
    """A vector for each number, linear between the edges of bins.

    With edges `b₀ ≤ b₁ ≤ ... ≤ b_T` of a feature, its encoding has the entries
    `e_t = clip((x - b_{t-1}) / (b_t - b_{t-1}), 0, 1)`; an empty bin gives 0. The embedding is
    `activation(W·e + b)`, with weights of each feature's own (Gorishniy et al. 2022, arXiv
    2203.05556). In contrast to the paper, the first and the last bin end at their edges: what lies
    beyond the training data has the embedding of its border.

    Args:
        edges: numbers in ascending order for each feature, shape (features, bins + 1). Quantiles
            of the training data are a good choice. They are kept in a variable that is not
            trained, in which lanes may differ.
        width: length of the vector, a whole number >= 1.
        activation: of the vector, as in `keras.layers.Dense`.
        initial_scale: a factor on the initial `W` and `b`, a number > 0. It is no part of the
            program: lanes may differ in it.
        seed: an integer; equal seeds give equal initial weights.
        **kwargs: `name`, `dtype`, `trainable` of a Keras layer.

    Call arguments:
        inputs: a floating-point tensor of the shape (batch, features).

    Returns:
        A tensor of the shape (batch, features, width).

    Raises:
        ValueError: if the edges are no such matrix, or `width` is none.

    Example:

    >>> import keras, kerasreg
    >>> layer = kerasreg.layers.PiecewiseLinearEmbedding([[0, 1, 2], [-1, 0, 5]], 4, seed=1)
    >>> tuple(layer(keras.ops.ones((3, 2))).shape)
    (3, 2, 4)
    """

    def __init__(
        self,
        edges: Any,
        width: int,
        *,
        activation: Any = None,
        initial_scale: float = 1.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(width, activation, initial_scale, seed, **kwargs)
        found = _check_edges(edges)
        # Lanes may differ in what an initializer has, as in the variable that it begins.
        self._initial_edges = keras.initializers.Constant(found.tolist())
        self._shape = found.shape

    def build(self, input_shape: Any) -> None:
        """Makes the edges and the weights."""
        features, bins = self._shape[0], self._shape[1] - 1
        if input_shape[-1] != features:
            raise ValueError(
                f"`inputs` must have {features} features, one for each row of `edges`. Received: "
                f"inputs of the shape {tuple(input_shape)}"
            )
        self.edges = self.add_weight(
            name="edges",
            shape=self._shape,
            initializer=self._initial_edges,
            trainable=False,
            autocast=False,
        )
        self._add_dense(features, bins, first=0)

    def call(self, inputs: Any) -> Any:
        """Encodes each number by its bins, and embeds it."""
        edges = ops.convert_to_tensor(self.edges)
        low, size = edges[:, :-1], edges[:, 1:] - edges[:, :-1]
        rate = ops.where(size > 0, 1 / ops.where(size > 0, size, ops.ones_like(size)), 0 * size)
        inputs = ops.cast(inputs, edges.dtype)
        return self._dense(ops.clip((inputs[..., None] - low) * rate, 0, 1))

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {**super().get_config(), "edges": self._initial_edges.value}


@keras.saving.register_keras_serializable(package="kerasreg")
class PeriodicEmbedding(_NumberEmbedding):
    """A vector for each number, of sines and cosines whose frequencies are learned.

    `activation(W·[sin(2π·c·x), cos(2π·c·x)] + b)`, with `c`, `W` and `b` of each feature's own;
    `c` begins at `N(0, sigma²)` (Gorishniy et al. 2022, arXiv 2203.05556).

    Args:
        frequencies: number of frequencies of a feature, a whole number >= 1.
        width: length of the vector, a whole number >= 1.
        sigma: standard deviation of the initial frequencies, a number > 0: the larger, the
            faster the vector changes with the number.
        activation: of the vector, as in `keras.layers.Dense`.
        initial_scale: a factor on the initial `W` and `b`, a number > 0. It is no part of the
            program: lanes may differ in it.
        seed: an integer; equal seeds give equal initial weights.
        **kwargs: `name`, `dtype`, `trainable` of a Keras layer.

    Call arguments:
        inputs: a floating-point tensor of the shape (batch, features).

    Returns:
        A tensor of the shape (batch, features, width).

    Raises:
        ValueError: if an argument is outside its range.

    Example:

    >>> import keras, kerasreg
    >>> layer = kerasreg.layers.PeriodicEmbedding(8, 4, seed=1)
    >>> tuple(layer(keras.ops.ones((3, 2))).shape)
    (3, 2, 4)
    """

    def __init__(
        self,
        frequencies: int,
        width: int,
        *,
        sigma: float = 0.1,
        activation: Any = "relu",
        initial_scale: float = 1.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(width, activation, initial_scale, seed, **kwargs)
        self.frequencies = check_count("frequencies", frequencies)
        self.sigma = check_positive("sigma", sigma)

    def build(self, input_shape: Any) -> None:
        """Makes the frequencies and the weights."""
        features = input_shape[-1]
        self.frequency = self.add_weight(
            name="frequency",
            shape=(features, self.frequencies),
            initializer=keras.initializers.RandomNormal(stddev=self.sigma, seed=self._seeds.seed),
            autocast=False,
        )
        self._add_dense(features, 2 * self.frequencies, first=1)

    def call(self, inputs: Any) -> Any:
        """Embeds each number by its sines and cosines."""
        frequency = ops.convert_to_tensor(self.frequency)
        inputs = ops.cast(inputs, frequency.dtype)
        angle = (2 * math.pi) * frequency * inputs[..., None]
        return self._dense(ops.concatenate([ops.sin(angle), ops.cos(angle)], axis=-1))

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {**super().get_config(), "frequencies": self.frequencies, "sigma": self.sigma}


@keras.saving.register_keras_serializable(package="kerasreg")
class CategoryEmbedding(keras.layers.Layer):
    """Numbers of categories as vectors: one-hot for few categories, learned for many.

    Args:
        sizes: number of categories of each column, whole numbers >= 1.
        width: length of the learned vectors, a whole number >= 1.
        one_hot: the most categories of a column that is one-hot, a whole number >= 0.
        unused: pairs of a column and a category, both counted from 0, that have no training
            rows. Their vectors are zeros, where others would be random numbers for ever.
        initial_scale: a factor on the initial learned vectors, a number > 0, in which lanes may
            differ.
        seed: an integer; equal seeds give equal initial weights.
        **kwargs: `name`, `dtype`, `trainable` of a Keras layer.

    Call arguments:
        inputs: whole numbers of the shape (batch, columns), of any type, from 0 to below the
            size of the column; others are taken for the nearest.

    Returns:
        A tensor of the shape (batch, vectors of all columns): first the one-hot columns.

    Raises:
        ValueError: if an argument is outside its range.

    Example:

    >>> import keras, kerasreg
    >>> layer = kerasreg.layers.CategoryEmbedding([3, 100], 4, one_hot=3, seed=1)
    >>> [float(number) for number in layer(keras.ops.array([[1, 70]]))[0, :3]]
    [0.0, 1.0, 0.0]
    """

    def __init__(
        self,
        sizes: Sequence[int],
        width: int = 8,
        *,
        one_hot: int = 10,
        unused: Sequence[tuple[int, int]] = (),
        initial_scale: float = 1.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        # Half precision has not all whole numbers above 2048, or 256.
        super().__init__(**{"autocast": False, **kwargs})
        if isinstance(sizes, (str, bytes)) or not hasattr(sizes, "__len__") or not len(sizes):
            raise ValueError(
                f"`sizes` must be a list of whole numbers >= 1. Received: sizes={sizes!r}"
            )
        self.sizes = [check_count("sizes", size) for size in sizes]
        self.width = check_count("width", width)
        self.one_hot = check_count("one_hot", one_hot, minimum=0)
        self.unused = _check_unused(unused, self.sizes)
        self.initial_scale = _initial_scale(initial_scale)
        self._seeds = _seeds(seed)
        few = [size <= self.one_hot for size in self.sizes]
        self._few = [column for column, is_few in enumerate(few) if is_few]
        self._many = [column for column, is_few in enumerate(few) if not is_few]

    def build(self, input_shape: Any) -> None:
        """Makes the vectors of columns with many categories."""
        if input_shape[-1] != len(self.sizes):
            raise ValueError(
                f"`inputs` must have {len(self.sizes)} columns, as many as `sizes`. Received: "
                f"inputs of the shape {tuple(input_shape)}"
            )
        if self._many:
            self.embeddings = self.add_weight(
                name="embeddings",
                shape=(sum(self.sizes[column] for column in self._many), self.width),
                initializer=keras.initializers.RandomNormal(
                    stddev=self.initial_scale * (1 / math.sqrt(self.width)), seed=self._seeds.seed
                ),
            )

    def call(self, inputs: Any) -> Any:
        """Looks up each category."""
        last = np.array(self.sizes) - 1
        index = ops.clip(ops.cast(inputs, "int32"), 0, ops.convert_to_tensor(last, "int32"))
        parts = []
        if self._few:
            place = [(c, k) for c in self._few for k in range(self.sizes[c])]
            columns, values = np.array(place, "int32").T
            used = ops.convert_to_tensor(self._used(self._few), self.compute_dtype)
            equal = ops.equal(ops.take(index, columns, axis=1), values)
            parts.append(ops.cast(equal, self.compute_dtype) * used)
        if self._many:
            starts = np.cumsum([0, *(self.sizes[c] for c in self._many[:-1])]).astype("int32")
            rows = ops.take(index, np.array(self._many, "int32"), axis=1) + starts
            used = ops.convert_to_tensor(self._used(self._many), self.embeddings.dtype)
            vectors = ops.take(self.embeddings * used[:, None], rows, axis=0)
            vectors = ops.reshape(vectors, (-1, len(self._many) * self.width))
            parts.append(ops.cast(vectors, self.compute_dtype))
        return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)

    def _used(self, columns: Sequence[int]) -> np.ndarray:
        """1 for each category of columns that is used, else 0."""
        unused = set(self.unused)
        return np.array(
            [float((c, k) not in unused) for c in columns for k in range(self.sizes[c])], "float32"
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(batch, vectors of all columns)."""
        one_hot = sum(self.sizes[column] for column in self._few)
        return (*input_shape[:-1], one_hot + len(self._many) * self.width)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {
            **super().get_config(),
            "sizes": self.sizes,
            "width": self.width,
            "one_hot": self.one_hot,
            "unused": [list(pair) for pair in self.unused],
            "initial_scale": float(self.initial_scale),
            "seed": self._seeds.seed,
        }


def _initial_scale(scale: Any) -> float:
    check_positive("initial_scale", scale)
    found: float = scale * 1.0  # Not by `float`: a search keeps track of what it is computed of.
    return found


def _seeds(seed: Any) -> Any:
    """What has a seed, given or drawn: an initializer, in which lanes may differ."""
    if seed is not None:
        check_count("seed", seed, minimum=0)
    return keras.initializers.RandomUniform(seed=seed)


def _check_edges(edges: Any) -> np.ndarray:
    expected = "`edges` must be finite numbers in ascending order, of the shape (features, >= 2)"
    try:
        found = np.asarray(edges, dtype="float32")
    except (TypeError, ValueError):
        raise ValueError(f"{expected}. Received: edges={edges!r}") from None
    if found.ndim != 2 or found.shape[0] < 1 or found.shape[1] < 2:
        raise ValueError(f"{expected}. Received: edges={edges!r}, of the shape {found.shape}")
    if not np.isfinite(found).all() or (np.diff(found, axis=1) < 0).any():
        raise ValueError(f"{expected}. Received: edges={edges!r}")
    return found


def _check_unused(unused: Any, sizes: Sequence[int]) -> list[tuple[int, int]]:
    try:
        pairs = [(int(column), int(category)) for column, category in unused]
        good = all(0 <= c < len(sizes) and 0 <= k < sizes[c] for c, k in pairs)
    except (TypeError, ValueError):
        good = False
    if not good:
        raise ValueError(
            "`unused` must be pairs of the number of a column and of one of its categories. "
            f"Received: unused={unused!r}"
        )
    return pairs


def _activation(activation: Any) -> Any:
    try:
        return keras.activations.get(activation)
    except (TypeError, ValueError):
        raise ValueError(
            "`activation` must be None, or the name of an activation of Keras, or a function. "
            f"Received: activation={activation!r}"
        ) from None
