"""Files of a search that are damaged: it goes on and says so, or names the file and ends."""

import io
import os
import pathlib
import shutil
import warnings

import keras
import keras_tuner
import numpy as np
import pytest

from kerasreg import tuners
from kerasreg.tuners import _best_epochs

pytestmark = pytest.mark.shares_programs

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(48, 3)).astype("float32")
TARGETS = ROWS.sum(axis=1, keepdims=True)
TRIALS = 3


def build(hp):
    seeded = keras.initializers.GlorotUniform(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer=seeded)])
    model.compile(keras.optimizers.SGD(hp.Float("rate", 1e-3, 1e-1)), "mse")
    return model


class Stop(keras.callbacks.Callback):
    """Stops the search in the second epoch."""

    tuner = None

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1 and Stop.tuner is not None:
            Stop.tuner.stop()


def resumed(folder, stop=False, **arguments):
    tuner = tuners.VectorizedRandomSearch(
        build, "val_loss", max_trials=TRIALS, folds=2, seed=1, directory=folder, **arguments
    )
    Stop.tuner = tuner if stop else None
    try:
        tuner.search(ROWS, TARGETS, epochs=3, batch_size=16, callbacks=[Stop()], verbose=0)
    except tuners.SearchStopped:
        assert stop
    return tuner


def scores(tuner):
    return {name: (of.status, of.score) for name, of in tuner.oracle.trials.items()}


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def missing(path):
    path.unlink()


def changed(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))


def foreign(path):
    if path.suffix == ".npz":
        content = io.BytesIO()
        np.savez(content, numbers=np.arange(3))
        path.write_bytes(content.getvalue())
    else:
        path.write_text('{"something": ["else"]}')


def foreign_list(path):
    foreign(path) if path.suffix == ".npz" else path.write_text("[1, 2, 3]")


DAMAGES = [truncated, empty, missing, changed, foreign, foreign_list]
# What nobody can miss who does not know that it was there.
UNNOTICED = ("learning_curves.json", "search_log.json", "checkpoint-")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A search that has ended, and one that was stopped in the middle of its trainings."""
    folder = tmp_path_factory.mktemp("damaged")
    whole = resumed(folder / "finished")
    resumed(folder / "stopped", stop=True)
    return folder, scores(whole)


def outcome(folder):
    """The tuner of a search that went on, or None; and what was said."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            tuner, said = resumed(folder), []
        except RuntimeError as error:
            tuner, said = None, [str(error)]
    return tuner, [*said, *(str(one.message) for one in caught)]


def state_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.long
@pytest.mark.parametrize("state", ["finished", "stopped"])
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda one: one.__name__)
def test_each_file_that_is_damaged_is_named_or_made_good(state, damage, folders, tmp_path):
    folder, expected = folders
    files = sorted(p.relative_to(folder) for p in (folder / state).rglob("*") if p.is_file())
    names = {path.name for path in files}
    assert {"oracle.json", "tuner0.json", "trial.json"} <= names
    kind = "lanes-" if state == "finished" else "checkpoint-"
    assert any(name.startswith(kind) for name in names)
    wrong = []
    for number, file in enumerate(files):
        copy = tmp_path / str(number)
        shutil.copytree(folder / state, copy)
        path = copy / file.relative_to(state)
        damage(path)
        before = state_of(copy)
        tuner, said = outcome(copy)
        named = any(path.name in line for line in said)
        if tuner is None:
            # Nothing was written over.
            if not named or state_of(copy) != before:
                wrong.append((str(file), "ended", said))
            continue
        weights = _best_epochs.read_all(tuner.project_dir, list(expected))
        good = scores(tuner) == expected
        lost_weights = file.name.startswith("lanes-") and damage is missing
        good &= lost_weights or set(weights) == set(expected)
        quiet = damage is missing and file.name.startswith((*UNNOTICED, "lanes-"))
        # A byte of a number is another number, which nobody can see.
        quiet |= damage is changed and file.suffix == ".json"
        # Of the tuner there is nothing in its file.
        quiet |= damage in (foreign, foreign_list) and file.name == "tuner0.json"
        if not good or not (named or quiet):
            wrong.append((str(file), scores(tuner), said))
    assert wrong == []


def test_a_state_that_cannot_be_read_is_named_before_anything_is_written(folders, tmp_path):
    folder, _ = folders
    copy = tmp_path / "copy"
    shutil.copytree(folder / "finished", copy)
    path = copy / "untitled_project" / "oracle.json"
    path.write_text("")
    before = state_of(copy)
    with pytest.raises(RuntimeError, match=r"oracle\.json' is not the state of a search"):
        resumed(copy)
    assert state_of(copy) == before


def test_trials_whose_weights_cannot_be_read_are_trained_again(folders, tmp_path):
    folder, expected = folders
    copy = tmp_path / "copy"
    shutil.copytree(folder / "finished", copy)
    (path,) = (copy / "untitled_project").glob("lanes-*.npz")
    truncated(path)
    with pytest.raises(RuntimeError, match=r"lanes-.*has no weights of trials that can be read"):
        tuners.VectorizedRandomSearch(
            build, "val_loss", max_trials=TRIALS, folds=2, seed=1, directory=copy
        ).select_ensemble(data=(ROWS, TARGETS))
    with pytest.warns(UserWarning, match=rf"{path.name}.*Of 3 trials .* begin again"):
        tuner = resumed(copy)
    assert scores(tuner) == expected
    assert len(tuner.select_ensemble().rows) >= 1
    assert [one.name for one in path.parent.glob("*.damaged")] == [f"{path.name}.damaged"]


def test_a_project_without_the_file_of_its_tuner_does_not_begin_anew(folders, tmp_path):
    folder, expected = folders
    copy = tmp_path / "copy"
    shutil.copytree(folder / "finished", copy)
    (copy / "untitled_project" / "tuner0.json").unlink()
    with pytest.warns(UserWarning, match=r"tuner0\.json' is missing, and is written anew"):
        tuner = resumed(copy)
    assert scores(tuner) == expected
    (copy / "untitled_project" / "tuner0.json").unlink()
    (copy / "untitled_project" / "oracle.json").unlink()
    with pytest.raises(RuntimeError, match=r"oracle\.json' is not the state of a search"):
        resumed(copy)
    # Who asks for it gets it.
    assert scores(resumed(copy, overwrite=True)) == expected


def test_a_project_of_keras_tuner_is_named_too(tmp_path):
    class Parabola(keras_tuner.RandomSearch):
        def run_trial(self, trial, **kwargs):
            return trial.hyperparameters.Float("x", -1.0, 1.0) ** 2

    first = tuners.crash_safe(Parabola(max_trials=2, directory=tmp_path, seed=1))
    first.search(verbose=0)
    shutil.rmtree(pathlib.Path(first.project_dir) / "trial_1")
    with pytest.raises(RuntimeError, match=os.path.join("trial_1", "trial.json")):
        tuners.crash_safe(Parabola(max_trials=2, directory=tmp_path, seed=1))
