"""Images: how much augmentation, how much dropout? Both are values, and searched together.

A small convolutional network for scikit-learn's digits, few of which are given, with the layers of
Keras that turn, shift and zoom images. Their factors, the rate of dropout and the learning rate
are searched; the trials are lanes of one program.
Run: python examples/images_in_lanes.py [--trials=24] [--epochs=15]
"""

import argparse
import tempfile

import keras
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kerasreg


# [model]
def build(hp):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.RandomRotation(hp.Float("rotation", 0.0, 0.2), fill_mode="constant"),
            layers.RandomTranslation(hp.Float("shift", 0.0, 0.2), 0.1, fill_mode="constant"),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(hp.Float("dropout", 0.0, 0.6)),
            layers.Dense(10, "softmax"),
        ]
    )
    rate = hp.Float("learning_rate", 1e-3, 3e-2, sampling="log")
    model.compile(
        keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


# [end]


def main(argv=None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=15)
    flags = parser.parse_args(argv)
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32").reshape(-1, 8, 8, 1)
    x, x_rest, y, y_rest = train_test_split(x, y, train_size=300, random_state=0, stratify=y)
    x_val, x_test, y_val, y_test = train_test_split(x_rest, y_rest, train_size=500, random_state=0)
    with tempfile.TemporaryDirectory() as folder:
        # [search]
        tuner = kerasreg.tuners.VectorizedRandomSearch(
            build,
            "val_loss",
            max_trials=flags.trials,
            seed=1,
            # The first trial: no augmentation and no dropout, to compare with.
            initial_settings=[
                {"rotation": 0.0, "shift": 0.0, "dropout": 0.0, "learning_rate": 5e-3}
            ],
            directory=folder,
        )
        tuner.search(
            x, y, batch_size=32, epochs=flags.epochs, validation_data=(x_val, y_val), verbose=0
        )
        print(tuner.lane_report())
        columns = ["score", "rotation", "shift", "dropout", "learning_rate"]
        table = tuner.results()[columns]
        print(table.sort_values("score").head(5).to_string(index=False, float_format="%.3f"))
        # [end]
        model = tuner.get_best_models()[0]
        accuracy = model.evaluate(x_test, y_test, verbose=0)[1]
    plain = float(table["score"].iloc[0])
    print(f"without augmentation and dropout: validation loss {plain:.3f}")
    print(f"best: validation loss {table['score'].min():.3f}, test accuracy {accuracy:.3f}")
    return {
        "plain": plain,
        "best": float(table["score"].min()),
        "share": tuner.lane_report().share,
        "accuracy": accuracy,
    }


if __name__ == "__main__":
    main()
