"""Bytes, difference and time of a SavedModel with its weights in fewer bits.

Usage: python benchmarks/quantized.py [--rounds=200] [--json=FILE]

An MLP 64-1024-1024-10 with random weights, exported whole, with `quantization` float16 and int8,
and after Keras' `model.quantize("int8")`. One process: in each round every one answers one batch in
turn. Printed: the bytes of the SavedModel; the largest difference of the outputs from those of the
whole model, relative to the largest; and the time of a call in ratio to the whole model's, as the
median over the rounds with quartiles.

Floor: a weight has 4, 2 or 1 bytes. What is widened at each call cannot be faster.
"""

import argparse
import os
import pathlib
import statistics
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from _results import recording, slug

from kerasreg import serving


def exports(folder, x):
    """The paths of the versions, by name, and the outputs of the model in Keras."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(1024, "relu"), keras.layers.Dense(1024, "relu")]
    model = keras.Sequential([keras.Input((64,)), *layers, keras.layers.Dense(10)])
    by_keras = keras.models.clone_model(model)
    by_keras.set_weights(model.get_weights())
    by_keras.quantize("int8")
    given = {"validation_data": (x, None)}
    return {
        "whole": serving.export(model, folder),
        "float16": serving.export(model, folder, quantization="float16", **given),
        "int8": serving.export(model, folder, quantization="int8", **given),
        "Keras' int8": serving.export(by_keras, folder, original=model, **given),
    }, np.array(model(x))


def main(results):
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    x = np.random.default_rng(0).normal(size=(64, 64)).astype("float32")
    with tempfile.TemporaryDirectory() as folder:
        paths, expected = exports(folder, x)
        loaded = {name: tf.saved_model.load(path) for name, path in paths.items()}
        whole = None
        for name, path in paths.items():
            size = sum(f.stat().st_size for f in pathlib.Path(path).rglob("*") if f.is_file())
            found = loaded[name].signatures["serve"](inputs=tf.constant(x))["outputs"].numpy()
            difference = serving.relative_difference(found, expected)
            print(f"{name:12} {size / 2**20:6.2f} MiB, difference {difference:.1e}")
            whole = whole or size
            if name != "whole":
                what = f"a SavedModel in {name}"
                results.add(
                    f"{slug(name)}.bytes",
                    size / whole,
                    f"bytes of {what}, in ratio to float32",
                    headline=True,
                )
                results.add(f"{slug(name)}.difference", difference, f"difference of {what}")
    for batch in (1, 64):
        features = tf.constant(x[:batch])
        times = {name: [] for name in loaded}
        for turn in range(rounds + 20):
            for name, one in loaded.items():
                begun = time.perf_counter()
                one.signatures["serve"](inputs=features)
                if turn >= 20:
                    times[name].append(time.perf_counter() - begun)
        for name in list(loaded)[1:]:
            ratios = [own / whole for own, whole in zip(times[name], times["whole"], strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            what = f"time of a call of a SavedModel in {name}, {batch} rows, in ratio to float32"
            results.of(f"{slug(name)}.seconds.{batch}_rows", ratios, what)
            print(f"{name:12} batch {batch}: {middle:.2f} ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    with recording() as results:
        main(results)
