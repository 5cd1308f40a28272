"""Exact zeros: scikit-learn's lasso, `Proximal`, and Keras' own L1 with SGD and with Adam.

Usage: python benchmarks/exact_zeros.py [--data=diabetes,wine,breast_cancer]
           [--shares=0.9,0.5,0.2,0.07,0.02] [--steps=6000] [--json=FILE]

The same problem for all: a linear model without intercept on standardised columns; for
diabetes and wine (the number of its class) half the mean square, for breast_cancer the logistic
loss; plus the strength times the absolute sum. Strengths are shares of the one at which all
weights are zero. Keras' models train with `fit` on the whole data set, for the given number of
steps at each strength, from where they ended at the one before; SGD with the inverse of the
largest curvature as its learning rate and a momentum of 0.95, Adam with 0.01. With --decay=cosine
these rates go down to nothing at each strength, which brings gradients as near to zero as they
come; with --decay=none they stay.

Printed: the objective and its excess over scikit-learn's, relative to that; weights that are
exactly zero; weights that are zero or not unlike scikit-learn's; and the largest weight that
should be zero, relative to the largest weight of all. Computed in float64 from float32 weights.
"""

import argparse
import math
import os
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import sklearn
import tensorflow as tf
from _results import recording, slug
from sklearn import datasets, linear_model

import kerasreg

# The learning rate is moved this often in the steps of one strength.
PARTS = 20


def problem(name):
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    logistic = name == "breast_cancer"
    return x, y.astype(float) if logistic else (y - y.mean()) / y.std(), logistic


def objective(x, y, logistic, strength, w):
    z = x @ w
    loss = np.mean(np.logaddexp(0, z) - y * z) if logistic else 0.5 * np.mean((z - y) ** 2)
    return loss + strength * np.abs(w).sum()


def solved(x, y, logistic, strength):
    if not logistic:
        solver = linear_model.Lasso(strength, fit_intercept=False, tol=1e-14, max_iter=10**6)
        return solver.fit(x, y).coef_
    new = tuple(map(int, sklearn.__version__.split(".")[:2])) >= (1, 8)
    solver = linear_model.LogisticRegression(
        C=1 / (len(x) * strength), solver="liblinear", fit_intercept=False, tol=1e-10,
        max_iter=10**6, **({"l1_ratio": 1.0} if new else {"penalty": "l1"}),
    )  # fmt: skip
    return solver.fit(x, y).coef_[0]


def half_mse(y_true, y_pred):
    return 0.5 * keras.ops.mean(keras.ops.square(y_true - y_pred))


def trained(x, y, logistic, strengths, penalty, variable, optimizer, rate, steps, decay):
    keras.utils.set_random_seed(0)
    layer = keras.layers.Dense(1, use_bias=False, kernel_regularizer=penalty)
    model = keras.Sequential([keras.Input((x.shape[1],)), layer])
    loss = keras.losses.BinaryCrossentropy(from_logits=True) if logistic else half_mse
    model.compile(optimizer, loss, steps_per_execution=max(1, steps // PARTS))
    batch = x.astype("float32"), y.astype("float32")[:, None]
    batches = tf.data.Dataset.from_tensors(batch).repeat()

    def rate_of(part, _):
        return rate * (0.5 + 0.5 * math.cos(math.pi * part / PARTS)) if decay == "cosine" else rate

    for strength in strengths:
        variable.assign(strength)
        model.fit(
            batches, epochs=PARTS, steps_per_epoch=max(1, steps // PARTS), shuffle=False, verbose=0,
            callbacks=[keras.callbacks.LearningRateScheduler(rate_of)],
        )  # fmt: skip
        yield np.array(layer.kernel.value, "float64")[:, 0]


def contenders(curvature):
    """Name: penalty, its strength, optimizer, learning rate."""

    def kerass():
        penalty = keras.regularizers.L1(0.0)
        penalty.l1 = keras.Variable(0.0)  # So that one program trains at all strengths.
        return penalty, penalty.l1

    def ours():
        penalty = kerasreg.regularizers.L1(0.0)
        return penalty, penalty.strength

    def sgd():
        return keras.optimizers.SGD(1 / curvature, momentum=0.95)

    return {
        "kerasreg Proximal(SGD)": (*ours(), kerasreg.optimizers.Proximal(sgd()), 1 / curvature),
        "Keras L1, SGD": (*kerass(), sgd(), 1 / curvature),
        "Keras L1, Adam": (*kerass(), keras.optimizers.Adam(0.01), 0.01),
    }


def row(name, w, best, evaluate):
    """Prints a line; returns the excess of the objective, and how many zeros are unlike."""
    value, least = evaluate(w), evaluate(best)
    should = np.abs(w[best == 0])
    largest = should.max(initial=0.0) / np.abs(w).max()
    unlike = ((w == 0) != (best == 0)).sum()
    print(
        f"  {name:<24}{value:12.8f}{value / least - 1:12.1e}{(w == 0).sum():7}{unlike:8}"
        f"{largest:14.1e}"
    )
    return value / least - 1, int(unlike)


def main(results):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="diabetes,wine,breast_cancer")
    parser.add_argument("--shares", default="0.9,0.5,0.2,0.07,0.02")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--decay", choices=("cosine", "none"), default="cosine")
    flags = parser.parse_args()
    shares = [float(share) for share in flags.shares.split(",")]
    for name in flags.data.split(","):
        x, y, logistic = problem(name)
        slope = x.T @ (y - 0.5 if logistic else y) / len(x)
        strengths = [share * np.abs(slope).max() for share in shares]
        curvature = np.linalg.eigvalsh(x.T @ x / len(x))[-1] / (4 if logistic else 1)
        found = {
            title: list(trained(x, y, logistic, strengths, *parts, flags.steps, flags.decay))
            for title, parts in contenders(curvature).items()
        }
        print(f"\n{name}: {len(x)} rows, {x.shape[1]} weights")
        seen = {title: [] for title in found}
        for number, (share, strength) in enumerate(zip(shares, strengths, strict=True)):
            print(
                f"{f'{share:g} of the largest strength':<26}{'objective':>12}{'excess':>12}"
                f"{'zeros':>7}{'unlike':>8}{'not zero, of 1':>15}"
            )

            def evaluate(w, strength=strength):
                return objective(x, y, logistic, strength, w)  # noqa: B023

            best = solved(x, y, logistic, strength)
            row("scikit-learn", best, best, evaluate)
            for title, weights in found.items():
                seen[title].append(row(title, weights[number], best, evaluate))
        for title, rows in seen.items():
            excess, unlike = zip(*rows, strict=True)
            of = f"{name}.{slug(title)}"
            what = f"of {title} on {name}, beside scikit-learn's, over {len(rows)} strengths"
            results.add(
                f"{of}.excess", max(excess), f"largest relative excess of the objective {what}"
            )
            results.add(
                f"{of}.unlike",
                sum(unlike),
                f"weights that are zero or not unlike those {what}",
                of=len(rows) * x.shape[1],
                headline=True,
            )


if __name__ == "__main__":
    # Keras calls NumPy's old copy protocol.
    warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
    with recording() as results:
        main(results)
