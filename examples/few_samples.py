"""Few samples: folds, and a score that is not too good to be true.

Of scikit-learn's diabetes data 100 samples are given, and the other 342 are the truth. Settings are
compared in five folds. The best of them looks better than it is: its shrunken score, and its score
when it is trained again on other folds, are set beside what it scores on the samples that nobody
had. Scores are mean squared errors, of targets whose variance in training is 1.
Run: python examples/few_samples.py [--trials=48]
"""

import argparse
import tempfile

import keras
import keras_tuner
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

import kerasreg

EPOCHS = 30


def build(hp):
    penalty = keras.regularizers.L2(hp.Float("penalty", 1e-5, 1e-1, sampling="log"))
    model = keras.Sequential(
        [
            keras.Input((10,)),
            keras.layers.Dense(32, "relu", kernel_regularizer=penalty),
            keras.layers.Dropout(hp.Float("dropout", 0.0, 0.6)),
            keras.layers.Dense(1),
        ]
    )
    rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    model.compile(keras.optimizers.Adam(rate), "mse", metrics=["mse"])
    return model


def main(argv=None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=48)
    trials = parser.parse_args(argv).trials
    x, y = load_diabetes(return_X_y=True)
    x, x_others, y, y_others = train_test_split(x, y, train_size=100, random_state=0)
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    x, x_others = (x - mean) / deviation, (x_others - mean) / deviation
    y, y_others = (y - y.mean()) / y.std(), (y_others - y.mean()) / y.std()
    with tempfile.TemporaryDirectory() as folder:
        # [search]
        tuner = kerasreg.tuners.VectorizedRandomSearch(
            build,
            # Without the penalty, which is in `val_loss`.
            keras_tuner.Objective("val_mse", "min"),
            max_trials=trials,
            seed=1,
            folds=5,
            directory=folder,
        )
        tuner.search(x, y, epochs=EPOCHS, batch_size=16, verbose=0)
        chosen = tuner.select()
        confirmed = tuner.confirm(leading=5, executions=2)
        # [end]
        print(confirmed)
        # [model]
        model = tuner.load_model(confirmed.trial)
        selection = tuner.select_ensemble()
        ensemble = selection.model()
        # [end]
    first = chosen.rows[0]
    again = next(row for row in confirmed.rows if row.setting == first.setting)
    truth, of_ensemble = (
        float(np.mean((each.predict(x_others, verbose=0)[:, 0] - y_others) ** 2))
        for each in (model, ensemble)
    )
    print(
        f"the best of {len(chosen.rows)} settings in the five folds of the search: {first.mean:.3f}"
    )
    print(f"its shrunken score: {chosen.score:.3f} ± {chosen.standard_error:.3f}")
    print(f"with five other folds beside them: {again.mean:.3f}")
    print(f"the confirmed model on {len(x_others)} samples that nobody had: {truth:.3f}")
    print(
        f"the ensemble: expected {selection.expected_score:.3f} ± {selection.standard_error:.3f}, "
        f"there {of_ensemble:.3f}"
    )
    return {
        "best": first.mean,
        "shrunken": chosen.score,
        "again": again.mean,
        "measured": again.measured,
        "truth": truth,
        "ensemble": of_ensemble,
    }


if __name__ == "__main__":
    main()
