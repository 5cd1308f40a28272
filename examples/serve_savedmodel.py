"""Export a trained model, check it without Keras, and answer requests with it.

Run: python examples/serve_savedmodel.py
"""

import tempfile

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_wine

import kerasreg


def main() -> None:
    keras.utils.set_random_seed(0)
    x, y = load_wine(return_X_y=True)
    x = x.astype("float32")
    model = keras.Sequential(
        [
            keras.Input((13,), name="features"),
            # Part of the model, so that whoever serves it sends raw features.
            keras.layers.Normalization(mean=x.mean(axis=0), variance=x.var(axis=0)),
            keras.layers.Dense(
                16, activation="relu", kernel_regularizer=kerasreg.regularizers.L1(1e-3)
            ),
            kerasreg.layers.ScheduledDropout(0.2, seed=0),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=20, verbose=0)

    with tempfile.TemporaryDirectory() as folder:
        path = kerasreg.serving.export(model, folder)
        verification = kerasreg.serving.verify(path, model, x)
        print(
            f"versions: {kerasreg.serving.list_versions(folder)}; verified: {verification.passed}"
        )

        # What a server does: no kerasreg is needed from here on.
        serve = tf.saved_model.load(path).signatures["serving_default"]
        (probabilities,) = serve(features=tf.constant(x)).values()
    correct = np.mean(probabilities.numpy().argmax(axis=1) == y)
    print(f"served {len(x)} rows, {correct:.0%} as labelled")


if __name__ == "__main__":
    main()
