"""After `lsuv` every layer's output has the variance, measured by a forward of the test's own."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers

from kerasreg.models import lsuv


def batch(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def deep(activation, separate=False, depth=20):
    hidden = []
    for number in range(depth):
        own = None if separate else activation
        hidden.append(layers.Dense(64, own, name=f"dense_{number}"))
        if separate:
            hidden.append(layers.Activation(activation))
    return keras.Sequential([keras.Input((32,)), *hidden])


FUNCTIONS = {
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "gelu": lambda z: np.array(keras.activations.gelu(z)),
}


@pytest.mark.short("tanh-False", "relu-True", "gelu-False")
@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("activation", FUNCTIONS)
def test_every_output_of_20_dense_layers_has_the_variance_one(activation, separate):
    model, x = deep(activation, separate), batch(256, 32)
    record = lsuv(model, x, seed=1)
    assert not record.left_alone
    assert len(record) == 20
    for number in range(20):
        layer = model.get_layer(f"dense_{number}")
        z = x @ np.array(layer.kernel) + np.array(layer.bias)
        assert abs(z.var() - 1) <= 0.05
        assert record[number].variance == pytest.approx(z.var(), rel=1e-3)
        x = FUNCTIONS[activation](z)


@pytest.mark.parametrize("activation", ["relu", "gelu", "selu"])
def test_or_the_variance_behind_the_activation(activation):
    model, x = deep(activation), batch(256, 32)
    assert not lsuv(model, x, where="after_activation", seed=1).left_alone
    for layer in model.layers:
        x = np.array(layer(x))
        assert abs(x.var() - 1) <= 0.05


@pytest.mark.parametrize("activation", ["tanh", "softmax", "sigmoid"])
def test_what_cannot_have_the_variance_is_scaled_before_its_activation_and_noted(activation):
    model, x = deep(activation, depth=1), 3 * batch(256, 32)
    with pytest.warns(UserWarning, match="dense_0: its activation cannot have this variance"):
        record = lsuv(model, x, where="after_activation", seed=1)
    assert len(record.left_alone) == 1
    z = x @ np.array(model.layers[0].kernel)
    assert abs(z.var() - 1) <= 0.05


def test_another_variance_and_tolerance():
    model, x = deep("relu", depth=3), batch(256, 32)
    lsuv(model, x, target_variance=4.0, tolerance=1e-3, seed=1)
    for layer in model.layers:
        z = x @ np.array(layer.kernel)
        assert abs(z.var() - 4) <= 4e-3
        x = np.maximum(z, 0)


def test_convolutions_with_batch_normalization_and_dropout():
    chain = [keras.Input((12, 12, 3))]
    for number in range(20):
        chain += [
            layers.Conv2D(8, 3, padding="same", name=f"conv_{number}"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.5, seed=1),
        ]
    model = keras.Sequential(chain)
    x = batch(16, 12, 12, 3)
    before = [np.array(v) for v in model.variables if not v.trainable]
    assert not lsuv(model, x, seed=1).left_alone
    for number in range(20):
        part = keras.Model(model.inputs[0], model.get_layer(f"conv_{number}").output)
        assert abs(np.array(part(x, training=False)).var() - 1) <= 0.05
    for old, variable in zip(before, [v for v in model.variables if not v.trainable], strict=True):
        np.testing.assert_array_equal(old, np.array(variable))


@pytest.mark.parametrize(
    "layer",
    [
        layers.DepthwiseConv2D(3, depth_multiplier=2),
        layers.SeparableConv2D(8, 3),
        layers.Conv2DTranspose(6, 3, strides=2),
        layers.Conv2D(8, 3, groups=2),
        layers.EinsumDense("abcd,de->abce", (None, None, 7)),
        layers.TimeDistributed(layers.Dense(5)),
    ],
)
def test_other_kernels(layer):
    layer = type(layer).from_config(layer.get_config())
    model = keras.Sequential([keras.Input((9, 9, 4)), layer])
    x = 3 * batch(32, 9, 9, 4)
    (row,) = lsuv(model, x, seed=1)
    assert abs(np.array(model(x)).var() - 1) <= 0.05
    assert not row.note


def test_a_kernel_begins_orthonormal():
    model, x = deep("relu", depth=1), batch(256, 32)
    lsuv(model, x, seed=1)
    kernel = np.array(model.layers[0].kernel)
    gram = kernel @ kernel.T
    np.testing.assert_allclose(gram / gram[0, 0], np.eye(32), atol=1e-5)


# Models of every kind.


def two_inputs():
    shared = layers.Dense(16, "tanh", name="shared")
    inside = keras.Input((16,))
    block = keras.Model(inside, layers.Dense(16, "gelu", name="inner")(inside), name="block")
    one, other = keras.Input((4,), name="one"), keras.Input((4,), name="other")
    x = layers.Add()([block(shared(one)), block(shared(layers.Rescaling(10.0)(other)))])
    return keras.Model([one, other], layers.Dense(3, "softmax", name="out")(x))


@pytest.mark.parametrize("as_dict", [False, True])
def test_shared_layers_nested_models_and_several_inputs(as_dict):
    model = two_inputs()
    one, other = batch(128, 4), batch(128, 4, seed=1)
    x = {"one": one, "other": other} if as_dict else [one, other]
    record = lsuv(model, x, seed=1)
    assert [row.layer for row in record] == ["shared", "block/inner", "out"]
    assert not record.left_alone
    # Of the two uses, the one that Keras runs first has the variance, not the other.
    kernel = np.array(model.get_layer("shared").kernel)
    shared = [one @ kernel, 10 * other @ kernel]
    assert np.sum([abs(z.var() - 1) <= 0.05 for z in shared]) == 1
    kernel = np.array(model.get_layer("block").get_layer("inner").kernel)
    inner = [np.tanh(z) @ kernel for z in shared]
    assert np.sum([abs(z.var() - 1) <= 0.05 for z in inner]) == 1
    logits = keras.Model(model.inputs, model.get_layer("out").input)([one, other])
    assert abs((np.array(logits) @ np.array(model.get_layer("out").kernel)).var() - 1) <= 0.05


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.blocks = [layers.Dense(16, "relu") for _ in range(3)]

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        return x


def test_a_subclassed_model():
    model, x = Subclassed(), 7 * batch(128, 16)
    model(x)
    assert not lsuv(model, x, seed=1).left_alone
    for block in model.blocks:
        z = x @ np.array(block.kernel)
        assert abs(z.var() - 1) <= 0.05
        x = np.maximum(z, 0)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    model, x = deep("relu", depth=5), batch(256, 32)
    assert not lsuv(model, x, seed=1).left_alone
    for layer in model.layers:
        assert layer.kernel.dtype == "float32"
        z = x @ np.array(layer.kernel)
        assert abs(z.var() - 1) <= 0.06
        x = np.maximum(z, 0)


def test_the_activation_of_a_layer_may_be_a_layer_and_is_put_back():
    activation = layers.LeakyReLU(negative_slope=0.3)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(8, activation)])
    x = batch(64, 4)
    lsuv(model, x, seed=1)
    z = x @ np.array(model.layers[0].kernel)
    assert model.layers[0].activation is activation
    np.testing.assert_allclose(np.array(model(x)), np.where(z > 0, z, 0.3 * z), rtol=1e-4)
    assert "call" not in vars(model.layers[0])


def test_the_seed_decides():
    def kernel(seed):
        model = deep("relu", depth=1)
        lsuv(model, batch(64, 32), seed=seed)
        return np.array(model.layers[0].kernel)

    np.testing.assert_array_equal(kernel(1), kernel(1))
    assert np.any(kernel(1) != kernel(2))


def test_the_optimizer_is_not_touched():
    model, x = deep("relu", depth=2), batch(64, 32)
    model.compile("adam", "mse")
    model.fit(x, batch(64, 64), verbose=0)
    before = [np.array(variable) for variable in model.optimizer.variables]
    lsuv(model, x, seed=1)
    for old, variable in zip(before, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(old, np.array(variable))


# What is not well is said.


def test_a_dead_layer_is_noted_and_the_next_ones_too():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(8, name="alive"),
            layers.Lambda(lambda x: 0 * x),
            layers.Dense(8, name="dead"),
        ]
    )
    with pytest.warns(UserWarning, match="dead: dead: its output is constant"):
        record = lsuv(model, batch(32, 4), seed=1)
    assert [row.layer for row in record.left_alone] == ["dead"]


def test_what_is_not_finite_is_noted():
    x = batch(32, 32)
    x[0, 0] = np.inf
    with pytest.warns(UserWarning, match="dense_0: its output is not finite"):
        lsuv(deep("relu", depth=1), x, seed=1)


def test_a_variance_that_is_not_reached_is_noted():
    chain = [keras.Input((4,)), layers.Dense(8, lambda x: keras.ops.sign(x) * abs(x) ** 0.25)]
    with pytest.warns(UserWarning, match="not reached in 2 scalings"):
        record = lsuv(
            keras.Sequential(chain),
            batch(64, 4),
            target_variance=3.0,
            max_iterations=2,
            where="after_activation",
        )
    assert record[0].iterations == 2


def test_layers_without_such_a_scale_are_noted():
    inputs = keras.Input((5, 4))
    x = layers.LSTM(6, name="lstm")(inputs)
    frozen = layers.Dense(8, trainable=False, name="frozen")
    model = keras.Model(inputs, layers.Dense(8, name="out")(frozen(x)))
    before = np.array(frozen.kernel)
    with pytest.warns(UserWarning, match="lsuv has not the wanted variance in") as caught:
        record = lsuv(model, batch(64, 5, 4), seed=1)
    assert "lstm/lstm_cell: left alone: it is recurrent" in str(caught[-1].message)
    assert "frozen: left alone: it is frozen" in str(caught[-1].message)
    assert {row.layer for row in record.left_alone} == {"lstm/lstm_cell", "frozen"}
    np.testing.assert_array_equal(before, np.array(frozen.kernel))


def test_nothing_is_warned_where_all_is_well():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        lsuv(deep("relu", depth=2), batch(64, 32), seed=1)


def test_after_an_error_the_model_is_as_it_was():
    model = deep("relu", depth=2)
    before = [np.array(weight) for weight in model.weights]
    with pytest.raises(Exception, match=r"incompatible|expected"):
        lsuv(model, batch(8, 31), seed=1)
    for old, weight in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, np.array(weight))
    assert all("call" not in vars(layer) for layer in model.layers)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": layers.Dense(1)}, "`model` must be a keras.Model"),
        ({"target_variance": 0.0}, "`target_variance` must be a number > 0"),
        ({"tolerance": -1.0}, "`tolerance` must be a number > 0"),
        ({"max_iterations": 0}, "`max_iterations` must be a whole number >= 1"),
        ({"where": "before"}, "`where` must be one of 'before_activation'"),
        ({"seed": 0.5}, "`seed` must be a whole number >= 0"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        lsuv(**{"model": deep("relu", depth=1), "x": batch(8, 32), **arguments})
