"""Searches with a strategy: on replicas and on workers they are the search of one device."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.replica_trainings import run

import kerasreg


def build(hp):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(hp.Float("rate", 1e-3, 0.1)), "mse")
    return model


def test_trials_of_replicas_are_trained_by_our_loop(tmp_path, monkeypatch):
    called = []

    def fit(model, *args, **kwargs):
        called.append(sorted(kwargs))
        return type(model).fit(model, *args, **kwargs)

    monkeypatch.setattr("kerasreg.distribute._fit.fit", fit)
    monkeypatch.setattr("kerasreg.distribute._fit.trains_here", lambda model: True)
    tuner = kerasreg.tuners.VectorizedRandomSearch(
        build,
        "val_loss",
        max_trials=2,
        directory=tmp_path,
        distribution_strategy=tf.distribute.OneDeviceStrategy("CPU:0"),
    )
    x, y = np.ones((5, 3)), np.ones((5, 1))
    tuner.search(x, y, validation_data=(x, y), verbose=0)
    assert called == [["callbacks", "validation_data", "verbose"]] * 2


def test_a_time_limit_of_workers_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("kerasreg.distribute.has_workers", lambda strategy: True)
    tuner = kerasreg.tuners.VectorizedRandomSearch(
        build,
        "val_loss",
        directory=tmp_path,
        distribution_strategy=tf.distribute.OneDeviceStrategy("CPU:0"),
    )
    with pytest.raises(ValueError, match=r"`time_limit` must be None .*time_limit='60s'"):
        tuner.search(np.ones((5, 3)), np.ones((5, 1)), time_limit="60s")


@pytest.mark.long
def test_a_search_of_replicas_and_of_workers_is_that_of_one_device(tmp_path):
    one = run("one", "searched", tmp_path / "one")
    two = run("mirrored_2", "searched", tmp_path / "two")
    workers = run("worker", "searched", tmp_path / "workers")
    assert [found["folder"] for found in (one, two, *workers)] == [
        *["search"] * 3,
        "worker-1/search",
    ]
    for found in (two, *workers):
        assert found["rates"] == one["rates"]
        np.testing.assert_allclose(found["scores"], one["scores"], rtol=1e-9)
        np.testing.assert_allclose(found["output"], one["output"], rtol=1e-9)
    assert workers[0]["scores"] == workers[1]["scores"]


@pytest.mark.long
def test_workers_whose_trials_differ_are_told(tmp_path):
    for found in run("worker", "searched_with_other_seeds", tmp_path):
        assert "`seed` and the trials that follow from it must be the same" in str(found)
