"""Resume exactly after a kill: a training and a search that end as if nothing had happened.

Each of the two runs three times: without a stop; in a process that is killed on the way, as by a
power cut; and in a new process that goes on in the folder of the killed one. The weights of the
training must be equal in each bit, and the scores of the search must be equal.
Run: python examples/resume_after_a_kill.py [--epochs=12] [--trials=24]
"""

import argparse
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import keras
import numpy as np
from sklearn.datasets import load_digits

import kerasreg

BATCH_SIZE = 64


def data():
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    return (x / 16).astype("float32")[order], y[order]


class Kill(keras.callbacks.Callback):
    """Kills this process at the end of an epoch, without any chance to tidy up."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        """Ends it, if it is the epoch."""
        if epoch + 1 == self.epoch:
            os.kill(os.getpid(), signal.SIGKILL)


# [training]
def train(folder, epochs, callbacks=()):
    """Trains a network whose hyperparameters all move; what was begun in the folder goes on."""
    keras.utils.set_random_seed(0)
    x, y = data()
    steps = epochs * -(-len(x) // BATCH_SIZE)
    penalty = kerasreg.regularizers.L2(kerasreg.schedules.Linear(0.0, 1e-3, steps))
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(64, "relu", kernel_regularizer=penalty),
            kerasreg.layers.ScheduledDropout(kerasreg.schedules.Linear(0.0, 0.5, steps), seed=0),
            keras.layers.Dense(10, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    kept = pathlib.Path(folder) / "backup"
    callbacks = [
        kerasreg.callbacks.OneCycle(1e-2),
        keras.callbacks.BackupAndRestore(kept),
        *callbacks,
    ]
    # The order of `shuffle=True` would begin anew after a kill.
    model.fit(
        x, y, batch_size=BATCH_SIZE, epochs=epochs, shuffle=False, callbacks=callbacks, verbose=0
    )
    np.savez(pathlib.Path(folder) / "weights.npz", *model.get_weights())


# [end]


# [search]
def search(folder, trials, callbacks=()):
    """Searches; what was begun in the folder goes on."""
    x, y = data()

    def build(hp):
        # With seeds, so that initial weights and masks are those of the setting in any process.
        weights = [keras.initializers.GlorotUniform(seed=seed) for seed in (1, 2)]
        model = keras.Sequential(
            [
                keras.Input((64,)),
                keras.layers.Dense(32, "relu", kernel_initializer=weights[0]),
                keras.layers.Dropout(hp.Float("dropout", 0.0, 0.6), seed=3),
                keras.layers.Dense(10, "softmax", kernel_initializer=weights[1]),
            ]
        )
        rate = hp.Float("learning_rate", 1e-4, 1e-1, sampling="log")
        model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
        return model

    tuner = kerasreg.tuners.VectorizedRandomSearch(
        build, "val_loss", max_trials=trials, seed=1, max_lanes=8, directory=folder
    )
    tuner.search(
        x[400:],
        y[400:],
        epochs=3,
        validation_data=(x[:400], y[:400]),
        callbacks=callbacks,
        verbose=0,
    )
    return tuner


# [end]


class KillInSearch(keras.callbacks.Callback):
    """Kills this process when so many trainings of a search have begun."""

    def __init__(self, begun):
        super().__init__()
        self.begun = begun

    def on_train_begin(self, logs=None):
        """Counts, and ends it."""
        KillInSearch.count = getattr(KillInSearch, "count", 0) + 1
        if KillInSearch.count > self.begun:
            os.kill(os.getpid(), signal.SIGKILL)


def in_a_process(*arguments):
    """Runs this script in a process of its own; returns the signal that ended it, or 0."""
    command = [sys.executable, __file__, *map(str, arguments)]
    return -subprocess.run(command, check=False).returncode


def scores(tuner):
    return {
        tuple(sorted(trial.hyperparameters.values.items())): trial.score
        for trial in tuner.oracle.trials.values()
    }


def main(argv=None) -> dict[str, object]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--child", choices=("train", "search"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--kill_after", type=int, help=argparse.SUPPRESS)
    flags = parser.parse_args(argv)
    if flags.child == "train":
        train(flags.folder, flags.epochs, [Kill(flags.kill_after)] if flags.kill_after else [])
        return {}
    if flags.child == "search":
        killing = [KillInSearch(flags.kill_after)] if flags.kill_after else []
        search(flags.folder, flags.trials, killing)
        return {}
    with tempfile.TemporaryDirectory() as folder:
        parts = {name: f"{folder}/{name}" for name in ("whole", "killed")}
        for part in parts.values():
            os.mkdir(part)
        signals = []
        for kind, number, stop in (
            ("train", f"--epochs={flags.epochs}", flags.epochs // 2),
            ("search", f"--trials={flags.trials}", flags.trials // 2),
        ):
            child = (f"--child={kind}", number)
            in_a_process(*child, f"--folder={parts['whole']}")
            child = (*child, f"--folder={parts['killed']}")
            signals.append(signal.Signals(in_a_process(*child, f"--kill_after={stop}")).name)
            again = in_a_process(*child)
            print(f"{kind}: ended by {signals[-1]}, then resumed: {again == 0}")
        weights = [np.load(f"{part}/weights.npz") for part in parts.values()]
        different = sum(int((weights[0][n] != weights[1][n]).sum()) for n in weights[0].files)
        print(f"weights that differ from those of the training without a stop: {different}")
        # There is nothing left to train.
        whole, resumed = (scores(search(part, flags.trials)) for part in parts.values())
        same = len(whole.keys() & resumed.keys())
        largest = max(abs(whole[key] - resumed[key]) for key in whole.keys() & resumed.keys())
        print(f"settings of the search that are the same: {same} of {len(whole)}")
        print(f"their scores differ by at most {largest:.1e}")
    return {
        "ended": signals,
        "different": different,
        "same": same,
        "trials": len(whole),
        "largest": float(largest),
    }


if __name__ == "__main__":
    main()
