"""Exact zeros are counted, in weights, inputs and units."""

import keras
import numpy as np
import pytest
from keras import layers

from kerasreg.layers import ScheduledDropout
from kerasreg.models import attach_regularizer, sparsity_report
from kerasreg.regularizers import L1


def of(layer, shape, kernel=None, bias=None, name="kernel"):
    """The row of the kernel of one layer, with the kernel that a function changes."""
    layer.name = "one"
    model = keras.Sequential([keras.Input(shape), layer])
    values = [np.ones(w.shape) for w in layer.weights]
    for value in values:
        value[()] = 0.5
    if kernel is not None:
        kernel(values[0])
    if bias is not None:
        bias(values[-1])
    layer.set_weights(values)
    rows = {row.weight: row for row in sparsity_report(model).rows}
    return rows[name]


def zero(*index):
    def change(value):
        value[index] = 0.0

    return change


everything = zero(Ellipsis)


def test_a_unit_is_zero_with_its_kernel_and_its_bias():
    dead = zero(slice(None), [0, 2])
    row = of(layers.Dense(4), (3,), dead)
    assert (row.zeros, row.size, row.share, row.zero_units) == (6, 12, 0.5, 0)
    assert of(layers.Dense(4), (3,), dead, zero([2])).zero_units == 1
    assert of(layers.Dense(4, use_bias=False), (3,), dead).zero_units == 2


@pytest.mark.parametrize(
    ("layer", "shape", "index", "inputs", "units"),
    [
        (layers.Conv2D(4, 3), (8, 8, 2), (..., 1, slice(None)), 1, 0),
        (layers.Conv2D(4, 3), (8, 8, 2), (..., slice(3)), 0, 3),
        (layers.Conv1D(4, 3, groups=2), (8, 2), (..., slice(3)), None, 3),
        (layers.Conv2DTranspose(4, 3), (8, 8, 2), (..., slice(3), slice(None)), 0, 3),
        (layers.Conv2DTranspose(4, 3), (8, 8, 2), (..., 1), 1, 0),
        (
            layers.EinsumDense("abc,cde->abde", (3, 2, 4), bias_axes="de"),
            (3, 5),
            (..., 1, slice(3)),
            0,
            3,
        ),
        (
            layers.EinsumDense("abc,cde->abde", (3, 2, 4), bias_axes="e"),
            (3, 5),
            (..., 1, slice(3)),
            0,
            3,
        ),
        (
            layers.EinsumDense("abcd,cde->abe", (3, 4), bias_axes="e"),
            (3, 2, 5),
            (0, slice(3)),
            3,
            0,
        ),
    ],
)
def test_inputs_and_units_are_the_axes_of_their_layer(layer, shape, index, inputs, units):
    row = of(layer, shape, zero(*index), everything)
    assert (row.zero_inputs, row.zero_units) == (inputs, units)


def test_depthwise_kernels_have_a_unit_for_each_channel_and_multiple():
    row = of(
        layers.DepthwiseConv2D(3, depth_multiplier=2),
        (8, 8, 3),
        zero(..., 1, slice(None)),
        zero([2]),
        "depthwise_kernel",
    )
    # Channel 1 makes units 2 and 3, of which only one has no bias.
    assert (row.zero_inputs, row.zero_units) == (None, 1)
    separable = layers.SeparableConv1D(5, 2)
    row = of(separable, (8, 3), zero(..., 1, slice(None)), name="depthwise_kernel")
    assert row.zero_units == 1
    assert of(layers.SeparableConv1D(5, 2), (8, 3), name="pointwise_kernel").zero_inputs == 0


def test_other_weights_have_zeros_only():
    embedding = keras.Sequential([keras.Input((3,)), layers.Embedding(5, 4, name="table")])
    values = np.ones((5, 4))
    values[[1, 3]], values[:, 0] = 0.0, -0.0
    embedding.set_weights([values])
    row = sparsity_report(embedding).rows[0]
    assert (row.zeros, row.zero_inputs, row.zero_units) == (11, 2, 1)
    lstm = keras.Sequential([keras.Input((3, 2)), layers.LSTM(4, name="lstm")])
    rows = sparsity_report(lstm).rows
    assert [row.weight for row in rows] == ["kernel", "recurrent_kernel", "bias"]
    assert {(row.zero_inputs, row.zero_units) for row in rows} == {(None, None)}
    assert rows[2].zeros == 12  # The forget gate begins with ones.


def test_totals_are_of_all_weights_once_and_of_nothing_else():
    shared = layers.Dense(8, name="shared", dtype="bfloat16")
    inputs = keras.Input((8,))
    x = layers.BatchNormalization(name="norm")(shared(shared(inputs)))
    inner = keras.Sequential([layers.Dense(2, name="deep")], name="inner")
    model = keras.Model(inputs, inner(ScheduledDropout(0.5)(x)))
    attach_regularizer(model, L1(0.1))
    report = sparsity_report(model)
    assert report.size == model.count_params() == 72 + 32 + 18
    assert report.bytes == 72 * 2 + 50 * 4
    assert report.zeros == 8 + 16 + 2  # Two biases, the offset and the moving mean.
    assert report.share == pytest.approx(26 / 122)
    assert [row.layer for row in report.rows][-2:] == ["inner/deep", "inner/deep"]
    assert str(report).splitlines()[-1] == ("total: 26 of 122 numbers are zero (21.3%), 344 bytes")


def test_real_and_subclassed_models_are_counted():
    model = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=3)
    report = sparsity_report(model)
    assert report.size == model.count_params()
    assert len(report.rows) == len(model.weights)
    assert str(report).count("\n") == len(report.rows) + 1

    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.scale = self.add_weight(name="scale", shape=(2,), initializer="zeros")
            self.attention = layers.MultiHeadAttention(2, 3, name="attention")

        def call(self, inputs):
            return self.attention(inputs, inputs)

    model = Subclassed()
    model(np.ones((1, 2, 4)))
    report = sparsity_report(model)
    assert report.size == model.count_params()
    model.attention._query_dense.kernel.assign(np.zeros((4, 2, 3)))
    row = next(r for r in sparsity_report(model).rows if r.layer == "attention/query")
    assert (row.zero_inputs, row.zero_units) == (4, 6)


def test_models_without_weights_are_refused():
    for model in (keras.Sequential([layers.Dense(1)]), layers.Dense(1), None):
        with pytest.raises(ValueError, match=r"`model` must be a keras.Model that is built"):
            sparsity_report(model)
