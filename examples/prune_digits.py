"""A network that loses most of its hidden units, and is cut to what is left.

A group lasso on the units of two hidden layers, `Proximal` around Adam, so that units
become zero exactly; then `compress`, which removes them, some more training of what
is left, and two SavedModels to compare. Run: python examples/prune_digits.py [seeds]
"""

import pathlib
import sys
import tempfile

import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kerasreg

HIDDEN, EPOCHS, BATCH_SIZE = (256, 256), 120, 64


def train(model, x, y, learning_rate, epochs, proximal=False):
    """Fits a model while the learning rate falls to nothing."""
    steps = epochs * -(-len(x) // BATCH_SIZE)
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, steps))
    if proximal:
        optimizer = kerasreg.optimizers.Proximal(optimizer)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)


def network(strength):
    """A dense network, whose units are penalised where there is a strength."""
    penalty = kerasreg.regularizers.GroupLasso(strength, axis=-1) if strength else None
    hidden = [keras.layers.Dense(n, "relu", kernel_regularizer=penalty) for n in HIDDEN]
    return keras.Sequential([keras.Input((64,)), *hidden, keras.layers.Dense(10, "softmax")])


def saved_size(model):
    """The bytes of a SavedModel, and of the weights in it."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(kerasreg.serving.export(model, folder))
        every = {p: p.stat().st_size for p in path.rglob("*") if p.is_file()}
        weights = sum(size for p, size in every.items() if ".data-" in p.name)
        return sum(every.values()), weights


def main(seeds: int) -> None:
    x, y = load_digits(return_X_y=True)
    columns = []
    for seed in range(seeds):
        x_train, x_test, y_train, y_test = train_test_split(
            (x / 16).astype("float32"), y, test_size=0.25, random_state=seed, stratify=y
        )
        keras.utils.set_random_seed(seed)
        large = network(None)
        train(large, x_train, y_train, 2e-3, EPOCHS)
        keras.utils.set_random_seed(seed)
        sparse = network(5e-4)
        train(sparse, x_train, y_train, 2e-3, EPOCHS, proximal=True)
        result = kerasreg.models.compress(sparse)
        small = result.model
        outputs = [model.predict(x_test, verbose=0) for model in (sparse, small)]
        error = np.max(np.abs(outputs[0] - outputs[1]) / np.max(outputs[0]))
        accuracies = [model.evaluate(x_test, y_test, verbose=0)[1] for model in (large, sparse)]
        removed = 1 - sum(row.after for row in result.rows) / sum(HIDDEN)
        # What is left needs no penalty.
        kerasreg.models.remove_regularizer(small)
        train(small, x_train, y_train, 2e-3, EPOCHS // 3)
        accuracies.append(small.evaluate(x_test, y_test, verbose=0)[1])
        sizes = [saved_size(model) for model in (large, small)]
        columns.append([removed, error, *accuracies, *np.divide(sizes[1], sizes[0])])
        if seed == 0:
            print(result)
            print("bytes of the SavedModel, and of the weights in it:", *sizes)
    removed, error, large, sparse, small, size, weights = np.mean(columns, axis=0)
    print(f"hidden units removed: {removed:.1%}; outputs differ by {error:.0e} at most")
    print(f"SavedModel: {size:.1%} of the size, its weights {weights:.1%}")
    print(f"test accuracy: {large:.3f} without a penalty, {sparse:.3f} with, and the same", end=" ")
    print(f"when compressed; {small:.3f} after training what is left")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
