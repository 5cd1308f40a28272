"""The report of a tuner: its values are those of the tuner's own results."""

import contextlib
import io
import json

import keras
import keras_tuner
import numpy as np
import pandas
import pytest

from kerasreg import tuners
from kerasreg.tuners._learning_curves import LearningCurves

pytestmark = pytest.mark.shares_programs

HOSTILE = "</script><script>alert(1)</script>"


def make(build, folder, trials=6, **arguments):
    with contextlib.redirect_stdout(io.StringIO()):  # KerasTuner says that it reloads.
        return tuners.VectorizedRandomSearch(
            build, "val_loss", max_trials=trials, seed=5, directory=folder, folds=2, **arguments
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("reported")


@pytest.fixture(scope="module")
def tuner(build, blobs, folder):
    """A search with two folds, of which one trial failed."""

    def failing(hp):
        model = build(hp)
        if hp.values["rate"] == failed[0]:
            raise RuntimeError(HOSTILE)
        return model

    failed = [None]
    tuner = make(failing, folder, derive_models=False)
    x, y, _ = blobs
    draw = tuner.oracle.populate_space

    def first(trial_id):
        found = draw(trial_id)
        if failed[0] is None:
            failed[0] = found["values"]["rate"]
        return found

    tuner.oracle.populate_space = first
    with contextlib.redirect_stderr(io.StringIO()):
        tuner.search(x, y, epochs=4, batch_size=16, verbose=0)
    return tuner


@pytest.fixture(scope="module")
def report(tuner):
    return tuner.report()


def test_its_trials_are_those_of_the_results(tuner, report):
    table = tuner.results()
    assert list(table["status"]).count("FAILED") == 1
    for (_, row), one in zip(table.iterrows(), report.trials, strict=True):
        assert (one["trial"], one["status"]) == (row["trial"], row["status"])
        if one["status"] == "FAILED":
            assert HOSTILE in one["message"] == row["message"]
            continue
        assert one["score"] == pytest.approx(row["score"])
        assert one["scores"] == pytest.approx([row["fold_0"], row["fold_1"]])
        assert one["standard_error"] == pytest.approx(row["standard_error"])
        assert one["best_epoch"] == row["best_epoch"]
        assert one["program"] == row["program"]
        assert one["seconds"] == pytest.approx(row["seconds"])
        for name, value in one["values"].items():
            assert row[name] == value
    assert report.failures[0]["count"] == 1
    assert HOSTILE in report.failures[0]["message"]
    assert "<script>alert" not in report.html()


def test_its_ranking_and_its_scores_are_those_of_the_selection(tuner, report):
    chosen, ensemble = tuner.select(), tuner.select_ensemble()
    assert report.ranking == [row.setting for row in chosen.rows]
    by_trial = {row["trial"]: row for row in report.trials}
    for row in chosen.rows:
        assert by_trial[row.setting]["shrunken"] == row.shrunken
        assert by_trial[row.setting]["shrunken_error"] == row.shrunken_error
    assert report.ensemble["expected_score"] == ensemble.expected_score
    assert [(one["trial"], one["share"]) for one in report.ensemble["members"]] == [
        (row.trial_id, row.share) for row in ensemble.rows
    ]
    told = [(one["score"], one["standard_error"]) for one in report.honesty]
    assert told == [
        (chosen.search_score, None),
        (chosen.score, chosen.standard_error),
        (ensemble.score, None),
        (ensemble.expected_score, ensemble.standard_error),
    ]


def test_its_checks_are_of_the_predictions_of_the_ensemble(tuner, report):
    ensemble = tuner.select_ensemble()
    right = ensemble.predictions.argmax(axis=1) == np.ravel(ensemble.targets)
    assert report.checks["accuracy"] == pytest.approx(right.mean())
    assert np.sum(report.checks["confusion"]) == len(ensemble.targets) == 60


def test_its_curves_are_those_of_the_trainings(report):
    done = [row for row in report.trials if row["status"] == "COMPLETED"]
    assert [one["trial"] for one in report.curves["trials"]] == report.ranking
    for one in report.curves["trials"]:
        (row,) = [each for each in done if each["trial"] == one["trial"]]
        assert one["epochs"] == [0, 1, 2, 3]
        assert min(one["validation"]) == pytest.approx(row["score"], rel=1e-5)
        best = one["validation"].index(min(one["validation"]))
        assert best == row["best_epoch"]
        assert one["training"][best] == pytest.approx(row["metrics"]["loss"], rel=1e-5)


def test_its_code_builds_the_best_setting(build, report):
    names = {"hypermodel": type("HyperModel", (), {"build": staticmethod(build)})}
    exec(report.provenance["code"], names)
    assert isinstance(names["model"], keras.Model)
    best = next(row for row in report.trials if row["trial"] == report.ranking[0])
    rate = float(names["model"].optimizer.learning_rate.numpy())
    assert rate == pytest.approx(best["values"]["learning_rate"])


@pytest.mark.parametrize("ending", ["html", "json", "md"])
def test_it_is_written_as_its_name_says(tuner, report, tmp_path, ending):
    path = tmp_path / f"report.{ending}"
    tuner.report(path)
    text = path.read_text()
    if ending == "json":
        assert json.loads(text) == report.to_dict()
    else:
        assert text == (report.html() if ending == "html" else report.markdown())


def test_another_ending_is_refused_before_anything_is_computed(tuner, tmp_path, monkeypatch):
    monkeypatch.setattr(tuner, "select_ensemble", None)
    with pytest.raises(ValueError, match=r"`path` must end with .* Received: path='.*pdf'"):
        tuner.report(tmp_path / "report.pdf")


def test_what_was_chosen_may_be_given(tuner):
    selection = tuner.select("one_standard_error", complexity="rate")
    found = tuner.report(selection=selection, ensemble=False, title="fruit")
    assert found.title == "fruit"
    assert found.ensemble is None
    assert found.checks is None
    assert found.honesty[0]["score"] == selection.search_score
    ensemble = tuner.select_ensemble(size=1, shrinkage=0)
    assert len(tuner.report(ensemble=ensemble).ensemble["members"]) == 1


def test_another_process_has_the_curves_and_says_what_it_lacks(tuner, report, build, folder):
    found = make(build, folder).report()
    assert found.curves == report.curves
    assert found.ranking == report.ranking
    assert found.ensemble is None
    assert found.notes[0].startswith("No ensemble was chosen: ")
    assert found.provenance["fingerprint"] is None
    assert found.programs == []


def test_before_a_search_nothing_is_said(build, tmp_path):
    found = make(build, tmp_path).report()
    assert found.verdict == ["No trial has completed."]
    assert found.trials == []


def test_several_objectives_have_a_ranking_by_their_sum(build, blobs, tmp_path):
    objectives = [keras_tuner.Objective("val_loss", "min"), keras_tuner.Objective("loss", "min")]
    tuner = tuners.VectorizedRandomSearch(
        build, objectives, max_trials=3, seed=5, directory=tmp_path
    )
    x, y, validation_data = blobs
    tuner.search(x, y, epochs=2, validation_data=validation_data, verbose=0)
    found = tuner.report()
    by_score = sorted(found.trials, key=lambda row: row["score"])
    assert found.ranking == [row["trial"] for row in by_score]
    assert found.curves is None
    assert found.ensemble is not None


def test_equal_data_have_one_fingerprint(tuner, report):
    assert len(report.provenance["fingerprint"]) == 64
    assert (
        tuner.report(ensemble=False).provenance["fingerprint"] == (report.provenance["fingerprint"])
    )
    args, before = tuner.searched.args, tuner.searched
    tuner.searched = before._replace(args=(args[0] + 1, args[1]))
    try:
        other = tuner.report(ensemble=False).provenance["fingerprint"]
        tuner.searched = before._replace(args=(pandas.DataFrame(args[0]), args[1]))
        assert tuner.report(ensemble=False).provenance["fingerprint"] is None
    finally:
        tuner.searched = before
    assert other != report.provenance["fingerprint"]


def history(epoch, **metrics):
    found = keras.callbacks.History()
    found.epoch, found.history = list(epoch), metrics
    return found


def objective(name="val_loss"):
    return type("Objective", (), {"name": name})


def test_curves_are_means_as_far_as_all_trainings_go(tmp_path):
    curves = LearningCurves(objective())
    curves.keep(
        "0",
        [
            history([3, 4, 5], val_loss=[1.0, 2.0, 3.0], loss=[5.0, 5.0, 5.0]),
            history([3, 4], val_loss=[2.0, float("nan")], loss=[6.0, 7.0]),
        ],
    )
    found = curves.to_dict(["0"], tmp_path)
    assert found == {
        "metric": "val_loss",
        "training_metric": "loss",
        "trials": [
            {"trial": "0", "epochs": [3, 4], "validation": [1.5, None], "training": [5.5, 6.0]}
        ],
    }


def test_long_curves_are_thinned_and_many_are_not_all_kept(tmp_path):
    curves = LearningCurves(objective())
    every = [f"{number:03d}" for number in range(500)]
    for trial in every:
        curves.keep(trial, [history(range(1000), val_loss=np.arange(1000.0).tolist())])
    curves.write(every, tmp_path)
    found = json.loads((tmp_path / "learning_curves.json").read_text())["trials"]
    assert [one["trial"] for one in found[:100]] == every[:100]
    assert 150 <= len(found) <= 200
    for one in found:
        assert one["epochs"][0] == 0
        assert one["epochs"][-1] == 999
        assert len(one["epochs"]) == 60
        assert one["training"] is None


@pytest.mark.parametrize("results", [[], [0.5], [{"val_loss": 0.5}], [history([0], loss=[1.0])]])
def test_results_without_epochs_have_no_curve(results, tmp_path):
    curves = LearningCurves(objective())
    curves.keep("0", results)
    assert curves.to_dict(["0"], tmp_path) is None
    curves.write(["0"], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_curves_of_another_objective_or_that_cannot_be_read_are_none(tmp_path):
    curves = LearningCurves(objective())
    curves.keep("0", [history([0], val_loss=[1.0])])
    curves.write(["0"], tmp_path)
    assert LearningCurves(objective("val_accuracy")).to_dict(["0"], tmp_path) is None
    assert LearningCurves(objective()).to_dict(["0"], tmp_path) is not None
    (tmp_path / "learning_curves.json").write_text("{")
    assert LearningCurves(objective()).to_dict(["0"], tmp_path) is None
