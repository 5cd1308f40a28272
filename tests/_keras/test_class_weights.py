"""Weights of classes are the weights of samples that Keras makes of them."""

import keras
import numpy as np
import pytest
from keras.src.trainers.data_adapters.data_adapter_utils import class_weight_to_sample_weights

from kerasreg._keras.class_weights import class_numbers, is_class_weight, sample_weights_of_classes


@pytest.mark.parametrize(
    "y",
    [
        np.array([0, 2, 1, 2]),
        np.array([[0.0], [2.0], [1.0], [2.0]]),
        np.eye(3)[[0, 2, 1, 2]],
        np.array([[0.1, 0.9], [0.7, 0.3]], "float32"),
    ],
)
def test_sample_weights_of_classes_are_those_of_keras(y):
    weights = {0: 0.5, 2: 3.0}
    found, expected = (
        sample_weights_of_classes(y, weights),
        class_weight_to_sample_weights(y, weights),
    )
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype


def test_sample_weights_of_classes_refuse_targets_of_another_shape():
    with pytest.raises(ValueError, match=r"`y` must have the shape .* \(1, 2, 3\)"):
        sample_weights_of_classes(np.zeros((1, 2, 3)), {0: 1.0})


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        ({0: 1, np.int64(2): np.float32(0.5)}, True),
        ({}, True),
        ({"0": 1.0}, False),
        ({True: 1.0}, False),
        ({0.5: 1.0}, False),
        ({0: None}, False),
        (None, False),
        ([1.0, 2.0], False),
    ],
)
def test_is_class_weight(of, expected):
    assert is_class_weight(of) is expected


@pytest.mark.parametrize("xp", [np, keras.ops])
def test_class_numbers_are_equal_in_arrays_and_tensors(xp):
    for y in ([2, 0], [[1.6], [0.2]], [[0.1, 0.2, 0.9], [0.8, 0.1, 0.3]]):
        given = np.array(y) if xp is np else keras.ops.convert_to_tensor(y)
        assert np.array(class_numbers(given, xp)).tolist() == [2, 0]
