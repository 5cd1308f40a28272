"""What `test_checkpoints.py` runs: searches that are killed in the middle of their trainings.

Usage: python checkpoints_program.py moments KIND SEED KILLS FOLDER
       python checkpoints_program.py terminated FOLDER [DEVICES]

`moments` kills a search by SIGKILL at random moments, and `terminated` ends one by SIGTERM, which
goes on with so many virtual devices. Each search runs in a forked process. TensorFlow is imported
before, and used only there. The last line that is printed is a JSON object.
"""

import contextlib
import glob
import io
import json
import os
import random
import signal
import sys
import time

from helpers.processes import exit_code, forked, killed_after

EPOCHS = 60


def search(kind, folder, every, devices=0):
    """Begins or resumes a search, and runs it to its end; on so many virtual devices."""
    import keras

    if devices:
        import tensorflow as tf

        processor = tf.config.list_physical_devices("CPU")[0]
        parts = [tf.config.LogicalDeviceConfiguration()] * devices
        tf.config.set_logical_device_configuration(processor, parts)
    import numpy as np
    from test_checkpoints import ROWS, TARGETS, seeded

    from kerasreg import tuners

    class Slow(keras.callbacks.Callback):
        """So that kills come in the middle of trainings; notes which epochs there were."""

        def on_epoch_begin(self, epoch, logs=None):
            time.sleep(0.02)
            with open(os.path.join(folder, f"epochs-{os.getpid()}"), "a") as file:
                file.write(f"{epoch}\n")

    keras.utils.set_random_seed(3)
    common = {
        "max_trials": 4,
        "seed": 1,
        "directory": folder,
        "project_name": "project",
        "checkpoint_every": every,
        "max_lanes": 4,
        "devices": [f"cpu:{number}" for number in range(devices)] or None,
    }
    if kind == "study":
        tuner = tuners.VectorizedStudySearch(seeded, "val_loss", sampler="random", **common)
    else:
        folds = {"folds": 2, "batches": "own"} if kind == "folds" else {}
        tuner = tuners.VectorizedRandomSearch(seeded, "val_loss", **folds, **common)
    data = {} if kind == "folds" else {"validation_data": (ROWS[:16], TARGETS[:16])}
    plateau = keras.callbacks.ReduceLROnPlateau("val_loss", patience=2)
    with contextlib.redirect_stdout(io.StringIO()):
        tuner.search(
            ROWS,
            TARGETS,
            epochs=EPOCHS,
            batch_size=16,
            callbacks=[plateau, Slow()],
            verbose=0,
            **data,
        )
    from kerasreg.tuners import _best_epochs

    stored = _best_epochs.read_all(tuner.project_dir, list(tuner.oracle.trials))
    found = {
        name: [
            trial.status,
            trial.score,
            trial.best_step,
            [float(np.sum(value.astype("float64"))) for one in stored[name] for value in one],
        ]
        for name, trial in sorted(tuner.oracle.trials.items())
    }
    with open(os.path.join(folder, "found.json"), "w") as file:
        json.dump(found, file)


def found(folder):
    with open(os.path.join(folder, "found.json")) as file:
        return json.load(file)


def files(folder):
    return glob.glob(os.path.join(folder, "project", "checkpoints", "*"))


def first_epochs(folder):
    """The first epoch of each process, in the order in which they began."""
    paths = glob.glob(os.path.join(folder, "epochs-*"))
    first = {}
    for path in paths:
        with open(path) as file:
            first[os.path.getmtime(path)] = int(file.readline())
    return [first[time] for time in sorted(first)]


def folders(folder):
    paths = [os.path.join(folder, name) for name in ("whole", "killed")]
    for path in paths:
        os.makedirs(path)
    return paths


def moments(kind, seed, kills, folder):
    whole, killed = folders(folder)
    begun = time.monotonic()
    assert exit_code(forked(lambda: search(kind, whole, None))) == 0
    length = time.monotonic() - begun
    draw = random.Random(int(seed))
    codes, most = [], 0
    for _ in range(int(kills)):
        seconds = draw.uniform(0.4, 0.8) * length
        codes.append(killed_after(seconds, lambda: search(kind, killed, 0.1)))
        most = max(most, len(files(killed)))
    assert exit_code(forked(lambda: search(kind, killed, 0.1))) == 0
    return {
        "whole": found(whole),
        "resumed": found(killed),
        "exit_codes": codes,
        "first_epochs": first_epochs(killed),
        "most_files": most,
        "left": files(killed),
    }


def terminated(folder, devices="0"):
    whole, killed = folders(folder)
    assert exit_code(forked(lambda: search("lanes", whole, None))) == 0
    process = forked(lambda: search("lanes", killed, "1h"))
    while not first_epochs(killed):
        time.sleep(0.1)
    time.sleep(0.5)
    os.kill(process, signal.SIGTERM)
    codes = [exit_code(process)]
    assert len(files(killed)) == 1
    assert exit_code(forked(lambda: search("lanes", killed, "1h", int(devices)))) == 0
    return {
        "whole": found(whole),
        "resumed": found(killed),
        "exit_codes": codes,
        "first_epochs": first_epochs(killed),
        "left": files(killed),
    }


def main(what, *arguments):
    import keras_tuner  # noqa: F401

    import kerasreg.tuners  # noqa: F401

    print(json.dumps({"moments": moments, "terminated": terminated}[what](*arguments)))


if __name__ == "__main__":
    main(*sys.argv[1:])
