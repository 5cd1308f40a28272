"""A search through the library: KerasTuner's own tuner, kerasreg's hypermodel.

Run: python examples/search_digits.py
"""

import tempfile

import keras_tuner
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kerasreg

EPOCHS = 10


def main() -> None:
    x, y = load_digits(return_X_y=True)
    x = x.astype("float32")
    x_train, x_valid, y_train, y_valid = train_test_split(
        x, y, test_size=0.25, random_state=0, stratify=y
    )
    hypermodel = kerasreg.hypermodels.DenseHyperModel(
        features=64,
        classes=10,
        epochs=EPOCHS,
        samples=len(x_train),
        mean=x_train.mean(axis=0),
        variance=x_train.var(axis=0),
        seed=0,
    )
    with tempfile.TemporaryDirectory() as folder:
        tuner = keras_tuner.RandomSearch(
            hypermodel, "val_accuracy", max_trials=4, seed=1, directory=folder
        )
        # Like `tuner.search(...)`, but a search in which every trial failed raises.
        trials = kerasreg.tuners.run_search(
            tuner, x_train, y_train, validation_data=(x_valid, y_valid), verbose=0
        )
        for trial in trials:
            values = trial.hyperparameters.values
            print(
                f"val_accuracy {trial.score:.3f}: {values['optimizer']}, "
                f"penalty {values['penalty']}, dropout {values['dropout']}, "
                f"policy {values['learning_rate_policy']}"
            )
        model = tuner.get_best_models()[0]
        loss, accuracy = model.evaluate(x_valid, y_valid, verbose=0)
    print(f"best model: val_loss {loss:.3f}, val_accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
