"""What `test_chief.py` runs: a chief, or a worker, of KerasTuner's parallel searches.

Usage: python chief_program.py KIND TRIALS NAP FOLDER

The environment says which of them the process is. Each epoch of a training takes NAP seconds more.
The last line that is printed is a JSON object.
"""

import contextlib
import io
import json
import os
import sys
import time


def made(kind, trials, folder):
    import keras
    import keras_tuner

    from kerasreg import tuners

    def build(hp):
        seeded = keras.initializers.GlorotUniform(seed=1)
        dense = keras.layers.Dense(2, "softmax", kernel_initializer=seeded)
        model = keras.Sequential([keras.Input((2,)), dense])
        rate = hp.Float("rate", 0.01, 1.0, sampling="log")
        if kind == "failing":
            raise ValueError(f"no model for {rate}")
        optimizer = keras.optimizers.SGD(rate)
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    given = {"max_trials": trials, "seed": 3, "directory": folder, "project_name": "project"}
    if kind == "plain":
        return tuners.crash_safe(keras_tuner.RandomSearch(build, "val_loss", **given))
    if kind == "failing":
        hp = keras_tuner.HyperParameters()
        hp.Float("rate", 0.01, 1.0, sampling="log")
        given |= {"hyperparameters": hp, "max_lanes": 1}

        class Unexplored(tuners.VectorizedRandomSearch):
            def _populate_initial_space(self):
                pass

        return Unexplored(build, "val_loss", **given)
    cls = {
        "random": tuners.VectorizedRandomSearch,
        "bayesian": tuners.VectorizedBayesianOptimization,
    }[kind]
    return cls(build, "val_loss", max_lanes=2, checkpoint_every=0.1, **given)


def main(kind, trials, nap, folder):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import numpy as np

    class Naps(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            with open(os.path.join(folder, "epochs"), "a") as file:
                file.write(f"{epoch}\n")

        def on_epoch_end(self, epoch, logs=None):
            time.sleep(float(nap))

    x = np.random.default_rng(0).normal(size=(96, 2)).astype("float32")
    y = (x[:, 0] > 0).astype("int32")
    error = None
    with contextlib.redirect_stdout(io.StringIO()):
        tuner = made(kind, int(trials), folder)
        # A process that runs is seen by the test.
        open(os.path.join(folder, f"{os.environ['KERASTUNER_TUNER_ID']}.ready"), "w").close()
        # Each process names the same file.
        report = {} if kind == "plain" else {"report": os.path.join(folder, "report.json")}
        try:
            tuner.search(
                x[:64],
                y[:64],
                validation_data=(x[64:], y[64:]),
                epochs=3,
                verbose=0,
                callbacks=[Naps()],
                **report,
            )
        except RuntimeError as raised:
            error = str(raised)
        trials_now = {of.trial_id: [of.status, of.score] for of in tuner.oracle.trials.values()}
        best = [of.trial_id for of in tuner.oracle.get_best_trials(2)]
        found = {
            "trials": trials_now,
            "ended": list(tuner.oracle.end_order),
            "best": best,
            "weights": 0 if kind == "failing" else len(tuner.get_best_models(1)[0].weights),
            "error": error,
        }
        if kind not in ("plain", "failing"):
            told = tuner.report(ensemble=False)
            found["curves"] = sorted(one["trial"] for one in told.curves["trials"])
            found["timed"] = sorted(one["trial"] for one in told.trials if one["ended"])
            found["searches"] = len(told.lanes)
            found["chosen"] = tuner.select().trial.trial_id
            with open(os.path.join(folder, "epochs")) as file:
                found["begun"] = file.read().split().count("0")
            found["confirmed"] = list(tuner.confirm(leading=1).confirmed)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
