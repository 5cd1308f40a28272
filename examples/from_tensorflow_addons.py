"""From TensorFlow Addons: what its users have no replacement for in Keras 3, under its new names.

A training with a cyclical learning rate, decay of weights beside the gradient for any optimizer,
Lookahead around it, the mean of the weights along the way, stochastic depth, and an end in time.
In the comments is what stood there with `import tensorflow_addons as tfa`.
Run: python examples/from_tensorflow_addons.py [--epochs=10]
"""

import argparse

import keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kerasreg

BATCH_SIZE = 32


# [schedules]
def learning_rates(step_size):
    # tfa.optimizers.TriangularCyclicalLearningRate(1e-4, 1e-2, step_size)
    triangular = kerasreg.schedules.Cyclical(1e-4, 1e-2, rise_steps=step_size)
    # tfa.optimizers.Triangular2CyclicalLearningRate(1e-4, 1e-2, step_size)
    triangular2 = kerasreg.schedules.Cyclical(1e-4, 1e-2, rise_steps=step_size, shape="triangular2")
    # tfa.optimizers.ExponentialCyclicalLearningRate(1e-4, 1e-2, step_size, gamma=0.9995)
    exponential = kerasreg.schedules.Cyclical(
        1e-4, 1e-2, rise_steps=step_size, shape="exp_range", gamma=0.9995
    )
    return {"triangular": triangular, "triangular2": triangular2, "exponential": exponential}


# [end]


# [optimizer]
def optimizer(learning_rate, steps, steps_of_an_epoch):
    # tfa.optimizers.extend_with_decoupled_weight_decay(tf.keras.optimizers.RMSprop)(
    #     weight_decay=1e-4, learning_rate=learning_rate, exclude_from_weight_decay=["bias"])
    decayed = kerasreg.optimizers.DecoupledWeightDecay(
        keras.optimizers.RMSprop(learning_rate),
        1e-4,
        exclude=["bias"],
        scaled_by_learning_rate=False,
    )
    # tfa.optimizers.Lookahead(decayed, sync_period=6, slow_step_size=0.5)
    lookahead = kerasreg.optimizers.Lookahead(decayed, sync_period=6, slow_step_size=0.5)
    # tfa.optimizers.SWA(lookahead, start_averaging=3 * steps // 4, average_period=...)
    # and `assign_average_vars` after the training.
    return kerasreg.optimizers.WeightAveraging(
        lookahead, start_step=3 * steps // 4 + 1, period=steps_of_an_epoch
    )


# [end]


# [layers]
def network():
    inputs = keras.Input((64,))
    x = keras.layers.Dense(64, "relu", name="stem")(inputs)
    # tfa.layers.StochasticDepth(survival_probability=0.9)([x, branch])
    for block, rate in enumerate(kerasreg.schedules.linear_depth(0.1, depth=3)):
        branch = keras.layers.Dense(64, "relu", name=f"block_{block}")(x)
        x = kerasreg.layers.ScheduledStochasticDepth(rate)([x, branch])
    return keras.Model(inputs, keras.layers.Dense(10, "softmax", name="classes")(x))


# [end]


def main(argv=None) -> dict[str, object]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    epochs = parser.parse_args(argv).epochs
    keras.utils.set_random_seed(0)
    x, y = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(
        (x / 16).astype("float32"), y, test_size=0.25, random_state=0, stratify=y
    )
    steps_of_an_epoch = -(-len(x) // BATCH_SIZE)
    rates = learning_rates(2 * steps_of_an_epoch)
    for name, schedule in rates.items():
        shown = [float(schedule(k * steps_of_an_epoch)) for k in range(7)]
        print(f"{name}, epoch by epoch:", " ".join(f"{value:.4f}" for value in shown))
    model = network()
    model.compile(
        optimizer(rates["triangular2"], epochs * steps_of_an_epoch, steps_of_an_epoch),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    # tfa.callbacks.TimeStopping(seconds=300)
    stop = kerasreg.callbacks.TimeStopping(300)
    model.fit(x, y, batch_size=BATCH_SIZE, epochs=epochs, callbacks=[stop], verbose=0)
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"test accuracy {accuracy:.3f} with the mean of the weights")
    return {"accuracy": accuracy, "learning_rates": learning_rates}


if __name__ == "__main__":
    main()
