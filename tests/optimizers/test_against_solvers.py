"""`Proximal` ends where solvers of the same problem end: the least objective, the same zeros.

Models of Keras are trained with `fit` on three data sets of scikit-learn, with each penalty at
five strengths, from nearly the one at which all weights are zero down to a fiftieth of it.
The references are scikit-learn's solvers; the textbooks' iterations, written out here in
NumPy; and skglm's solvers, where it is installed.
"""

import keras
import numpy as np
import pytest
import sklearn
from sklearn import datasets, linear_model

from kerasreg.optimizers import Proximal
from kerasreg.regularizers import L1, L2, MCP, SCAD, ElasticNet, GroupLasso

SHARES = (0.9, 0.5, 0.2, 0.07, 0.02)
L1_RATIO = 0.5
DATA_SETS = ["diabetes", "wine", "breast_cancer"]
every_data_set = pytest.mark.parametrize("name", DATA_SETS)
# Where each takes ten seconds.
one_data_set_in_short = pytest.mark.parametrize(
    "name", [DATA_SETS[0], *(pytest.param(name, marks=pytest.mark.long) for name in DATA_SETS[1:])]
)


class Problem:
    """The loss of a linear model without intercept: half the mean square, or logistic.

    And `½·ridge·‖w‖²`, where it is given.
    """

    def __init__(self, x, y, logistic=False, ridge=0.0):
        self.x, self.y, self.logistic, self.ridge = x, y, logistic, ridge
        curvature = np.linalg.eigvalsh(x.T @ x / len(x))[-1]
        self.largest_curvature = (curvature / 4 if logistic else curvature) + ridge

    def loss(self, w):
        z = self.x @ w
        square = 0.5 * self.ridge * np.sum(w**2)
        if self.logistic:
            return np.mean(np.logaddexp(0.0, z) - self.y * z) + square
        return 0.5 * np.sum((z - self.y) ** 2) / len(z) + square

    def gradient(self, w):
        z = self.x @ w
        predicted = 1 / (1 + np.exp(-z)) if self.logistic else z
        return self.x.T @ (predicted - self.y) / len(z) + self.ridge * w

    @property
    def first_gradient(self):
        """Where all weights are zero: they stay there from a strength of its size on."""
        return self.gradient(np.zeros((self.x.shape[1], *self.y.shape[1:])))


def standardised(x):
    return (x - x.mean(axis=0)) / x.std(axis=0)


def problem(name, ridge=0.0):
    """Diabetes: regression. Wine: regression on the class's number. Breast cancer: logistic."""
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    logistic = name == "breast_cancer"
    y = y.astype(float) if logistic else standardised(y)
    return Problem(standardised(x), y, logistic, ridge)


def grouped_problem(name):
    """The same with the columns of a group side by side, and (number of groups, their size)."""
    found = problem(name)
    x = found.x
    if name == "diabetes":  # Neighbours, as two cholesterols.
        groups = (5, 2)
    elif name == "wine":  # A measurement and its square.
        x, groups = np.stack([x, standardised(x**2)], axis=2).reshape(len(x), -1), (13, 2)
    else:  # Mean, error and worst of a measurement.
        x, groups = x.reshape(-1, 3, 10).transpose(0, 2, 1).reshape(len(x), -1), (10, 3)
    return Problem(x, found.y, found.logistic), groups


# Training.


def half_mse(y_true, y_pred):
    return 0.5 * keras.ops.mean(keras.ops.sum(keras.ops.square(y_true - y_pred), axis=-1))


def trained(problem, penalty, strengths, optimizer, steps, groups=None, **options):
    """The weights of one model after `fit` at each of the strengths, one after the other.

    With `groups`, the penalty sees a row of weights for each.
    """
    import tensorflow as tf

    columns, y = problem.x.shape[1], problem.y.reshape(len(problem.x), -1)
    units = y.shape[1]
    whole = penalty + L2(problem.ridge) if problem.ridge else penalty
    options = {"kernel_regularizer": whole, "kernel_initializer": "zeros", **options}
    if groups is None:
        layers = [keras.layers.Dense(units, use_bias=False, **options)]
    else:
        product = keras.layers.EinsumDense("ngk,gku->nu", (units,), **options)
        layers = [keras.layers.Reshape(groups), product]
    model = keras.Sequential([keras.Input((columns,)), *layers])
    loss = keras.losses.BinaryCrossentropy(from_logits=True) if problem.logistic else half_mse
    model.compile(optimizer, loss, steps_per_execution=500)
    batch = problem.x.astype("float32"), y.astype("float32")  # The whole data set is one.
    batches = tf.data.Dataset.from_tensors(batch).repeat()
    found = []
    for strength in strengths:
        strength_of(penalty).assign(strength)
        model.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0)
        w = np.array(model.layers[-1].kernel.value, "float64")
        found.append(w.reshape((columns, *problem.y.shape[1:])))
    return found


def strength_of(penalty):
    """A variable, so that one program trains at all strengths; in Keras' own it may be one."""
    if isinstance(penalty, keras.regularizers.L1):
        if not isinstance(penalty.l1, keras.Variable):
            penalty.l1 = keras.Variable(penalty.l1)
        return penalty.l1
    return penalty.strength


def proximal(problem, momentum=0.95):
    return Proximal(keras.optimizers.SGD(1 / problem.largest_curvature, momentum))


def assert_as_good(problem, penalty, found, best, rel=1e-5):
    """`penalty` is the function in NumPy."""
    objectives = [problem.loss(w) + penalty(w) for w in (found, best)]
    assert objectives[0] == pytest.approx(objectives[1], rel=rel)
    assert (found != 0).tolist() == (best != 0).tolist()


# scikit-learn's solvers.


def logistic_regression(strength, l1_ratio, x, y):
    """The weights with least mean loss and `strength` times the penalty of the elastic net."""
    lasso = l1_ratio == 1
    names = {"l1_ratio": l1_ratio}
    if tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 8):
        names = {"penalty": "l1"} if lasso else {"penalty": "elasticnet", **names}
    solver = linear_model.LogisticRegression(
        C=1 / (len(x) * strength), solver="liblinear" if lasso else "saga", fit_intercept=False,
        tol=1e-9, max_iter=10**5, random_state=0, **names,
    )  # fmt: skip
    return solver.fit(x, y).coef_[0]


def least_squares(strength, l1_ratio, x, y):
    solver = linear_model.ElasticNet(
        strength, l1_ratio=l1_ratio, fit_intercept=False, tol=1e-12, max_iter=10**6
    )
    return solver.fit(x, y).coef_


def absolute_sum(strength):
    return lambda w: strength * np.abs(w).sum()


def elastic_net(strength):
    """scikit-learn's, with its names for the parts."""
    return lambda w: (
        strength * (L1_RATIO * np.abs(w).sum() + 0.5 * (1 - L1_RATIO) * np.square(w).sum())
    )


@pytest.mark.short("diabetes")
@every_data_set
def test_the_lasso_of_sklearn(name):
    of = problem(name)
    strengths = [share * np.abs(of.first_gradient).max() for share in SHARES]
    solve = logistic_regression if of.logistic else least_squares
    all_found = trained(of, L1(0.0), strengths, proximal(of), 3000)
    for strength, found in zip(strengths, all_found, strict=True):
        best = solve(strength, 1.0, of.x, of.y)
        assert_as_good(of, absolute_sum(strength), found, best)
        assert 0 < (best != 0).sum() < len(best)


@pytest.mark.short("diabetes")
@every_data_set
def test_the_elastic_net_of_sklearn(name):
    of = problem(name)
    alphas = [share * np.abs(of.first_gradient).max() / L1_RATIO for share in SHARES]
    solve = logistic_regression if of.logistic else least_squares
    penalties = [ElasticNet.from_sklearn(a, L1_RATIO, loss="half_mse") for a in alphas]
    strengths = [float(penalty.strength) for penalty in penalties]
    all_found = trained(of, penalties[0], strengths, proximal(of), 1500)
    for alpha, found in zip(alphas, all_found, strict=True):
        assert_as_good(of, elastic_net(alpha), found, solve(alpha, L1_RATIO, of.x, of.y))


def test_the_lasso_of_sklearn_for_several_classes():
    """Rows of weights, one for each class, are groups: in `GroupLasso` their size counts."""
    x, classes = datasets.load_wine(return_X_y=True)
    y = np.eye(3)[classes]
    of = Problem(standardised(x), y - y.mean(axis=0))
    most = np.linalg.norm(of.first_gradient, axis=1).max()
    alphas = [share * most for share in SHARES]
    strengths = [alpha / np.sqrt(3) for alpha in alphas]
    all_found = trained(of, GroupLasso(0.0, axis=0), strengths, proximal(of), 1000)
    for alpha, found in zip(alphas, all_found, strict=True):
        solver = linear_model.MultiTaskLasso(alpha, fit_intercept=False, tol=1e-12, max_iter=10**5)
        best = solver.fit(of.x, of.y).coef_.T
        assert_as_good(of, row_norms(alpha / np.sqrt(3), best.shape), found, best)


# Keras' own L1.


@one_data_set_in_short
@pytest.mark.parametrize("make", [keras.optimizers.SGD, keras.optimizers.Adam])
def test_a_gradient_makes_no_zero(name, make):
    of = problem(name)
    strengths = [share * np.abs(of.first_gradient).max() for share in SHARES]
    rate = 0.1 / of.largest_curvature if make is keras.optimizers.SGD else 0.01
    options = {"kernel_initializer": "glorot_uniform"}
    all_found = trained(of, keras.regularizers.L1(0.0), strengths, make(rate), 1000, **options)
    solve = logistic_regression if of.logistic else least_squares
    for strength, found in zip(strengths, all_found, strict=True):
        assert (solve(strength, 1.0, of.x, of.y) == 0).any()
        assert (found != 0).all()


# The textbooks' iterations.


def soft(v, t, strength):
    return np.sign(v) * np.maximum(np.abs(v) - t * strength, 0.0)


def firm(gamma):
    """Of the minimax concave penalty (Zhang 2010)."""

    def prox(v, t, strength):
        line = soft(v, t, strength) / (1 - t / gamma)
        return np.where(np.abs(v) <= gamma * strength, line, v)

    return prox


def clipped(gamma):
    """Of the smoothly clipped absolute deviation (Fan and Li 2001)."""

    def prox(v, t, strength):
        size = np.abs(v)
        line = np.sign(v) * ((gamma - 1) * size - gamma * strength * t) / (gamma - 1 - t)
        beyond = np.where(size <= gamma * strength, line, v)
        return np.where(size <= (1 + t) * strength, soft(v, t, strength), beyond)

    return prox


def shrunk_rows(groups):
    """Of the group lasso (Yuan and Lin 2006)."""

    def prox(v, t, strength):
        rows = v.reshape(groups)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        threshold = t * strength * np.sqrt(groups[1])
        return (rows * np.maximum(1 - threshold / np.maximum(lengths, 1e-300), 0.0)).reshape(-1)

    return prox


def iterated(problem, prox, strengths, accelerated=True):
    """Proximal gradient steps until nothing moves, at each strength from the last one's end.

    ISTA, or FISTA with restarts: Beck and Teboulle 2009; O'Donoghue and Candès 2015.
    """
    t = 1 / problem.largest_curvature
    w = np.zeros(problem.x.shape[1])
    found = []
    for strength in strengths:
        ahead, k, moved = w, 1.0, np.inf
        for _ in range(50_000):
            new = prox(ahead - t * problem.gradient(ahead), t, strength)
            if accelerated and (ahead - new) @ (new - w) > 0:
                ahead, k = w, 1.0
                continue
            moved = np.abs(new - ahead).max()
            following = (1 + np.sqrt(1 + 4 * k**2)) / 2
            ahead = new + (k - 1) / following * (new - w) if accelerated else new
            w, k = new, following
            if moved < 1e-10:
                break
        assert moved < 1e-10
        found.append(w)
    return found


def mcp(strength, gamma):
    def value(w):
        size = np.abs(w)
        rising = strength * size - size**2 / (2 * gamma)
        return np.where(size <= gamma * strength, rising, 0.5 * gamma * strength**2).sum()

    return value


def scad(strength, gamma):
    def value(w):
        size = np.abs(w)
        bent = (2 * gamma * strength * size - size**2 - strength**2) / (2 * (gamma - 1))
        beyond = np.where(size <= gamma * strength, bent, 0.5 * strength**2 * (gamma + 1))
        return np.where(size <= strength, strength * size, beyond).sum()

    return value


def row_norms(strength, groups):
    weight = strength * np.sqrt(groups[1])
    return lambda w: weight * np.linalg.norm(w.reshape(groups), axis=1).sum()


@pytest.mark.short("diabetes")
@every_data_set
def test_the_textbook_iteration_finds_what_sklearn_finds(name):
    of = problem(name)
    strengths = [share * np.abs(of.first_gradient).max() for share in SHARES]
    solve = logistic_regression if of.logistic else least_squares
    for strength, found in zip(strengths, iterated(of, soft, strengths), strict=True):
        best = solve(strength, 1.0, of.x, of.y)
        assert_as_good(of, absolute_sum(strength), found, best, rel=1e-8)


def group_lasso(name):
    """The problem in groups, these, the strengths, and what `Proximal` finds."""
    of, groups = grouped_problem(name)
    lengths = np.linalg.norm(of.first_gradient.reshape(groups), axis=1)
    strengths = [share * lengths.max() / np.sqrt(groups[1]) for share in SHARES]
    penalty = GroupLasso(0.0, axis=0)
    return of, groups, strengths, trained(of, penalty, strengths, proximal(of), 3000, groups)


@one_data_set_in_short
def test_the_group_lasso_of_the_textbook(name):
    of, groups, strengths, all_found = group_lasso(name)
    all_best = iterated(of, shrunk_rows(groups), strengths)
    for strength, found, best in zip(strengths, all_found, all_best, strict=True):
        assert_as_good(of, row_norms(strength, groups), found, best)
        assert set((found.reshape(groups) != 0).sum(axis=1).tolist()) <= {0, groups[1]}
    # Some go, some stay.
    assert 0 < (all_found[1] != 0).sum() < len(all_found[1])


CONCAVE = {"MCP": (MCP, firm, mcp, 3.0), "SCAD": (SCAD, clipped, scad, 3.7)}
every_concave = pytest.mark.parametrize("concave", CONCAVE)


def concave_penalty(name, concave):
    """The problem, the strengths, `gamma`, and what `Proximal` finds.

    The logistic loss is bent a fourth as much as the square: so its `gamma` is four times as
    large. Where weights are no longer shrunk they grow nearly without end, to part classes that
    can be parted: a ridge stops them.
    """
    make, _, _, gamma = CONCAVE[concave]
    of = problem(name, ridge=0.01 if name == "breast_cancer" else 0.0)
    gamma = 4 * gamma if of.logistic else gamma
    strengths = [share * np.abs(of.first_gradient).max() for share in SHARES]
    # There may be more than one minimum. Without momentum it goes to the nearest.
    optimizer = proximal(of, momentum=0.0)
    return of, strengths, gamma, trained(of, make(0.0, gamma), strengths, optimizer, 5000)


@pytest.mark.short("diabetes-MCP")
@every_concave
@one_data_set_in_short
def test_the_concave_penalties_of_the_textbook(name, concave):
    _, prox, value, _ = CONCAVE[concave]
    of, strengths, gamma, all_found = concave_penalty(name, concave)
    all_best = iterated(of, prox(gamma), strengths, accelerated=False)
    for strength, found, best in zip(strengths, all_found, all_best, strict=True):
        assert_as_good(of, value(strength, gamma), found, best)
        np.testing.assert_allclose(found, best, atol=1e-3 * np.abs(best).max())


# skglm's solvers.


def solved_by_skglm(problem, datafit, penalties, solver, starts):
    x, y = np.asfortranarray(problem.x), 2 * problem.y - 1 if problem.logistic else problem.y
    return [
        solver.solve(x, y, datafit, penalty, start.copy(), x @ start)[0]
        for penalty, start in zip(penalties, starts, strict=True)
    ]


@every_data_set
def test_the_group_lasso_of_skglm(name):
    skglm = pytest.importorskip("skglm")
    from skglm.solvers import GroupBCD, GroupProxNewton

    of, groups, strengths, all_found = group_lasso(name)
    columns = np.arange(groups[0] * groups[1], dtype=np.int32)
    starts = np.append(columns[:: groups[1]], len(columns)).astype(np.int32)
    kind = skglm.datafits.LogisticGroup if of.logistic else skglm.datafits.QuadraticGroup
    solver = (GroupProxNewton if of.logistic else GroupBCD)(tol=1e-9, max_iter=5000)
    # Which has the root of the size only as a weight.
    weights = np.full(groups[0], np.sqrt(groups[1]))
    penalties = [skglm.penalties.WeightedGroupL2(s, weights, starts, columns) for s in strengths]
    zeros = [np.zeros(len(columns)) for _ in strengths]
    all_best = solved_by_skglm(of, kind(starts, columns), penalties, solver, zeros)
    for strength, found, best in zip(strengths, all_found, all_best, strict=True):
        assert_as_good(of, row_norms(strength, groups), found, best)


@every_concave
@pytest.mark.parametrize("name", ["diabetes", "wine"])  # It has no ridge beside these.
def test_the_concave_penalties_of_skglm(name, concave):
    skglm = pytest.importorskip("skglm")
    from skglm.solvers import AndersonCD

    of, strengths, gamma, all_found = concave_penalty(name, concave)
    kind = skglm.penalties.MCPenalty if concave == "MCP" else skglm.penalties.SCAD
    penalties = [kind(strength, gamma) for strength in strengths]
    solver = AndersonCD(tol=1e-9, max_iter=500, fit_intercept=False)
    # On a path of its own it ends once in a higher minimum: so it is asked whether this is one.
    all_best = solved_by_skglm(of, skglm.datafits.Quadratic(), penalties, solver, all_found)
    for strength, found, best in zip(strengths, all_found, all_best, strict=True):
        assert_as_good(of, CONCAVE[concave][2](strength, gamma), found, best)
