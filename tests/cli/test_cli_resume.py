"""`kerasreg search --resume` after a kill, or the end of a search."""

import json
import re
import shutil
import signal

import pytest
from helpers.commands import SearchFolder, command_inside, command_stopped, contents, python

from kerasreg.cli import _ending
from kerasreg.lanes import Lanes
from kerasreg.serving import _export

pytestmark = pytest.mark.shares_programs

# A regression, whose scores are all different numbers.
SEARCH = ("search", "--data=diabetes", "--trials=3", "--epochs=2", "--folds=3", "--lanes=3",
          "--seed=5", "--output_dir=out")  # fmt: skip
RESUME = ("search", "--resume", "--output_dir=out")
SHORT = ("--data=wine", "--epochs=1", "--folds=2", "--seed=4")
GRID = ("search", "--data=wine", "--tuner=grid", "--epochs=1", "--folds=2", "--lanes=2",
        "--output_dir=out")  # fmt: skip


def _state(path):
    """Copies the folder, to look at later; returns the copy."""
    copy = path.parent / f"{path.name}_{len(list(path.parent.glob(f'{path.name}_*')))}"
    return SearchFolder(shutil.copytree(path, copy))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """A search, its resumption when nothing is left to do, and one with another trial."""
    path = tmp_path_factory.mktemp("uninterrupted")
    done = command_inside(*SEARCH, cwd=path)
    first = _state(path / "out")
    again = command_inside(*RESUME, cwd=path)
    second = _state(path / "out")
    more = command_inside(*RESUME, "--trials=4", cwd=path)
    return {"done": [done, again, more], "states": [first, second, SearchFolder(path / "out")]}


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """A grid search, and its resumption with more trials."""
    path = tmp_path_factory.mktemp("grid")
    done = command_inside(*GRID, "--trials=2", cwd=path)
    first = _state(path / "out")
    more = command_inside(*RESUME, "--trials=4", cwd=path)
    return {"done": [done, more], "states": [first, SearchFolder(path / "out")]}


def _trial_lines(done):
    return re.findall(r"^trial (\d+/\d+):", done.out, re.MULTILINE)


def _results(trials):
    """Setting and score of each trial."""
    return {
        trial["trial_id"]: (trial["hyperparameters"]["values"], pytest.approx(trial["score"]))
        for trial in trials
    }


def _check_whole(where):
    """Every file of the state can be read, and nothing of the end is there."""
    files = [file for file in where.path.rglob("*.json") if not file.name.startswith(".")]
    assert {"job.json", "oracle.json", "tuner0.json", "trial.json"} <= {f.name for f in files}
    for file in files:
        json.loads(file.read_text(encoding="utf-8"))
    assert where.versions == []
    assert not (where.path / "report.json").exists()


def _rounded(value):
    """Rows of numbers and names, or a number, with a tolerance for `==`."""
    if isinstance(value, list):
        return [{name: _rounded(part) for name, part in row.items()} for row in value]
    return value if isinstance(value, str) else pytest.approx(value, rel=1e-4)


def _check_same_end(where, reference):
    """The search ended as the one that nobody stopped."""
    assert [trial["status"] for trial in where.trials] == ["COMPLETED"] * 3
    assert _results(where.trials) == _results(reference.trials)
    report, expected = where.report, reference.report
    assert report["best_hyperparameters"] == expected["best_hyperparameters"]
    for model in ("baseline", "winner", "ensemble"):
        assert report["test"][model] == pytest.approx(expected["test"][model])
    assert report["settings"] == expected["settings"]
    for name in ("rows", "score", "expected_score", "standard_error"):
        assert report["ensemble"][name] == _rounded(expected["ensemble"][name])
    assert where.versions == [1]


@pytest.mark.long
def test_a_search_goes_on_from_another_folder_with_what_is_missing(tmp_path):
    first = command_inside("search", *SHORT, "--trials=1", "--output_dir=out", cwd=tmp_path)
    assert first.code == 0, first.err
    before = _state(tmp_path / "out")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    flags = ["--resume", f"--output_dir={tmp_path / 'out'}", "--trials=2"]
    resumed = command_inside("search", *flags, cwd=elsewhere)
    assert (resumed.code, resumed.err) == (0, "")
    assert _trial_lines(first) == ["1/1"]
    assert _trial_lines(resumed) == ["2/2"]
    after = SearchFolder(tmp_path / "out")
    # The first trial was not run again, and what may be served is as it was.
    assert len(after.trials) == 2
    assert after.trials[0] == before.trials[0]
    assert after.versions == [1, 2]
    assert contents(after.path / "model" / "1") == contents(before.path / "model" / "1")
    assert after.report["saved_model"].endswith("2")
    # The settings are those that the search was begun with.
    assert after.json("job.json") == {**before.json("job.json"), "trials": 2}
    assert after.json("job.json")["epochs"] == 1
    assert after.json("job.json")["seed"] == 4


class _Killed(BaseException):
    """Ends a command at once, as far as files are concerned."""


def _killed_in_call(monkeypatch, owner, name, number):
    """Ends the process when a function was called so often, and has done its work."""
    function, calls = getattr(owner, name), []

    def killed(*args, **kwargs):
        result = function(*args, **kwargs)
        calls.append(1)
        if len(calls) == number:
            raise _Killed
        return result

    monkeypatch.setattr(owner, name, killed)


@pytest.mark.long
def test_what_ends_in_the_baseline_and_in_the_export_goes_on_to_the_same_end(tmp_path, monkeypatch):
    search = ("search", "--data=wine", "--epochs=2", "--folds=2", "--seed=4", "--trials=2")
    monkeypatch.setattr(_ending, "baselines", lambda *args, **kwargs: {})
    expected = command_inside(*search, "--output_dir=whole", cwd=tmp_path)
    assert expected.code == 0, expected.err
    out = SearchFolder(tmp_path / "out")
    # The first training is that of the trials, the second one that of the baseline.
    for owner, name, number, more in (
        (Lanes, "fit", 2, search),
        (_export, "_write", 1, ("search", "--resume")),
    ):
        with monkeypatch.context() as patch:
            _killed_in_call(patch, owner, name, number)
            with pytest.raises(_Killed):
                command_inside(*more, "--output_dir=out", cwd=tmp_path)
        assert out.versions == []
        assert not (out.path / "report.json").exists()
    done = command_inside(*RESUME, cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert _trial_lines(done) == []
    whole = SearchFolder(tmp_path / "whole").report
    for name in ("rows", "score", "expected_score"):
        assert out.report["ensemble"][name] == _rounded(whole["ensemble"][name])
    assert out.report["test"] == {name: _rounded([one])[0] for name, one in whole["test"].items()}


@pytest.mark.long
def test_a_search_that_nobody_stops(uninterrupted):
    first = uninterrupted["states"][0]
    assert uninterrupted["done"][0].code == 0, uninterrupted["done"][0].err
    assert _trial_lines(uninterrupted["done"][0]) == ["1/3", "2/3", "3/3"]
    # What the comparisons below rest on: scores and settings that differ.
    assert len({trial["score"] for trial in first.trials}) == 3
    _check_same_end(first, first)


@pytest.mark.long
def test_a_killed_search_is_whole_and_goes_on(uninterrupted, tmp_path):
    second = tmp_path / "out" / "search" / "trial_1" / "trial.json"
    stopped = command_stopped("trial 1/3", signal.SIGKILL, *SEARCH, cwd=tmp_path, once_there=second)
    assert stopped.code == -signal.SIGKILL
    state = _state(tmp_path / "out")
    _check_whole(state)
    # The next ones are drawn when the lanes are free.
    statuses = [trial["status"] for trial in state.trials]
    assert statuses[0] == "COMPLETED"
    assert len(statuses) > 1
    assert set(statuses[1:]) == {"RUNNING"}

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    resumed = command_inside(
        "search", "--resume", f"--output_dir={tmp_path / 'out'}", cwd=elsewhere
    )
    assert resumed.code == 0, resumed.err
    assert _trial_lines(resumed) == ["2/3", "3/3"]
    end = SearchFolder(tmp_path / "out")
    _check_same_end(end, uninterrupted["states"][0])
    # The first trial was not run again.
    assert end.trials[0] == state.trials[0]


class _AnyOf:
    """A file of a pattern, of which the name is not known before."""

    def __init__(self, path, pattern):
        self.path, self.pattern = path, pattern

    def exists(self):
        return any(self.path.glob(self.pattern))


# A line after which the command is killed, once there is such a file.
MOMENTS = {
    "baseline": ("best setting", "baseline-*/trial_*/trial.json"),
    "export": ("test part", "model/.staging-*"),
}


@pytest.mark.long
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_command_that_was_killed_later_ends_with_the_same_ensemble(
    moment, uninterrupted, tmp_path
):
    line, pattern = MOMENTS[moment]
    there = _AnyOf(tmp_path / "out", pattern)
    stopped = command_stopped(line, signal.SIGKILL, *SEARCH, cwd=tmp_path, once_there=there)
    assert stopped.code == -signal.SIGKILL, stopped.err
    assert there.exists()
    state = _state(tmp_path / "out")
    _check_whole(state)
    resumed = command_inside(*RESUME, cwd=tmp_path)
    assert (resumed.code, resumed.err) == (0, "")
    assert _trial_lines(resumed) == []
    end = SearchFolder(tmp_path / "out")
    _check_same_end(end, uninterrupted["states"][0])
    assert end.trials == state.trials
    assert [one.name for one in end.path.glob("model/.*")] == []
    assert not list(end.path.glob(".*"))


# Python ignores what a finaliser raises. A signal that arrives in one, or in a
# callback of the garbage collector, must end the search all the same.
_SIGNAL_IN_A_FINALISER = """
import os, signal, sys
sys.argv[0] = "kerasreg"
from kerasreg.cli._command import loading
from kerasreg.cli._main import main
with loading():
    from kerasreg import hypermodels
build = hypermodels.TableHyperModel.build
class Finaliser:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):
            pass
def stopped(self, *args, **kwargs):
    Finaliser()
    return build(self, *args, **kwargs)
hypermodels.TableHyperModel.build = stopped
main()
"""


@pytest.mark.long
def test_a_stop_signal_cannot_get_lost(tmp_path):
    arguments = ["search", "--data=wine", "--trials=1", "--epochs=1", "--output_dir=out"]
    done = python("-c", _SIGNAL_IN_A_FINALISER, *arguments, cwd=tmp_path)
    assert done.code == 130
    assert re.fullmatch(
        "kerasreg: interrupted in the search.*; continue with --resume", done.err.splitlines()[-1]
    )
    assert SearchFolder(tmp_path / "out").versions == []


@pytest.mark.long
def test_a_finished_search_is_published_again_without_its_trials(uninterrupted):
    first, second = uninterrupted["states"][:2]
    again = uninterrupted["done"][1]
    assert again.code == 0, again.err
    assert _trial_lines(again) == []
    assert second.versions == [1, 2]
    assert second.trials == first.trials
    report = second.report
    assert report["saved_model"].endswith("2")
    assert report["verification"]["relative_difference"] <= 1e-6
    assert report["best_hyperparameters"] == first.report["best_hyperparameters"]
    for model in ("baseline", "winner", "ensemble"):
        assert report["test"][model] == pytest.approx(first.report["test"][model])
    # The version that somebody may be serving is as it was.
    assert contents(second.path / "model" / "1") == contents(first.path / "model" / "1")


@pytest.mark.long
def test_more_trials_run_only_what_is_missing(uninterrupted):
    before, after = uninterrupted["states"][1:]
    more = uninterrupted["done"][2]
    assert more.code == 0, more.err
    assert _trial_lines(more) == ["4/4"]
    assert len(after.trials) == 4
    assert after.trials[:3] == before.trials
    assert after.json("job.json") == {**before.json("job.json"), "trials": 4}
    scores = [trial["score"] for trial in after.trials]
    best = after.trials[scores.index(min(scores))]
    assert after.report["best_hyperparameters"] == best["hyperparameters"]["values"]
    assert after.versions == [1, 2, 3]


@pytest.mark.long
def test_a_grid_search_runs(grid):
    assert grid["done"][0].code == 0, grid["done"][0].err
    assert _trial_lines(grid["done"][0]) == ["1/2", "2/2"]
    first = grid["states"][0]
    assert first.versions == [1]
    assert first.report["settings"]["tuner"] == "grid"


def _check_grid(where, trials):
    assert [trial["status"] for trial in where.trials] == ["COMPLETED"] * trials
    settings = [json.dumps(t["hyperparameters"]["values"], sort_keys=True) for t in where.trials]
    assert len(set(settings)) == trials


@pytest.mark.long
def test_a_grid_search_goes_on_with_the_next_settings(grid):
    more = grid["done"][1]
    assert more.code == 0, more.err
    assert _trial_lines(more) == ["3/4", "4/4"]
    end = grid["states"][1]
    _check_grid(end, 4)
    assert end.trials[:2] == grid["states"][0].trials


@pytest.mark.long
def test_a_grid_search_that_was_killed_goes_on(tmp_path):
    command_stopped("trial 1/", signal.SIGKILL, *GRID, "--trials=3", cwd=tmp_path)
    resumed = command_inside(*RESUME, cwd=tmp_path)
    assert resumed.code == 0, resumed.err
    assert _trial_lines(resumed) == ["2/3", "3/3"]
    _check_grid(SearchFolder(tmp_path / "out"), 3)
