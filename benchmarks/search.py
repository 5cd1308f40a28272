"""Trials per second of searches: KerasTuner, Optuna around Keras, and kerasreg with 1 to 128 lanes.

Usage: python benchmarks/search.py [--model=mlp|cnn|both] [--rounds=3] [--quick]
           [--contenders="KerasTuner,kerasreg 1,kerasreg 1024"]

Each contender searches in a process of its own, one after the other, in each round: so
imports, memory and traces are its own. The clock starts with the search, when imports and
data are there. Space: L1, L2, dropout rate, learning rate (Adam); data: digits, 1437 to train
and 360 to validate; 10 epochs, batches of 64. Networks: 64-128-10, and 16 and 32 filters of
3 x 3, each with pooling, and a dense layer.

Printed for each contender: trials per second, and the ratio to KerasTuner's in the same
round, as the median over rounds with the smallest and largest; seconds to the first result;
peak memory of the process; the share of the time that goes to tracing and compiling (what
the first epoch of a program takes longer than the median epoch); the best validation
accuracy of the search; and the time per trial in ratio to its floor: the operations of its
matrix products over the rate of one large product on this machine.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time

from _processes import in_process, spread

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

EPOCHS, BATCH = 10, 64
# Multiplications and additions of a forward pass of one example.
OPERATIONS = {
    "mlp": 2 * (64 * 128 + 128 * 10),
    "cnn": 2 * (64 * 16 * 9 + 16 * 32 * 144 + 128 * 10),
}
# The first is the one that others are compared with.
CONTENDERS = "KerasTuner,Optuna,kerasreg 1,kerasreg 8,kerasreg 32,kerasreg 128"


def trials_of(contender):
    """How many trials one runs: those one after another are slow, and their rate is steady."""
    lanes = int(contender.removeprefix("kerasreg ")) if "kerasreg" in contender else 1
    return 10 if lanes == 1 else lanes


def data():
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    return train_test_split(
        (x / 16.0).astype("float32"), y, test_size=0.2, random_state=0, stratify=y
    )


def model(kind, l1, l2, rate, learning_rate):
    import keras

    import kerasreg

    layers = keras.layers
    penalty = keras.regularizers.L1L2(l1, l2)
    dropout = kerasreg.layers.ScheduledDropout(rate)
    if kind == "mlp":
        stack = [layers.Dense(128, "relu", kernel_regularizer=penalty), dropout]
    else:
        stack = [
            layers.Reshape((8, 8, 1)),
            layers.Conv2D(16, 3, padding="same", activation="relu", kernel_regularizer=penalty),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, padding="same", activation="relu", kernel_regularizer=penalty),
            layers.MaxPooling2D(),
            layers.Flatten(),
            dropout,
        ]
    found = keras.Sequential([keras.Input((64,)), *stack, layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    found.compile(keras.optimizers.Adam(learning_rate), loss, metrics=["accuracy"])
    return found


class Watch:
    """When the first result came, and how long epochs took."""

    def __init__(self):
        self.first = None
        self.tracing = 0.0

    def result(self):
        """A trial has ended."""
        self.first = self.first or time.perf_counter()

    def epochs(self, seconds):
        """Of one program: what its first epoch took longer than others."""
        if len(seconds) > 1:
            self.tracing += max(0.0, seconds[0] - statistics.median(seconds[1:]))


def run(contender, kind, seed, trials):
    """One search; returns what was measured of it."""
    import keras
    import keras_tuner

    import kerasreg

    x, x_validation, y, y_validation = data()
    watch = Watch()
    given = {"epochs": EPOCHS, "batch_size": BATCH, "validation_data": (x_validation, y_validation)}

    class Epochs(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.seconds = []

        def on_epoch_begin(self, epoch, logs=None):
            self.begun = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            self.seconds.append(time.perf_counter() - self.begun)

        def on_train_end(self, logs=None):
            watch.epochs(self.seconds)
            watch.result()

    def build(hp):
        return model(
            kind,
            hp.Float("l1", 1e-6, 1e-2, sampling="log"),
            hp.Float("l2", 1e-6, 1e-2, sampling="log"),
            hp.Float("rate", 0.0, 0.7),
            hp.Float("learning_rate", 1e-4, 1e-1, sampling="log"),
        )

    folder = tempfile.mkdtemp()
    common = {"max_trials": trials, "seed": seed, "directory": folder}
    if contender == "Optuna":
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)

        def objective(trial):
            keras.backend.clear_session()
            built = model(
                kind,
                trial.suggest_float("l1", 1e-6, 1e-2, log=True),
                trial.suggest_float("l2", 1e-6, 1e-2, log=True),
                trial.suggest_float("rate", 0.0, 0.7),
                trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
            )
            history = built.fit(x, y, verbose=0, callbacks=[Epochs()], **given)
            return max(history.history["val_accuracy"])

        study = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.RandomSampler(seed=seed)
        )
        begun = time.perf_counter()
        study.optimize(objective, n_trials=trials)
        best = study.best_value
    elif contender == "KerasTuner":
        tuner = keras_tuner.RandomSearch(build, "val_accuracy", **common)
        begun = time.perf_counter()
        tuner.search(x, y, verbose=0, callbacks=[Epochs()], **given)
        best = tuner.oracle.get_best_trials()[0].score
    else:
        lanes = int(contender.split()[1])
        tuner = kerasreg.tuners.VectorizedRandomSearch(
            build, "val_accuracy", max_lanes=lanes, **common
        )
        seconds, fit, end = [], kerasreg.lanes.Lanes.fit, tuner.on_trial_end

        def timed(self, *args, on_epoch_end, **kwargs):
            at = [time.perf_counter()]

            def watched(epochs, logs):
                seconds.append(time.perf_counter() - at[-1])
                on_epoch_end(epochs, logs)
                at.append(time.perf_counter())

            return fit(self, *args, on_epoch_end=watched, **kwargs)

        def ended(trial):
            end(trial)
            watch.result()

        kerasreg.lanes.Lanes.fit, tuner.on_trial_end = timed, ended
        begun = time.perf_counter()
        tuner.search(x, y, verbose=0, **given)
        watch.epochs(seconds)
        best = tuner.oracle.get_best_trials()[0].score
    total = time.perf_counter() - begun
    return {
        "rate": trials / total,
        "first": watch.first - begun,
        "tracing": watch.tracing / total,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "best": best,
    }


def matmul_rate():
    """Operations per second of a large matrix product, compiled by Keras' backend."""
    import keras

    size = 1536
    a = keras.random.normal((size, size))
    if keras.backend.backend() == "jax":
        import jax

        product = jax.jit(keras.ops.matmul)
    else:
        import tensorflow as tf

        product = tf.function(keras.ops.matmul)
    # One entry is fetched: to copy all of them from an accelerator takes longer than the product.
    float(product(a, a)[0, 0])
    seconds = []
    for _ in range(7):
        begun = time.perf_counter()
        float(product(a, a)[0, 0])
        seconds.append(time.perf_counter() - begun)
    return 2 * size**3 / statistics.median(seconds)


def compare(kind, rounds, contenders):
    rate = in_process(__file__, "--matmul")["rate"]
    found = {name: [] for name in contenders}
    for number in range(rounds):
        for name in contenders:
            one = in_process(__file__, "--one", name, "--model", kind, "--seed", number + 1)
            found[name].append(one)
            print(f"{kind} {number + 1} {name}: {one}", file=sys.stderr, flush=True)
    # Forward and backward are three passes over the training examples, one over the others.
    floor = EPOCHS * OPERATIONS[kind] * (3 * 1437 + 360) / rate
    print(
        f"\n{kind}: {rounds} rounds; floor {1e3 * floor:.1f} ms a trial ({rate / 1e9:.0f} GFLOP/s)"
    )
    print(
        f"{'':14}{'trials/s':>24}{'to KerasTuner':>24}{'first s':>9}{'tracing':>9}"
        f"{'MB':>7}{'best':>8}{'to floor':>10}"
    )
    base = [one["rate"] for one in found[contenders[0]]]
    for name, results in found.items():
        rates = [one["rate"] for one in results]
        ratios = [mine / its for mine, its in zip(rates, base, strict=True)]
        middle = {key: statistics.median(one[key] for one in results) for key in results[0]}
        print(
            f"{name:14}{spread(rates):>24}{spread(ratios, '.1f'):>24}{middle['first']:>9.1f}"
            f"{middle['tracing']:>9.0%}{middle['memory']:>7.0f}{middle['best']:>8.4f}"
            f"{1 / statistics.median(rates) / floor:>10.1f}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=["mlp", "cnn", "both"], default="both")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="two trials of each, one round")
    parser.add_argument("--contenders", default=CONTENDERS)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--matmul", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.matmul:
        print(json.dumps({"rate": matmul_rate()}))
    elif arguments.one:
        trials = 2 if os.environ.get("QUICK") else trials_of(arguments.one)
        print(json.dumps(run(arguments.one, arguments.model, arguments.seed, trials)))
    else:
        if arguments.quick:
            os.environ["QUICK"] = "1"
        for kind in ["mlp", "cnn"] if arguments.model == "both" else [arguments.model]:
            rounds = 1 if arguments.quick else arguments.rounds
            compare(kind, rounds, arguments.contenders.split(","))


if __name__ == "__main__":
    main()
