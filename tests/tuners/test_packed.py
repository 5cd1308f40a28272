"""Files of numbers, texts and arrays, and of no code: what was packed comes back, or an error."""

import math

import numpy as np
import pytest

from kerasreg.tuners._packed import pack, unpack

VALUES = {
    "numbers": [0, -1, 2**40, 0.1, math.inf, True, None, 1 + 2j],
    "not a number": math.nan,
    "texts": ("a", "ü", b"\x00\xff"),
    "arrays": [
        np.arange(6, dtype="float32").reshape(2, 3),
        np.float16(0.5),
        np.array([], "int8"),
        np.array(7, "uint32"),
        np.array([[True], [False]]),
        np.array(["one", "two"]),
    ],
    3: {(1, None): "keys of any kind"},
    "empty": [[], (), {}],
}


def same(one, other):
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.tolist() == other.tolist()
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and (one == other or (one != one and other != other))


def test_what_was_packed_comes_back_with_its_types():
    found = unpack(pack(VALUES))
    # A number of NumPy's comes back as an array of no axis.
    expected = {**VALUES, "arrays": list(map(np.asarray, VALUES["arrays"]))}
    assert same(expected, found)
    assert found["numbers"][-1] == 1 + 2j


def test_types_of_keras_come_back():
    import ml_dtypes

    value = np.array([0.5, 1.5], ml_dtypes.bfloat16)
    found = unpack(pack([value]))[0]
    assert found.dtype == value.dtype
    assert found.tolist() == value.tolist()


def test_many_arrays_are_few_members():
    import io
    import zipfile

    content = pack([np.full(3, number, "float32") for number in range(1000)])
    assert len(zipfile.ZipFile(io.BytesIO(content)).namelist()) == 2


@pytest.mark.parametrize("value", [object(), {1, 2}, np.array([object()]), lambda: None])
def test_anything_else_is_refused(value):
    with pytest.raises(TypeError, match="cannot be packed"):
        pack([value])


def test_no_part_of_a_file_is_taken_for_it():
    content = pack(VALUES)
    for length in {0, 1, len(content) // 2, len(content) - 1}:
        with pytest.raises(ValueError, match=":"):
            unpack(content[:length])


def test_what_was_changed_on_the_way_is_seen():
    content = bytearray(pack({"array": np.arange(1000.0)}))
    content[len(content) // 2] ^= 1
    with pytest.raises(ValueError, match="CRC"):
        unpack(bytes(content))
