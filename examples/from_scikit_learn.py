"""From scikit-learn's linear models: the same coefficients and the same zeros, by Keras.

`lasso_path` and `ElasticNet` of scikit-learn on its diabetes data, and a Keras model of one layer
with the penalties of kerasreg, trained at all strengths at once. The coefficients are compared.
Run: python examples/from_scikit_learn.py [--steps=2000]
"""

import argparse

import keras
import numpy as np
import sklearn.linear_model
import tensorflow as tf
from sklearn.datasets import load_diabetes

import kerasreg

ALPHAS = [0.5, 0.2, 0.1, 0.05, 0.02, 0.01]


def compiled(penalty, x):
    """A linear model; its weights become exactly zero by `Proximal`."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((x.shape[1],)),
            keras.layers.Dense(1, use_bias=False, kernel_regularizer=penalty),
        ]
    )
    # Gradient descent ends at the minimum if its steps are no longer than the inverse curvature.
    curvature = 2 * float(np.linalg.eigvalsh(x.T @ x / len(x))[-1])
    sgd = keras.optimizers.SGD(1 / curvature, momentum=0.9)
    model.compile(kerasreg.optimizers.Proximal(sgd), "mse")
    return model


def main(argv=None) -> dict[str, np.ndarray]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    steps = parser.parse_args(argv).steps
    x, y = load_diabetes(return_X_y=True)
    x, y = (x - x.mean(axis=0)) / x.std(axis=0), (y - y.mean()) / y.std()
    # Each step sees all samples.
    sample = x.astype("float32"), y[:, None].astype("float32")
    batches = tf.data.Dataset.from_tensors(sample).repeat(steps)

    # [lasso]
    theirs = sklearn.linear_model.lasso_path(x, y, alphas=ALPHAS, tol=1e-10)[1].T
    # scikit-learn halves the mean of the squares, and "mse" does not: twice the strength.
    penalty = kerasreg.regularizers.L1(0.0)
    path = kerasreg.tuners.regularization_path(
        compiled(penalty, x), penalty, [2 * alpha for alpha in ALPHAS], batches, epochs=1
    )
    ours = np.array([weights[0][:, 0] for weights in path.weights])
    # [end]
    for alpha, one, other in zip(ALPHAS, ours, theirs, strict=True):
        print(
            f"Lasso(alpha={alpha}): zeros {(one == 0).sum()} here, {(other == 0).sum()} there; "
            f"coefficients differ by at most {np.abs(one - other).max():.0e}"
        )

    # [elastic net]
    of_sklearn = sklearn.linear_model.ElasticNet(0.1, l1_ratio=0.5, fit_intercept=False, tol=1e-10)
    expected = of_sklearn.fit(x, y).coef_
    net = compiled(kerasreg.regularizers.ElasticNet.from_sklearn(0.1, 0.5, loss="mse"), x)
    net.fit(batches, shuffle=False, verbose=0)
    found = net.get_weights()[0][:, 0]
    # [end]
    print(
        f"ElasticNet(0.1, l1_ratio=0.5): zeros {(found == 0).sum()} here, "
        f"{(expected == 0).sum()} there; "
        f"coefficients differ by at most {np.abs(found - expected).max():.0e}"
    )

    # [ridge]
    ridge = sklearn.linear_model.Ridge(50.0, fit_intercept=False).fit(x, y).coef_
    squares = compiled(kerasreg.regularizers.L2(2 * 50.0 / len(x)), x)
    squares.fit(batches, shuffle=False, verbose=0)
    # [end]
    difference = np.abs(squares.get_weights()[0][:, 0] - ridge).max()
    print(f"Ridge(50): coefficients differ by at most {difference:.0e}")
    return {
        "lasso": ours,
        "lasso of sklearn": theirs,
        "net": found,
        "net of sklearn": expected,
        "ridge": squares.get_weights()[0][:, 0],
        "ridge of sklearn": ridge,
    }


if __name__ == "__main__":
    main()
