"""All trials of a search as one model: folds, greedy selection, one SavedModel.

Run: python examples/all_trials_together.py
"""

import tempfile

import keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kerasreg


def build(hp):
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Rescaling(1 / 16),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dropout(hp.Float("dropout", 0.0, 0.6)),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    rate = hp.Float("learning_rate", 5e-4, 1e-2, sampling="log")
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    return model


def main(argv=None) -> dict[str, float]:
    x, y = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(
        x.astype("float32"), y, test_size=0.25, random_state=0, stratify=y
    )
    with tempfile.TemporaryDirectory() as folder:
        tuner = kerasreg.tuners.VectorizedRandomSearch(
            build, "val_loss", max_trials=12, seed=1, folds=5, batches="own", directory=folder
        )
        tuner.search(x, y, epochs=20, batch_size=32, verbose=0)
        best = tuner.get_best_models()[0]
        selection = tuner.select_ensemble()
        print(selection)
        ensemble = selection.model()
        path = kerasreg.serving.export(ensemble, f"{folder}/digits", samples=x_test)
        print(f"exported version {path.rpartition('/')[2]} of {len(ensemble.members())} networks")
    found = {}
    for name, model in {"best model": best, "ensemble": ensemble}.items():
        found[name] = float((model.predict(x_test, verbose=0).argmax(axis=1) == y_test).mean())
        print(f"{name}: test accuracy {found[name]:.3f}")
    return found


if __name__ == "__main__":
    main()
