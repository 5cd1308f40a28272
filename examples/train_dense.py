"""kerasreg components in an ordinary compile and fit, on scikit-learn's digits.

A penalty that fades in, dropout that ramps up, initial weights that suit the
activation, and a cosine learning rate. Run: python examples/train_dense.py
"""

import keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kerasreg

EPOCHS, BATCH_SIZE = 20, 64


def main() -> None:
    keras.utils.set_random_seed(0)
    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        x.astype("float32") / 16.0, y, test_size=0.25, random_state=0, stratify=y
    )
    steps = EPOCHS * -(-len(x_train) // BATCH_SIZE)
    linear = keras.optimizers.schedules.PolynomialDecay
    penalty = kerasreg.regularizers.L2(linear(0.0, steps // 2, 1e-3))
    dropout = kerasreg.layers.ScheduledDropout(linear(0.0, steps // 2, 0.4), seed=0)
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(
                128,
                activation="relu",
                kernel_initializer=kerasreg.initializers.for_activation("relu", seed=0),
                kernel_regularizer=penalty,
            ),
            dropout,
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    policy = kerasreg.callbacks.CosineDecay(3e-3, length=EPOCHS - 2, warmup=2)
    history = model.fit(
        x_train, y_train, batch_size=BATCH_SIZE, epochs=EPOCHS, verbose=0, callbacks=[policy]
    )
    print(
        "learning rates:", [round(rate, 5) for rate in history.history["learning_rate"][:4]], "..."
    )
    print(f"after {int(dropout.step)} steps: dropout rate {float(dropout.rate):.2f}, ", end="")
    print(f"penalty strength {float(penalty.strength):.1e}")
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"test accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
