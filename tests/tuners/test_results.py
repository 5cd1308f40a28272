"""The table of the trials of a search."""

import builtins

import keras
import keras_tuner
import numpy as np
import pandas
import pytest
from helpers.alone import Alone, build_alone

from kerasreg import tuners
from kerasreg.tuners._results import results

pytestmark = pytest.mark.shares_programs


def search(build, folder, blobs, executions=1, **arguments):
    tuner = tuners.VectorizedRandomSearch(
        build,
        "val_loss",
        max_trials=4,
        directory=folder,
        seed=5,
        executions_per_trial=executions,
        **arguments,
    )
    x, y, validation_data = blobs
    given = {} if tuner.folds else {"validation_data": validation_data}
    tuner.search(x, y, epochs=2, batch_size=16, verbose=0, **given)
    return tuner


def test_it_has_a_row_for_each_trial_with_its_folds_and_its_values(build, blobs, tmp_path):
    tuner = search(build, tmp_path, blobs, folds=3)
    table = tuner.results()
    folds = ["fold_0", "fold_1", "fold_2"]
    assert list(table.columns) == [
        *["trial", "status", "score", "standard_error", *folds, "best_epoch"],
        *["rate", "learning_rate", "message", "program", "at_once", "why_alone", "seconds"],
    ]
    assert table["trial"].tolist() == tuner.oracle.start_order
    assert set(table["status"]) == {"COMPLETED"}
    for row in table.itertuples():
        trial = tuner.oracle.trials[row.trial]
        values = trial.metrics.get_history("val_loss")[-1].value
        assert [row.fold_0, row.fold_1, row.fold_2] == values
        assert (row.score, row.best_epoch) == (trial.score, trial.best_step)
        assert row.standard_error == pytest.approx(tuners.standard_error(trial, "val_loss"))
        assert row.rate == trial.hyperparameters.get("rate")
    assert set(table["program"]) == {1}
    assert table["why_alone"].isna().all()
    assert table["message"].isna().all()
    seconds = sum(row.seconds for row in tuner.lane_report())
    assert table["seconds"].sum() == pytest.approx(seconds)


def test_a_resumed_project_has_the_table_without_how_trials_were_trained(build, blobs, tmp_path):
    table = search(build, tmp_path, blobs, folds=2).results()
    oracle = keras_tuner.oracles.RandomSearchOracle("val_loss", max_trials=4, seed=5)
    again = tuners.VectorizedTuner(oracle, build, directory=tmp_path, folds=2).results()
    lanes = ["program", "at_once", "why_alone", "seconds"]
    assert again[lanes].isna().all(axis=None)
    assert table[["program", "at_once", "seconds"]].notna().all(axis=None)
    pandas.testing.assert_frame_equal(again.drop(columns=lanes), table.drop(columns=lanes))


def test_executions_are_columns_where_there_are_no_folds(build, blobs, tmp_path):
    table = search(build, tmp_path, blobs, executions=2).results()
    both = table[["execution_0", "execution_1"]]
    assert table["score"].tolist() == pytest.approx(both.mean(axis=1).tolist())


def test_executions_of_a_fold_are_one_value(build, blobs, tmp_path):
    tuner = search(build, tmp_path, blobs, executions=2, folds=2)
    table = tuner.results()
    assert "fold_1" in table
    assert "fold_2" not in table
    for row in table.itertuples():
        values = tuner.oracle.trials[row.trial].metrics.get_history("val_loss")[-1].value
        assert row.fold_1 == pytest.approx((values[1] + values[3]) / 2)


def test_failures_and_trials_alone_say_why(blobs, tmp_path):
    def build(hp):
        status, kind = hp.Int("status", 1, 9), hp.Choice("kind", ["a", "b"])
        with hp.conditional_scope("kind", ["b"]):
            hp.Float("only_b", 0.0, 1.0)
        if status % 3 == 0 and kind == "a":
            raise ValueError("Two lines,\nof which this is the last")
        x = keras.Input((6,))
        model = Alone(x, keras.layers.Dense(3)(x))
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    x, y, validation_data = blobs
    tuner = tuners.VectorizedRandomSearch(
        build,
        "val_loss",
        max_trials=8,
        seed=3,
        directory=tmp_path,
        max_consecutive_failed_trials=8,
    )
    with pytest.warns(UserWarning, match="trained alone"):
        tuner.search(x, y, epochs=1, validation_data=validation_data, verbose=0)
    table = tuner.results()
    failed = table[table["status"] == "FAILED"]
    ended = table[table["status"] == "COMPLETED"]
    assert 0 < len(failed) < 8
    assert len(failed) + len(ended) == 8
    assert set(failed["message"]) == {"of which this is the last"}
    assert failed[["score", "standard_error", "best_epoch", "program"]].isna().all(axis=None)
    # The name of another column is left to that.
    assert set(table["hp_status"]) <= set(range(1, 10))
    assert (table["only_b"].isna() == (table["kind"] == "a")).all()
    assert ended["program"].isna().all()
    assert ended["why_alone"].str.contains("make_train_function").all()
    assert (ended["seconds"] > 0).all()


@pytest.mark.filterwarnings("ignore:.*trained alone")
def test_two_searches_share_out_their_seconds(blobs, tmp_path):
    tuner = tuners.VectorizedRandomSearch(build_alone, "val_loss", max_trials=1, directory=tmp_path)
    x, y, validation_data = blobs
    for trials in (1, 2):
        tuner.oracle.max_trials = trials
        tuner.search(x, y, epochs=1, validation_data=validation_data, verbose=0)
    rows = tuner.lane_report().rows
    assert len(rows) == 2
    assert tuner.results()["seconds"].sum() == pytest.approx(sum(row.seconds for row in rows))


def test_a_tuner_without_trials_has_an_empty_table(build, tmp_path):
    tuner = tuners.VectorizedRandomSearch(build, "val_loss", max_trials=1, directory=tmp_path)
    assert len(tuner.results()) == 0
    assert "score" in tuner.results()


def test_tuners_of_keras_tuner_have_a_table_too(tmp_path):
    class Parabola(keras_tuner.RandomSearch):
        def run_trial(self, trial):
            return trial.hyperparameters.Float("x", -1.0, 1.0) ** 2

    tuner = Parabola(max_trials=3, directory=tmp_path, seed=1)
    tuner.oracle.verbose = 0
    tuner.search()
    table = results(tuner)
    np.testing.assert_allclose(table["score"], table["x"] ** 2)


def test_without_pandas_it_says_what_to_install(searched, monkeypatch):
    real = builtins.__import__

    def refused(name, *args, **kwargs):
        if name == "pandas":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refused)
    with pytest.raises(ImportError, match=r"pip install kerasreg\[search\]"):
        searched.tuner.results()
