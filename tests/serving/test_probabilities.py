"""Scores are probabilities: those of the model, or the softmax of its logits, or refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from kerasreg import serving
from kerasreg.layers import ScheduledDropout
from kerasreg.serving._probabilities import scores_of

X = np.random.default_rng(0).normal(size=(9, 4)).astype("float32") * 3
INPUT = keras.Input((4,))
LOGITS = keras.losses.CategoricalCrossentropy(from_logits=True)


def dense(units, activation=None, **options):
    return layers.Dense(units, activation, **options)(INPUT)


def two_outputs(index):
    inner = keras.Input((4,))
    first, second = layers.Dense(3)(inner), layers.Dense(3, "softmax")(inner)
    return keras.Model(inner, [first, second])(INPUT)[index]


def exponents():
    powers = ops.exp(dense(3))
    return powers / ops.sum(powers, axis=-1, keepdims=True)


def both():
    second = ops.sigmoid(dense(1))
    return ops.concatenate([1 - second, second], axis=1)


PROBABILITIES = {
    "a sigmoid": lambda: dense(1, "sigmoid"),
    "a softmax": lambda: dense(3, "softmax"),
    "a hard sigmoid": lambda: dense(1, "hard_sigmoid"),
    "several sigmoids": lambda: dense(3, "sigmoid"),
    "a layer of activation": lambda: layers.Activation("softmax")(dense(3)),
    "a layer as activation": lambda: dense(3, layers.Softmax()),
    "a layer of softmax": lambda: layers.Softmax()(dense(3)),
    "ops.sigmoid": lambda: ops.sigmoid(dense(1)),
    "ops.softmax": lambda: ops.softmax(dense(3) / 2.0),
    "a function of activations": lambda: keras.activations.sigmoid(dense(1)),
    "a head": lambda: keras.Sequential([layers.Dense(3), layers.Dense(1, "sigmoid")])(INPUT),
    "a head in a head": lambda: keras.Sequential(
        [layers.Dense(4), keras.Sequential([layers.Dense(3), layers.Softmax()])]
    )(INPUT),
    "the second output of a head": lambda: two_outputs(1),
    "another shape": lambda: layers.Reshape((1,))(ops.expand_dims(dense(1, "sigmoid"), 1)),
    "another type": lambda: ops.cast(dense(3, "softmax"), "float16"),
    "no activation after all": lambda: layers.Activation("linear", dtype="float32")(
        dense(1, "sigmoid", dtype="mixed_float16")
    ),
    "dropout": lambda: layers.Dropout(0.5)(dense(1, "sigmoid")),
    "dropout of kerasreg": lambda: ScheduledDropout(0.5)(dense(1, "sigmoid")),
    "an average": lambda: layers.Average()([dense(3, "softmax"), dense(3, "softmax")]),
    "an average of places": lambda: layers.GlobalAveragePooling1D()(
        layers.Conv1D(3, 1, activation="softmax")(ops.expand_dims(INPUT, -1))
    ),
    "one of several": lambda: ops.expand_dims(ops.softmax(dense(2))[:, 1], -1),
    "a column": lambda: dense(3, "sigmoid")[:, 1:2],
    # These sum to 1, whatever they are made of.
    "exponents": exponents,
    "a probability and the rest": both,
    "a function of one's own": lambda: layers.Lambda(tf.nn.softmax)(dense(3)),
}
OTHERS = {
    "a logit": lambda: dense(1),
    "a rating": lambda: dense(1, "sigmoid") * 4 + 1,
    "half of a sigmoid": lambda: dense(1, "sigmoid") * 0.5,
    "scaled by a layer": lambda: layers.Rescaling(2.0)(dense(1, "sigmoid")),
    "several scaled": lambda: dense(3, "sigmoid") * 2.0,
    "tanh": lambda: dense(1, "tanh"),
    "relu": lambda: dense(3, "relu"),
    "logarithms": lambda: ops.log_softmax(dense(3)),
    "over the batch": lambda: ops.softmax(dense(3), axis=0),
    "an average with a logit": lambda: layers.Average()([dense(1, "sigmoid"), dense(1)]),
    "of other axes": lambda: ops.reshape(
        layers.Dense(2, "softmax")(ops.reshape(INPUT, (-1, 2, 2))), (-1, 4)
    ),
}


def found(model, classes=None):
    values = {"outputs": np.array(model(X))}
    return scores_of(model, classes or values["outputs"].shape[1], values)


@pytest.mark.parametrize("output", PROBABILITIES.values(), ids=PROBABILITIES)
def test_probabilities_are_known_wherever_they_are_made(output):
    assert found(keras.Model(INPUT, output())) == "probabilities"


@pytest.mark.parametrize("output", OTHERS.values(), ids=OTHERS)
def test_what_is_no_probability_is_none(output):
    assert found(keras.Model(INPUT, output())) is None


@pytest.mark.parametrize(
    ("loss", "scores"),
    [
        (None, "logits"),
        (LOGITS, "logits"),
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), "logits"),
        ("categorical_crossentropy", None),
        ("mse", None),
    ],
)
def test_outputs_without_activation_are_logits_unless_the_loss_says_otherwise(loss, scores):
    for output in (dense(3), two_outputs(0)):
        model = keras.Model(INPUT, output)
        if loss is not None:
            model.compile(loss=loss)
        assert found(model) == scores


class Own(keras.Model):
    def __init__(self, units, activation):
        super().__init__()
        self.dense = layers.Dense(units, activation)

    def call(self, inputs):
        return self.dense(inputs)


@pytest.mark.parametrize(
    ("units", "activation", "loss", "scores"),
    [
        (3, "softmax", None, "probabilities"),
        (1, "sigmoid", "binary_crossentropy", "probabilities"),
        (3, None, LOGITS, "logits"),
        (1, "sigmoid", None, None),
        (1, None, "binary_crossentropy", None),
        (3, None, None, None),
    ],
)
def test_a_model_of_a_class_of_its_own_is_told_by_its_values_and_loss(
    units, activation, loss, scores
):
    model = Own(units, activation)
    model(X)
    if loss is not None:
        model.compile(loss=loss)
    assert found(model) == scores


@pytest.mark.parametrize(
    ("output", "expected", "error"),
    [
        (lambda: ops.sigmoid(dense(1)), lambda y: np.concatenate([1 - y, y], 1), 1e-6),
        (lambda: dense(3), lambda y: np.exp(y) / np.exp(y).sum(1, keepdims=True), 1e-6),
        (lambda: dense(3, "softmax", dtype="mixed_float16"), lambda y: y, 1e-3),
    ],
)
def test_the_signature_answers_with_probabilities(output, expected, error, tmp_path):
    model = keras.Model(INPUT, output())
    labels = ["a", "b", "c"][: max(2, model.output_shape[1])]
    loaded = tf.saved_model.load(serving.export(model, tmp_path, labels=labels, tolerance=None))
    answer = loaded.signatures["classify"](tf.constant(X))
    scores = expected(np.array(model(X), "float32"))
    assert answer["scores"].dtype == tf.float32  # JSON has no numbers of half precision.
    np.testing.assert_allclose(answer["scores"], scores, atol=error)
    assert answer["label"].numpy().tolist() == [labels[i].encode() for i in scores.argmax(1)]


def test_what_is_neither_is_refused(tmp_path):
    for output, message in (
        (OTHERS["a rating"], "a single output that is no probability: end it with a sigmoid"),
        (OTHERS["relu"], "neither probabilities nor the logits of classes"),
    ):
        model = keras.Model(INPUT, output())
        labels = ["a", "b", "c"][: max(2, model.output_shape[1])]
        with pytest.raises(ValueError, match=f"`labels` must be None for a model .*{message}"):
            serving.export(model, tmp_path, labels=labels)
    assert list(tmp_path.iterdir()) == []
