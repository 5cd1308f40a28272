"""`kerasreg search --storage --artifacts`: one command on several machines, here in folders."""

import dataclasses
import json
import os
import pathlib
import signal
import threading

import optuna
import pytest
import tensorflow as tf
from helpers.commands import (
    SearchFolder,
    check_refused,
    command_inside,
    contents,
    printed_until,
    rest_of,
    started,
)

from kerasreg.cli import _found, _job
from kerasreg.cli._data import load_table
from kerasreg.cli._record import SearchSettings, Shared

SEARCH = ("--data=diabetes", "--trials=6", "--epochs=2", "--folds=3", "--seed=5", "--lanes=3")


def places(path):
    return f"--storage={path}/study.db", f"--artifacts={path}/artifacts"


@pytest.fixture
def begun(tmp_path):
    """A search on wine that another machine has begun, and has no trial yet."""
    shared = Shared(str(tmp_path / "study.db"), str(tmp_path / "artifacts"), "out")
    settings = SearchSettings(data="wine", epochs=3, trials=4, workers=1)
    job = _job.SearchJob(settings, load_table("wine"), "unused", print, shared=shared)
    job.join()
    return places(tmp_path)


WINE = ("search", "--data=wine", "--epochs=3", "--trials=4", "--output_dir=here/out")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--epochs=4"], ["'out' of another search", "--epochs=4 here and 3 there"]),
        (["--trials=5", "--seed=1"], ["--trials=5 here and 4 there; --seed=1 here and 0 there"]),
        (["--data=digits"], ["the data of 'digits' are others"]),
        (["--data=diabetes"], ["objective", "val_log_loss", "val_rmse"]),
        (["--tuner=bayesian"], ["--tuner=bayesian here and random there"]),
    ],
)
def test_another_search_is_refused_and_it_is_said_what_differs(tmp_path, begun, flags, words):
    check_refused(command_inside(*WINE, *flags, *begun, cwd=tmp_path), *words)
    assert not (tmp_path / "here").exists()


def test_other_artifacts_are_refused(tmp_path, begun):
    storage, _ = begun
    done = command_inside(*WINE, storage, "--artifacts=elsewhere", cwd=tmp_path)
    check_refused(done, "--artifacts=", "elsewhere here and", "artifacts there")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--storage=study.db"], ["--storage needs --artifacts"]),
        (
            ["--storage=postgresql://me:s3cret@127.0.0.1:1/x", "--artifacts=there"],
            ["`storage` cannot be opened", "me:***@127.0.0.1"],
        ),
        (["--storage=sqlite:////no/such/folder/s.db", "--artifacts=there"], ["cannot be opened"]),
        (["--artifacts=full/below"], ["`artifacts` cannot be written", "full"]),
        (["--artifacts=ftpp://me:s3cret@host/x"], ["`artifacts` cannot be used", "me:***@host"]),
        (["--artifacts=there", "--tuner=grid"], ["--tuner=grid", "--workers"]),
    ],
)
def test_what_cannot_be_reached_is_one_line_without_a_password(tmp_path, flags, words):
    (tmp_path / "full").write_text("a file")
    done = command_inside(*WINE, *flags, cwd=tmp_path)
    check_refused(done, *words)
    assert "s3cret" not in done.err
    assert not (tmp_path / "here").exists()


def test_other_versions_are_said(tmp_path, begun, monkeypatch, capsys):
    storage, artifacts = (one.partition("=")[2] for one in begun)
    shared = Shared(storage, artifacts, "out")
    versions = {**_job._versions(), "keras": "3.0.0"}
    monkeypatch.setattr(_job, "_versions", lambda: versions)
    settings = SearchSettings(data="wine", epochs=3, trials=4, workers=1)
    _job.SearchJob(settings, load_table("wine"), "unused", print, shared=shared).join()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("kerasreg: note: keras is 3.0.0 here, and ")


def _states(path):
    study = optuna.load_study(study_name="out", storage=f"sqlite:///{path}/study.db")
    return [trial.state.name for trial in study.trials]


def _start(path, name, *flags):
    (path / name).mkdir(exist_ok=True)
    given = ("search", *SEARCH, *places(path), "--output_dir=out", *flags)
    return started(*given, cwd=path / name)


@pytest.mark.long
def test_two_machines_share_a_search_and_one_of_them_ends_it(tmp_path):
    with _start(tmp_path, "a") as first, _start(tmp_path, "b") as second:
        ends = [rest_of(first), rest_of(second)]
    assert [(code, err) for code, _, err in ends] == [(0, "")] * 2
    assert _states(tmp_path).count("COMPLETE") == 6
    assert sorted("the search has ended: " in out for _, out, _ in ends) == [False, True]
    ended, other = (SearchFolder(tmp_path / name / "out") for name in "ab")
    if "the search has ended: " in ends[0][1]:
        ended, other = other, ended
    assert len(ended.report["ensemble"]["rows"]) >= 1
    assert len(ended.trials) == len(other.trials) == 6
    # One that is late finds what was found.
    with _start(tmp_path, "c") as late:
        code, out, err = rest_of(late)
    assert (code, err) == (0, "")
    assert f"has made the ensemble in {ended.path}; a copy is in out" in out
    copies = [other, SearchFolder(tmp_path / "c" / "out")]
    for copy in copies:
        assert copy.report == ended.report
        assert contents(copy.path / "model") == contents(ended.path / "model")
    (version,) = ended.path.glob("model/1")
    assert tf.saved_model.contains_saved_model(str(copies[1].path / "model" / version.name))
    # And one that is to go on makes the ensemble anew, with all trials of the others.
    with _start(tmp_path, "c", "--resume") as again:
        code, out, err = rest_of(again)
    assert (code, err) == (0, "")
    found = SearchFolder(tmp_path / "c" / "out")
    assert found.versions == [1, 2]
    assert found.report["ensemble"]["rows"] == [
        {
            **row,
            "score": pytest.approx(row["score"], rel=1e-4),
            "share": pytest.approx(row["share"]),
        }
        for row in ended.report["ensemble"]["rows"]
    ]
    text = (found.path / "job.json").read_text()
    assert json.loads(text)["artifacts"] == f"{tmp_path}/artifacts"


@pytest.mark.long
def test_a_machine_that_is_gone_loses_nothing(tmp_path):
    with _start(tmp_path, "a", "--workers=2") as first:
        printed_until(first, "trial 1/6")
        first.send_signal(signal.SIGKILL)
        first.communicate()
    assert "COMPLETE" in _states(tmp_path)
    assert set(_states(tmp_path)) != {"COMPLETE"}
    with _start(tmp_path, "b") as second:
        code, _, err = rest_of(second)
    assert (code, err) == (0, ""), err
    assert _states(tmp_path).count("COMPLETE") == 6
    found = SearchFolder(tmp_path / "b" / "out")
    assert found.versions == [1]
    assert len(found.trials) == 6
    assert os.listdir(tmp_path / "a" / "out" / "search").count("study.db") == 0


@pytest.mark.long
def test_when_the_one_dies_that_ends_the_search_another_one_ends_it(tmp_path):
    with _start(tmp_path, "a") as first, _start(tmp_path, "b") as second:
        machines = {"a": first, "b": second}
        killed = []

        def watch(name):
            for line in machines[name].stdout:
                if line.startswith("best setting") and not killed:
                    killed.append(name)
                    machines[name].kill()

        threads = [threading.Thread(target=watch, args=(name,)) for name in machines]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
        codes = {name: process.wait(60) for name, process in machines.items()}
    (gone,) = killed
    (left,) = machines.keys() - {gone}
    assert codes == {gone: -signal.SIGKILL, left: 0}
    assert SearchFolder(tmp_path / gone / "out").versions == []
    found = SearchFolder(tmp_path / left / "out")
    assert found.versions == [1]
    assert len(found.report["ensemble"]["rows"]) >= 1


class _Store:
    """A tuner that shares files in a dictionary."""

    def __init__(self):
        self.files = {}

    def share_file(self, path):
        content = pathlib.Path(path).read_bytes()
        name = f"{len(self.files)}"
        self.files[name] = content
        return name

    def shared_file(self, name):
        return self.files[name]


def test_what_was_found_is_copied_and_versions_that_are_there_stay(tmp_path):
    there, here, store = tmp_path / "there", tmp_path / "here", _Store()
    (there / "model" / "3" / "variables").mkdir(parents=True)
    (there / "model" / "3" / "saved_model.pb").write_bytes(b"model")
    (there / "model" / "3" / "variables" / "v").write_bytes(b"weights")
    (there / "model" / "2").mkdir()  # Of an earlier search.
    for name in _found._FILES:
        (there / name).write_text(name)
    found = json.loads(json.dumps(_found.give(store, str(there), str(there / "model" / "3"))))
    _found.take(store, found, str(here))
    assert sorted(path.name for path in here.iterdir()) == sorted([*_found._FILES, "model"])
    assert contents(here / "model") == {
        name: content for name, content in contents(there / "model").items() if name.startswith("3")
    }
    (here / "model" / "3" / "saved_model.pb").write_bytes(b"served")
    _found.take(store, found, str(here))
    assert (here / "model" / "3" / "saved_model.pb").read_bytes() == b"served"
    assert sorted(path.name for path in (here / "model").iterdir()) == ["3"]


def test_a_search_goes_on_in_the_places_where_it_is(tmp_path, begun):
    storage, artifacts = begun
    record = {
        **dataclasses.asdict(SearchSettings(data="wine", epochs=3, trials=4, workers=1)),
        "fingerprint": load_table("wine").fingerprint(),
        "earlier": [],
        **Shared(storage.partition("=")[2], artifacts.partition("=")[2], "out").told(),
    }
    (tmp_path / "here" / "out").mkdir(parents=True)
    (tmp_path / "here" / "out" / "job.json").write_text(json.dumps(record))
    resume = ("search", "--resume", "--output_dir=here/out")
    check_refused(command_inside(*resume, cwd=tmp_path), "--resume", "no --storage", "study.db")
    done = command_inside(*resume, "--storage=other.db", artifacts, cwd=tmp_path)
    check_refused(done, "begun with --storage=", "study.db", "other.db")
    # What differs from the search that the others have is refused here, too.
    done = command_inside(*WINE, "--epochs=5", storage, artifacts, cwd=tmp_path)
    check_refused(done, "--epochs=5", "--epochs=3")


def test_passwords_are_not_recorded():
    shared = Shared.of("postgresql://me:s3cret@host/x", "s3://bucket/x", "some/out")
    assert shared.told() == {"storage": "postgresql://me:***@host/x", "artifacts": "s3://bucket/x"}
    assert shared.study_name == "out"
