"""What a model that is made anew keeps: how its layers are called, and what no config has."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from kerasreg.layers import ScheduledDropout
from kerasreg.models import (
    compress,
    insert_dropout,
    lsuv,
    mc_predict,
    replace_dropout,
    signal_report,
    update_batch_normalization,
)
from tests.models.test_compress import kill, shuffle_weights

layers = keras.layers
RANDOM = np.random.default_rng(0)


def numbers(*shape):
    return RANDOM.normal(size=shape).astype("float32")


@keras.saving.register_keras_serializable("kerasreg_tests")
class Sum(layers.Layer):
    """Adds what it is given, wherever it is among the arguments of its call."""

    def call(self, a, b=None, scale=1.0, others=None, training=None):
        total = a * scale if b is None else a * scale + b
        for other in keras.tree.flatten(others):
            if other is not None:
                total = total + ops.mean(other, -1, keepdims=True)
        return total


def edited(model):
    """The model as each function makes it anew."""
    yield "insert_dropout", insert_dropout(model, 0.1, after="hidden").model
    yield "replace_dropout", replace_dropout(model).model
    yield "compress", compress(model).model


def copies(model):
    """The same, and the model as Keras makes it anew."""
    copy = type(model).from_config(model.get_config())
    copy.set_weights(model.get_weights())
    yield "from_config", copy
    yield from edited(model)


def head(tensor):
    """A hidden layer with a dead unit, dropout of Keras, and an output."""
    hidden = layers.Dense(4, "relu", name="hidden")
    return layers.Dense(2, name="out")(layers.Dropout(0.3, name="drop")(hidden(tensor)))


def dead(model):
    shuffle_weights(model)
    kill(model.get_layer("hidden"), [1], 0.5)
    return model


def assert_all_equal(model, inputs, path, follows=True):
    for what, copy in copies(model):
        copy.save(path / "copy.keras")
        for one in (copy, keras.models.load_model(path / "copy.keras")):
            for x in inputs:
                keras.tree.map_structure(
                    lambda mine, theirs: np.testing.assert_allclose(
                        mine, theirs, rtol=1e-5, atol=1e-5
                    ),
                    one(x),
                    model(x),
                )
        assert [tensor.name for tensor in copy.inputs] == [tensor.name for tensor in model.inputs]
        if what == "compress":
            assert (copy.count_params() < model.count_params()) is follows


@pytest.mark.parametrize("structure", [list, dict])
@pytest.mark.parametrize("by_name", [False, True])
def test_inputs_that_may_be_left_out(structure, by_name, tmp_path):
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b", optional=True)
    h = head(Sum()(a, b=b) if by_name else Sum()(a, b))
    model = dead(keras.Model([a, b] if structure is list else {"a": a, "b": b}, h))
    given = [(numbers(3, 4), None), (numbers(3, 4), numbers(3, 4))]
    if structure is dict:
        given = [{"a": one, "b": other} for one, other in given]
    else:
        given = [list(pair) for pair in given]
    assert_all_equal(model, given, tmp_path)


def test_functions_that_are_given_data_take_none_for_what_is_left_out():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b", optional=True)
    h = layers.BatchNormalization(name="norm")(layers.Dense(5, "relu")(Sum()(a, b)))
    model = keras.Model([a, b], layers.Dense(1)(ScheduledDropout(0.5)(h)))
    x = [numbers(40, 4), None]
    assert np.isfinite([row.variance for row in signal_report(model, x).rows]).all()
    lsuv(model, x, seed=1)
    prediction = mc_predict(model, x, passes=4, batch_size=16)
    assert prediction.mean.shape == (40, 1)
    assert (prediction.variance > 0).any()
    update_batch_normalization(model, x, batch_size=20)
    norm = model.get_layer("norm")
    normed = keras.Model(model.inputs, norm.input)(x)
    np.testing.assert_allclose(norm.moving_mean, np.mean(normed, axis=0), rtol=1e-4, atol=1e-5)


CALLS = {
    "array": lambda x, h: Sum()(h, np.ones((1, 4), "float32"), scale=2.0),
    "keyword": lambda x, h: Sum()(h, b=x),
    "all keywords": lambda x, h: Sum()(a=h, b=x, scale=0.5),
    "nested": lambda x, h: Sum()(h, others={"p": [x, h], "q": (x, None)}),
    "flag": lambda x, h: Sum()(h, training=True),
    "constant added": lambda x, h: layers.Add()([h, np.ones((1, 4), "float32")]),
    "constant joined": lambda x, h: layers.Concatenate()([h, np.ones((3, 2), "float32")]),
    "number added": lambda x, h: h + 1.0,
    "joined": lambda x, h: ops.concatenate([h, x, h], axis=-1),
    "parts": lambda x, h: ops.split(h, 2, axis=-1)[1],
    "reversed": lambda x, h: h[:, ::-1],
    "where": lambda x, h: ops.where(x > 0, h, 0.0),
    "mean with weights": lambda x, h: ops.expand_dims(ops.average(h, axis=1, weights=x + 3), 1),
    "mean over all": lambda x, h: h - ops.mean(h, axis=-1, keepdims=True),
    "batch statistics": lambda x, h: layers.BatchNormalization()(h, training=True),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_layers_and_operations_that_are_called_in_all_ways(call, tmp_path):
    x = keras.Input((4,), name="x")
    h = layers.Dense(4, "relu", name="hidden")(x)
    h = layers.Dropout(0.3)(call(x, h))
    model = dead(keras.Model(x, layers.Dense(2)(h)))
    # What is not followed keeps all channels: the right outputs come first.
    assert_all_equal(model, [numbers(3, 4)], tmp_path, follows=False)


def test_several_outputs_and_a_layer_that_is_used_twice(tmp_path):
    x, y = keras.Input((4,), name="x"), keras.Input((4,), name="y")
    shared = layers.Dense(4, "tanh", name="shared")
    h = head(Sum()(shared(x), shared(y)))
    model = dead(keras.Model({"x": x, "y": y}, {"one": h, "two": [shared(x), x], "three": h * h}))
    assert_all_equal(model, [{"x": numbers(3, 4), "y": numbers(3, 4)}], tmp_path)


def test_masks_and_states(tmp_path):
    ids, state = keras.Input((5,), dtype="int32", name="ids"), keras.Input((4,), name="state")
    embedded = layers.Embedding(9, 4, mask_zero=True)(ids)
    h = layers.Dense(4, "relu", name="hidden")(embedded)
    h, last, _ = layers.LSTM(4, return_state=True, return_sequences=True)(
        layers.Dropout(0.2)(h), initial_state=[state, state]
    )
    h = layers.MultiHeadAttention(2, 2)(h, value=embedded, use_causal_mask=True)
    pooled = layers.GlobalAveragePooling1D()(h, mask=ops.not_equal(ids, 0))
    model = dead(keras.Model([ids, state], [layers.Dense(1)(pooled), last]))
    x = [np.array([[1, 2, 3, 0, 0], [4, 0, 0, 0, 0]]), numbers(2, 4)]
    assert_all_equal(model, [x], tmp_path, follows=False)


def test_a_mean_over_what_is_not_masked_is_followed(tmp_path):
    ids = keras.Input((5,), dtype="int32", name="ids")
    h = layers.Embedding(9, 4, mask_zero=True)(ids)
    h = layers.Dropout(0.3)(layers.Dense(4, "relu", name="hidden")(h))
    model = dead(keras.Model(ids, layers.Dense(2)(layers.GlobalAveragePooling1D()(h))))
    assert_all_equal(model, [np.array([[1, 2, 3, 0, 0], [4, 0, 0, 0, 0]])], tmp_path)


def test_sparse_inputs_and_inputs_of_no_axis(tmp_path):
    model = dead(keras.Model(x := keras.Input((4,), sparse=True, name="x"), head(x)))
    for _, copy in copies(model):
        assert copy.inputs[0].sparse
    x = keras.Input((), name="x")
    model = dead(keras.Model(x, head(layers.Flatten()(x))))
    assert_all_equal(model, [numbers(3)], tmp_path)


@keras.saving.register_keras_serializable("kerasreg_tests")
class OwnSequential(keras.Sequential):
    def train_step(self, data):
        return super().train_step(data)


@keras.saving.register_keras_serializable("kerasreg_tests")
class OwnFunctional(keras.Model):
    def train_step(self, data):
        return super().train_step(data)


def test_the_class_of_a_model_stays():
    hidden = layers.Dense(4, name="hidden")
    stack = [keras.Input((4,)), hidden, layers.Dropout(0.1), layers.Dense(1)]
    x = keras.Input((4,))
    for model in (OwnSequential(stack), OwnFunctional(x, head(x))):
        assert {type(copy) for _, copy in copies(model)} == {type(model)}


# What layers that prepare data have learnt.


def normalized():
    layer = layers.Normalization()
    layer.adapt(RANDOM.normal(3.0, 2.0, size=(50, 4)))
    x = keras.Input((4,), name="x")
    return keras.Model(x, head(layer(x))), numbers(3, 4)


def looked_up(layer, values, dtype, **options):
    layer = layer(**options)
    layer.adapt(np.array(values))
    x = keras.Input((), dtype=dtype, name="x")
    h = ops.cast(layer(x), "float32")
    h = h if len(h.shape) > 1 else ops.expand_dims(h, -1)
    given = values[:2] + values[:1]
    given = tf.constant(given) if dtype == "string" else np.array(given)
    return keras.Model(x, head(h)), given


TEXTS = ["a b", "b c d", "a a e"]
PREPARED = {
    "normalization": normalized,
    "words": lambda: looked_up(layers.TextVectorization, TEXTS, "string", output_sequence_length=3),
    "counts": lambda: looked_up(layers.TextVectorization, TEXTS, "string", output_mode="multi_hot"),
    "tf_idf": lambda: looked_up(layers.TextVectorization, TEXTS, "string", output_mode="tf_idf"),
    "names": lambda: looked_up(
        layers.StringLookup, ["x", "y", "z"], "string", output_mode="one_hot"
    ),
    "numbers": lambda: looked_up(layers.IntegerLookup, [3, 5, 7], "int64", output_mode="one_hot"),
    "given words": lambda: looked_up(
        layers.IntegerLookup, [3, 5, 7], "int64", output_mode="one_hot", num_oov_indices=2
    ),
}


@pytest.mark.parametrize("make", PREPARED.values(), ids=PREPARED)
def test_what_was_adapted_stays_adapted(make, tmp_path):
    model, x = make()
    kill(model.get_layer("hidden"), [1], 0.5)
    for _, copy in edited(model):
        copy.save(tmp_path / "copy.keras")
        for one in (copy, keras.models.load_model(tmp_path / "copy.keras")):
            np.testing.assert_allclose(one(x), model(x), rtol=1e-5, atol=1e-5)


@keras.saving.register_keras_serializable("kerasreg_tests")
class Remembers(layers.Layer):
    """A layer with a state in no variable, which it saves by itself."""

    def __init__(self, **options):
        super().__init__(**options)
        self.factor = 1.0

    def call(self, x):
        return x * self.factor

    def save_own_variables(self, store):
        store["factor"] = np.array(self.factor)

    def load_own_variables(self, store):
        self.factor = float(np.array(store["factor"]))


def test_what_a_layer_saves_by_itself_stays():
    x = keras.Input((4,), name="x")
    layer = Remembers()
    model = dead(keras.Model(x, head(layer(x))))
    layer.factor = 3.0
    for what, copy in edited(model):
        np.testing.assert_allclose(copy(np.eye(4)), model(np.eye(4)), err_msg=what, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*includes a `lambda`")
def test_functions_without_a_name_are_shared():
    x = keras.Input((4,), name="x")
    h = layers.Lambda(lambda value, times=3.0: value * times)(x)
    start = layers.Dense(4, kernel_initializer=lambda shape, dtype=None: ops.ones(shape, dtype))
    h = layers.Activation(lambda value: ops.sin(value))(start(h))
    model = dead(keras.Model(x, head(h)))
    for what, copy in edited(model):
        np.testing.assert_allclose(copy(np.eye(4)), model(np.eye(4)), err_msg=what, atol=1e-5)
