"""The signal report measures what it says, and judges good and bad networks right."""

import os
import sys
import xml.etree.ElementTree

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import kerasreg
from kerasreg.initializers import for_activation, preset
from kerasreg.models import initialize, signal_report


def batch(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def deep(activation, make, depth=20, outputs=3):
    hidden = [
        layers.Dense(64, activation, kernel_initializer=make(number), name=f"dense_{number}")
        for number in range(depth)
    ]
    last = layers.Dense(outputs, "softmax", kernel_initializer=make(depth), name="out")
    return keras.Sequential([keras.Input((64,)), *hidden, last])


# What it measures.


def test_the_numbers_are_those_of_a_tape_of_ones_own():
    model, x = deep("tanh", lambda n: preset("he_normal", n), depth=3), batch(32, 64)
    model.layers[-1].activation = keras.activations.linear
    y = batch(32, 3, seed=1)
    report = signal_report(model, x, y, loss="mse")
    kernels = [tf.constant(np.array(layer.kernel)) for layer in model.layers]
    with tf.GradientTape() as tape:
        tape.watch(kernels)
        hidden = [tf.constant(x)]
        for number, kernel in enumerate(kernels):
            z = hidden[-1] @ kernel
            hidden.append(tf.tanh(z) if number < 3 else z)
        loss = tf.reduce_mean((hidden[-1] - y) ** 2)
    *of_outputs, of_kernels = tape.gradient(loss, [*hidden[1:], kernels])
    assert [row.layer for row in report.rows] == ["dense_0", "dense_1", "dense_2", "out"]
    for row, output, gradient, of_kernel in zip(
        report.rows, hidden[1:], of_outputs, of_kernels, strict=True
    ):
        output, gradient = np.array(output), np.array(gradient)
        assert row.mean == pytest.approx(output.mean(), abs=1e-5)
        assert row.variance == pytest.approx(output.var(), rel=1e-4)
        assert row.gradient == pytest.approx(np.sqrt((gradient**2).mean()), rel=1e-3)
        # The loss is a mean: of one example it is 32 times as large.
        norm = np.sqrt(((32 * gradient) ** 2).sum(1).mean())
        assert row.gradient_norm == pytest.approx(norm, rel=1e-3)
        assert row.kernel_gradient == pytest.approx(
            np.sqrt((np.array(of_kernel) ** 2).mean()), rel=1e-3
        )


def test_the_compiled_loss_is_used():
    model, x, y = deep("relu", lambda n: preset("he_normal", n), 2), batch(32, 64), np.zeros(32)
    model.compile(loss="sparse_categorical_crossentropy")
    compiled, given = signal_report(model, x, y), signal_report(model, x, y, loss=model.loss)
    assert compiled == given
    assert compiled != signal_report(model, x)


def test_without_targets_the_loss_is_a_random_projection():
    model, x = keras.Sequential([keras.Input((4,)), layers.Dense(3)]), batch(50, 4)
    (row,) = signal_report(model, x, seed=5).rows
    # The gradient of Σ r·output / examples is r / examples.
    projection = np.random.default_rng(5).normal(size=(50, 3))
    assert row.gradient == pytest.approx(np.sqrt((projection**2).mean()) / 50, rel=1e-5)
    assert row.kernel_gradient == pytest.approx(
        np.sqrt(((x.T @ projection / 50) ** 2).mean()), rel=1e-4
    )


# What it judges.

# Deviations of weights, for 64 inputs: a quarter and a thousand times of what is right.
SMALL, LARGE = 0.02, 1.0


def normal(stddev):
    return lambda number: keras.initializers.RandomNormal(stddev=stddev, seed=number)


LOSSES = [None, "sparse_categorical_crossentropy"]


@pytest.mark.short(
    "0.02-vanishing-tanh-None",
    "0.02-vanishing-relu-sparse_categorical_crossentropy",
    "0.02-vanishing-gelu-None",
    "1.0-exploding-tanh-sparse_categorical_crossentropy",
    "1.0-exploding-relu-None",
    "1.0-exploding-gelu-sparse_categorical_crossentropy",
    "None-fine-tanh-None",
    "None-fine-relu-sparse_categorical_crossentropy",
    "None-fine-gelu-None",
)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu"])
@pytest.mark.parametrize(
    ("start", "verdict"), [(SMALL, "vanishing"), (LARGE, "exploding"), (None, "fine")]
)
def test_the_verdict_on_20_layers(activation, start, verdict, loss):
    def make(number):
        return for_activation(activation, seed=number) if start is None else normal(start)(number)

    model = deep(activation, make)
    y = None if loss is None else np.arange(128) % 3
    report = signal_report(model, batch(128, 64), y, loss=loss)
    assert report.verdict == verdict
    assert (report.layer is None) == (verdict == "fine")


def test_the_layer_where_the_signal_is_lost_is_named():
    def make(number):
        return normal(1e-5 if number == 7 else 0.125)(number)

    report = signal_report(deep("linear", make), batch(128, 64))
    # The gradient is smaller by as much in all layers before.
    assert (report.verdict, report.layer) == ("vanishing", "dense_7")
    assert "dense_7 is" in report.reason


def test_sigmoids_let_the_gradient_fade_while_their_outputs_do_not():
    model = deep("sigmoid", lambda n: preset("glorot_normal", n))
    report = signal_report(model, batch(128, 64))
    assert report.verdict == "vanishing"
    assert report.reason.startswith("the norm of the gradients")


def test_a_dead_layer_is_vanishing():
    model = deep("relu", lambda n: preset("he_normal", n), depth=4)
    model.layers[2].bias.assign(np.full(64, -1e6))
    report = signal_report(model, batch(128, 64))
    assert (report.verdict, report.layer) == ("vanishing", "dense_2")


def test_what_is_not_finite_is_exploding():
    model = deep("relu", normal(1e8), depth=8)
    report = signal_report(model, batch(128, 64))
    assert report.verdict == "exploding"
    assert report.layer == next(r.layer for r in report.rows if not np.isfinite(r.variance))


def test_the_scale_of_the_outputs_is_not_judged():
    model = deep("relu", lambda n: for_activation("relu", seed=n), depth=3)
    model.layers[-1].kernel.assign(1e6 * np.array(model.layers[-1].kernel))
    model.layers[-1].activation = keras.activations.linear
    assert signal_report(model, batch(128, 64)).verdict == "fine"


@pytest.mark.parametrize("rule", [{"zero_last_gain": True}, {"preset": "fixup"}])
@pytest.mark.parametrize("stem", [True, False])
def test_branches_that_begin_at_zero_are_passed_over(rule, stem):
    inputs = keras.Input((16,))
    x = layers.Dense(16, "relu", name="stem")(inputs) if stem else inputs
    for _ in range(4):
        y = layers.BatchNormalization()(layers.Dense(16)(layers.Dense(16, "relu")(x)))
        x = layers.Add()([x, y])
    model = keras.Model(inputs, layers.Dense(2)(x))
    initialize(model, seed=1, **rule)
    model.layers[-1].kernel.assign(batch(16, 2))  # Which Fixup begins at zero, too.
    report = signal_report(model, batch(64, 16))
    assert sum(row.gradient == 0 for row in report.rows) >= 4
    assert report.verdict == "fine"


def test_a_branch_that_fades_but_is_not_zero_is_judged():
    inputs = keras.Input((64,))
    deep_part = deep("tanh", normal(SMALL))
    y = layers.Dense(64)(deep_part(inputs))
    report = signal_report(keras.Model(inputs, layers.Add()([inputs, y])), batch(64, 64))
    assert report.verdict == "vanishing"


# Models, precision and state.


def test_batch_normalization_is_seen_as_in_training_and_left_as_it_was():
    hidden = [keras.Input((64,))]
    for number in range(20):
        hidden += [
            layers.Dense(64, kernel_initializer=normal(LARGE)(number)),
            layers.BatchNormalization(),
            layers.ReLU(),
            kerasreg.layers.ScheduledDropout(0.1),
            layers.Dropout(0.1),
        ]
    model, x = keras.Sequential([*hidden, layers.Dense(2)]), batch(128, 64)
    before = [np.array(variable) for variable in model.variables]
    assert signal_report(model, x).verdict == "fine"
    assert signal_report(model, x, training=False).verdict == "exploding"
    assert len(before) == len(model.variables)
    for old, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, np.array(variable))


def test_shared_layers_nested_models_and_several_inputs():
    shared = layers.Dense(8, "relu", name="shared")
    block = keras.Sequential([keras.Input((8,)), layers.Dense(8, name="inner")], name="block")
    one, other = keras.Input((4,), name="one"), keras.Input((4,), name="other")
    x = layers.Concatenate(name="both")([block(shared(one)), shared(other)])
    model = keras.Model([one, other], layers.Dense(2, name="out")(x))
    report = signal_report(model, {"one": batch(16, 4), "other": batch(16, 4)})
    assert sorted(row.layer for row in report.rows) == [
        "block/inner",
        "both",
        "out",
        "shared",
        "shared (2)",
    ]


def test_a_transformer_block_shows_its_inside():
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(9, 8, mask_zero=True, name="embedding")(inputs)
    y = layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    x = layers.LSTM(4)(layers.Add()([x, y]))
    report = signal_report(keras.Model(inputs, layers.Dense(2)(x)), np.arange(40).reshape(8, 5) % 9)
    found = {row.layer: row for row in report.rows}
    assert found["attention/query"].kernel_gradient > 0
    assert found["embedding"].gradient > 0
    assert report.verdict == "fine"


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_measures_what_float32_does(policy):
    x, y = batch(128, 64), np.arange(128) % 3

    def report():
        model = deep("relu", lambda n: for_activation("relu", seed=n), depth=6)
        # So small that float16 has no such gradients.
        return signal_report(
            model, x, y, loss=lambda y, p: 1e-6 * keras.losses.sparse_categorical_crossentropy(y, p)
        )

    exact = report()
    keras.config.set_dtype_policy(policy)
    half = report()
    assert half.verdict == "fine"
    for one, other in zip(exact.rows[:-1], half.rows[:-1], strict=True):
        assert other.gradient == pytest.approx(one.gradient, rel=0.1)
        assert other.variance == pytest.approx(one.variance, rel=0.1)


# What it looks like.


@pytest.fixture(scope="module")
def report():
    return signal_report(deep("relu", normal(LARGE), depth=5), batch(32, 64))


def test_it_prints_as_a_table_with_the_verdict(report):
    lines = str(report).splitlines()
    assert lines[0].split()[:4] == ["layer", "kind", "mean", "variance"]
    assert len(lines) == 1 + len(report.rows) + 1
    assert len({len(line) for line in lines[:-1]}) == 1
    assert lines[-1].startswith("exploding: ")


def test_the_picture_is_whole_and_of_its_kind(report, tmp_path):
    report.plot(tmp_path / "new" / "signal.png")
    assert (tmp_path / "new" / "signal.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    report.plot(str(tmp_path / "signal.svg"))
    root = xml.etree.ElementTree.parse(tmp_path / "signal.svg").getroot()
    assert root.tag.endswith("svg")
    assert "dense_3" in (tmp_path / "signal.svg").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "signal.svg"]


def test_a_picture_that_fails_leaves_the_old_one(report, tmp_path, monkeypatch):
    def fail(handle):
        raise OSError("disk full")

    path = tmp_path / "signal.png"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", fail)  # When the new one is written, beside.
    with pytest.raises(OSError, match="disk full"):
        report.plot(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_without_matplotlib_it_says_what_to_install(report, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'kerasreg\[plot\]'"):
        report.plot(tmp_path / "signal.png")


def test_other_endings_are_refused(report):
    with pytest.raises(ValueError, match=r"`path` must end with \.png or \.svg"):
        report.plot("signal.jpg")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": layers.Dense(1)}, "`model` must be a keras.Model"),
        ({"loss": "mse"}, "`loss` must be None without targets"),
        ({"y": np.zeros(8)}, "`loss` must be given for targets"),
        ({"seed": -1}, "`seed` must be a whole number >= 0"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    model = deep("relu", normal(SMALL), depth=1)
    with pytest.raises(ValueError, match=message):
        signal_report(**{"model": model, "x": batch(8, 64), **arguments})


def test_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(NotImplementedError, match="KERAS_BACKEND=tensorflow"):
        signal_report(deep("relu", normal(SMALL), depth=1), batch(8, 64))
