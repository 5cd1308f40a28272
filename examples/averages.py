"""Weights that are averaged along the way, and rates of learning per layer.

A network with batch normalization on noisy samples of scikit-learn's digits, of which three in
ten have a wrong label, trained with a rate that is large throughout: by SGD alone, within
Lookahead, with a first layer that learns more slowly, and with the mean of the weights after the
epochs of the second half (SWA), which is validated in their place. It writes a picture.
Run: python examples/averages.py [averages.png]
"""

import sys

import keras
import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kerasreg

EPOCHS, BATCH_SIZE = 20, 32


def network():
    """A dense network with batch normalization."""
    keras.utils.set_random_seed(0)
    layers = [keras.Input((64,)), keras.layers.Dense(128, name="first")]
    layers += [keras.layers.BatchNormalization(), keras.layers.Activation("relu")]
    return keras.Sequential([*layers, keras.layers.Dense(10)])


def optimizers(steps_per_epoch):
    """The optimizers, each around an SGD of its own."""

    def inner():
        return keras.optimizers.SGD(0.3, momentum=0.9)

    half = EPOCHS // 2 * steps_per_epoch
    return {
        "SGD": inner(),
        "Lookahead": kerasreg.optimizers.Lookahead(inner()),
        "a slower first layer": kerasreg.optimizers.LayerLearningRates(inner(), {"first": 0.1}),
        "mean of the weights": kerasreg.optimizers.WeightAveraging(
            inner(), half, period=steps_per_epoch
        ),
    }


def main(picture: str) -> None:
    x, y = load_digits(return_X_y=True)
    random = np.random.default_rng(0)
    x = (x / 16 + 0.3 * random.normal(size=x.shape)).astype("float32")
    x_train, x_test, y_train, y_test = train_test_split(x, y, train_size=1200, random_state=0)
    wrong = random.random(len(y_train)) < 0.3
    y_train = np.where(wrong, random.integers(0, 10, len(y_train)), y_train)
    drawn = Figure(figsize=(7, 4))
    axes = drawn.subplots()
    for name, optimizer in optimizers(len(x_train) // BATCH_SIZE).items():
        model = network()
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, metrics=["accuracy"])
        averages = isinstance(optimizer, kerasreg.optimizers.WeightAveraging)
        history = model.fit(
            x_train,
            y_train,
            batch_size=BATCH_SIZE,
            epochs=EPOCHS,
            validation_data=(x_test, y_test),
            # Keras' own callback, which puts averages in the place of weights to validate them.
            callbacks=[keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if averages else [],
            verbose=0,
        ).history
        if averages:  # Which the layer of batch normalization has never seen.
            kerasreg.models.update_batch_normalization(model, x_train, batch_size=BATCH_SIZE)
        test_loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
        print(f"{name}: test loss {test_loss:.3f}, accuracy {accuracy:.3f}")
        axes.plot(range(1, EPOCHS + 1), history["val_loss"], label=name)
    axes.set_xlabel("epoch")
    axes.set_ylabel("test loss")
    axes.legend()
    drawn.savefig(picture)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "averages.png")
