"""Few samples: folds, and a score that is not too good to be true.

Of scikit-learn's breast cancer data 90 samples are given, and the others are the truth. Settings
are compared in five folds, each repeated with other seeds. The best of them looks better than it
is: its shrunken score and its score when it is trained again on other folds are set beside what
it scores on all samples that nobody had.
Run: python examples/few_samples.py [--trials=48]
"""

import argparse
import tempfile

import keras
import keras_tuner
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

import kerasreg

EPOCHS = 20


def build(hp):
    penalty = keras.regularizers.L2(hp.Float("penalty", 1e-5, 1e-1, sampling="log"))
    model = keras.Sequential(
        [
            keras.Input((30,)),
            keras.layers.Dense(32, "relu", kernel_regularizer=penalty),
            keras.layers.Dropout(hp.Float("dropout", 0.0, 0.6)),
            keras.layers.Dense(2, "softmax"),
        ]
    )
    rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    crossentropy = "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.Adam(rate), crossentropy, metrics=[crossentropy])
    return model


def main(argv=None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=48)
    trials = parser.parse_args(argv).trials
    x, y = load_breast_cancer(return_X_y=True)
    x, x_others, y, y_others = train_test_split(x, y, train_size=90, random_state=0, stratify=y)
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    x, x_others = ((part - mean) / deviation for part in (x, x_others))
    with tempfile.TemporaryDirectory() as folder:
        # [search]
        tuner = kerasreg.tuners.VectorizedRandomSearch(
            build,
            # Without the penalty, which is in `val_loss`.
            keras_tuner.Objective("val_sparse_categorical_crossentropy", "min"),
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
        (model,) = tuner.get_best_models(1)
        ensemble = tuner.select_ensemble()
        together = ensemble.model()
        # [end]
    best = min(row.mean for row in chosen.rows)
    truth = model.evaluate(x_others, y_others, verbose=0, return_dict=True)
    name = "sparse_categorical_crossentropy"
    print(f"the best mean of {len(chosen.rows)} settings in five folds: {best:.3f}")
    print(f"its shrunken score: {chosen.score:.3f} ± {chosen.standard_error:.3f}")
    print(f"the confirmed one, trained again on other folds: {confirmed.confirmed_score:.3f}")
    print(f"the best model on {len(x_others)} samples that nobody had: {truth[name]:.3f}")
    together.compile(loss=name, metrics=[name])
    of_ensemble = together.evaluate(x_others, y_others, verbose=0, return_dict=True)[name]
    print(
        f"the ensemble: expected {ensemble.expected_score:.3f} ± {ensemble.standard_error:.3f}, "
        f"there {of_ensemble:.3f}"
    )
    return {
        "best": best,
        "shrunken": chosen.score,
        "confirmed": confirmed.confirmed_score,
        "measured": max(row.measured for row in confirmed.rows),
        "truth": truth[name],
        "ensemble": of_ensemble,
    }


if __name__ == "__main__":
    main()
