"""Convolutions and max-pooling for many lanes: TensorFlow's own forms beside ours.

Usage: python benchmarks/lane_layers.py [ROUNDS] [--json=FILE]

16 lanes, batches of 64 images, forward and backward, without XLA and with it. "loop" is
TensorFlow's convolution, for which `tf.vectorized_map` goes through the lanes one by one;
"patches" is a product of patches and filters. "scatter" is TensorFlow's max-pooling,
"choices" ours. Printed: milliseconds as the median over rounds with the smallest and the
largest, and the ratio of medians to TensorFlow's form. One process, forms in turn.
"""

import contextlib
import os
import statistics
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf
from _results import recording, slug
from keras import ops

from kerasreg._keras.lane_convolutions import lane_convolutions

LANES, BATCH = 16, 64


def convolution(own):
    def one(lane):
        x, kernel = lane
        with tf.GradientTape() as tape:
            tape.watch((x, kernel))
            if own:
                with lane_convolutions():
                    loss = tf.reduce_sum(ops.conv(x, kernel, padding="same") ** 2)
            else:
                loss = tf.reduce_sum(ops.conv(x, kernel, padding="same") ** 2)
        return tape.gradient(loss, (x, kernel))

    return lambda x, kernel: tf.vectorized_map(one, (x, kernel))


def pooling(own):
    def one(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            with lane_convolutions() if own else contextlib.nullcontext():
                loss = tf.reduce_sum(ops.max_pool(x, 2) ** 2)
        return tape.gradient(loss, x)

    return lambda x: tf.vectorized_map(one, x)


def compare(title, forms, inputs, rounds, results):
    for xla in (False, True):
        functions = {name: tf.function(form, jit_compile=xla) for name, form in forms.items()}
        times = {name: [] for name in functions}
        for number in range(rounds + 1):
            for name, function in functions.items():
                begun = time.perf_counter()
                found = function(*inputs)
                tf.nest.flatten(found)[0].numpy()
                if number:  # The first call compiles.
                    times[name].append(1e3 * (time.perf_counter() - begun))
        base = statistics.median(next(iter(times.values())))
        theirs, ours = times
        ratios = [mine / its for mine, its in zip(times[ours], times[theirs], strict=True)]
        results.of(
            f"{slug(title)}.{'xla' if xla else 'graph'}",
            ratios,
            f"{title}, {'with' if xla else 'without'} XLA: {ours} in ratio to TensorFlow's",
        )
        for name, values in times.items():
            middle = statistics.median(values)
            print(
                f"{title:28}{'XLA' if xla else '':5}{name:9}{middle:8.1f} ms "
                f"({min(values):.1f}..{max(values):.1f}), {middle / base:.2f}"
            )


def main(results):
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    for size, channels, filters in [(8, 1, 16), (4, 16, 32), (28, 8, 16)]:
        x = tf.random.normal((LANES, BATCH, size, size, channels))
        kernel = tf.random.normal((LANES, 3, 3, channels, filters))
        forms = {"loop": convolution(False), "patches": convolution(True)}
        compare(f"{size} x {size}, {channels} to {filters}", forms, (x, kernel), rounds, results)
    for size, channels in [(8, 16), (28, 8)]:
        x = tf.random.normal((LANES, BATCH, size, size, channels))
        forms = {"scatter": pooling(False), "choices": pooling(True)}
        compare(f"pooling {size} x {size}, {channels}", forms, (x,), rounds, results)


if __name__ == "__main__":
    with recording() as results:
        main(results)
