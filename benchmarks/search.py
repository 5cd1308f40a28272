"""Trials per second of searches: KerasTuner, Optuna around Keras, and kerasreg with 1 to 128 lanes.

Usage: python benchmarks/search.py [--model=mlp|cnn|both] [--rounds=3] [--quick]
           [--contenders="KerasTuner,kerasreg 1,kerasreg 1024"] [--json=FILE]

Each contender searches in a process of its own, one after the other, in each round: so
imports, memory and traces are its own. The clock starts with the search, when imports and
data are there. Space: L1, L2, dropout rate, learning rate (Adam); data: digits, 1437 to train
and 360 to validate; 10 epochs, batches of 64. Networks: 64-128-10, and 16 and 32 filters of
3 x 3, each with pooling, and a dense layer.

Printed for each contender: trials per second, and the ratio to KerasTuner's in the same
round, as the median over rounds with the smallest and largest; seconds to the first result;
peak memory of the process; the best validation accuracy of the search; and the time in ratio
to its floor: the operations of all trainings (forward, backward, and Adam's) over the rate of
one large matrix product, 1536 x 1536, measured in the same process after the search.
Then, for each contender of kerasreg, the milliseconds per trial of each part of the search, and
of the floor: `_parts.py` says which functions are which part.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time

from _parts import Parts
from _processes import in_process, spread
from _results import recording, slug

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

EPOCHS, BATCH = 10, 64
# Multiplications and additions of a forward pass of one example.
OPERATIONS = {
    "mlp": 2 * (64 * 128 + 128 * 10),
    "cnn": 2 * (64 * 16 * 9 + 16 * 32 * 144 + 128 * 10),
}
# Numbers that are trained, and operations of Adam for each of them in a step.
WEIGHTS = {"mlp": 65 * 128 + 129 * 10, "cnn": 10 * 16 + 145 * 32 + 129 * 10}
OF_ADAM = 12
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
    """When the first result came."""

    def __init__(self):
        self.first = None

    def result(self):
        """A trial has ended."""
        self.first = self.first or time.perf_counter()


def operations(kind):
    """The operations of the training of one trial."""
    # Forward and backward are three passes over the training examples, one over the others.
    passes = OPERATIONS[kind] * (3 * 1437 + 360)
    return EPOCHS * (passes + OF_ADAM * WEIGHTS[kind] * -(-1437 // BATCH))


def run(contender, kind, seed, trials):
    """One search; returns what was measured of it."""
    import keras
    import keras_tuner

    import kerasreg

    x, x_validation, y, y_validation = data()
    watch = Watch()
    given = {"epochs": EPOCHS, "batch_size": BATCH, "validation_data": (x_validation, y_validation)}

    class Ended(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            watch.result()

    def build(hp):
        return model(
            kind,
            hp.Float("l1", 1e-6, 1e-2, sampling="log"),
            hp.Float("l2", 1e-6, 1e-2, sampling="log"),
            hp.Float("rate", 0.0, 0.7),
            hp.Float("learning_rate", 1e-4, 1e-1, sampling="log"),
        )

    folder, found = tempfile.mkdtemp(), {}
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
            history = built.fit(x, y, verbose=0, callbacks=[Ended()], **given)
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
        tuner.search(x, y, verbose=0, callbacks=[Ended()], **given)
        best = tuner.oracle.get_best_trials()[0].score
    else:
        lanes = int(contender.split()[1])
        tuner = kerasreg.tuners.VectorizedRandomSearch(
            build, "val_accuracy", max_lanes=lanes, **common
        )
        end = tuner.on_trial_end

        def ended(trial):
            end(trial)
            watch.result()

        tuner.on_trial_end = ended
        parts = Parts()
        begun = time.perf_counter()
        with parts.timed():
            tuner.search(x, y, verbose=0, **given)
        found["parts"] = {name: 1e3 * of / trials for name, of in parts.seconds.items()}
        best = tuner.oracle.get_best_trials()[0].score
    total = time.perf_counter() - begun
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    floor = operations(kind) / matmul_rate()
    return {
        "rate": trials / total,
        "first": watch.first - begun,
        "memory": memory,
        "best": float(best),
        "floor": 1e3 * floor,
        "to_floor": total / trials / floor,
        **found,
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


def compare(kind, rounds, contenders, results):
    found = {name: [] for name in contenders}
    for number in range(rounds):
        for name in contenders:
            one = in_process(__file__, "--one", name, "--model", kind, "--seed", number + 1)
            found[name].append(one)
            print(f"{kind} {number + 1} {name}: {one}", file=sys.stderr, flush=True)
    floors = [one["floor"] for every in found.values() for one in every]
    rate = operations(kind) / statistics.median(floors) / 1e6
    print(
        f"\n{kind}: {rounds} rounds; floor {spread(floors, '.1f')} ms a trial ({rate:.0f} GFLOP/s)"
    )
    print(
        f"{'':14}{'trials/s':>24}{'to KerasTuner':>24}{'first s':>9}"
        f"{'MB':>7}{'best':>8}{'to floor':>24}"
    )
    base = [one["rate"] for one in found[contenders[0]]]
    for name, every in found.items():
        rates = [one["rate"] for one in every]
        ratios = [mine / its for mine, its in zip(rates, base, strict=True)]
        first, memory, best = (median_of(every, key) for key in ("first", "memory", "best"))
        of = f"{kind}.{slug(name)}"
        results.of(f"{of}.rate", rates, f"trials a second of {name} on the {kind}")
        if name != contenders[0]:
            what = f"trials a second of {name} on the {kind}, in ratio to {contenders[0]}"
            results.of(
                f"{of}.to_{slug(contenders[0])}", ratios, what, headline=name != "kerasreg 1"
            )
        results.add(f"{of}.memory", memory, f"peak memory of {name} on the {kind}, MB")
        results.add(f"{of}.first", first, f"seconds to the first result of {name} on the {kind}")
        floors_of = [one["to_floor"] for one in every]
        results.of(f"{of}.to_floor", floors_of, f"time of {name} on the {kind}, to its floor")
        print(
            f"{name:14}{spread(rates):>24}{spread(ratios, '.1f'):>24}{first:>9.1f}"
            f"{memory:>7.0f}{best:>8.4f}{spread(floors_of):>24}"
        )
    timed = {name: every for name, every in found.items() if "parts" in every[0]}
    if not timed:
        return
    print(f"\n{'ms per trial':14}" + "".join(f"{name:>15}" for name in timed))
    for part in next(iter(timed.values()))[0]["parts"]:
        of_each = (median_of([one["parts"] for one in every], part) for every in timed.values())
        print(f"{part:14}" + "".join(f"{of:>15.2f}" for of in of_each))
    of_each = (median_of(every, "floor") for every in timed.values())
    print(f"{'floor':14}" + "".join(f"{of:>15.2f}" for of in of_each))


def median_of(results, key):
    """The median of one of the numbers of several runs."""
    return statistics.median(one[key] for one in results)


def main(results):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=["mlp", "cnn", "both"], default="both")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="two trials of each, one round")
    parser.add_argument("--contenders", default=CONTENDERS)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=1, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        trials = 2 if os.environ.get("QUICK") else trials_of(arguments.one)
        print(json.dumps(run(arguments.one, arguments.model, arguments.seed, trials)))
    else:
        if arguments.quick:
            os.environ["QUICK"] = "1"
        for kind in ["mlp", "cnn"] if arguments.model == "both" else [arguments.model]:
            rounds = 1 if arguments.quick else arguments.rounds
            compare(kind, rounds, arguments.contenders.split(","), results)
            results.save()


if __name__ == "__main__":
    with recording() as results:
        main(results)
