"""Searches of models as people write them: kerasreg's tuner beside KerasTuner's, in one process.

Usage: python benchmarks/people_models.py [--kinds dense gru ...] [--trials 16 64 128]
           [--repeats=3] [--keras_tuner_trials=4] [--everything=FILE] [--quick] [--json=FILE]

The models are those of KerasTuner's guides and Keras' examples: nothing but Keras' own layers,
losses and optimizers, and nothing changes between the two but the class of the tuner,
`kerasreg.tuners.VectorizedRandomSearch` in the place of `keras_tuner.RandomSearch`. Data:
scikit-learn's digits, 1437 to train and 360 to validate, as vectors, images, sequences of rows, a
table or texts (both as pipelines, since Keras takes no arrays of text); 5 epochs, batches of 64.
Searched: learning rate, dropout rate and L2, and of some kinds what the kind is about.

Each repeat of a kind is a process of its own, with other seeds, in which both tuners search, the
one or the other first by turns. Before that each of them has searched once with two trials of a
tiny model of another kind, so that imports and what a process does once are counted for neither.
Counted is all from the call of `search` to its return: building, tracing, compiling, training,
files.

Printed for each kind: seconds per trial of both; how many times as many trials a second ours has,
as the median over repeats with the smallest and the largest, beside the target on two cores with
64 trials; the share of our trials that were lanes beside others; the best validation accuracy of
both (KerasTuner's of fewer trials); and the mean validation accuracy of the settings that both
have tried, which must be equal up to what is random in a training.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from typing import NamedTuple

from _processes import in_process, spread
from _results import recording, slug
from search import data as digits

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers

EPOCHS, BATCH = 5, 64
TRIALS_OF_TARGET = 64
# As the words of a table and of texts: how bright an image is, and which of its rows is brightest.
BRIGHTNESS = ["dark", "grey", "bright"]
ROWS = ["top", "second", "third", "fourth", "fifth", "sixth", "seventh", "bottom"]


def penalty(hp):
    return keras.regularizers.L2(hp.Float("l2", 1e-6, 1e-2, sampling="log"))


def rate(hp):
    return hp.Float("dropout", 0.0, 0.5)


def compiled(hp, model):
    model.compile(
        optimizer=keras.optimizers.Adam(hp.Float("learning_rate", 1e-4, 1e-2, sampling="log")),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def dense(hp, units=128):
    model = keras.Sequential(
        [
            keras.Input((64,)),
            layers.Dense(units, activation="relu", kernel_regularizer=penalty(hp)),
            layers.Dropout(rate(hp)),
            layers.Dense(10, activation="softmax"),
        ]
    )
    return compiled(hp, model)


def widths(hp):
    return dense(hp, hp.Int("units", min_value=32, max_value=256, step=32))


def batch_normalization(hp):
    model = keras.Sequential(
        [
            keras.Input((64,)),
            layers.Dense(128, use_bias=False, kernel_regularizer=penalty(hp)),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.Dropout(rate(hp)),
            layers.Dense(10, activation="softmax"),
        ]
    )
    return compiled(hp, model)


def convolutional(hp, augmentation=()):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            *augmentation,
            layers.Conv2D(16, 3, padding="same", activation="relu", kernel_regularizer=penalty(hp)),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(rate(hp)),
            layers.Dense(10, activation="softmax"),
        ]
    )
    return compiled(hp, model)


def augmented(hp):
    augmentation = [
        layers.RandomFlip("horizontal"),
        layers.RandomRotation(0.1),
        layers.RandomZoom(0.1),
        layers.RandomTranslation(0.1, 0.1),
    ]
    return convolutional(hp, augmentation)


def recurrent(hp):
    model = keras.Sequential(
        [
            keras.Input((8, 8)),
            layers.GRU(32, kernel_regularizer=penalty(hp)),
            layers.Dropout(rate(hp)),
            layers.Dense(10, activation="softmax"),
        ]
    )
    return compiled(hp, model)


def attention(hp):
    inputs = keras.Input((8, 8))
    x = layers.Dense(32, kernel_regularizer=penalty(hp))(inputs)
    seen = layers.MultiHeadAttention(num_heads=2, key_dim=16, dropout=rate(hp))(x, x)
    x = layers.LayerNormalization(epsilon=1e-6)(x + seen)
    hidden = layers.Dense(64, activation="relu")(x)
    hidden = layers.Dense(32)(layers.Dropout(rate(hp))(hidden))
    x = layers.LayerNormalization(epsilon=1e-6)(x + hidden)
    x = layers.GlobalAveragePooling1D()(x)
    return compiled(hp, keras.Model(inputs, layers.Dense(10, activation="softmax")(x)))


def table(hp):
    numbers = keras.Input((64,), name="numbers")
    brightness = keras.Input((1,), name="brightness", dtype="string")
    row = keras.Input((1,), name="row", dtype="string")
    x = layers.concatenate(
        [
            layers.Normalization(mean=0.3, variance=0.14)(numbers),
            layers.StringLookup(vocabulary=BRIGHTNESS, output_mode="one_hot")(brightness),
            layers.Flatten()(
                layers.Embedding(9, 4)(layers.StringLookup(vocabulary=ROWS)(row)),
            ),
        ]
    )
    x = layers.Dense(128, activation="relu", kernel_regularizer=penalty(hp))(x)
    x = layers.Dropout(rate(hp))(x)
    outputs = layers.Dense(10, activation="softmax")(x)
    return compiled(hp, keras.Model([numbers, brightness, row], outputs))


def choices(hp):
    model = keras.Sequential([keras.Input((64,))])
    for number in range(hp.Int("num_layers", 1, 3)):
        model.add(
            layers.Dense(
                units=hp.Choice(f"units_{number}", [64, 128]),
                activation=hp.Choice("activation", ["relu", "tanh", "gelu"]),
                kernel_regularizer=penalty(hp),
            )
        )
    if hp.Boolean("use_dropout"):
        model.add(layers.Dropout(rate(hp)))
    model.add(layers.Dense(10, activation="softmax"))
    return compiled(hp, model)


def residual(hp):
    inputs = keras.Input((64,))
    x = layers.Dense(64)(inputs)
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        y = layers.Dense(128, activation="gelu", kernel_regularizer=penalty(hp))(y)
        y = layers.Dropout(rate(hp))(y)
        x = layers.add([x, layers.Dense(64)(y)])
    model = keras.Model(inputs, layers.Dense(10)(layers.LayerNormalization()(x)))
    model.compile(
        keras.optimizers.AdamW(
            hp.Float("learning_rate", 1e-4, 1e-2, sampling="log"),
            weight_decay=hp.Float("weight_decay", 1e-5, 1e-1, sampling="log"),
        ),
        keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=hp.Float("label_smoothing", 0.0, 0.2)
        ),
        metrics=["accuracy"],
    )
    return model


def text(hp):
    words = [f"r{row}c{column}" for row in range(8) for column in range(8)]
    model = keras.Sequential(
        [
            keras.Input((1,), dtype="string"),
            layers.TextVectorization(vocabulary=words, output_sequence_length=32),
            layers.Embedding(len(words) + 2, 32, embeddings_regularizer=penalty(hp)),
            layers.GlobalAveragePooling1D(),
            layers.Dense(64, activation="relu"),
            layers.Dropout(rate(hp)),
            layers.Dense(10, activation="softmax"),
        ]
    )
    return compiled(hp, model)


def arrays(form=lambda x: x, targets=lambda y: y):
    """The arguments of `search` with the digits as arrays."""
    x, x_validation, y, y_validation = digits()
    validation = form(x_validation), targets(y_validation)
    return {"x": form(x), "y": targets(y), "validation_data": validation, "batch_size": BATCH}


def as_images(x):
    return x.reshape(-1, 8, 8, 1)


def as_rows(x):
    return x.reshape(-1, 8, 8)


def as_table(x):
    bright = np.digitize(x.mean(axis=1), [0.28, 0.33])
    row = as_rows(x).sum(axis=2).argmax(axis=1)
    return {
        "numbers": x,
        "brightness": np.array(BRIGHTNESS)[bright][:, None],
        "row": np.array(ROWS)[row][:, None],
    }


def as_texts(x):
    """The places of the bright pixels of each image as words."""
    found = []
    for image in as_rows(x):
        places = zip(*np.nonzero(image > 0.5), strict=True)
        found.append(" ".join(f"r{row}c{column}" for row, column in places))
    return np.array(found)[:, None]


def pipeline(form=lambda x: x):
    """The arguments of `search` with the digits as pipelines of tf.data."""
    import tensorflow as tf

    x, x_validation, y, y_validation = digits()
    train = tf.data.Dataset.from_tensor_slices((form(x), y)).shuffle(len(x)).batch(BATCH)
    validation = tf.data.Dataset.from_tensor_slices((form(x_validation), y_validation))
    return {
        "x": train.prefetch(tf.data.AUTOTUNE),
        "validation_data": validation.batch(BATCH).prefetch(tf.data.AUTOTUNE),
    }


class Digits(keras.utils.PyDataset):
    """The digits as Keras' guide writes a dataset."""

    def __init__(self, x, y, **kwargs):
        super().__init__(**kwargs)
        self.x, self.y = x, y

    def __len__(self):
        return -(-len(self.x) // BATCH)

    def __getitem__(self, index):
        rows = slice(index * BATCH, (index + 1) * BATCH)
        return self.x[rows], self.y[rows]


def datasets():
    """The arguments of `search` with the digits as Keras' own datasets."""
    x, x_validation, y, y_validation = digits()
    return {"x": Digits(x, y), "validation_data": Digits(x_validation, y_validation)}


class Kind(NamedTuple):
    """A hypermodel, its data, and how many times KerasTuner's rate it is to have."""

    build: object
    data: object
    target: int | None = None


KINDS = {
    "dense": Kind(dense, arrays, 50),
    "widths": Kind(widths, arrays, 25),
    "batch_normalization": Kind(batch_normalization, arrays, 40),
    "tf_data": Kind(dense, pipeline, 35),
    "py_dataset": Kind(dense, datasets, 30),
    "cnn": Kind(convolutional, lambda: arrays(as_images), 15),
    "augmentation": Kind(augmented, lambda: arrays(as_images), 8),
    "gru": Kind(recurrent, lambda: arrays(as_rows), 6),
    "attention": Kind(attention, lambda: arrays(as_rows), 10),
    "table": Kind(table, lambda: pipeline(as_table)),
    "choices": Kind(choices, arrays),
    "residual": Kind(residual, lambda: arrays(targets=lambda y: np.eye(10, dtype="float32")[y])),
    "text": Kind(text, lambda: pipeline(as_texts)),
}


OF_TEXT = ("table", "text")


def search(cls, build, data, trials, seed, epochs=EPOCHS):
    """One search: its seconds, its tuner, and the values and the accuracy of each trial."""
    folder = tempfile.mkdtemp()
    tuner = cls(build, "val_accuracy", max_trials=trials, seed=seed, directory=folder)
    begun = time.perf_counter()
    tuner.search(**data, epochs=epochs, verbose=0)
    seconds = time.perf_counter() - begun
    done = [trial for trial in tuner.oracle.trials.values() if trial.score is not None]
    return seconds, tuner, [(trial.hyperparameters.values, trial.score) for trial in done]


def tiny(hp):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, activation="softmax")])
    return compiled(hp, model)


def compare(kind, trials, theirs, seed):
    """Both tuners in this process; returns what was measured of them."""
    import keras_tuner

    import kerasreg

    contenders = {
        "ours": (kerasreg.tuners.VectorizedRandomSearch, trials),
        "theirs": (keras_tuner.RandomSearch, theirs),
    }
    few = {"x": np.ones((8, 3)), "y": np.zeros(8), "batch_size": 4}
    few["validation_data"] = few["x"], few["y"]
    for cls, _ in contenders.values():
        search(cls, tiny, few, 2, seed, epochs=1)
    data, found, tried = KINDS[kind].data(), {}, {}
    for who in list(contenders) if seed % 2 else reversed(contenders):
        cls, count = contenders[who]
        seconds, tuner, done = search(cls, KINDS[kind].build, data, count, seed)
        found[f"{who}_seconds"] = seconds / count
        found[f"{who}_best"] = max(score for _, score in done)
        tried[who] = done
        if who == "ours":
            found["lanes"] = tuner.lane_report().share
    both = [
        (score, other)
        for values, score in tried["ours"]
        for known, other in tried["theirs"]
        if values == known
    ]
    found["same"] = len(both)
    for index, who in enumerate(contenders):
        found[f"{who}_same"] = statistics.mean(pair[index] for pair in both) if both else None
    return found | {"ratio": found["theirs_seconds"] / found["ours_seconds"]}


def print_table(measured, results):
    print(
        f"\n{'':20}{'trials':>7}{'s/trial':>10}{'KerasTuner':>12}{'ratio':>22}{'target':>8}"
        f"{'lanes':>7}{'best':>7}{'theirs':>8}{'same':>7}{'theirs':>8}"
    )
    for one in measured:
        repeats = one["repeats"]
        middle = {
            name: statistics.median([of[name] for of in repeats if of[name] is not None] or [-1.0])
            for name in repeats[0]
        }
        target = one["target"] if one["trials"] == TRIALS_OF_TARGET else None
        ratios = [of["ratio"] for of in repeats]
        ratio = spread(ratios, ".1f")
        of, shown = (
            f"{slug(one['kind'])}.{one['trials']}_trials",
            f"{one['trials']} of {one['kind']}",
        )
        what = f"trials a second, {shown}, in ratio to KerasTuner's"
        results.of(f"{of}.to_kerastuner", ratios, what, headline=bool(target))
        results.add(f"{of}.lanes", middle["lanes"], f"share of trials that were lanes, {shown}")
        print(
            f"{one['kind']:20}{one['trials']:>7}{middle['ours_seconds']:>10.3f}"
            f"{middle['theirs_seconds']:>12.3f}{ratio:>22}{target or '':>8}"
            f"{middle['lanes']:>7.0%}{middle['ours_best']:>7.3f}{middle['theirs_best']:>8.3f}"
            f"{middle['ours_same']:>7.3f}{middle['theirs_same']:>8.3f}"
        )


def main(results):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--trials", nargs="+", type=int, default=[TRIALS_OF_TARGET])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--keras_tuner_trials", type=int, default=4)
    parser.add_argument("--everything", help="a file for all that was measured")
    parser.add_argument("--quick", action="store_true", help="four trials against one, one repeat")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.trials, arguments.keras_tuner_trials, arguments.repeats = [4], 1, 1
    if arguments.one is not None:
        (kind,), (trials,) = arguments.kinds, arguments.trials
        print(json.dumps(compare(kind, trials, arguments.keras_tuner_trials, arguments.one)))
        return
    kinds = list(arguments.kinds)
    if keras.backend.backend() != "tensorflow":
        # Layers of text compute with TensorFlow alone.
        kinds = [kind for kind in kinds if kind not in OF_TEXT]
        print(f"left out, as text needs TensorFlow: {', '.join(OF_TEXT)}", file=sys.stderr)
    measured = []
    for trials in arguments.trials:
        for kind in kinds:
            measured.append(
                {"kind": kind, "trials": trials, "target": KINDS[kind].target, "repeats": []}
            )
            for seed in range(1, arguments.repeats + 1):
                given = ["--one", seed, "--kinds", kind, "--trials", trials]
                given += ["--keras_tuner_trials", arguments.keras_tuner_trials]
                one = in_process(__file__, *given)
                measured[-1]["repeats"].append(one)
                print(f"{kind} {trials} {seed}: {one}", file=sys.stderr, flush=True)
            if arguments.everything:
                with open(arguments.everything, "w", encoding="utf-8") as file:
                    json.dump(measured, file, indent=1)
    print_table(measured, results)


if __name__ == "__main__":
    with recording() as results:
        main(results)
