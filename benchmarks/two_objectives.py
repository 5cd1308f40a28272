"""Does a search for accuracy and bytes find better small models than `compress` after a search?

Usage: python benchmarks/two_objectives.py [--seconds=60] [--seeds=5] [--quick] [--json=FILE]

scikit-learn's digits; for each seed another division into 60 % to train, 20 % to validate and 20 %
to test. Space, the same for both: units of two hidden layers (8 to 128), group lasso on their
units, whose proximal operator makes whole units zero, dropout rate, learning rate; 20 epochs,
batches of 64. Each search runs in a process of its own for the given seconds, first trace included,
with Optuna's NSGA-II of 24 trials in a generation, 24 lanes.

"one" maximizes the accuracy on the validation part; its best model is compressed
(`kerasreg.models.compress`) afterwards. "two" has the bytes of the compressed weights as a second
objective, which its hypermodel's `fit` computes when the training has ended. Of its Pareto front,
two models are compared with the compressed one: the smallest that is at least as accurate on the
validation part, if there is one (then that front dominates it unless it is larger), and the
smallest within one percentage point.

Printed for each seed: accuracy on both parts, bytes, and trials; then how often the front
dominates, and the bytes in ratio to those of "one" with the difference of the accuracies on the
test part.
"""

import argparse
import json
import os
import statistics
import tempfile

from _processes import in_process, spread
from _results import recording

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

EPOCHS, BATCH, GENERATION = 20, 64, 24
WITHIN = 0.01  # Of accuracy.


def data(seed):
    """Parts to train, to validate and to test."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    x, y = datasets.load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.2, random_state=seed, stratify=y)
    x, x_validation, y, y_validation = train_test_split(
        x, y, test_size=0.25, random_state=seed, stratify=y
    )
    return (x, y), (x_validation, y_validation), (x_test, y_test)


def weight_bytes(model):
    """The bytes of the weights that are left when zero units are cut out."""
    import kerasreg

    return 4 * kerasreg.models.compress(model).model.count_params()


def hypermodel(two, validation):
    """The hypermodel of a search; its `fit` measures where there are two objectives."""
    import keras
    import keras_tuner

    import kerasreg

    class Digits(keras_tuner.HyperModel):
        def build(self, hp):
            penalty = kerasreg.regularizers.GroupLasso(
                hp.Float("strength", 1e-5, 1e-1, sampling="log")
            )
            units = [hp.Int(f"units_{number}", 8, 128, step=8) for number in (1, 2)]
            model = keras.Sequential([keras.Input((64,))])
            for of_layer in units:
                model.add(keras.layers.Dense(of_layer, "relu", kernel_regularizer=penalty))
                model.add(kerasreg.layers.ScheduledDropout(hp.Float("rate", 0.0, 0.5)))
            model.add(keras.layers.Dense(10))
            rate = hp.Float("learning_rate", 1e-4, 3e-2, sampling="log")
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            optimizer = kerasreg.optimizers.Proximal(keras.optimizers.Adam(rate))
            model.compile(optimizer, loss, metrics=["accuracy"])
            return model

    class Measured(Digits):
        def fit(self, hp, model, *args, **kwargs):
            history = model.fit(*args, **kwargs).history
            return {"val_accuracy": history["val_accuracy"][-1], "bytes": weight_bytes(model)}

    return Measured() if two else Digits()


def run(contender, seed, seconds):
    """One search: accuracies and bytes of what it found, and how many trials there were."""
    import keras_tuner
    import optuna

    import kerasreg

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    training, validation, test = data(seed)
    accuracy = keras_tuner.Objective("val_accuracy", "max")
    two = contender == "two"
    tuner = kerasreg.tuners.VectorizedStudySearch(
        hypermodel(two, validation),
        [accuracy, keras_tuner.Objective("bytes", "min")] if two else accuracy,
        max_trials=100_000,
        sampler=optuna.samplers.NSGAIISampler(population_size=GENERATION, seed=seed),
        storage=optuna.storages.InMemoryStorage(),
        max_lanes=GENERATION,
        seed=seed + 1,
        directory=tempfile.mkdtemp(),
    )
    tuner.search(
        *training,
        epochs=EPOCHS,
        batch_size=BATCH,
        validation_data=validation,
        verbose=0,
        time_limit=seconds,
    )
    trials = [of for of in tuner.oracle.trials.values() if of.status == "COMPLETED"]
    front = tuner.oracle.pareto_front() if two else tuner.oracle.get_best_trials(1)
    found = []
    for trial in front:
        model = kerasreg.models.compress(tuner.load_model(trial)).model
        on = [
            float((model.predict(x, verbose=0).argmax(-1) == y).mean())
            for x, y in (validation, test)
        ]
        found.append({"validation": on[0], "test": on[1], "bytes": 4 * model.count_params()})
    return {"trials": len(trials), "front": found}


def smallest(front, accuracy):
    """The smallest model that is so accurate on the validation part, or None."""
    enough = [of for of in front if of["validation"] >= accuracy - 1e-9]
    return min(enough, key=lambda of: of["bytes"]) if enough else None


def main(results):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one seed, 40 seconds")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(run(given.one, given.seed, given.seconds)))
        return
    seconds, seeds = (40.0, 1) if given.quick else (given.seconds, given.seeds)
    if given.quick:
        results.covers = "one seed, 40 seconds"
    print(f"{'seed':>4} {'model':28}{'validation':>12}{'test':>8}{'bytes':>9}{'trials':>8}")
    dominated, ratios, differences = [], [], []
    for seed in range(seeds):
        # Which of them is first does not matter, but that it takes turns.
        found = {}
        for name in ("one", "two") if seed % 2 else ("two", "one"):
            found[name] = in_process(
                __file__, f"--one={name}", f"--seed={seed}", f"--seconds={seconds}"
            )
        best = found["one"]["front"][0]
        front = found["two"]["front"]
        same = smallest(front, best["validation"])
        near = smallest(front, best["validation"] - WITHIN)
        dominated.append(same is not None and same["bytes"] <= best["bytes"])
        rows = {
            "one, compressed": (best, found["one"]["trials"]),
            "two, at least as accurate": (same, found["two"]["trials"]),
            "two, within one point": (near, found["two"]["trials"]),
        }
        for name, (of, trials) in rows.items():
            cells = (
                f"{'none':>12}{'':>8}{'':>9}"
                if of is None
                else f"{of['validation']:12.4f}{of['test']:8.4f}{of['bytes']:9d}"
            )
            print(f"{seed:4d} {name:28}{cells}{trials:8d}", flush=True)
        if near is not None:
            ratios.append(near["bytes"] / best["bytes"])
            differences.append(near["test"] - best["test"])
    print(f"the front dominates in {sum(dominated)} of {len(dominated)} seeds")
    results.add(
        "front_dominates",
        statistics.mean(dominated),
        f"share of {len(dominated)} seeds in which a model of the front is at least as accurate on "
        "the validation part as the best of the search for accuracy, and no larger than that "
        "compressed",
    )
    if not ratios:
        print("no front has a model within one percentage point")
        return
    print(f"within one point: bytes {spread(ratios)}, test accuracy {spread(differences, '+.4f')}")
    results.of(
        "bytes.two_over_one",
        ratios,
        "bytes of the smallest model of the front within one percentage point of accuracy on the "
        "validation part, in ratio to the compressed best of a search for accuracy, equal time",
        headline=True,
    )
    results.of(
        "test_accuracy.two_minus_one",
        differences,
        "accuracy on the test part of that model, minus the other's",
    )


if __name__ == "__main__":
    with recording() as results:
        main(results)
