"""Lanes of models with lookups, and of text: their tables are shared, or compared by contents."""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasreg import lanes
from kerasreg.lanes import Lanes, ModelStructure, _epochs, group_by_program

pytestmark = pytest.mark.shares_programs

layers = keras.layers
RANDOM = np.random.default_rng(0)
WORDS = np.array(["good", "bad", "fine", "awful", "film", "plot"])
TEXTS = np.array([" ".join(RANDOM.choice(WORDS, 4)) for _ in range(40)], object)
FIRST = np.array([text.split()[0] for text in TEXTS], object)
NUMBERS = RANDOM.integers(0, 6, (40, 1))
FLOATS = RANDOM.normal(size=(40, 2)).astype("float32")
Y = np.array([text.count("good") + text.count("fine") > 1 for text in TEXTS]).astype(int)


def adapted(layer, data):
    layer.adapt(data)
    return layer


def space():
    found = keras.utils.FeatureSpace(
        {"word": "string_categorical", "size": "float_normalized", "n": "integer_categorical"},
        output_mode="concat",
    )
    found.adapt(tf.data.Dataset.from_tensor_slices(FEATURES))
    return found


def text_vectorization(**arguments):
    return layers.TextVectorization(20, output_sequence_length=4, **arguments)


FEATURES = {"n": NUMBERS[:, 0], "size": FLOATS[:, 0], "word": tf.constant(FIRST)}
STRING, WHOLE, PAIR = ((), "string"), ((1,), "int64"), ((2,), "float32")
# What is given to `fit`, the shape and the dtype of the input, and the layer that all lanes share.
SHARED = {
    "text as tensors": (tf.constant(TEXTS), STRING, lambda: adapted(text_vectorization(), TEXTS)),
    "text as objects": (TEXTS, STRING, lambda: adapted(text_vectorization(), TEXTS)),
    "words": (FIRST, STRING, lambda: layers.StringLookup(vocabulary=list(WORDS))),
    "hashes": (tf.constant(FIRST[:, None]), ((1,), "string"), lambda: layers.Hashing(8)),
    "numbers": (NUMBERS, WHOLE, lambda: adapted(layers.IntegerLookup(), NUMBERS)),
    "bins": (FLOATS, PAIR, lambda: adapted(layers.Discretization(num_bins=4), FLOATS)),
}


def model_of(layer, shape, dtype, rate, size=20):
    inputs = keras.Input(shape, dtype=dtype)
    x = layers.Flatten()(layers.Embedding(size, 3)(layers.Reshape((-1,))(layer(inputs))))
    model = keras.Model(inputs, layers.Dense(1, "sigmoid")(x))
    model.compile(keras.optimizers.Adam(rate), "binary_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.short("text as tensors", "words", "bins")
@pytest.mark.parametrize("kind", SHARED)
def test_models_that_share_an_adapted_layer_are_lanes(kind, same_as_alone):
    x, (shape, dtype), make = SHARED[kind]
    layer = make()

    def build(number):
        return model_of(layer, shape, dtype, 0.01 * (number + 1))

    same_as_alone(build, x, Y, validation_split=0.25 if "text" in kind else 0.0)


def test_numbers_as_several_classes_and_normalized(same_as_alone):
    encoding, normalization = layers.CategoryEncoding(6, "multi_hot"), layers.Normalization()
    normalization.adapt(FLOATS)

    def build(number):
        inputs = {"n": keras.Input((1,), dtype="int64"), "size": keras.Input((2,))}
        x = layers.Concatenate()([encoding(inputs["n"]), normalization(inputs["size"])])
        model = keras.Model(inputs, layers.Dense(1, "sigmoid")(x))
        model.compile(keras.optimizers.Adam(0.01 * (number + 1)), "binary_crossentropy")
        return model

    same_as_alone(build, {"n": NUMBERS, "size": FLOATS}, Y)


def test_a_feature_space_with_text(same_as_alone):
    shared = space()

    def build(number):
        outputs = layers.Dense(1, "sigmoid")(shared.get_encoded_features())
        model = keras.Model(shared.get_inputs(), outputs)
        model.compile(keras.optimizers.Adam(0.01 * (number + 1)), "binary_crossentropy")
        return model

    same_as_alone(build, FEATURES, Y)


def test_lanes_with_rows_of_text_of_their_own():
    layer = SHARED["text as tensors"][2]()
    rows = [np.arange(30), np.arange(10, 40)]
    together = Lanes([model_of(layer, (), "string", 0.01) for _ in rows])
    initial = [together.unstack(lane).get_weights() for lane in range(2)]
    histories = together.fit(TEXTS, Y, epochs=1, batch_size=10, shuffle=False, rows=rows)
    for lane, of_lane in enumerate(rows):
        alone = model_of(layer, (), "string", 0.01)
        alone.set_weights(initial[lane])
        expected = alone.fit(
            TEXTS[of_lane], Y[of_lane], 10, shuffle=False, verbose=0, epochs=1
        ).history
        assert histories[lane].history["loss"] == pytest.approx(expected["loss"], rel=1e-4)


def test_text_is_not_compiled_and_what_else_xla_has_not_is_found(monkeypatch):
    monkeypatch.setattr(_epochs, "_STEPS_WORTH_COMPILING", 1)
    for kind in ("text as objects", "numbers"):
        x, (shape, dtype), make = SHARED[kind]
        layer = make()
        together = Lanes([model_of(layer, shape, dtype, rate) for rate in (0.01, 0.02)])
        together.precompile(x, Y, batch_size=10, epochs=2)
        histories = together.fit(x, Y, batch_size=10, epochs=2)
        assert all(np.isfinite(history.history["loss"]).all() for history in histories)
        assert together.predict(x).shape == (2, 40, 1)
    text = Lanes([model_of(SHARED["words"][2](), (), "string", 0.1)], jit_compile=True)
    with pytest.raises(ValueError, match="has text, which XLA cannot compile"):
        text.fit(FIRST, Y, batch_size=10)


def test_models_with_tables_of_equal_contents_share_a_program(same_as_alone):
    def given(words):
        layer = text_vectorization(vocabulary=list(words))
        return model_of(layer, (), "string", 0.01)

    def learned(texts):
        return model_of(adapted(text_vectorization(), texts), (), "string", 0.01)

    models = [given(WORDS), given(WORDS[::-1]), given(WORDS), learned(TEXTS), learned(TEXTS)]
    assert group_by_program([*models, learned(TEXTS[:3])]) == [[0, 2], [1], [3, 4], [5]]

    def build(number):
        layer = layers.StringLookup(vocabulary=list(WORDS))
        return model_of(layer, (), "string", 0.01 * (number + 1))

    same_as_alone(build, FIRST, Y)


class Holder(layers.Layer):
    """Holds an object that nobody can look into."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def call(self, x):
        return x


def mutable_table():
    return tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)


class Closed:
    """Does not show what it has."""

    @property
    def __dict__(self):
        raise RuntimeError("closed")


@pytest.mark.parametrize("make", [threading.Lock, mutable_table, Closed, lambda: iter([1])])
def test_what_cannot_be_looked_into_equals_itself_alone(make):
    value, other = make(), make()

    def build(value):
        model = keras.Sequential([keras.Input((2,)), Holder([value, 1.0]), layers.Dense(1)])
        model.compile("sgd", "mse")
        return model

    models = [build(value), build(other), build(value)]
    assert group_by_program(models) == [[0, 2], [1]]
    structure = ModelStructure(models[0], places=True)
    assert "model" in structure.difference(ModelStructure(models[1], places=True))
    # Nothing of the rest of the model is lost.
    assert {id(v) for v in models[0].variables} <= {id(v) for v in structure.variables}
    histories = lanes.Lanes([models[0], models[2]]).fit(np.ones((4, 2)), np.ones((4, 1)))
    assert all(np.isfinite(history.history["loss"]).all() for history in histories)
