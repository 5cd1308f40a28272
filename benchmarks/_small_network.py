"""The small search of the benchmarks of devices and of workers: its data and its model."""

FEATURES = 32


def data(samples):
    """Features, and classes that follow from two of them."""
    import numpy as np

    x = np.random.default_rng(0).normal(size=(samples, FEATURES)).astype("float32")
    return x, (x[:, 0] * x[:, 1] > 0).astype("int32")


def build(hp):
    """Two hidden layers, whose rates of dropout and of learning are searched."""
    import keras

    rate = hp.Float("rate", 0.0, 0.5)
    model = keras.Sequential(
        [
            keras.Input((FEATURES,)),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dropout(rate),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    rate = hp.Float("learning_rate", 1e-4, 1e-2, sampling="log")
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    return model
