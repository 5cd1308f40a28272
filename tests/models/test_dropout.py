"""Dropout is put into a copy of a model, which is otherwise the same."""

import keras
import numpy as np
import pytest
from keras import layers

import kerasreg
from kerasreg.layers import (
    ScheduledAlphaDropout,
    ScheduledDropout,
    ScheduledGaussianDropout,
    ScheduledSpatialDropout1D,
    ScheduledSpatialDropout2D,
)
from kerasreg.models import attach_regularizer, insert_dropout, replace_dropout
from kerasreg.regularizers import L1

RAMP = keras.optimizers.schedules.PolynomialDecay(0.0, 10, 0.5)
X = np.random.default_rng(0).normal(size=(16, 8))


def sequential():
    return keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(8, "relu", name="a"),
            layers.Dense(8, "relu", name="b"),
            layers.Dense(1, name="out"),
        ]
    )


def nested():
    """A shared layer, an addition, and models inside, one in the other."""
    inner_input = keras.Input((8,))
    inner = keras.Model(inner_input, layers.Dense(8, name="deep")(inner_input), name="inner")
    encoder = keras.Sequential([keras.Input((8,)), layers.Dense(8, name="first"), inner])
    encoder.name = "encoder"
    inputs = keras.Input((8,))
    shared = layers.Dense(8, name="shared")
    x = layers.Add(name="add")([shared(inputs), shared(keras.ops.tanh(encoder(inputs)))])
    return keras.Model(inputs, layers.Dense(1, name="out")(x))


def assert_same_at_inference(model, other, x=X):
    np.testing.assert_allclose(model.predict(x, verbose=0), other.predict(x, verbose=0), rtol=1e-6)


def assert_learns(model, x=X):
    model.compile("sgd", "mse")
    model.fit(x, np.ones((len(x), 1)), verbose=0)


def all_layers(model):
    return {layer.name: layer for layer in model._flatten_layers()}


# Inserted.


def test_dropout_is_behind_what_is_matched_and_inference_is_the_same(tmp_path):
    model = sequential()
    new = insert_dropout(model, 0.5, after="?")
    assert [layer.name for layer in new.model.layers] == ["a", "a_dropout", "b", "b_dropout", "out"]
    assert str(new).splitlines() == [
        "layer  before  after",
        "a      -       ScheduledDropout(0.5)",
        "b      -       ScheduledDropout(0.5)",
    ]
    assert isinstance(new.model, keras.Sequential)
    assert_same_at_inference(new.model, model)
    hidden = keras.Model(new.model.inputs, new.model.layers[1].output)
    share = np.mean(np.array(hidden(np.ones((500, 8)), training=True)) == 0)
    before = np.mean(np.array(model.layers[0](np.ones((500, 8)))) == 0)
    assert share == pytest.approx(before + 0.5 * (1 - before), abs=0.05)
    assert_learns(new.model)
    new.model.save(tmp_path / "model.keras")
    assert_same_at_inference(keras.models.load_model(tmp_path / "model.keras"), new.model)


def test_the_given_model_stays_as_it_is():
    model = sequential()
    before = [np.array(value) for value in model.get_weights()]
    assert_learns(insert_dropout(model, 0.5, after="a").model)
    assert len(model.layers) == 3
    for value, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, expected)
    assert all(len(layer._inbound_nodes) == 1 for layer in model.layers)


def test_nested_and_shared_layers_have_it_too():
    model = nested()
    new = insert_dropout(model, 0.5, after=["shared", "first", "encoder/inner/deep", "encoder"])
    found = all_layers(new.model)
    for name in ("shared", "first", "deep", "encoder"):
        assert isinstance(found[f"{name}_dropout"], ScheduledDropout)
    assert {edit.layer for edit in new.rows} == {
        "shared",
        "encoder",
        "encoder/first",
        "encoder/inner/deep",
    }
    assert len(new.model.get_layer("shared_dropout")._inbound_nodes) == 2
    assert_same_at_inference(new.model, model)
    assert_learns(new.model)
    assert int(found["deep_dropout"].step) == int(found["shared_dropout"].step) == 1


def test_a_schedule_and_other_layers_of_dropout_may_be_given():
    inputs = keras.Input((4, 4, 2))
    conv = layers.Conv2D(3, 1, name="conv", dtype="mixed_float16")
    model = keras.Model(inputs, layers.Dense(1)(layers.Flatten()(conv(inputs))))
    new = insert_dropout(model, RAMP, after="conv", make=ScheduledSpatialDropout2D)
    layer = new.model.get_layer("conv_dropout")
    assert type(layer) is ScheduledSpatialDropout2D
    assert layer.dtype_policy.name == "mixed_float16"
    assert new.rows[0].after == "ScheduledSpatialDropout2D(PolynomialDecay)"
    made = insert_dropout(
        model, 0.2, after="conv", make=lambda rate, name, dtype: layers.Dropout(rate)
    )
    assert any(type(layer) is layers.Dropout for layer in made.model.layers)
    with pytest.raises(ValueError, match="`make` must return a Keras layer"):
        insert_dropout(model, 0.2, after="conv", make=lambda rate, **rest: rate)


@pytest.mark.long
def test_a_real_model_is_the_same_at_inference_and_learns():
    model = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=1)
    new = insert_dropout(model, 0.1, after="block_*_add", make=ScheduledSpatialDropout2D)
    assert len(new.rows) == 10
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3))
    assert_same_at_inference(new.model, model, x)
    assert_learns(new.model, x)


def test_penalties_that_are_shared_stay_so_with_their_state():
    model = sequential()
    penalty = L1(RAMP)
    attach_regularizer(model, penalty, weights=["bias", "kernel"])
    attach_regularizer(model, L1(0.3), layers="out", weights="kernel", existing="add")
    assert_learns(model)
    new = insert_dropout(model, 0.0, after="a").model
    assert new.get_layer("a").kernel_regularizer is new.get_layer("b").bias_regularizer
    assert new.get_layer("a").kernel_regularizer is not penalty
    expected = [float(loss) for loss in model.losses]
    assert [float(loss) for loss in new.losses] == pytest.approx(expected)
    assert not new.compiled


def test_attention_with_a_penalty_is_copied_in_order():
    inputs = keras.Input((3, 4))
    x = layers.MultiHeadAttention(2, 2, name="attention")(inputs, inputs)
    model = keras.Model(inputs, layers.Dense(1)(layers.Dropout(0.1)(layers.Flatten()(x))))
    attach_regularizer(model, L1(0.1), weights="bias")
    attach_regularizer(model, L1(0.2), weights="kernel")
    model.get_layer("attention")._kernel_regularizer.strength.assign(0.5)
    new = replace_dropout(model).model
    assert_same_at_inference(new, model, np.ones((2, 3, 4)))
    losses = [[float(loss) for loss in one.losses] for one in (model, new)]
    assert losses[1] == pytest.approx(losses[0])


def test_inputs_and_outputs_keep_their_structure():
    inputs = {"x": keras.Input((8,), name="x"), "y": keras.Input((8,), name="y")}
    hidden = layers.Dense(4, name="hidden")(inputs["x"] * inputs["y"])
    outputs = {"sum": layers.Dense(1, name="sum")(hidden), "raw": layers.ReLU()(hidden)}
    model = keras.Model(inputs, outputs)
    new = insert_dropout(model, 0.5, after="hidden").model
    found, expected = (one.predict({"x": X, "y": X}, verbose=0) for one in (new, model))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value)


def test_frozen_layers_stay_frozen():
    model = nested()
    model.get_layer("encoder").trainable = False
    new = insert_dropout(model, 0.1, after="shared").model
    assert len(new.trainable_weights) == len(model.trainable_weights) == 4
    model.trainable = False
    assert insert_dropout(model, 0.1, after="shared").model.trainable_weights == []


@pytest.mark.parametrize(
    ("after", "message"),
    [
        ("aa", "`after` must match one of 'a', 'b', 'out'.*did you mean 'a'"),
        ("*", "`after` must match no layer that makes an output.*out"),
        ((), "`after` must be a pattern"),
    ],
)
def test_bad_patterns_are_refused(after, message):
    with pytest.raises(ValueError, match=message):
        insert_dropout(sequential(), 0.1, after=after)


class Unserializable(layers.Layer):
    def __init__(self, units):
        super().__init__()
        self.units = object()

    def call(self, inputs):
        return inputs


def test_bad_models_rates_and_layers_are_refused():
    with pytest.raises(ValueError, match="`rate` must be"):
        insert_dropout(sequential(), 1.5, after="a")
    for model in (keras.Sequential([layers.Dense(1)]), layers.Dense(1), None):
        for edit in (replace_dropout, lambda model: insert_dropout(model, 0.1, after="*")):
            with pytest.raises(ValueError, match="`model` must be a built functional"):
                edit(model)
    inputs = keras.Input((8,))
    lstm = layers.LSTM(3, return_state=True, name="lstm")
    model = keras.Model(inputs, layers.Add()(lstm(layers.Reshape((4, 2))(inputs))))
    with pytest.raises(ValueError, match=r"whose output is one floating-point.*lstm"):
        insert_dropout(model, 0.1, after="lstm")
    model = keras.Sequential([keras.Input((8,)), Unserializable(3), layers.Dense(1)])
    with pytest.raises(ValueError, match=r"made anew from their configs.*unserializable"):
        insert_dropout(model, 0.1, after="unserializable*")


# Replaced.


def noisy():
    inputs = keras.Input((4, 2))
    x = layers.SpatialDropout1D(0.1, name="spatial", seed=7)(inputs)
    x = layers.Dropout(0.2, noise_shape=(None, 1, 2), name="plain")(layers.Dense(2)(x))
    x = keras.Sequential([layers.GaussianDropout(0.3, name="gaussian")], name="stack")(x)
    x = layers.AlphaDropout(0.4, name="alpha", dtype="float64")(x)
    return keras.Model(inputs, layers.Dense(1)(layers.Flatten()(x)))


def test_each_kind_becomes_its_counterpart_with_its_arguments():
    model = noisy()
    new = replace_dropout(model)
    found = all_layers(new.model)
    assert type(found["spatial"]) is ScheduledSpatialDropout1D
    assert type(found["plain"]) is ScheduledDropout
    assert type(found["gaussian"]) is ScheduledGaussianDropout
    assert type(found["alpha"]) is ScheduledAlphaDropout
    rates = [float(found[name].rate) for name in ("spatial", "plain", "gaussian", "alpha")]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert found["spatial"].seed == 7
    assert found["plain"].noise_shape == (None, 1, 2)
    assert found["alpha"].dtype_policy.name == "float64"
    assert {edit.layer for edit in new.rows} == {"spatial", "plain", "stack/gaussian", "alpha"}
    assert new.rows[0] == ("spatial", "SpatialDropout1D(0.1)", "ScheduledSpatialDropout1D(0.1)")
    x = np.random.default_rng(0).normal(size=(8, 4, 2))
    assert_same_at_inference(new.model, model, x)
    assert_learns(new.model, x)


def test_a_rate_may_be_given_and_layers_chosen():
    new = replace_dropout(noisy(), RAMP, layers=["plain", "stack/*"])
    found = all_layers(new.model)
    assert found["plain"].schedule is RAMP
    assert found["gaussian"].schedule is RAMP
    assert type(found["spatial"]) is layers.SpatialDropout1D
    with pytest.raises(ValueError, match="`layers` must match one of 'spatial', 'plain'"):
        replace_dropout(noisy(), layers="flatten")


def test_dropout_of_images_keeps_its_data_format():
    inputs = keras.Input((4, 4, 2))
    x = layers.SpatialDropout2D(0.5, data_format="channels_first", name="maps")(inputs)
    new = replace_dropout(keras.Model(inputs, x)).model
    assert new.get_layer("maps").data_format == "channels_first"


def test_dropout_inside_of_layers_is_left_and_said():
    inputs = keras.Input((3, 4))
    x = layers.MultiHeadAttention(1, 2, dropout=0.1, name="attention")(inputs, inputs)
    with pytest.raises(ValueError, match=r"must have a dropout layer.*attention/"):
        replace_dropout(keras.Model(inputs, x))
    new = replace_dropout(keras.Model(inputs, layers.Dropout(0.2, name="plain")(x)))
    assert [row.layer.split("/")[0] for row in new.left_alone] == ["attention"]
    assert "left alone: it is inside of a layer" in str(new)
    with pytest.raises(ValueError, match="must have a dropout layer of Keras"):
        replace_dropout(sequential())


def test_the_rate_of_the_new_layers_moves_without_a_new_trace():
    new = replace_dropout(keras.Sequential([keras.Input((8,)), layers.Dropout(0.0, name="d")]))
    predict = kerasreg.models.mc_predict(new.model, np.ones((4, 8)), passes=2)
    assert np.all(np.array(predict.mean) == 1.0)
    new.model.get_layer("d").rate.assign(1.0)
    predict = kerasreg.models.mc_predict(new.model, np.ones((4, 8)), passes=2)
    assert np.all(np.array(predict.mean) == 0.0)
