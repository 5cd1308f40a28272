"""What an exported model answers: names, labels, messages, dropout; beside Keras."""

import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasreg import serving
from kerasreg.layers import ScheduledDropout
from kerasreg.schedules import Linear

LABELS = ["setosa", "versicolor", "virginica"]


def two_inputs():
    """A classifier of a dict of inputs of two types, with dropout."""
    keras.utils.set_random_seed(3)
    inputs = {"width": keras.Input((3,)), "count": keras.Input((2,), dtype="int32")}
    parts = [inputs["width"], keras.ops.cast(inputs["count"], "float32")]
    hidden = keras.layers.Dense(16, "relu")(keras.layers.Concatenate()(parts))
    hidden = ScheduledDropout(Linear(0.5, 0.25, 10), seed=1)(hidden)
    return keras.Model(inputs, keras.layers.Dense(3, "softmax")(hidden), name="flowers")


def features(count, seed=0):
    random = np.random.default_rng(seed)
    width = random.normal(size=(count, 3)).astype("float32")
    return {"width": width, "count": random.integers(0, 5, (count, 2)).astype("int32")}


def tensors(values):
    return {name: tf.constant(value) for name, value in values.items()}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    model = two_inputs()
    path = serving.export(
        model, tmp_path_factory.mktemp("flowers"), labels=LABELS, passes=8, samples=features(9)
    )
    return model, path, tf.saved_model.load(path).signatures


def test_inputs_and_outputs_have_their_names(exported):
    _, _, signatures = exported
    names = {"serve", "serving_default", "serve_examples", "classify", "predict_mc"}
    assert set(signatures) == names
    for name in names - {"serve_examples"}:
        assert set(signatures[name].structured_input_signature[1]) == {"width", "count"}
    assert set(signatures["serve"].structured_outputs) == {"outputs"}
    assert set(signatures["classify"].structured_outputs) == {"label", "classes", "scores"}
    found = set(signatures["predict_mc"].structured_outputs)
    assert found == {"outputs_mean", "outputs_variance"}


@pytest.mark.parametrize("count", [0, 1, 7, 1000])
@pytest.mark.parametrize("name", ["serve", "serving_default"])
def test_a_batch_of_any_size_has_the_outputs_of_keras(exported, name, count):
    model, _, signatures = exported
    found = signatures[name](**tensors(features(count)))["outputs"].numpy()
    assert found.shape == (count, 3)
    expected = np.array(model(features(count)))
    assert serving.relative_difference(found, expected) <= 1e-6


@pytest.mark.parametrize("count", [0, 1, 7])
def test_examples_are_parsed(exported, as_example, count):
    model, _, signatures = exported
    given = features(count)
    rows = [as_example(**{name: given[name][i] for name in given}) for i in range(count)]
    found = signatures["serve_examples"](examples=tf.constant(rows, tf.string))["outputs"].numpy()
    assert serving.relative_difference(found, np.array(model(given))) <= 1e-6


def test_an_axis_of_unknown_length_is_padded_in_examples(as_example, tmp_path):
    inputs = keras.Input((None, 2), name="series")
    model = keras.Model(inputs, keras.layers.GlobalMaxPooling1D()(inputs))
    path = serving.export(model, tmp_path, tolerance=None)
    series = [[-1.0, 5.0, -3.0, 2.0], [-7.0, 8.0]]
    rows = [as_example(series=values) for values in series]
    signature = tf.saved_model.load(path).signatures["serve_examples"]
    found = signature(examples=tf.constant(rows))["outputs"].numpy()
    np.testing.assert_array_equal(found, [[-1.0, 5.0], [0.0, 8.0]])


def test_inputs_of_other_unknown_axes_have_no_examples(tmp_path):
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, keras.layers.GlobalMaxPooling2D()(inputs))
    path = serving.export(model, tmp_path)
    assert set(tf.saved_model.load(path).signatures) == {"serve", "serving_default"}


def test_labels_are_those_of_the_largest_score_and_an_asset(exported):
    model, path, signatures = exported
    given = features(50)
    found = signatures["classify"](**tensors(given))
    scores = np.array(model(given))
    assert serving.relative_difference(found["scores"].numpy(), scores) <= 1e-6
    labels = [label.decode() for label in found["label"].numpy()]
    assert labels == [LABELS[index] for index in scores.argmax(axis=1)]
    assert len(set(labels)) > 1
    assert found["classes"].numpy().tolist() == [[label.encode() for label in LABELS]] * 50
    with open(f"{path}/assets/labels.txt", encoding="utf-8") as file:
        assert file.read().splitlines() == LABELS


def test_a_sigmoid_has_two_labels(tmp_path):
    layer = keras.layers.Dense(1, "sigmoid", kernel_initializer="ones")
    path = serving.export(
        keras.Sequential([keras.Input((1,)), layer]), tmp_path, labels=["é", "b"], tolerance=None
    )
    found = tf.saved_model.load(path).signatures["classify"](inputs=tf.constant([[-1.0], [2.0]]))
    assert [label.decode() for label in found["label"].numpy()] == ["é", "b"]
    second = 1 / (1 + np.exp([1.0, -2.0]))
    np.testing.assert_allclose(found["scores"], np.stack([1 - second, second], 1), rtol=1e-6)


# With dropout on.


def test_an_example_has_the_same_answer_again_and_in_any_batch(exported):
    _, _, signatures = exported
    given = features(20)
    whole = signatures["predict_mc"](**tensors(given))
    order = np.random.default_rng(0).permutation(20)[:7]
    part = signatures["predict_mc"](**tensors({n: v[order] for n, v in given.items()}))
    for name in whole:
        np.testing.assert_allclose(part[name], whole[name].numpy()[order], rtol=1e-5, atol=1e-7)


def linear(rate, weights):
    dense = keras.layers.Dense(1, use_bias=False)
    model = keras.Sequential([keras.Input((len(weights),)), ScheduledDropout(rate, seed=5), dense])
    model.set_weights([*model.get_weights()[:-1], np.array(weights)[:, None]])
    return model


def test_mean_and_variance_are_those_of_dropout(tmp_path):
    rate, weights, passes = 0.25, np.array([1.0, -2.0, 0.5]), 4000
    path = serving.export(linear(rate, weights), tmp_path, passes=passes, tolerance=None)
    x = np.random.default_rng(1).normal(size=(30, 3)).astype("float32")
    found = tf.saved_model.load(path).signatures["predict_mc"](inputs=tf.constant(x))
    variance = rate / (1 - rate) * np.sum((x * weights) ** 2, axis=1)
    error = (found["outputs_mean"].numpy()[:, 0] - x @ weights) / np.sqrt(variance / passes)
    assert np.all(np.abs(error) < 4.5)
    assert 0.5 < np.mean(error**2) < 1.7
    np.testing.assert_allclose(found["outputs_variance"].numpy()[:, 0], variance, rtol=0.12)


def test_other_examples_have_other_masks(tmp_path):
    path = serving.export(linear(0.5, np.ones(32)), tmp_path, passes=1, tolerance=None)
    # Each differs from the one before in the last bit of one number.
    x = np.ones((16, 32), "float32")
    for row in range(1, 16):
        x[row, row] = np.nextafter(np.float32(1), np.float32(2))
    found = tf.saved_model.load(path).signatures["predict_mc"](inputs=tf.constant(x))
    assert len(set(np.round(found["outputs_mean"].numpy()[:, 0]))) > 4


# Other models.


def test_preprocessing_is_inside(tmp_path):
    raw = {"city": keras.Input((1,), dtype="string"), "size": keras.Input((1,))}
    city = keras.layers.StringLookup(vocabulary=["Bern", "Rom"], output_mode="one_hot")
    scale = keras.layers.Normalization(mean=3.0, variance=4.0)
    joined = keras.layers.Concatenate()([city(raw["city"]), scale(raw["size"])])
    preprocessing = keras.Model(raw, joined)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    samples = {
        "city": np.array([["Rom"], ["Bern"], ["?"]], object),
        "size": np.array([[1.0], [2.0], [3.0]], "float32"),
    }
    path = serving.export(model, tmp_path, preprocessing=preprocessing, samples=samples)
    one_hot = [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    prepared = np.concatenate([one_hot, (samples["size"] - 3.0) / 2.0], axis=1)
    found = tf.saved_model.load(path).signatures["serve"](
        city=tf.constant(samples["city"]), size=tf.constant(samples["size"])
    )
    np.testing.assert_allclose(found["outputs"], np.array(model(prepared)), rtol=1e-5)
    assert serving.verify(path, model, samples, preprocessing=preprocessing).passed


def test_outputs_of_a_dict_or_with_names_given(tmp_path):
    inputs = keras.Input((2,), name="x")
    parts = {"price": keras.layers.Dense(1)(inputs), "area": keras.layers.Dense(3)(inputs)}
    model = keras.Model(inputs, parts)
    for given, names in ((None, ["area", "price"]), (["A", "P"], ["A", "P"])):
        path = serving.export(model, tmp_path, outputs=given, tolerance=None)
        found = tf.saved_model.load(path).signatures["serve"](x=tf.ones((4, 2)))
        expected = model(np.ones((4, 2)))
        np.testing.assert_allclose(found[names[0]], np.array(expected["area"]), rtol=1e-6)
        np.testing.assert_allclose(found[names[1]], np.array(expected["price"]), rtol=1e-6)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(2)

    def call(self, inputs):
        return self.dense(inputs), keras.ops.sum(inputs, axis=1)


def test_a_subclassed_model_that_was_called(tmp_path):
    model = Subclassed()
    model(np.ones((1, 3)))
    path = serving.export(model, tmp_path)
    signature = tf.saved_model.load(path).signatures["serve"]
    ((name, _),) = signature.structured_input_signature[1].items()
    found = signature(**{name: tf.ones((5, 3))})
    np.testing.assert_allclose(found["outputs_0"], np.array(model(np.ones((5, 3)))[0]), rtol=1e-6)
    np.testing.assert_allclose(found["outputs_1"], np.full(5, 3.0))


def test_two_processes_give_inputs_without_a_name_the_same(tmp_path):
    names = []
    for _ in range(2):
        a, b = keras.Input((2,)), keras.Input((2,))
        model = keras.Model([a, b], keras.layers.Add()([a, b]))
        path = serving.export(model, tmp_path, tolerance=None)
        signature = tf.saved_model.load(path).signatures["serve"]
        names.append(sorted(signature.structured_input_signature[1]))
    assert names == [["inputs_0", "inputs_1"]] * 2


@pytest.mark.parametrize("endpoint", ["serve", "serving_default"])
def test_keras_can_load_it_as_a_layer(exported, endpoint):
    model, path, _ = exported
    layer = keras.layers.TFSMLayer(path, call_endpoint=endpoint)
    if endpoint == "serve":
        found = layer(tensors(features(4)))
    else:
        found = layer.call_endpoint_fn(**tensors(features(4)))
    expected = np.array(model(features(4)))
    np.testing.assert_allclose(found["outputs"], expected, rtol=1e-5)


# Models for one size of batch, and with a state.


def of_eight():
    inputs = keras.Input((4,), batch_size=8, name="x")
    return keras.Model(inputs, keras.layers.Dense(2, "softmax")(keras.ops.reshape(inputs, (8, 4))))


def test_a_model_that_takes_one_size_of_batch_is_exported_for_it(tmp_path, as_example):
    x = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
    model = of_eight()
    path = serving.export(model, tmp_path, samples=x, labels=["a", "b"])
    assert serving.read_card(path)["verification"]["samples"] == 8
    signatures = tf.saved_model.load(path).signatures
    for name in ("serve", "classify"):
        (spec,) = signatures[name].structured_input_signature[1].values()
        assert spec.shape == (8, 4)
    expected = np.array(model(x[:8]))
    found = signatures["classify"](x=tf.constant(x[:8]))["scores"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    rows = tf.constant([as_example(x=row) for row in x[:8]])
    found = signatures["serve_examples"](examples=rows)["outputs"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    with pytest.raises(ValueError, match=r"a batch of the model, 8 samples\. Received: 5"):
        serving.verify(path, model, x[:5])


def test_a_model_that_was_built_for_a_batch_and_takes_others_is_exported_for_any(tmp_path):
    model = keras.Sequential([keras.Input((3,), batch_size=4), keras.layers.Dense(1)])
    path = serving.export(model, tmp_path, tolerance=None)
    signature = tf.saved_model.load(path).signatures["serve"]
    (spec,) = signature.structured_input_signature[1].values()
    assert spec.shape.as_list() == [None, 3]
    assert signature(inputs=tf.ones((9, 3)))["outputs"].shape == (9, 1)


@pytest.mark.parametrize("wrap", [lambda layer: layer, keras.layers.Bidirectional])
def test_a_state_is_kept_from_call_to_call_and_is_that_of_the_model(wrap, tmp_path):
    layer = wrap(keras.layers.LSTM(4, stateful=True))
    model = keras.Sequential(
        [keras.Input((3, 2), batch_size=2), layer, keras.layers.Dense(1)], name="memory"
    )
    x = np.random.default_rng(0).normal(size=(2, 3, 2)).astype("float32")
    model(x)  # The state is no longer zero.
    path = serving.export(model, tmp_path, samples=x)
    assert serving.read_card(path)["verification"]["relative_difference"] <= 1e-6
    served = tf.saved_model.load(path)
    # The export has left the state as it was: both go on from there.
    for _ in range(3):
        (found,) = served.signatures["serve"](tf.constant(x)).values()
        np.testing.assert_allclose(found, model(x), atol=1e-6)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(found, model(x), atol=1e-6)
    assert not os.path.exists(f"{path}/assets.extra/tf_serving_warmup_requests")


def test_a_counter_of_ones_own_is_left_as_it_was(tmp_path):
    class Counting(keras.layers.Layer):
        def build(self, shape):
            self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

        def call(self, inputs):
            self.count.assign_add(1.0)
            return inputs + self.count

    model = keras.Sequential([keras.Input((2,)), Counting()])
    before = float(model.layers[-1].count)
    path = serving.export(model, tmp_path)
    assert float(model.layers[-1].count) == before
    (found,) = tf.saved_model.load(path).signatures["serve"](tf.zeros((1, 2))).values()
    np.testing.assert_array_equal(found, [[before + 1] * 2])


# What is refused, and then nothing is published.


class Fixed(keras.layers.Layer):
    def call(self, inputs):
        return keras.ops.reshape(inputs, (3, 2))


class Best(keras.layers.Layer):
    def call(self, inputs):
        return keras.ops.argmax(inputs, -1)


DROPPED = ScheduledDropout(0.5, seed=1)
SOFTMAX = [keras.Input((2,)), keras.layers.Dense(3, "softmax")]
REFUSED = {
    "too few labels": (SOFTMAX, {"labels": ["a", "b"]}, "`labels` must be 3 different strings"),
    "labels twice": (SOFTMAX, {"labels": ["a", "b", "a"]}, "`labels` must be 3 different"),
    "a label of two lines": (SOFTMAX, {"labels": ["a", "b\nc", "d"]}, "`labels` must be 3"),
    "one string": (SOFTMAX, {"labels": "abc"}, "`labels` must be 3"),
    "no probability": (
        [keras.Input((2,)), keras.layers.Dense(1)],
        {"labels": ["a", "b"]},
        "`labels` must be None for a model with a single output that is no probability",
    ),
    "an image": (
        [keras.Input((4, 4, 1)), keras.layers.Conv2D(2, 2)],
        {"labels": ["a", "b"]},
        "`labels` must be None for a model whose output is not of shape",
    ),
    "passes of a batch": (
        [keras.Input((2,), batch_size=3), keras.layers.Reshape((2, 1)), Fixed(), DROPPED],
        {"passes": 2},
        "`passes` must be 0 for a model that takes batches of one size only",
    ),
    "passes of whole numbers": (
        [keras.Input((2,)), DROPPED, Best()],
        {"passes": 2},
        "`passes` must be 0 for a model without outputs of floating numbers",
    ),
    "no dropout": (SOFTMAX, {"passes": 4}, "`passes` must be 0 for a model without"),
    "passes": (SOFTMAX, {"passes": -1}, "`passes`"),
    "names": (SOFTMAX, {"outputs": ["a", "b"]}, "`outputs` must be 1 different names"),
    "no name": (SOFTMAX, {"outputs": [""]}, "`outputs` must be 1 different names"),
    "tolerance": (SOFTMAX, {"tolerance": 0.0}, "`tolerance`"),
    "a card": (SOFTMAX, {"card": {"metrics": float("nan")}}, "`card` must be a dict of what JSON"),
    "no samples": (SOFTMAX, {"samples": np.ones((0, 2))}, "`samples` must hold at least one"),
}


@pytest.mark.parametrize(("layers", "options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_the_model_is_refused(layers, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        serving.export(keras.Sequential(layers), tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


def test_what_differs_from_keras_is_not_published(tmp_path):
    class Different(keras.layers.Layer):
        def call(self, inputs):
            # In the program that is exported it is another function.
            return inputs if tf.executing_eagerly() else 2.0 * inputs

    model = keras.Sequential([keras.Input((2,)), Different()])
    with pytest.raises(RuntimeError, match=r"differs from Keras by 1\.0e"):
        serving.export(model, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_layer_is_no_preprocessing(tmp_path):
    layer = keras.layers.Rescaling(2.0)
    for given in (
        {"model": layer},
        {
            "model": keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]),
            "preprocessing": layer,
        },
    ):
        name = "preprocessing" if "preprocessing" in given else "model"
        with pytest.raises(
            ValueError, match=rf"`{name}` must be a `keras.Model`. Received: {name}="
        ):
            serving.export(**given, base_dir=tmp_path)
