"""Whole runs of `kerasreg search`: what they print, what they leave, whether it is true.

The command runs within the process of the tests, but for what needs one of its own.
"""

import itertools
import json
import math
import pathlib
import re

import numpy as np
import pandas
import pytest
import tensorflow as tf
from helpers.commands import SearchFolder, command, command_inside, python
from sklearn import metrics

from kerasreg import hypermodels, serving
from kerasreg.cli._data import load_table
from kerasreg.cli._split import search_data

pytestmark = pytest.mark.shares_programs

ROWS = 150
FEATURES = ["weight", "length", "light"]
LABELS = ["cherry", "apple", "banana"]


def _fruit():
    """Three kinds that can mostly be told apart, in units far from 0 and 1.

    Without normalisation a network sees three inputs that are all the same.
    """
    generator = np.random.default_rng(7)
    kind = np.arange(ROWS) % 3
    return pandas.DataFrame(
        {
            "weight": 20000.0 + 40.0 * kind + generator.normal(0.0, 35.0, ROWS),
            "kind": [LABELS[number] for number in kind],
            "length": -3e-3 + 1e-4 * (kind == 1) + generator.normal(0.0, 5e-5, ROWS),
            "light": generator.integers(500, 512, ROWS),
        }
    )


def _houses():
    generator = np.random.default_rng(8)
    size, age = generator.uniform(50.0, 150.0, ROWS), generator.uniform(0.0, 80.0, ROWS)
    price = 500_000.0 + 3000.0 * size - 1000.0 * age + generator.normal(0.0, 5000.0, ROWS)
    town = np.where(generator.random(ROWS) < 0.5, "Ulm", "Bonn")
    built = 1_000_000.0 - age
    return pandas.DataFrame({"price": price, "size": size, "town": town, "built": built})


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """A classification of a CSV file with labels: (folder, what the command left).

    By a process of its own, of which all that it prints is seen.
    """
    path = tmp_path_factory.mktemp("kinds")
    _fruit().to_csv(path / "fruit.csv", index=False)
    return path, command(
        "search", "--data=fruit.csv", "--target=kind", "--trials=2", "--epochs=10",
        "--output_dir=out", cwd=path,
    )  # fmt: skip


@pytest.fixture(scope="module")
def prices(tmp_path_factory):
    """A regression on a Parquet file, by Bayesian search."""
    path = tmp_path_factory.mktemp("prices")
    _houses().to_parquet(path / "houses.parquet")
    return path, command_inside(
        "search", "--data", "houses.parquet", "--target", "price", "--drop", "town",
        "--tuner", "bayesian", "--trials", "2", "--epochs", "10", "--seed", "3",
        "--output_dir", "out/below", cwd=path,
    )  # fmt: skip


SHORT = ("search", "--data=wine", "--epochs=1", "--folds=2", "--output_dir=out")
MODELS = ["baseline", "winner", "ensemble", "linear", "HistGradientBoosting"]


def _failing(monkeypatch, calls):
    """Lets the first models fail after that by which the space is learnt, as many as `calls`."""
    build, built = hypermodels.TableHyperModel.build, []

    def failing(self, hp):
        built.append(1)
        if 1 < len(built) <= calls + 1:
            raise RuntimeError("out of luck")
        return build(self, hp)

    monkeypatch.setattr(hypermodels.TableHyperModel, "build", failing)


# TensorFlow alone: the process has no Keras and no kerasreg to help it.
_SERVE = """
import sys
for name in ("keras", "tf_keras", "kerasreg"):
    sys.modules[name] = None
import numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
(outputs,) = model.signatures["serving_default"](tf.constant(np.load("raw.npy"))).values()
np.save("served.npy", outputs.numpy())
"""


def _serve(saved_model, raw, path):
    """Outputs of a SavedModel for raw features, from a process of its own."""
    np.save(path / "raw.npy", np.asarray(raw, dtype="float32"))
    done = python("-c", _SERVE, str(saved_model), cwd=path)
    assert done.code == 0, done.err
    return np.load(path / "served.npy")


def _printed_scores(out):
    """Rows of the printed table: {model: {score: number}}."""
    lines = out.splitlines()
    (first,) = [number for number, line in enumerate(lines) if line.startswith("baseline ")]
    names = [name for name in lines[first - 1].partition(" - that")[0].split()][:-1]
    rows = itertools.takewhile(bool, (line.split() for line in lines[first:]))
    return {row[0]: dict(zip(names, map(float, row[1:]), strict=False)) for row in rows}


def _check_progress(out, total, metric):
    """One line for each trial, with the best score so far; returns the scores."""
    pattern = (
        rf"trial (\d+)/{total}: {metric} (\d+\.\d{{4}}) \(\d+\), best (\d+\.\d{{4}}) \(\d+\), "
        r"\d+:\d\d elapsed(, .* left)?"
    )
    lines = [line for line in out.splitlines() if line.startswith("trial ")]
    found = [re.fullmatch(pattern, line) for line in lines]
    assert all(found), lines
    assert [int(one[1]) for one in found] == list(range(1, total + 1))
    scores = [float(one[2]) for one in found]
    assert [float(one[3]) for one in found] == [min(scores[: n + 1]) for n in range(total)]
    assert lines[-1].endswith(" elapsed")
    return scores


def _check_whole(where, done, rows, trials):
    """What every successful run must have printed and left; returns its report."""
    assert (done.code, "Traceback" in done.err) == (0, False), done.err
    report, job = where.report, where.json("job.json")
    assert report["settings"] == job
    assert where.versions == [1]
    assert sorted(path.name for path in (where.path / "model").iterdir()) == ["1"]
    assert [trial["status"] for trial in where.trials] == ["COMPLETED"] * trials

    scores = [trial["score"] for trial in where.trials]
    best = scores.index(min(scores))
    assert report["best_hyperparameters"] == where.trials[best]["hyperparameters"]["values"]

    assert _printed_scores(done.out) == {
        model: {name: round(value, 4) for name, value in values.items()}
        for model, values in report["test"].items()
    }
    assert set(report["test"]) >= set(MODELS)
    assert set(report["compared"]) == set(report["test"]) - {"ensemble"}
    shares = [member["share"] for member in report["ensemble"]["rows"]]
    assert sum(shares) == pytest.approx(1.0)
    verification = report["verification"]
    assert verification["samples"] == rows
    assert verification["tolerance"] == 1e-6
    assert 0.0 <= verification["relative_difference"] <= 1e-6
    assert re.search(
        rf"^loaded in a new process without Keras and kerasreg: outputs equal Keras' on {rows} "
        r"rows \(largest relative difference \d\.\de[+-]\d\d, limit 1e-06\)$",
        done.out,
        re.MULTILINE,
    )
    version = where.path / "model" / "1"
    card = json.loads((version / "assets.extra" / "model_card.json").read_text())
    assert card["hyperparameters"] == report["best_hyperparameters"]
    assert card["metrics"] == report["test"]
    assert card["data"]["sha256"] == report["settings"]["fingerprint"]
    assert card["command"].startswith("kerasreg search --data=")
    assert (version / "assets.extra" / "tf_serving_warmup_requests").is_file()
    if report["classes"] is not None:
        labels = (version / "assets" / "labels.txt").read_text().splitlines()
        assert labels == [str(label) for label in report["classes"]]
    return report


def _check_rates(report):
    for scores in report["test"].values():
        assert list(scores) == ["log_loss", "accuracy", "precision", "recall", "f1"]
        assert scores["log_loss"] >= 0.0
        assert all(0.0 <= value <= 1.0 for name, value in scores.items() if name != "log_loss")


# --- Classification of a CSV file -----------------------------------------------------


def test_a_classification_is_whole_on_disk_and_in_print(kinds):
    path, done = kinds
    where = SearchFolder(path / "out")
    report = _check_whole(where, done, rows=30, trials=2)
    _check_rates(report)
    assert done.err == ""
    # Mistakes are made: scores of other rows or of another model would be others.
    assert 0.5 < report["test"]["ensemble"]["accuracy"] < 1.0
    assert report["test"]["baseline"]["log_loss"] != report["test"]["winner"]["log_loss"]
    _check_progress(done.out, 2, "val_log_loss")
    assert done.out.startswith(
        "fruit.csv: 150 rows, 3 features, 3 classes; 120 to search with in 8 folds, 30 to test\n"
    )
    assert report["columns"] == FEATURES
    assert report["classes"] == sorted(LABELS)
    assert pathlib.Path(path, report["saved_model"]) == where.path / "model" / "1"
    assert f"exported {report['saved_model']}\n" in done.out
    assert "meanwhile out/report.html shows how far the search is" in done.out
    assert f"best setting, trial {report['best_trial']}: " in done.out
    table = load_table(str(path / "fruit.csv"), "kind")
    job = where.json("job.json")
    # Whole, so that it can be resumed from another folder.
    assert pathlib.Path(job.pop("data")) == path / "fruit.csv"
    assert job == {
        "target": "kind", "task": "auto", "drop": [], "columns": None, "sep": ",", "decimal": ".",
        "tuner": "random", "trials": 2, "epochs": 10, "folds": 0, "groups": None, "order": None,
        "start_from": None, "time": None, "seed": 0, "lanes": 0, "retrain": None, "replicas": 1,
        "workers": None, "storage": None, "artifacts": None,
        "fingerprint": table.fingerprint(), "earlier": [],
    }  # fmt: skip


@pytest.fixture(scope="module")
def served(kinds):
    """Features of the test part, the SavedModel's outputs for them, and for moved features."""
    path, _ = kinds
    table = load_table(str(path / "fruit.csv"), "kind")
    raw = table.x[search_data(table, seed=0).test_rows]
    moved = np.repeat([[20040.0, -3e-3, 505.0]], 3, axis=0)
    moved[1, 0] += 40.0
    moved[2, 1] += 1e-4
    loaded = tf.saved_model.load(str(path / "out" / "model" / "1"))
    features = np.concatenate([raw, moved]).astype("float32")
    (outputs,) = loaded.signatures["serving_default"](tf.constant(features)).values()
    outputs = outputs.numpy()
    return raw, outputs[: len(raw)], outputs[len(raw) :]


def test_the_saved_model_on_raw_features_has_the_reported_scores(kinds, served):
    raw, outputs, _ = served
    report = SearchFolder(kinds[0] / "out").report
    np.testing.assert_allclose(outputs.sum(axis=1), 1.0, rtol=1e-5)
    # Rows are found again by their weight, and judged by the labels of the file.
    frame = _fruit().set_index(_fruit()["weight"].astype("float32"))
    truth = frame.loc[raw[:, 0], "kind"].to_numpy()
    predicted = np.array(report["classes"])[outputs.argmax(axis=1)]
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        truth, predicted, average="macro", zero_division=0.0
    )
    assert report["test"]["ensemble"] == pytest.approx(
        {
            "log_loss": metrics.log_loss(truth, outputs, labels=report["classes"]),
            "accuracy": (truth == predicted).mean(),
            "precision": precision,
            "recall": recall,
            "f1": f1,
        },
        rel=1e-4,
    )


def test_the_input_normalisation_is_in_the_model(served):
    # A network that sees 20000 and -0.003 as they are gives the same to all.
    at_centre, heavier, longer = served[2]
    assert np.abs(heavier - at_centre).max() > 0.01
    assert np.abs(longer - at_centre).max() > 0.01


# --- Regression on a Parquet file -----------------------------------------------------


@pytest.mark.long
def test_a_regression_is_whole_on_disk_and_in_print(prices):
    path, done = prices
    where = SearchFolder(path / "out" / "below")
    report = _check_whole(where, done, rows=30, trials=2)
    assert done.err == ""
    _check_progress(done.out, 2, "val_rmse")
    assert done.out.startswith(
        "houses.parquet: 150 rows, 2 features, regression; 120 to search with in 8 folds, 30 to te"
    )
    # What the search says is in other units, and what is said after it in those of the file.
    unit = search_data(load_table(str(path / "houses.parquet"), "price", drop=["town"]), seed=3)
    assert report["target_scale"] == unit.target_scale > 1000.0
    told = "val_rmse is in standard deviations of the target: 1 is "
    assert f"{told}{unit.target_scale:.4g}\n" in done.out
    expected = unit.target_scale * report["ensemble"]["expected_score"]
    assert f"rmse {expected:.4f} ± " in done.out
    assert (report["columns"], report["classes"]) == (["size", "built"], None)
    assert (report["settings"]["drop"], report["settings"]["tuner"]) == (["town"], "bayesian")
    for scores in report["test"].values():
        assert list(scores) == ["r2", "rmse"]
        assert scores["r2"] <= 1.0
        assert scores["rmse"] >= 0.0
    # The penalties, the dropout and the decay of the winner make a difference.
    assert report["test"]["baseline"] != report["test"]["winner"]


@pytest.mark.long
def test_a_regressions_saved_model_answers_in_the_units_of_the_file(prices, tmp_path):
    path, _ = prices
    where = SearchFolder(path / "out" / "below")
    table = load_table(str(path / "houses.parquet"), "price", drop=["town"])
    rows = search_data(table, seed=3).test_rows
    raw, truth = table.x[rows], table.y[rows]
    assert 500_000.0 < truth.mean() < 1_000_000.0
    outputs = _serve(where.path / "model" / "1", raw, tmp_path)
    assert outputs.shape == (30, 1)
    errors = outputs[:, 0].astype("float64") - truth
    reported = where.report["test"]["ensemble"]
    assert reported["rmse"] == pytest.approx(math.sqrt((errors**2).mean()), rel=1e-4)
    spread = ((truth - truth.mean(dtype="float64")) ** 2).mean()
    assert reported["r2"] == pytest.approx(1.0 - (errors**2).mean() / spread, abs=1e-4)
    # Better than the mean of the prices: a network that is off by its units is not.
    assert reported["r2"] > 0.3


# --- Other searches -------------------------------------------------------------------


@pytest.mark.long
def test_without_flags_it_searches_digits_here(tmp_path):
    done = command_inside("search", "--trials=1", "--epochs=1", cwd=tmp_path)
    where = SearchFolder(tmp_path / "kerasreg_search")
    report = _check_whole(where, done, rows=360, trials=1)
    _check_rates(report)
    assert done.out.startswith(
        "digits: 1797 rows, 64 features, 10 classes; 1437 to search with in 5 folds, 360 to test\n"
    )
    assert report["settings"]["data"] == "digits"
    assert report["classes"] == list(range(10))
    assert report["columns"][0] == "pixel_0_0"


@pytest.mark.long
def test_hyperband_decides_its_trials_itself(tmp_path):
    done = command_inside(
        "search", "--data=wine", "--tuner=hyperband", "--epochs=3", "--output_dir=out", cwd=tmp_path
    )
    where = SearchFolder(tmp_path / "out")
    report = _check_whole(where, done, rows=36, trials=6)
    _check_rates(report)
    _check_progress(done.out, 6, "val_log_loss")
    # Successive halving: some trials are longer than others.
    lengths = [trial["hyperparameters"]["values"]["tuner/epochs"] for trial in where.trials]
    assert set(lengths) == {1, 3}


@pytest.mark.long
def test_one_trial_on_data_of_scikit_learn_succeeds_and_says_nothing_on_stderr(tmp_path):
    done = command(*SHORT, "--trials=1", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    _check_progress(done.out, 1, "val_log_loss")
    _check_whole(SearchFolder(tmp_path / "out"), done, rows=36, trials=1)


@pytest.mark.long
def test_replicas_share_the_trials_of_the_search(tmp_path):
    # In a process of its own: logical devices are made before TensorFlow computes anything.
    code = """
import sys
sys.argv[0] = "kerasreg"
from kerasreg.cli._command import loading
from kerasreg.cli._main import main
with loading():
    from kerasreg.cli import _task
fit = _task._OfReplicas.fit
def counting(self, hp, model, *args, **kwargs):
    strategy = getattr(model, "distribute_strategy", None)
    print("replicas:", 1 if strategy is None else strategy.num_replicas_in_sync)
    return fit(self, hp, model, *args, **kwargs)
_task._OfReplicas.fit = counting
main()
"""
    arguments = ["search", "--data=breast_cancer", "--replicas=2", "--trials=1", "--epochs=1"]
    done = python("-c", code, *arguments, "--output_dir=out", cwd=tmp_path)
    report = _check_whole(SearchFolder(tmp_path / "out"), done, rows=114, trials=1)
    _check_rates(report)
    assert report["settings"]["replicas"] == 2
    assert len(report["columns"]) == 30
    assert re.findall(r"replicas: (\d)", done.out) == ["2"]


# --- Failures -------------------------------------------------------------------------


@pytest.mark.long
def test_a_failed_trial_costs_itself_alone(tmp_path, monkeypatch):
    _failing(monkeypatch, 1)
    done = command_inside(*SHORT, "--trials=2", cwd=tmp_path)
    where = SearchFolder(tmp_path / "out")
    assert (done.code, done.err) == (0, "")
    assert re.search(r"^trial 1/2: failed, none completed, ", done.out, re.MULTILINE)
    assert re.search(r"^trial 2/2: val_log_loss .*\(1\), best .*\(1\)", done.out, re.MULTILINE)
    assert "out of luck" in done.out
    assert [trial["status"] for trial in where.trials] == ["FAILED", "COMPLETED"]
    assert where.report["best_hyperparameters"] == where.trials[1]["hyperparameters"]["values"]


def test_a_search_without_a_completed_trial_fails_in_one_line(tmp_path, monkeypatch):
    _failing(monkeypatch, 100)
    done = command_inside(*SHORT, "--trials=4", cwd=tmp_path)
    where = SearchFolder(tmp_path / "out")
    assert done.code == 1
    assert len(done.err.splitlines()) == 1
    assert done.err.startswith("kerasreg: No trial completed")
    assert "out of luck" in done.err
    assert "Traceback" not in done.out + done.err
    assert re.search(r"^trial 1/4: failed, none completed, ", done.out, re.MULTILINE)
    assert where.versions == []
    assert not (where.path / "report.json").exists()


@pytest.mark.long
def test_an_export_that_differs_is_said_and_fails(tmp_path, monkeypatch):
    found = serving.Verification(36, 0.25, 1e-6)
    monkeypatch.setattr(serving, "verify", lambda *args, **kwargs: found)
    done = command_inside(*SHORT, "--trials=1", cwd=tmp_path)
    where = SearchFolder(tmp_path / "out")
    assert done.code == 1
    assert len(done.err.splitlines()) == 1
    assert done.err.startswith("kerasreg: ")
    assert "differs from the Keras model" in done.err
    assert "outputs DIFFER from Keras' on 36 rows (largest relative difference 2.5e-01" in done.out
    assert "outputs equal" not in done.out
    # The report tells it as well, for whoever comes by later.
    assert json.loads((where.path / "report.json").read_text())["verification"] == {
        "samples": 36, "relative_difference": 0.25, "tolerance": 1e-6,
    }  # fmt: skip


# --- The report, to look at -----------------------------------------------------------


@pytest.mark.parametrize("which", ["kinds", "prices"])
def test_the_page_has_what_the_search_found(which, request):
    path, done = request.getfixturevalue(which)
    where = SearchFolder(path / {"kinds": "out", "prices": "out/below"}[which])
    found, report = where.json("search_report.json"), where.report
    shown = f"report: {pathlib.Path(report['saved_model']).parents[1] / 'report.html'}\n"
    assert done.out.endswith(shown)
    models = {one["name"]: one for one in found["test"]["models"]}
    assert {name: one["scores"] for name, one in models.items()} == report["test"]
    for name, (difference, error) in report["compared"].items():
        assert (models[name]["difference"], models[name]["standard_error"]) == (difference, error)
    assert found["test"]["rows"] == report["verification"]["samples"]
    assert [row["score"] for row in found["trials"]] == [one["score"] for one in where.trials]
    assert found["ranking"][0] == report["best_trial"]
    assert found["ensemble"]["expected_score"] == report["ensemble"]["expected_score"]
    assert found["provenance"]["fingerprint"] == report["settings"]["fingerprint"]
    assert len(found["curves"]["trials"][0]["epochs"]) == 10
    assert [one["name"] for one in found["columns"]] == report["columns"]
    if which == "kinds":
        assert found["checks"]["classes"] == report["classes"]
        assert np.sum(found["checks"]["confusion"]) == 120
    else:
        assert found["checks"]["kind"] == "regression"
    assert found["progress"]["state"] == "finished"
    assert found["progress"]["ended"] == len(where.trials)
    assert found["lanes"][0]["most"] >= 2
    assert all(0.0 <= row["zeros"] < 1.0 and row["bytes"] > 1000 for row in found["trials"])
    for name, one in models.items():
        assert one["milliseconds"] > 0.0, name
        assert (one.get("bytes") or 0) > 1000 or name not in ("baseline", "winner", "ensemble")
    page = (where.path / "report.html").read_text()
    assert "The search has finished at " in page
    assert page.count("<section") >= 10
    assert len((where.path / "report.md").read_text()) > 2000


@pytest.mark.long
def test_a_time_alone_is_used_for_as_many_trials_as_end_in_it(tmp_path):
    arguments = ["--data=wine", "--epochs=1", "--folds=2", "--time=15s", "--output_dir=out"]
    done = command_inside("search", *arguments, cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    trials = SearchFolder(tmp_path / "out").trials
    assert sum(trial["status"] == "COMPLETED" for trial in trials) > 16
    assert "\ntrial 17: val_log_loss " in done.out  # Nobody knows of how many.
