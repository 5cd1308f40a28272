"""Smaller and served: units that become zero, are cut out, and eight bits for each weight.

A dense network for scikit-learn's digits, with a group lasso on its units. It is compressed, is
trained a little more, and is exported three times: as the network without a penalty, as the
smaller one, and as the smaller one in int8. What is exported is compared with the original.
Run: python examples/smaller_and_served.py [--epochs=60]
"""

import argparse
import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kerasreg

BATCH_SIZE = 64


def network():
    keras.utils.set_random_seed(0)
    hidden = [keras.layers.Dense(256, "relu", name=f"hidden_{k}") for k in (1, 2)]
    last = keras.layers.Dense(10, "softmax", name="classes")
    return keras.Sequential([keras.Input((64,), name="pixels"), *hidden, last])


def train(model, data, epochs, learning_rate, wrapper=lambda optimizer: optimizer):
    """Fits a model while the learning rate falls to nothing."""
    steps = epochs * -(-len(data[0]) // BATCH_SIZE)
    rate = kerasreg.schedules.Cosine(learning_rate, 0.0, steps)
    optimizer = wrapper(keras.optimizers.Adam(rate))
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(*data, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)


def size(path):
    return sum(file.stat().st_size for file in pathlib.Path(path).rglob("*") if file.is_file())


def main(argv=None) -> dict[str, dict[str, float]]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=60)
    epochs = parser.parse_args(argv).epochs
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.25, random_state=0, stratify=y)
    data, test = (x, y), (x_test, y_test)

    original = network()
    train(original, data, epochs, 2e-3)

    # [smaller]
    model = network()
    penalty = kerasreg.regularizers.GroupLasso(1e-3, axis=-1)  # A group is a unit.
    kerasreg.models.attach_regularizer(model, penalty, layers="hidden_*")
    train(model, data, epochs, 2e-3, kerasreg.optimizers.Proximal)
    result = kerasreg.models.compress(model)
    print(result)
    small = result.model
    kerasreg.models.remove_regularizer(small)  # What is left needs no penalty.
    train(small, data, epochs // 3, 1e-3)
    # [end]

    found = {}
    with tempfile.TemporaryDirectory() as folder, kerasreg.serving.verifier():
        # [export]
        paths = {
            "original": kerasreg.serving.export(original, f"{folder}/original"),
            "compressed": kerasreg.serving.export(
                small, f"{folder}/small", original=original, validation_data=test
            ),
            "compressed, int8": kerasreg.serving.export(
                small, f"{folder}/small", quantization="int8", validation_data=test
            ),
        }
        # [end]
        for name, path in paths.items():
            serve = tf.saved_model.load(path).signatures["serving_default"]
            (scores,) = serve(pixels=tf.constant(x_test)).values()
            accuracy = float(np.mean(scores.numpy().argmax(axis=1) == y_test))
            weights = sum(file.stat().st_size for file in pathlib.Path(path).rglob("*.data-*"))
            print(
                f"{name}: {size(path):,} bytes, of which weights {weights:,}; "
                f"served test accuracy {accuracy:.3f}"
            )
            found[name] = {"bytes": size(path), "weights": weights, "accuracy": accuracy}
        card = kerasreg.serving.read_card(paths["compressed, int8"])
        print("int8 beside what it was made of:", card["against_original"])
    return found


if __name__ == "__main__":
    main()
