"""Weights in fewer bits: what is stored, what is computed with it, and what the card says."""

import functools
import json
import os
import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasreg import models, serving
from kerasreg.layers import ScheduledDropout
from kerasreg.serving import _original
from kerasreg.serving._quantization import StoredWeights

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 6)).astype("float32")
Y = RANDOM.integers(0, 3, 60)


@functools.cache  # No test changes it.
def network():
    layers = [keras.layers.Dense(64, "relu"), ScheduledDropout(0.3), keras.layers.Dense(3)]
    model = keras.Sequential([keras.Input((6,)), *layers])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    model.fit(X, Y, epochs=3, verbose=0)
    return model


def card_of(path):
    return json.loads(pathlib.Path(path, "assets.extra", "model_card.json").read_text())


def rounded(kernel, mode, outputs):
    """What a kernel becomes, output by output. `outputs` are the axes that are not summed over."""
    if mode == "float16":
        return kernel.astype("float16").astype("float32")
    found = np.empty_like(kernel)
    for place in np.ndindex(*(kernel.shape[axis] for axis in outputs)):
        part = [slice(None)] * kernel.ndim
        for axis, index in zip(outputs, place, strict=True):
            part[axis] = index
        scale = np.abs(kernel[tuple(part)]).max() / 127
        whole = np.round(kernel[tuple(part)] / scale) if scale else 0 * kernel[tuple(part)]
        found[tuple(part)] = whole * scale
    return found


def with_rounded_weights(model, mode):
    """A copy of a model of dense layers that has the values that are stored."""
    copy = keras.models.clone_model(model)
    copy.compile("sgd", model.loss, metrics=["accuracy"])
    copy.set_weights([rounded(w, mode, (1,)) if w.ndim == 2 else w for w in model.get_weights()])
    return copy


@pytest.fixture(scope="module", params=["float16", "int8"])
def exported(request, tmp_path_factory):
    """The mode, and where the network was exported so."""
    folder, mode = tmp_path_factory.mktemp("exported"), request.param
    asked = {"quantization": mode, "validation_data": (X, Y)}
    return mode, serving.export(network(), folder, **asked, passes=8, tolerance=None)


def test_what_is_served_is_the_model_with_the_rounded_weights(exported, tmp_path):
    mode, path = exported
    other = with_rounded_weights(network(), mode)
    reference = serving.export(other, tmp_path, passes=8, tolerance=None)
    loaded = [tf.saved_model.load(each) for each in (path, reference)]
    # Of the passes with dropout too, of which the masks are made by the inputs.
    for signature in ("serve", "predict_mc"):
        found, expected = (each.signatures[signature](inputs=tf.constant(X)) for each in loaded)
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6)


def test_an_export_is_verified_with_what_it_was_given_and_leaves_the_model_as_it_was(tmp_path):
    model = network()
    before = model.get_weights()
    asked = {"quantization": "int8", "validation_data": (X, Y)}
    path = serving.export(model, tmp_path, **asked)
    assert card_of(path)["verification"]["relative_difference"] <= 1e-6
    for left, right in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)
    assert not serving.verify(path, model, X).passed


@pytest.mark.long
def test_verify_is_told_what_export_was_given(tmp_path):
    model = network()
    asked = {"quantization": "int8", "validation_data": (X, Y)}
    path = serving.export(model, tmp_path, **asked, tolerance=None)
    assert serving.verify(path, model, X, quantization="int8").passed


@pytest.mark.parametrize(("mode", "bits"), [("float16", 16), ("int8", 8)])
def test_the_file_holds_the_bits_that_were_asked_for(tmp_path, mode, bits):
    model = keras.Sequential([keras.Input((400,)), keras.layers.Dense(300)])
    data = (RANDOM.normal(size=(4, 400)), None)
    path = serving.export(model, tmp_path, quantization=mode, validation_data=data, tolerance=None)
    size = os.path.getsize(os.path.join(path, "variables", "variables.data-00000-of-00001"))
    kernel, rest = 400 * 300 * bits // 8, (300 + 300) * 4
    assert kernel <= size <= kernel + rest + 4096
    stored = card_of(path)["quantization"]
    assert stored["to"] == mode
    assert kernel <= stored["bytes"] <= kernel + rest


def test_the_card_has_the_metrics_that_keras_has(exported):
    mode, path = exported
    model = network()
    other = with_rounded_weights(model, mode)
    accuracy = card_of(path)["metrics_against_original"]["accuracy"]
    expected = [each.evaluate(X, Y, verbose=0)[1] for each in (model, other)]
    assert [accuracy["original"], accuracy["exported"]] == pytest.approx(expected)
    assert accuracy["difference"] == pytest.approx(expected[1] - expected[0])
    compared = card_of(path)["against_original"]
    scores = [each.predict(X, verbose=0) for each in (model, other)]
    assert compared["samples"] == 60
    assert compared["same_class"] == np.mean(scores[0].argmax(1) == scores[1].argmax(1))
    difference = np.abs(scores[0] - scores[1]).max() / np.abs(scores[0]).max()
    assert compared["relative_difference"] == pytest.approx(difference, rel=1e-3)
    assert "Metrics against original" in pathlib.Path(
        path, "assets.extra", "model_card.md"
    ).read_text(encoding="utf-8")


class TwoHeads(keras.Model):
    """A subclass that returns a dict, with targets by name."""

    def __init__(self):
        super().__init__()
        self.first, self.second = keras.layers.Dense(3), keras.layers.Dense(1)

    def call(self, x):
        return {"kind": self.first(x), "size": self.second(x)}


def test_metrics_of_several_outputs_and_more_samples_than_one_batch(tmp_path):
    model = TwoHeads()
    x = RANDOM.normal(size=(600, 6)).astype("float32")
    y = {"kind": np.arange(600) % 3, "size": x[:, :1]}
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    metrics = {"kind": ["accuracy"], "size": ["mae"]}
    model.compile("adam", {"kind": loss, "size": "mse"}, metrics=metrics)
    model.fit(x, y, epochs=1, verbose=0)
    path = serving.export(
        model, tmp_path, quantization="float16", validation_data=(x, y), tolerance=None
    )
    found = card_of(path)["metrics_against_original"]
    expected = model.evaluate(x, y, verbose=0, return_dict=True)
    for name in ("kind_accuracy", "size_mae"):
        assert found[name]["original"] == pytest.approx(expected[name], rel=1e-5)
    assert card_of(path)["against_original"]["same_class"] is None


IMAGE, SEQUENCE = (6, 6, 3), (5, 4)
# A layer, its input, and for each kernel the axes that are not summed over.
KERNELS = {
    "dense": (keras.layers.Dense(4), (5,), {"kernel": (1,)}),
    "convolution": (keras.layers.Conv2D(4, 3), IMAGE, {"kernel": (3,)}),
    "transposed": (keras.layers.Conv2DTranspose(4, 3), IMAGE, {"kernel": (2,)}),
    "depthwise": (keras.layers.DepthwiseConv2D(3, depth_multiplier=2), IMAGE, {"kernel": (2, 3)}),
    "einsum": (keras.layers.EinsumDense("abc,cde->abde", (5, 2, 3)), SEQUENCE, {"kernel": (1, 2)}),
    "recurrent": (
        keras.layers.LSTM(3),
        SEQUENCE,
        {"kernel": (1,), "recurrent_kernel": (1,)},
    ),
    "embedding": (keras.layers.Embedding(9, 4), (5,), {"embeddings": (0,)}),
}


@pytest.mark.parametrize("mode", ["float16", "int8"])
@pytest.mark.parametrize("name", KERNELS)
def test_each_output_of_every_kind_of_layer_has_its_own_scale(name, mode):
    layer, shape, outputs = KERNELS[name]
    layer = type(layer).from_config(layer.get_config())
    model = keras.Sequential([keras.Input(shape), layer])
    for weight in model.weights:
        # Outputs of very different size, which one scale for all would lose.
        sizes = 10.0 ** RANDOM.uniform(-3, 3, weight.shape[-1])
        weight.assign(RANDOM.normal(size=weight.shape) * (sizes if len(weight.shape) > 1 else 1))
    with StoredWeights(model, mode).read():
        found = {weight.path: np.array(weight.value) for weight in model.weights}
    narrowed = 0
    for weight in model.weights:
        expected = weight.numpy()
        if len(weight.shape) > 1:
            expected = rounded(expected, mode, outputs[weight.name])
            narrowed += 1
        np.testing.assert_allclose(found[weight.path], expected, rtol=1e-6, err_msg=weight.path)
    assert narrowed == len(outputs)


@given(st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=6, max_size=6))
@settings(deadline=None, max_examples=50)
def test_a_weight_moves_by_at_most_half_a_step_and_zeros_stay(values):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, use_bias=False)])
    kernel = np.array(values, "float32").reshape(3, 2)
    model.set_weights([kernel])
    with StoredWeights(model, "int8").read():
        found = np.array(model.weights[0].value, "float64")
    step = np.abs(kernel.astype("float64")).max(0) / 127
    # Below the smallest normal number float32 has no more than a few digits of the step.
    assert (np.abs(found - kernel) <= step / 2 * (1 + 1e-4) + 1e-37).all()
    assert (found[kernel == 0] == 0).all()


def test_a_frozen_part_of_a_model_and_a_shared_layer_are_stored_once_in_fewer_bits():
    inside = keras.Sequential([keras.Input((6,)), keras.layers.Dense(6)])
    inside.trainable = False
    inputs = keras.Input((6,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inside(inside(inputs))))
    stored = StoredWeights(model, "int8").stored
    assert [tuple(each.shape) for each in stored] in ([(6, 6), (6, 2)], [(6, 2), (6, 6)])


def test_a_model_with_a_table_of_strings_in_it(tmp_path):
    inputs = keras.Input((), dtype="string", name="word")
    numbers = keras.layers.StringLookup(vocabulary=["red", "green"])(inputs)
    outputs = keras.layers.Dense(3)(keras.layers.Embedding(3, 16)(numbers))
    model = keras.Model(inputs, outputs)
    words = np.array(["green", "red", "blue"])
    path = serving.export(
        model, tmp_path, quantization="int8", validation_data=(words, None), samples=words
    )
    assert card_of(path)["verification"]["samples"] == 3
    assert card_of(path)["verification"]["relative_difference"] <= 1e-6


def test_mixed_precision_computes_as_before(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        layers = [keras.layers.Dense(8, "relu"), keras.layers.Dense(2, dtype="float32")]
        model = keras.Sequential([keras.Input((6,)), *layers])
    finally:
        keras.config.set_dtype_policy("float32")
    path = serving.export(model, tmp_path, quantization="int8", validation_data=(X, None))
    found = card_of(path)
    assert found["verification"]["relative_difference"] <= 1e-6
    assert 0 < found["against_original"]["relative_difference"] < 0.05


def test_a_model_that_keras_quantized_is_exported_and_compared(tmp_path):
    model = network()
    small = keras.models.clone_model(model)
    small.set_weights(model.get_weights())
    small.quantize("int8")
    path = serving.export(small, tmp_path, original=model, validation_data=(X, Y), tolerance=None)
    assert 0 < card_of(path)["against_original"]["relative_difference"] < 0.05
    assert "quantization" not in card_of(path)


def test_a_compressed_and_quantized_model_is_compared_with_the_one_before(tmp_path):
    model = with_rounded_weights(network(), "float16")
    kernel, *rest = model.get_weights()
    kernel[:, ::2] = 0.0
    rest[0][::2] = 0.0
    model.set_weights([kernel, *rest])
    small = models.compress(model).model
    asked = {"original": model, "validation_data": (X, Y), "tolerance": None}
    path = serving.export(small, tmp_path, **asked)
    assert card_of(path)["against_original"]["relative_difference"] < 1e-5
    both = serving.export(small, tmp_path, **asked, quantization="int8")
    assert 1e-5 < card_of(both)["against_original"]["relative_difference"] < 0.05
    assert card_of(both)["metrics_against_original"]["accuracy"]["original"] == pytest.approx(
        model.evaluate(X, Y, verbose=0)[1]
    )


def test_what_differs_too_much_from_the_original_is_not_published(tmp_path):
    model = network()
    asked = {"quantization": "int8", "validation_data": (X, Y), "tolerance": None}
    with pytest.raises(RuntimeError, match="from the original by"):
        serving.export(model, tmp_path, **asked, original_tolerance=1e-6)
    assert os.listdir(tmp_path) == []
    assert serving.export(model, tmp_path, **asked, original_tolerance=0.1).endswith("1")


def of_values(*values):
    model = keras.Sequential([keras.Input((len(values),)), keras.layers.Dense(1)])
    model.layers[0].kernel.assign(np.reshape(values, (-1, 1)))
    return model


@pytest.mark.parametrize(
    ("model", "asked", "message"),
    [
        (of_values(1, 2), {"quantization": "int4"}, "`quantization` must be one of"),
        (of_values(1, 2), {"validation_data": np.ones((3, 2))}, "`validation_data` must be (x, y)"),
        (
            of_values(1, 2),
            {"quantization": "int8", "validation_data": None},
            "`validation_data` must be (x, y)",
        ),
        (
            of_values(1, 2),
            {"original": of_values(1, 2), "validation_data": None},
            "`validation_data` must be (x, y)",
        ),
        (of_values(1, np.nan), {"quantization": "int8"}, "`quantization` must be None for weig"),
        (of_values(1, np.inf), {"quantization": "float16"}, "`quantization` must be None for w"),
        (of_values(1, 1e5), {"quantization": "float16"}, "exceed 6.55e+04"),
        (
            keras.Sequential([keras.Input((2,)), keras.layers.ReLU()]),
            {"quantization": "int8"},
            "without floating weights",
        ),
        (
            of_values(1, 2),
            {"validation_data": (np.ones((3, 2)), np.ones(4))},
            "a target for each of its 3",
        ),
        (
            of_values(1, 2),
            {"validation_data": (np.ones((3, 5)), None)},
            "`validation_data` must have the shape",
        ),
        (
            of_values(1, 2),
            {"original": of_values(1, 2, 3), "validation_data": (np.ones((3, 2)), None)},
            "`original` must have the inputs",
        ),
        (of_values(1, 2), {"original_tolerance": 0}, "`original_tolerance` must be"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(tmp_path, model, asked, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        serving.export(model, tmp_path, **{"validation_data": (np.ones((3, 2)), None), **asked})
    assert os.listdir(tmp_path) == []


# Text and tables of strings.

CITY, NUMBER = keras.Input((1,), dtype="string"), keras.Input((1,), dtype="int64")
TEXTS = np.array(["a b", "b", "zürich b a"])


def of_text(*layers):
    return keras.Sequential([keras.Input((), dtype="string"), *layers])


class TableAndKernel(keras.layers.Layer):
    """A layer that has both a table and a weight."""

    def __init__(self):
        super().__init__()
        self.lookup = keras.layers.StringLookup(vocabulary=["a b", "b"])

    def build(self, shape):
        self.kernel = self.add_weight(shape=(3, 4), name="kernel")

    def call(self, inputs):
        return keras.ops.take(self.kernel, self.lookup(inputs), axis=0)


def text_vectors():
    layer = keras.layers.TextVectorization(vocabulary=["a", "b"], output_sequence_length=4)
    return of_text(
        layer, keras.layers.Embedding(5, 3), keras.layers.Flatten(), keras.layers.Dense(1)
    )


def text_weights():
    options = {"vocabulary": ["a", "b"], "idf_weights": [0.5, 0.25], "output_mode": "tf_idf"}
    return of_text(keras.layers.TextVectorization(**options), keras.layers.Dense(2))


def lookups():
    parts = [
        keras.layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")(CITY),
        keras.layers.IntegerLookup(vocabulary=[3, 5], output_mode="one_hot")(NUMBER),
        keras.layers.Hashing(4, output_mode="one_hot")(CITY),
    ]
    dense = keras.layers.Dense(2)(keras.layers.Concatenate()(parts))
    return keras.Model({"city": CITY, "number": NUMBER}, dense)


def names_of_classes():
    options = {"vocabulary": ["x", "y"], "num_oov_indices": 0, "invert": True}
    inputs = keras.Input((4,))
    dense = keras.layers.Dense(2)(inputs)
    best = keras.layers.StringLookup(**options)(keras.ops.argmax(dense, -1))
    return keras.Model(inputs, [best, dense])


ROWS = {"city": np.array([["a"], ["zürich"]]), "number": np.array([[3], [4]])}
OF_TEXT = {
    "text": (text_vectors, TEXTS),
    "a table beside a kernel": (lambda: of_text(TableAndKernel()), TEXTS),
    "strings out": (names_of_classes, np.random.default_rng(1).normal(size=(6, 4))),
    "weights of words": (text_weights, TEXTS),
    "lookups": (lookups, ROWS),
}


@pytest.mark.parametrize(
    ("make", "x", "mode"),
    [
        pytest.param(*case, mode, id=f"{name} {mode}", marks=pytest.mark.long if place > 2 else [])
        for place, (name, case) in enumerate(OF_TEXT.items())
        for mode in ("int8", "float16")
        if mode == "int8" or place > 2
    ],
)
def test_models_of_text_are_stored_in_fewer_bits(make, x, mode, tmp_path):
    model = make()
    path = serving.export(model, tmp_path, samples=x, quantization=mode, validation_data=(x, None))
    card = card_of(path)
    assert card["verification"]["relative_difference"] <= 1e-6
    assert 0 < card["against_original"]["relative_difference"] < 0.05
    # The weights are not there beside what is stored of them.
    size = os.path.getsize(os.path.join(path, "variables", "variables.data-00000-of-00001"))
    assert size <= card["quantization"]["bytes"] + 2048


def test_a_model_of_text_is_compared_with_its_original(tmp_path):
    original = text_vectors()
    model = keras.models.clone_model(original)
    model.set_weights(original.get_weights())
    data = (TEXTS, np.zeros((3, 1)))
    path = serving.export(
        model, tmp_path, original=original, validation_data=data, original_tolerance=1e-6
    )
    assert card_of(path)["against_original"]["relative_difference"] == 0.0


def test_strings_are_compared_as_classes():
    found = {"label": np.array([b"a", b"b"], object), "score": np.array([[1.0, 0], [0, 1]])}
    other = {**found, "label": np.array([b"a", b"a"], object)}
    assert _original._same_class(found, other) == 0.5
    assert _original._same_class(found, found) == 1.0


def test_a_state_is_not_stored_in_fewer_bits(tmp_path):
    layers = [keras.Input((3, 2), batch_size=1), keras.layers.LSTM(2, stateful=True)]
    with pytest.raises(ValueError, match="`quantization` must be None for a model with a state"):
        serving.export(
            keras.Sequential(layers),
            tmp_path,
            quantization="int8",
            validation_data=(np.ones((1, 3, 2)), None),
        )
