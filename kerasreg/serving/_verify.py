"""Checking an exported model against Keras, in a process that has no Keras."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasreg._files import plain_path
from kerasreg.serving._signatures import Served
from kerasreg.serving._verify_process import read_tensors, write_tensors

# By which half precision may differ, in steps between its numbers: rounding adds up.
_ROUNDINGS = 4
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

    NaN is equal to NaN, an infinity to one of the same sign, and a string to itself: these are no
    difference, and any other of them is an infinite one. The largest value is that of the finite
    ones.

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
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape:
        return float("inf")
    kinds = [array.dtype.kind in "OSUT" for array in (found, expected)]
    if any(kinds):
        return 0.0 if all(kinds) and _as_bytes(found) == _as_bytes(expected) else float("inf")
    if "c" in (found.dtype.kind, expected.dtype.kind):
        parts = ([np.real(array), np.imag(array)] for array in (found, expected))
        found, expected = (np.stack(both) for both in parts)
    # Whole numbers of 64 bits are more than a float can hold.
    differs = (found != expected) & ~(_is_nan(found) & _is_nan(expected))
    if not differs.any():
        return 0.0
    wide = object if all(array.dtype.kind in "iub" for array in (found, expected)) else "float64"
    found, expected = found.astype(wide), expected.astype(wide)
    difference = float(np.max(np.abs(found[differs] - expected[differs])))
    finite = expected[np.isfinite(expected.astype("float64"))]
    scale = float(np.max(np.abs(finite), initial=0))
    if not np.isfinite(difference) or scale == 0.0:
        return float("inf")
    return difference / scale


def _is_nan(array: np.ndarray) -> np.ndarray:
    return np.asarray(array != array)


def _as_bytes(array: np.ndarray) -> list[bytes]:
    return [one.encode() if isinstance(one, str) else bytes(one) for one in array.ravel().tolist()]


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
    differ absolutely by more than any fixed bound, with the batch size alone. Inside
    `kerasreg.serving.verifier()` the process is one for all.

    Args:
        path: a version directory, as `export` returns it.
        model: the Keras model that was exported.
        samples: inputs as the model, or its preprocessing, is called with them, with a first
            axis of samples; of a model for one size of batch only the first batch is compared.
        tolerance: largest accepted relative difference, a number > 0. For a model that computes
            in half precision it is at least four of the roundings of that type.
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


class _Verifier:
    """A Python process with TensorFlow and without Keras, started when it is first asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        # A forked process would mix its requests with those of the one that it was forked from.
        self.owner = os.getpid()

    def ask(self, *paths: str) -> str | None:
        """Runs a SavedModel; returns what went wrong, in one line, or None.

        Args:
            paths: of the SavedModel, of its inputs and of its outputs, as `_verify_process.py`
                takes them; absolute, because the process keeps the directory it was started in.
        """
        with self._lock:
            if self._process is None:
                self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process.
                self._process = subprocess.Popen(
                    [sys.executable, _SCRIPT],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._errors,
                    text=True,
                )
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            try:
                with contextlib.suppress(BrokenPipeError):  # There is no answer then.
                    self._process.stdin.write(json.dumps(paths) + "\n")
                    self._process.stdin.flush()
                answer = self._process.stdout.readline()
            except BaseException:
                # An answer that nobody has read would be taken for that of the next request.
                self._process.kill()
                self._close()
                raise
            if answer:
                problem: str | None = json.loads(answer)
                return problem
            code = self._process.wait()
            self._errors.seek(0)
            lines = self._errors.read().decode(errors="replace").strip().splitlines()
            self._close()
            return f"its process ended with {code}: {lines[-1] if lines else 'no message'}"

    def _close(self) -> None:
        if self._process is not None:
            # The end of its input ends it.
            self._process.communicate()
            self._errors.close()
            self._process = None

    def close(self) -> None:
        """Lets the process end."""
        with self._lock:
            self._close()


_SHARED: contextvars.ContextVar[_Verifier | None] = contextvars.ContextVar("shared", default=None)


@contextlib.contextmanager
def verifier() -> Iterator[None]:
    """Shares one process without Keras between all exports and verifications inside.

    The start of TensorFlow is most of the time that `export` and `verify` take. Each model is still
    loaded from its files, and one that fails, or ends the process, leaves the next ones unharmed.
    The process is started when it is first needed. It serves the thread that entered; another
    thread, and a forked process, start processes of their own.

    Example:

    >>> import tempfile, keras, kerasreg
    >>> base = tempfile.mkdtemp()
    >>> with kerasreg.serving.verifier():
    ...     for units in (1, 2):
    ...         layers = [keras.Input((2,)), keras.layers.Dense(units)]
    ...         path = kerasreg.serving.export(keras.Sequential(layers), base)
    >>> kerasreg.serving.list_versions(base)
    [1, 2]
    """
    shared = _Verifier()
    token = _SHARED.set(shared)
    try:
        yield
    finally:
        _SHARED.reset(token)
        shared.close()


@contextlib.contextmanager
def _present_verifier() -> Iterator[_Verifier]:
    shared = _SHARED.get()
    if shared is not None and shared.owner == os.getpid():
        yield shared
        return
    with contextlib.closing(_Verifier()) as own:
        yield own


def check_path(path: str | os.PathLike[str]) -> None:
    """A `ValueError` if there is no SavedModel."""
    if not os.path.exists(os.path.join(path, "saved_model.pb")):
        raise ValueError(f"`path` must be a SavedModel directory. Received: {os.fspath(path)!r}")


def compare(
    path: str, served: Served, features: Mapping[str, np.ndarray], tolerance: float
) -> Verification:
    """Compares a SavedModel, in a process without Keras, with a model as it would be served."""
    expected = outputs_of_keras(served, features)
    features = one_batch(served, features)
    found = run_saved_model(path, features)
    count = len(next(iter(features.values())))
    difference = largest_difference(found, expected)
    return Verification(count, difference, limit_of(served, tolerance))


def limit_of(served: Served, tolerance: float) -> float:
    """The tolerance, or for a model that computes in half precision some of its own roundings."""
    return max(tolerance, _ROUNDINGS * served.rounding)


def one_batch(served: Served, features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All samples, or of a model that takes one size of batch so many."""
    return {name: value[: served.batch] for name, value in features.items()}


def check_features(
    served: Served, features: Mapping[str, Any], fewest: int = 1, argument: str = "samples"
) -> dict[str, np.ndarray]:
    """Samples by name, as arrays of the types of the inputs, or a `ValueError`."""
    arrays = {}
    for name, spec in served.specs.items():
        value = np.asarray(features[name])
        # Strings are bytes, or objects, in NumPy.
        kind = spec.dtype.as_numpy_dtype
        shape = tf.TensorShape((None, *spec.shape[1:]))
        if not shape.is_compatible_with(value.shape):
            raise ValueError(
                f"`{argument}` must have the shape {shape} for {name!r}, None for any size. "
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
    if served.batch is not None and lengths.pop() < served.batch:
        raise ValueError(
            f"`{argument}` must hold a batch of the model, {served.batch} samples. "
            f"Received: {len(next(iter(arrays.values())))}"
        )
    return arrays


def outputs_of_keras(served: Served, features: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """What Keras answers: called, not predicted, so that it is one batch.

    Half precision is rounded after each operation when a model is called, but not within a graph,
    so there it is a graph that is called, as `predict` does.
    """
    tensors = {
        name: keras.ops.convert_to_tensor(value, dtype=served.specs[name].dtype.name)
        for name, value in one_batch(served, features).items()
    }
    with served.as_it_was():
        found = tf.function(served)(tensors) if served.rounding else served(tensors)
    return {name: value.numpy() for name, value in found.items()}


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
        name: np.reshape(_as_bytes(value), value.shape) if value.dtype.kind in "OU" else value
        for name, value in features.items()
    }


def run_saved_model(path: str, features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What `serving_default` answers in a process that can't import Keras.

    Raises:
        RuntimeError: if the process failed, with its last line.
    """
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = os.path.join(folder, "inputs.npz"), os.path.join(folder, "outputs.npz")
        write_tensors(inputs, features)
        with _present_verifier() as running, plain_path(path) as plain:
            problem = running.ask(os.path.abspath(plain), inputs, outputs)
        if problem is not None:
            raise RuntimeError(f"The SavedModel at {path!r} does not run: {problem}")
        return {name: value.numpy() for name, value in read_tensors(outputs).items()}


def random_features(served: Served, count: int = 7) -> dict[str, np.ndarray] | None:
    """Features whose shape is known, or None: normal numbers, and zeros for all other types.

    The last ones are positive, as a model with a logarithm may want them.
    """
    random = np.random.default_rng(0)
    count = served.batch or count
    features = {}
    for name, spec in served.specs.items():
        shape = spec.shape[1:].as_list()
        kind = spec.dtype
        if None in shape or not (kind.is_floating or kind.is_integer or kind.is_bool):
            return None
        values = random.normal(size=(count, *shape)) if kind.is_floating else None
        whole = np.zeros((count, *shape)) if values is None else values
        whole[count // 2 :] = np.abs(whole[count // 2 :])
        features[name] = whole.astype(kind.as_numpy_dtype)
    return features
