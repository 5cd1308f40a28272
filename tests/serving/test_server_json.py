"""The JSON of the server: what is read as which array, what is refused, and what is written."""

import base64
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kerasreg.serving.server import _rest
from kerasreg.serving.server._rest import BadRequest, Spec

FLOATS = Spec((2,), np.dtype("float32"))
INTS = Spec((), np.dtype("int32"))
TEXT = Spec((None,), np.dtype(object))


def read(body, specs=None, most=100):
    parsed = _rest.parse_body(json.dumps(body).encode() if not isinstance(body, bytes) else body)
    return _rest.parse_predict(parsed, specs or {"x": FLOATS}, most)


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
    specs = {"image_bytes": Spec((), np.dtype(object))}
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


def test_numbers_that_are_not_finite_are_read_and_written_as_there():
    _, found = read(b'{"instances": [[NaN, -Infinity], [1e400, -1e39]]}')
    np.testing.assert_array_equal(found["x"], [[np.nan, -np.inf], [np.inf, -np.inf]])
    assert _rest.encode({"y": found["x"][:1]}, True) == b'{"predictions": [[NaN, -Infinity]]}'


def test_no_examples_are_an_empty_batch():
    specs = {"a": FLOATS, "b": TEXT}
    for body in ({"instances": []}, {"inputs": {"a": [], "b": []}}):
        if "instances" in body:
            assert read(body)[1]["x"].shape == (0, 2)
        else:
            found = read(body, specs)[1]
            assert (found["a"].shape, found["b"].shape) == ((0, 2), (0, 0))


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


# What is refused, each with what to do about it, and nothing of what was sent.

REFUSED = {
    "no JSON": (b"{", "JSON Parse error"),
    "no UTF-8": (b'{"instances": "\xff"}', "JSON Parse error"),
    "nothing": (b"", "JSON Parse error"),
    "a list": ([1], "must be an object"),
    "a number": (b"1", "must be an object"),
    "neither": ({}, "one of 'instances' and 'inputs'"),
    "both": ({"instances": [], "inputs": []}, "one of 'instances' and 'inputs'"),
    "unknown": ({"instances": [], "colour": 1}, "unknown key 'colour'"),
    "no list": ({"instances": 3}, "'instances' must be a list"),
    "an object": ({"instances": {"x": 1}}, "'instances' must be a list"),
    "null": ({"inputs": None}, "'x' must be a list of examples"),
    "wrong name": ({"instances": [{"y": [1, 2]}]}, "with the keys 'x'"),
    "one name too many": ({"inputs": {"x": [], "y": []}}, "with the keys 'x'"),
    "mixed rows": ({"instances": [{"x": [1, 2]}, [1, 2]]}, "instances[1] must be an object"),
    "wrong shape": ({"instances": [[1, 2, 3]]}, "'x' must have the shape (batch, 2); got (1, 3)"),
    "too flat": ({"instances": [1, 2]}, "'x' must have the shape (batch, 2); got (2,)"),
    "too deep": ({"instances": [[[1, 2]]]}, "'x' must have the shape (batch, 2)"),
    "ragged": ({"instances": [[1, 2], [1]]}, "'x' must be lists of equal lengths"),
    "strings": ({"instances": [["1", "2"]]}, "'x' must be numbers"),
    "booleans": ({"instances": [[True, False]]}, "'x' must be numbers"),
    "a boolean": ({"instances": [[True, 1.5]]}, "'x' must be numbers"),
    "nulls": ({"instances": [[None, 1]]}, "'x' must be numbers"),
    "objects": ({"instances": [[{}, 1]]}, "'x' must be numbers"),
    "huge": (b'{"instances": [[1' + b"0" * 400 + b", 1]]}", "'x' must be numbers"),
    "a large batch": ({"instances": [[1, 2]] * 101}, "at most 100 examples; got 101"),
    "nested": (b'{"instances": ' + b"[" * 50000, "JSON Parse error"),
    "deep": (b'{"instances": ' + b"[" * 40 + b"]" * 40 + b"}", "'x' must"),
}


@pytest.mark.parametrize(("body", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_request_is_refused(body, message):
    with pytest.raises(BadRequest) as caught:
        read(body)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("spec", "values", "message"),
    [
        (INTS, [1.5], "'x' must be whole numbers"),
        (INTS, [2**31], "'x' must be from -2147483648 to 2147483647"),
        (Spec((), np.dtype("uint8")), [-1], "'x' must be from 0 to 255"),
        (Spec((), np.dtype("bool")), [1], "'x' must be booleans"),
        (TEXT, [[1]], "'x' must be strings"),
        (TEXT, [["a", None]], "'x' must be strings"),
        (TEXT, [[{"b64": "?"}]], "no base64"),
        (TEXT, [[{"b64": 3}]], "'x' must be strings"),
        (TEXT, ["a"], "'x' must have the shape (batch, any)"),
    ],
)
def test_what_is_not_of_the_type_of_an_input_is_refused(spec, values, message):
    with pytest.raises(BadRequest) as caught:
        read({"inputs": values}, {"x": spec})
    assert message in str(caught.value)


def test_inputs_of_different_batch_sizes_are_refused():
    specs = {"a": INTS, "b": INTS}
    with pytest.raises(BadRequest, match=r"one batch size; got \[1, 2\]"):
        read({"inputs": {"a": [1], "b": [1, 2]}}, specs)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["instances", "inputs", "signature_name", "x"]), JSON),
    st.sampled_from([FLOATS, INTS, TEXT, Spec((None, None), np.dtype("float16"))]),
)
def test_whatever_is_sent_is_read_or_refused(body, spec):
    try:
        parsed = _rest.parse_body(json.dumps(body).encode())
        _rest.signature_of(parsed)
        _, found = _rest.parse_predict(parsed, {"x": spec}, 10)
    except BadRequest:
        return
    assert found["x"].dtype == spec.dtype
    assert found["x"].ndim == len(spec.shape) + 1
