"""A learning rate that is found, and then goes up and down once, with momentum the other way.

A range test on scikit-learn's digits, which leaves the model as it was; then twelve epochs with
one cycle up to the rate that it suggests, beside twelve with Keras' default rate. It writes a
picture. Run: python examples/which_learning_rate.py [which_learning_rate.png]
"""

import sys

import keras
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kerasreg

EPOCHS, BATCH_SIZE = 12, 32


def network():
    """A dense network for the digits, compiled with SGD."""
    keras.utils.set_random_seed(0)
    hidden = keras.layers.Dense(128, "relu")
    model = keras.Sequential([keras.Input((64,)), hidden, keras.layers.Dense(10, "softmax")])
    optimizer = keras.optimizers.SGD(momentum=0.9)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def main(argv=None) -> dict[str, float]:
    arguments = sys.argv[1:] if argv is None else argv
    picture = arguments[0] if arguments else "which_learning_rate.png"
    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        (x / 16).astype("float32"), y, test_size=0.25, random_state=0, stratify=y
    )
    model = network()
    found = kerasreg.callbacks.find_learning_rate(model, x_train, y_train, batch_size=BATCH_SIZE)
    print(found)
    cycle = kerasreg.callbacks.OneCycle(found.minimum)
    logged = {}
    for name, callbacks in (("one cycle", [cycle]), ("the default", [])):
        model = network()
        logged[name] = model.fit(
            x_train,
            y_train,
            batch_size=BATCH_SIZE,
            epochs=EPOCHS,
            validation_data=(x_test, y_test),
            callbacks=callbacks,
            verbose=0,
        ).history
        print(f"{name}: test accuracy {logged[name]['val_accuracy'][-1]:.3f}")
    drawn = Figure(figsize=(7, 7))
    above, below = drawn.subplots(2, 1, sharex=True)
    for name, history in logged.items():
        above.plot(range(1, EPOCHS + 1), history["val_accuracy"], label=name)
    above.set_ylabel("test accuracy")
    above.legend()
    for name in ("learning_rate", "momentum"):
        below.plot(range(1, EPOCHS + 1), logged["one cycle"][name], label=name)
    below.set_xlabel("epoch")
    below.legend()
    drawn.savefig(picture)
    return {name: history["val_accuracy"][-1] for name, history in logged.items()}


if __name__ == "__main__":
    main()
