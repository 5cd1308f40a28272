"""What a penalty and `Proximal` cost in a training step, beside Keras' own penalties and none.

Usage: python benchmarks/step_time.py [--models=mlp,cnn] [--rounds=60] [--steps=10]
           [--contenders=L1,Keras,...] [--xla=no,yes] [--json=FILE]

Programs of `model.train_step`: an MLP 784-1024-1024-10, and a CNN of 28x28x1 with two
convolutions of 32 and 64 filters, pooling and a dense layer; batches of 128; a penalty on each
kernel; SGD if nothing else is said. One process: in each round every contender runs a few steps,
in another order, and is divided by the same optimizer without a penalty in that round. Printed:
the median of these ratios and their quartiles; milliseconds, as the median. `--contenders` keeps
those whose name contains one of the words. Convolutions with XLA on a CPU are slow: a round
of all contenders takes 8 seconds, of the other three together 7.

Floor: a penalty needs each weight for its value, and once more for its gradient, unless that is
made where the optimizer reads the weight anyway. It is these bytes over the bandwidth of a
large copy, relative to the step. Weights that stay in a cache may be read faster.

Targets: L1, L2 and ElasticNet cost at most a third of what Keras' own L1, L2 and L1L2 cost over
no penalty (where these cost enough to be seen); `Proximal` takes at most 1.05 of the step
without a penalty.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from _results import recording, slug

from kerasreg import regularizers
from kerasreg.optimizers import Proximal

BATCH = 128
PAIRS = {"L1": "Keras L1", "L2": "Keras L2", "ElasticNet": "Keras L1L2"}


def contenders():
    """Name: what makes a penalty, what makes an optimizer, the contender that it is divided by."""
    theirs, sgd, adam = keras.regularizers, keras.optimizers.SGD, keras.optimizers.Adam
    alone = {
        "Keras L1": lambda: theirs.L1(1e-4),
        "L1": lambda: regularizers.L1(1e-4),
        "Keras L2": lambda: theirs.L2(1e-4),
        "L2": lambda: regularizers.L2(2e-4),
        "Keras L1L2": lambda: theirs.L1L2(1e-4, 1e-4),
        "ElasticNet": lambda: regularizers.ElasticNet(2e-4, 0.5),
        "GroupLasso": lambda: regularizers.GroupLasso(1e-4),
        "SparseGroupLasso": lambda: regularizers.SparseGroupLasso(1e-4),
        "MCP": lambda: regularizers.MCP(1e-4),
        "SCAD": lambda: regularizers.SCAD(1e-4),
        "Hoyer": lambda: regularizers.Hoyer(1e-4),
    }
    inner = {"SGD": lambda: sgd(0.01), "Adam": lambda: adam(0.001)}
    found = {"SGD": (lambda: None, inner["SGD"], "SGD")}
    for name, penalty in alone.items():
        found[name] = (penalty, inner["SGD"], "SGD")
    found["Adam"] = (lambda: None, inner["Adam"], "Adam")
    for name, make in inner.items():
        for penalty in ("L1", "GroupLasso"):
            wrapped = lambda make=make: Proximal(make())  # noqa: E731
            found[f"Proximal({name}), {penalty}"] = (alone[penalty], wrapped, name)
    return found


def model(kind, penalty):
    layers = keras.layers
    if kind == "mlp":
        shape, units = (784,), (1024, 1024)
        parts = [layers.Dense(n, "relu", kernel_regularizer=penalty()) for n in units]
    else:
        shape, parts = (28, 28, 1), []
        for filters in (32, 64):
            parts += [
                layers.Conv2D(filters, 3, activation="relu", kernel_regularizer=penalty()),
                layers.MaxPooling2D(2),
            ]
        parts.append(layers.Flatten())
    last = layers.Dense(10, kernel_regularizer=penalty())
    return keras.Sequential([keras.Input(shape), *parts, last]), shape


def step(kind, penalty, optimizer, xla):
    """A function without arguments that makes one step, and how many weights are penalised."""
    keras.utils.set_random_seed(0)
    built, shape = model(kind, penalty)
    built.compile(optimizer(), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    built.optimizer.build(built.trainable_variables)
    random = np.random.default_rng(0)
    batch = (
        tf.constant(random.normal(size=(BATCH, *shape)).astype("float32")),
        tf.constant(random.integers(0, 10, BATCH)),
    )
    program = tf.function(built.train_step, jit_compile=xla)
    kernels = [w for w in built.trainable_variables if "kernel" in w.path]
    return lambda: program(batch), sum(int(np.prod(w.shape)) for w in kernels)


def bandwidth():
    """Bytes in a second, read or written, of a copy that fits no cache."""
    source = np.ones(2**26, "float32")
    target = np.empty_like(source)
    seconds = []
    for _ in range(8):
        begun = time.perf_counter()
        np.copyto(target, source)
        seconds.append(time.perf_counter() - begun)
    return 2 * source.nbytes / min(seconds)


def measured(steps, rounds, count):
    """Seconds a step, by name: a list with one number for each round."""
    seconds = {name: [] for name in steps}
    names = list(steps)
    for number in range(rounds + 1):
        for name in names:
            begun = time.perf_counter()
            for _ in range(count):
                logs = steps[name]()
            float(logs["loss"])
            if number:  # In the first, all are traced and compiled.
                seconds[name].append((time.perf_counter() - begun) / count)
        np.random.default_rng(number).shuffle(names)
    return seconds


def quartiles(numbers):
    return statistics.quantiles(numbers, n=4) if len(numbers) > 1 else numbers * 3


def ratios(seconds, name, base):
    return [mine / floor for mine, floor in zip(seconds[name], seconds[base], strict=True)]


def verdict(met):
    return "met" if met else "missed"


def targets(seconds, bases):
    low, median = {}, {}
    for name in seconds:
        low[name], median[name], _ = quartiles(ratios(seconds, name, bases[name]))
    for ours, theirs in PAIRS.items():
        if ours in median and theirs in median:
            cost, allowed = median[ours] - 1, (median[theirs] - 1) / 3
            found = verdict(cost <= allowed) if low[theirs] > 1 else "not to be told from none"
            print(
                f"  {ours}: {cost:.1%} over no penalty, a third of {theirs} {allowed:.1%}: {found}"
            )
    for name in median:
        if name.startswith("Proximal"):
            print(f"  {name}: {median[name]:.3f}, allowed 1.05: {verdict(median[name] <= 1.05)}")


def main(results):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="mlp,cnn")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--contenders", default="")
    parser.add_argument("--xla", default="no,yes")
    flags = parser.parse_args()
    chosen = {
        name: parts
        for name, parts in contenders().items()
        if name == parts[2] or any(word in name for word in flags.contenders.split(","))
    }
    copied = bandwidth()
    print(f"bandwidth of a copy: {copied / 1e9:.1f} GB/s")
    bases = {name: parts[2] for name, parts in chosen.items()}
    for kind in flags.models.split(","):
        for xla in flags.xla.split(","):
            steps = {}
            for name, (penalty, optimizer, _) in chosen.items():
                steps[name], weights = step(kind, penalty, optimizer, xla == "yes")
            seconds = measured(steps, flags.rounds, flags.steps)
            floor = 2 * 4 * weights / copied
            without = statistics.median(seconds["SGD"])
            print(
                f"\n{kind}, {'with' if xla == 'yes' else 'without'} XLA: {weights} weights; floor "
                f"of a penalty {floor * 1e3:.3f} ms, {floor / without:.1%} of a step"
            )
            for name in steps:
                each = ratios(seconds, name, bases[name])
                low, middle, high = quartiles(each)
                if name != bases[name]:
                    results.of(
                        f"{kind}.{'xla' if xla == 'yes' else 'graph'}.{slug(name)}",
                        each,
                        f"a training step of the {kind} with {name}, "
                        f"{'with' if xla == 'yes' else 'without'} XLA, in ratio to {bases[name]}",
                        headline=kind == "mlp" and name in (*PAIRS, *PAIRS.values()),
                    )
                print(
                    f"  {name:<28}{statistics.median(seconds[name]) * 1e3:9.3f} ms{middle:8.3f}"
                    f"   ({low:.3f} to {high:.3f})"
                )
            targets(seconds, bases)


if __name__ == "__main__":
    with recording() as results:
        main(results)
