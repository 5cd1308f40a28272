"""What `test_tuners_resume.py` runs: searches that are killed and resumed.

Usage: python kills_program.py writes KIND FOLDER
       python kills_program.py moments KIND SEED KILLS FOLDER

`writes` kills a search at each of its writes, one after the other, and resumes
it; `moments` kills one search several times at random moments. Each search runs
in a forked process, killed by SIGKILL. TensorFlow is imported before, and used
only in the forked processes. The last line that is printed is a JSON object.
"""

import contextlib
import glob
import io
import json
import os
import random
import sys
import time

from helpers.processes import exit_code, forked, killed_after, killed_at_each_call


def black_box(kind, folder):
    """A tuner that trains nothing: its score is a function of its two hyperparameters."""
    import keras_tuner

    cls, arguments = {
        "random": (keras_tuner.RandomSearch, {"max_trials": 4}),
        # The space is not given, but found in the first trial.
        "discovered": (keras_tuner.RandomSearch, {"max_trials": 3}),
        "failing": (keras_tuner.RandomSearch, {"max_trials": 3, "max_retries_per_trial": 1}),
        "bayesian": (keras_tuner.BayesianOptimization, {"max_trials": 4, "num_initial_points": 3}),
        "grid": (keras_tuner.GridSearch, {"max_trials": 3}),
        "hyperband": (keras_tuner.Hyperband, {"max_epochs": 2, "factor": 2}),
    }[kind]
    if kind != "discovered":
        arguments["hyperparameters"] = keras_tuner.HyperParameters()
        declare(arguments["hyperparameters"])

    class BlackBox(cls):
        def run_trial(self, trial, *args, **kwargs):
            with open(os.path.join(folder, "runs"), "a") as file:
                file.write(f"{trial.trial_id}\n")
            x, n = declare(trial.hyperparameters)
            time.sleep(0.01)  # Some of the random kills are to come in the middle of a trial.
            if kind == "failing" and n % 2:
                raise ValueError("odd")
            return (x - 0.3) ** 2 + n

    tuner = BlackBox(
        objective=keras_tuner.Objective("score", "min"),
        directory=folder,
        project_name="project",
        seed=7,
        max_consecutive_failed_trials=100,
        **arguments,
    )
    tuner.oracle.verbose = 0
    return tuner


def declare(hp):
    return hp.Float("x", -1.0, 1.0), hp.Int("n", 1, 4)


def network(folder):
    """A tuner that trains Keras models; equal seeds give equal results."""
    import keras_tuner

    from kerasreg import hypermodels

    hypermodel = hypermodels.DenseHyperModel(
        features=2, classes=2, epochs=1, samples=32, widths=(2, 4), depths=(1, 1), seed=1
    )
    return keras_tuner.RandomSearch(
        hypermodel,
        keras_tuner.Objective("val_accuracy", "max"),
        max_trials=3,
        seed=7,
        directory=folder,
        project_name="project",
    )


def lanes(folder, **arguments):
    """A tuner that trains several Keras models as one program, three at a time."""
    import keras

    from kerasreg import tuners

    def build(hp):
        seeded = keras.initializers.GlorotUniform(seed=1)
        dense = keras.layers.Dense(2, "softmax", kernel_initializer=seeded)
        model = keras.Sequential([keras.Input((2,)), dense])
        optimizer = keras.optimizers.SGD(hp.Float("rate", 0.01, 1.0, sampling="log"))
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    return tuners.VectorizedRandomSearch(
        build,
        "val_accuracy",
        max_trials=5,
        initial_settings=[{"rate": rate} for rate in (0.5, 0.05, 0.02, 0.2)],
        max_lanes=3,
        seed=7,
        directory=folder,
        project_name="project",
        **arguments,
    )


def search(kind, folder):
    """Begins or resumes a search and runs it to its end."""
    import numpy as np

    from kerasreg import tuners

    with contextlib.redirect_stdout(io.StringIO()):
        if kind == "folds":
            # The folds of a trial do not all train at once.
            x = np.random.default_rng(0).normal(size=(48, 2)).astype("float32")
            y = (x[:, 0] > 0).astype("int32")
            tuner = lanes(folder, folds=4, batches="own")
            tuners.run_search(tuner, x, y, batch_size=4, epochs=2, verbose=0)
            with open(os.path.join(folder, "ensemble.json"), "w") as file:
                json.dump(tuner.select_ensemble("sparse_categorical_crossentropy").to_dict(), file)
        elif kind in ("network", "lanes"):
            x = np.random.default_rng(0).normal(size=(48, 2)).astype("float32")
            y = (x[:, 0] > 0).astype("int32")
            tuner = lanes(folder) if kind == "lanes" else tuners.crash_safe(network(folder))
            tuners.run_search(tuner, x[:32], y[:32], validation_data=(x[32:], y[32:]), verbose=0)
        else:
            tuners.run_search(tuners.crash_safe(black_box(kind, folder)))


def state(folder):
    """What is on disk: the trials, and the files that cannot be read."""
    trials, broken = {}, []
    for path in sorted(glob.glob(os.path.join(folder, "project", "**", "*.json"), recursive=True)):
        try:
            with open(path) as file:
                content = json.load(file)
        except ValueError:
            broken.append(os.path.relpath(path, folder))
            continue
        if os.path.basename(path) == "trial.json":
            score = content["score"]
            values = content["hyperparameters"]["values"]
            trials[content["trial_id"]] = [content["status"], values, score]
    return {"trials": trials, "broken": broken}


def ensemble(folder):
    """The ensemble of a search, of the kind that makes one."""
    path = os.path.join(folder, "ensemble.json")
    if not os.path.exists(path):
        return None
    with open(path) as file:
        return json.load(file)


def runs(folder):
    """The trials that were run, in order; those that were cut off too."""
    path = os.path.join(folder, "runs")
    if not os.path.exists(path):
        return []
    with open(path) as file:
        return file.read().split()


def writes(kind, folder):
    whole = os.path.join(folder, "whole")
    assert exit_code(forked(lambda: search(kind, whole))) == 0

    def folder_of(number):
        return os.path.join(folder, f"killed-{number}")

    def after(number):
        one = folder_of(number)
        left, before = state(one), len(runs(one))
        code = exit_code(forked(lambda: search(kind, one)))
        return {
            "left": left,
            "resumed": state(one),
            "run_again": runs(one)[before:],
            "exit_code": code,
        }

    # A write becomes visible by its rename.
    killed = killed_at_each_call(("replace",), lambda n: search(kind, folder_of(n)), after)
    return {"whole": state(whole), "killed": killed}


def moments(kind, seed, kills, folder):
    whole = os.path.join(folder, "whole")
    begun = time.monotonic()
    assert exit_code(forked(lambda: search(kind, whole))) == 0
    length = time.monotonic() - begun
    draw = random.Random(int(seed))
    one = os.path.join(folder, "killed")
    killed = []
    for _ in range(int(kills)):
        code = killed_after(draw.uniform(0.1, 0.9) * length, lambda: search(kind, one))
        killed.append({"left": state(one), "exit_code": code})
    code = exit_code(forked(lambda: search(kind, one)))
    return {
        "ensembles": [ensemble(whole), ensemble(one)],
        "whole": state(whole),
        "killed": killed,
        "resumed": state(one),
        "exit_code": code,
    }


def main(what, *arguments):
    import keras_tuner  # noqa: F401

    import kerasreg.hypermodels
    import kerasreg.tuners  # noqa: F401

    print(json.dumps({"writes": writes, "moments": moments}[what](*arguments)))


if __name__ == "__main__":
    main(*sys.argv[1:])
