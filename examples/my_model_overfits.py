"""My model overfits: penalties and a rising dropout for a Keras model, which is not rewritten.

Few noisy samples of scikit-learn's digits and a network that is too large for them. It is trained
as it is; then with an L2 penalty on its kernels and dropout that rises during the first half of
the training. The loss is compared on the samples of the training and on others.
Run: python examples/my_model_overfits.py [--epochs=60]
"""

import argparse

import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kerasreg

BATCH_SIZE = 32


def network():
    """A network as one writes it with Keras alone."""
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(256, "relu", name="hidden_1"),
            keras.layers.Dense(256, "relu", name="hidden_2"),
            keras.layers.Dense(10, "softmax", name="classes"),
        ]
    )


# [regularized]
def regularized(model, steps):
    """The same model with dropout that rises for so many steps, and with a penalty."""
    rate = kerasreg.schedules.Linear(0.0, 0.5, steps)
    inserted = kerasreg.models.insert_dropout(model, rate, after="hidden_*")
    print(inserted)
    penalty = kerasreg.regularizers.L2(2e-3)
    print(kerasreg.models.attach_regularizer(inserted.model, penalty))
    return inserted.model


# [end]


def losses_after_training(model, training, validation, epochs):
    """The crossentropy of the training and of the validation samples, without any penalty."""
    # A metric, because the loss has the penalties in it.
    crossentropy = "sparse_categorical_crossentropy"
    model.compile("adam", crossentropy, metrics=[crossentropy])
    model.fit(*training, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
    return [
        model.evaluate(*part, verbose=0, return_dict=True)[crossentropy]
        for part in (training, validation)
    ]


def main(argv=None) -> dict[str, tuple[float, float]]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=60)
    epochs = parser.parse_args(argv).epochs
    x, y = load_digits(return_X_y=True)
    x = (x / 16 + 0.4 * np.random.default_rng(0).normal(size=x.shape)).astype("float32")
    x, x_validation, y, y_validation = train_test_split(x, y, train_size=400, random_state=0)
    steps = epochs * -(-len(x) // BATCH_SIZE)
    models = {"as it is": network(), "regularized": regularized(network(), steps // 2)}
    found = {}
    for name, model in models.items():
        data = (x, y), (x_validation, y_validation)
        training, validation = losses_after_training(model, *data, epochs)
        print(
            f"{name}: loss {training:.3f} in training, {validation:.3f} in validation, "
            f"gap {validation - training:.3f}"
        )
        found[name] = (training, validation)
    return found


if __name__ == "__main__":
    main()
