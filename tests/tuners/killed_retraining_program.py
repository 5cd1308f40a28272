"""What `test_retrained_members.py` runs: members that are trained again, and killed meanwhile.

Usage: python killed_retraining_program.py FOLDER

Searches once, then kills the training of members at every fifth of its writes, one after the
other, and does it again. Prints a JSON object: what the undisturbed ensemble predicts, what the
others predict, and how many members there are.
"""

import contextlib
import io
import json
import os
import shutil
import sys

from helpers.processes import exit_code, forked, killed_at_each_call


def ensemble(folder, retrain):
    """Searches, if that is not done, and makes the ensemble; keeps what it predicts."""
    import numpy as np
    from test_retrained_members import ROWS, X, Y, build

    from kerasreg import tuners

    # Three at a time: one trial with its folds.
    tuner = tuners.VectorizedRandomSearch(
        build, "val_loss", max_trials=3, folds=3, seed=8, max_lanes=3, directory=folder
    )
    with contextlib.redirect_stdout(io.StringIO()):
        tuner.search(X, Y, epochs=6, batch_size=ROWS, verbose=0)
        if retrain:
            model = tuner.ensemble(size=12, retrain=1)
            predicted = model.predict(X[:10], verbose=0)
            np.save(os.path.join(folder, "predicted.npy"), predicted)
            with open(os.path.join(folder, "members"), "w") as file:
                file.write(str(len(model.members())))


def predicted(folder):
    import numpy as np

    return np.load(os.path.join(folder, "predicted.npy")).ravel().tolist()


def main(folder):
    searched = os.path.join(folder, "searched")
    assert exit_code(forked(lambda: ensemble(searched, False))) == 0

    def copied(name):
        return shutil.copytree(searched, os.path.join(folder, name), dirs_exist_ok=True)

    whole = copied("whole")
    assert exit_code(forked(lambda: ensemble(whole, True))) == 0

    def after(number):
        one = os.path.join(folder, f"killed-{number}")
        assert exit_code(forked(lambda: ensemble(one, True))) == 0
        return predicted(one)

    found = killed_at_each_call(
        ("replace",), lambda n: ensemble(copied(f"killed-{n}"), True), after, step=5
    )
    with open(os.path.join(whole, "members")) as file:
        members = int(file.read())
    print(json.dumps({"whole": predicted(whole), "killed": found, "members": members}))


if __name__ == "__main__":
    main(*sys.argv[1:])
