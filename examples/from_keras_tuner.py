"""From KerasTuner alone: the hypermodel of its guide as it is, and another class of tuners.

The model is that of KerasTuner's guide "Getting started": the number of layers, the units of each,
the activation, whether there is dropout, and the learning rate. Nothing of it changes. The trials
that share a program are trained together, and KerasTuner reads the folder afterwards.
Run: python examples/from_keras_tuner.py [--trials=24]
"""

import argparse
import tempfile

import keras
import keras_tuner
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kerasreg


# [guide]
def build_model(hp):
    model = keras.Sequential()
    model.add(layers.Flatten())
    # Tune the number of layers.
    for i in range(hp.Int("num_layers", 1, 3)):
        model.add(
            layers.Dense(
                # Tune number of units separately.
                units=hp.Int(f"units_{i}", min_value=32, max_value=512, step=32),
                activation=hp.Choice("activation", ["relu", "tanh"]),
            )
        )
    if hp.Boolean("dropout"):
        model.add(layers.Dropout(rate=0.25))
    model.add(layers.Dense(10, activation="softmax"))
    learning_rate = hp.Float("lr", min_value=1e-4, max_value=1e-2, sampling="log")
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate=learning_rate),
        loss="categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


# [end]


def main(argv=None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=24)
    trials = parser.parse_args(argv).trials
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32").reshape(-1, 8, 8)
    y = keras.utils.to_categorical(y)
    x_train, x_val, y_train, y_val = train_test_split(x, y, test_size=0.25, random_state=0)
    with tempfile.TemporaryDirectory() as folder:
        # [search]
        # keras_tuner.RandomSearch( in the guide.
        tuner = kerasreg.tuners.VectorizedRandomSearch(
            hypermodel=build_model,
            objective="val_accuracy",
            max_trials=trials,
            seed=1,
            trials_per_structure=8,  # Of 8 trials each in a row have the layers in common.
            directory=folder,
            project_name="helloworld",
        )
        tuner.search(x_train, y_train, epochs=2, validation_data=(x_val, y_val), verbose=0)
        print(tuner.lane_report())
        best_hp = tuner.get_best_hyperparameters()[0]
        print(best_hp.values)
        best_model = tuner.get_best_models()[0]
        # [end]
        accuracy = best_model.evaluate(x_val, y_val, verbose=0)[1]
        # The files are KerasTuner's, which goes on from them.
        again = keras_tuner.RandomSearch(
            hypermodel=build_model,
            objective="val_accuracy",
            max_trials=trials,
            directory=folder,
            project_name="helloworld",
        )
        known = len(again.oracle.end_order)
    print(f"best model: validation accuracy {accuracy:.3f}")
    print(f"KerasTuner reads {known} trials of the folder")
    shared = sum(row.trials for row in tuner.lane_report() if row.at_once > 1)
    score = tuner.oracle.get_best_trials()[0].score
    return {"known": known, "shared": shared, "accuracy": accuracy, "score": score}


if __name__ == "__main__":
    main()
