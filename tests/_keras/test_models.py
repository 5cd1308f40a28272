"""The graph, layers, weights and kernels of a model, and what runs while it is called."""

import keras
import numpy as np
import pytest

from kerasreg._keras.activations import (
    ACTIVATION_LAYERS,
    activation_name,
    elementwise,
    set_activation,
)
from kerasreg._keras.calls import intercept_calls, numbers
from kerasreg._keras.fans import fan_in, kernel_fans
from kerasreg._keras.graph import (
    given_to,
    graph_of,
    has_graph,
    nodes,
    other_arguments,
    unmasked,
)
from kerasreg._keras.ignored_attributes import global_names, is_known
from kerasreg._keras.internals import node_of
from kerasreg._keras.layers import places
from kerasreg._keras.seeds import check_seed, with_seed
from kerasreg._keras.weights import has_matrix, is_kernel, kernels, own_weights

LAYERS = keras.layers


def nested():
    inputs = keras.Input((4,), name="given")
    inner = keras.Sequential([keras.Input((4,)), LAYERS.Dense(3, name="a")], name="inner")
    hidden = LAYERS.ReLU(name="relu")(inner(inputs))
    return keras.Model(inputs, LAYERS.Dense(2, name="b")(hidden))


def test_activation_layers_are_all_that_keras_has():
    modules = "keras.src.layers.activations."
    of_keras = {
        value
        for value in vars(LAYERS).values()
        if isinstance(value, type) and value.__module__.startswith(modules)
    }
    assert of_keras == set(ACTIVATION_LAYERS)


def test_activation_name_of_a_function_a_text_and_nothing():
    assert activation_name(keras.activations.relu) == "relu"
    assert activation_name("tanh") == "tanh"
    assert activation_name(None) == "linear"


def test_set_activation_is_what_the_layer_calls():
    dense = keras.layers.Dense(1, "relu", kernel_initializer="ones")
    lstm = keras.layers.LSTMCell(2)
    assert float(dense(np.ones((1, 1)))[0, 0]) == 1.0
    set_activation(dense, "activation", lambda x: x + 1.0)
    assert float(dense(np.ones((1, 1)))[0, 0]) == 2.0
    set_activation(lstm, "recurrent_activation", keras.activations.relu)
    assert lstm.recurrent_activation is keras.activations.relu
    with pytest.raises(AttributeError):
        set_activation(dense, "recurrent_activation", keras.activations.relu)


def test_elementwise_is_a_function_of_arrays():
    assert elementwise("relu")(np.array([-1.0, 2.0])).tolist() == [0.0, 2.0]
    with pytest.raises(ValueError, match="elementwise"):
        elementwise("softmax")


def test_intercept_calls_sees_each_layer_and_leaves_none_changed():
    model, seen = nested(), []
    layers = [model.get_layer("inner").get_layer("a"), model.get_layer("b")]

    def hook(layer, call):
        seen.append(layer.name)
        return call()

    with intercept_calls(layers, hook):
        model(np.zeros((1, 4)))
    model(np.zeros((1, 4)))
    assert seen == ["a", "b"]


def test_numbers_of_a_tensor_and_of_one_that_has_none():
    assert numbers(keras.ops.ones((2,))).tolist() == [1.0, 1.0]
    assert numbers(keras.Input((2,))) is None


def test_fan_in_counts_all_axes_but_the_last():
    assert fan_in((3, 4, 5)) == 12


def test_kernel_fans_of_a_depthwise_kernel_are_its_window():
    layer = LAYERS.DepthwiseConv1D(3, depth_multiplier=2)
    assert kernel_fans(layer, "kernel", (3, 4, 2)) == (3.0, 6.0, (0,))
    assert kernel_fans(LAYERS.Dense(5), "kernel", (4, 5)) == (4.0, 5.0, (0,))


def test_graph_of_a_model_lays_nested_models_open():
    paths = [use.path for use in graph_of(nested()).uses]
    assert [path for path in paths if not path.endswith("input")][-3:] == ["inner/a", "relu", "b"]
    assert graph_of(keras.Sequential([LAYERS.Dense(1)])) is None


def test_has_graph_if_it_is_built_of_inputs_and_outputs():
    assert has_graph(nested()) is True
    assert has_graph(keras.Sequential([LAYERS.Dense(1)])) is False
    assert has_graph(LAYERS.Dense(1)) is False


def test_nodes_are_behind_those_that_they_need():
    assert [node.operation.name for node in nodes(nested())] == ["inner", "relu", "b"]


def test_global_names_has_those_of_functions_inside():
    def function():
        return [lambda: pytest.skip("") for _ in range(3)]

    assert {"pytest", "range"} <= set(global_names(function.__code__))


def test_is_known_of_functions_that_are_found_under_their_names():
    assert is_known(keras.activations.relu) is True
    assert is_known(nested) is False


def test_places_have_paths_in_the_order_of_the_graph():
    model = nested()
    paths = [place.path for place in places(model, graph_of(model))]
    assert paths[:3] == ["inner/a", "relu", "b"]


def test_check_seed_takes_whole_numbers_generators_and_none():
    assert check_seed(3) == 3
    assert check_seed(None) is None
    with pytest.raises(ValueError, match="`seed` must be a whole number"):
        check_seed(-1)


def test_with_seed_makes_the_same_initializer_with_another_seed():
    made = with_seed(keras.initializers.HeNormal(seed=1), 7)
    assert (type(made).__name__, made.seed) == ("HeNormal", 7)


def test_is_kernel_has_two_axes_and_a_name():
    layer = LAYERS.Dense(2)
    layer.build((None, 3))
    assert is_kernel(layer.kernel) is True
    assert is_kernel(layer.bias) is False


def test_kernels_of_a_model_are_those_of_its_layers():
    assert [tuple(kernel.shape) for kernel in kernels(nested())] == [(4, 3), (3, 2)]


def test_has_matrix_of_layers_that_mix_their_inputs():
    model = nested()
    assert has_matrix(model.get_layer("b")) is True
    assert has_matrix(model.get_layer("relu")) is False


def test_own_weights_are_not_those_of_layers_within():
    layer = LAYERS.Bidirectional(LAYERS.GRU(2))
    layer.build((None, 3, 2))
    assert own_weights(layer) == []
    assert len(own_weights(layer.forward_layer.cell)) == 3


def nested_call(*arguments, **options):
    """A model of the inputs `z` and `a`, and its call with some arguments."""
    z, a = keras.Input((4,), name="z"), keras.Input((4,), name="a")
    inner = keras.Model([z, a], keras.layers.Add()([z, a]))
    return inner, node_of(inner(*arguments, **options))


def test_given_to_says_which_input_is_given_what():
    x, y = keras.Input((4,)), keras.Input((4,))

    def given(*arguments, **options):
        found = given_to(*nested_call(*arguments, **options))
        return found if found is None else [{id(x): "x", id(y): "y"}[id(one)] for one in found]

    assert given([x, y]) == ["x", "y"]
    assert given(inputs=(y, x)) == ["y", "x"]
    # By their names, and not in the order of the keys, which is a, z.
    assert given({"a": x, "z": y}) == ["y", "x"]
    assert given([x, x], training=False) == ["x", "x"]
    assert given([x, y], mask=[None, keras.Input((4,), dtype="bool")]) == ["x", "y"]
    # An input of another rank, which Keras adapts; an array.
    z = keras.Input((4, 1))
    assert given_to(*nested_call([x, z])) is None
    assert given_to(*nested_call([x, keras.ops.ones((1, 4))])) is None


def test_unmasked_leaves_masks_out():
    x, mask = keras.Input((5, 4)), keras.Input((5,), dtype="bool")
    pooled = keras.layers.GlobalAveragePooling1D()(x, mask=mask)
    assert [id(tensor) for tensor in unmasked(node_of(pooled))] == [id(x)]
    lstm = keras.layers.LSTM(3)
    states = [keras.Input((3,)), keras.Input((3,))]
    found = unmasked(node_of(lstm(x, mask=mask, initial_state=states)))
    assert [id(tensor) for tensor in found] == [id(x), *map(id, states)]


def test_other_arguments_are_all_that_are_no_tensors_and_stand_for_something():
    x = keras.Input((4,))
    drop = keras.layers.Dropout(0.5)
    assert other_arguments(node_of(drop(x))) == []
    assert other_arguments(node_of(drop(x, training=False))) == []
    assert other_arguments(node_of(drop(x, training=True))) == [True]
    assert other_arguments(node_of(x + 2.5)) == [2.5]
