"""Errors of others, told in one line."""

import keras
import numpy as np
import pytest

from kerasreg._first_line import first_line


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("one\ntwo", "one"),
        ("\n  one \ntwo", "one"),
        ("", "ValueError"),
        ("\x1b[1mloud\x1b[0m", "loud"),
        ("Exception encountered when calling Dense.call().\n\nwhy\n", "why"),
        ("Exception encountered when calling Dense.call().", None),
    ],
)
def test_an_error_is_told_in_a_line(said, told):
    assert first_line(ValueError(said)) == (said if told is None else told)


def test_of_an_error_of_keras_it_is_what_was_wrong():
    model = keras.Sequential([keras.Input((9,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="encountered") as caught:
        model(np.zeros((1, 8)))
    assert first_line(caught.value).startswith("Input 0 ")
    assert "expected axis -1 of input shape to have value 9" in first_line(caught.value)
