"""Runs an exported model in one runtime. A script for a process of its own.

Usage: python _runtime_process.py RUNTIME MODEL SIGNATURE.json INPUTS.npz OUTPUTS.npz CALLS

MODEL is a SavedModel, or what was made of it: an `.onnx` or `.tflite` file. SIGNATURE has for each
input and output the name of its tensor, and the size of a batch, or null for any. Neither Keras nor
kerasreg can be imported here, and TensorFlow only for the runtimes that are TensorFlow. The last
line is a JSON object: the version of the runtime, and the median time in milliseconds of CALLS
calls with the first example, or the first batch of a model that takes no other. The outputs
are named SIZE/NAME, for the whole batch and for smaller ones of its first examples.
"""

import ctypes
import importlib.metadata
import importlib.util
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

SIZES = (1, 7)

_Signature = Mapping[str, Any]
_Features = Mapping[str, np.ndarray]
_Run = Callable[[_Features], dict[str, np.ndarray]]


def without_keras() -> None:
    """Makes every import of Keras and kerasreg fail, here and in TensorFlow, which does without."""
    for name in ("keras", "tf_keras", "kerasreg"):
        sys.modules[name] = None  # type: ignore[assignment]


def tensorflow(path: str, signature: _Signature) -> tuple[str, _Run]:
    """The SavedModel in TensorFlow's Python."""
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    function = loaded.signatures["serving_default"]
    # An argument is called by letters; its spec has the name of the input.
    specs = function.structured_input_signature[1]

    def run(features: _Features) -> dict[str, np.ndarray]:
        given = {key: tf.constant(features[spec.name], spec.dtype) for key, spec in specs.items()}
        found = function(**given)
        return {name: value.numpy() for name, value in found.items()}

    # The function does not keep its variables.
    run.loaded = loaded  # type: ignore[attr-defined]
    return tf.__version__, run


def openvino(path: str, signature: _Signature) -> tuple[str, _Run]:
    """The SavedModel as OpenVINO reads it."""
    import openvino as ov

    # As exact as the model: not in the half precision that a CPU may prefer, and not with inputs of
    # int8 kernels rounded to eight bits too, as by default where the processor multiplies bytes.
    settings = {"EXECUTION_MODE_HINT": "ACCURACY"}
    compiled = ov.Core().compile_model(ov.convert_model(path), "CPU", settings)

    def run(features: _Features) -> dict[str, np.ndarray]:
        found = compiled(features)
        return {name: np.array(found[name]) for name in signature["outputs"]}

    return ov.__version__, run


def onnxruntime(path: str, signature: _Signature) -> tuple[str, _Run]:
    """The model as ONNX."""
    import onnxruntime as ort

    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = list(signature["outputs"])

    def run(features: _Features) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, features), strict=True))

    return ort.__version__, run


def litert(path: str, signature: _Signature) -> tuple[str, _Run]:
    """The model as a file of LiteRT (TensorFlow Lite)."""
    from ai_edge_litert import interpreter

    run = interpreter.Interpreter(path).get_signature_runner("serving_default")
    return importlib.metadata.version("ai-edge-litert"), lambda features: run(**features)


class _Output(ctypes.Structure):
    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


_TYPES = {
    "float32": 1,
    "float64": 2,
    "int32": 3,
    "uint8": 4,
    "int16": 5,
    "int8": 6,
    "int64": 9,
    "bool": 10,
    "float16": 19,
}
_NAMES = {number: name for name, number in _TYPES.items()}


def c(path: str, signature: _Signature) -> tuple[str, _Run]:
    """The SavedModel in TensorFlow's C library, without its Python."""
    spec = importlib.util.find_spec("tensorflow")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    (folder,) = spec.submodule_search_locations
    sys.modules["tensorflow"] = None  # type: ignore[assignment]
    ctypes.CDLL(os.path.join(folder, "libtensorflow_framework.so.2"), ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(os.path.join(folder, "libtensorflow_cc.so.2"))
    pointers = (
        "TF_NewStatus TF_NewGraph TF_NewSessionOptions TF_LoadSessionFromSavedModel "
        "TF_GraphOperationByName TF_AllocateTensor TF_TensorData"
    )
    for name in pointers.split():
        getattr(library, name).restype = ctypes.c_void_p
    for name in ("TF_Message", "TF_Version"):
        getattr(library, name).restype = ctypes.c_char_p
    for name in ("TF_Dim", "TF_TensorByteSize"):
        getattr(library, name).restype = ctypes.c_size_t
    pointer = ctypes.c_void_p
    status = pointer(library.TF_NewStatus())

    def check() -> None:
        if library.TF_GetCode(status):
            raise RuntimeError(library.TF_Message(status).decode())

    graph, options = pointer(library.TF_NewGraph()), pointer(library.TF_NewSessionOptions())
    tags = (ctypes.c_char_p * 1)(b"serve")
    session = library.TF_LoadSessionFromSavedModel(
        options, None, os.fsencode(path), tags, 1, graph, None, status
    )
    check()
    session = pointer(session)

    def outputs(tensors: list[str]) -> Any:
        found = (_Output * len(tensors))()
        for place, tensor in zip(found, tensors, strict=True):
            operation, index = tensor.rsplit(":", 1)
            place.operation = library.TF_GraphOperationByName(graph, operation.encode())
            place.index = int(index)
        return found

    fed, fetched = (outputs(list(signature[part].values())) for part in ("inputs", "outputs"))

    def tensor(value: np.ndarray) -> Any:
        value = np.ascontiguousarray(value)
        sizes = (ctypes.c_int64 * value.ndim)(*value.shape)
        made = library.TF_AllocateTensor(
            _TYPES[value.dtype.name], sizes, value.ndim, ctypes.c_size_t(value.nbytes)
        )
        if value.nbytes:
            ctypes.memmove(library.TF_TensorData(pointer(made)), value.ctypes.data, value.nbytes)
        return made

    def array(made: Any) -> np.ndarray:
        made = pointer(made)
        kind = _NAMES[library.TF_TensorType(made)]
        shape = [library.TF_Dim(made, axis) for axis in range(library.TF_NumDims(made))]
        length = library.TF_TensorByteSize(made)
        content = ctypes.string_at(library.TF_TensorData(made), length) if length else b""
        library.TF_DeleteTensor(made)
        return np.frombuffer(content, kind).reshape(shape)

    def run(features: _Features) -> dict[str, np.ndarray]:
        values = [tensor(features[name]) for name in signature["inputs"]]
        given = (pointer * len(values))(*values)
        found = (pointer * len(fetched))()
        library.TF_SessionRun(
            session,
            None,
            fed,
            given,
            len(values),
            fetched,
            found,
            len(fetched),
            None,
            0,
            None,
            status,
        )
        for value in values:
            library.TF_DeleteTensor(pointer(value))
        check()
        return dict(zip(signature["outputs"], map(array, found), strict=True))

    return library.TF_Version().decode(), run


def main(runtime: str, path: str, signature: str, inputs: str, outputs: str, calls: str) -> None:
    """Writes the outputs for the inputs; prints the version and the time of a call."""
    without_keras()
    with open(signature, encoding="utf-8") as file:
        tensors = json.load(file)
    version, run = globals()[runtime](path, tensors)
    # In the order of the signature: a name may be one of `savez`.
    with np.load(inputs) as given:
        features = {name: given[f"arr_{i}"] for i, name in enumerate(tensors["inputs"])}
    # The whole batch, and the first examples alone, unless the model takes one size of batch.
    count, found = min(map(len, features.values())), {}
    smaller = () if tensors["batch"] else SIZES
    for size in {count, *(size for size in smaller if size < count)}:
        part = run({name: value[:size] for name, value in features.items()})
        found.update({f"{size}/{name}": value for name, value in part.items()})
    np.savez(outputs, **found)
    least, times = tensors["batch"] or 1, []
    first = {name: value[:least] for name, value in features.items()}
    if all(len(value) for value in first.values()):
        for _ in range(int(calls) + 10):
            begun = time.perf_counter()
            run(first)
            times.append(time.perf_counter() - begun)
    # The first calls make what later ones use again.
    median = statistics.median(times[10:]) * 1e3 if times[10:] else None
    print(json.dumps({"version": version, "milliseconds": median}))


if __name__ == "__main__":
    main(*sys.argv[1:])
