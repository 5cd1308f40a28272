"""Hundreds of settings on a laptop: a KerasTuner search whose trials are trained together.

The model is written with Keras' own layers. Learning rate, dropout, the strength of a penalty and
label smoothing are searched: values, in which trials of one program may differ. The time of
KerasTuner's own search is measured beside it, with a few trials of the same space.
Run: python examples/many_settings_on_a_laptop.py [--trials=200] [--beside=3]
"""

import argparse
import tempfile
import time

import keras
import keras_tuner
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kerasreg

EPOCHS = 10


# [model]
def build(hp):
    """A hypermodel as KerasTuner's guides write it."""
    penalty = keras.regularizers.L2(hp.Float("penalty", 1e-6, 1e-2, sampling="log"))
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(128, "relu", kernel_regularizer=penalty),
            keras.layers.Dropout(hp.Float("dropout", 0.0, 0.6)),
            keras.layers.Dense(10, "softmax"),
        ]
    )
    loss = keras.losses.CategoricalCrossentropy(
        label_smoothing=hp.Float("label_smoothing", 0.0, 0.2)
    )
    rate = hp.Float("learning_rate", 1e-4, 1e-1, sampling="log")
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    return model


# [end]


def searched(kind, trials, data, folder):
    """Searches with a class of tuners; returns the tuner and the seconds that it took."""
    training, validation = data
    begun = time.perf_counter()
    # [search]
    tuner = kind(build, "val_accuracy", max_trials=trials, seed=1, directory=folder)
    tuner.search(*training, epochs=EPOCHS, validation_data=validation, verbose=0)
    # [end]
    return tuner, time.perf_counter() - begun


def main(argv=None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--beside", type=int, default=3, help="trials of KerasTuner's own search")
    flags = parser.parse_args(argv)
    x, y = load_digits(return_X_y=True)
    x, x_validation, y, y_validation = train_test_split(
        (x / 16).astype("float32"),
        keras.utils.to_categorical(y),
        test_size=0.25,
        random_state=0,
        stratify=y,
    )
    data = (x, y), (x_validation, y_validation)
    with tempfile.TemporaryDirectory() as folder:
        lanes = kerasreg.tuners.VectorizedRandomSearch
        tuner, seconds = searched(lanes, flags.trials, data, f"{folder}/lanes")
        print(f"{flags.trials} settings in {seconds:.1f} s, {flags.trials / seconds:.1f} a second")
        print(tuner.lane_report())
        best = tuner.oracle.get_best_trials()[0]
        print(f"best of them: validation accuracy {best.score:.3f} with")
        for name, value in best.hyperparameters.values.items():
            print(f"  {name} = {value:.2g}")
        found = {
            "trials": len(tuner.oracle.end_order),
            "share": tuner.lane_report().share,
            "best": best.score,
        }
        if flags.beside:
            _, alone = searched(keras_tuner.RandomSearch, flags.beside, data, f"{folder}/alone")
            print(
                f"KerasTuner, one after the other: {flags.beside} in {alone:.1f} s, "
                f"{flags.beside / alone:.2f} a second"
            )
    return found


if __name__ == "__main__":
    main()
