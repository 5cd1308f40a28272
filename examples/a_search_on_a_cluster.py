"""A search on a cluster: the same program on each machine, and one of them is killed.

Three processes take the places of three machines: they have in common a storage, which has the
trials, and a folder, which has the weights. One of them is killed on the way, without a word. The
others try its trials again; in the end each trial is there once, and the settings are those of a
search that one process has run alone.
Run: python examples/a_search_on_a_cluster.py [--trials=24] [--storage=URL] [--folder=FOLDER]
On a cluster: python examples/a_search_on_a_cluster.py --take_part --storage=URL --folder=FOLDER
"""

import argparse
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import keras
import numpy as np
from sklearn.datasets import load_digits

import kerasreg

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def data():
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    return (x / 16).astype("float32")[order], y[order]


# [search]
def build(hp):
    """A network whose dropout and learning rate are searched."""
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(32, "relu"),
            keras.layers.Dropout(hp.Float("dropout", 0.0, 0.6)),
            keras.layers.Dense(10, "softmax"),
        ]
    )
    rate = hp.Float("learning_rate", 1e-4, 1e-1, sampling="log")
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    return model


def tuner_of(trials, storage, folder):
    """A part in the search: the same on each machine."""
    return kerasreg.tuners.VectorizedStudySearch(
        build,
        "val_loss",
        max_trials=trials,  # Of all machines together.
        sampler="random",
        storage=storage,
        study_name="digits",
        seed=1,
        max_lanes=4,
        directory=folder,
        project_name="digits",
    )


def take_part(trials, storage, folder, epochs=20, callbacks=()):
    """Searches until all machines together have all trials."""
    x, y = data()
    tuner = tuner_of(trials, storage, folder)
    tuner.search(
        x[400:],
        y[400:],
        epochs=epochs,
        validation_data=(x[:400], y[:400]),
        callbacks=callbacks,
        verbose=0,
    )
    return tuner


# [end]


class SlowEpochs(keras.callbacks.Callback):
    """Lets a search of digits last as long as one of real data, a little."""

    def on_epoch_end(self, epoch, logs=None):
        """Waits."""
        time.sleep(0.02)


def start(trials, storage, folder, name):
    """Starts this script in a process of its own, in the place of a machine."""
    given = [f"--trials={trials}", f"--storage={storage}", f"--folder={folder}"]
    return subprocess.Popen([sys.executable, __file__, "--take_part", f"--name={name}", *given])


def watch(trials, storage, folder):
    """Runs three machines, and kills the first when a third of the trials has ended."""
    machines = [start(trials, storage, folder, name) for name in "abc"]
    oracle = tuner_of(trials, storage, folder).oracle
    killed = None
    while any(machine.poll() is None for machine in machines):
        ended = [t for t in oracle.study.get_trials(deepcopy=False) if t.state.is_finished()]
        if killed is None and len(ended) >= trials // 3:
            machines[0].kill()
            killed = signal.Signals(-machines[0].wait()).name
        time.sleep(0.1)
    return killed, [machine.returncode for machine in machines[1:]]


def settings(oracle):
    return [trial.hyperparameters.values for _, trial in sorted(oracle.trials.items())]


def main(argv=None) -> dict[str, object]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--storage", help="a URL, or the path of a file")
    parser.add_argument("--folder", help="one that all machines reach")
    parser.add_argument("--take_part", action="store_true", help="as one of several machines")
    parser.add_argument("--name", help=argparse.SUPPRESS)
    flags = parser.parse_args(argv)
    if flags.take_part:
        slow = [SlowEpochs()] if flags.name else []
        take_part(flags.trials, flags.storage, flags.folder, callbacks=slow)
        return {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = flags.folder or temporary
        storage = flags.storage or str(pathlib.Path(folder) / "study.db")
        killed, codes = watch(flags.trials, storage, folder)
        print(f"machine a: ended by {killed}; exit codes of the others: {codes}")
        # [look]
        oracle = tuner_of(flags.trials, storage, folder).oracle
        states = [trial.state.name for trial in oracle.study.trials]
        print(f"trials that have a result: {states.count('COMPLETE')} of {flags.trials}")
        # [end]
        statuses = {trial.status for trial in oracle.trials.values()}
        alone = take_part(flags.trials, None, f"{temporary}/alone", epochs=1)
        same = settings(oracle) == settings(alone.oracle)
        print(f"the settings are those of one process alone: {same}")
        best = tuner_of(flags.trials, storage, folder).get_best_models(1)[0]
        x, y = data()
        accuracy = float((best.predict(x[:400], verbose=0).argmax(-1) == y[:400]).mean())
        print(f"accuracy of the best model on the validation part: {accuracy:.3f}")
    return {
        "killed": killed,
        "codes": codes,
        "completed": states.count("COMPLETE"),
        "trials": len(oracle.trials),
        "statuses": statuses,
        "same": same,
        "accuracy": accuracy,
    }


if __name__ == "__main__":
    main()
