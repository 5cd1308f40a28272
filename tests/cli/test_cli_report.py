"""`kerasreg report`: of a folder that a search has left, or has not done with."""

import dataclasses
import json
import shutil

import optuna
import pytest
from helpers.commands import check_refused, command_inside, python
from helpers.search_states import states

from kerasreg.cli._record import SearchSettings
from kerasreg.cli._search_report import command_of, while_running, write_report
from kerasreg.reports import search_report

FILES = ["report.html", "report.md", "search_report.json"]


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


@pytest.fixture
def folder(tmp_path):
    """A folder as a search has it that was cut off after some trials."""
    found = states(12, failed=1)
    settings = dataclasses.asdict(SearchSettings(data="/data/fruit.csv", target="kind"))
    write(tmp_path / "out" / "job.json", {**settings, "fingerprint": "ab" * 32})
    for one in found:
        if "val_loss" in one["metrics"]["metrics"]:
            one["metrics"]["metrics"] = {"val_rmse": one["metrics"]["metrics"]["val_loss"]}
        write(tmp_path / "out" / "search" / f"trial_{one['trial_id']}" / "trial.json", one)
    order = [one["trial_id"] for one in reversed(found)]
    write(tmp_path / "out" / "search" / "oracle.json", {"start_order": order})
    return tmp_path / "out"


COMPARED = {
    "settings": {
        "data": "/data/fruit.csv",
        "target": "kind",
        "trials": 16,
        "fingerprint": "cd" * 32,
    },
    "best_hyperparameters": {"rate": 0.1},
    "classes": None,
    "columns": ["weight", "<b>"],
    "test": {"winner": {"rmse": 2.0, "r2": 0.5}, "ensemble": {"rmse": 1.0, "r2": 0.75}},
    "compared": {"winner": [1.0, 0.1]},
    "measured": {"winner": {"zeros": 0.5, "bytes": 100, "milliseconds": 2.0}},
    "verification": {"samples": 30},
    "ensemble": {
        "rows": [{"trial_id": "00003", "share": 1.0, "score": 0.5}],
        "metric": "rmse",
        "score": 0.4,
        "expected_score": 0.45,
        "standard_error": 0.01,
        "best_trial_id": "00003",
        "best_score": 0.5,
    },
}


def data(folder):
    return json.loads((folder / "search_report.json").read_text())


def test_a_search_that_was_cut_off_has_a_report_of_its_trials(folder):
    done = command_inside("report", str(folder), cwd=folder)
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith(f"\nwrote {folder / 'report.html'}\n")
    found = data(folder)
    assert [row["trial"] for row in found["trials"]] == [f"{k:05d}" for k in reversed(range(13))]
    assert found["objective"] == {"name": "val_rmse", "direction": "min"}
    assert found["test"] is None
    best = next(row for row in found["trials"] if row["trial"] == found["ranking"][0])
    told = [one["score"] for one in found["honesty"]]
    assert told == [best["score"], best["shrunken"]]
    assert found["notes"] == [
        "The search has not ended, or was cut off: nothing was compared on the test."
    ]
    assert found["title"] == "fruit.csv"
    assert found["provenance"]["command"] == (
        "kerasreg search --data=/data/fruit.csv --target=kind"
    )
    assert all(row["shrunken"] for row in found["trials"] if row["status"] == "COMPLETED")
    assert "12 trials completed, 1 failed." in done.out
    assert (folder / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert (folder / "report.md").read_text().startswith("# Report of a search: fruit")


def test_it_has_what_the_search_compared(folder):
    write(folder / "report.json", COMPARED)
    done = command_inside("report", str(folder), cwd=folder)
    assert done.code == 0
    assert done.out.startswith(
        "On the test part of 30 rows, which nothing has seen, the ensemble has a rmse of 1.\n"
        "The best setting alone has 2, a difference of +1 ± 0.1: the ensemble is better.\n"
    )
    found = data(folder)
    assert found["notes"] == []
    assert [one["score"] for one in found["honesty"][2:]] == [0.4, 0.45, 1.0]
    assert found["ensemble"]["members"] == [{"trial": "00003", "share": 1.0, "score": 0.5}]
    assert [one["name"] for one in found["columns"]] == ["weight", "<b>"]
    assert found["provenance"]["fingerprint"] == "cd" * 32
    winner, ensemble = found["test"]["models"]
    assert (winner["zeros"], winner["bytes"], winner["milliseconds"]) == (0.5, 100, 2.0)
    assert "milliseconds" not in ensemble


def test_it_says_that_the_search_goes_on(folder):
    write(folder / "report.json", {**COMPARED, "settings": {**COMPARED["settings"], "trials": 8}})
    command_inside("report", str(folder), cwd=folder)
    assert data(folder)["notes"] == [
        "What is compared on the test part is of the search before it was resumed."
    ]
    assert data(folder)["test"] is not None


def test_a_report_that_is_there_is_shown_again_until_there_are_other_trials(folder):
    command_inside("report", str(folder), cwd=folder)
    page, stored = (folder / "report.html").read_text(), data(folder)
    (folder / "report.html").unlink()
    write(folder / "search_report.json", {**stored, "title": "kept"})
    assert command_inside("report", str(folder), cwd=folder).code == 0
    assert (folder / "report.html").read_text() == page.replace("fruit.csv –", "kept –").replace(
        "<bdi>fruit.csv", "<bdi>kept"
    )
    shutil.rmtree(folder / "search" / "trial_00003")
    command_inside("report", str(folder), cwd=folder)
    assert data(folder)["title"] == "fruit.csv"
    assert len(data(folder)["trials"]) == 12


def test_a_stored_report_is_shown_without_keras(folder):
    command_inside("report", str(folder), cwd=folder)
    code = (
        "import sys; sys.argv[0] = 'bin/kerasreg'\n"
        "for name in ('keras', 'tensorflow', 'keras_tuner'): sys.modules[name] = None\n"
        f"from kerasreg.cli import main; main(['kerasreg', 'report', {str(folder)!r}])"
    )
    done = python("-c", code, cwd=folder)
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize("ending", ["html", "md", "json"])
def test_one_file_may_be_asked_for(folder, tmp_path, ending):
    path = tmp_path / f"found.{ending}"
    done = command_inside("report", str(folder), f"--output={path}", cwd=folder)
    assert done.code == 0
    assert path.stat().st_size > 1000
    assert not any((folder / name).exists() for name in FILES)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["report needs the folder of a search"]),
        (["missing"], ["FOLDER", "job.json", "'missing'"]),
        (["out", "--output=found.pdf"], [".html", "'found.pdf'"]),
        (["out", "more"], ["'more'"]),
        (["out", "--outptu=a.html"], ["outptu", "output"]),
    ],
)
def test_bad_input_is_one_line_and_code_2(folder, arguments, words):
    check_refused(command_inside("report", *arguments, cwd=folder.parent), *words)
    assert sorted(path.name for path in folder.iterdir()) == ["job.json", "search"]


@pytest.mark.parametrize(
    "name", ["job.json", "search/oracle.json", "search/trial_00001/trial.json", "report.json"]
)
def test_a_file_that_cannot_be_read_is_named(folder, name):
    (folder / name).write_text("{")
    check_refused(command_inside("report", "out", cwd=folder.parent), name.rpartition("/")[2])


@pytest.mark.parametrize("text", ["{", "{}", "[]"])
def test_a_stored_report_that_is_none_is_refused(folder, text):
    (folder / "search_report.json").write_text(text)
    check_refused(command_inside("report", "out", cwd=folder.parent))


def test_what_cannot_be_written_is_a_failure(folder):
    (folder / "file").write_text("")
    done = command_inside("report", "out", "--output=out/file/found.html", cwd=folder.parent)
    assert (done.code, len(done.err.splitlines())) == (1, 1)


def test_the_trials_are_written_for_dashboards(folder, tmp_path):
    logs, study = tmp_path / "my logs", f"sqlite:///{tmp_path}/study.db"
    done = command_inside(
        "report", str(folder), f"--tensorboard={logs}", f"--study={study}", cwd=folder
    )
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith(
        f"wrote {logs}: tensorboard --logdir='{logs}'\nwrote a study: optuna-dashboard {study}\n"
    )
    assert len(list(logs.glob("trial-*/events.out.tfevents.*"))) == 13
    (name,) = optuna.get_all_study_names(study)
    assert name == "fruit.csv"
    assert len(optuna.load_study(study_name=name, storage=study).trials) == 13


def test_a_storage_that_is_none_is_a_failure(folder):
    done = command_inside("report", str(folder), "--study=nothing://here", cwd=folder)
    assert done.code == 1
    assert "Traceback" not in done.err


def test_a_search_that_was_cut_off_says_so_and_keeps_its_curves_and_times(folder):
    ids = [f"{number:05d}" for number in range(12)]
    curve = {"trial": ids[0], "epochs": [0, 1], "validation": [0.5, 0.4], "training": None}
    curves = {"metric": "val_rmse", "training_metric": "rmse", "trials": [curve]}
    write(folder / "search" / "learning_curves.json", curves)
    log = {one: {"began": 10.0, "ended": 12.0, "zeros": 0.5, "bytes": 8} for one in ids}
    lanes = [{"began": 1.0, "seconds": [0.0, 9.0], "in_use": [2.0, 0.0], "most": 2, "mean": 2.0}]
    write(folder / "search" / "search_log.json", {"trials": log, "lanes": lanes})
    command_inside("report", str(folder), cwd=folder)
    found = data(folder)
    assert found["progress"] == {
        "state": "unfinished", "ended": 13, "expected": 16, "running": 0, "written": None,
    }  # fmt: skip
    assert "has not finished: 13 of 16 trials have ended." in (folder / "report.html").read_text()
    assert [row["zeros"] for row in found["trials"] if row["trial"] in ids] == [0.5] * 12
    assert found["curves"]["trials"] == [curve]
    assert found["lanes"] == lanes


def test_what_a_search_that_runs_has_written_gives_place_to_its_trials(folder):
    """Its process may have been killed: then it says that it runs until the end of days."""
    command_inside("report", str(folder), cwd=folder)
    progress = {"state": "running", "ended": 13, "expected": 16, "running": 3, "written": "2026"}
    write(folder / "search_report.json", {**data(folder), "progress": progress, "title": "old"})
    command_inside("report", str(folder), cwd=folder)
    assert data(folder)["progress"]["state"] == "unfinished"
    assert data(folder)["title"] == "fruit.csv"


def test_the_report_of_a_search_that_runs_has_what_the_command_knows(folder):
    record = {**json.loads((folder / "job.json").read_text())}
    described = {"columns": ["weight", "<b>"]}
    progress = {"state": "running", "ended": 3, "expected": 16, "running": 3, "written": "2026"}
    report = search_report(states(3), objective="val_loss", direction="min", progress=progress)
    found = while_running(report, record, "fruit", described)
    write_report(found, folder)
    assert data(folder) == found.to_dict()
    assert (found.title, found.progress) == ("fruit", progress)
    assert [one["name"] for one in found.columns] == ["weight", "<b>"]
    assert found.provenance["command"].startswith("kerasreg search --data=/data/fruit.csv")
    assert found.notes == ["The ensemble, and what it scores on the test part, come at the end."]
    assert "<b>" not in (folder / "report.html").read_text()


def test_the_command_is_what_was_given():
    settings = SearchSettings(data="my houses.csv", target="price", drop=("a", "b c"), trials=3)
    assert command_of(dataclasses.asdict(settings)) == (
        "kerasreg search '--data=my houses.csv' --target=price '--drop=a,b c' --trials=3"
    )
    assert command_of({**dataclasses.asdict(settings), "drop": ["a", "b c"]}) == command_of(
        dataclasses.asdict(settings)
    )


def test_the_list_of_commands_has_it(tmp_path):
    out = command_inside("--help", cwd=tmp_path).out
    assert "  report   write what a search found as one HTML page" in out
    assert "--output" in command_inside("report", "--help", cwd=tmp_path).out
