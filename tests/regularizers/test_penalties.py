"""The penalties are the formulas of their docstrings; what is no strength is refused."""

import copy
import functools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from keras.optimizers.schedules import ExponentialDecay, PolynomialDecay

from kerasreg.regularizers import L1, L2, ElasticNet

laws = settings(deadline=None, max_examples=15, derandomize=True)
numbers = st.floats(-100, 100, allow_subnormal=False)
arrays = hnp.arrays(np.float64, hnp.array_shapes(max_dims=3, max_side=4), elements=numbers)
strengths = st.floats(0, 10, allow_subnormal=False)
fractions = st.floats(0, 1, allow_subnormal=False)

# Each penalty of strength s with its formula and gradient, written out in NumPy.
CASES = {
    "L1": (L1, lambda w, s: s * np.abs(w).sum(), lambda w, s: s * np.sign(w)),
    "L2": (L2, lambda w, s: 0.5 * s * (w**2).sum(), lambda w, s: s * w),
    "ElasticNet": (
        lambda s: ElasticNet(s, alpha=0.25),
        lambda w, s: s * (0.25 * w**2 + 0.75 * np.abs(w)).sum(),
        lambda w, s: s * (2 * 0.25 * w + 0.75 * np.sign(w)),
    ),
}
every_penalty = pytest.mark.parametrize(
    ("make", "formula", "slope"), CASES.values(), ids=CASES.keys()
)


@pytest.fixture
def float64():
    """Doubles everywhere, also in the variables that hold strengths."""
    keras.config.set_floatx("float64")


def value(penalty, w):
    return float(penalty(keras.ops.convert_to_tensor(w)))


@every_penalty
def test_the_value_is_the_formula(float64, make, formula, slope):
    @laws
    @given(arrays, strengths)
    def law(w, strength):
        assert value(make(strength), w) == pytest.approx(formula(w, strength), rel=1e-12)

    law()


@laws
@given(arrays, strengths, fractions)
def test_elastic_net_weighs_the_square_with_alpha(w, strength, alpha):
    keras.config.set_floatx("float64")
    expected = strength * (alpha * w**2 + (1 - alpha) * np.abs(w)).sum()
    assert value(ElasticNet(strength, alpha), w) == pytest.approx(expected, rel=1e-12)


@laws
@given(arrays, strengths)
def test_elastic_net_at_its_ends_is_l1_and_twice_l2(w, strength):
    keras.config.set_floatx("float64")
    lasso, ridge = ElasticNet(strength, alpha=0.0), ElasticNet(strength, alpha=1.0)
    assert value(lasso, w) == pytest.approx(value(L1(strength), w), rel=1e-12)
    assert value(ridge, w) == pytest.approx(value(L2(2 * strength), w), rel=1e-12)


@laws
@given(arrays, st.floats(0.01, 10), st.floats(0.01, 10))
def test_keras_penalties_are_found_under_the_mappings_of_the_docstrings(w, l1, l2):
    w = w.astype("float32")  # The one dtype of Keras' penalties in its older versions.
    theirs = keras.regularizers
    close = functools.partial(pytest.approx, rel=1e-5, abs=1e-30)
    assert value(L1(l1), w) == close(value(theirs.L1(l1), w))
    assert value(L2(2 * l2), w) == close(value(theirs.L2(l2), w))
    both = ElasticNet(l1 + l2, l2 / (l1 + l2))
    assert value(both, w) == close(value(theirs.L1L2(l1, l2), w))


@every_penalty
def test_penalties_are_convex_and_add_up_over_parts(float64, make, formula, slope):
    @laws
    @given(hnp.arrays(np.float64, 6, elements=numbers), hnp.arrays(np.float64, 6, elements=numbers))
    def law(u, v):
        penalty = make(0.7)
        middle, ends = value(penalty, (u + v) / 2), (value(penalty, u) + value(penalty, v)) / 2
        assert 0 <= middle <= ends * (1 + 1e-12)
        whole = value(penalty, np.concatenate([u, v]))
        assert whole == pytest.approx(value(penalty, u) + value(penalty, v), rel=1e-12)

    law()


@every_penalty
def test_the_gradient_is_the_derivative_of_the_formula(float64, make, formula, slope):
    w = tf.constant([[1.5, -0.25], [3.0, -7.0]], dtype="float64")
    with tf.GradientTape() as tape:
        tape.watch(w)
        penalty = make(0.3)(w)
    np.testing.assert_allclose(tape.gradient(penalty, w), slope(w.numpy(), 0.3), rtol=1e-14)


@every_penalty
def test_the_gradient_at_zero_is_a_subgradient(make, formula, slope):
    w = tf.zeros((3,))
    with tf.GradientTape() as tape:
        tape.watch(w)
        penalty = make(0.3)(w)
    gradient = tape.gradient(penalty, w).numpy()
    assert np.all(np.abs(gradient) <= 0.3)


@every_penalty
@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("float16", "float32"), ("bfloat16", "float32"), ("float32", "float32"), ("float64",) * 2],
)
def test_the_result_is_a_scalar_of_the_dtype_of_the_weights_and_float32_for_halves(
    make, formula, slope, dtype, expected
):
    w = keras.ops.convert_to_tensor([[1.0, -3.0]], dtype=dtype)
    result = make(0.5)(w)
    assert tuple(result.shape) == ()
    assert keras.backend.standardize_dtype(result.dtype) == expected
    assert float(result) == formula(np.array([1.0, -3.0]), 0.5)  # Exact in each dtype.


@every_penalty
def test_sums_in_half_precision_do_not_overflow(make, formula, slope):
    w = keras.ops.full((1000,), 200.0, dtype="float16")  # Sums to 200,000; float16 ends at 65,504.
    assert float(make(0.5)(w)) == pytest.approx(formula(np.full(1000, 200.0), 0.5), rel=1e-6)


@every_penalty
def test_strength_zero_costs_nothing(make, formula, slope):
    assert value(make(0.0), np.array([[1e6, -3.0]])) == 0.0


@every_penalty
def test_the_penalty_follows_its_strength(make, formula, slope):
    w, penalty = np.array([1.0, -3.0]), make(0.5)
    penalty.strength.assign(2.0)
    assert value(penalty, w) == formula(w, 2.0)
    penalty.strength.assign(0.0)
    assert value(penalty, w) == 0.0


def test_alpha_of_the_elastic_net_may_be_assigned():
    penalty = ElasticNet(2.0, alpha=0.0)
    penalty.alpha.assign(1.0)
    assert value(penalty, np.array([1.0, -3.0])) == 2.0 * (1 + 9)
    assert penalty.get_config()["alpha"] == 1.0


@every_penalty
def test_the_config_carries_the_strength_as_it_is_now(make, formula, slope):
    penalty = make(0.5)
    penalty.strength.assign(0.125)
    assert penalty.get_config()["strength"] == 0.125
    assert float(type(penalty).from_config(penalty.get_config()).strength) == 0.125


@every_penalty
@pytest.mark.parametrize("number", [1, np.float32(1), np.int64(1), np.array(1.0), 1.0])
def test_any_kind_of_number_is_a_strength(make, formula, slope, number):
    assert value(make(number), np.array([2.0])) == formula(np.array([2.0]), 1.0)


@every_penalty
@pytest.mark.parametrize(
    "wrong",
    [-1.0, -1e-9, math.nan, math.inf, -math.inf, "0.1", True, None, [0.1], np.array([0.1, 0.2])],
    ids=repr,
)
def test_what_is_no_strength_is_refused_by_name(make, formula, slope, wrong):
    with pytest.raises(ValueError, match=r"`strength` must be a finite number >= 0.*strength="):
        make(wrong)


@every_penalty
@pytest.mark.parametrize(
    "schedule",
    [
        PolynomialDecay(0.1, 10, end_learning_rate=-0.1),  # Negative from step 6 on.
        PolynomialDecay(0.1, 50_000, end_learning_rate=-0.1),  # From step 25,001 on.
        ExponentialDecay(-0.1, 10, 0.5),
        ExponentialDecay(math.nan, 10, 0.5),
        ExponentialDecay(1.0, 1, 1e6),  # Infinite after a few steps.
    ],
    ids=["soon negative", "late negative", "negative", "nan", "infinite"],
)
def test_schedules_that_leave_the_range_are_refused_with_step_and_value(
    make, formula, slope, schedule
):
    with pytest.raises(ValueError, match=r"`strength` must be a schedule .* gives .* at step \d+"):
        make(schedule)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, math.nan, "0.5", True, None])
def test_alpha_outside_0_to_1_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match=r"`alpha` must be a number from 0 to 1.*alpha="):
        ElasticNet(0.1, alpha=wrong)


@every_penalty
def test_a_copy_keeps_the_strength_and_goes_its_own_way(make, formula, slope):
    penalty = make(0.5)
    penalty.strength.assign(0.25)
    copied = copy.deepcopy(penalty)
    assert float(copied.strength) == 0.25
    copied.strength.assign(1.0)
    assert float(penalty.strength) == 0.25
    assert value(copied, np.array([1.0, -3.0])) == formula(np.array([1.0, -3.0]), 1.0)


def test_keras_finds_the_penalties_by_their_serialised_form():
    penalty = keras.regularizers.get(keras.regularizers.serialize(ElasticNet(0.5, alpha=0.25)))
    assert isinstance(penalty, ElasticNet)
    assert (float(penalty.strength), float(penalty.alpha)) == (0.5, 0.25)
