"""Optimizers, variables and programs as kerasreg needs them: stateless, deferred, vectorised."""

import keras
import numpy as np
import pytest

from kerasreg._keras.deferred_variables import (
    deferred_variables,
    initial_value,
    initializer_of,
)
from kerasreg._keras.fused import fused, fused_draw, fuses_here, is_static
from kerasreg._keras.hyperparameter import Hyperparameter, copy_state, hyperparameters_of
from kerasreg._keras.lane_convolutions import lane_convolutions
from kerasreg._keras.live_number import LiveNumber, live_number
from kerasreg._keras.pfor_converters import (
    calls_of_python,
    draws_random_numbers,
    fallbacks,
    register_converters,
    unrolled_convolutions,
)
from kerasreg._keras.stateless_optimizer import (
    inner_optimizers,
    keys_by_identity,
    optimizer_variables,
    stateless,
)
from kerasreg._keras.tensorflow_internals import has_converter

if keras.backend.backend() != "tensorflow":
    pytest.skip("TensorFlow is not the backend.", allow_module_level=True)

import tensorflow as tf


def mapped(function, x):
    @tf.function(autograph=False)
    def traced(x):
        return tf.vectorized_map(function, x)

    return traced.get_concrete_function(x)


def test_deferred_variables_have_the_values_that_they_would_have():
    with deferred_variables():
        layer = keras.layers.Dense(3, kernel_initializer=keras.initializers.HeNormal(seed=1))
        layer.build((None, 2))
        assert type(layer.kernel) is not keras.Variable
    expected = keras.initializers.HeNormal(seed=1)((2, 3))
    np.testing.assert_array_equal(np.array(layer.kernel), np.array(expected))
    assert type(layer.kernel) is keras.Variable


def test_initial_value_makes_no_variable():
    with deferred_variables():
        variable = keras.Variable(tf.ones((2,)))
        assert np.array(initial_value(variable)).tolist() == [1.0, 1.0]
        assert type(variable) is not keras.Variable


def test_fused_is_one_call_in_a_graph():
    def function(x, *, factor):
        return x * factor + 1.0

    traced = tf.function(lambda x: fused(function)(x, factor=2.0)).get_concrete_function(
        tf.TensorSpec((3,))
    )
    assert traced(tf.ones((3,))).numpy().tolist() == [3.0, 3.0, 3.0]
    assert "Mul" not in {operation.type for operation in traced.graph.get_operations()}


def test_fused_draw_has_a_shape_of_tensors_too():
    draw = fused_draw(lambda x, *, shape: keras.ops.broadcast_to(x, shape))
    assert tuple(draw(tf.constant(1.0), shape=(2, 3)).shape) == (2, 3)
    assert tuple(draw(tf.constant(1.0), shape=(tf.constant(2), 3)).shape) == (2, 3)


def test_is_static_if_all_lengths_are_numbers():
    assert is_static((2, 3)) is True
    assert is_static((tf.constant(2), 3)) is False


def test_fuses_here_in_a_graph_that_is_not_compiled_as_a_whole():
    seen = []

    def look(x):
        seen.append(fuses_here(x))
        return x

    tf.function(look)(tf.ones((2,)))
    tf.function(look, jit_compile=True)(tf.ones((2,)))
    assert seen == [True, False]


def test_copy_state_assigns_each_variable():
    source, target = Hyperparameter(0.25), Hyperparameter(0.5)
    copy_state(source, target)
    assert float(target.variable) == 0.25


def test_hyperparameters_of_a_model_have_the_names_that_lead_to_them():
    class Owner(keras.layers.Layer):
        def __init__(self, name):
            super().__init__(name=name)
            self.rate = Hyperparameter(0.5, "rate")

        def call(self, x):
            return x

    inner = keras.Sequential([keras.Input((2,)), Owner("a")], name="inner")
    ((names, found),) = hyperparameters_of(keras.Sequential([keras.Input((2,)), inner]))
    assert found is inner.layers[0].rate
    assert {"inner", "a", "inner/a"} <= set(names)


def test_lane_convolutions_count_patches_and_give_equal_results():
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    kernel = np.random.default_rng(1).normal(size=(3, 3, 4)).astype("float32")
    expected = np.array(keras.ops.conv(x, kernel))
    with lane_convolutions() as sizes:
        found = np.array(keras.ops.conv(keras.ops.convert_to_tensor(x), kernel))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert sizes == [3 * 3 * 3]


def test_live_number_is_read_in_a_step_that_is_traced():
    optimizer = keras.optimizers.SGD(1.0, momentum=0.5)
    variable = live_number(optimizer, "momentum")
    assert isinstance(optimizer.momentum, LiveNumber)
    assert live_number(optimizer, "momentum") is variable
    assert optimizer.get_config()["momentum"] == 0.5


def test_register_converters_teaches_operations_once():
    register_converters()
    register_converters()
    traced = mapped(lambda x: tf.bitcast(x, tf.int32), tf.ones((3,)))
    assert has_converter("Bitcast")
    assert fallbacks(traced) == []


def test_register_converters_comes_before_a_vectorised_form(monkeypatch):
    from tensorflow.python.ops.parallel_for import pfor

    known = {k: v for k, v in pfor._pfor_converter_registry.items() if k != "Bitcast"}
    monkeypatch.setattr(pfor, "_pfor_converter_registry", known)
    assert not has_converter("Bitcast")
    register_converters()
    assert has_converter("Bitcast")


def test_fallbacks_name_the_layer_and_the_operation():
    def body(x):
        with tf.name_scope("dense"):
            return tf.reduce_sum(tf.raw_ops.Unique(x=x[None], out_idx=tf.int32).y)

    assert fallbacks(mapped(body, tf.ones((3,)))) == [("dense", "Unique")]
    assert fallbacks(mapped(lambda x: x + 1.0, tf.ones((3,)))) == []


def test_calls_of_python_name_the_place():
    def body(x):
        return tf.numpy_function(lambda x: x, [x], tf.float32, name="python")

    assert calls_of_python(mapped(body, tf.ones((3,)))) == ["python"]
    assert calls_of_python(mapped(lambda x: x, tf.ones((3,)))) == []


def test_draws_random_numbers_by_operations_of_tensorflow():
    drawn = tf.function(lambda: tf.random.normal((2,))).get_concrete_function()
    assert draws_random_numbers(drawn) is True
    assert draws_random_numbers(mapped(lambda x: x, tf.ones((3,)))) is False


def test_inner_optimizers_are_an_optimizer_and_those_within():
    inner = keras.optimizers.Adam()
    outer = keras.optimizers.LossScaleOptimizer(inner)
    assert inner_optimizers(outer) == [outer, inner]


def test_optimizer_variables_are_known_by_their_places():
    optimizer = keras.optimizers.SGD(momentum=0.9)
    optimizer.build([keras.Variable([1.0])])
    names = {name for _, name, _ in optimizer_variables(optimizer)}
    assert {"_learning_rate", "_iterations", "momentums"} <= names


def step(optimizer, variable):
    with keras.StatelessScope() as scope:
        optimizer.apply([keras.ops.ones((1,))], [variable])
    return np.array(scope.get_current_value(variable)).tolist()


def test_stateless_steps_keep_the_variable_as_it_was():
    optimizer, variable = keras.optimizers.SGD(0.25), keras.Variable([1.0])
    optimizer.build([variable])
    before = dict(vars(type(optimizer).__mro__[2]))
    with stateless(), keys_by_identity(optimizer):
        assert step(optimizer, variable) == [0.75]
    assert np.array(variable).tolist() == [1.0]
    assert dict(vars(type(optimizer).__mro__[2])) == before


def test_stateless_steps_of_gathered_gradients_take_their_mean():
    optimizer, variable = (
        keras.optimizers.SGD(0.5, gradient_accumulation_steps=2),
        keras.Variable([1.0]),
    )
    optimizer.build([variable])
    found = []
    with stateless(), keys_by_identity(optimizer), keras.StatelessScope() as scope:
        for gradient in (1.0, 3.0, 2.0, 4.0):
            optimizer.apply([keras.ops.full((1,), gradient)], [variable])
            found.append(float(scope.get_current_value(variable)[0]))
    assert found == [1.0, 0.0, 0.0, -1.5]


def test_keys_by_identity_find_slots_without_the_backends_variable():
    optimizer = keras.optimizers.SGD(1.0, momentum=0.5)
    variables = [keras.Variable([1.0]), keras.Variable([2.0])]
    optimizer.build(variables)
    before = dict(optimizer._trainable_variables_indices)
    with stateless(), keys_by_identity(optimizer):
        assert step(optimizer, variables[1]) == [1.0]
    assert optimizer._trainable_variables_indices == before


@pytest.mark.parametrize("defers", [True, False])
def test_initializer_of_is_known_until_the_value_is_another_one(defers, monkeypatch):
    # On JAX, as under a strategy, variables are made at once.
    monkeypatch.setattr("kerasreg._keras.deferred_variables._can_defer", lambda: defers)
    with deferred_variables():
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    kernel = model.layers[0].kernel
    initializer = initializer_of(kernel)
    assert isinstance(initializer, keras.initializers.GlorotUniform)
    assert np.shape(kernel.numpy()) == (2, 3)  # It is made, and still has its value.
    assert initializer_of(kernel) is initializer
    kernel.assign(np.ones((2, 3)))
    assert initializer_of(kernel) is None
    assert initializer_of(keras.Variable([1.0])) is None


@pytest.mark.parametrize("shares_images", [True, False])
def test_unrolled_convolutions_need_no_loop(shares_images):
    register_converters()
    draw = np.random.default_rng(0)
    images = draw.normal(size=(2, 5, 5, 3) if shares_images else (4, 2, 5, 5, 3))
    kernels = draw.normal(size=(4, 2, 2, 3, 6))

    @tf.function
    def every(images, kernels):
        def one(of):
            return tf.nn.conv2d(images if shares_images else of[1], of[0], 2, "SAME")

        with unrolled_convolutions():
            return tf.vectorized_map(one, (kernels, tf.zeros(4) if shares_images else images))

    found = every(tf.constant(images), tf.constant(kernels))
    graph = every.get_concrete_function(tf.constant(images), tf.constant(kernels)).graph
    assert not any("While" in one.type for one in graph.get_operations())
    for number in range(4):
        own = images if shares_images else images[number]
        expected = tf.nn.conv2d(own, kernels[number], 2, "SAME")
        np.testing.assert_allclose(found[number], expected, rtol=1e-9)
