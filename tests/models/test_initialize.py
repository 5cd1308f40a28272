"""Each weight of a model is drawn by the role of its layer, and nothing else is touched."""

import math

import keras
import numpy as np
import pytest
from keras import layers, ops

import kerasreg
from kerasreg.initializers import preset, presets
from kerasreg.models import initialize


def rules(record):
    return {(row.layer, row.variable): row.rule for row in record}


def spread(variable):
    return float(np.std(np.array(variable)))


def value(variable):
    return np.array(ops.convert_to_numpy(variable), "float64")


def dense_model(activation="relu"):
    return keras.Sequential(
        [
            keras.Input((256,)),
            layers.Dense(256, activation, name="own"),
            layers.Dense(256, name="before"),
            layers.BatchNormalization(name="normal"),
            layers.Dropout(0.5),
            layers.Activation(activation),
            layers.Dense(10, "softmax", name="out"),
        ]
    )


# Roles.


def test_kernels_suit_the_activation_that_follows_them():
    for activation, scale in (("relu", 2.0), ("selu", 1.0), ("tanh", 2.536)):
        model = dense_model(activation)
        initialize(model, seed=1)
        for name in ("own", "before"):
            deviation = math.sqrt(scale / 256)
            assert spread(model.get_layer(name).kernel) == pytest.approx(deviation, rel=0.02)
        output = math.sqrt(2 / (256 + 10))
        assert spread(model.get_layer("out").kernel) == pytest.approx(output, rel=0.05)


@pytest.mark.parametrize(
    "activate",
    [
        lambda x: ops.relu(x),
        lambda x: layers.ReLU()(x),
        lambda x: layers.PReLU()(x),
        lambda x: layers.LeakyReLU(negative_slope=0.0)(x),
        lambda x: layers.Activation("relu")(layers.LayerNormalization()(layers.Dropout(0.1)(x))),
        lambda x: ops.relu(ops.reshape(x, (-1, 4, 2))),
        lambda x: keras.Sequential([keras.Input((8,)), layers.ReLU()])(x),
        lambda x: layers.ReLU()(layers.Add()([x, layers.Dense(8, "tanh")(x)])),
        lambda x: layers.PReLU()(layers.LayerNormalization((1, 2))(layers.Reshape((4, 2))(x))),
    ],
)
def test_an_activation_is_found_further_on_in_the_graph(activate):
    inputs = keras.Input((8,))
    hidden = layers.Dense(8, name="first")(inputs)
    outputs = layers.Dense(2)(activate(hidden))
    found = rules(initialize(keras.Model(inputs, outputs)))
    assert found["first", "kernel"].split(" (")[0] == "he_normal"


def test_a_kernel_before_another_is_linear_and_the_last_one_makes_the_output():
    inputs = keras.Input((8,))
    hidden = layers.Dense(8, name="linear")(inputs)
    outputs = [layers.Dense(2, "sigmoid", name=name)(hidden) for name in ("one", "other")]
    found = rules(initialize(keras.Model(inputs, outputs)))
    assert found["linear", "kernel"] == "glorot_normal (linear)"
    assert found["one", "kernel"] == found["other", "kernel"] == "glorot_normal (output)"


def test_biases_gains_offsets_and_moving_statistics_begin_anew():
    model = keras.Sequential(
        [
            keras.Input((4, 6)),
            layers.LSTM(5, return_sequences=True, name="lstm"),
            layers.GRU(5, return_sequences=True),
            layers.LayerNormalization(),
            layers.BatchNormalization(name="batch"),
            layers.Conv1D(3, 2),
        ]
    )
    for variable in model.weights:
        variable.assign(ops.full(variable.shape, 7.0))
    initialize(model, seed=1)
    lstm = model.get_layer("lstm").cell
    np.testing.assert_array_equal(value(lstm.bias), np.repeat([0, 1, 0, 0], 5))
    recurrent = value(lstm.recurrent_kernel)
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(5), atol=1e-5)
    expected = {"gamma": 1, "beta": 0, "moving_mean": 0, "moving_variance": 1, "bias": 0}
    seen = set()
    for layer in model.layers[1:]:
        for variable in layer.weights:
            if variable.name in expected:
                seen.add(variable.name)
                assert np.all(value(variable) == expected[variable.name]), variable.path
            assert np.all(value(variable) != 7)
    assert seen == set(expected)


def fan_in_by_counting(layer, shape):
    """How many inputs an output sums: what it is where inputs and weights are all ones."""
    ones = np.ones((1, *shape), "float32")
    for variable in layer.weights:
        variable.assign(ops.full(variable.shape, float(variable.name != "bias")))
    return float(np.max(np.array(layer(ones))))


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: layers.Dense(64), (48,)),
        (lambda: layers.Conv2D(64, 3, padding="same"), (8, 8, 16)),
        (lambda: layers.Conv2D(64, 3, padding="same", groups=4), (8, 8, 16)),
        (lambda: layers.DepthwiseConv2D(3, padding="same", depth_multiplier=8), (8, 8, 64)),
        (lambda: layers.Conv2DTranspose(32, 4, strides=2, padding="same"), (8, 8, 32)),
        (lambda: layers.EinsumDense("abc,cde->abde", (None, 8, 16)), (4, 64)),
        (lambda: layers.EinsumDense("abcd,cde->abe", (None, 64)), (4, 8, 16)),
        (lambda: layers.EinsumDense("...x,xy->...y", 64), (48,)),
    ],
)
def test_he_has_the_fan_in_that_the_layer_has(make, shape):
    layer = make()
    model = keras.Sequential([keras.Input(shape), layer])
    fan_in = fan_in_by_counting(layer, shape)
    initialize(model, "he_normal", seed=1)
    # The error of a standard deviation of n numbers is at most σ/√(2n).
    error = 4 / math.sqrt(2 * math.prod(layer.kernel.shape))
    assert spread(layer.kernel) == pytest.approx(math.sqrt(2 / fan_in), rel=error)


def test_an_orthogonal_kernel_is_an_orthogonal_map_of_what_it_sums():
    out = layers.EinsumDense("abcd,cde->abe", (None, 40), name="out")
    transposed = layers.Conv1DTranspose(50, 1, name="transposed")
    model = keras.Sequential([keras.Input((2, 5, 4)), out, transposed])
    initialize(model, "orthogonal", seed=1)
    matrix = value(out.kernel).reshape(20, 40)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(20), atol=1e-5)
    # Transposed kernels are (window, out, in).
    matrix = value(transposed.kernel)[0].T
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(40), atol=1e-5)


def test_delta_orthogonal_is_for_plain_convolutions_and_orthogonal_for_the_rest():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            layers.Conv2D(8, 3, padding="same", use_bias=False, name="wider"),
            layers.Conv2D(2, 3, padding="same", name="narrower"),
            layers.DepthwiseConv2D(3, name="depthwise"),
            layers.Dense(3, name="dense"),
        ]
    )
    found = rules(initialize(model, "delta_orthogonal", seed=1))
    kinds = [found[name, "kernel"] for name in ("wider", "narrower", "depthwise", "dense")]
    assert kinds == ["delta_orthogonal", "orthogonal", "orthogonal", "orthogonal"]
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 4)).astype("float32")
    y = np.array(model.layers[0](x))
    assert (y**2).sum() == pytest.approx((x**2).sum(), rel=1e-5)


def test_siren_knows_its_first_layers():
    inputs = keras.Input((3,))
    hidden = layers.Dense(64, "linear", name="first")(layers.Rescaling(2.0)(inputs))
    hidden = layers.Dense(64, name="second")(kerasreg.initializers.sine(hidden))
    model = keras.Model(inputs, hidden)
    initialize(model, "siren", seed=1, frequency=10.0)
    first, second = (value(model.get_layer(name).kernel) for name in ("first", "second"))
    assert 0.95 < abs(first).max() * 3 <= 1
    assert 0.95 < abs(second).max() * 10 / math.sqrt(6 / 64) <= 1


@pytest.mark.parametrize("name", [name for name in presets() if name not in ("fixup",)])
def test_every_preset_is_one_for_whole_models(name):
    options = {"depth": 3} if name == "depth_scaled" else {}
    model = dense_model()
    found = rules(initialize(model, name, seed=1, **options))
    assert found["own", "kernel"].split(" ")[0] in (name, "orthogonal")
    expected = spread(preset("orthogonal" if "delta" in name else name, 1, **options)((256, 256)))
    assert spread(model.get_layer("before").kernel) == pytest.approx(expected, rel=0.02)


# Residual branches.


def residual_model(blocks=4, normalise=True, kernels=2):
    inputs = keras.Input((8, 8, 16))
    x = inputs
    for block in range(blocks):
        y = x
        for number in range(kernels):
            y = layers.Conv2D(16, 3, padding="same", name=f"conv_{block}_{number}")(y)
            if normalise:
                y = layers.BatchNormalization(name=f"norm_{block}_{number}")(y)
            if number < kernels - 1:
                y = layers.ReLU()(y)
        x = layers.ReLU()(layers.Add()([x, y]) if block % 2 else x + y)
    outputs = layers.Dense(3, name="out")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, outputs)


def test_zero_last_gain_makes_the_network_the_identity():
    model = residual_model()
    record = initialize(model, seed=1, zero_last_gain=True)
    gains = {row.layer: row.rule for row in record if row.variable == "gamma"}
    assert gains == {f"norm_{b}_{n}": ("ones", "zeros")[n] for b in range(4) for n in range(2)}
    x = np.abs(np.random.default_rng(0).normal(size=(2, 8, 8, 16))).astype("float32")
    shortened = keras.Model(model.input, model.get_layer("out").input)
    np.testing.assert_allclose(np.array(shortened(x)), x.mean((1, 2)), rtol=1e-5)


def test_fixup_scales_the_branches_and_zeros_their_ends():
    model = residual_model(blocks=4, kernels=3, normalise=False)
    initialize(model, "fixup", seed=1)
    for block in range(4):
        for number in range(2):
            # He's rule times 4^(-1/(2·3-2)).
            deviation = math.sqrt(2 / 144) * 4**-0.25
            kernel = model.get_layer(f"conv_{block}_{number}").kernel
            assert spread(kernel) == pytest.approx(deviation, rel=0.06)
        assert not value(model.get_layer(f"conv_{block}_2").kernel).any()
    assert not value(model.get_layer("out").kernel).any()


def transformer(depth=3):
    inputs = keras.Input((6,), dtype="int32")
    x = layers.Embedding(50, 32, name="embedding")(inputs)
    for block in range(depth):
        y = layers.LayerNormalization()(x)
        y = layers.MultiHeadAttention(4, 8, name=f"attention_{block}")(y, y)
        x = layers.Add()([x, layers.Dropout(0.1)(y)])
        y = layers.LayerNormalization()(x)
        y = layers.Dense(64, "gelu", name=f"wide_{block}")(y)
        y = layers.Dense(32, name=f"narrow_{block}")(y)
        x = layers.Add()([y, x])
    return keras.Model(inputs, layers.Dense(50, name="head")(x))


def test_gpt2_scales_what_ends_a_residual_branch():
    model = transformer(depth=3)
    initialize(model, "gpt2", seed=1)
    small = 0.02 / math.sqrt(6)
    for block in range(3):
        attention = model.get_layer(f"attention_{block}")
        *inner, output = [w for w in attention.weights if w.name == "kernel"]
        assert len(inner) == 3
        for kernel in (*inner, model.get_layer(f"wide_{block}").kernel):
            assert spread(kernel) == pytest.approx(0.02, rel=0.1)
        for kernel in (output, model.get_layer(f"narrow_{block}").kernel):
            assert spread(kernel) == pytest.approx(small, rel=0.1)
    for variable in (model.get_layer("head").kernel, model.get_layer("embedding").embeddings):
        assert spread(variable) == pytest.approx(0.02, rel=0.1)


def ends(model):
    return {row.layer for row in initialize(model, "gpt2") if "ends" in row.rule}


def test_the_shortcut_is_the_input_with_fewer_kernels():
    inputs = keras.Input((4,))
    x = layers.Dense(4, name="stem")(inputs)
    projection = layers.Dense(4, name="projection")(x)
    y = layers.Dense(4, name="last")(layers.Dense(4, "relu", name="first")(x))
    model = keras.Model(inputs, layers.Dense(1)(layers.Add()([y, projection])))
    assert ends(model) == {"last"}


def tied(x, other):
    return [layers.Dense(4)(x), layers.Dense(4)(x)]


def unrelated(x, other):
    return [x, layers.Dense(4)(layers.Dense(4)(other))]


@pytest.mark.parametrize("added", [tied, unrelated])
def test_of_equals_and_of_strangers_none_is_a_branch(added):
    inputs, other = keras.Input((4,)), keras.Input((4,))
    x = layers.Add()(added(layers.Dense(4, "relu")(inputs), other))
    model = keras.Model([inputs, other], layers.Dense(1)(layers.Concatenate()([x, other])))
    with pytest.raises(ValueError, match=r"`preset` must be another .*Received: preset='gpt2'"):
        initialize(model, "gpt2")


def test_what_needs_branches_refuses_a_model_without_and_leaves_it():
    model = dense_model()
    before = [value(weight) for weight in model.weights]
    for arguments in ({"preset": "gpt2"}, {"preset": "fixup"}, {"zero_last_gain": True}):
        (argument,) = arguments
        with pytest.raises(ValueError, match=f"`{argument}` must be .*Received: {argument}="):
            initialize(model, **arguments)
    with pytest.raises(ValueError, match="`zero_last_gain` must be False"):
        initialize(residual_model(normalise=False), zero_last_gain=True)
    for old, weight in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, value(weight))


# What it leaves.


def test_what_cannot_be_understood_is_listed_as_left_alone():
    @keras.saving.register_keras_serializable("kerasreg_tests")
    class Strange(layers.Layer):
        def build(self, shape):
            self.mixing = self.add_weight(name="mixing", shape=(4, 4), initializer="ones")
            self.known_initializer = keras.initializers.HeNormal(seed=3)
            self.known = self.add_weight(
                name="known", shape=(4,), initializer=self.known_initializer
            )
            self.count = self.add_weight(name="count", dtype="int32", trainable=False)

        def call(self, x):
            return (x @ self.mixing) * self.known

    strange = Strange(name="strange")
    frozen = layers.Dense(4, name="frozen", trainable=False)
    model = keras.Sequential([keras.Input((4,)), strange, frozen, layers.Dense(1)])
    before = {weight.path: value(weight) for weight in model.weights}
    record = initialize(model, seed=1)
    left = {(row.layer, row.variable) for row in record.left_alone}
    assert left == {
        ("strange", "mixing"),
        ("strange", "count"),
        ("frozen", "kernel"),
        ("frozen", "bias"),
    }
    for weight in (strange.mixing, strange.count, frozen.kernel):
        np.testing.assert_array_equal(value(weight), before[weight.path])
    assert np.all(value(strange.known) != before[strange.known.path])
    assert rules(record)["strange", "known"] == "its own HeNormal"
    assert len(record) == len(model.weights)


def test_hyperparameters_keep_their_value_and_their_step():
    ramp = keras.optimizers.schedules.PolynomialDecay(0.1, 10, 0.5)
    dropout = kerasreg.layers.ScheduledDropout(ramp, seed=1)
    dense = layers.Dense(1, kernel_regularizer=kerasreg.regularizers.L2(ramp))
    model = keras.Sequential([keras.Input((4,)), dropout, dense])
    model.compile("sgd", "mse")
    model.fit(np.ones((8, 4)), np.ones((8, 1)), batch_size=2, verbose=0)
    weights = {id(weight) for weight in model.weights}
    others = [variable for variable in model.variables if id(variable) not in weights]
    before = [value(variable) for variable in others]
    assert 4 in before
    initialize(model, seed=1)
    for old, variable in zip(before, others, strict=True):
        np.testing.assert_array_equal(old, value(variable))


def test_a_compiled_model_goes_on_with_its_optimizer_and_its_trace():
    model = dense_model()
    traced = []
    model.get_layer("own").activation = lambda x: (traced.append(1), ops.relu(x))[1]
    model.compile("adam", "sparse_categorical_crossentropy")
    x, y = np.ones((8, 256), "float32"), np.zeros(8, "int32")
    model.fit(x, y, verbose=0)
    state = [value(variable) for variable in model.optimizer.variables]
    kernel, before, count = model.layers[0].kernel, value(model.layers[0].kernel), len(traced)
    initialize(model, "he_normal", seed=1)
    assert model.layers[0].kernel is kernel
    assert np.any(value(kernel) != before)
    for old, variable in zip(state, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(old, value(variable))
    model.fit(x, y, verbose=0)
    assert len(traced) == count


# Models.


def shared_and_nested():
    shared = layers.Dense(6, "relu", name="shared")
    inside = keras.Input((6,))
    block = keras.Model(inside, layers.ReLU()(layers.Dense(6, name="inner")(inside)), name="block")
    chain = keras.Sequential([keras.Input((6,)), layers.Dense(6, name="deep")], name="chain")
    one, other = keras.Input((6,), name="one"), keras.Input((6,), name="other")
    x = layers.Concatenate()([block(shared(one)), chain(shared(other)), block(other)])
    return keras.Model({"one": one, "other": other}, layers.Dense(1, name="out")(layers.ELU()(x)))


def test_shared_layers_and_nested_models_are_drawn_once():
    model = shared_and_nested()
    record = initialize(model, seed=1)
    assert [(row.layer, row.variable) for row in record] == [
        (name, variable)
        for name in ("shared", "block/inner", "chain/deep", "out")
        for variable in ("kernel", "bias")
    ]
    found = rules(record)
    assert found["block/inner", "kernel"] == "he_normal (ReLU)"
    assert found["chain/deep", "kernel"] == "variance 1.63/fan_in (ELU)"


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.first = layers.Dense(8, "relu", name="first")
        self.inner = keras.Sequential([layers.Dense(8, "tanh", name="tanh")], name="inner")
        self.last = layers.Dense(2, name="last")

    def call(self, x):
        return self.last(self.inner(self.first(x)))


def test_a_subclassed_model_is_read_by_its_layers_own_activations():
    model = Subclassed()
    model(np.ones((1, 4), "float32"))
    record = initialize(model, seed=1)
    found = {row.layer.split("/", 1)[-1]: row.rule for row in record if row.variable == "kernel"}
    assert found["first"] == "he_normal (relu)"
    assert found["last"] == "glorot_normal (linear)"
    assert any(rule == "variance 2.54/fan_in (tanh)" for rule in found.values())
    assert len(record) == len(model.weights)


def test_the_seed_decides_and_names_do_not():
    def drawn(seed, shift):
        for _ in range(shift):
            layers.Dense(1)  # Takes a name.
        hidden = [layers.Dense(8, "relu") for _ in range(3)]
        model = keras.Sequential([keras.Input((8,)), *hidden])
        initialize(model, seed=seed)
        return [value(weight) for weight in model.weights], model.layers[0].name

    (one, name), (same, other_name), (other, _) = drawn(1, 0), drawn(1, 12), drawn(2, 0)
    assert name != other_name
    for mine, theirs in zip(one, same, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert np.any(one[0] != other[0])
    assert np.any(one[0] != one[2])  # Each layer has a draw of its own.
    keras.utils.set_random_seed(5)
    free = drawn(None, 0)[0]
    assert np.any(drawn(None, 0)[0][0] != free[0])
    keras.utils.set_random_seed(5)
    np.testing.assert_array_equal(drawn(None, 0)[0][0], free[0])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_draws_float32(policy):
    reference = dense_model()
    initialize(reference, seed=1)
    keras.config.set_dtype_policy(policy)
    model = dense_model()
    initialize(model, seed=1)
    for mine, theirs in zip(model.weights, reference.weights, strict=True):
        assert mine.dtype == "float32"
        np.testing.assert_array_equal(value(mine), value(theirs))


def test_the_record_prints_as_a_table():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(2, name="a long name")])
    lines = str(initialize(model, seed=1)).splitlines()
    assert lines[0].split() == ["layer", "variable", "rule"]
    assert lines[1] == "a long name  kernel    glorot_normal (output)"
    words = ("rule", "glorot", "zeros")
    assert len({line.index(word) for line, word in zip(lines, words, strict=True)}) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": keras.Sequential([layers.Dense(1)])}, "`model` must be .* that is built"),
        ({"model": layers.Dense(1)}, "`model` must be a keras.Model"),
        ({"preset": "by_activaton"}, "`preset` must be .*did you mean 'by_activation'"),
        ({"preset": "he_normal", "gain": 1}, "`options` must be arguments of"),
        ({"gain": 1}, "`options` must be empty"),
        ({"seed": -1}, "`seed` must be a whole number >= 0"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    arguments = {"model": keras.Sequential([keras.Input((2,)), layers.Dense(1)]), **arguments}
    with pytest.raises(ValueError, match=message):
        initialize(**arguments)
