"""Numbers, texts, arrays, and lists and dictionaries of these, in one file that holds no code."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np

# What JSON has by itself. Anything else is an object with one key, which says what it is.
_PLAIN = (type(None), bool, int, float, str)


def pack(value: Any) -> bytes:
    """A value as the contents of a `.npz` file, with one array for each type of numbers.

    Many arrays of their own would take longer to write than what they hold.

    Args:
        value: numbers, texts, bytes, arrays without objects, lists, tuples and dictionaries.

    Raises:
        TypeError: if there is something else.
    """
    arrays: dict[str, list[np.ndarray]] = {}
    lengths: dict[str, int] = {}
    text = json.dumps(_packed(value, arrays, lengths))
    joined: Any = {f"of_{dtype}": np.concatenate(of) for dtype, of in arrays.items()}
    content = io.BytesIO()
    np.savez(content, text=np.frombuffer(text.encode(), "uint8"), **joined)
    return content.getvalue()


def unpack(content: bytes) -> Any:
    """The value that `pack` was given.

    Raises:
        ValueError: if it is no such content, or a part of one.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return _unpacked(json.loads(arrays["text"].tobytes().decode()), arrays)
    except Exception as error:  # Of zlib, zipfile, JSON and NumPy: whatever is not whole.
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _packed(value: Any, arrays: dict[str, list[np.ndarray]], lengths: dict[str, int]) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
        if array.dtype.kind not in "biufcV":
            if array.dtype.kind not in "US":
                raise TypeError(f"An array of {array.dtype} cannot be packed.")
            return {"texts": [str(array.dtype), array.ravel().tolist(), list(array.shape)]}
        # As bytes: types such as bfloat16, which Keras brings along, are none of NumPy's own.
        flat = np.ascontiguousarray(array).reshape(-1).view("uint8")
        name = str(array.dtype)
        begin = lengths.get(name, 0)
        arrays.setdefault(name, []).append(flat)
        lengths[name] = begin + flat.size
        return {"array": [name, begin, flat.size, list(array.shape)]}
    if type(value) in _PLAIN:
        return value
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, list):
        return [_packed(item, arrays, lengths) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [_packed(item, arrays, lengths) for item in value]}
    if isinstance(value, dict):
        pairs = [
            [_packed(key, arrays, lengths), _packed(item, arrays, lengths)]
            for key, item in value.items()
        ]
        return {"dict": pairs}
    raise TypeError(f"A {type(value).__name__} cannot be packed.")


def _unpacked(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_unpacked(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    (kind, held), *others = value.items()
    if others:
        raise ValueError("it is of another kind")
    if kind == "array":
        name, begin, size, shape = held
        flat = arrays[f"of_{name}"][begin : begin + size]
        if flat.size != size:
            raise ValueError("an array is cut off")
        return np.array(flat.view(np.dtype(name)).reshape(shape))
    if kind == "texts":
        dtype, items, shape = held
        return np.array(items, dtype=dtype).reshape(shape)
    if kind == "bytes":
        return bytes.fromhex(held)
    if kind == "complex":
        return complex(*held)
    if kind == "tuple":
        return tuple(_unpacked(item, arrays) for item in held)
    if kind == "dict":
        return {_key(_unpacked(key, arrays)): _unpacked(item, arrays) for key, item in held}
    raise ValueError(f"it has {kind!r}")


def _key(value: Any) -> Any:
    return value.item() if isinstance(value, np.ndarray) else value
