"""My own Keras model, regularized without rewriting it: one that exists, trained and saved.

A small convolutional network learns the digits from 0 to 4 and is saved. It is loaded again, and
learns the digits from 5 to 9 from few samples: its layers get a penalty toward zero whose strength
rises, dropout before its last layer, and smaller steps in the layers that have learnt already.
Run: python examples/my_own_keras_model.py [--epochs=30]
"""

import argparse
import tempfile

import keras
import numpy as np
from sklearn.datasets import load_digits

import kerasreg


def network():
    """A model of one's own: nothing of kerasreg in it."""
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(16, 3, activation="relu", name="block_1")(inputs)
    x = keras.layers.Conv2D(32, 3, activation="relu", name="block_2")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, keras.layers.Dense(5, name="head")(x))


def compiled(model, optimizer):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


def main(argv=None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=30)
    epochs = parser.parse_args(argv).epochs
    keras.utils.set_random_seed(0)
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32").reshape(-1, 8, 8, 1)
    old, new = (y < 5), (y >= 5)
    few, rest = np.flatnonzero(new)[:60], np.flatnonzero(new)[60:]
    with tempfile.TemporaryDirectory() as folder:
        pretrained = compiled(network(), keras.optimizers.Adam(1e-2))
        pretrained.fit(x[old], y[old], epochs=10, verbose=0)
        pretrained.save(f"{folder}/pretrained.keras")

        # [edit]
        model = keras.saving.load_model(f"{folder}/pretrained.keras")
        # A new model with the same weights, and the same outputs: dropout acts in training.
        model = kerasreg.models.insert_dropout(model, 0.3, after="pool").model
        penalty = kerasreg.regularizers.L2(0.0)
        print(kerasreg.models.attach_regularizer(model, penalty, layers=["block_*", "head"]))
        # [end]
        before = pretrained.predict(x[few], verbose=0)
        difference = float(np.abs(model.predict(x[few], verbose=0) - before).max())
        print(f"outputs differ from those of the pretrained model by {difference:.0e}")

        # [train]
        optimizer = kerasreg.optimizers.LayerLearningRates(
            keras.optimizers.Adam(1e-2), {"block_*": 0.1}
        )
        compiled(model, optimizer)
        rise = kerasreg.callbacks.HyperparameterScheduler(
            "strength", kerasreg.schedules.Linear(0.0, 1e-3, epochs)
        )
        model.fit(x[few], y[few] - 5, batch_size=16, epochs=epochs, callbacks=[rise], verbose=0)
        model.save(f"{folder}/mine.keras")
        # [end]
        again = keras.saving.load_model(f"{folder}/mine.keras")
    strength = float(again.get_layer("head").kernel_regularizer.strength)
    _, accuracy = again.evaluate(x[rest], y[rest] - 5, verbose=0)
    print(f"loaded again: strength {strength:.1e}, accuracy {accuracy:.3f} on {len(rest)} others")
    return {"difference": difference, "strength": strength, "accuracy": accuracy}


if __name__ == "__main__":
    main()
