"""A regularizer on weights that exist acts as if the model had been made with it."""

import math
import warnings

import keras
import numpy as np
import pytest
from keras import layers

from kerasreg.models import attach_regularizer, remove_regularizer, replace_regularizer
from kerasreg.optimizers import Proximal
from kerasreg.regularizers import L1, L2, GroupLasso, Nuclear, Sum

RAMP = keras.optimizers.schedules.PolynomialDecay(0.01, 10, 0.1)


def dense_model(first=None, second=None):
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(6, "relu", name="a", kernel_regularizer=first),
            layers.Dense(1, name="b", kernel_regularizer=second),
        ]
    )


def zoo(penalty=None):
    """A model of many weights of layers; `penalty` on all that takes one."""

    def on(*stems):
        return {f"{stem}_regularizer": penalty for stem in stems}

    keras.utils.set_random_seed(1)
    both = on("kernel", "bias")
    scale = on("gamma", "beta")
    inputs = keras.Input((6,))
    x = layers.Embedding(10, 8, name="table", **on("embeddings"))(inputs)
    x = layers.MultiHeadAttention(2, 4, name="attention", **both)(x, x)
    x = layers.GroupQueryAttention(4, 2, 1, name="grouped", **both)(x, x)
    x = layers.LSTM(4, return_sequences=True, name="lstm", **both, **on("recurrent"))(x)
    x = layers.TimeDistributed(layers.Dense(4, name="inner", **both), name="each")(x)
    x = layers.LayerNormalization(name="layer_norm", **scale)(x)
    x = layers.SeparableConv1D(4, 2, name="separable", **on("depthwise", "pointwise", "bias"))(x)
    x = layers.Reshape((1, 5, 4))(x)
    x = layers.DepthwiseConv2D((1, 2), name="depthwise", **on("depthwise", "bias"))(x)
    x = layers.Conv2D(4, 1, name="conv", **both)(x)
    x = layers.Conv2DTranspose(4, 1, name="transposed", **both)(x)
    x = layers.BatchNormalization(name="norm", **scale)(x)
    x = layers.PReLU(name="slopes", **on("alpha"))(x)
    stack = [layers.Dense(3, name=name, **both) for name in ("one", "two")]
    x = keras.Sequential(stack, name="encoder")(x)
    outputs = layers.Dense(1, name="out", **both)(layers.Flatten()(x))
    return keras.Model(inputs, outputs)


def data(model):
    random = np.random.default_rng(0)
    if model.input_shape == (None, 8):
        return random.normal(size=(32, 8)), random.normal(size=(32, 1))
    return random.integers(0, 10, (32, 6)), random.normal(size=(32, 1))


def losses(model):
    return sorted(float(loss) for loss in model.losses)


def weights(model):
    return [np.array(value) for value in model.get_weights()]


def paths(edits):
    return {(row.layer, row.weight) for row in edits}


def assert_same(model, other):
    for value, expected in zip(weights(model), weights(other), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


# As if it had been there from the beginning.


@pytest.mark.parametrize("strength", [pytest.param(0.02, marks=pytest.mark.long), RAMP])
def test_every_kind_of_layer_has_the_losses_of_one_made_with_it_and_trains_alike(strength):
    model, made = zoo(), zoo(L1(strength))
    edits = attach_regularizer(model, L1(strength), weights="*")
    assert losses(model) == pytest.approx(losses(made))
    assert len(edits) == len(losses(made)) == 42
    assert all(row.note == "" for row in edits)
    for one in (model, made):
        one.compile("sgd", "mse")
        one.fit(*data(one), epochs=2, batch_size=16, verbose=0)
    assert_same(model, made)
    assert losses(model) == pytest.approx(losses(made), rel=1e-5)
    # In the order too, in which state is copied.
    names = [[v.path.split("/", 1)[-1] for v in one.variables] for one in (model, made)]
    assert [n.rsplit("/", 1)[-1] for n in names[0]] == [n.rsplit("/", 1)[-1] for n in names[1]]


@pytest.mark.parametrize("strength", [pytest.param(0.02, marks=pytest.mark.long), RAMP])
def test_a_saved_model_has_it_again(strength, tmp_path):
    model = zoo()
    attach_regularizer(model, L1(strength), weights="*")
    model.compile("sgd", "mse")
    model.fit(*data(model), epochs=2, batch_size=16, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert losses(loaded) == pytest.approx(losses(model))
    assert [v.name for v in loaded.variables].count("strength") == 1
    for one in (model, loaded):
        one.fit(*data(one), epochs=1, batch_size=16, shuffle=False, verbose=0)
    assert_same(loaded, model)
    # And without it.
    remove_regularizer(model)
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").losses == []


@pytest.mark.parametrize("strength", [pytest.param(0.02, marks=pytest.mark.long), RAMP])
def test_both_directions_of_a_recurrent_layer_have_it_when_loaded(strength, tmp_path):
    model = keras.Sequential(
        [keras.Input((5, 3)), layers.Bidirectional(layers.GRU(2), name="both"), layers.Dense(1)]
    )
    edits = attach_regularizer(model, L1(strength), layers="both", weights=["kernel", "*_kernel"])
    assert len(edits) == 4
    assert not any(row.note for row in edits)
    model.compile("sgd", "mse")
    model.fit(np.ones((16, 5, 3)), np.ones((16, 1)), epochs=3, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert losses(loaded) == pytest.approx(losses(model))


def test_a_real_model_has_it_on_its_kernels_only():
    model = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=3)
    edits = attach_regularizer(model, L2(0.1))
    assert paths(edits) == {
        (layer.name, "kernel")
        for layer in model.layers
        if type(layer) in (layers.Conv2D, layers.Dense)
    }
    expected = sum(
        0.05 * float(np.sum(np.square(np.array(layer.kernel))))
        for layer in model.layers
        if type(layer) in (layers.Conv2D, layers.Dense)
    )
    assert sum(losses(model)) == pytest.approx(expected, rel=1e-4)
    depthwise = attach_regularizer(
        model, L2(0.1), layers="block_?_depthwise", weights="depthwise_kernel"
    )
    assert len(depthwise) == 9
    assert all(row.size == math.prod(row.shape) for row in edits)


# Knobs.


def test_the_strength_is_one_knob_or_one_for_each():
    model, penalty = dense_model(), L1(0.1)
    attach_regularizer(model, penalty)
    assert [v.name for v in model.variables].count("strength") == 1
    penalty.strength.assign(0.0)
    assert losses(model) == [0.0, 0.0]
    replace_regularizer(model, L1(0.1), shared=False)
    assert [v.name for v in model.variables].count("strength") == 2
    model.get_layer("a").kernel_regularizer.strength.assign(0.0)
    assert losses(model)[0] == 0.0 < losses(model)[1]


def test_between_two_fits_it_acts_at_once_and_without_a_warning():
    model, made = dense_model(), dense_model(L1(0.1), L1(0.1))
    for layer in made.layers:
        layer.kernel_regularizer.strength.assign(0.0)
    for one in (model, made):
        one.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse")
        one.fit(*data(one), epochs=2, shuffle=False, verbose=0)
        one.evaluate(*data(one), verbose=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*trainable.*")
        attach_regularizer(model, L1(0.1))
        # Keras has the check, and in some versions does not reach it.
        getattr(model, "_warn_if_trainable_state_changed", lambda: None)()
        for layer in made.layers:
            layer.kernel_regularizer.strength.assign(0.1)
        for one in (model, made):
            one.fit(*data(one), epochs=2, shuffle=False, verbose=0)
        assert_same(model, made)
        evaluated = model.evaluate(*data(model), verbose=0)
        assert evaluated == pytest.approx(made.evaluate(*data(made), verbose=0), rel=1e-5)
        remove_regularizer(model)
        assert model.evaluate(*data(model), verbose=0) == pytest.approx(
            evaluated - sum(losses(made)), rel=1e-4
        )


def test_to_check_a_penalty_counts_no_step():
    for penalty in (L1(RAMP), L1(RAMP) + L2(0.1)):
        model = dense_model()
        attach_regularizer(model, penalty)
        assert not [v for v in model.variables if v.name == "step" and int(v) != 0]


def test_replace_changes_what_has_one_and_remove_takes_it_away():
    model, old = dense_model(first=L1(0.1)), L2(0.3)
    replaced = replace_regularizer(model, old)
    assert paths(replaced) == {("a", "kernel")}
    assert model.get_layer("a").kernel_regularizer is old
    assert (replaced[0].before, replaced[0].after) == ("L1(0.1)", "L2(0.3)")
    replace_regularizer(model, "l2")
    assert model.get_layer("a").get_config()["kernel_regularizer"]["class_name"] == "L2"
    remove_regularizer(model)
    assert model.losses == []
    assert model.get_layer("a").kernel_regularizer is None
    assert "strength" not in [v.name for v in model.variables]


def test_what_one_weight_loses_another_keeps():
    model, penalty = dense_model(), L1(0.1)
    attach_regularizer(model, penalty, layers="a", weights=["kernel", "bias"])
    remove_regularizer(model, weights="bias")
    assert len(losses(model)) == 1
    assert [v.name for v in model.variables].count("strength") == 1


def test_existing_ones_are_refused_kept_or_added_to():
    old, new = L1(0.1), L2(0.2)
    model = dense_model(first=old)
    before = losses(model)
    with pytest.raises(
        ValueError, match=r"no regularizer.*replace_regularizer.*a kernel \(L1\(0.1\)\)"
    ):
        attach_regularizer(model, new)
    assert losses(model) == before
    assert paths(attach_regularizer(model, new, existing="keep")) == {("b", "kernel")}
    with pytest.raises(ValueError, match="must match a weight that has no regularizer"):
        attach_regularizer(model, new, existing="keep")
    added = attach_regularizer(model, L2(0.4), layers="a", existing="add")
    assert added[0].after == "(L1(0.1) + L2(0.4))"
    assert isinstance(model.get_layer("a").kernel_regularizer, Sum)
    kernel = np.array(model.get_layer("a").kernel)
    expected = 0.1 * np.abs(kernel).sum() + 0.2 * np.square(kernel).sum()
    assert float(model.losses[0]) == pytest.approx(expected, rel=1e-5)
    replace_regularizer(model, "l1", layers="a")
    with pytest.raises(ValueError, match="`existing` can be 'add' where both"):
        attach_regularizer(model, new, layers="a", existing="add")


# Which.


@pytest.mark.parametrize(
    ("patterns", "weights", "expected"),
    [
        ("encoder/*", "kernel", {("encoder/one", "kernel"), ("encoder/two", "kernel")}),
        ("two", "bias", {("encoder/two", "bias")}),
        (["o*"], "bias", {("encoder/one", "bias"), ("out", "bias")}),
        ("lstm", "recurrent_kernel", {("lstm/lstm_cell", "recurrent_kernel")}),
        ("each", "kernel", {("each/inner", "kernel")}),
        ("*", ["embeddings", "alpha"], {("table", "embeddings"), ("slopes", "alpha")}),
        ("*", "gamma", {("layer_norm", "gamma"), ("norm", "gamma")}),
        (
            "attention",
            "kernel",
            {
                (f"attention/{name}", "kernel")
                for name in ("query", "key", "value", "attention_output")
            },
        ),
    ],
)
def test_patterns_mean_paths_names_and_what_is_inside(patterns, weights, expected):
    assert paths(attach_regularizer(zoo(), L1(0.1), layers=patterns, weights=weights)) == expected


def test_a_shared_layer_has_it_once():
    shared = layers.Dense(8, name="shared")
    inputs = keras.Input((8,))
    model = keras.Model(inputs, shared(shared(inputs)))
    assert len(attach_regularizer(model, L1(0.1))) == 1
    assert len(model.losses) == 1


def test_the_table_says_what_was_done():
    assert str(attach_regularizer(dense_model(), L1(RAMP))).splitlines() == [
        "layer  weight  shape   size  before  after",
        "a      kernel  (8, 6)    48  -       L1(PolynomialDecay)",
        "b      kernel  (6, 1)     6  -       L1(PolynomialDecay)",
        "weights: 2, numbers in them: 54",
    ]


def test_frozen_weights_are_noted_and_in_no_loss():
    model = dense_model()
    model.get_layer("a").trainable = False
    edits = attach_regularizer(model, L1(0.1))
    assert [row.note for row in edits] == ["frozen", ""]
    assert len(model.losses) == 1
    model.get_layer("a").trainable = True
    assert len(model.losses) == 2


@keras.saving.register_keras_serializable(package="tests_of_editing")
class Block(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(8, name="dense")

    def build(self, shape):
        self.dense.build(shape)

    def call(self, inputs):
        return self.dense(inputs)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(1, name="dense")

    def call(self, inputs):
        return self.dense(inputs)


def test_what_no_config_holds_is_noted_and_acts(tmp_path):
    model = keras.Sequential([keras.Input((8,)), Block(name="block"), layers.Dense(1, name="b")])
    edits = attach_regularizer(model, L1(0.1))
    assert {row.layer: row.note for row in edits} == {"block/dense": "not saved", "b": ""}
    assert "not saved" in str(edits)
    assert len(model.losses) == 2
    model.save(tmp_path / "model.keras")
    assert len(keras.models.load_model(tmp_path / "model.keras").losses) == 1

    subclassed = Subclassed()
    subclassed(np.ones((2, 8)))
    assert [row.note for row in attach_regularizer(subclassed, L1(0.1))] == ["not saved"]
    subclassed.compile("sgd", "mse")
    subclassed.fit(np.ones((4, 8)), np.ones((4, 1)), verbose=0)
    assert len(subclassed.losses) == 1


# Proximal.


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_proximal_optimizer_that_is_built_applies_it(optimizer):
    def trained(first, second):
        model = dense_model(L1(first), L1(second) if second is not None else None)
        inner = keras.optimizers.get({"class_name": optimizer, "config": {"learning_rate": 0.05}})
        model.compile(Proximal(inner), "mse")
        model.fit(*data(model), epochs=2, shuffle=False, verbose=0)
        return model

    model, made = trained(0.01, None), trained(0.01, 0.0)
    penalty = L1(0.3)
    attach_regularizer(model, penalty, layers="b")
    assert penalty.applied_by() is model.optimizer
    made.get_layer("b").kernel_regularizer.strength.assign(0.3)
    for one in (model, made):
        one.fit(*data(one), epochs=20, shuffle=False, verbose=0)
    assert_same(model, made)
    assert np.sum(np.array(model.get_layer("b").kernel) == 0) > 0


def test_what_a_built_proximal_optimizer_cannot_apply_is_refused():
    model = dense_model(L1(0.01))
    model.compile(Proximal(keras.optimizers.SGD(0.01, momentum=0.9)), "mse")
    model.fit(*data(model), verbose=0)
    with pytest.raises(ValueError, match=r"`model` must be compiled anew.*b/kernel"):
        attach_regularizer(model, L1(0.1), layers="b")
    assert len(model.losses) == 1
    replace_regularizer(model, L1(0.02))
    model.compile(Proximal(keras.optimizers.Adam(0.01)), "mse")
    model.fit(*data(model), verbose=0)
    with pytest.raises(ValueError, match="no proximal operator for a step size"):
        attach_regularizer(model, Nuclear(0.1), layers="b")


# What is refused, with the model as it was.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": "aa"}, "`layers` must match one of 'a', 'b'.*did you mean 'a'"),
        ({"layers": ["a", "c*"]}, "`layers` must match one of.*c"),
        ({"layers": []}, "`layers` must be a pattern"),
        ({"layers": 3}, "`layers` must be a pattern"),
        ({"weights": "kernels"}, "`weights` must match one of 'kernel', 'bias'.*mean 'kernel'"),
        ({"existing": "sum"}, "`existing` must be one of"),
        ({"penalty": GroupLasso(0.1, axis=2)}, "a kernel|kernel of a of shape.*axis"),
        ({"penalty": keras.ops.abs}, "must return a scalar.*shape \\(8, 6\\)"),
        ({"penalty": "l7"}, "`penalty` must be a penalty"),
        ({"penalty": None}, "`penalty` must be a penalty"),
        ({"penalty": 0.1}, "`penalty` must be a penalty"),
        ({"penalty": L1}, "`penalty` must be a penalty"),
        ({"penalty": GroupLasso(0.1, axis=1), "weights": "*"}, "the bias of a of shape"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    model = dense_model()
    with pytest.raises(ValueError, match=message):
        attach_regularizer(model, **{"penalty": L1(0.1), **arguments})
    assert model.losses == []
    assert model.get_layer("a").kernel_regularizer is None


def test_a_combination_that_matches_nothing_lists_the_kinds():
    with pytest.raises(ValueError, match=r"`weights` must be among.*\['gamma', 'beta'\]"):
        attach_regularizer(zoo(), L1(0.1), layers="norm")


def test_a_part_of_attention_is_refused():
    with pytest.raises(ValueError, match=r"all of attention or nothing.*1 of them"):
        attach_regularizer(zoo(), L1(0.1), layers="attention/query")


def test_replace_and_remove_need_a_regularizer():
    for edit in (
        remove_regularizer,
        lambda model, **which: replace_regularizer(model, L1(0.1), **which),
    ):
        with pytest.raises(ValueError, match="in this model none has"):
            edit(dense_model())
        with pytest.raises(ValueError, match=r"has a regularizer: a kernel \(L1\(0.1\)\)"):
            edit(dense_model(L1(0.1)), layers="b")


def test_models_without_weights_are_refused():
    unbuilt = keras.Sequential([layers.Dense(2)])
    empty = keras.Sequential([keras.Input((3,)), layers.ReLU()])
    for model in (unbuilt, empty, layers.Dense(2), None):
        for edit in (
            remove_regularizer,
            lambda model: attach_regularizer(model, L1(0.1)),
            lambda m: replace_regularizer(m, L1(0.1)),
        ):
            with pytest.raises(ValueError, match=r"`model` must be a keras.Model that is built"):
                edit(model)
