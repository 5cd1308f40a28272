"""The JSON of TensorFlow Serving's REST interface: from a request to arrays, and back.

Follows `util/json_tensor.cc` there: rows (`instances`) or columns (`inputs`), bytes as
`{"b64": ...}`, a single input or output without its name; and what is refused, in its words. Two
things are refused here that it takes: whole numbers that a small type cannot hold, which it takes
modulo its range, and shapes that the signature has not, of which it asks the model.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from kerasreg.serving.server._rapidjson import ParseError, kind_of, parse, parse_slowly, shown

DEFAULT = "serving_default"
# Types that JSON is made of there, by their names in NumPy, and what those are called.
_NUMBERS = {"float32": "float", "float64": "double"}
_WHOLE = {
    "int8": (-(2**31), 2**31 - 1),
    "uint8": (-(2**31), 2**31 - 1),
    "int16": (-(2**31), 2**31 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}
_CALLED = {**_NUMBERS, "float16": "half", "object": "string"}
_MANY = 64  # Fewer numbers are written one by one sooner.
# The powers of ten that a double holds exactly.
_TENS = np.array([float(f"1e{power}") for power in range(23)])
_WRITTEN = {*_NUMBERS, *_WHOLE, "object", "bool"}


class BadRequest(Exception):
    """What was asked cannot be answered: a message for the client, and a status."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status

    def in_words(self) -> str:
        """The message as a part of another one."""
        code = {400: "INVALID_ARGUMENT", 501: "UNIMPLEMENTED"}[self.status]
        return f"{code}: {self}"


class Spec(NamedTuple):
    """An input: its shape without the batch, None where it is not known, its type, and the batch.

    The batch is None for a batch of any size.
    """

    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]  # Objects are bytes.
    batch: int | None = None


class Request(NamedTuple):
    """A body, and the object in it."""

    body: bytes
    parsed: Mapping[str, Any]
    exact: bool  # Whether RapidJSON would have read the same.


def read_body(body: bytes) -> Request:
    """The JSON object in a body, or a `BadRequest`."""
    found = parse(body)
    return exactly(body) if found is None else Request(body, found, False)


def exactly(body: bytes) -> Request:
    """The JSON object in a body, as it is read there, or a `BadRequest`."""
    if not body:
        raise BadRequest("JSON Parse error: The document is empty")
    try:
        found = parse_slowly(body)
    except ParseError as error:
        raise BadRequest(f"JSON Parse error: {error}") from None
    if not isinstance(found, dict):
        raise BadRequest(f"JSON Value: {shown(found)} Is not object")
    return Request(body, found, True)


def signature_of(request: Request) -> str:
    """The name of the signature that is asked for."""
    name = request.parsed.get("signature_name", DEFAULT)
    if not isinstance(name, str):
        raise BadRequest(
            f"JSON Value: {shown(exactly(request.body).parsed)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    return name or DEFAULT


def read_predict(
    request: Request, specs: Mapping[str, Spec], most: int
) -> tuple[bool, dict[str, np.ndarray]]:
    """Whether a request is by row, and its inputs by name, for a signature.

    Args:
        request: the body.
        specs: the inputs of the signature.
        most: the largest batch.
    """
    if not specs:
        raise BadRequest(f"Failed to get input map for signature: {signature_of(request)}")
    features = None if request.exact else _fast(request, specs)
    if features is None:
        # Whatever is wrong, or odd, is told by the way in which it is read there.
        request = exactly(request.body)
        features = _features(request.parsed, specs)
    by_row = "instances" in request.parsed
    if max(map(len, features.values()), default=0) > most:
        size = max(map(len, features.values()))
        raise BadRequest(f"a batch may have at most {most} examples; got {size}")
    return by_row, features


def check_examples(request: Request) -> None:
    """A `BadRequest` unless there are `examples`, as `classify` and `regress` take them."""
    found = request.parsed.get("examples")
    if isinstance(found, list) and found:
        return
    parsed = exactly(request.body).parsed
    if "examples" not in parsed:
        wrong = "When method is classify, key 'examples' is expected and was not found"
    elif isinstance(found, list):
        wrong = "'examples' value is an empty array"
    else:
        wrong = "Expecting 'examples' value to be an list/array"
    raise BadRequest(f"JSON Value: {shown(parsed)} {wrong}")


# What is as it should be, as arrays at once.


def _fast(request: Request, specs: Mapping[str, Spec]) -> dict[str, np.ndarray] | None:
    """The inputs by name, or None where NumPy alone does not tell whether they are right."""
    parsed = request.parsed
    if ("instances" in parsed) == ("inputs" in parsed):
        return None
    if "instances" in parsed:
        columns = _columns_of_rows(parsed["instances"], specs)
    else:
        columns = _columns(parsed["inputs"], specs)
    if columns is None:
        return None
    # NumPy makes numbers of booleans among numbers, and to look for them takes as long again.
    booleans = b"true" in request.body or b"false" in request.body
    features = {}
    for name, spec in specs.items():
        array = _array(columns[name], spec, booleans)
        if array is None or not _fits(array.shape, spec):
            return None
        if array.dtype.kind == "f" and b"Inf" not in request.body and np.isinf(array).any():
            return None  # Of a number too big for a double, perhaps.
        features[name] = array
    return features


def _columns_of_rows(rows: Any, specs: Mapping[str, Spec]) -> dict[str, Any] | None:
    if not isinstance(rows, list) or not rows:
        return None
    if not _is_named(rows[0]):
        return {next(iter(specs)): rows} if len(specs) == 1 else None
    columns: dict[str, list[Any]] = {name: [] for name in specs}
    for row in rows:
        if not isinstance(row, dict) or row.keys() != specs.keys():
            return None
        for name, value in row.items():
            columns[name].append(value)
    return columns


def _columns(given: Any, specs: Mapping[str, Spec]) -> dict[str, Any] | None:
    if _is_named(given):
        return given if specs.keys() <= given.keys() else None
    return {next(iter(specs)): given} if len(specs) == 1 else None


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str)


def _array(value: Any, spec: Spec, booleans: bool) -> np.ndarray | None:
    """Nested lists as an array, or None."""
    name = spec.dtype.name
    if not isinstance(value, list) or name not in _WRITTEN:
        return None
    if name == "object":
        return _texts(value, spec)
    if booleans and name != "bool" and _has_booleans(value):
        return None
    try:
        array = np.array(value)
    except (ValueError, OverflowError, RecursionError):
        return None
    accepted = "b" if name == "bool" else "fiu" if name in _NUMBERS else "iu"
    if not array.size or array.dtype.kind not in accepted:
        return None
    if name in _WHOLE:
        limits = np.iinfo(spec.dtype)
        if array.min() < limits.min or array.max() > limits.max:
            return None
    with np.errstate(over="ignore"):
        # As there, what is too large for a float is an infinity.
        return array.astype(spec.dtype)


def _texts(value: list[Any], spec: Spec) -> np.ndarray | None:
    """Nested lists of strings as an array of bytes, or None."""
    flat, shape = value, [len(value)]
    while flat and isinstance(flat[0], list):
        size = len(flat[0])
        if not all(isinstance(part, list) and len(part) == size for part in flat):
            return None
        flat = [item for part in flat for item in part]
        shape.append(size)
    if len(shape) != len(spec.shape) + 1:
        return None
    array = np.empty(len(flat), object)
    try:
        array[:] = [_value(item, spec.dtype) for item in flat]
    except BadRequest:
        return None
    return array.reshape(shape)


def _has_booleans(value: Any) -> bool:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, bool):
            return True
        if isinstance(item, list):
            stack.extend(item)
    return False


# What may be wrong, value by value, in the order in which it is read there.


def _features(parsed: Mapping[str, Any], specs: Mapping[str, Spec]) -> dict[str, np.ndarray]:
    if "instances" in parsed and "inputs" in parsed:
        raise BadRequest(
            f"JSON Value: {shown(parsed)} Not formatted correctly expecting only one of 'inputs' "
            "or 'instances' keys to exist "
        )
    if "instances" in parsed:
        rows = parsed["instances"]
        if not isinstance(rows, list):
            raise BadRequest(
                f"JSON Value: {shown(parsed)} Expecting 'instances' to be an list/array"
            )
        if not rows:
            raise BadRequest(f"JSON Value: {shown(parsed)} No values in 'instances' array")
        return _of_rows(rows, specs)
    if "inputs" in parsed:
        return _of_columns(parsed["inputs"], specs)
    raise BadRequest("Missing 'inputs' or 'instances' key")


def _of_rows(rows: list[Any], specs: Mapping[str, Spec]) -> dict[str, np.ndarray]:
    if not isinstance(rows[0], dict) and len(specs) > 1:
        raise BadRequest(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    named = _is_named(rows[0])
    first = min(specs)
    read: dict[str, _Tensor] = {}
    for number, row in enumerate(rows):
        if named != _is_named(row):
            raise BadRequest(
                f"Expecting object but got list at item {number} of input list"
                if named
                else f"Expecting value/list but got object at item {number} of input list"
            )
        for name, value in row.items() if named else [(first, row)]:
            try:
                if name not in specs:
                    raise BadRequest(f"JSON object: does not have named input: {name[:100]}")
                read.setdefault(name, _Tensor(specs[name])).add(value)
            except BadRequest as bad:
                key = f" key: {name[:100]}" if named else ""
                raise BadRequest(
                    f"Failed to process element: {number}{key} of 'instances' list. "
                    f"Error: {bad.in_words()}"
                ) from None
        if named and set(row) != set(specs):
            raise BadRequest(
                f"Failed to process element: {number} of 'instances' list. JSON object: "
                f"{shown(row)} keys must be equal to: {','.join(sorted(specs))}"
            )
    if set(read) != set(specs):
        raise BadRequest(
            f"input size does not match signature: {len(read)}!={len(specs)} "
            f"len({{{','.join(sorted(read))}}}) != len({{{','.join(sorted(specs))}}}). Sent extra: "
            f"{{}}. Missing but required: {{{','.join(sorted(set(specs) - set(read)))}}}."
        )
    return {name: tensor.array(name, (len(rows),)) for name, tensor in read.items()}


def _of_columns(given: Any, specs: Mapping[str, Spec]) -> dict[str, np.ndarray]:
    if not _is_named(given):
        if len(specs) > 1:
            raise BadRequest(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        given = dict.fromkeys(specs, given)
    found = {}
    for name, spec in specs.items():
        if name not in given:
            raise BadRequest(f"Missing named input: {name} in 'inputs' object.")
        tensor = _Tensor(spec)
        tensor.add(given[name])
        found[name] = tensor.array(name, ())
    return found


class _Tensor:
    """The values of an input, of each row in turn."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._values: list[Any] = []
        self._shape: tuple[int, ...] | None = None
        self._size = 0

    def add(self, value: Any) -> None:
        """Adds the values of a row, or of all."""
        shape, inner = [], value
        while isinstance(inner, list):
            shape.append(len(inner))
            inner = inner[0] if inner else None
        before = len(self._values)
        for item, level in _leaves(value, tuple(shape)):
            if level != len(shape):
                raise BadRequest(
                    f"JSON Value: {shown(item)} found at incorrect level: {level + 1} in the JSON "
                    f"DOM. Expected at level: {len(shape)}"
                )
            self._values.append(_value(item, self._spec.dtype))
        size = len(self._values) - before
        if self._shape is None:
            self._shape, self._size = tuple(shape), size
        elif size != self._size:
            raise BadRequest(f"Expecting tensor size: {self._size} but got: {size}")
        elif tuple(shape) != self._shape:
            raise BadRequest(f"Expecting shape {_list(self._shape)} but got: {_list(tuple(shape))}")

    def array(self, name: str, batch: tuple[int, ...]) -> np.ndarray:
        """All values, with the axis of the rows first."""
        kind, shape = self._spec.dtype, (*batch, *(self._shape or ()))
        _check_shape(name, shape, self._spec)
        if kind.name in _WHOLE and self._values:
            limits = np.iinfo(kind)
            if min(self._values) < limits.min or max(self._values) > limits.max:
                raise BadRequest(f"{name!r} must be from {limits.min} to {limits.max}")
        flat = np.empty(len(self._values), kind)
        with np.errstate(over="ignore"):
            flat[:] = self._values
        return flat.reshape(shape)


def _leaves(value: Any, shape: tuple[int, ...]) -> Iterator[tuple[Any, int]]:
    """What is no list, with the depth at which it is, from lists of a shape."""
    stack = [(value, 0)]
    while stack:  # No recursion, of which a client could ask for too much.
        item, level = stack.pop()
        if not isinstance(item, list):
            yield item, level
            continue
        if level >= len(shape):
            raise BadRequest(
                f"Encountered list at unexpected level: {level} expected < {len(shape)}"
            )
        if len(item) != shape[level]:
            raise BadRequest(
                f"Encountered list at unexpected size: {len(item)} at level: {level} expected "
                f"size: {shape[level]}"
            )
        stack.extend((part, level + 1) for part in reversed(item))


def _value(item: Any, kind: np.dtype[Any]) -> Any:
    """A value of a type, or a `BadRequest`."""
    if kind.char == "O" and isinstance(item, str):
        return item.encode("utf-8", "surrogateescape")
    if kind.char == "O" and isinstance(item, dict):
        return _decoded(item)
    if not isinstance(item, dict) and kind.name not in _WRITTEN:
        called = _CALLED.get(kind.name, kind.name)
        raise BadRequest(f"Conversion of JSON Value: {shown(item)} to type: {called}", 501)
    good = False
    if kind.name == "bool":
        good = isinstance(item, bool)
    elif kind.name in _WHOLE:
        low, high = _WHOLE[kind.name]
        good = isinstance(item, int) and not isinstance(item, bool) and low <= item <= high
    elif kind.name in _NUMBERS:
        good = isinstance(item, (int, float)) and not isinstance(item, bool)
    if not good:
        raise BadRequest(
            f"JSON Value: {shown(item)} Type: {kind_of(item)} is not of expected type: "
            f"{_CALLED.get(kind.name, kind.name)}"
        )
    return item


def _decoded(item: dict[str, Any]) -> bytes:
    if not _is_base64(item):
        raise BadRequest(f"JSON Value: {shown(item)} not formatted correctly for base64 data")
    text = "".join(item["b64"].split()).rstrip("=")  # The padding may be left out.
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest("Unable to base64 decode") from None


def _list(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _fits(shape: tuple[int, ...], spec: Spec) -> bool:
    sizes = [spec.batch, *spec.shape]
    return len(shape) == len(sizes) and all(
        size is None or size == found for size, found in zip(sizes, shape, strict=True)
    )


def _check_shape(name: str, shape: tuple[int, ...], spec: Spec) -> None:
    if not _fits(shape, spec):
        words = [spec.batch or "batch", *("any" if size is None else size for size in spec.shape)]
        got = shape if len(shape) < 10 else f"{len(shape)} axes"
        raise BadRequest(f"{name!r} must have the shape ({', '.join(map(str, words))}); got {got}")


# Answers.


def encode(outputs: Mapping[str, np.ndarray], by_row: bool) -> bytes:
    """The body of an answer: `predictions` by row, or `outputs` by column.

    Raises:
        BadRequest: if an output has no row for each example, or no form in JSON there.
    """
    names = sorted(outputs)
    if by_row:
        batch = None
        for name in names:
            shape = outputs[name].shape
            if not shape:
                raise BadRequest(f"Tensor name: {name} has no shape information ")
            if batch not in (None, shape[0]):
                raise BadRequest(
                    f"Tensor name: {name} has inconsistent batch size: {shape[0]} expecting: "
                    f"{batch}"
                )
            batch = shape[0]
    columns = {name: _plain(name, outputs[name]) for name in names}
    if not by_row:
        return _dump({"outputs": columns if len(columns) != 1 else columns[names[0]]})
    if len(columns) == 1:
        return _dump({"predictions": columns[names[0]]})
    rows = [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return _dump({"predictions": rows})


def _plain(name: str, value: np.ndarray) -> Any:
    if value.dtype.name not in _WRITTEN and value.size:
        called = _CALLED.get(value.dtype.name, value.dtype.name)
        raise BadRequest(f"Failed to write JSON value for tensor type: {called}")
    if value.dtype == np.float32:
        return _shortest(value)
    if value.dtype != object:
        return value.tolist()
    # As there: an output whose name ends so is bytes, any other text.
    coded = name.endswith("_bytes")

    def text(item: bytes) -> Any:
        if coded:
            return {"b64": base64.b64encode(item).decode()}
        return item.decode("utf-8", "surrogateescape")

    flat = [text(item) for item in value.ravel()]
    made = np.empty(len(flat), object)
    made[:] = flat
    return made.reshape(value.shape).tolist()


def _shortest(value: np.ndarray) -> Any:
    """Numbers of six digits where these are the same in single precision, else of nine."""
    single = value.ravel()
    with np.errstate(all="ignore"):
        exact = single.astype("float64")
        found = np.full(len(exact), np.nan)
        if len(exact) >= _MANY:
            found = _rounded(exact, 6)
            others = ~np.isnan(found) & (found.astype("float32") != single)
            found[others] = _rounded(exact[others], 9)
        left = np.flatnonzero(found.astype("float32") != single).tolist()
    for index in left:
        six = f"{exact[index]:.6g}"
        text = six if np.float32(six) == single[index] else f"{exact[index]:.9g}"
        found[index] = float(text)
    return found.reshape(value.shape).tolist()


def _rounded(exact: np.ndarray, digits: int) -> np.ndarray:
    """The nearest numbers of so many digits; NaN where no exact power of ten leads to them."""
    power = digits - 1 - np.floor(np.log10(np.abs(exact)))
    known = np.abs(power) < len(_TENS)
    tens = _TENS[np.where(known, np.abs(power), 0).astype(int)]
    # A whole number over, or times, a power of ten: rounded once.
    up = power >= 0
    whole = np.rint(np.where(up, exact * tens, exact / tens))
    return np.where(known, np.where(up, whole / tens, whole * tens), np.nan)


def error(message: str) -> bytes:
    """The body of an error."""
    return _dump({"error": message})


def _dump(value: Any) -> bytes:
    # Strings are the bytes that they were.
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogateescape")
