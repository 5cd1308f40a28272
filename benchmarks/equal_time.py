"""The best model that searches find in the same time: KerasTuner's and kerasreg's.

Usage: python benchmarks/equal_time.py [--seconds=60] [--seeds=5] [--data=digits,wine,...]
           [--contenders=kerasreg,RandomSearch,...] [--json=FILE]

Data: scikit-learn's digits, breast_cancer, wine and diabetes; for each seed another division
into 60 % to train, 20 % to validate and 20 % to test, scaled by the training part. Space, the
same for all: units of a hidden layer (32, 64, 128), L1, L2, dropout rate, learning rate (Adam);
20 epochs, batches of 64. Each search runs in a process of its own for the given seconds, first
trace included; what ends later does not count. The model that is best on the validation part
is tested. "kerasreg-4" trains each setting with four seeds and chooses by their mean: the best
of hundreds of single results is the luckiest too, and fits the validation part.

Printed: the mean test score over seeds with its standard error (accuracy, and R2 for diabetes),
the mean by seed of how much better the first contender is with its own, and trials per search.
All seeds times data times contenders: with the defaults about two hours.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time

from _processes import in_process
from _results import recording, slug

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

EPOCHS, BATCH = 20, 64
DATA = ("digits", "breast_cancer", "wine", "diabetes")
CONTENDERS = ("kerasreg", "kerasreg-4", "RandomSearch", "BayesianOptimization", "Hyperband")


def data(name, seed):
    """Parts to train, to validate and to test, and the number of classes or None."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    classes = None if name == "diabetes" else len(set(y.tolist()))

    def divide(x, y, share):
        stratify = None if classes is None else y
        return train_test_split(x, y, test_size=share, random_state=seed, stratify=stratify)

    x, x_test, y, y_test = divide(x, y, 0.2)
    x, x_validation, y, y_validation = divide(x, y, 0.25)
    scaler = StandardScaler().fit(x)
    if classes is None:
        middle, scale = y.mean(), y.std()
        y, y_validation, y_test = ((part - middle) / scale for part in (y, y_validation, y_test))
    parts = [(x, y), (x_validation, y_validation), (x_test, y_test)]
    kind = "float32" if classes is None else "int32"
    return [(scaler.transform(a).astype("float32"), b.astype(kind)) for a, b in parts], classes


def hypermodel(features, classes):
    import keras

    import kerasreg

    def build(hp):
        penalty = keras.regularizers.L1L2(
            hp.Float("l1", 1e-6, 1e-2, sampling="log"), hp.Float("l2", 1e-6, 1e-2, sampling="log")
        )
        units = hp.Choice("units", [32, 64, 128])
        model = keras.Sequential(
            [
                keras.Input((features,)),
                keras.layers.Dense(units, "relu", kernel_regularizer=penalty),
                kerasreg.layers.ScheduledDropout(hp.Float("rate", 0.0, 0.7)),
                keras.layers.Dense(classes or 1),
            ]
        )
        optimizer = keras.optimizers.Adam(hp.Float("learning_rate", 1e-4, 1e-1, sampling="log"))
        if classes is None:
            # R2 expects the axis of outputs.
            model.compile(optimizer, "mse", metrics=[keras.metrics.R2Score(name="score")])
        else:
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            score = keras.metrics.SparseCategoricalAccuracy(name="score")
            model.compile(optimizer, loss, metrics=[score])
        return model

    return build


def run(contender, name, seed, seconds):
    """One search: the test score of the best model, and how many trials there were."""
    import keras_tuner

    import kerasreg

    ((x, y), validation, test), classes = data(name, seed)
    if classes is None:
        y, validation = y[:, None], (validation[0], validation[1][:, None])
        test = (test[0], test[1][:, None])
    build = hypermodel(x.shape[1], classes)
    objective = keras_tuner.Objective("val_score", "max")
    given = {"directory": tempfile.mkdtemp(), "seed": seed, "objective": objective}
    if contender == "Hyperband":
        tuner = keras_tuner.Hyperband(
            build, max_epochs=EPOCHS, hyperband_iterations=10_000, **given
        )
    elif contender.startswith("kerasreg"):
        # 64 lanes are of one program.
        executions = int(contender.partition("-")[2] or 1)
        given.update(executions_per_trial=executions, trials_per_structure=64 // executions)
        tuner = kerasreg.tuners.VectorizedRandomSearch(
            build, max_trials=100_000, max_lanes=64, **given
        )
    else:
        tuner = getattr(keras_tuner, contender)(build, max_trials=100_000, **given)

    oracle, in_time = tuner.oracle, []
    create, update, end = oracle.create_trial, oracle.update_trial, oracle.end_trial

    def over():
        return time.perf_counter() - begun >= seconds

    def create_trial(tuner_id):
        if over():
            oracle.max_trials = 1  # No more.
        return create(tuner_id)

    def update_trial(trial_id, *args, **kwargs):
        trial = update(trial_id, *args, **kwargs)
        if over():  # Only kerasreg hears of it: KerasTuner's trials run to their ends.
            trial.status = "STOPPED"
        return trial

    def end_trial(trial):
        end(trial)
        if not over() and trial.status == "COMPLETED":
            in_time.append(trial)

    oracle.create_trial, oracle.end_trial = create_trial, end_trial
    if contender.startswith("kerasreg"):
        oracle.update_trial = update_trial
    begun = time.perf_counter()
    tuner.search(x, y, epochs=EPOCHS, batch_size=BATCH, validation_data=validation, verbose=0)
    best = max(in_time, key=lambda trial: oracle.get_trial(trial.trial_id).score)
    found = tuner.load_model(best).evaluate(*test, verbose=0, return_dict=True)
    return {"score": found["score"], "trials": len(in_time)}


def mean(values):
    """The mean with its standard error."""
    if len(values) < 2:
        return f"{values[0]:.4f}"
    return f"{statistics.mean(values):.4f} ± {statistics.stdev(values) / len(values) ** 0.5:.4f}"


def around(middle, values):
    """What `Results.add` takes of a mean: one standard error below, and above."""
    if len(values) < 2:
        return ()
    error = statistics.stdev(values) / len(values) ** 0.5
    return middle - error, middle + error, "standard error"


def compare(name, seeds, seconds, contenders, results):
    found = {contender: [] for contender in contenders}
    for seed in range(1, seeds + 1):
        for contender in contenders:
            result = in_process(
                __file__, "--one", contender, "--data", name, "--seed", seed, "--seconds", seconds
            )
            found[contender].append(result)
            print(f"{name} {seed} {contender}: {result}", file=sys.stderr, flush=True)
    print(f"\n{name}: {seconds} s, {seeds} seeds", flush=True)
    print(f"{'':22}{'test score':>18}{contenders[0] + ' better by':>24}{'trials':>9}")
    scores = {who: [one["score"] for one in every] for who, every in found.items()}
    for who, every in found.items():
        more = [a - b for a, b in zip(scores[contenders[0]], scores[who], strict=True)]
        trials = statistics.median(one["trials"] for one in every)
        better = "" if who == contenders[0] else mean(more)
        of = f"{name}.{slug(who)}"
        results.add(f"{of}.trials", trials, f"trials of {who} on {name} in {seconds:g} s")
        middle = statistics.mean(scores[who])
        what = f"test score of {who} on {name} after {seconds:g} s, mean of {seeds} seeds"
        results.add(f"{of}.score", middle, what, *around(middle, scores[who]))
        if better:
            what = f"by how much {contenders[0]} scores better than {who} on {name}"
            middle = statistics.mean(more)
            results.add(f"{of}.worse_by", middle, what, *around(middle, more), headline=True)
        print(f"{who:22}{mean(scores[who]):>18}{better:>24}{trials:>9.0f}", flush=True)


def main(results):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", default=",".join(DATA))
    parser.add_argument("--contenders", default=",".join(CONTENDERS))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=1, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        found = run(arguments.one, arguments.data, arguments.seed, arguments.seconds)
        print(json.dumps(found))
        return
    for name in arguments.data.split(","):
        contenders = arguments.contenders.split(",")
        compare(name, arguments.seeds, arguments.seconds, contenders, results)
        results.save()


if __name__ == "__main__":
    with recording() as results:
        main(results)
