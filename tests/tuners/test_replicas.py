"""Searches with a strategy: on replicas and on workers they are the search of one device."""

import re

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
from helpers.replica_trainings import run
from helpers.strategies import Replicas

import kerasreg
from kerasreg.tuners._lane_report import under_strategy


def build(hp):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(hp.Float("rate", 1e-3, 0.1)), "mse")
    return model


def test_trials_of_replicas_are_trained_by_our_loop(tmp_path, monkeypatch, recwarn):
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
        distribution_strategy=Replicas(),
    )
    x, y = np.ones((5, 3)), np.ones((5, 1))
    tuner.search(x, y, validation_data=(x, y), verbose=0)
    assert called == [["callbacks", "validation_data", "verbose"]] * 2
    (row,) = tuner.lane_report()
    assert (row.program, row.trials, row.by, row.replicas) == (None, 2, "replicas", 1)
    assert row.why == "`kerasreg.distribute.fit` trains it on the replicas of a Replicas"
    assert not [one for one in recwarn if "alone" in str(one.message)]  # It was asked for.


class MirroredStrategy:
    """Stands for TensorFlow's with four devices, which a process of tests has not."""

    num_replicas_in_sync = 4


def test_what_has_lanes_on_several_devices_is_told():
    of_replicas = under_strategy(MirroredStrategy(), ["fit"], own_fit=False)
    assert (of_replicas.by, of_replicas.replicas) == ("replicas", 4)
    assert "`devices=keras.distribution.list_devices()`" in of_replicas.change
    # It trains without `fit`, and so would not be lanes.
    assert not under_strategy(MirroredStrategy(), [], own_fit=True).change


class OwnLoop(keras_tuner.HyperModel):
    """Trains without `model.fit`."""

    def build(self, hp):
        return build(hp)

    def fit(self, hp, model, x, y, validation_data, callbacks, verbose):
        return float(model.train_on_batch(x, y))


@pytest.mark.parametrize(
    ("hypermodel", "by", "why"),
    [
        (build, "keras", "a Replicas of one device has no lanes"),
        (OwnLoop, "own code", "its own code trains it under a Replicas"),
    ],
)
def test_what_a_strategy_of_another_class_trained_is_told(hypermodel, by, why, tmp_path):
    tuner = kerasreg.tuners.VectorizedRandomSearch(
        hypermodel() if isinstance(hypermodel, type) else hypermodel,
        "val_loss" if by == "keras" else keras_tuner.Objective("loss", "min"),
        max_trials=1,
        directory=tmp_path,
        distribution_strategy=Replicas(),
    )
    x, y = np.ones((5, 3)), np.ones((5, 1))
    said = {"keras": "1 were trained alone by Keras", "own code": "1 were trained alone by their"}
    with pytest.warns(UserWarning, match=f"Of 1 trial, {said[by]}"):
        tuner.search(x, y, validation_data=(x, y), verbose=0)
    (row,) = tuner.lane_report()
    assert (row.by, row.replicas, row.why) == (by, 1, why)
    assert tuner.results()["why_alone"].tolist() == [why]


ONE_DEVICE = {
    "chosen": lambda: kerasreg.distribute.strategy("one_device"),
    "TensorFlow's default": tf.distribute.get_strategy,
    "OneDeviceStrategy": lambda: tf.distribute.OneDeviceStrategy("CPU:0"),
    "a path of it": lambda: tf.distribute.OneDeviceStrategy("/job:localhost/task:0/cpu:0"),
    "MirroredStrategy": tf.distribute.MirroredStrategy,
}
one_device = pytest.mark.parametrize("strategy", ONE_DEVICE.values(), ids=ONE_DEVICE)


@one_device
def test_a_strategy_of_one_device_has_lanes_and_folds(strategy, tmp_path):
    tuner = kerasreg.tuners.VectorizedRandomSearch(
        build,
        "val_loss",
        max_trials=2,
        folds=2,
        directory=tmp_path,
        distribution_strategy=strategy(),
    )
    tuner.search(np.ones((6, 3)), np.ones((6, 1)), verbose=0)
    (row,) = tuner.lane_report()
    assert (row.trials, row.by, row.why) == (2, "lanes", "")


@one_device
def test_a_study_may_keep_artifacts_under_a_strategy_of_one_device(strategy, tmp_path):
    kerasreg.tuners.VectorizedStudySearch(
        build,
        "val_loss",
        max_trials=1,
        artifacts=tmp_path / "artifacts",
        directory=tmp_path,
        distribution_strategy=strategy(),
    )


class OwnRunTrial(kerasreg.tuners.VectorizedRandomSearch):
    """Trains by a loop of its own, which asks for the strategy."""

    def run_trial(self, trial, x):
        with self.distribution_strategy.scope():
            model = build(trial.hyperparameters)
        return float(np.sum(model.distribute_strategy.run(model, (x,))))


def test_a_loop_of_a_tuner_has_the_strategy_that_was_given(tmp_path):
    strategy = tf.distribute.MirroredStrategy()
    tuner = OwnRunTrial(
        build,
        keras_tuner.Objective("score", "min"),
        max_trials=1,
        directory=tmp_path,
        distribution_strategy=strategy,
    )
    assert tuner.distribution_strategy is strategy
    with pytest.warns(UserWarning, match="its own code trains it under a MirroredStrategy"):
        tuner.search(np.ones((5, 3), "float32"))
    assert len(tuner.oracle.end_order) == 1


def test_a_device_that_is_not_the_default_one_is_told_as_one_of_lanes(tmp_path, monkeypatch):
    # As on a machine with a GPU: a strategy of its processor.
    monkeypatch.setattr("kerasreg._devices._there", lambda kind: ["gpu:0"])
    tuner = kerasreg.tuners.VectorizedRandomSearch(
        build,
        "val_loss",
        max_trials=1,
        directory=tmp_path,
        distribution_strategy=tf.distribute.OneDeviceStrategy("CPU:0"),
    )
    x, y = np.ones((5, 3)), np.ones((5, 1))
    why = "a OneDeviceStrategy of cpu:0 alone has no lanes; `devices=['cpu:0']` has"
    with pytest.warns(UserWarning, match=re.escape(why)):
        tuner.search(x, y, validation_data=(x, y), verbose=0)
    (row,) = tuner.lane_report()
    assert (row.by, row.why) == ("keras", why)


def test_a_time_limit_of_workers_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("kerasreg.distribute.has_workers", lambda strategy: True)
    tuner = kerasreg.tuners.VectorizedRandomSearch(
        build,
        "val_loss",
        directory=tmp_path,
        distribution_strategy=Replicas(),
    )
    with pytest.raises(ValueError, match=r"`time_limit` must be None .*time_limit='60s'"):
        tuner.search(np.ones((5, 3)), np.ones((5, 1)), time_limit="60s")


def test_what_a_worker_could_not_write_when_it_died_all_train_again(tmp_path, monkeypatch):
    x, y = np.ones((5, 3)), np.ones((5, 1))

    def search():
        tuner = kerasreg.tuners.VectorizedRandomSearch(
            build,
            "val_loss",
            max_trials=3,
            seed=1,
            directory=tmp_path,
            distribution_strategy=Replicas(),
        )
        asked = list(tuner.oracle.end_order)
        tuner.search(x, y, validation_data=(x, y), verbose=0)
        return tuner, asked

    first, _ = search()
    built = []
    monkeypatch.setattr("kerasreg.distribute.has_workers", lambda strategy: True)
    monkeypatch.setattr("kerasreg.distribute.least", lambda strategy, number: number - 2)
    monkeypatch.setattr("kerasreg.distribute.check_same", lambda *told: built.append(told[2]))
    again, ended = search()
    assert len(ended) == 3
    values = [repr(of.hyperparameters.values) for of in first.oracle.trials.values()]
    assert built == values[1:]  # In the order in which they had ended.
    assert sorted(again.oracle.end_order) == sorted(first.oracle.end_order)
    assert {of.status for of in again.oracle.trials.values()} == {"COMPLETED"}


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
    for found, strategy in ((two, "MirroredStrategy"), *[(w, "MultiWorker") for w in workers]):
        (row,) = found["rows"]
        assert (row["trials"], row["by"], row["replicas"]) == (2, "replicas", 2)
        assert f"trains it on the replicas of a {strategy}" in row["why"]
        assert found["table"].splitlines()[1].startswith("2 replicas ")
        assert "| 2 replicas | 2 |" in found["page"]
        instead = "by `devices=keras.distribution.list_devices()` in the place of the strategy"
        assert (instead in found["table"]) == (found is two)
    assert one["rows"][0]["by"] == "lanes"


@pytest.mark.long
def test_workers_whose_trials_differ_are_told(tmp_path):
    for found in run("worker", "searched_with_other_seeds", tmp_path):
        assert "`seed` and the trials that follow from it must be the same" in str(found)
