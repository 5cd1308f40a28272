"""Searches over the data that Keras takes: tables, series and tensors, whole and in folds."""

import keras
import numpy as np
import pandas
import pytest
import scipy.sparse
import tensorflow as tf

from kerasreg import tuners
from kerasreg.lanes import _batches
from kerasreg.tuners import _digests

pytestmark = pytest.mark.shares_programs

RANDOM = np.random.default_rng(0)
TABLE = pandas.DataFrame(
    {"age": RANDOM.normal(size=60), "n": RANDOM.integers(0, 5, 60), "city": np.arange(60) % 2 == 0}
)
TARGET = pandas.Series((TABLE["age"] > 0).astype(int))
WORDS = np.array(["good", "bad", "fine"], object)[np.arange(60) % 3]


def build(hp):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, "sigmoid")])
    rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    model.compile(keras.optimizers.SGD(rate), "binary_crossentropy", jit_compile=False)
    return model


def build_of_text(hp):
    lookup = keras.layers.StringLookup(vocabulary=["good", "bad", "fine"])
    layers = [keras.Input((), dtype="string"), lookup, keras.layers.Embedding(5, 2)]
    model = keras.Sequential([*layers, keras.layers.Dense(1, "sigmoid")])
    rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    model.compile(keras.optimizers.SGD(rate), "binary_crossentropy", jit_compile=False)
    return model


@pytest.mark.short(
    "table-None-4", "table-2-1", "text-2-4", "text-None-1", "tensors-2-1", "tensors-None-4"
)
@pytest.mark.parametrize("max_lanes", [1, 4])
@pytest.mark.parametrize("folds", [None, 2])
@pytest.mark.parametrize("kind", ["table", "text", "tensors"])
def test_a_search_takes_what_keras_takes(kind, folds, max_lanes, tmp_path, recwarn):
    x = {"table": TABLE, "text": WORDS, "tensors": tf.constant(RANDOM.normal(size=(60, 3)))}[kind]
    tuner = tuners.VectorizedRandomSearch(
        build_of_text if kind == "text" else build,
        "val_loss",
        max_trials=2,
        seed=1,
        directory=tmp_path,
        folds=folds,
        max_lanes=max_lanes,
    )
    more = {} if folds else {"validation_split": 0.25}
    tuner.search(x, TARGET, epochs=1, verbose=0, **more)
    assert [trial.status for trial in tuner.oracle.trials.values()] == ["COMPLETED"] * 2
    assert not [one for one in recwarn if "one by one" in str(one.message)]


@pytest.mark.parametrize("kind", ["file", "large file", "sparse", "dictionary"])
def test_a_search_over_files_and_sparse_data_trains_lanes(kind, tmp_path, recwarn, monkeypatch):
    np.save(tmp_path / "x.npy", RANDOM.normal(size=(60, 3)))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    if kind == "sparse":
        x = scipy.sparse.csr_matrix(np.array(x))
    if kind == "dictionary":
        x = {"keras_tensor": x}
    if kind == "large file":
        monkeypatch.setattr(_digests, "_MOST_READ", 100)
        monkeypatch.setattr(_digests, "_sample", None)  # Its contents are not looked at.
        monkeypatch.setattr(_batches, "RESIDENT_BYTES", 100)

    def named(hp):
        model = build(hp)
        inputs = keras.Input((3,), name="keras_tensor")
        named = keras.Model({"keras_tensor": inputs}, model(inputs))
        named.compile(model.optimizer, "binary_crossentropy", jit_compile=False)
        return named

    tuner = tuners.VectorizedRandomSearch(
        named if kind == "dictionary" else build, "loss", 3, seed=1, directory=tmp_path
    )
    y = TARGET
    if kind == "large file":
        y = np.memmap(tmp_path / "y", "int32", "w+", shape=(60, 1))
    tuner.search(x, y, epochs=1, verbose=0)
    assert [trial.status for trial in tuner.oracle.trials.values()] == ["COMPLETED"] * 3
    assert not [one for one in recwarn if "one by one" in str(one.message)]
    assert not [one for one in recwarn if "alone" in str(one.message)]


@pytest.mark.parametrize("name", ["a[1]", "[!a]"])
def test_a_search_resumes_in_a_project_of_any_name(name, tmp_path):
    def search(trials):
        tuner = tuners.VectorizedRandomSearch(
            build, "val_loss", trials, seed=1, directory=tmp_path, project_name=name
        )
        tuner.search(TABLE, TARGET, validation_split=0.25, verbose=0)
        return {trial_id: trial.score for trial_id, trial in tuner.oracle.trials.items()}

    first, both = search(2), search(3)
    assert len(both) == 3
    assert first.items() <= both.items()
