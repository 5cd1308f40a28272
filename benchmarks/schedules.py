"""What a schedule costs in a training step, beside none and beside Keras' own.

Usage: python benchmarks/schedules.py [--rounds=15] [--steps=200] [--xla=no,yes]

`model.fit` of an MLP 512-512-512-10 with batches of 128 and SGD with momentum, a step of about
three milliseconds on two cores. In each round every contender trains one epoch, in another order,
and is divided by the training without a schedule in that round. Printed: the median of these
ratios and their quartiles; milliseconds per step, as the median.

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

from kerasreg import callbacks, schedules

BATCH = 128


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
            [callbacks.LearningRateScheduler(cycle, "step")],
            1.05,
        ),
        "momentum, per batch": (0.01, [scheduler("momentum", cycle.momentum(), "step")], 1.05),
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


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--xla", default="no,yes")
    flags = parser.parse_args()
    random = np.random.default_rng(0)
    x = random.normal(size=(BATCH * flags.steps, 512)).astype("float32")
    y = random.integers(0, 10, BATCH * flags.steps)
    for xla in flags.xla.split(","):
        models = {name: model(parts[0], xla == "yes") for name, parts in contenders().items()}
        found = contenders()
        seconds = {name: [] for name in found}
        names = list(found)
        for number in range(flags.rounds + 1):
            for name in names:
                begun = time.perf_counter()
                models[name].fit(x, y, BATCH, verbose=0, callbacks=list(found[name][1]))
                if number:  # In the first, all are traced and compiled.
                    seconds[name].append((time.perf_counter() - begun) / flags.steps)
            np.random.default_rng(number).shuffle(names)
        print(f"\n{'with' if xla == 'yes' else 'without'} XLA, of the step without a schedule")
        for name, (_, _, target) in found.items():
            ratios = [a / b for a, b in zip(seconds[name], seconds["none"], strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            said = ""
            if target:
                said = f"  allowed {target}: {'met' if middle <= target else 'missed'}"
            print(
                f"  {name:<40}{statistics.median(seconds[name]) * 1e3:7.3f} ms{middle:8.3f}"
                f"   ({low:.3f} to {high:.3f}){said}"
            )


if __name__ == "__main__":
    main()
