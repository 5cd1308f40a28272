"""What `test_study_processes.py` runs: processes that search in one study, some of them killed.

Usage: python study_program.py KIND STORAGE PROCESSES TRIALS KILLS SEED FOLDER

KIND is `black_box`, which trains nothing, or `lanes`; STORAGE `sqlite`, `journal` or a URL. As long
as the search is not done, PROCESSES forked ones run at a time, in one project folder; KILLS times
one of them is killed by SIGKILL at a random moment, and another one is started. KILLS may be
`5x180` to kill one every 5 seconds for 180 seconds. `STUDY_NAP` in the environment says for how
long a trial of `black_box` sleeps. TensorFlow is used in the forked processes only. The last line
that is printed is a JSON object.
"""

import contextlib
import io
import json
import os
import random
import signal
import sys
import time

from helpers.processes import forked

OBJECTIVE = ("score", "min")


def storage_of(kind, folder):
    if "://" in kind:
        return kind
    return os.path.join(folder, "study.db" if kind == "sqlite" else "study.log")


def oracle_of(kind, trials, folder, objective):
    import keras_tuner

    from kerasreg import tuners

    hp = None
    if objective == OBJECTIVE:
        hp = keras_tuner.HyperParameters()
        declare(hp)
    return tuners.StudyOracle(
        keras_tuner.Objective(*objective),
        max_trials=trials,
        sampler="random",
        storage=storage_of(kind, folder),
        study_name="study",
        seed=7,
        hyperparameters=hp,
        max_consecutive_failed_trials=10**6,
    )


def declare(hp):
    kind = hp.Choice("kind", ["a", "b"])
    x = hp.Float("x", -1.0, 1.0)
    with hp.conditional_scope("kind", ["b"]):
        n = hp.Int("n", 1, 4)
    return x, n if kind == "b" else 0


def black_box(kind, trials, folder):
    """A tuner that trains nothing: its score is a function of its hyperparameters."""
    import keras_tuner

    class BlackBox(keras_tuner.Tuner):
        def run_trial(self, trial, *args, **kwargs):
            x, n = declare(trial.hyperparameters)
            with open(os.path.join(folder, "runs"), "a") as file:
                file.write(f"{trial.trial_id} begins\n")
            time.sleep(
                float(os.environ.get("STUDY_NAP", "0.05"))
            )  # Kills are to come in the middle of a trial too.
            with open(os.path.join(folder, "runs"), "a") as file:
                file.write(f"{trial.trial_id} ends\n")
            return x**2 + n

    oracle = oracle_of(kind, trials, folder, OBJECTIVE)
    return BlackBox(oracle=oracle, directory=folder, project_name="project", tuner_id="t")


def lanes(kind, trials, folder):
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

    return tuners.VectorizedTuner(
        oracle_of(kind, trials, folder, ("val_loss", "min")),
        build,
        max_lanes=3,
        directory=folder,
        project_name="project",
    )


def search(which, kind, trials, folder):
    import numpy as np

    with contextlib.redirect_stdout(io.StringIO()):
        if which == "black_box":
            black_box(kind, trials, folder).search(verbose=0)
            return
        x = np.random.default_rng(0).normal(size=(48, 2)).astype("float32")
        y = (x[:, 0] > 0).astype("int32")
        tuner = lanes(kind, trials, folder)
        tuner.search(x[:32], y[:32], validation_data=(x[32:], y[32:]), epochs=8, verbose=0)


def summary(which, kind, trials, folder):
    """What the study and an oracle that is new to it know."""
    with contextlib.redirect_stdout(io.StringIO()):
        tuner = {"black_box": black_box, "lanes": lanes}[which](kind, trials, folder)
    oracle = tuner.oracle
    found = {
        "states": [trial.state.name for trial in oracle.study.trials],
        "trials": {
            trial_id: [trial.status, trial.hyperparameters.values, trial.score]
            for trial_id, trial in oracle.trials.items()
        },
        "last": oracle.create_trial("after").status,
    }
    if which == "lanes":
        found["weights"] = [len(tuner.load_model(t).weights) for t in oracle.trials.values()]
    with open(os.path.join(folder, "summary.json"), "w") as file:
        json.dump(found, file)


def main(which, kind, processes, trials, kills, seed, folder):
    os.makedirs(folder, exist_ok=True)
    # Imported once, and not in each of the processes.
    import kerasreg.tuners  # noqa: F401

    processes, trials, draw = int(processes), int(trials), random.Random(seed)
    every, _, lasts = kills.partition("x")
    kills = 10**9 if lasts else int(every)
    begun = time.monotonic()
    running, codes, killed = {}, [], 0

    def start():
        running[forked(lambda: search(which, kind, trials, folder))] = time.monotonic()

    for _ in range(processes):
        start()
    longest = 1.0 if which == "black_box" else 12.0

    def pause():
        return float(every) if lasts else draw.uniform(0, longest)

    next_kill = time.monotonic() + pause()
    while running:
        done, status = os.waitpid(-1, os.WNOHANG)
        if done:
            running.pop(done)
            codes.append(os.waitstatus_to_exitcode(status))
            if codes[-1] == -signal.SIGKILL:
                start()
            continue
        if lasts and time.monotonic() > begun + float(lasts):
            kills = killed
        if killed < kills and time.monotonic() > next_kill:
            os.kill(draw.choice(sorted(running)), signal.SIGKILL)
            killed += 1
            next_kill = time.monotonic() + pause()
        time.sleep(0.01)
    code = os.waitpid(forked(lambda: summary(which, kind, trials, folder)), 0)[1]
    assert code == 0
    with open(os.path.join(folder, "summary.json")) as file:
        found = json.load(file)
    runs = []
    if which == "black_box":
        with open(os.path.join(folder, "runs")) as file:
            runs = file.read().splitlines()
    seconds = time.monotonic() - begun
    told = {"codes": codes, "killed": killed, "runs": runs, "seconds": seconds}
    print(json.dumps({**found, **told}))


if __name__ == "__main__":
    main(*sys.argv[1:])
