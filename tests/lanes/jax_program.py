"""What `test_jax.py` runs with KERAS_BACKEND=jax: lanes and the same models trained alone.

Prints a JSON object: for each kind of model the largest difference of weights and
of losses, relative to the largest value; and the score of a search.
"""

import json
import tempfile

import keras
import keras_tuner
import numpy as np

import kerasreg

layers = keras.layers


def dense(i):
    return [
        keras.Input((6,)),
        layers.Dense(4, "tanh", kernel_regularizer=keras.regularizers.L2(0.01 * (i + 1))),
        layers.BatchNormalization(),
        kerasreg.layers.ScheduledDropout(0.1 * (i + 1), seed=i),
        layers.Dense(3),
    ]


def convolution(i):
    return [
        keras.Input((6, 6, 2)),
        layers.Conv2D(3, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dropout(0.3 + 0.1 * i, seed=i),
        layers.LeakyReLU(0.1 + 0.1 * i),
        layers.GaussianDropout(0.1 + 0.1 * i, seed=i),
        layers.Dense(3),
    ]


def embedding(i):
    return [
        keras.Input((5,), dtype="int32"),
        layers.Embedding(11, 4),
        layers.GRU(3, dropout=0.1 + 0.1 * i, seed=i),
        layers.Dense(3),
    ]


def mixing(i):
    inputs = keras.Input((6,))
    hidden = layers.Dense(4, "tanh", name="first")(inputs)
    hidden = kerasreg.layers.MixUp(0.4 * i, seed=i)(hidden)
    return kerasreg.models.MixUpModel(inputs, layers.Dense(3, name="last")(hidden))


def muon(i):
    """Of one kernel, and that of another with factors of the learning rate."""
    inner = keras.optimizers.Muon(0.02 * (i + 1), momentum=0.9, exclude_layers=["last"])
    return kerasreg.optimizers.LayerLearningRates(inner, {"first": 0.5 * i}, default=1.0)


OPTIMIZERS = {
    "mixing": muon,
    "dense": lambda i: keras.optimizers.SGD(0.05 * (i + 1), momentum=0.3 + 0.2 * i),
    "convolution": lambda i: keras.optimizers.AdamW(0.01, weight_decay=0.1 * (i + 1)),
    "embedding": lambda i: keras.optimizers.RMSprop(0.01 * (i + 1)),
}


def build(kind, i):
    keras.utils.set_random_seed(i)
    made = globals()[kind](i)
    model = keras.Sequential(made) if isinstance(made, list) else made
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(OPTIMIZERS[kind](i), loss, metrics=["accuracy"])
    return model


def data(model):
    rng = np.random.default_rng(1)
    shape = (40, *model.input_shape[1:])
    whole = "int" in str(model.inputs[0].dtype)
    x = rng.integers(0, 11, shape) if whole else rng.normal(size=shape).astype("float32")
    return x, rng.integers(0, 3, 40)


def difference(kind):
    models = [build(kind, i) for i in range(3)]
    together = kerasreg.lanes.Lanes(models, random_numbers="keras")
    x, y = data(together.model)
    given = {"batch_size": 16, "epochs": 3, "shuffle": False, "validation_data": (x[:20], y[:20])}
    # Weights of classes differ as other numbers do.
    weights = [{0: 0.5 + i, 1: 2.0 - 0.5 * i} if kind == "dense" else None for i in range(3)]
    histories = together.fit(x, y, class_weight=weights, **given)
    worst = 0.0
    for i in range(3):
        alone = build(kind, i)
        history = alone.fit(x, y, verbose=0, class_weight=weights[i], **given).history
        pairs = [(histories[i].history[name], values) for name, values in history.items()]
        pairs += list(zip(together.unstack(i).get_weights(), alone.get_weights(), strict=True))
        for found, expected in pairs:
            scale = max(np.abs(expected).max(), 1e-3)
            worst = max(worst, float(np.abs(np.asarray(found) - expected).max() / scale))
    return worst


def among_others():
    """How far a lane with random layers is from the same one alone, relative to the largest."""
    weights = []
    for numbers in ((0, 1, 2), (1,)):
        together = kerasreg.lanes.Lanes([build("convolution", i) for i in numbers])
        x, y = data(together.model)
        together.fit(x, y, batch_size=16, epochs=2, seed=1)
        weights.append(together.unstack(numbers.index(1)).get_weights())
    differences = [np.abs(a - b).max() / np.abs(b).max() for a, b in zip(*weights, strict=True)]
    return float(max(differences[:4]))


def search():
    builds = []

    def hypermodel(hp):
        builds.append(dict(hp.values))
        rate = hp.Float("rate", 0.1, 0.5)
        model = keras.Sequential([*dense(0)[:-1], layers.Dropout(rate), layers.Dense(3)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
        model.compile(keras.optimizers.SGD(rate), loss, metrics=["accuracy"])
        return model

    with tempfile.TemporaryDirectory() as folder:
        tuner = kerasreg.tuners.VectorizedRandomSearch(
            hypermodel, "val_loss", max_trials=12, directory=folder, seed=1
        )
        x, y = data(hypermodel(keras_tuner.HyperParameters()))
        builds.clear()
        tuner.search(x[:30], y[:30], validation_data=(x[30:], y[30:]), epochs=2, verbose=0)
        built = len(builds)
        best = tuner.get_best_models()[0]
        loss = best.evaluate(x[30:], y[30:], verbose=0)[0]
        return [tuner.oracle.get_best_trials()[0].score, loss, built]


if __name__ == "__main__":
    assert keras.backend.backend() == "jax"
    found = {kind: difference(kind) for kind in OPTIMIZERS}
    print(json.dumps({**found, "among others": among_others(), "search": search()}))
