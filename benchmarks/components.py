"""What a component costs in a training step, beside Keras' own and beside none.

Usage: python benchmarks/components.py [ROUNDS] [--json=FILE]

One process, one machine state: in each round every variant runs the same few steps of the
same MLP (784-1024-1024-10, batch 128, SGD), in turn, and is divided by the variant without
any component, which is the floor, in that round. Printed: the median of those ratios, and
the smallest and the largest. First without XLA, then with it (Keras' default on a CPU).
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

STEPS_PER_ROUND = 10


def mlp(penalty, dropout):
    layers = [keras.Input((784,))]
    for _ in range(2):
        layers.append(keras.layers.Dense(1024, activation="relu", kernel_regularizer=penalty()))
        if dropout is not None:
            layers.append(dropout())
    layers.append(keras.layers.Dense(10, activation="softmax", kernel_regularizer=penalty()))
    model = keras.Sequential(layers)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    return model


def variants():
    ours, theirs = kerasreg.regularizers, keras.regularizers
    ramp = keras.optimizers.schedules.PolynomialDecay(0.0, 1000, 1e-4)
    rates = keras.optimizers.schedules.PolynomialDecay(0.0, 1000, 0.5)

    def none():
        return None

    return {
        "none (floor)": (none, None),
        "L2: Keras": (lambda: theirs.L2(1e-4), None),
        "L2: kerasreg": (lambda: ours.L2(2e-4), None),
        "L2: kerasreg, scheduled": (lambda: ours.L2(ramp), None),
        "L1L2: Keras": (lambda: theirs.L1L2(1e-4, 1e-4), None),
        "ElasticNet: kerasreg": (lambda: ours.ElasticNet(2e-4, 0.5), None),
        "Dropout: Keras": (none, lambda: keras.layers.Dropout(0.5)),
        "ScheduledDropout: number": (none, lambda: kerasreg.layers.ScheduledDropout(0.5)),
        "ScheduledDropout: schedule": (none, lambda: kerasreg.layers.ScheduledDropout(rates)),
    }


def main(rounds, results):
    rng = np.random.default_rng(0)
    data = (
        tf.constant(rng.normal(size=(128, 784)).astype("float32")),
        tf.constant(rng.integers(0, 10, 128)),
    )
    for xla in (False, True):
        steps = {}
        for name, parts in variants().items():
            steps[name] = tf.function(mlp(*parts).train_step, jit_compile=xla)
            steps[name](data)  # Traced and compiled before the first round.
        seconds = {name: [] for name in steps}
        for _ in range(rounds):
            for name, step in steps.items():
                begun = time.perf_counter()
                for _ in range(STEPS_PER_ROUND):
                    logs = step(data)
                float(logs["loss"])
                seconds[name].append(time.perf_counter() - begun)
        floor = seconds["none (floor)"]
        milliseconds = statistics.median(floor) / STEPS_PER_ROUND * 1e3
        print(f"\n{'with' if xla else 'without'} XLA; the floor is {milliseconds:.2f} ms a step")
        for name, times in seconds.items():
            ratios = [mine / base for mine, base in zip(times, floor, strict=True)]
            print(
                f"  {name:<28}{statistics.median(ratios):6.2f}"
                f"   ({min(ratios):.2f} to {max(ratios):.2f})"
            )
            if name != "none (floor)":
                how = "with XLA" if xla else "without XLA"
                results.of(
                    f"{'xla' if xla else 'graph'}.{slug(name)}",
                    ratios,
                    f"a training step with {name}, {how}, in ratio to one with none",
                    headline=name.startswith(("Dropout", "ScheduledDropout")) and not xla,
                )


if __name__ == "__main__":
    with recording() as results:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 30, results)
