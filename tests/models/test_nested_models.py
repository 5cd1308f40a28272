"""Functions of a model whose layers are models: every place of one, and what goes through it."""

import keras
import numpy as np
import pytest

from kerasreg._keras.internals import walk_layers
from kerasreg.layers import ScheduledDropout
from kerasreg.models import (
    attach_regularizer,
    compress,
    initialize,
    insert_dropout,
    lsuv,
    remove_regularizer,
    replace_dropout,
    replace_regularizer,
    signal_report,
    sparsity_report,
)
from kerasreg.regularizers import L1, L2
from tests.models.test_compress import checked, kill, shuffle_weights, widths

layers = keras.layers


def sequential(name, width, *inner):
    return keras.Sequential([keras.Input((width,)), *inner], name=name)


def functional(name, width, *inner):
    x = h = keras.Input((width,))
    for layer in inner:
        h = layer(h)
    return keras.Model(x, h, name=name)


KINDS = pytest.mark.parametrize("kind", [sequential, functional])


def dense(units, name, activation="relu"):
    return layers.Dense(units, activation, name=name)


@KINDS
def test_units_vanish_between_two_nested_models(kind):
    encoder = kind("encoder", 6, dense(4, "latent"))
    decoder = kind("decoder", 4, dense(6, "out"))
    model = functional("model", 6, encoder, decoder)
    shuffle_weights(model)
    kill(encoder.get_layer("latent"), [0], 0.5)
    result = checked(model)
    assert widths(result) == {"encoder/latent": (4, 3)}
    assert result.parameters == (58, 45)
    assert result.model.get_layer("decoder").input_shape == (None, 3)
    assert type(result.model.get_layer("decoder")) is type(decoder)


@KINDS
def test_units_vanish_into_through_and_out_of_a_nested_model(kind):
    middle = kind("middle", 5, layers.ReLU(), dense(6, "in"), layers.BatchNormalization())
    model = sequential("model", 4, dense(5, "before"), middle, dense(3, "behind"), dense(2, "end"))
    shuffle_weights(model)
    kill(model.get_layer("before"), [1, 2], 0.5)
    kill(middle.get_layer("in"), [0], -0.5)
    result = checked(model)
    expected = {"before": (5, 3), "middle/in": (6, 5)}
    assert {name: widths(result)[name] for name in expected} == expected
    assert result.parameters[1] == (4 + 1) * 3 + (3 + 1) * 5 + 4 * 5 + (5 + 1) * 3 + (3 + 1) * 2


@KINDS
def test_nested_in_nested_and_first_and_last(kind):
    inmost = kind("inmost", 5, dense(4, "c", "tanh"))
    inner = kind("inner", 6, dense(5, "b", "tanh"), inmost)
    model = functional("model", 3, kind("first", 3, dense(6, "a", "tanh")), inner)
    shuffle_weights(model)
    kill(model.get_layer("first").get_layer("a"), [1, 4], 0.3)
    kill(inner.get_layer("b"), [0], 0.2)
    kill(inmost.get_layer("c"), [2], 0.2)  # An output of the model.
    result = checked(model)
    assert widths(result) == {"first/a": (6, 4), "inner/b": (5, 4)}
    assert result.parameters[1] == (3 + 1) * 4 + (4 + 1) * 4 + (4 + 1) * 4


@KINDS
def test_a_nested_model_that_is_used_twice_keeps_its_width_and_the_rest_goes(kind):
    shared = kind("shared", 5, layers.ReLU(), dense(4, "within"))
    x = keras.Input((3,))
    one, other = dense(5, "one")(x), dense(5, "other")(x)
    joined = layers.Concatenate()([shared(one), shared(other)])
    model = keras.Model(x, layers.Dense(1)(dense(6, "behind")(joined)))
    shuffle_weights(model)
    kill(model.get_layer("one"), [0])
    kill(model.get_layer("other"), [1, 2])
    kill(shared.get_layer("within"), [3])
    kill(model.get_layer("behind"), [0, 5], 0.5)
    assert widths(checked(model)) == {"behind": (6, 4)}


@KINDS
def test_a_nested_model_of_no_weights_may_be_used_twice(kind):
    shared = kind("shared", 5, layers.ReLU(), layers.Dropout(0.5))
    x = keras.Input((3,))
    model = keras.Model(x, layers.Dense(2)(shared(dense(5, "one")(x)) + shared(dense(5, "two")(x))))
    shuffle_weights(model)
    kill(model.get_layer("one"), [0, 1])
    kill(model.get_layer("two"), [1, 2])
    assert widths(checked(model)) == {}


def test_an_open_size_of_a_nested_input_stays_open():
    x = keras.Input((None, None, 3))
    h = layers.Conv2D(4, 3, activation="relu", name="a")(x)
    inner = keras.Model(x, layers.Conv2D(4, 3, activation="relu", name="b")(h), name="inner")
    x = keras.Input((8, 8, 3))
    h = inner(layers.Conv2D(3, 1, name="c")(x))
    model = keras.Model(x, layers.Dense(1)(layers.GlobalMaxPooling2D()(h)))
    shuffle_weights(model)
    kill(model.get_layer("c"), [1], 0.3)
    kill(inner.get_layer("a"), [1], 0.3)
    kill(inner.get_layer("b"), [1, 2], 0.3)
    result = checked(model)
    assert widths(result) == {"c": (3, 2), "inner/a": (4, 3), "inner/b": (4, 2)}
    assert result.model.get_layer("inner").input_shape == (None, None, None, 2)


def test_inputs_by_name_are_those_of_their_names():
    # A list in the order z, a; the call gives a dict, which is in the order a, z.
    z, a = keras.Input((4,), name="z"), keras.Input((4,), name="a")
    inner = keras.Model([z, a], dense(3, "of_z")(z) + dense(3, "of_a")(a), name="inner")
    x = keras.Input((4,))
    h = inner({"z": dense(4, "to_z")(x), "a": dense(4, "to_a")(x)})
    model = keras.Model(x, layers.Dense(1)(h))
    shuffle_weights(model)
    kill(model.get_layer("to_z"), [1], 0.5)
    kill(model.get_layer("to_a"), [0, 2], 0.5)
    result = checked(model)
    assert widths(result) == {"to_z": (4, 3), "to_a": (4, 2)}
    inner = result.model.get_layer("inner")
    assert [t.shape[-1] for t in inner.inputs] == [3, 2]


def test_outputs_of_a_nested_model_that_nobody_takes():
    x = keras.Input((4,))
    taken, left = dense(5, "taken")(x), dense(5, "left")(x)
    inner = keras.Model(x, {"a": taken, "b": left}, name="inner")
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(1)(inner(x)["a"]))
    shuffle_weights(model)
    kill(inner.get_layer("taken"), [1], 0.5)
    assert widths(checked(model)) == {"inner/taken": (5, 4), "inner/left": (5, 1)}
    # What ends the nested model ends this one only where it is an output of this one.
    given = inner(x)
    model = keras.Model(x, [layers.Dense(1)(given["a"]), given["b"]])
    assert [row.layer for row in insert_dropout(model, 0.2, after="taken").rows] == ["inner/taken"]
    with pytest.raises(ValueError, match="makes an output"):
        insert_dropout(model, 0.2, after="left")


def test_masks_go_through_nested_models():
    inner = keras.Sequential(
        [keras.Input((5, 4)), dense(4, "a"), dense(6, "b"), layers.GlobalAveragePooling1D()],
        name="inner",
    )
    ids = keras.Input((5,), dtype="int32")
    model = keras.Model(ids, layers.Dense(2)(inner(layers.Embedding(9, 4, mask_zero=True)(ids))))
    shuffle_weights(model)
    kill(inner.get_layer("a"), [1], 0.5)
    kill(inner.get_layer("b"), [2, 3], 0.5)
    x = np.array([[1, 2, 3, 0, 0], [4, 0, 0, 0, 0]])
    result = compress(model)
    np.testing.assert_allclose(result.model(x), model(x), atol=1e-5)
    assert widths(result) == {"inner/a": (4, 3), "inner/b": (6, 4)}
    assert [row.layer for row in signal_report(model, x).rows][1:3] == ["inner/a", "inner/b"]


def test_a_nested_model_that_runs_in_training_mode_is_left_alone():
    inner = sequential("inner", 4, dense(4, "a"), layers.BatchNormalization(), dense(3, "b"))
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(1)(inner(x, training=True)))
    shuffle_weights(model)
    kill(inner.get_layer("a"), [1], 0.5)
    kill(inner.get_layer("b"), [1], 0.5)
    x = np.random.default_rng(0).normal(size=(6, 4))
    result = compress(model)
    np.testing.assert_allclose(result.model(x), model(x), atol=1e-5)
    assert [(row.layer, row.reason) for row in result.blocked] == []
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(1)(inner(x, training=False)))
    assert widths(checked(model))["inner/b"] == (3, 2)


@keras.saving.register_keras_serializable("kerasreg_tests")
class DoubledModel(keras.Model):
    """A model whose graph is not all that it does."""

    def call(self, x, training=None, mask=None):
        return 2.0 * keras.ops.flip(super().call(x, training=training), -1)


def test_a_nested_model_with_a_call_of_its_own_is_left_alone():
    x = keras.Input((4,))
    inner = DoubledModel(x, dense(4, "within")(x), name="inner")
    model = functional("model", 4, dense(4, "before"), inner, layers.Dense(1))
    shuffle_weights(model)
    kill(inner.get_layer("within"), [0], 0.5)
    kill(model.get_layer("before"), [0], 0.5)
    result = checked(model)
    assert widths(result) == {}
    assert type(result.model.get_layer("inner")) is DoubledModel
    with pytest.raises(ValueError, match="`model` must be a built functional"):
        compress(inner)


@KINDS
def test_frozen_parts_stay_frozen_and_the_rest_is_not(kind):
    inner = kind("inner", 4, dense(4, "a"), dense(4, "b"))
    model = functional("model", 4, inner, layers.Dense(1, name="c"))
    inner.trainable = False
    inner.get_layer("b").trainable = True
    copy = insert_dropout(model, 0.2, after="a").model
    assert not copy.get_layer("inner").trainable
    assert copy.get_layer("inner").get_layer("b").trainable
    assert not copy.get_layer("inner").get_layer("a").trainable
    trained = [v.path for v in model.trainable_variables]
    assert len(trained) == 4
    assert [v.path for v in copy.trainable_variables] == trained


class _Random:
    """A model of layers, sums, concatenations and nested models, with dead units."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.dense = []
        self.reused = []
        self.number = 0

    def named(self, kind, *arguments, **options):
        self.number += 1
        return kind(*arguments, name=f"{kind.__name__.lower()}{self.number}", **options)

    def fully(self, units):
        activation = self.random.choice(["relu", "tanh", "sigmoid"])
        layer = self.named(layers.Dense, units, activation, use_bias=bool(self.random.integers(4)))
        self.dense.append(layer)
        return layer

    def layer(self, width, depth):
        kind = self.random.integers(12)
        if kind == 4:
            return self.named(layers.BatchNormalization), width
        if kind == 5:
            shape = None if self.random.integers(2) else (None, width)
            return self.named(layers.Dropout, 0.2, noise_shape=shape), width
        if kind in (6, 7, 8):
            made = (layers.ReLU, ScheduledDropout, layers.PReLU)[kind - 6]
            return self.named(made, *([0.2] if made is ScheduledDropout else [])), width
        if kind > 8 and depth < 3:
            return self.nested(width, depth + 1)
        units = int(self.random.integers(3, 7))
        return self.fully(units), units

    def nested(self, width, depth):
        self.number += 1
        name = f"net{self.number}"
        x = keras.Input((width,))
        if self.random.integers(2):
            inner = []
            for _ in range(self.random.integers(1, 4)):
                layer, width = self.layer(width, depth)
                inner.append(layer)
            return keras.Sequential([x, *inner], name=name), width
        h, width = self.chain(x, width, depth)
        return keras.Model(x, h, name=name), width

    def chain(self, x, width, depth):
        for _ in range(self.random.integers(1, 5)):
            kind = self.random.integers(8)
            fits = [(layer, out) for layer, into, out in self.reused if into == width]
            if kind == 7 and fits and depth == 0:
                layer, width = fits[self.random.integers(len(fits))]
                x = layer(x)
                continue
            layer, made = self.layer(width, depth)
            if kind == 5:
                other = self.fully(made)(x)
                x = self.named(layers.Add)([layer(x), other]) if made % 2 else layer(x) + other
            elif kind == 6:
                x = self.named(layers.Concatenate)([layer(x), x])
                made += width
            else:
                if depth == 0:  # Keras cannot save a layer that is in two models of one.
                    self.reused.append((layer, width, made))
                x = layer(x)
            width = made
        return x, width

    def model(self):
        x = keras.Input((4,))
        h, _ = self.chain(x, 4, 0)
        model = keras.Model(x, layers.Dense(2, name="end")(h))
        shuffle_weights(model)
        for layer in self.dense:
            if layer.units > 1 and self.random.integers(3):
                count = self.random.integers(1, layer.units)
                gone = self.random.choice(layer.units, count, replace=False)
                kill(layer, gone, self.random.choice([0.0, 0.5, -0.5]))
        return model


def _everything(seed, path):
    """All functions of a model are tried on a random one."""
    keras.utils.set_random_seed(seed)
    model = _Random(seed).model()
    x = np.random.default_rng(seed).normal(size=(7, 4)).astype("float32")
    y = np.array(model(x))

    def assert_same(other, tolerance=1e-5):
        bound = tolerance * max(1, np.abs(y).max())
        np.testing.assert_allclose(other(x), y, rtol=tolerance, atol=bound)

    result = compress(model)
    assert_same(result.model)
    assert result.parameters == (model.count_params(), result.model.count_params())
    assert compress(result.model).parameters == (result.parameters[1],) * 2
    result.model.save(path)
    assert_same(keras.models.load_model(path))
    assert sparsity_report(model).size == model.count_params()
    names = [one.name for one in walk_layers(model)[1:] if isinstance(one, layers.Dense)]
    if inside := [name for name in names if name != "end"]:
        new = insert_dropout(model, 0.3, after=inside).model
        assert_same(new)
        assert_same(compress(new).model)
    if any(type(one) is layers.Dropout for one in walk_layers(model)):
        new = replace_dropout(model).model
        assert_same(new)
        assert not any(type(one) is layers.Dropout for one in walk_layers(new))
    kernels = [v for v in model.trainable_variables if v.name == "kernel"]
    assert len(attach_regularizer(model, L1(0.5))) == len(kernels)
    ours = compress(model)
    total = sum(0.5 * np.abs(np.array(v)).sum() for v in ours.model.weights if v.name == "kernel")
    np.testing.assert_allclose(sum(map(float, ours.model.losses)), total, rtol=1e-5)
    assert ours.parameters == result.parameters
    assert len(replace_regularizer(model, L2(0.1))) == len(remove_regularizer(model))
    assert model.losses == []
    assert {row.layer.split("/")[-1] for row in signal_report(model, x).rows} >= set(names)
    assert len(initialize(model, seed=1).rows) == len(model.weights)
    assert len(lsuv(model, x).rows) == len(kernels)


@pytest.mark.short("0", "2")
@pytest.mark.filterwarnings("ignore:lsuv has not")
@pytest.mark.parametrize("seed", range(4))
def test_random_models_of_models(seed, tmp_path):
    _everything(seed, tmp_path / "model.keras")


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:lsuv has not")
@pytest.mark.parametrize("seed", range(4, 64))
def test_many_random_models_of_models(seed, tmp_path):
    _everything(seed, tmp_path / "model.keras")
