"""Checking an exported model against Keras, in a process that has no Keras."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kerasreg.serving._signatures import Served

_SCRIPT = os.path.join(os.path.dirname(__file__), "_verify_process.py")


@dataclasses.dataclass(frozen=True)
class Verification:
    """What `verify` found.

    Attributes:
        samples: number of samples compared.
        relative_difference: largest absolute difference of an output, over the
            largest absolute output.
        tolerance: what it was held against.
    """

    samples: int
    relative_difference: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the outputs agree within the tolerance."""
        return self.relative_difference <= self.tolerance


def relative_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """`max|found - expected| / max|expected|`; 0 for equal arrays, also of zeros.

    Args:
        found: an array.
        expected: an array of the same shape.

    Returns:
        The difference relative to the scale of `expected`; infinity where the
        shapes differ or a difference is not finite.

    Example:

    >>> import numpy as np, kerasreg
    >>> kerasreg.serving.relative_difference(np.array([1.0, 4.5]), np.array([1.0, 5.0]))
    0.1
    """
    if found.shape != expected.shape:
        return float("inf")
    found, expected = np.asarray(found, "float64"), np.asarray(expected, "float64")
    difference = float(np.max(np.abs(found - expected), initial=0.0))
    if difference == 0.0:
        return 0.0
    scale = float(np.max(np.abs(expected), initial=0.0))
    if not np.isfinite(difference) or scale == 0.0:
        return float("inf")
    return difference / scale


def verify(
    path: str | os.PathLike[str],
    model: keras.Model,
    samples: Any,
    tolerance: float = 1e-6,
    *,
    preprocessing: keras.Model | None = None,
    outputs: Sequence[str] | None = None,
    quantization: str | None = None,
) -> Verification:
    """Loads a SavedModel in a new process without Keras and compares it with the model.

    The comparison is relative to the scale of each output: float32 results
    differ absolutely by more than any fixed bound, with the batch size alone.

    Args:
        path: a version directory, as `export` returns it.
        model: the Keras model that was exported.
        samples: inputs as the model, or its preprocessing, is called with them, with a first
            axis of samples.
        tolerance: largest accepted relative difference, a number > 0.
        preprocessing: what `export` was given.
        outputs: what `export` was given.
        quantization: what `export` was given.

    Returns:
        A `Verification`; look at `passed`.

    Raises:
        ValueError: if `path` holds no SavedModel, or there are no samples.
        RuntimeError: if the process failed, with its last line.

    Example:

    >>> import tempfile, keras, numpy as np, kerasreg
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> path = kerasreg.serving.export(model, tempfile.mkdtemp())
    >>> kerasreg.serving.verify(path, model, np.ones((4, 2), "float32")).passed
    True
    """
    check_path(path)
    served = Served(model, preprocessing, outputs, quantization)
    features = check_features(served, served.by_name(samples))
    return compare(os.fspath(path), served, features, tolerance)


def check_path(path: str | os.PathLike[str]) -> None:
    """A `ValueError` if there is no SavedModel."""
    if not os.path.exists(os.path.join(path, "saved_model.pb")):
        raise ValueError(f"`path` must be a SavedModel directory. Received: {os.fspath(path)!r}")


def compare(
    path: str, served: Served, features: Mapping[str, np.ndarray], tolerance: float
) -> Verification:
    """Compares a SavedModel, in a new process, with a model as it would be served."""
    expected = outputs_of_keras(served, features)
    found = run_saved_model(path, features)
    count = len(next(iter(features.values())))
    return Verification(count, largest_difference(found, expected), tolerance)


def check_features(
    served: Served, features: Mapping[str, Any], fewest: int = 1, argument: str = "samples"
) -> dict[str, np.ndarray]:
    """Samples by name, as arrays of the types of the inputs, or a `ValueError`."""
    arrays = {}
    for name, spec in served.specs.items():
        value = np.asarray(features[name])
        # Strings are bytes, or objects, in NumPy.
        kind = spec.dtype.as_numpy_dtype
        if not spec.shape.is_compatible_with(value.shape):
            raise ValueError(
                f"`{argument}` must have the shape {spec.shape} for {name!r}, None for any size. "
                f"Received: {value.shape}"
            )
        arrays[name] = value if kind is np.object_ else value.astype(kind)
    lengths = {len(value) for value in arrays.values()}
    if lengths == {0} and fewest:
        raise ValueError(f"`{argument}` must hold at least one sample. Received: none")
    if len(lengths) != 1:
        raise ValueError(
            f"`{argument}` must have one number of samples for all inputs. "
            f"Received: {sorted(lengths)}"
        )
    return arrays


def outputs_of_keras(served: Served, features: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """What Keras answers: called, not predicted, so that it is one batch."""
    tensors = {
        name: keras.ops.convert_to_tensor(features[name], dtype=spec.dtype.name)
        for name, spec in served.specs.items()
    }
    found = served(tensors)
    return {name: np.asarray(keras.ops.convert_to_numpy(value)) for name, value in found.items()}


def largest_difference(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
) -> float:
    """The largest `relative_difference` of an output."""
    if set(found) != set(expected):
        raise ValueError(
            f"`outputs` must be those of the SavedModel, {sorted(found)}. "
            f"Received: {sorted(expected)}"
        )
    return max(relative_difference(found[name], value) for name, value in expected.items())


def as_plain(features: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Arrays that can be written: objects, as strings in NumPy may be, would be pickled."""
    return {
        name: value.astype("S") if value.dtype == object else value
        for name, value in features.items()
    }


def run_saved_model(path: str, features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What `serving_default` answers in a new process that can't import Keras.

    Raises:
        RuntimeError: if the process failed, with its last line.
    """
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = os.path.join(folder, "inputs.npz"), os.path.join(folder, "outputs.npz")
        np.savez(inputs, **as_plain(features))
        process = subprocess.run(
            [sys.executable, _SCRIPT, path, inputs, outputs],
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode != 0:
            lines = process.stderr.strip().splitlines() or ["no message"]
            raise RuntimeError(f"The SavedModel at {path!r} does not run: {lines[-1]}")
        with np.load(outputs) as found:
            return dict(found)


def random_features(served: Served, count: int = 7) -> dict[str, np.ndarray] | None:
    """Standard normal numbers, and zeros for integers, for inputs whose shape is known, or None."""
    random = np.random.default_rng(0)
    features = {}
    for name, spec in served.specs.items():
        shape = spec.shape[1:].as_list()
        if None in shape or not (spec.dtype.is_floating or spec.dtype.is_integer):
            return None
        values = random.normal(size=(count, *shape)) if spec.dtype.is_floating else None
        whole = np.zeros((count, *shape)) if values is None else values
        features[name] = whole.astype(spec.dtype.as_numpy_dtype)
    return features
