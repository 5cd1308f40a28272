"""Checking an exported model against Keras, in a process that has no Keras."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile

import keras
import numpy as np

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
    samples: np.ndarray,
    tolerance: float = 1e-6,
) -> Verification:
    """Loads a SavedModel in a new process without Keras and compares it with the model.

    The comparison is relative to the scale of the outputs: float32 results
    differ absolutely by more than any fixed bound, with the batch size alone.

    Args:
        path: a version directory, as `export` returns it.
        model: the Keras model that was exported; one input, one output.
        samples: inputs, shape (samples, ...).
        tolerance: largest accepted relative difference, a number > 0.

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
    if not os.path.exists(os.path.join(path, "saved_model.pb")):
        raise ValueError(f"`path` must be a SavedModel directory. Received: {os.fspath(path)!r}")
    samples = np.asarray(samples)
    if len(samples) == 0:
        raise ValueError("`samples` must hold at least one sample. Received: none")
    # Called, not predicted: one batch, as in the other process.
    expected = np.asarray(keras.ops.convert_to_numpy(model(samples, training=False)))
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = os.path.join(folder, "inputs.npy"), os.path.join(folder, "outputs.npy")
        np.save(inputs, samples)
        process = subprocess.run(
            [sys.executable, _SCRIPT, os.fspath(path), inputs, outputs],
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode != 0:
            lines = process.stderr.strip().splitlines() or ["no message"]
            raise RuntimeError(f"The SavedModel at {os.fspath(path)!r} does not run: {lines[-1]}")
        found = np.load(outputs)
    return Verification(len(samples), relative_difference(found, expected), tolerance)
