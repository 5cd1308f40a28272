"""Exported models in other runtimes: each with the outputs of Keras, in a process without it."""

import os
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasreg import models, serving
from kerasreg.layers import ScheduledDropout
from kerasreg.optimizers import Proximal
from kerasreg.regularizers import GroupLasso
from kerasreg.schedules import Linear

ALL = {"tensorflow", "c", "onnxruntime", "litert", "openvino"}


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def tokens(count):
    return np.random.default_rng(0).integers(0, 20, (count, 6)).astype("int32")


def trained(model, x, around=lambda optimizer: optimizer):
    """Trained for a few steps, so that its weights and statistics are like those of others."""
    model.compile(
        around(keras.optimizers.SGD(0.05)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.fit(x, np.arange(len(x)) % 3, 16, 1, verbose=0)
    return model


def dense():
    layers = [keras.layers.Dense(16, "relu"), ScheduledDropout(Linear(0.5, 0.1, 9))]
    layers += [keras.layers.BatchNormalization(), keras.layers.Dense(3)]
    return trained(keras.Sequential([keras.Input((5,)), *layers]), normal(64, 5))


def linear():
    return trained(keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)]), normal(64, 5))


def convolutional():
    layers = [keras.layers.Conv2D(4, 3, padding="same"), keras.layers.BatchNormalization()]
    layers += [keras.layers.Activation("relu"), keras.layers.MaxPooling2D(), keras.layers.Flatten()]
    model = keras.Sequential([keras.Input((8, 8, 2)), *layers, keras.layers.Dense(3)])
    return trained(model, normal(64, 8, 8, 2))


def sequence():
    inputs = keras.Input((6,), dtype="int32", name="tokens")
    embedded = keras.layers.Embedding(20, 8)(inputs)
    attended = keras.layers.MultiHeadAttention(2, 4)(embedded, embedded)
    pooled = keras.layers.GlobalAveragePooling1D()(keras.layers.Add()([embedded, attended]))
    return trained(keras.Model(inputs, keras.layers.Dense(3)(pooled)), tokens(64))


def recurrent():
    layers = [keras.layers.Embedding(20, 8), keras.layers.LSTM(8), keras.layers.Dense(3)]
    return trained(keras.Sequential([keras.Input((6,), dtype="int32"), *layers]), tokens(64))


def compressed():
    penalty = GroupLasso(0.05, axis=-1)
    layers = [keras.layers.Dense(32, "relu", kernel_regularizer=penalty), keras.layers.Dense(3)]
    model = keras.Sequential([keras.Input((5,)), *layers])
    kernel, *rest = model.get_weights()
    kernel[:, ::2] = 0.0
    model.set_weights([kernel, *rest])
    small = models.compress(trained(model, normal(64, 5), Proximal)).model
    assert small.count_params() < model.count_params()
    return small


def mirrored():
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        return dense()


# A model, samples of it, and the runtimes that have a form for it.
MODELS = {
    "dense": (dense, lambda count: normal(count, 5), ALL),
    "linear": (linear, lambda count: normal(count, 5), ALL),
    "convolutional": (convolutional, lambda count: normal(count, 8, 8, 2), ALL),
    "sequence": (sequence, tokens, ALL),
    "recurrent": (recurrent, tokens, ALL - {"litert"}),
    "compressed": (compressed, lambda count: normal(count, 5), ALL),
    "mirrored": (mirrored, lambda count: normal(count, 5), ALL),
}


def test_tensorflow_its_c_library_and_onnx_runtime_have_the_outputs_of_keras(tmp_path):
    pytest.importorskip("tf2onnx")
    model = dense()
    path = serving.export(model, tmp_path, tolerance=None)
    runtimes = ["tensorflow", "c", "onnxruntime"]
    report = serving.runtime_report(path, model, normal(1000, 5), runtimes, calls=3)
    assert [row.problem for row in report.rows] == [None] * 3, str(report)
    assert report.passed, str(report)


@pytest.mark.long
@pytest.mark.parametrize("name", MODELS)
def test_every_runtime_has_the_outputs_of_keras_for_any_batch_size(name, tmp_path):
    pytest.importorskip("openvino")  # With the oldest versions they are not installed.
    make, samples, runtimes = MODELS[name]
    model = make()
    path = serving.export(model, tmp_path, samples=samples(9))
    # The report is also of the first seven, and of the first.
    report = serving.runtime_report(path, model, samples(1000), sorted(runtimes), calls=3)
    assert [row.problem for row in report.rows] == [None] * len(runtimes), str(report)
    assert report.passed, str(report)
    assert all(row.milliseconds > 0 for row in report.rows)


@pytest.mark.long
@pytest.mark.parametrize("mode", ["float16", "int8"])
@pytest.mark.parametrize("name", ["dense", "convolutional", "sequence"])
def test_every_runtime_has_the_outputs_of_weights_in_fewer_bits(name, mode, tmp_path):
    pytest.importorskip("openvino")
    make, samples, runtimes = MODELS[name]
    if (name, mode) == ("sequence", "int8"):
        # It takes the scales of an attention's kernels for a matrix, and says so.
        runtimes = runtimes - {"openvino"}
    model = make()
    asked = {"quantization": mode, "validation_data": (samples(9), None)}
    path = serving.export(model, tmp_path, **asked, samples=samples(9))
    report = serving.runtime_report(
        path, model, samples(100), sorted(runtimes), calls=3, quantization=mode
    )
    assert [row.problem for row in report.rows] == [None] * len(runtimes), str(report)
    assert report.passed, str(report)


@pytest.mark.long
def test_an_empty_batch_has_empty_outputs_in_tensorflow_and_its_c_library(tmp_path):
    model = dense()
    path = serving.export(model, tmp_path, tolerance=None)
    report = serving.runtime_report(path, model, normal(0, 5), ["tensorflow", "c"])
    assert [row[2:] for row in report.rows] == [(0.0, None, None)] * 2, str(report)


def test_a_difference_in_a_small_batch_alone_is_seen(tmp_path):
    class Centred(keras.layers.Layer):
        def call(self, inputs):
            return inputs - keras.ops.mean(inputs, axis=0, keepdims=True)

    model = keras.Sequential([keras.Input((2,)), Centred()])
    path = serving.export(model, tmp_path)
    report = serving.runtime_report(path, model, normal(50, 2), ["c"], calls=1)
    # Equal to Keras in each batch, but not the same for an example in another one.
    assert report.rows[0].relative_difference > 0.1


def test_another_model_does_not_pass(tmp_path):
    path = serving.export(dense(), tmp_path, tolerance=None)
    report = serving.runtime_report(path, linear(), normal(7, 5), ["c"], calls=1)
    assert not report.passed
    assert report.rows[0].relative_difference > 0.01


def test_what_a_runtime_cannot_do_is_in_its_row(tmp_path):
    class Strings(keras.layers.Layer):
        def call(self, inputs):
            return keras.ops.cast(tf.strings.length(inputs), "float32")

    model = keras.Sequential([keras.Input((2,), dtype="string"), Strings()])
    samples = np.array([["a", "bcd"], ["", "ef"]])
    path = serving.export(model, tmp_path, samples=samples)
    report = serving.runtime_report(path, model, samples, ["tensorflow", "c"], calls=1)
    python, library = report.rows
    assert (python.problem, python.relative_difference) == (None, 0.0)
    assert library.problem
    assert library.relative_difference is None
    assert not report.passed
    assert library.problem in str(report)


def test_no_process_can_import_keras_and_the_c_library_needs_no_python(tmp_path):
    script = os.path.join(os.path.dirname(serving.__file__), "_runtime_process.py")
    code = f"""
import runpy
runpy.run_path({script!r})["without_keras"]()
for name in ("keras", "kerasreg"):
    try:
        __import__(name)
    except ImportError:
        print("no", name)
"""
    import subprocess

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["no", "keras", "no", "kerasreg"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runtimes": []}, "`runtimes` must be some of"),
        ({"runtimes": ["torch"]}, "`runtimes` must be some of"),
        ({"runtimes": "c"}, "`runtimes` must be some of"),
        ({"tolerance": -1.0}, "`tolerance`"),
        ({"calls": 0}, "`calls`"),
        ({"path": "nowhere"}, "`path` must be a SavedModel"),
    ],
)
def test_bad_arguments_are_refused(options, message, tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    options = {"path": serving.export(model, tmp_path, tolerance=None), **options}
    with pytest.raises(ValueError, match=message):
        serving.runtime_report(model=model, samples=np.ones((1, 1)), **options)


def test_a_runtime_that_is_not_installed_is_named_with_the_command(tmp_path, monkeypatch):
    import importlib.util

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    path = serving.export(model, tmp_path, tolerance=None)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "openvino" else find(name)
    )
    with pytest.raises(ImportError, match=r"pip install 'kerasreg\[runtimes\]'"):
        serving.runtime_report(path, model, np.ones((1, 1)), ["openvino"])
