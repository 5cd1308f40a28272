"""Penalties on groups, matrices and neighbours: their formulas, gradients and shapes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasreg.regularizers import (
    L1,
    MCP,
    SCAD,
    GroupLasso,
    Hoyer,
    Nuclear,
    Orthogonal,
    SparseGroupLasso,
    SpectralNorm,
    Sum,
    TotalVariation,
)


def group(w):
    return np.sqrt(len(w)) * np.linalg.norm(w, axis=0).sum()


def mcp(w, s=0.7, gamma=1.5):
    size = np.abs(w)
    inner = s * size - w**2 / (2 * gamma)
    return np.where(size <= gamma * s, inner, gamma * s**2 / 2).sum()


def scad(w, s=0.7, gamma=2.5):
    size = np.abs(w)
    middle = (2 * gamma * s * size - w**2 - s**2) / (2 * (gamma - 1))
    outer = s**2 * (gamma + 1) / 2
    return np.where(size <= s, s * size, np.where(size <= gamma * s, middle, outer)).sum()


# Each with its formula in NumPy, for a matrix.
CASES = {
    "GroupLasso": (GroupLasso(0.7), lambda w: 0.7 * group(w)),
    "GroupLasso by row": (GroupLasso(0.7, axis=0), lambda w: 0.7 * group(w.T)),
    "SparseGroupLasso": (
        SparseGroupLasso(0.7, l1_ratio=0.25),
        lambda w: 0.7 * (0.25 * np.abs(w).sum() + 0.75 * group(w)),
    ),
    "MCP": (MCP(0.7, gamma=1.5), mcp),
    "SCAD": (SCAD(0.7, gamma=2.5), scad),
    "Nuclear": (Nuclear(0.7), lambda w: 0.7 * np.linalg.norm(w, "nuc")),
    "SpectralNorm": (SpectralNorm(0.7), lambda w: 0.7 * np.linalg.norm(w, 2)),
    "Orthogonal": (
        Orthogonal(0.7),
        lambda w: 0.7 * ((w.T @ w - np.eye(w.shape[1])) ** 2).sum(),
    ),
    "Hoyer": (Hoyer(0.7), lambda w: 0.7 * np.abs(w).sum() ** 2 / (w**2).sum()),
    "TotalVariation": (
        TotalVariation(0.7, axis=1),
        lambda w: 0.7 * np.abs(w[:, 1:] - w[:, :-1]).sum(),
    ),
    "Sum": (
        Sum([L1(0.2), GroupLasso(0.3)], 2.0),
        lambda w: 2.0 * (0.2 * np.abs(w).sum() + 0.3 * group(w)),
    ),
}
every_case = pytest.mark.parametrize(("penalty", "formula"), CASES.values(), ids=CASES)


def matrix(shape=(5, 4)):
    return np.random.default_rng(3).normal(size=shape)


def slope(penalty, w):
    with tf.GradientTape() as tape:
        tape.watch(w := tf.constant(w))
        value = penalty(w)
    return tape.gradient(value, w).numpy()


@every_case
def test_the_value_is_the_formula(penalty, formula):
    w = matrix()
    assert float(penalty(w)) == pytest.approx(formula(w), rel=1e-6)


@every_case
def test_the_gradient_is_the_slope_of_the_formula(penalty, formula):
    w, h = matrix(), 1e-6
    numeric = np.zeros_like(w)
    for index in np.ndindex(w.shape):
        up, down = w.copy(), w.copy()
        up[index] += h
        down[index] -= h
        numeric[index] = (formula(up) - formula(down)) / (2 * h)
    np.testing.assert_allclose(slope(penalty, w), numeric, rtol=1e-5, atol=1e-6)


@every_case
@pytest.mark.parametrize("w", [np.zeros((4, 3)), np.eye(4), np.ones((4, 3))])
def test_the_gradient_is_finite_where_weights_are_zero_or_alike(penalty, formula, w):
    assert np.isfinite(slope(penalty, w)).all()
    assert float(penalty(w)) == pytest.approx(formula(w) if w.any() else float(penalty(w)), 1e-6)


@pytest.mark.long
@pytest.mark.parametrize("jit", [False, True])
def test_value_gradient_and_prox_are_the_same_compiled(jit):
    def run_one(penalty, w):
        with tf.GradientTape() as tape:
            tape.watch(w)
            value = penalty(w)
        prox = penalty.prox(w, 0.3) if penalty.has_prox else w
        return value, tape.gradient(value, w), prox

    def run(w):
        return {name: run_one(penalty, w) for name, (penalty, _) in CASES.items()}

    w = tf.constant(matrix(), "float32")
    all_eager, all_compiled = run(w), tf.function(run, jit_compile=jit)(w)
    for name in CASES:
        for eager, compiled in zip(all_eager[name], all_compiled[name], strict=True):
            np.testing.assert_allclose(compiled, eager, rtol=1e-4, atol=1e-5, err_msg=name)


def zero_slices(penalty, shape, axis):
    """Which indices along an axis become zero; the weights are small at the first one."""
    w = matrix(shape)
    w[(slice(None),) * axis + (0,)] *= 1e-3
    w = np.array(penalty.prox(w, 1.0))
    others = tuple(other for other in range(len(shape)) if other != axis)
    return (w == 0).all(axis=others).tolist()


@pytest.mark.parametrize(
    ("layer", "inputs", "weight", "axis", "counted"),
    [
        (lambda: keras.layers.Dense(4), (3,), "kernel", -1, 1),
        (lambda: keras.layers.Dense(4), (3,), "kernel", 0, 0),
        (lambda: keras.layers.Conv1D(4, 3), (8, 2), "kernel", -1, 2),
        (lambda: keras.layers.Conv2D(4, 3), (8, 8, 2), "kernel", -1, 3),
        (lambda: keras.layers.Conv2D(2, 3), (8, 8, 4), "kernel", -2, 2),
        (lambda: keras.layers.Conv3D(4, 3), (5, 5, 5, 2), "kernel", -1, 4),
        (lambda: keras.layers.DepthwiseConv2D(3), (8, 8, 4), "kernel", (-2, -1), 2),
        (lambda: keras.layers.Embedding(4, 6), (3,), "embeddings", 0, 0),
        (lambda: keras.layers.MultiHeadAttention(4, 3), None, "query_dense", 1, 1),
        (lambda: keras.layers.MultiHeadAttention(4, 3), None, "output_dense", 0, 0),
    ],
)
def test_the_axes_of_the_docstring_are_those_of_keras_layers(layer, inputs, weight, axis, counted):
    layer = layer()
    if inputs is None:
        layer.build((None, 5, 8), (None, 5, 8))
        shape = getattr(layer, f"_{weight}").kernel.shape
    else:
        layer.build((None, *inputs))
        shape = getattr(layer, weight).shape
    assert shape[counted] in (3, 4)  # The units, filters, channels, words or heads.
    small = zero_slices(GroupLasso(0.05, axis=axis), tuple(shape), counted)
    assert small == [True] + [False] * (shape[counted] - 1)


@pytest.mark.parametrize("axis", [2, -3, (0, 2)])
def test_an_axis_that_is_none_of_the_weight_is_refused(axis):
    w = np.ones((2, 3))
    message = r"`axis` must be from -2 to 1 for weights of shape \(2, 3\)"
    for penalty in (GroupLasso(1.0, axis), SparseGroupLasso(1.0, axis=axis)):
        for use in (penalty, lambda w, penalty=penalty: penalty.prox(w, 1.0)):
            with pytest.raises(ValueError, match=message):
                use(w)
    if isinstance(axis, int):
        with pytest.raises(ValueError, match=message):
            TotalVariation(1.0, axis)(w)


@pytest.mark.parametrize("axis", [1.0, "rows", (), (0, 0), None, True, (0, 1.5)])
def test_what_is_no_axis_is_refused(axis):
    with pytest.raises(ValueError, match="`axis` must be an integer"):
        GroupLasso(1.0, axis=axis)


@pytest.mark.parametrize(("kind", "least"), [(MCP, 0.0), (SCAD, 1.0)])
def test_gamma_at_or_below_its_bound_is_refused(kind, least):
    for gamma in (least, least - 0.5, float("nan")):
        with pytest.raises(ValueError, match="`gamma` must be"):
            kind(1.0, gamma=gamma)
    assert kind(1.0, gamma=least + 2.0).largest_step_size == pytest.approx(2.0)


@pytest.mark.long
def test_they_take_activities():
    inputs, outputs, penalties = keras.Input((3,)), [], []
    for penalty, _ in CASES.values():
        penalties.append(type(penalty).from_config(penalty.get_config()))
        dense = keras.layers.Dense(4, "tanh", activity_regularizer=penalties[-1])
        outputs.append(dense(inputs))
    model = keras.Model(inputs, outputs)
    model.compile("sgd", "mse", jit_compile=False)
    x, y = matrix((8, 3)), [np.ones((8, 4))] * len(outputs)
    history = model.fit(x, y, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    expected = 0.0
    for activities, penalty in zip(model.predict(x, verbose=0), penalties, strict=True):
        assert float(penalty(activities)) > 0
        expected += ((activities - 1) ** 2).mean() + float(penalty(activities)) / 8
    with_penalties = model.evaluate(x, y, verbose=0)
    assert with_penalties[0] == pytest.approx(expected, rel=1e-4)


def test_a_sum_moves_with_its_parts():
    penalty = L1(1.0) + GroupLasso(1.0, axis=(0, 1))
    w = np.ones((2, 2))
    assert float(penalty(w)) == pytest.approx(8.0)
    penalty.penalties[0].strength.assign(0.0)
    assert float(penalty(w)) == pytest.approx(4.0)
    penalty.strength.assign(0.5)
    assert float(penalty(w)) == pytest.approx(2.0)
    assert np.array(penalty.prox(w, 1.0)).tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_only_penalties_add_up():
    with pytest.raises(TypeError):
        L1(1.0) + 3
    with pytest.raises(ValueError, match="`penalties` must be one or more penalties"):
        Sum([keras.regularizers.L1(1.0)])
