"""An exported model in other runtimes: how far from Keras, and how fast."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from kerasreg._files import plain_path
from kerasreg._keras.tensorflow_internals import saved_signature
from kerasreg._report import Report
from kerasreg._validation import check_count, check_positive
from kerasreg.serving._signatures import Served
from kerasreg.serving._verify import (
    as_plain,
    check_features,
    check_path,
    largest_difference,
    limit_of,
    one_batch,
    outputs_of_keras,
)

_SCRIPT = os.path.join(os.path.dirname(__file__), "_runtime_process.py")


class _Runtime(NamedTuple):
    """What a runtime needs: packages to be installed, and how its file is made."""

    packages: Mapping[str, str]  # By the name under which it is imported.
    convert: Sequence[str]


_ONNX = (
    "-m tf2onnx.convert --saved-model {source} --signature_def serving_default --output {target}"
)
_LITERT = """
import sys
for name in ("keras", "tf_keras"):
    sys.modules[name] = None
import tensorflow as tf
converter = tf.lite.TFLiteConverter.from_saved_model(
    sys.argv[1], signature_keys=["serving_default"]
)
with open(sys.argv[2], "wb") as file:
    file.write(converter.convert())
"""
_RUNTIMES = {
    "tensorflow": _Runtime({}, ()),
    "c": _Runtime({}, ()),
    "onnxruntime": _Runtime({"onnxruntime": "onnxruntime", "tf2onnx": "tf2onnx"}, _ONNX.split()),
    "litert": _Runtime(
        {"ai_edge_litert": "ai-edge-litert"}, ("-c", _LITERT, "{source}", "{target}")
    ),
    "openvino": _Runtime({"openvino": "openvino"}, ()),
}
RUNTIMES = tuple(_RUNTIMES)


class RuntimeRow(NamedTuple):
    """An exported model in one runtime; numbers are None where the model could not be run.

    Attributes:
        runtime: the name of the runtime.
        version: the version of the runtime.
        relative_difference: the largest difference from Keras, relative to the largest output.
        milliseconds: the median time of a call with one sample.
        problem: why the model could not be run, or None.
    """

    runtime: str
    version: str | None
    relative_difference: float | None
    milliseconds: float | None
    problem: str | None


@dataclasses.dataclass(frozen=True)
class RuntimeReport(Report):
    """An exported model beside Keras in several runtimes; `str` of it is a table.

    Attributes:
        rows: a `RuntimeRow` for each runtime.
        tolerance: the largest accepted relative difference.
    """

    rows: tuple[RuntimeRow, ...]
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the model ran in all runtimes and agrees with Keras within the tolerance."""
        found = [row.relative_difference for row in self.rows]
        return all(difference is not None and difference <= self.tolerance for difference in found)


def runtime_report(
    path: str | os.PathLike[str],
    model: keras.Model,
    samples: Any,
    runtimes: Sequence[str] = RUNTIMES,
    tolerance: float = 1e-5,
    *,
    preprocessing: keras.Model | None = None,
    outputs: Sequence[str] | None = None,
    quantization: str | None = None,
    calls: int = 100,
) -> RuntimeReport:
    """Runs an exported model in several runtimes and compares each with Keras.

    Each in a process of its own, in which Keras can't be imported, with the whole batch, and with
    its first seven samples and its first one alone. `"tensorflow"` and
    `"openvino"` read the SavedModel as it is, and so does `"c"`, TensorFlow's C library without its
    Python (OpenVINO in its exact mode); `"onnxruntime"` (by way of tf2onnx) and `"litert"` a
    conversion of it. What has no form there, such as strings or some recurrent layers, is told in
    the row of the runtime.

    Args:
        path: a version directory, as `export` returns it.
        model: the Keras model that was exported.
        samples: inputs as for `verify`.
        runtimes: of `"tensorflow"`, `"c"`, `"onnxruntime"`, `"litert"`, `"openvino"`.
        tolerance: the largest relative difference that passes, a number > 0. Runtimes with
            kernels of their own round otherwise.
        preprocessing: what `export` was given.
        outputs: what `export` was given.
        quantization: what `export` was given.
        calls: of which the time is the median, a whole number >= 1.

    Returns:
        A `RuntimeReport`.

    Raises:
        ValueError: if an argument is none of these.
        ImportError: if a runtime is not installed, with the command that installs it.

    Example:

    >>> import tempfile, keras, numpy as np, kerasreg
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> path = kerasreg.serving.export(model, tempfile.mkdtemp(), tolerance=None)
    >>> x = np.ones((4, 2), "float32")
    >>> kerasreg.serving.runtime_report(path, model, x, ["c"], calls=5).passed
    True
    """
    path = os.fspath(path)
    check_path(path)
    if isinstance(runtimes, str) or not runtimes or not set(runtimes) <= set(RUNTIMES):
        raise ValueError(f"`runtimes` must be some of {RUNTIMES}. Received: runtimes={runtimes!r}")
    check_positive("tolerance", tolerance)
    check_count("calls", calls)
    for name in runtimes:
        for module, package in _RUNTIMES[name].packages.items():
            if importlib.util.find_spec(module) is None:
                raise ImportError(
                    f"The runtime {name!r} needs {package}: pip install 'kerasreg[runtimes]'"
                )
    served = Served(model, preprocessing, outputs, quantization)
    features = check_features(served, served.by_name(samples), fewest=0)
    expected = outputs_of_keras(served, features)
    with tempfile.TemporaryDirectory() as folder:
        tensors, plain = _tensors(path), as_plain(one_batch(served, features))
        np.savez(os.path.join(folder, "inputs.npz"), *(plain[name] for name in tensors["inputs"]))
        with open(os.path.join(folder, "signature.json"), "w", encoding="utf-8") as file:
            json.dump({**tensors, "batch": served.batch}, file)
        with plain_path(path) as loadable:
            rows = [_row(name, loadable, folder, expected, calls) for name in runtimes]
    return RuntimeReport(tuple(rows), limit_of(served, tolerance))


def _tensors(path: str) -> dict[str, dict[str, str]]:
    """The names of the tensors of `serving_default`, by the names of inputs and outputs."""
    signature = saved_signature(path)
    return {
        part: {name: tensor.name for name, tensor in getattr(signature, part).items()}
        for part in ("inputs", "outputs")
    }


def _row(
    name: str, path: str, folder: str, expected: Mapping[str, np.ndarray], calls: int
) -> RuntimeRow:
    source = path
    if convert := _RUNTIMES[name].convert:
        source = os.path.join(folder, f"model.{name}")
        problem, _ = _run([part.format(source=path, target=source) for part in convert])
        if problem is not None:
            return RuntimeRow(name, None, None, None, f"not converted: {problem}")
    found = os.path.join(folder, f"{name}.npz")
    files = [os.path.join(folder, "signature.json"), os.path.join(folder, "inputs.npz"), found]
    problem, said = _run([_SCRIPT, name, source, *files, str(calls)])
    if problem is not None:
        return RuntimeRow(name, None, None, None, problem)
    answer = json.loads(said)
    with np.load(found) as values:
        differences = [
            largest_difference(part, {key: value[:size] for key, value in expected.items()})
            for size, part in _by_size(dict(values)).items()
        ]
    return RuntimeRow(name, answer["version"], max(differences), answer["milliseconds"], None)


def _by_size(values: Mapping[str, np.ndarray]) -> dict[int, dict[str, np.ndarray]]:
    """The outputs for each size of batch."""
    found: dict[int, dict[str, np.ndarray]] = {}
    for key, value in values.items():
        size, name = key.split("/", 1)
        found.setdefault(int(size), {})[name] = value
    return found


def _run(arguments: Sequence[str]) -> tuple[str | None, str]:
    """What went wrong in a Python process, or None, and the last line that it wrote."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, env=environment
    )
    lines = process.stderr.strip().splitlines() or ["no message"]
    said = process.stdout.strip().splitlines() or [""]
    return (None if process.returncode == 0 else lines[-1]), said[-1]
