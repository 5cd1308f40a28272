"""Choose the strength by one standard error: as strong as the noise allows.

scikit-learn's diabetes data with 30 columns of noise beside their ten. A linear model is trained
at 16 strengths of an L1 penalty in five folds, all at once. Of the strengths whose difference from
the best one is within its standard error the largest is chosen, and what it does is seen on the
path. Run: python examples/choose_the_strength.py [--epochs=200] [--picture=path.png]
"""

import argparse
import tempfile

import keras
import keras_tuner
import numpy as np
from sklearn.datasets import load_diabetes

import kerasreg

STRENGTHS = [float(value) for value in np.geomspace(0.003, 0.6, 16)]
NOISE = 30


def network(strength):
    """A linear model whose weights become exactly zero."""
    keras.utils.set_random_seed(0)
    penalty = kerasreg.regularizers.L1(strength)
    model = keras.Sequential([keras.Input((10 + NOISE,)), keras.layers.Dense(1)])
    kerasreg.models.attach_regularizer(model, penalty)
    optimizer = kerasreg.optimizers.Proximal(keras.optimizers.SGD(0.1))
    model.compile(optimizer, "mse", metrics=["mse"])
    return model, penalty


def main(argv=None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--picture", help="a file for the picture of the path")
    flags = parser.parse_args(argv)
    x, y = load_diabetes(return_X_y=True)
    x = np.hstack([x, np.random.default_rng(0).normal(size=(len(x), NOISE))])
    x = ((x - x.mean(axis=0)) / x.std(axis=0)).astype("float32")
    y = ((y - y.mean()) / y.std()).astype("float32")[:, None]

    # [search]
    def build(hp):
        return network(hp.Choice("strength", STRENGTHS))[0]

    with tempfile.TemporaryDirectory() as folder:
        # `val_mse` has no penalty in it, `val_loss` has.
        objective = keras_tuner.Objective("val_mse", "min")
        tuner = kerasreg.tuners.VectorizedGridSearch(
            build, objective, seed=1, folds=5, directory=folder
        )
        tuner.search(x, y, epochs=flags.epochs, batch_size=len(x), verbose=0)
        best = tuner.select()
        strongest = tuner.select(
            "one_standard_error",
            # What is to be small: a trial is simple if its penalty is strong.
            complexity=lambda trial: -trial.hyperparameters.get("strength"),
        )
    # [end]
    print(strongest)
    chosen = {
        name: selection.trial.hyperparameters.get("strength")
        for name, selection in (("best", best), ("one standard error", strongest))
    }
    # [path]
    model, penalty = network(0.0)
    path = kerasreg.tuners.regularization_path(
        model, penalty, STRENGTHS, x, y, epochs=flags.epochs, batch_size=len(x)
    )
    print(path)
    if flags.picture:
        path.plot(flags.picture, metric="mse")
    # [end]
    found = {}
    for name, strength in chosen.items():
        row = STRENGTHS.index(strength)
        of_noise = int(np.count_nonzero(path.weights[row][path.penalised[0]][10:]))
        print(
            f"{name}: strength {strength:.3f}, {path.rows[row].zeros:.0%} of the weights zero, "
            f"{of_noise} of {NOISE} columns of noise in use"
        )
        found |= {f"{name} strength": strength, f"{name} noise": of_noise}
    return found


if __name__ == "__main__":
    main()
