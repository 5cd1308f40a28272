"""What it costs to train a single model as a lane: `Lanes([model]).fit` beside `model.fit`.

Usage: python benchmarks/one_model.py [--models=dense,cnn,gru,...] [--rounds=7] [--epochs=5]
           [--jit=auto,...] [--json=FILE]

One process. Models of digits, 1437 to train and 360 to validate, batches of 64: a dense network
64-128-10 with dropout; a CNN of 16 and 32 filters; a GRU of 32 units over the 8 rows. Large ones,
of the digits repeated to 32 x 32 pixels: a dense network of 1024 and 1024, a CNN of 32 and 64
filters, a GRU of 128 units over the 32 rows. Each is trained once by each, which traces and
compiles; then in each round both train once more, in turns. Printed: milliseconds per epoch, by
processor and by clock, and the ratio of the lane to Keras in the same round, as the median with
the smallest and the largest. The clock is for a machine that does nothing else. Then the seconds
of the first training, with its traces, of each.

Target: at most 1.05.
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from _processes import spread
from _results import recording, slug
from search import data

import kerasreg

BATCH = 64


def model(kind):
    layers = keras.layers
    size = 32 if kind.startswith("large") else 8
    stack = {
        "large-dense": [layers.Dense(1024, "relu"), layers.Dense(1024, "relu")],
        "large-cnn": [
            layers.Reshape((32, 32, 1)),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
        ],
        "large-gru": [layers.Reshape((32, 32)), layers.GRU(128)],
        "dense": [layers.Dense(128, "relu"), layers.Dropout(0.3)],
        "cnn": [
            layers.Reshape((8, 8, 1)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
        ],
        "gru": [layers.Reshape((8, 8)), layers.GRU(32)],
    }[kind]
    found = keras.Sequential([keras.Input((size * size,)), *stack, layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    found.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    return found


def measure(kind, rounds, epochs, jit):
    """Of Keras and of a lane: the seconds of the first training, and of an epoch by round."""
    x, x_validation, y, y_validation = data()
    if kind.startswith("large"):
        x, x_validation = np.tile(x, 16), np.tile(x_validation, 16)
    given = {
        "batch_size": BATCH,
        "epochs": epochs,
        "validation_data": (x_validation, y_validation),
    }
    alone, lanes = model(kind), kerasreg.lanes.Lanes([model(kind)], jit_compile=jit)
    ways = {
        "Keras": lambda: alone.fit(x, y, verbose=0, **given),
        "lane": lambda: lanes.fit(x, y, **given),
    }
    found, first = {name: [] for name in ways}, {}
    for name, train in ways.items():
        begun = time.process_time()
        train()
        first[name] = time.process_time() - begun
    for number in range(rounds):
        for name in sorted(ways, reverse=bool(number % 2)):
            begun = time.process_time(), time.perf_counter()
            ways[name]()
            ended = time.process_time(), time.perf_counter()
            found[name].append([(e - b) / epochs for b, e in zip(begun, ended, strict=True)])
    return first, found


def main(results):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="dense,cnn,gru")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--jit", default="auto", help="auto, yes or no, with commas between")
    arguments = parser.parse_args()
    print(f"{'ms per epoch':16}{'':11}{'Keras':>24}{'lane':>24}{'ratio':>20}")
    for kind in arguments.models.split(","):
        for jit in arguments.jit.split(","):
            compiles = {"yes": True, "no": False}.get(jit, jit)
            first, found = measure(kind, arguments.rounds, arguments.epochs, compiles)
            for index, clock in enumerate(("processor", "clock")):
                of = {name: [1e3 * one[index] for one in every] for name, every in found.items()}
                ratios = [mine / its for mine, its in zip(of["lane"], of["Keras"], strict=True)]
                results.of(
                    f"{slug(kind)}.{slug(jit)}.{clock}",
                    ratios,
                    f"an epoch of the {kind} as a lane, time by {clock}, in ratio to Keras' fit",
                    headline=clock == "processor",
                )
                columns = spread(of["Keras"], ".1f"), spread(of["lane"], ".1f"), spread(ratios)
                print(
                    f"{kind} {jit:<10}{clock:>11}".ljust(27)
                    + f"{columns[0]:>24}{columns[1]:>24}{columns[2]:>20}",
                    flush=True,
                )
            print(
                f"{'':16}{'first':>11}{first['Keras']:>22.2f} s{first['lane']:>22.2f} s"
                f"{first['lane'] / first['Keras']:>20.2f}"
            )


if __name__ == "__main__":
    with recording() as results:
        main(results)
