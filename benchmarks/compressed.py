"""How much smaller and faster a model is when its zero units and filters are cut out.

Usage: python benchmarks/compressed.py [--shares=0.5,0.8] [--rounds=15] [--batch=128]
           [--json=FILE]

An MLP 784-1024-1024-10, a CNN with four convolutions of 64 and 128 filters with batch
normalization, and a VGG16 for images of 64x64; in each kernel that another layer follows, a
share of the units or filters is zero, chosen at random. One process: in each round both models
compute one batch in turn. Printed: the parameters and the bytes of the SavedModel that are left,
and the seconds of the compressed model in ratio to the whole one, as the median over the rounds
with quartiles; the largest difference of the outputs, relative to the largest output.

Floor: a layer's products are the share that is left of its inputs times that of its outputs.
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
from _results import recording

from kerasreg import models


def mlp():
    layers = keras.layers
    parts = [layers.Dense(1024, "relu"), layers.Dense(1024, "relu"), layers.Dense(10)]
    return keras.Sequential([keras.Input((784,)), *parts])


def cnn():
    layers = keras.layers
    parts = [keras.Input((32, 32, 3))]
    for filters in (64, 64, 128, 128):
        parts += [
            layers.Conv2D(filters, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
        ]
        if filters == 64 and len(parts) > 4:
            parts.append(layers.MaxPooling2D(2))
    return keras.Sequential([*parts, layers.GlobalAveragePooling2D(), layers.Dense(10)])


def vgg16():
    return keras.applications.VGG16(
        weights=None, input_shape=(64, 64, 3), classes=10, classifier_activation=None
    )


def emptied(model, share, random):
    """Makes a share of each hidden layer's units or filters zero."""
    kernels = [layer for layer in model.layers if hasattr(layer, "kernel")]
    for layer in kernels[:-1]:
        kernel = np.array(layer.kernel)
        gone = random.permutation(kernel.shape[-1])[: int(share * kernel.shape[-1])]
        kernel[..., gone] = 0.0
        layer.kernel.assign(kernel)
    return model


def exported(model):
    """Bytes of the model's SavedModel."""
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, verbose=False)
        return sum(p.stat().st_size for p in pathlib.Path(folder).rglob("*") if p.is_file())


def main(results):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shares", default="0.5,0.8")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=128)
    flags = parser.parse_args()
    print(f"{'':16}zero  parameters  SavedModel      seconds (quartiles)   difference")
    for make in (mlp, cnn, vgg16):
        for share in map(float, flags.shares.split(",")):
            keras.utils.set_random_seed(0)
            random = np.random.default_rng(0)
            whole = emptied(make(), share, random)
            small = models.compress(whole).model
            x = tf.constant(random.normal(size=(flags.batch, *whole.input_shape[1:])), "float32")
            programs = [tf.function(lambda x, m=m: m(x, training=False)) for m in (whole, small)]
            expected, got = (program(x).numpy() for program in programs)
            ratios = []
            for _ in range(flags.rounds):
                seconds = []
                for program in programs:
                    begun = time.perf_counter()
                    program(x).numpy()
                    seconds.append(time.perf_counter() - begun)
                ratios.append(seconds[1] / seconds[0])
            low, middle, high = statistics.quantiles(ratios, n=4)
            of = f"{make.__name__}.zero_{share * 100:.0f}"
            what = (
                f"the {make.__name__} with {share:.0%} of its units cut out, in ratio to it whole"
            )
            results.of(f"{of}.seconds", ratios, f"time of {what}", headline=share > 0.7)
            small_bytes = exported(small) / exported(whole)
            parameters = small.count_params() / whole.count_params()
            results.add(f"{of}.bytes", small_bytes, f"bytes of the SavedModel of {what}")
            results.add(f"{of}.parameters", parameters, f"parameters of {what}")
            print(
                f"{make.__name__:16}{share:4.0%}{parameters:12.1%}{small_bytes:12.1%}"
                f"{middle:10.3f} ({low:.3f} to {high:.3f})"
                f"{np.abs(got - expected).max() / np.abs(expected).max():13.1e}"
            )


if __name__ == "__main__":
    with recording() as results:
        main(results)
