"""The JSON of TensorFlow Serving's REST interface: from a request to arrays, and back.

Follows tensorflow.org/tfx/serving/api_rest: rows (`instances`) or columns (`inputs`), bytes as
`{"b64": ...}`, a single input or output without its name. `NaN` and `Infinity` are read and
written as they are there.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np


class BadRequest(Exception):
    """What was asked cannot be answered: one line for the client."""


class Spec(NamedTuple):
    """An input: its shape without the batch, None where it is not known, and its type."""

    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]  # Objects are bytes.


def parse_body(body: bytes) -> dict[str, Any]:
    """The JSON object in a body, or a `BadRequest`."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"JSON Parse error: {_line(error)}") from None
    if not isinstance(parsed, dict):
        raise BadRequest("JSON Value: the body must be an object")
    return parsed


def signature_of(parsed: Mapping[str, Any]) -> str:
    """The name of the signature that is asked for."""
    name = parsed.get("signature_name", "serving_default")
    if not isinstance(name, str):
        raise BadRequest("'signature_name' must be a string")
    return name or "serving_default"


def parse_predict(
    parsed: Mapping[str, Any], specs: Mapping[str, Spec], most: int, booleans: bool = True
) -> tuple[bool, dict[str, np.ndarray]]:
    """Whether a request is by row, and its inputs by name, for a signature.

    Args:
        parsed: the body.
        specs: the inputs of the signature.
        most: the largest batch.
        booleans: whether there may be some in the body. NumPy makes numbers of booleans among
            numbers, and to look for them takes as long again.
    """
    unknown = set(parsed) - {"signature_name", "instances", "inputs"}
    if unknown:
        raise BadRequest(f"unknown key {sorted(unknown)[0][:100]!r}")
    if ("instances" in parsed) == ("inputs" in parsed):
        raise BadRequest("the body must have one of 'instances' and 'inputs'")
    by_row = "instances" in parsed
    given = parsed["instances"] if by_row else parsed["inputs"]
    columns = _columns_of_rows(given, specs) if by_row else _columns(given, specs)
    for name, spec in specs.items():
        if booleans and spec.dtype.kind in "fiu" and _has_booleans(columns[name]):
            raise BadRequest(f"{name!r} must be numbers")
    features = {name: as_array(name, columns[name], spec) for name, spec in specs.items()}
    sizes = {len(value) for value in features.values()}
    if len(sizes) > 1:
        raise BadRequest(f"inputs must have one batch size; got {sorted(sizes)}")
    if max(sizes, default=0) > most:
        raise BadRequest(f"a batch may have at most {most} examples; got {max(sizes)}")
    return by_row, features


def _columns_of_rows(rows: Any, specs: Mapping[str, Spec]) -> dict[str, list[Any]]:
    if not isinstance(rows, list):
        raise BadRequest("'instances' must be a list")
    named = bool(rows) and isinstance(rows[0], dict) and set(rows[0]) != {"b64"}
    if not named:
        if len(specs) != 1:
            raise BadRequest(f"each of 'instances' must be an object with {_names(specs)}")
        return {next(iter(specs)): rows}
    columns: dict[str, list[Any]] = {name: [] for name in specs}
    for index, row in enumerate(rows):
        if not isinstance(row, dict) or set(row) != set(specs):
            raise BadRequest(f"instances[{index}] must be an object with {_names(specs)}")
        for name, value in row.items():
            columns[name].append(value)
    return columns


def _columns(given: Any, specs: Mapping[str, Spec]) -> dict[str, Any]:
    if isinstance(given, dict) and set(given) != {"b64"}:
        if set(given) != set(specs):
            raise BadRequest(f"'inputs' must be an object with {_names(specs)}")
        return dict(given)
    if len(specs) != 1:
        raise BadRequest(f"'inputs' must be an object with {_names(specs)}")
    return {next(iter(specs)): given}


def _names(specs: Mapping[str, Spec]) -> str:
    return "the keys " + ", ".join(repr(name) for name in specs)


def as_array(name: str, value: Any, spec: Spec) -> np.ndarray:
    """Nested lists as an array of an input's shape and type, or a `BadRequest`."""
    if not isinstance(value, list):
        raise BadRequest(f"{name!r} must be a list of examples")
    if spec.dtype == object:
        value = _bytes(name, value)
    try:
        # NumPy finds numbers in strings and in booleans, which are none here.
        array = np.array(value, object if spec.dtype == object else None)
    except (ValueError, OverflowError, RecursionError):
        raise BadRequest(f"{name!r} must be lists of equal lengths") from None
    if array.size == 0 and array.ndim <= len(spec.shape) and len(value) == 0:
        array = np.zeros((0, *(size or 0 for size in spec.shape)), spec.dtype)
    _check_shape(name, array, spec)
    if spec.dtype == object:
        if not all(isinstance(item, bytes) for item in array.flat):
            raise BadRequest(f"{name!r} must be strings")
        return array
    return _cast(name, array, spec)


def _has_booleans(value: Any) -> bool:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, bool):
            return True
        if isinstance(item, list):
            stack.extend(item)
    return False


def _check_shape(name: str, array: np.ndarray, spec: Spec) -> None:
    expected = ["batch", *("any" if size is None else size for size in spec.shape)]
    good = array.ndim == len(expected) and all(
        size is None or size == found
        for size, found in zip(spec.shape, array.shape[1:], strict=True)
    )
    if not good:
        raise BadRequest(
            f"{name!r} must have the shape ({', '.join(map(str, expected))}); got {array.shape}"
        )


def _cast(name: str, array: np.ndarray, spec: Spec) -> np.ndarray:
    kind = spec.dtype.kind
    accepted = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}.get(kind, kind)
    if array.size and array.dtype.kind not in accepted:
        wanted = {"f": "numbers", "b": "booleans"}.get(kind, "whole numbers")
        raise BadRequest(f"{name!r} must be {wanted}")
    if kind in "iu" and array.size:
        limits = np.iinfo(spec.dtype)
        if array.min() < limits.min or array.max() > limits.max:
            raise BadRequest(f"{name!r} must be from {limits.min} to {limits.max}")
    with np.errstate(over="ignore"):
        # As in TensorFlow Serving, what is too large for a float is an infinity.
        return array.astype(spec.dtype)


def _bytes(name: str, value: Any) -> Any:
    """Strings as bytes, and the objects that hold them in base64."""
    made: list[Any] = []
    stack: list[tuple[list[Any], list[Any]]] = [(value, made)]
    while stack:  # No recursion, of which a client could ask for too much.
        source, target = stack.pop()
        for item in source:
            if isinstance(item, list):
                inner: list[Any] = []
                target.append(inner)
                stack.append((item, inner))
            elif isinstance(item, str):
                target.append(item.encode("utf-8", "surrogatepass"))
            elif isinstance(item, dict) and set(item) == {"b64"} and isinstance(item["b64"], str):
                try:
                    target.append(base64.b64decode(item["b64"], validate=True))
                except (binascii.Error, ValueError):
                    raise BadRequest(f"{name!r} has a 'b64' that is no base64") from None
            else:
                raise BadRequest(f"{name!r} must be strings")
    return made


def encode(outputs: Mapping[str, np.ndarray], by_row: bool) -> bytes:
    """The body of an answer: `predictions` by row, or `outputs` by column."""
    columns = {name: _plain(name, value) for name, value in outputs.items()}
    if not by_row:
        found = columns if len(columns) != 1 else next(iter(columns.values()))
        return _dump({"outputs": found})
    if len(columns) == 1:
        return _dump({"predictions": next(iter(columns.values()))})
    names = list(columns)
    rows = [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return _dump({"predictions": rows})


def _plain(name: str, value: np.ndarray) -> Any:
    if value.dtype != object:
        return value.tolist()
    # As there: an output whose name ends so is bytes, any other text.
    coded = name.endswith("_bytes")

    def text(item: bytes) -> Any:
        if coded:
            return {"b64": base64.b64encode(item).decode()}
        return item.decode("utf-8", "replace")

    flat = [text(item) for item in value.ravel()]
    made = np.empty(len(flat), object)
    made[:] = flat
    return made.reshape(value.shape).tolist()


def error(message: str) -> bytes:
    """The body of an error."""
    return _dump({"error": message})


def _dump(value: Any) -> bytes:
    return json.dumps(value).encode()


def _line(error: BaseException) -> str:
    """An error in one short line, without what the client sent."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos}"
    return "too deeply nested" if isinstance(error, RecursionError) else type(error).__name__
