"""The mappings to scikit-learn in the docstrings: equal objectives, equal minima.

scikit-learn documents what its estimators minimise:
Ridge: ‖y - Xw‖² + alpha·‖w‖²; Lasso: ‖y - Xw‖²/(2n) + alpha·‖w‖₁; ElasticNet:
‖y - Xw‖²/(2n) + alpha·l1_ratio·‖w‖₁ + ½·alpha·(1 - l1_ratio)·‖w‖².
"""

import keras
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sklearn import linear_model

from kerasreg.regularizers import L1, L2, ElasticNet

# Each example evaluates a model: a failure is shown as it is found, not the smallest one.
laws = settings(
    deadline=None, max_examples=12, derandomize=True, phases=[Phase.explicit, Phase.generate]
)
alphas = st.floats(0.0, 10.0, allow_subnormal=False)
ratios = st.floats(0.0, 1.0, allow_subnormal=False)
samples = st.integers(2, 40)
seeds = st.integers(0, 2**32 - 1)


def half_mse(y_true, y_pred):
    return 0.5 * keras.ops.mean(keras.ops.square(y_true - y_pred))


LOSSES = {"mse": "mse", "half_mse": half_mse}
# The minima, below, are asked of both losses always.
one_loss_in_short = pytest.mark.parametrize(
    "loss", ["mse", pytest.param("half_mse", marks=pytest.mark.long)]
)
both_losses = pytest.mark.parametrize("loss", LOSSES)


@pytest.fixture(autouse=True)
def float64(clean_keras):
    keras.config.set_floatx("float64")


def regression(n, seed):
    """n samples of five features, of which two matter, and any weights."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5))
    y = x @ np.array([2.0, -3.0, 0.0, 0.0, 0.0]) + 0.3 * rng.normal(size=n)
    return x, y, rng.normal(size=5)


def linear_model_of_keras(penalty, loss):
    keras.utils.clear_session(free_memory=False)
    layer = keras.layers.Dense(1, use_bias=False, kernel_regularizer=penalty)
    model = keras.Sequential([keras.Input((5,)), layer])
    model.compile(loss=LOSSES[loss], run_eagerly=True)
    return model


def reported_loss(penalty, loss, x, y, w):
    """What `evaluate` reports for a linear model of these weights."""
    model = linear_model_of_keras(penalty, loss)
    model.set_weights([w[:, None]])
    return model.evaluate(x, y[:, None], batch_size=len(x), verbose=0)


def loss_function(penalty, loss, x, y):
    """What `fit` minimises, as a function of the weights."""
    model = linear_model_of_keras(penalty, loss)

    def function(w):
        model.set_weights([np.reshape(w, (-1, 1))])
        return float(model.compute_loss(x, y[:, None], model(x)))

    return function


def ridge(x, y, w, alpha):
    return ((y - x @ w) ** 2).sum() + alpha * (w**2).sum()


def lasso(x, y, w, alpha):
    return ((y - x @ w) ** 2).sum() / (2 * len(x)) + alpha * np.abs(w).sum()


def elastic_net(x, y, w, alpha, l1_ratio):
    squared = ((y - x @ w) ** 2).sum() / (2 * len(x))
    absolute = alpha * l1_ratio * np.abs(w).sum()
    return squared + absolute + 0.5 * alpha * (1 - l1_ratio) * (w**2).sum()


def ridge_penalty(alpha, n, loss):
    """As the docstring of L2 says."""
    return L2(2 * alpha / n) if loss == "mse" else L2(alpha / n)


def lasso_penalty(alpha, loss):
    """As the docstring of L1 says."""
    return L1(2 * alpha) if loss == "mse" else L1(alpha)


# Random weights: the objectives are equal, times what the loss leaves out.


@one_loss_in_short
def test_ridge(loss):
    @laws
    @given(alphas, samples, seeds)
    def law(alpha, n, seed):
        x, y, w = regression(n, seed)
        ours = reported_loss(ridge_penalty(alpha, n, loss), loss, x, y, w)
        per_sample = {"mse": n, "half_mse": 2 * n}[loss]
        assert ours * per_sample == pytest.approx(ridge(x, y, w, alpha), rel=1e-6)

    law()


@one_loss_in_short
def test_lasso(loss):
    @laws
    @given(alphas, samples, seeds)
    def law(alpha, n, seed):
        x, y, w = regression(n, seed)
        ours = reported_loss(lasso_penalty(alpha, loss), loss, x, y, w)
        times = {"mse": 2, "half_mse": 1}[loss]
        assert ours == pytest.approx(times * lasso(x, y, w, alpha), rel=1e-6)

    law()


@one_loss_in_short
def test_elastic_net(loss):
    @laws
    @given(alphas, ratios, samples, seeds)
    def law(alpha, l1_ratio, n, seed):
        x, y, w = regression(n, seed)
        penalty = ElasticNet.from_sklearn(alpha, l1_ratio, loss=loss)
        ours = reported_loss(penalty, loss, x, y, w)
        times = {"mse": 2, "half_mse": 1}[loss]
        assert ours == pytest.approx(times * elastic_net(x, y, w, alpha, l1_ratio), rel=1e-6)

    law()


# The solver's solution is the minimum of the Keras loss. This does not lean on
# the formulas above: a wrong reading of the documentation would show here.


def assert_minimal(objective, solution, seed):
    """A convex function that grows in every tried direction is at its minimum."""
    lowest = objective(solution)
    rng = np.random.default_rng(seed)
    axes = np.eye(len(solution))
    for direction in [*axes, *-axes, *rng.normal(size=(10, len(solution)))]:
        for length in (1e-3, 1.0):
            assert objective(solution + length * direction) >= lowest - 1e-12
    # Where a weight is not zero the objective is smooth, hence flat.
    for axis in axes[solution != 0]:
        slope = (objective(solution + 1e-6 * axis) - objective(solution - 1e-6 * axis)) / 2e-6
        assert slope == pytest.approx(0.0, abs=1e-6)


@both_losses
@pytest.mark.parametrize("alpha", [0.1, 3.0])
def test_ridge_of_sklearn_minimises_the_keras_loss(loss, alpha):
    x, y, _ = regression(20, seed=1)
    solver = linear_model.Ridge(alpha, fit_intercept=False, tol=1e-12).fit(x, y)
    assert_minimal(loss_function(ridge_penalty(alpha, 20, loss), loss, x, y), solver.coef_, 2)


@both_losses
@pytest.mark.parametrize("alpha", [0.05, 0.5])
def test_lasso_of_sklearn_minimises_the_keras_loss(loss, alpha):
    x, y, _ = regression(20, seed=1)
    solver = linear_model.Lasso(alpha, fit_intercept=False, tol=1e-14, max_iter=10**6).fit(x, y)
    assert np.any(solver.coef_ == 0)
    assert np.any(solver.coef_ != 0)
    assert_minimal(loss_function(lasso_penalty(alpha, loss), loss, x, y), solver.coef_, 2)


@both_losses
@pytest.mark.parametrize(("alpha", "l1_ratio"), [(0.05, 0.2), (0.5, 0.8)])
def test_elastic_net_of_sklearn_minimises_the_keras_loss(loss, alpha, l1_ratio):
    x, y, _ = regression(20, seed=1)
    solver = linear_model.ElasticNet(
        alpha, l1_ratio=l1_ratio, fit_intercept=False, tol=1e-14, max_iter=10**6
    ).fit(x, y)
    penalty = ElasticNet.from_sklearn(alpha, l1_ratio, loss=loss)
    assert_minimal(loss_function(penalty, loss, x, y), solver.coef_, 2)


def test_a_wrong_mapping_is_not_minimal():
    """The check above can fail: twice the strength moves the minimum."""
    x, y, _ = regression(20, seed=1)
    solver = linear_model.Ridge(3.0, fit_intercept=False, tol=1e-12).fit(x, y)
    with pytest.raises(AssertionError):
        assert_minimal(loss_function(L2(2 * 2 * 3.0 / 20), "mse", x, y), solver.coef_, 2)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"alpha": -1.0}, "alpha"),
        ({"alpha": float("nan")}, "alpha"),
        ({"alpha": 1.0, "l1_ratio": 1.5}, "l1_ratio"),
        ({"alpha": 1.0, "l1_ratio": -0.5}, "l1_ratio"),
        ({"alpha": 1.0, "loss": "mae"}, "loss"),
    ],
)
def test_from_sklearn_refuses_what_sklearn_does_not_have(arguments, name):
    with pytest.raises(ValueError, match=rf"`{name}` must be .*Received: {name}="):
        ElasticNet.from_sklearn(**arguments)


def test_alpha_zero_is_no_penalty():
    assert float(ElasticNet.from_sklearn(0.0, 0.3).strength) == 0.0
