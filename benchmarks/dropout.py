"""What dropout costs, beside Keras' layer, `tf.nn.dropout` and a copy of the tensor.

Then what it makes of a whole training step of an MLP and of a CNN.

Usage: python benchmarks/dropout.py [ROUNDS] [--json=FILE]

One process, one machine state: in each round every variant runs in turn. A program holds
several applications of a layer, side by side on tensors of their own, so that the cost of
calling the program is shared. "copy" is `x * 2`: one read, one write; forward and backward
that is done twice. Printed for each shape: the median over rounds of the time in ratio to
Keras' layer and to the copy, with the smallest and the largest, first for the forward pass,
then for forward and backward; without XLA, then with it. What takes half a second is
measured in three rounds.
"""

import os
import statistics
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from _results import recording, slug

import kerasreg

# Shape, and how many tensors of it one program handles.
SHAPES = {(128, 1024): 16, (4096, 1024): 2, (64, 32, 32, 64): 2}
RATE = 0.1


def applied(layer):
    return lambda x: layer(x, training=True)


def variants():
    return {
        "copy": lambda: lambda x: x * 2.0,
        "Keras": lambda: applied(keras.layers.Dropout(RATE)),
        "tf.nn.dropout": lambda: lambda x: tf.nn.dropout(x, RATE),
        "kerasreg": lambda: applied(kerasreg.layers.ScheduledDropout(RATE)),
    }


def program(make, count, backward, xla):
    applications = [make() for _ in range(count)]

    def forward(tensors):
        return [apply(x) for apply, x in zip(applications, tensors, strict=True)]

    def both(tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            outputs = forward(tensors)
        # The tensors stand for the gradient from above.
        return outputs, tape.gradient(outputs, tensors, output_gradients=tensors)

    return tf.function(both if backward else forward, jit_compile=xla)


def seconds(run, tensors):
    begun = time.perf_counter()
    result = tf.nest.flatten(run(tensors))
    # Wait for the last of it; reading one number copies nothing.
    float(result[-1][(0,) * len(result[-1].shape)])
    return time.perf_counter() - begun


def ratios_of(times, base):
    return [mine / theirs for mine, theirs in zip(times, base, strict=False)]


def report(times, base):
    ratios = ratios_of(times, base)
    return f"{statistics.median(ratios):7.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def measure(runs, rounds, *arguments):
    """Seconds of each run, of all of them in turn."""
    times = {name: [] for name in runs}
    slow = set()
    for name, run in runs.items():
        run(*arguments)  # Traced and compiled before the first round.
        if seconds(run, *arguments) > 0.5:
            slow.add(name)
    for index in range(rounds):
        for name, run in runs.items():
            if name not in slow or index < 3:
                times[name].append(seconds(run, *arguments))
    return times


def layers_alone(xla, rounds, results):
    for shape, count in SHAPES.items():
        tensors = [tf.random.normal(shape) for _ in range(count)]
        for backward in (False, True):
            runs = {name: program(make, count, backward, xla) for name, make in variants().items()}
            times = measure(runs, rounds, tensors)
            each = statistics.median(times["copy"]) / count * 1e3
            kind = "forward and backward" if backward else "forward"
            print(f"  {shape}, {kind}; a copy takes {each:.3f} ms")
            print(f"    {'':<16}{'to Keras':<24}to a copy")
            for name, mine in times.items():
                to_keras = report(mine, times["Keras"])
                print(f"    {name:<16}{to_keras:<24}{report(mine, times['copy'])}")
                for base in ("Keras", "copy"):
                    if name not in ("copy", base):
                        results.of(
                            f"{'xla' if xla else 'graph'}.{slug(kind)}.{'x'.join(map(str, shape))}"
                            f".{slug(name)}_to_{slug(base)}",
                            ratios_of(mine, times[base]),
                            f"dropout of {name} on {shape}, {kind}, {'with' if xla else 'without'} "
                            f"XLA, in ratio to {base}",
                            headline=(name, base, backward) == ("kerasreg", "Keras", False),
                        )


def mlp(dropout):
    layers = [keras.Input((784,))]
    for _ in range(2):
        layers += [keras.layers.Dense(1024, activation="relu"), *dropout()]
    return keras.Sequential([*layers, keras.layers.Dense(10)])


def cnn(dropout):
    layers = [keras.Input((32, 32, 3))]
    for filters in (32, 64):
        for _ in range(2):
            layers.append(keras.layers.Conv2D(filters, 3, padding="same", activation="relu"))
        layers += [keras.layers.MaxPooling2D(), *dropout()]
    return keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(10)])


def whole_steps(xla, rounds, results):
    dropouts = {
        "none": lambda: [],
        "Keras": lambda: [keras.layers.Dropout(0.25)],
        "kerasreg": lambda: [kerasreg.layers.ScheduledDropout(0.25)],
    }
    rng = np.random.default_rng(0)
    for make, batch in ((mlp, 128), (cnn, 64)):
        runs = {}
        for name, dropout in dropouts.items():
            model = make(dropout)
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(keras.optimizers.SGD(0.01), loss)
            model.optimizer.build(model.trainable_variables)
            step = tf.function(model.train_step, jit_compile=xla)
            runs[name] = lambda data, step=step: [step(data) for _ in range(3)][-1]["loss"]
        x = tf.constant(rng.normal(size=(batch, *model.input_shape[1:])).astype("float32"))
        times = measure(runs, rounds, (x, tf.constant(rng.integers(0, 10, batch))))
        milliseconds = statistics.median(times["none"]) / 3 * 1e3
        print(f"  a step of the {make.__name__.upper()}; without dropout {milliseconds:.2f} ms")
        print(f"    {'':<16}{'to Keras':<24}to none")
        for name, mine in times.items():
            print(f"    {name:<16}{report(mine, times['Keras']):<24}{report(mine, times['none'])}")
            if name != "none":
                results.of(
                    f"{'xla' if xla else 'graph'}.step.{make.__name__}.{slug(name)}_to_none",
                    ratios_of(mine, times["none"]),
                    f"a training step of the {make.__name__} with dropout of {name}, "
                    f"{'with' if xla else 'without'} XLA, in ratio to one with none",
                )


def main(rounds, results):
    for xla in (False, True):
        print(f"\n{'with' if xla else 'without'} XLA, rate {RATE}; in training steps 0.25")
        layers_alone(xla, rounds, results)
        whole_steps(xla, rounds, results)


if __name__ == "__main__":
    with recording() as results:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 20, results)
