"""What a schedule costs in a training step, beside none and beside Keras' own.

Usage: python benchmarks/schedules.py [--rounds=20] [--steps=100] [--milliseconds=3] [--xla=no,yes]
           [--json=FILE]

`model.fit` of an MLP 512-512-512-10 and SGD with momentum, with the batch, of 8 to 256, whose
step is nearest to three milliseconds on this machine. A round is one epoch of each contender, in
another order, between two epochs without a schedule, by whose mean it is divided. Printed: the
median of these ratios and their quartiles; milliseconds per step, as the median; and microseconds
that are added to a step, as the median of the differences.

In the graph: the optimizer's learning rate is a schedule. Per batch: a callback assigns it before
each step. Floor of a callback: one that does nothing, and one that only assigns the variable.

Targets: a schedule in the graph takes at most 1.02 of the step without; a callback per batch 1.05.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from _results import recording, slug

from kerasreg import callbacks, schedules

BATCHES = [8, 16, 32, 64, 128, 256]


class Nothing(keras.callbacks.Callback):
    """The least that a callback per batch costs."""

    def on_train_batch_begin(self, batch, logs=None):
        """Does nothing."""


class Assign(keras.callbacks.Callback):
    """The least that a moved learning rate costs."""

    def on_train_batch_begin(self, batch, logs=None):
        """Assigns the same number again."""
        self.model.optimizer.learning_rate.assign(0.01)


def contenders():
    """Name: the learning rate, the callbacks, and the target or None."""
    cosine = keras.optimizers.schedules.CosineDecay(0.01, 10**6)
    cycle = schedules.OneCycle(0.01, 10**6)
    joined = schedules.Join([schedules.Linear(0.0, 0.01, 10**5), 0.01, cycle], [10**5, 2 * 10**5])
    theirs = keras.callbacks.LearningRateScheduler(lambda epoch: 0.01 * 0.99**epoch)
    scheduler = callbacks.HyperparameterScheduler
    return {
        "none": (0.01, [], None),
        "Keras CosineDecay, in the graph": (cosine, [], None),
        "OneCycle, in the graph": (cycle, [], 1.02),
        "Join of three, in the graph": (joined, [], 1.02),
        "Keras LearningRateScheduler, per epoch": (0.01, [theirs], None),
        "a callback that does nothing": (0.01, [Nothing()], None),
        "a callback that only assigns": (0.01, [Assign()], None),
        "LearningRateScheduler, per epoch": (0.01, [callbacks.LearningRateScheduler(cycle)], None),
        "LearningRateScheduler, per batch": (
            0.01,
            [callbacks.LearningRateScheduler(cycle, unit="step")],
            1.05,
        ),
        "momentum, per batch": (0.01, [scheduler("momentum", cycle.momentum(), unit="step")], 1.05),
        "callbacks.OneCycle: both, per batch": (0.01, [callbacks.OneCycle(0.01, 10**6)], 1.05),
    }


def model(rate, xla):
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense
    layers = [keras.Input((512,)), dense(512, "relu"), dense(512, "relu"), dense(10)]
    built = keras.Sequential(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    built.compile(keras.optimizers.SGD(rate, momentum=0.9), loss, jit_compile=xla)
    return built


def data(batch, steps):
    random = np.random.default_rng(0)
    x = random.normal(size=(batch * steps, 512)).astype("float32")
    return x, random.integers(0, 10, batch * steps)


def seconds_per_step(model, callbacks, x, y, batch):
    begun = time.perf_counter()
    model.fit(x, y, batch, verbose=0, callbacks=list(callbacks))
    return (time.perf_counter() - begun) / (len(x) // batch)


def batch_of(model, milliseconds, steps):
    """The batch whose step takes nearest to so many milliseconds."""

    def distance(batch):
        times = [seconds_per_step(model, [], *data(batch, steps), batch) for _ in range(4)]
        return abs(np.log(min(times[1:]) * 1e3 / milliseconds))

    return min(BATCHES, key=distance)


def main(results):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--milliseconds", type=float, default=3.0)
    parser.add_argument("--xla", default="no,yes")
    flags = parser.parse_args()
    for xla in flags.xla.split(","):
        compare(xla == "yes", flags, results)


def compare(xla, flags, results):
    found = contenders()
    models = {name: model(parts[0], xla) for name, parts in found.items()}
    batch = batch_of(models["none"], flags.milliseconds, flags.steps)
    x, y = data(batch, flags.steps)

    def seconds(name):
        return seconds_per_step(models[name], found[name][1], x, y, batch)

    for name in found:  # All are traced and compiled.
        seconds(name)
    pairs = {name: [] for name in found}
    order = list(found)
    for number in range(flags.rounds):
        np.random.default_rng(number).shuffle(order)
        before = seconds("none")
        for name in order:
            own, after = seconds(name), seconds("none")
            pairs[name].append((own, (before + after) / 2))
            before = after
    print(f"\n{'with' if xla else 'without'} XLA, batch of {batch}: of the step without a schedule")
    for name, (_, _, target) in found.items():
        ratios = [own / none for own, none in pairs[name]]
        added = statistics.median(own - none for own, none in pairs[name]) * 1e6
        low, middle, high = statistics.quantiles(ratios, n=4)
        if name != "none":
            results.of(
                f"{'xla' if xla else 'graph'}.{slug(name)}",
                ratios,
                f"a training step with {name}, {'with' if xla else 'without'} XLA, in ratio to one "
                "without a schedule",
                headline=bool(target),
            )
        said = ""
        if target:
            said = f"  allowed {target}: {'met' if middle <= target else 'missed'}"
        own = statistics.median(own for own, _ in pairs[name]) * 1e3
        print(
            f"  {name:<40}{own:7.3f} ms{added:+7.0f} us{middle:8.3f}   ({low:.3f} to {high:.3f})"
            f"{said}"
        )


if __name__ == "__main__":
    with recording() as results:
        main(results)
