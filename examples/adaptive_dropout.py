"""Dropout that rises while a network overfits, and falls while it underfits.

Few noisy samples of scikit-learn's digits and a network that is too large for them, with three
rates that are fixed and one that follows the gap between training and validation. It writes a
picture. Run: python examples/adaptive_dropout.py [adaptive_dropout.png]
"""

import sys

import keras
import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kerasreg

EPOCHS = 60


def network(rate):
    """A large network with dropout after each hidden layer."""
    keras.utils.set_random_seed(1)
    layers = [keras.Input((64,))]
    for _ in range(2):
        layers += [keras.layers.Dense(256, "relu"), kerasreg.layers.ScheduledDropout(rate)]
    model = keras.Sequential([*layers, keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    return model


def main(picture: str) -> None:
    x, y = load_digits(return_X_y=True)
    x = (x / 16 + 0.4 * np.random.default_rng(0).normal(size=x.shape)).astype("float32")
    x_train, x_test, y_train, y_test = train_test_split(x, y, train_size=400, random_state=0)
    logged = {}
    for name in (0.0, 0.3, 0.6, "adaptive"):
        adaptive = name == "adaptive"
        follow = kerasreg.callbacks.AdaptiveRegularization(
            "dropout",
            min_value=0.05,
            max_value=0.7,
            low_gap=0.0,
            high_gap=0.1,
            factor=1.2,
            smoothing=0.5,
        )
        logged[name] = (
            network(0.1 if adaptive else name)
            .fit(
                x_train,
                y_train,
                epochs=EPOCHS,
                validation_data=(x_test, y_test),
                callbacks=[follow] if adaptive else [],
                verbose=0,
            )
            .history
        )
        print(f"dropout {name}: validation loss {logged[name]['val_loss'][-1]:.3f}")
    drawn = Figure(figsize=(7, 7))
    above, below = drawn.subplots(2, 1, sharex=True)
    for name, history in logged.items():
        above.plot(history["val_loss"], label=f"dropout {name}")
    above.set_ylabel("validation loss")
    above.legend()
    for name in ("dropout", "gap"):
        below.plot(logged["adaptive"][name], label=name)
    below.set_xlabel("epoch")
    below.legend()
    drawn.savefig(picture)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "adaptive_dropout.png")
