"""Rows that belong together, and rows in the order of time: folds that do not flatter.

Made-up patients, each with ten rows that are alike: by folds of rows a network is tested on
patients that it knows, by folds of groups on new ones. And a made-up series whose days are much
like the days before: by shuffled folds a network is tested on days between those that it knows, by
folds in the order of time on later ones. Both are set beside the truth, new patients and later
days.
Run: python examples/groups_and_time.py [--trials=12]
"""

import argparse
import tempfile

import keras
import numpy as np
from sklearn.model_selection import TimeSeriesSplit

import kerasreg

EPOCHS, FEATURES = 15, 20


def build(hp):
    penalty = keras.regularizers.L2(hp.Float("penalty", 1e-5, 1e-1, sampling="log"))
    model = keras.Sequential(
        [
            keras.Input((FEATURES,)),
            keras.layers.Dense(64, "relu", kernel_regularizer=penalty),
            keras.layers.Dropout(hp.Float("dropout", 0.0, 0.6)),
            keras.layers.Dense(2, "softmax"),
        ]
    )
    rate = hp.Float("learning_rate", 1e-3, 3e-2, sampling="log")
    model.compile(
        keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def patients(count, rng):
    """Ten rows of each patient, which are alike; the features hardly tell who is ill."""
    center = rng.normal(size=(count, FEATURES))
    ill = (center[:, 0] + 1.5 * rng.normal(size=count) > 0).astype("int64")
    rows = np.repeat(center, 10, axis=0) + 0.1 * rng.normal(size=(10 * count, FEATURES))
    return rows.astype("float32"), np.repeat(ill, 10), np.repeat(np.arange(count), 10)


def days(count, rng):
    """A row for each day, much like that of the day before; so is what is to be told."""
    steps = rng.normal(size=(count, FEATURES + 1))
    series = np.zeros_like(steps)
    for day in range(1, count):
        series[day] = 0.98 * series[day - 1] + steps[day]
    # A little of it is in the first feature.
    up = 0.5 * series[:, 0] + series[:, -1] > 0
    return series[:, :-1].astype("float32"), up.astype("int64")


def searched(name, trials, data, new, folds, groups=None):
    """The accuracy in the folds, and that of the best setting on new rows."""
    with tempfile.TemporaryDirectory() as folder:
        # [search]
        tuner = kerasreg.tuners.VectorizedRandomSearch(
            build, "val_accuracy", max_trials=trials, seed=1, folds=folds, directory=folder
        )
        tuner.search(*data, epochs=EPOCHS, groups=groups, verbose=0)
        # [end]
        expected = tuner.select().score
        truth = tuner.get_best_models()[0].evaluate(*new, verbose=0)[1]
    print(f"{name}: accuracy {expected:.2f} in the folds, {truth:.2f} on new ones")
    return expected, truth


def main(argv=None) -> dict[str, tuple[float, float]]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=12)
    trials = parser.parse_args(argv).trials
    rng = np.random.default_rng(0)
    x, y, patient = patients(150, rng)
    new = patients(1000, rng)[:2]
    found = {}
    series, up = days(23_000, rng)
    (past, is_up), later = (series[:3000], up[:3000]), (series[3000:], up[3000:])
    # [folds]
    for name, groups in (("folds of rows", None), ("folds of patients", patient)):
        found[name] = searched(name, trials, (x, y), new, 5, groups)
    for name, folds in (("shuffled days", 5), ("days in order", TimeSeriesSplit(5))):
        found[name] = searched(name, trials, (past, is_up), later, folds)
    # [end]
    return found


if __name__ == "__main__":
    main()
