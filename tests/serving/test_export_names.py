"""Inputs and outputs have the names that users know, in every signature and for every reader."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from kerasreg import serving
from kerasreg._keras.tensorflow_internals import saved_signature
from kerasreg.layers import ScheduledDropout
from kerasreg.serving._names import argument_names, input_names, output_names
from kerasreg.serving.server import _rest
from kerasreg.serving.server._versions import Version

SIGNATURES = ("serve", "serving_default", "classify", "predict_mc")


def columns(names, as_dict=True):
    """A model of columns, and three rows."""
    inputs = {name: keras.Input((1,), name=None if "/" in name else name) for name in names}
    joined = layers.Concatenate()(list(inputs.values()))
    dropped = ScheduledDropout(0.5, seed=1)(joined)
    scores = layers.Dense(2, "softmax")(dropped)
    model = keras.Model(inputs if as_dict else list(inputs.values()), {f"{names[0]}?": scores})
    rows = {name: np.arange(3.0)[:, None] + place for place, name in enumerate(names)}
    return model, {name: value.astype("float32") for name, value in rows.items()}


@pytest.mark.parametrize(
    "names",
    [
        ["petal length (cm)", "capital-gain", "hours.per.week", "1stFlrSF", "class", "age"],
        # All are names of arguments, but TensorFlow has them in small letters.
        pytest.param(["HmRun", "CHmRun", "MPG"], marks=pytest.mark.long),
        pytest.param(["größe", "名", "_x", "price €", "a/b"], marks=pytest.mark.long),
        # Alike without what is no letter, or but for a large one; and what Python calls so.
        pytest.param(
            ["a b", "a-b", "A", "a", "self", "file", "examples", "None"], marks=pytest.mark.long
        ),
    ],
)
def test_columns_have_their_names_for_every_reader(names, tmp_path, as_example):
    model, rows = columns(names)
    asked = {"labels": ["no", "yes"], "passes": 2, "samples": rows}
    path = serving.export(model, tmp_path, **asked)
    (expected,) = (np.array(value) for value in model(rows, training=False).values())
    # For TensorFlow Serving.
    for key in SIGNATURES:
        assert set(saved_signature(path, key).inputs) == set(names)
    assert set(saved_signature(path).outputs) == {f"{names[0]}?"}
    assert set(saved_signature(path, "serve_examples").inputs) == {"examples"}
    assert serving.read_card(path)["verification"]["relative_difference"] <= 1e-6
    # For the server here.
    signatures = Version(path, 1).signatures
    for key in SIGNATURES:
        assert set(signatures[key].inputs) == set(names)
        assert len(signatures[key](rows)) == len(signatures[key].outputs)
    body = [{name: value[i].tolist() for name, value in rows.items()} for i in range(3)]
    request = _rest.read_body(json.dumps({"instances": body}).encode())
    _, read = _rest.read_predict(request, signatures["serve"].inputs, 10)
    np.testing.assert_allclose(*signatures["serve"](read).values(), expected, rtol=1e-5)
    messages = [as_example(**{name: value[i] for name, value in rows.items()}) for i in range(3)]
    found = signatures["serve_examples"]({"examples": np.array(messages, object)})
    np.testing.assert_allclose(*found.values(), expected, rtol=1e-5)
    # For Python.
    loaded = tf.saved_model.load(path).signatures["serve"]
    specs = loaded.structured_input_signature[1]
    assert {spec.name for spec in specs.values()} == set(names)
    (found,) = loaded(**{key: tf.constant(rows[spec.name]) for key, spec in specs.items()}).values()
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    if "self" not in names:
        (found,) = loaded(**{name: tf.constant(value) for name, value in rows.items()}).values()
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.long
def test_inputs_of_a_list_have_their_names_and_outputs_those_that_are_given(tmp_path):
    model, rows = columns(["capital-gain", "a b"], as_dict=False)
    path = serving.export(model, tmp_path, outputs=["prix (€)"], samples=list(rows.values()))
    assert set(saved_signature(path).inputs) == {"capital-gain", "a b"}
    assert set(saved_signature(path).outputs) == {"prix (€)"}
    assert serving.verify(path, model, rows, outputs=["prix (€)"]).passed
    report = serving.runtime_report(
        path, model, rows, ["tensorflow", "c"], outputs=["prix (€)"], calls=1
    )
    assert report.passed, str(report)


@pytest.mark.parametrize(
    ("names", "arguments"),
    [
        (["age", "x_1"], ["age", "x_1"]),
        (["capital-gain", "1st", "_x", "é"], ["capital_gain", "arg_1st", "arg__x", "arg__"]),
        (["class", "None", "self", ""], ["arg_class", "arg_None", "arg_self", "arg_"]),
        (["a b", "a-b", "A b", "a_b"], ["a_b", "a_b_1", "A_b_2", "a_b_3"]),
    ],
)
def test_arguments_are_called_by_letters_and_each_otherwise(names, arguments):
    assert list(argument_names(names).values()) == arguments


def inputs_named(*names):
    return [keras.Input((1,), name=name) for name in names]


A, B, C = inputs_named("one", "two", "three")
U, V = keras.Input((1,)), keras.Input((1,))
STRUCTURES = {
    "one": (A, ["one"], ["outputs"]),
    "one without a name": (U, ["inputs"], ["outputs"]),
    "a list": ([A, B], ["one", "two"], ["outputs_0", "outputs_1"]),
    "a tuple without names": ((U, V), ["inputs_0", "inputs_1"], ["outputs_0", "outputs_1"]),
    "a list of some names": ([A, U], ["inputs_0", "inputs_1"], ["outputs_0", "outputs_1"]),
    "a list in a list": ([A, [B, C]], ["one", "two", "three"], None),
    "a dict": ({"b": A, "a": B}, ["a", "b"], ["a", "b"]),
    "a dict of one": ({"k": U}, ["k"], ["k"]),
    "a list in a dict": ({"a": [U, V], "b": A}, ["a_0", "a_1", "b"], ["a_0", "a_1", "b"]),
    "a dict in a dict": ({"a": {"x": U, "y": V}}, ["a_x", "a_y"], ["a_x", "a_y"]),
    "a dict in a list": ([{"p": U}, V], ["inputs_0_p", "inputs_1"], ["outputs_0_p", "outputs_1"]),
    "alike": ({"a": {"x": U}, "a_x": V}, ["a_x", "a_x_1"], ["a_x", "a_x_1"]),
    "no text": ({1: U, 2: V}, ["1", "2"], ["1", "2"]),
    "empty": ({"": U}, ["inputs"], ["outputs"]),
}


@pytest.mark.parametrize(("structure", "inputs", "outputs"), STRUCTURES.values(), ids=STRUCTURES)
def test_names_are_keys_and_paths_of_keys(structure, inputs, outputs):
    assert input_names(structure) == inputs
    if outputs is not None:
        assert output_names(structure, None) == outputs


class Nested(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2)

    def call(self, inputs):
        left, right = inputs["b"]
        return {"s": {"t": self.dense(inputs["a"])}, "u": [left, right]}


def nested_inputs():
    structure = {"a": [U, V], "b": A}
    parts = keras.tree.flatten(structure)
    return keras.Model(structure, layers.Dense(1)(layers.Concatenate()(parts)))


def nested_outputs():
    inside = {"x": layers.Dense(1)(A), "y": layers.Dense(1)(A)}
    return keras.Model(A, {"a": inside, "b": layers.Dense(1)(A)})


def of_a_class():
    model = Nested()
    model({"a": np.ones((2, 3)), "b": [np.ones((2, 1)), np.ones((2, 2))]})
    return model


@pytest.mark.parametrize(
    ("make", "samples", "outputs"),
    [
        (nested_inputs, {"a": [[[1.0]], [[2.0]]], "b": [[3.0]]}, ["outputs"]),
        (nested_outputs, [[1.0]], ["a_x", "a_y", "b"]),
        (of_a_class, {"a": [[1.0, 2, 3]], "b": [[[4.0]], [[5.0, 6]]]}, ["s_t", "u_0", "u_1"]),
    ],
)
def test_structures_within_structures_are_exported(make, samples, outputs, tmp_path):
    model = make()
    if isinstance(samples, dict):
        samples = {
            key: [np.array(one) for one in value] if len(value) == 2 else np.array(value)
            for key, value in samples.items()
        }
    else:
        samples = np.array(samples)
    path = serving.export(model, tmp_path, samples=samples)
    assert serving.read_card(path)["outputs"] == outputs
    served = tf.saved_model.load(path)
    expected = keras.tree.flatten(model(keras.tree.map_structure(ops.convert_to_tensor, samples)))
    # Of the signature, and of the function that takes what the model takes.
    structure = keras.tree.map_structure(lambda value: tf.constant(value, "float32"), samples)
    found = served.serve(structure)
    for name, value in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(found[name], value, rtol=1e-5)


@pytest.mark.parametrize(
    "samples",
    [{"a": [U, V], "c": A}, {"a": {"x": U, "y": V}, "b": A}, {"b": A}],
    ids=["another key", "another structure", "too few"],
)
def test_samples_of_other_names_are_refused(samples, tmp_path):
    rows = keras.tree.map_structure(lambda _: np.ones((2, 1)), samples)
    message = r"`samples` must be inputs with the names \['a_0', 'a_1', 'b'\]"
    with pytest.raises(ValueError, match=message):
        serving.export(nested_inputs(), tmp_path, samples=rows)
