"""Parts of a search that the command runs, by themselves."""

import types

import keras
import numpy as np

from kerasreg.cli import _job


def test_a_regression_answers_in_the_units_of_its_file():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    parts = types.SimpleNamespace(target_mean=10.0, target_scale=2.0)
    x = np.array([[1.0, 2.0], [-3.0, 0.5]], "float32")
    raw = _job._in_raw_units(model, parts)
    standardised = model.predict(x, verbose=0)
    np.testing.assert_allclose(raw.predict(x, verbose=0), 2.0 * standardised + 10.0, rtol=1e-5)


def test_a_classification_is_left_as_it_is():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, "softmax")])
    parts = types.SimpleNamespace(target_mean=0.0, target_scale=1.0)
    assert _job._in_raw_units(model, parts) is model
