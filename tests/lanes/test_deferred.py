"""Variables that get their values when somebody asks for them are as those of Keras."""

import copy

import keras
import numpy as np
import pytest

from kerasreg._keras.deferred_variables import deferred_variables, initial_value

layers = keras.layers


def build():
    keras.utils.set_random_seed(3)
    draws = keras.random.SeedGenerator(5)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(6, "relu", kernel_initializer=keras.initializers.HeNormal()),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(6, kernel_initializer=keras.initializers.RandomUniform(seed=draws)),
            layers.Dense(6, kernel_initializer=keras.initializers.RandomUniform(seed=draws)),
            layers.Dense(2, kernel_initializer=lambda shape, dtype: keras.ops.ones(shape, dtype)),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return model


def deferred():
    with deferred_variables():
        return build()


def values(model):
    return [np.asarray(v) for v in [*model.variables, *model.optimizer.variables]]


def is_deferred(variable):
    return type(variable) is not keras.Variable


def equal(one, other):
    for found, expected in zip(values(one), values(other), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_values_are_made_when_asked_for_and_those_of_keras():
    model = deferred()
    first, second = model.layers[0].kernel, model.layers[1].gamma
    assert is_deferred(first)
    assert is_deferred(second)
    assert isinstance(first, keras.Variable)
    # What depends on the order of draws, and what may do anything, is made at once.
    assert not any(is_deferred(layer.kernel) for layer in model.layers[3:])
    known = keras.ops.convert_to_numpy(initial_value(first))
    assert is_deferred(first)
    np.testing.assert_array_equal(known, first.numpy())
    assert not is_deferred(first)
    assert is_deferred(second)
    equal(model, build())
    # Variables that are made later are as ever.
    assert not is_deferred(keras.Variable(1.0))


def test_values_may_be_asked_for_in_any_order():
    model, other = deferred(), build()
    for variable in reversed(model.variables):
        variable.numpy()
    equal(model, other)


def test_assigning():
    model = deferred()
    kernel, rate = model.layers[0].kernel, model.optimizer.learning_rate
    kernel.assign(np.ones(kernel.shape))
    assert (kernel.numpy() == 1.0).all()
    assert float(rate) == pytest.approx(0.01)
    model.optimizer.learning_rate = 0.5
    assert float(model.optimizer.learning_rate) == 0.5
    model.set_weights([2 * weight for weight in model.get_weights()])
    assert (kernel.numpy() == 2.0).all()


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.long)])
def test_models_train_as_ever(jit_compile):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 4)), rng.normal(size=(32, 2))
    model, other = deferred(), build()
    for one in (model, other):
        one.jit_compile = jit_compile
        one.fit(x, y, shuffle=False, epochs=2, verbose=0)
    equal(model, other)
    np.testing.assert_array_equal(model.predict(x, verbose=0), other.predict(x, verbose=0))


def test_copies_and_files(tmp_path):
    model, other = deferred(), build()
    twin = copy.deepcopy(model.layers[0])
    np.testing.assert_array_equal(twin.kernel, other.layers[0].kernel)
    model.save_weights(tmp_path / "some.weights.h5")
    again = deferred()
    again.layers[0].kernel.assign(np.zeros(again.layers[0].kernel.shape))
    again.load_weights(tmp_path / "some.weights.h5")
    equal(again, other)


def test_a_model_may_be_used_where_it_is_built():
    with deferred_variables():
        model = build()
        normalization = layers.Normalization()
        normalization.adapt(np.array([[1.0], [3.0]]))
        model.predict(np.ones((2, 4)), verbose=0)
        kept = model.layers[0].kernel.numpy()
    np.testing.assert_array_equal(kept, build().layers[0].kernel)
    np.testing.assert_allclose(normalization(np.array([[3.0]])), [[1.0]])
