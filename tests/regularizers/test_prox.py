"""Proximal operators are what their definition says, and obey its laws, in float64."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import optimize

from kerasreg.regularizers import (
    L1,
    L2,
    MCP,
    SCAD,
    ElasticNet,
    GroupLasso,
    Hoyer,
    Nuclear,
    Orthogonal,
    Penalty,
    SparseGroupLasso,
    SpectralNorm,
    Sum,
    TotalVariation,
)

laws = settings(deadline=None, max_examples=15, derandomize=True)
numbers = st.floats(-10, 10).map(lambda x: round(x, 6))
matrices = hnp.arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 4)), elements=numbers)
steps = st.floats(0, 4).map(lambda x: round(x, 6))
strengths = st.floats(0, 3).map(lambda x: round(x, 6))


class Negative(Penalty):
    """A penalty of a user: `Σ max(-w, 0)`. Its operator may follow the one of `L1`."""

    prox_order = "after"

    def unit_penalty(self, w):
        return keras.ops.sum(keras.ops.maximum(-w, 0.0))

    def unit_prox(self, v, t):
        return keras.ops.where(v < 0.0, keras.ops.minimum(v + t, 0.0), v)


class Terms(Penalty):
    """A penalty of a user that is made of terms which sums know: `2·Σ|w| + ½·Σw²`."""

    def unit_penalty(self, w):
        return keras.ops.sum(2.0 * keras.ops.abs(w) + 0.5 * keras.ops.square(w))

    def unit_prox(self, v, t):
        return (v - keras.ops.clip(v, -2.0 * t, 2.0 * t)) / (1.0 + t)

    def prox_terms(self, strength):
        return 2.0 * strength, strength, None


# What takes seconds for each is done for these, and by `make test-long` for all.
IN_SHORT = ("ElasticNet", "GroupLasso")
# One of each kind, with which laws are tried by default.
KINDS = (
    "L1",
    "L2",
    "ElasticNet",
    "GroupLasso",
    "SparseGroupLasso",
    "Nuclear",
    "SpectralNorm",
    "TotalVariation",
    "fused lasso",
    "a user's terms + GroupLasso",
)
CONVEX = {
    "L1": lambda s: L1(s),
    "L2": lambda s: L2(s),
    "ElasticNet": lambda s: ElasticNet(s, alpha=0.25),
    "GroupLasso": lambda s: GroupLasso(s),
    "GroupLasso by row": lambda s: GroupLasso(s, axis=0),
    "GroupLasso of both axes": lambda s: GroupLasso(s, axis=(0, 1)),
    "SparseGroupLasso": lambda s: SparseGroupLasso(s, l1_ratio=0.3),
    "Nuclear": lambda s: Nuclear(s),
    "SpectralNorm": lambda s: SpectralNorm(s),
    "TotalVariation": lambda s: TotalVariation(s),
    "TotalVariation by row": lambda s: TotalVariation(s, axis=1),
    "L1 + L2": lambda s: L1(s) + L2(0.5),
    "L1 + GroupLasso": lambda s: L1(s) + GroupLasso(0.5),
    "fused lasso": lambda s: TotalVariation(s) + L1(0.2),
    "L2 + Nuclear": lambda s: L2(s) + Nuclear(0.5),
    "a user's + L1": lambda s: Negative(s) + L1(0.5),
    "a user's terms + GroupLasso": lambda s: Terms(s) + GroupLasso(0.5),
    "a user's in a sum in a sum": lambda s: Sum([Negative(s) + L2(0.2)], 0.5) + Terms(0.1),
    "a sum in a sum": lambda s: Sum([L1(s) + L2(0.2), ElasticNet(0.3)], 0.5) + GroupLasso(0.1),
}
NON_CONVEX = {
    "MCP": lambda s: MCP(s, gamma=2.5),
    "SCAD": lambda s: SCAD(s, gamma=2.5),
    "MCP + L2": lambda s: MCP(s, gamma=2.5) + L2(0.5),
}
every_convex = pytest.mark.parametrize("make", CONVEX.values(), ids=CONVEX)
every_penalty = pytest.mark.parametrize(
    "make", (CONVEX | NON_CONVEX).values(), ids=[*CONVEX, *NON_CONVEX]
)


@pytest.fixture(autouse=True)
def float64():
    keras.config.set_floatx("float64")


def prox(penalty, v, t):
    return keras.ops.convert_to_numpy(penalty.prox(v, t))


def objective(penalty, w, v, t):
    return 0.5 * ((w - v) ** 2).sum() + t * float(penalty(w))


@pytest.mark.short(*KINDS, "a user's in a sum in a sum", "MCP", "SCAD")
@every_penalty
def test_no_point_is_better_than_the_prox(make):
    """By definition; the points tried are random, near and far, and found by descent."""

    @laws
    @given(matrices, steps, strengths, st.integers(0, 2**31))
    def law(v, t, strength, seed):
        penalty = make(strength)
        best = prox(penalty, v, t)
        least = objective(penalty, best, v, t)
        random = np.random.default_rng(seed)
        for scale in (1e-4, 1e-2, 1.0):
            for centre in (best, v, np.zeros_like(v)):
                w = centre + scale * random.normal(size=v.shape)
                assert least <= objective(penalty, w, v, t) + 1e-9
        for centre in (v, np.zeros_like(v)):
            assert least <= objective(penalty, centre, v, t) + 1e-9

    law()


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(make, id=name, marks=() if name in IN_SHORT else pytest.mark.long)
        for name, make in CONVEX.items()
    ],
)
def test_a_minimiser_that_uses_values_alone_finds_no_less(make):
    random = np.random.default_rng(5)
    for t in (0.1, 0.7, 2.0):
        v, penalty = 2 * random.normal(size=(3, 2)), make(0.6)
        best = prox(penalty, v, t)
        least = objective(penalty, best, v, t)
        found = optimize.minimize(
            lambda w, penalty=penalty, v=v, t=t: objective(penalty, w.reshape(v.shape), v, t),
            v.ravel(),
            method="Powell",
            options={"xtol": 1e-9, "ftol": 1e-12, "maxiter": 300, "maxfev": 3000},
        )
        assert least <= found.fun + 1e-9


@pytest.mark.short(*KINDS)
@every_convex
def test_it_is_firmly_non_expansive(make):
    @laws
    @given(matrices, steps, strengths, st.integers(0, 2**31))
    def law(v, t, strength, seed):
        penalty = make(strength)
        u = v + np.random.default_rng(seed).normal(size=v.shape)
        a, b = prox(penalty, u, t), prox(penalty, v, t)
        assert ((a - b) ** 2).sum() <= ((a - b) * (u - v)).sum() + 1e-9

    law()


def projections():
    """Of norms that are penalties at strength 1: the projection on the dual norm's ball."""

    def singular(operator):
        def project(v, radius):
            u, s, vt = np.linalg.svd(v, full_matrices=False)
            return (u * operator(s, radius)) @ vt

        return project

    def on_simplex(s, radius):
        if s.sum() <= radius:
            return s
        level = optimize.brentq(lambda a: np.maximum(s - a, 0).sum() - radius, -1, s.max())
        return np.maximum(s - level, 0)

    def columns(v, radius):
        radius = radius * np.sqrt(len(v))
        lengths = np.linalg.norm(v, axis=0)
        return v * np.minimum(1, radius / np.maximum(lengths, 1e-300))

    return {
        L1: lambda v, radius: np.clip(v, -radius, radius),
        GroupLasso: columns,
        Nuclear: singular(np.minimum),
        SpectralNorm: singular(on_simplex),
    }


@pytest.mark.parametrize(("kind", "project"), projections().items())
def test_moreaus_identity(kind, project):
    """`v = prox_{tΩ}(v) + t·prox_{Ω*/t}(v/t)`, where the second is a projection."""

    @laws
    @given(matrices, st.floats(0.01, 4))
    def law(v, t):
        rest = t * project(v / t, 1.0)
        np.testing.assert_allclose(prox(kind(1.0), v, t) + rest, v, atol=1e-9)

    law()


@laws
@given(matrices, steps, strengths)
def test_groups_of_one_weight_are_the_lasso(v, t, strength):
    keras.config.set_floatx("float64")
    one = GroupLasso(strength, axis=(0, 1))
    np.testing.assert_array_equal(prox(one, v, t), prox(L1(strength), v, t))
    column = v.reshape(1, -1)
    np.testing.assert_allclose(
        prox(GroupLasso(strength), column, t), prox(L1(strength), column, t), atol=1e-12
    )
    assert float(one(v)) == pytest.approx(float(L1(strength)(v)), rel=1e-12)


@laws
@given(matrices, steps, strengths)
def test_the_ends_of_the_sparse_group_lasso(v, t, strength):
    keras.config.set_floatx("float64")
    for ratio, same in ((0.0, GroupLasso(strength)), (1.0, L1(strength))):
        ours = SparseGroupLasso(strength, l1_ratio=ratio)
        np.testing.assert_allclose(prox(ours, v, t), prox(same, v, t), atol=1e-12)
        assert float(ours(v)) == pytest.approx(float(same(v)), rel=1e-12)


@pytest.mark.parametrize("kind", [MCP, SCAD])
def test_the_concave_ones_with_large_gamma_are_the_lasso(kind):
    @laws
    @given(matrices, steps, strengths)
    def law(v, t, strength):
        ours = kind(strength, gamma=1e12)
        np.testing.assert_allclose(prox(ours, v, t), prox(L1(strength), v, t), atol=1e-9)
        assert float(ours(v)) == pytest.approx(float(L1(strength)(v)), rel=1e-9, abs=1e-9)

    law()


@pytest.mark.parametrize("kind", [MCP, SCAD])
def test_the_concave_ones_leave_large_weights(kind):
    v = np.array([-8.0, 7.0, 0.1])
    assert prox(kind(1.0, gamma=3.0), v, 0.5).tolist() == [-8.0, 7.0, 0.0]


@pytest.mark.parametrize("length", [2, 3, 17, 64])
def test_total_variation_is_exact_for_long_rows(length):
    """By the conditions of Karush, Kuhn and Tucker: the running sum of what was taken
    stays within ±t, and is ±t where the weights step."""
    random = np.random.default_rng(length)
    v = np.cumsum(random.normal(size=(length, 5)), axis=0)
    for t in (0.05, 0.5, 3.0):
        w = prox(TotalVariation(1.0), v, t)
        running = np.cumsum(v - w, axis=0)
        np.testing.assert_allclose(running[-1], 0, atol=1e-9)
        assert np.abs(running).max() <= t + 1e-9
        step = np.diff(w, axis=0)
        moves = np.abs(step) > 1e-9
        np.testing.assert_allclose(running[:-1][moves], -t * np.sign(step[moves]), atol=1e-9)


@every_penalty
def test_a_step_of_zero_changes_nothing(make):
    v = np.random.default_rng(2).normal(size=(4, 3))
    np.testing.assert_allclose(prox(make(0.7), v, 0.0), v, atol=1e-12)


def test_what_has_no_prox_says_so():
    two = [GroupLasso(1.0) + TotalVariation(1.0), Sum([Negative(1.0)]) + GroupLasso(1.0)]
    for penalty in (
        Orthogonal(1.0),
        Hoyer(1.0),
        L1(1.0) + Nuclear(1.0),
        L1(1.0) + Hoyer(1.0),
        *two,
    ):
        assert not penalty.has_prox
        with pytest.raises(ValueError, match=f"{type(penalty).__name__} has no proximal operator"):
            penalty.prox(np.ones((2, 2)), 0.1)


@pytest.mark.parametrize("t", [-0.1, float("nan"), float("inf")])
def test_a_bad_step_size_is_refused(t):
    with pytest.raises(ValueError, match="`t` must be a finite number >= 0"):
        L1(1.0).prox(np.ones(3), t)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@every_penalty
def test_the_dtype_stays(make, dtype):
    v = keras.ops.cast(np.random.default_rng(2).normal(size=(4, 3)), dtype)
    assert keras.backend.standardize_dtype(make(0.7).prox(v, 0.1).dtype) == dtype


def test_each_weight_may_have_its_step_size():
    v, t = np.array([3.0, -3.0, 0.5]), np.array([1.0, 2.0, 1.0])
    assert prox(L1(1.0), v, t).tolist() == [2.0, -1.0, 0.0]
    assert prox(MCP(1.0, gamma=2.5), v, t).tolist() == [3.0, -3.0, 0.0]
    assert prox(L1(0.5) + L1(0.5), v, t).tolist() == [2.0, -1.0, 0.0]


@pytest.mark.parametrize(
    "make",
    [
        # Parts of the sum below, which is tested always.
        *(pytest.param(kind, marks=pytest.mark.long) for kind in (L1, L2, ElasticNet, GroupLasso)),
        lambda s: GroupLasso(s, axis=0),
        lambda s: SparseGroupLasso(s, l1_ratio=0.3),
        lambda s: L1(s) + L2(0.5) + GroupLasso(0.3),
    ],
)
def test_a_step_size_for_each_weight_is_a_metric(make):
    """The gradient of what is minimised, `½·Σ(w-v)²/t + Ω(w)`, leads nowhere below."""

    @laws
    @given(matrices, strengths, st.integers(0, 2**31))
    def law(v, strength, seed):
        random = np.random.default_rng(seed)
        # As of Adam: over six orders of magnitude.
        t = np.exp(random.uniform(np.log(1e-4), np.log(1e2), size=v.shape))
        penalty = make(strength)
        best = prox(penalty, v, t)

        def metric(w):
            return 0.5 * ((w - v) ** 2 / t).sum() + float(penalty(w))

        least = metric(best)
        assert np.isfinite(least)
        for scale in (1e-5, 1e-3, 1e-1, 1.0):
            for _ in range(5):
                w = best + scale * np.sqrt(t) * random.normal(size=v.shape)
                assert least <= metric(w) * (1 + 1e-12) + 1e-12
            for column in range(v.shape[1]):  # Along one group.
                w = best.copy()
                w[:, column] *= 1 + scale
                assert least <= metric(w) * (1 + 1e-12) + 1e-12
        assert least <= metric(np.zeros_like(v)) * (1 + 1e-12) + 1e-12

    law()


def test_equal_step_sizes_are_one():
    v = np.random.default_rng(1).normal(size=(5, 4))
    for penalty in (GroupLasso(0.4), SparseGroupLasso(0.7), L1(0.1) + GroupLasso(0.3)):
        each = prox(penalty, v, np.full_like(v, 0.8))
        np.testing.assert_allclose(each, prox(penalty, v, 0.8), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("penalty", [Nuclear(1.0), SpectralNorm(1.0), TotalVariation(1.0)])
def test_what_needs_one_step_size_refuses_many(penalty):
    with pytest.raises(ValueError, match=r"`t` must be of shape \(\) for "):
        penalty.prox(np.ones((2, 2)), np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"`t` must be of shape \(\) for Sum"):
        (penalty + L2(1.0)).prox(np.ones((2, 2)), np.ones((2, 2)))
