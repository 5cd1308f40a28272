"""`compress` makes a smaller model whose outputs are equal."""

import keras
import numpy as np
import pytest

from kerasreg.layers import ScheduledDropout
from kerasreg.models import compress

layers = keras.layers


def kill(layer, units, bias=0.0, weight="kernel"):
    """Makes all weights that some units are made with exactly zero."""
    kernel = np.array(getattr(layer, weight))
    kernel[..., units] = 0.0
    getattr(layer, weight).assign(kernel)
    if layer.bias is not None:
        values = np.array(layer.bias)
        values[units] = bias
        layer.bias.assign(values)


def shuffle_weights(model, seed=0):
    """No weight is at its initial value, where biases and averages are 0 or 1."""
    random = np.random.default_rng(seed)
    for weight in model.weights:
        value = 0.5 * random.normal(size=weight.shape)
        if "variance" in weight.name:
            value = 0.5 + value**2
        weight.assign(value)


def inputs_of(model, rows=6):
    random = np.random.default_rng(1)
    x = [random.normal(size=(rows, *t.shape[1:])).astype(t.dtype) for t in model.inputs]
    return x if len(x) > 1 else x[0]


def assert_equal_outputs(one, other):
    x = inputs_of(one)
    for mine, theirs in zip(
        keras.tree.flatten(one.predict(x, verbose=0)),
        keras.tree.flatten(other.predict(x, verbose=0)),
        strict=True,
    ):
        assert np.abs(theirs).max() > 1e-3
        np.testing.assert_allclose(theirs, mine, rtol=1e-5, atol=1e-5 * np.abs(mine).max())


def checked(model):
    before = [np.array(weight) for weight in model.weights]
    result = compress(model)
    assert_equal_outputs(model, result.model)
    for value, weight in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(value, weight)
    assert result.parameters == (model.count_params(), result.model.count_params())
    return result


def widths(result):
    return {row.layer: (row.before, row.after) for row in result.rows}


@pytest.mark.short(
    "0.0-sigmoid",
    "0.0-relu",
    "0.0-None",
    "0.7-None",
    "0.7-relu",
    "0.7-tanh",
    "0.7-softplus",
    "0.7-gelu",
    "-0.7-relu",
    "-0.7-gelu",
)
@pytest.mark.parametrize("activation", [None, "relu", "tanh", "sigmoid", "softplus", "gelu"])
@pytest.mark.parametrize("bias", [0.0, 0.7, -0.7])
def test_units_without_incoming_weights_go_and_leave_what_they_were(activation, bias):
    hidden = layers.Dense(8, activation, name="hidden")
    model = keras.Sequential([keras.Input((5,)), hidden, layers.Dense(3, "softmax", name="out")])
    shuffle_weights(model)
    kill(hidden, [1, 4, 5], bias)
    assert widths(checked(model)) == {"hidden": (8, 5)}


def test_units_that_nothing_looks_at_go_and_what_only_they_looked_at_too():
    first, second, last = (layers.Dense(n, "tanh", name=name) for n, name in
                           ((6, "first"), (7, "second"), (2, "last")))  # fmt: skip
    model = keras.Sequential([keras.Input((4,)), first, second, last])
    shuffle_weights(model)
    rows = np.array(last.kernel)
    rows[[0, 3]] = 0.0
    last.kernel.assign(rows)
    columns = np.array(second.kernel)
    columns[5, [1, 2, 4, 5, 6]] = 0.0  # The sixth is looked at by those two only.
    second.kernel.assign(columns)
    assert widths(checked(model)) == {"first": (6, 5), "second": (7, 5)}


def test_a_constant_gets_a_bias_where_there_was_none():
    hidden = layers.Dense(6, "sigmoid")
    model = keras.Sequential([keras.Input((4,)), hidden, layers.Dense(2, use_bias=False)])
    shuffle_weights(model)
    kill(hidden, [0, 2], 0.3)
    smaller = checked(model).model
    assert smaller.layers[-1].use_bias
    kill(hidden, [0, 2], -1e9)  # Whose sigmoid is zero.
    assert not checked(model).model.layers[-1].use_bias


def convolutional(padding="same", bias=0.0, **options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(6, 3, padding=padding, name="one", **options),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.MaxPooling2D(2, padding="same"),
            ScheduledDropout(0.3),
            layers.Conv2D(5, 3, strides=2, padding=padding, activation="relu", name="two"),
            layers.Flatten(),
            layers.Dense(7, "relu", name="three"),
            layers.Dense(2, name="four"),
        ]
    )
    shuffle_weights(model)
    norm = model.get_layer("norm")
    kill(model.get_layer("one"), [1, 3], 0.4)
    offset = np.array(norm.beta)
    scale = np.array(norm.gamma) / np.sqrt(np.array(norm.moving_variance) + norm.epsilon)
    zeroed = -scale * (0.4 * bool(options.get("use_bias", True)) - np.array(norm.moving_mean))
    offset[[1, 3]] = (zeroed + bias)[[1, 3]]
    norm.beta.assign(offset)
    kill(model.get_layer("two"), [0, 4], 0.2)
    kill(model.get_layer("three"), [2], -0.5)
    return model


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize(("padding", "bias"), [("same", -0.1), ("valid", -0.1), ("valid", 0.5)])
def test_filters_go_through_normalization_pooling_and_flattening(padding, bias, use_bias):
    result = checked(convolutional(padding, bias, use_bias=use_bias))
    expected = {"one": (6, 4), "norm": (6, 4), "two": (5, 3), "three": (7, 6)}
    assert widths(result) == expected
    assert result.blocked == ()
    assert isinstance(result.model, keras.Sequential)
    kept = [layer.name for layer in result.model.layers]
    assert [kept[0], kept[1], kept[5]] == ["one", "norm", "two"]


def test_a_constant_before_zero_padding_is_held_and_said():
    result = checked(convolutional("same", bias=0.5))
    assert widths(result) == {"two": (5, 3), "three": (7, 6)}
    (row,) = result.blocked
    assert row[:2] == ("two", 2)
    assert "two" in str(result)
    assert "it pads with zeros beside a constant" in str(result)


@pytest.mark.parametrize("bias", [0.0, 0.5])
def test_a_constant_that_a_layer_pads_is_none_at_the_border(bias):
    model = keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            layers.Conv2D(3, 1, activation="relu", name="one"),
            layers.ZeroPadding2D(1),
            layers.Conv2D(2, 3, name="two"),
        ]
    )
    shuffle_weights(model)
    kill(model.get_layer("one"), [1], bias)
    assert widths(checked(model)) == ({} if bias else {"one": (3, 2)})


def test_a_normalization_with_a_factor_of_zero_makes_a_constant():
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(5, name="a"), layers.BatchNormalization(name="b"),
         layers.Dense(2)]
    )  # fmt: skip
    shuffle_weights(model)
    gamma = np.array(model.get_layer("b").gamma)
    gamma[[1, 2]] = 0
    model.get_layer("b").gamma.assign(gamma)
    assert widths(checked(model)) == {"a": (5, 3), "b": (5, 3)}


def residual(merge=None):
    x = keras.Input((6, 6, 4))
    start = layers.Conv2D(8, 1, name="start", use_bias=False)(x)
    y = layers.Conv2D(5, 3, padding="same", activation="relu", name="inner")(start)
    y = layers.Conv2D(8, 3, padding="same", use_bias=False, name="outer")(y)
    joined = (merge or layers.Add())([start, y])
    pooled = layers.GlobalAveragePooling2D()(joined)
    model = keras.Model(x, layers.Dense(3)(pooled))
    shuffle_weights(model)
    return model


@pytest.mark.parametrize(
    "merge", [None, lambda pair: pair[0] + pair[1], layers.Average(), layers.Subtract()]
)
def test_channels_that_are_added_go_only_together(merge):
    model = residual(merge)
    kill(model.get_layer("inner"), [0, 2])
    kill(model.get_layer("start"), [1, 3, 5])
    kill(model.get_layer("outer"), [3, 5, 6])
    expected = {"inner": (5, 3), "start": (8, 6), "outer": (8, 6)}
    assert widths(checked(model)) == expected


@pytest.mark.parametrize(
    "merge",
    [
        *(getattr(layers, name)() for name in ("Add", "Average", "Maximum", "Minimum", "Multiply")),
        layers.Subtract(),
        lambda pair: pair[0] - pair[1],
        lambda pair: keras.ops.maximum(*pair),
    ],
)
def test_constants_behind_a_merge_are_what_it_makes_of_the_constants_before(merge):
    x = keras.Input((4,))
    pair = [layers.Dense(5, activation="tanh", name=name)(x) for name in ("one", "two")]
    model = keras.Model(x, layers.Dense(2)(merge(pair)))
    shuffle_weights(model)
    for name, bias in (("one", 0.9), ("two", -0.4)):
        kill(model.get_layer(name), [0, 3], bias)
    assert widths(checked(model)) == {"one": (5, 3), "two": (5, 3)}


def test_a_factor_of_zero_is_enough():
    model = residual(layers.Multiply())
    kill(model.get_layer("start"), [1, 3])
    assert widths(checked(model)) == {"start": (8, 6), "outer": (8, 6)}


@pytest.mark.parametrize("axis", [-1, 2, 1])
def test_concatenated_channels_go_apart_along_their_axis(axis):
    x = keras.Input((6, 4))
    one = layers.Conv1D(5, 3, padding="causal", name="one", activation="relu")(x)
    two = layers.Conv1D(5, 3, padding="same", name="two", activation="relu")(x)
    joined = layers.Concatenate(axis=axis)([one, two])
    model = keras.Model(x, layers.Dense(2)(layers.GlobalMaxPooling1D()(joined)))
    shuffle_weights(model)
    kill(model.get_layer("one"), [0, 1], -1.0)
    kill(model.get_layer("two"), [1, 4], -1.0)
    apart = {"one": (5, 3), "two": (5, 3)}
    assert widths(checked(model)) == ({"one": (5, 4), "two": (5, 4)} if axis == 1 else apart)


@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_depthwise_windows_go_with_their_channel(multiplier, padding):
    model = keras.Sequential(
        [
            keras.Input((7, 7, 3)),
            layers.Conv2D(6, 1, name="expand", activation="relu"),
            layers.DepthwiseConv2D(
                3, depth_multiplier=multiplier, padding=padding, activation="relu", name="depth"
            ),
            layers.Conv2D(4, 1, name="project"),
            layers.PReLU(shared_axes=(1, 2), name="slopes"),
            layers.GlobalMaxPooling2D(),
            layers.Dense(2),
        ]
    )
    shuffle_weights(model)
    kill(model.get_layer("expand"), [0, 5], -1.0)
    kill(model.get_layer("project"), [3], -0.3)
    expected = {"expand": (6, 4), "depth": (6 * multiplier, 4 * multiplier), "project": (4, 3),
                "slopes": (4, 3)}  # fmt: skip
    assert widths(checked(model)) == expected


def test_a_window_of_zeros_makes_a_constant():
    model = keras.Sequential(
        [
            keras.Input((7, 7, 3)),
            layers.Conv2D(6, 1, name="expand"),
            layers.DepthwiseConv2D(3, name="depth"),
            layers.Conv2D(4, 1),
        ]
    )
    shuffle_weights(model)
    windows = np.array(model.get_layer("depth").kernel)
    windows[:, :, [2, 4]] = 0
    model.get_layer("depth").kernel.assign(windows)
    assert widths(checked(model)) == {"expand": (6, 4), "depth": (6, 4)}


def test_columns_of_an_embedding_go():
    model = keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            layers.Embedding(10, 6, name="rows"),
            layers.GlobalAveragePooling1D(),
            layers.Dense(2),
        ]
    )
    shuffle_weights(model)
    rows = np.array(model.get_layer("rows").embeddings)
    rows[:, [0, 3]] = 0
    model.get_layer("rows").embeddings.assign(rows)
    x = np.arange(20).reshape(4, 5) % 10
    result = compress(model)
    np.testing.assert_allclose(
        result.model.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6
    )
    assert widths(result) == {"rows": (6, 4)}


@pytest.mark.parametrize("reshape", [(4, 3), (2, 2, 3), (-1, 3), (4, -1)])
def test_a_reshape_that_splits_units_keeps_places_together(reshape):
    model = keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(12, "relu", name="units"),
            layers.Reshape(reshape),
            layers.Dense(2),
        ]
    )
    shuffle_weights(model)
    kill(model.get_layer("units"), [1, 4, 7, 10, 2], -1.0)  # All of channel 1 and one of 2.
    assert widths(checked(model)) == {"units": (12, 8)}


def test_nested_models_are_followed():
    base = keras.Sequential(
        [keras.Input((4,)), layers.Dense(6, "relu", name="in"), layers.Dense(5, name="out")],
        name="base",
    )
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(2, name="head")(layers.ReLU()(base(x))))
    shuffle_weights(model)
    kill(base.get_layer("in"), [1, 2], -1.0)
    kill(base.get_layer("out"), [0], 0.5)
    result = checked(model)
    assert widths(result) == {"base/in": (6, 4), "base/out": (5, 4)}
    assert isinstance(result.model.get_layer("base"), keras.Sequential)


def test_layers_that_are_not_followed_hold_constants_and_are_said():
    x = keras.Input((6, 4))
    h = layers.Dense(6, "relu", name="before")(x)
    h = layers.LayerNormalization(name="norm")(h)
    h = layers.LSTM(5, name="lstm")(h)
    shared = layers.Dense(5, "relu", name="shared")
    h = layers.Dense(2, name="head")(shared(shared(h)))
    model = keras.Model(x, h)
    shuffle_weights(model)
    kill(model.get_layer("before"), [2, 3], -1.0)
    result = checked(model)
    assert result.rows == ()
    assert [row[:2] for row in result.blocked] == [("norm", 2)]
    kill(shared, [1], -1.0)
    assert compress(model).rows == ()


@keras.saving.register_keras_serializable("kerasreg_tests")
class Doubled(layers.Dense):
    """A layer of the user's own, which looks at its inputs in another way."""

    def call(self, inputs):
        return super().call(inputs) + keras.ops.sum(inputs, -1, keepdims=True)


def test_a_layer_of_ones_own_is_not_taken_for_its_base():
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(6, name="a"), Doubled(3, name="b"), layers.Dense(2)]
    )
    shuffle_weights(model)
    kill(model.layers[0], [1], 0.5)
    kill(model.layers[1], [0], 0.0)
    result = checked(model)
    assert result.rows == ()
    assert [row[:2] for row in result.blocked] == [("b", 1)]


def test_a_layer_that_is_all_zero_keeps_one_unit():
    hidden = layers.Dense(6, "tanh", name="hidden")
    model = keras.Sequential([keras.Input((4,)), hidden, layers.Dense(2)])
    shuffle_weights(model)
    kill(hidden, slice(None), 0.5)
    assert widths(checked(model)) == {"hidden": (6, 1)}


def test_inputs_and_outputs_keep_their_shape():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(5, name="out")])
    shuffle_weights(model)
    kill(model.layers[0], [1, 2], 0.5)
    kernel = np.array(model.layers[0].kernel)
    kernel[0] = 0
    model.layers[0].kernel.assign(kernel)
    result = checked(model)
    assert result.rows == result.blocked == ()


def test_a_model_of_several_inputs_and_outputs():
    a, b = keras.Input((3,), name="a"), keras.Input((4,), name="b")
    h = layers.Concatenate()([layers.Dense(5, "relu", name="left")(a), layers.ReLU()(b)])
    h = layers.Dense(6, "relu", name="joined")(h)
    model = keras.Model([a, b], {"x": layers.Dense(1)(h), "y": layers.Dense(2, "softmax")(h)})
    shuffle_weights(model)
    kill(model.get_layer("left"), [0], -1.0)
    kill(model.get_layer("joined"), [4, 5], 0.2)
    assert widths(checked(model)) == {"left": (5, 4), "joined": (6, 4)}


def test_a_network_of_keras_applications_gets_smaller():
    model = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=5)
    shuffle = np.random.default_rng(2)
    dead = 0
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            gamma, beta = np.array(layer.gamma), np.zeros(layer.gamma.shape)
            if layer.name.endswith("expand_BN"):  # As after training with a penalty.
                gone = shuffle.choice(len(gamma), len(gamma) // 2, replace=False)
                gamma[gone], dead = 0, dead + len(gone)
            layer.gamma.assign(gamma)
            layer.beta.assign(beta)
    result = checked(model)
    cut = sum(a - b for name, (a, b) in widths(result).items() if name.endswith("_expand"))
    assert cut == dead > 100
    assert result.blocked == ()
    assert result.parameters[1] < 0.7 * result.parameters[0]


def test_mixed_precision_is_kept_and_training_goes_on():
    keras.config.set_dtype_policy("mixed_bfloat16")
    hidden = layers.Dense(8, "relu", name="hidden")
    model = keras.Sequential([keras.Input((4,)), hidden, layers.Dense(2, dtype="float32")])
    shuffle_weights(model)
    kill(hidden, [0, 1], 0.5)
    smaller = compress(model).model
    x = inputs_of(model)
    np.testing.assert_allclose(smaller(x), model(x), rtol=2e-2, atol=2e-2)
    assert smaller.layers[0].compute_dtype == "bfloat16"
    smaller.compile("adam", "mse")
    before = smaller.evaluate(x, np.ones((6, 2)), verbose=0)
    smaller.fit(x, np.ones((6, 2)), epochs=20, verbose=0)
    assert smaller.evaluate(x, np.ones((6, 2)), verbose=0) < before


def test_what_is_saved_is_smaller_and_loads_equal(tmp_path):
    hidden = layers.Dense(64, "relu", name="hidden")
    model = keras.Sequential([keras.Input((32,)), hidden, layers.Dense(4)])
    shuffle_weights(model)
    kill(hidden, slice(8, None), 0.1)
    smaller = compress(model).model
    sizes = []
    for name, one in (("large", model), ("small", smaller)):
        one.save(tmp_path / f"{name}.keras")
        sizes.append((tmp_path / f"{name}.keras").stat().st_size)
        loaded = keras.models.load_model(tmp_path / f"{name}.keras")
        assert_equal_outputs(one, loaded)
    assert sizes[1] < sizes[0]


def test_models_without_a_graph_are_refused():
    class Own(keras.Model):
        def call(self, x):
            return x

    for model in (None, keras.Sequential([layers.Dense(3)]), Own(), layers.Dense(3)):
        with pytest.raises(ValueError, match="`model` must be a built functional or Sequential"):
            compress(model)
