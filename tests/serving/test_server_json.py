"""The JSON of the server: what is read as which array, what is refused, and what is written.

Messages are those of TensorFlow Serving's `util/json_tensor.cc`, and of RapidJSON 1.1.0 in it.
"""

import base64
import json

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kerasreg.serving.server import _rapidjson, _rest
from kerasreg.serving.server._rest import BadRequest, Spec

FLOATS = Spec((2,), np.dtype("float32"))
INTS = Spec((), np.dtype("int32"))
TEXT = Spec((None,), np.dtype(object))


def read(body, specs=None, most=100):
    request = _rest.read_body(body if isinstance(body, bytes) else json.dumps(body).encode())
    _rest.signature_of(request)
    return _rest.read_predict(request, specs or {"x": FLOATS}, most)


def scalar(kind):
    return Spec((), np.dtype(kind))


# The forms of the documentation of TensorFlow Serving.


def test_one_input_by_row_or_by_column_with_or_without_its_name():
    values = [[1.0, 2.0], [3.0, 4.0]]
    for body in (
        {"instances": values},
        {"inputs": values},
        {"inputs": {"x": values}},
        {"instances": [{"x": row} for row in values]},
        {"instances": values, "signature_name": "serve"},
    ):
        by_row, found = read(body)
        assert by_row == ("instances" in body)
        assert found["x"].dtype == np.float32
        np.testing.assert_array_equal(found["x"], values)


def test_several_inputs_by_row_or_by_column():
    specs = {"tag": TEXT, "signal": Spec((3,), np.dtype("float32")), "n": INTS}
    rows = [
        {"tag": ["foo", "bar"], "signal": [1, 2, 3.5], "n": 4},
        {"tag": ["é", "qux"], "signal": [0, 0, 0], "n": -4},
    ]
    columns = {name: [row[name] for row in rows] for name in specs}
    for body in ({"instances": rows}, {"inputs": columns}):
        _, found = read(body, specs)
        assert found["tag"].tolist() == [[b"foo", b"bar"], ["é".encode(), b"qux"]]
        np.testing.assert_array_equal(found["signal"], columns["signal"])
        assert found["n"].tolist() == [4, -4]


def test_bytes_are_in_base64():
    coded = [{"b64": base64.b64encode(value).decode()} for value in (b"\x00\xff", b"")]
    specs = {"image_bytes": scalar(object)}
    for body in (
        {"instances": coded},
        {"inputs": coded},
        {"instances": [{"image_bytes": item} for item in coded]},
    ):
        assert read(body, specs)[1]["image_bytes"].tolist() == [b"\x00\xff", b""]


def test_outputs_are_written_by_row_or_by_column_and_bytes_by_the_end_of_their_name():
    values, text = np.array([[1.0, 2.0]], "float32"), np.array([b"\xff"], object)
    assert json.loads(_rest.encode({"y": values}, True)) == {"predictions": [[1.0, 2.0]]}
    assert json.loads(_rest.encode({"y": values}, False)) == {"outputs": [[1.0, 2.0]]}
    both = {"y": values, "z_bytes": text}
    coded = {"b64": "/w=="}
    rows = {"predictions": [{"y": [1.0, 2.0], "z_bytes": coded}]}
    assert json.loads(_rest.encode(both, True)) == rows
    columns = {"outputs": {"y": [[1.0, 2.0]], "z_bytes": [coded]}}
    assert json.loads(_rest.encode(both, False)) == columns
    label = np.array(["é".encode()], object)
    assert json.loads(_rest.encode({"label": label}, True)) == {"predictions": ["é"]}


# What is read: the text, the inputs, and what they are.

READ = {
    "rows": (b'{"instances": [[1, 2]]}', {"x": FLOATS}, [[1, 2]]),
    "a key of the client's": (b'{"instances": [[1, 2]], "user": "7"}', {"x": FLOATS}, [[1, 2]]),
    "deep in a key of the client's": (
        b'{"instances": [[1, 2]], "nested": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        {"x": FLOATS},
        [[1, 2]],
    ),
    "more columns than inputs": (
        b'{"inputs": {"x": [[1, 2]], "y": ["a"]}}',
        {"x": FLOATS},
        [[1, 2]],
    ),
    "what follows": (b'{"instances": [[1, 2]]} and more', {"x": FLOATS}, [[1, 2]]),
    "a mark of the byte order": (b'\xef\xbb\xbf{"instances": [[1, 2]]}', {"x": FLOATS}, [[1, 2]]),
    "whole numbers for floats": (b'{"instances": [[1, 2.5]]}', {"x": FLOATS}, [[1, 2.5]]),
    "not finite": (
        b'{"instances": [[NaN, -Infinity], [Inf, -Inf]]}',
        {"x": FLOATS},
        [[np.nan, -np.inf], [np.inf, -np.inf]],
    ),
    "more than single precision": (
        b'{"instances": [[1e39, -1e39]]}',
        {"x": FLOATS},
        [[np.inf, -np.inf]],
    ),
    "less than single precision": (b'{"instances": [[1e-60, 0]]}', {"x": FLOATS}, [[0, 0]]),
    "more than 64 bits for a float": (
        b'{"instances": [[18446744073709551616, 1]]}',
        {"x": FLOATS},
        [[2.0**64, 1]],
    ),
    "doubles": (b'{"instances": [0.1, 1435774380]}', {"x": scalar("float64")}, [0.1, 1435774380]),
    "the largest of 64 bits": (
        b'{"instances": [18446744073709551615]}',
        {"x": scalar("uint64")},
        [2**64 - 1],
    ),
    "booleans": (b'{"instances": [true, false]}', {"x": scalar("bool")}, [True, False]),
    "strings": (
        '{"instances": ["zürich", "\\u00e9"]}'.encode(),
        {"x": scalar(object)},
        ["zürich".encode(), "é".encode()],
    ),
    "bytes that are no UTF-8": (b'{"instances": ["a\xff"]}', {"x": scalar(object)}, [b"a\xff"]),
    "a pair of halves": (
        b'{"instances": ["\\ud83d\\ude00"]}',
        {"x": scalar(object)},
        ["😀".encode()],
    ),
    "base64 without its end": (
        b'{"instances": [{"b64": "/w"}]}',
        {"x": scalar(object)},
        [b"\xff"],
    ),
    "base64 in a column": (b'{"inputs": {"x": [{"b64": "YQ"}]}}', {"x": scalar(object)}, [b"a"]),
    "text and base64": (
        b'{"instances": ["a", {"b64": "Yg=="}]}',
        {"x": scalar(object)},
        [b"a", b"b"],
    ),
    "no rows in a column": (b'{"inputs": []}', {"x": scalar("float32")}, []),
    "no values in a row": (
        b'{"instances": [[], []]}',
        {"x": Spec((None,), np.dtype("float32"))},
        [[], []],
    ),
}


@pytest.mark.parametrize(("body", "specs", "expected"), READ.values(), ids=READ)
def test_what_is_read_there_is_read(body, specs, expected):
    found = read(body, specs)[1]["x"]
    assert found.dtype == specs["x"].dtype
    if found.dtype == object:
        assert found.tolist() == expected
    else:
        np.testing.assert_array_equal(found, np.array(expected, specs["x"].dtype))


def test_inputs_of_different_batch_sizes_are_the_model_s_affair():
    _, found = read({"inputs": {"a": [1], "b": [1, 2]}}, {"a": INTS, "b": INTS})
    assert {name: value.tolist() for name, value in found.items()} == {"a": [1], "b": [1, 2]}


@settings(max_examples=100, deadline=None)
@given(
    arrays.arrays(
        st.sampled_from([np.float32, np.int32, np.int64, np.uint8, np.bool_]),
        arrays.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4),
        # NaN has no equal.
        elements={"allow_nan": False},
    )
)
def test_what_is_written_is_read_again(array):
    specs = {"x": Spec(array.shape[1:], array.dtype)}
    for by_row, key in ((True, "predictions"), (False, "outputs")):
        written = json.loads(_rest.encode({"y": array}, by_row))[key]
        _, found = read({"instances" if by_row else "inputs": written}, specs)
        assert found["x"].dtype == array.dtype
        np.testing.assert_array_equal(found["x"], array)


# What is refused: the body, the inputs, the message, and the status where it is not 400.

X = {"x": FLOATS}
AB = {"a": FLOATS, "b": INTS}
FIRST = "Failed to process element: 0 of 'instances' list. Error: "
OF_X = "Failed to process element: 0 key: x of 'instances' list. Error: "
REFUSED = {
    "nothing": (b"", X, "JSON Parse error: The document is empty"),
    "space": (b"  ", X, "JSON Parse error: The document is empty. at offset: 2"),
    "cut off": (b"{", X, "JSON Parse error: Missing a name for object member. at offset: 1"),
    "cut off after a name": (
        b'{"instances"',
        X,
        "JSON Parse error: Missing a colon after a name of object member. at offset: 12",
    ),
    "cut off after a value": (
        b'{"instances": [1',
        X,
        "JSON Parse error: Missing a comma or ']' after an array element. at offset: 16",
    ),
    "no comma": (
        b'{"a": 1 "b": 2}',
        X,
        "JSON Parse error: Missing a comma or '}' after an object member. at offset: 8",
    ),
    "a comma at the end": (b'{"a": [1,]}', X, "JSON Parse error: Invalid value. at offset: 9"),
    "a word": (b'{"a": nul}', X, "JSON Parse error: Invalid value. at offset: 9"),
    "a zero first": (
        b'{"instances": [01]}',
        X,
        "JSON Parse error: Missing a comma or ']' after an array element. at offset: 16",
    ),
    "no fraction": (
        b'{"a": 1.}',
        X,
        "JSON Parse error: Miss fraction part in number. at offset: 8",
    ),
    "no exponent": (b'{"a": 1e}', X, "JSON Parse error: Miss exponent in number. at offset: 8"),
    "too big": (
        b'{"instances": [[1e400, 1]]}',
        X,
        "JSON Parse error: Number too big to be stored in double. at offset: 16",
    ),
    "400 digits": (
        b'{"instances": [[1' + b"0" * 400 + b", 1]]}",
        X,
        "JSON Parse error: Number too big to be stored in double. at offset: 16",
    ),
    "an open string": (
        b'{"a": "b',
        X,
        "JSON Parse error: Missing a closing quotation mark in string. at offset: 8",
    ),
    "an escape": (
        b'{"a": "\\x"}',
        X,
        "JSON Parse error: Invalid escape character in string. at offset: 7",
    ),
    "half of a pair": (
        b'{"a": "\\ud83d"}',
        X,
        "JSON Parse error: The surrogate pair in string is invalid. at offset: 7",
    ),
    "no hex": (
        b'{"a": "\\u12g4"}',
        X,
        "JSON Parse error: Incorrect hex digit after \\u escape in string. at offset: 7",
    ),
    "open brackets": (
        b'{"instances": ' + b"[" * 50_000,
        X,
        "JSON Parse error: Invalid value. at offset: 50014",
    ),
    "a list": (b"[1, 2]", X, "JSON Value: [1, 2] Is not object"),
    "a number": (b"1", X, "JSON Value: 1 Is not object"),
    "the name of a signature": (
        {"signature_name": 5, "instances": [[1, 2]]},
        X,
        'JSON Value: {\n    "signature_name": 5,\n    "instances": [[1, 2]]\n} not formatted '
        "correctly. 'signature_name' key must be a string value.",
    ),
    "a signature of depth": (
        b'{"signature_name": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        X,
        "not formatted correctly. 'signature_name' key must be a string value.",
    ),
    "neither": ({"user": "7"}, X, "Missing 'inputs' or 'instances' key"),
    "both": (
        {"instances": [], "inputs": []},
        X,
        'JSON Value: {\n    "instances": [],\n    "inputs": []\n} Not formatted correctly '
        "expecting only one of 'inputs' or 'instances' keys to exist ",
    ),
    "no list": (
        {"instances": 3},
        X,
        "JSON Value: {\n    \"instances\": 3\n} Expecting 'instances' to be an list/array",
    ),
    "no values": (
        {"instances": []},
        X,
        "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array",
    ),
    "an unknown name": (
        {"instances": [{"y": [1, 2]}]},
        X,
        "Failed to process element: 0 key: y of 'instances' list. Error: INVALID_ARGUMENT: JSON "
        "object: does not have named input: y",
    ),
    "a name that is not there": (
        {"instances": [{"a": [1, 2], "b": 1}, {"a": [1, 2]}]},
        AB,
        "Failed to process element: 1 of 'instances' list. JSON object: {\n    \"a\": [1, 2]\n} "
        "keys must be equal to: a,b",
    ),
    "no names in rows": (
        {"instances": [[1, 2]]},
        AB,
        "instances is a plain list, but expecting list of objects as multiple input tensors "
        "required as per tensorinfo_map",
    ),
    "no names in columns": (
        {"inputs": [[1, 2]]},
        AB,
        "inputs is a plain value/list, but expecting an object as multiple input tensors required "
        "as per tensorinfo_map",
    ),
    "a column that is not there": (
        {"inputs": {"a": [[1, 2]]}},
        AB,
        "Missing named input: b in 'inputs' object.",
    ),
    "base64 for two inputs": (
        {"instances": [{"b64": "YQ=="}]},
        {"a": scalar(object), "b": scalar(object)},
        "input size does not match signature: 1!=2 len({a}) != len({a,b}). Sent extra: {}. "
        "Missing but required: {b}.",
    ),
    "then a list": (
        {"instances": [{"x": [1, 2]}, [1, 2]]},
        X,
        "Expecting object but got list at item 1 of input list",
    ),
    "then an object": (
        {"instances": [[1, 2], {"x": [1, 2]}]},
        X,
        "Expecting value/list but got object at item 1 of input list",
    ),
    "rows of two sizes": (
        {"instances": [[1, 2], [1]]},
        X,
        "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting "
        "tensor size: 2 but got: 1",
    ),
    "rows of two shapes": (
        {"instances": [[1, 2], [[1, 2]]]},
        X,
        "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting "
        "shape [2] but got: [1,2]",
    ),
    "ragged rows": (
        {"instances": [[[1, 2], [3]]]},
        X,
        f"{FIRST}INVALID_ARGUMENT: Encountered list at unexpected size: 1 at level: 1 expected "
        "size: 2",
    ),
    "a ragged column": (
        {"inputs": [[1, 2], [3]]},
        X,
        "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
    ),
    "a list too deep": (
        {"inputs": [1, [2]]},
        X,
        "Encountered list at unexpected level: 1 expected < 1",
    ),
    "a value too high": (
        {"inputs": [[1], 2]},
        X,
        "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
    ),
    "text for a number": (
        {"instances": [["1", "2"]]},
        X,
        f'{FIRST}INVALID_ARGUMENT: JSON Value: "1" Type: String is not of expected type: float',
    ),
    "text for a number by name": (
        {"instances": [{"x": [1, "é"]}]},
        X,
        f'{OF_X}INVALID_ARGUMENT: JSON Value: "é" Type: String is not of expected type: float',
    ),
    "text in a column": (
        {"inputs": [["1", "2"]]},
        X,
        'JSON Value: "1" Type: String is not of expected type: float',
    ),
    "a boolean": (
        {"instances": [[1.5, True]]},
        X,
        f"{FIRST}INVALID_ARGUMENT: JSON Value: true Type: True is not of expected type: float",
    ),
    "nothing for a number": (
        {"instances": [[None, 1]]},
        X,
        f"{FIRST}INVALID_ARGUMENT: JSON Value: null Type: Null is not of expected type: float",
    ),
    "an object for a number": (
        {"instances": [[{}, 1]]},
        X,
        f"{FIRST}INVALID_ARGUMENT: JSON Value: {{}} Type: Object is not of expected type: float",
    ),
    "a column that is nothing": (
        {"inputs": None},
        X,
        "JSON Value: null Type: Null is not of expected type: float",
    ),
    "a float for a whole number": (
        {"inputs": [1, 1.0]},
        {"x": INTS},
        "JSON Value: 1.0 Type: Number is not of expected type: int32",
    ),
    "more than 32 bits": (
        {"inputs": [2**31]},
        {"x": INTS},
        "JSON Value: 2147483648 Type: Number is not of expected type: int32",
    ),
    "more than 64 bits": (
        {"inputs": [2**63]},
        {"x": scalar("int64")},
        "JSON Value: 9223372036854775808 Type: Number is not of expected type: int64",
    ),
    "less than nothing": (
        {"inputs": [-1]},
        {"x": scalar("uint32")},
        "JSON Value: -1 Type: Number is not of expected type: uint32",
    ),
    "a number for a boolean": (
        {"inputs": [1]},
        {"x": scalar("bool")},
        "JSON Value: 1 Type: Number is not of expected type: bool",
    ),
    "a number for a string": (
        {"inputs": ["a", 1e-7]},
        {"x": scalar(object)},
        "JSON Value: 1e-7 Type: Number is not of expected type: string",
    ),
    "an object for a string": (
        {"inputs": [{"b64": 1}]},
        {"x": scalar(object)},
        'JSON Value: {\n    "b64": 1\n} not formatted correctly for base64 data',
    ),
    "no base64": ({"inputs": [{"b64": "?"}]}, {"x": scalar(object)}, "Unable to base64 decode"),
    "bfloat16 by row": (
        {"instances": [[1.5, 2]]},
        {"x": Spec((2,), np.dtype(ml_dtypes.bfloat16))},
        f"{FIRST}UNIMPLEMENTED: Conversion of JSON Value: 1.5 to type: bfloat16",
    ),
    "bfloat16 by column": (
        {"inputs": [[1.5, 2]]},
        {"x": Spec((2,), np.dtype(ml_dtypes.bfloat16))},
        "Conversion of JSON Value: 1.5 to type: bfloat16",
        501,
    ),
    "float16": (
        {"inputs": [2]},
        {"x": scalar("float16")},
        "Conversion of JSON Value: 2 to type: half",
        501,
    ),
    "uint16": (
        {"inputs": [2]},
        {"x": scalar("uint16")},
        "Conversion of JSON Value: 2 to type: uint16",
        501,
    ),
    "complex": (
        {"inputs": [2]},
        {"x": scalar("complex64")},
        "Conversion of JSON Value: 2 to type: complex64",
        501,
    ),
    # These are not refused there: the model is asked, and numbers are taken modulo 256.
    "another shape": (
        {"instances": [[1, 2, 3]]},
        X,
        "'x' must have the shape (batch, 2); got (1, 3)",
    ),
    "no examples, and another shape": (
        {"inputs": []},
        X,
        "'x' must have the shape (batch, 2); got (0,)",
    ),
    "another batch": (
        {"instances": [[1, 2]]},
        {"x": Spec((2,), np.dtype("float32"), 4)},
        "'x' must have the shape (4, 2); got (1, 2)",
    ),
    "more than 8 bits": (
        {"inputs": [256]},
        {"x": scalar("uint8")},
        "'x' must be from 0 to 255",
    ),
    "a large batch": (
        {"instances": [[1, 2]] * 101},
        X,
        "a batch may have at most 100 examples; got 101",
    ),
    "of depth": (
        b'{"instances": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        X,
        "'x' must have the shape (batch, 2); got 50000 axes",
    ),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_is_no_request_is_refused_in_the_words_of_tensorflow_serving(case):
    body, specs, message, *status = case
    with pytest.raises(BadRequest) as caught:
        read(body, specs)
    if message.startswith("not formatted"):
        assert str(caught.value).endswith(message)
        assert len(str(caught.value)) < 400
    else:
        assert str(caught.value) == message
    assert caught.value.status == (status[0] if status else 400)


# What is written.


def single(values):
    return np.array(values, "float32")


ROWS = {
    "a scalar": ({"y": single(1)}, "Tensor name: y has no shape information "),
    "a scalar beside": (
        {"a": single([1, 2]), "b": single(1)},
        "Tensor name: b has no shape information ",
    ),
    "two batch sizes": (
        {"a": single([1, 2]), "b": single([1, 2, 3])},
        "Tensor name: b has inconsistent batch size: 3 expecting: 2",
    ),
    "half": (
        {"y": np.array([1.5], "float16")},
        "Failed to write JSON value for tensor type: half",
    ),
    "bfloat16": (
        {"y": np.array([1.5], ml_dtypes.bfloat16)},
        "Failed to write JSON value for tensor type: bfloat16",
    ),
    "complex": (
        {"y": np.array([1j], "complex64")},
        "Failed to write JSON value for tensor type: complex64",
    ),
    "uint16": (
        {"y": np.array([1], "uint16")},
        "Failed to write JSON value for tensor type: uint16",
    ),
}


@pytest.mark.parametrize(("outputs", "message"), ROWS.values(), ids=ROWS)
def test_what_has_no_form_in_rows_is_refused(outputs, message):
    with pytest.raises(BadRequest) as caught:
        _rest.encode(outputs, True)
    assert (str(caught.value), caught.value.status) == (message, 400)
    if "type" not in message:  # Columns are whatever they are.
        expected = {name: value.tolist() for name, value in outputs.items()}
        found = json.loads(_rest.encode(outputs, False))["outputs"]
        assert found == (expected if len(expected) > 1 else expected.popitem()[1])


WRITTEN = {
    "single precision": (single([0.2, 1 / 3, 9e6, 3e-5, 555557.5]), b"0.2, 0.333333343, 9000000.0"),
    "not finite": (single([np.nan, np.inf, -np.inf]), b"NaN, Infinity, -Infinity"),
    "double precision": (np.array([0.1, 1 / 3]), b"0.1, 0.3333333333333333"),
    "whole": (np.array([2**62]), b"4611686018427387904"),
    "booleans": (np.array([True, False]), b"true, false"),
    "text": (np.array(["é😀".encode()], object), '"é😀"'.encode()),
    "bytes that are no text": (np.array([b'a\xff"'], object), b'"a\xff\\""'),
    "nothing": (np.zeros((2, 0), "float16"), b"[], []"),
}


@pytest.mark.parametrize(("values", "text"), WRITTEN.values(), ids=WRITTEN)
def test_values_are_written_as_there(values, text):
    written = _rest.encode({"y": values}, True)
    assert written.startswith(b'{"predictions": [' + text)


@settings(max_examples=100, deadline=None)
@given(arrays.arrays("float32", st.sampled_from([5, 70]), elements={"allow_nan": False}))
def test_single_precision_keeps_its_value_and_has_six_digits_or_nine(array):
    found = json.loads(_rest.encode({"y": array}, True))["predictions"]
    np.testing.assert_array_equal(np.array(found, "float32"), array)
    for one, value in zip(found, array, strict=True):
        six = float(f"{value:.6g}")
        if np.float32(six) == value:
            assert one == six
        else:
            assert one == float(f"{one:.9g}")


# Whatever comes.

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)  # Others are floats there.
    | st.floats()
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["instances", "inputs", "signature_name", "x"]), JSON),
    st.sampled_from([FLOATS, INTS, TEXT, Spec((None, None), np.dtype("float64"))]),
)
def test_whatever_is_sent_is_read_or_refused(body, spec):
    try:
        _, found = read(body, {"x": spec}, 10)
    except BadRequest:
        return
    assert found["x"].dtype == spec.dtype
    assert found["x"].ndim == len(spec.shape) + 1


@settings(max_examples=300, deadline=None)
@given(JSON, st.booleans())
def test_both_ways_of_reading_read_the_same(value, ascii_only):
    body = json.dumps({"x": value}, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    fast = _rapidjson.parse(body)
    if fast is not None:
        # NaN has no equal, and its text has.
        assert repr(_rapidjson.parse_slowly(body)) == repr(fast)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["instances", "inputs"]), st.lists(JSON), min_size=1),
    st.sampled_from([FLOATS, INTS, TEXT, scalar("float32"), scalar("uint8"), scalar("bool")]),
)
def test_the_fast_way_never_reads_what_the_exact_one_refuses(body, spec):
    text, specs = json.dumps(body).encode(), {"x": spec}
    fast = _rest._fast(_rest.read_body(text), specs)
    if fast is not None:
        exact = _rest._features(_rest.exactly(text).parsed, specs)
        assert fast["x"].dtype == exact["x"].dtype
        np.testing.assert_array_equal(fast["x"], exact["x"])


def test_a_message_shows_no_more_than_the_beginning():
    for value in ("y" * 10_000, ["y" * 200] * 100, {"y" * 300: {"y" * 300: 1}}):
        assert len(_rapidjson.shown(value)) <= 512
    assert _rapidjson.shown([1.5, -0.0, 1e21, 123456789.125, 1e-6, 5e-324]) == (
        "[1.5, -0.0, 1e21, 123456789.125, 0.000001, 5e-324]"
    )
