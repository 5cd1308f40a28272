"""`kerasreg search --resume` after a kill, an interruption, or the end of a search."""

import json
import re
import shutil
import signal

import pytest

pytestmark = pytest.mark.long

# A regression, whose scores are all different numbers.
SEARCH = ("search", "--data=diabetes", "--trials=3", "--epochs=2", "--seed=5", "--output_dir=out")
RESUME = ("search", "--resume", "--output_dir=out")
GRID = ("search", "--data=wine", "--tuner=grid", "--epochs=1", "--output_dir=out")


def _state(path):
    """Copies the folder, to look at later; returns the copy."""
    copy = path.parent / f"{path.name}_{len(list(path.parent.glob(f'{path.name}_*')))}"
    return shutil.copytree(path, copy)


def _uninterrupted(command, path):
    done = command(*SEARCH, cwd=path)
    first = _state(path / "out")
    again = command(*RESUME, cwd=path)
    second = _state(path / "out")
    more = command(*RESUME, "--trials=4", cwd=path)
    return {"done": [done, again, more], "states": [first, second, path / "out"]}


def _killed(command, path):
    second = path / "out" / "search" / "trial_1" / "trial.json"
    killed = command.stop_at("trial 1/3", signal.SIGKILL, *SEARCH, cwd=path, once_there=second)
    state = _state(path / "out")
    elsewhere = path / "elsewhere"
    elsewhere.mkdir()
    resumed = command("search", "--resume", f"--output_dir={path / 'out'}", cwd=elsewhere)
    return {"done": [killed, resumed], "states": [state, path / "out"]}


def _interrupted(command, path):
    terminated = command.stop_at("trial 1/3", signal.SIGTERM, *SEARCH, cwd=path)
    first = _state(path / "out")
    interrupted = command.stop_at("trial 2/3", signal.SIGINT, *RESUME, cwd=path)
    second = _state(path / "out")
    resumed = command(*RESUME, cwd=path)
    return {
        "done": [terminated, interrupted, resumed],
        "states": [first, second, path / "out"],
    }


def _swallowed(command, path):
    # Python ignores what a finaliser raises. A signal that arrives in one, or in a
    # callback of the garbage collector, must end the search all the same.
    change = """
        import os, signal
        from kerasreg import hypermodels
        fit = hypermodels.DenseHyperModel.fit
        class Finaliser:
            def __del__(self):
                os.kill(os.getpid(), signal.SIGTERM)
                for _ in range(1000):
                    pass
        def stopped(self, *args, **kwargs):
            Finaliser()
            return fit(self, *args, **kwargs)
        hypermodels.DenseHyperModel.fit = stopped
    """
    done = command.with_change(
        change, "search", "--data=wine", "--trials=1", "--epochs=1", "--output_dir=out", cwd=path
    )
    return {"done": [done], "states": [path / "out"]}


def _grid(command, path):
    done = command(*GRID, "--trials=2", cwd=path)
    first = _state(path / "out")
    more = command(*RESUME, "--trials=4", cwd=path)
    return {"done": [done, more], "states": [first, path / "out"]}


def _grid_killed(command, path):
    killed = command.stop_at("trial 1/", signal.SIGKILL, *GRID, "--trials=3", cwd=path)
    state = _state(path / "out")
    resumed = command(*RESUME, cwd=path)
    return {"done": [killed, resumed], "states": [state, path / "out"]}


SCENARIOS = {
    "uninterrupted": _uninterrupted,
    "killed": _killed,
    "interrupted": _interrupted,
    "swallowed": _swallowed,
    "grid": _grid,
    "grid_killed": _grid_killed,
}


@pytest.fixture(scope="module")
def uninterrupted(runs):
    """A search, its resumption when nothing is left to do, and one with another trial."""
    return runs["uninterrupted"].result()


@pytest.fixture(scope="module")
def killed(runs):
    """The same search, killed in its second trial, and its resumption."""
    return runs["killed"].result()


@pytest.fixture(scope="module")
def interrupted(runs):
    """The same search, stopped after its first and after its second trial."""
    return runs["interrupted"].result()


@pytest.fixture(scope="module")
def swallowed(runs):
    return runs["swallowed"].result()


@pytest.fixture(scope="module")
def grid(runs):
    """A grid search, and its resumption with more trials."""
    return runs["grid"].result()


@pytest.fixture(scope="module")
def grid_killed(runs):
    return runs["grid_killed"].result()


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


def _check_same_end(where, reference):
    """The search ended as the one that nobody stopped."""
    assert [trial["status"] for trial in where.trials] == ["COMPLETED"] * 3
    assert _results(where.trials) == _results(reference.trials)
    report, expected = where.report, reference.report
    assert report["best_hyperparameters"] == expected["best_hyperparameters"]
    for model in ("baseline", "winner"):
        assert report["test"][model] == pytest.approx(expected["test"][model])
    assert report["settings"] == expected["settings"]
    assert where.versions == [1]


def test_a_search_that_nobody_stops(uninterrupted, folder):
    first = folder(uninterrupted["states"][0])
    assert uninterrupted["done"][0].code == 0, uninterrupted["done"][0].err
    assert _trial_lines(uninterrupted["done"][0]) == ["1/3", "2/3", "3/3"]
    # What the comparisons below rest on: scores and settings that differ.
    assert len({trial["score"] for trial in first.trials}) == 3
    _check_same_end(first, first)


def test_a_killed_search_is_whole_and_goes_on(killed, uninterrupted, folder):
    stopped, resumed = killed["done"]
    assert stopped.code == -signal.SIGKILL
    state = folder(killed["states"][0])
    _check_whole(state)
    # Those of one structure with the next one run beside it.
    statuses = [trial["status"] for trial in state.trials]
    assert statuses[0] == "COMPLETED"
    assert len(statuses) > 1
    assert set(statuses[1:]) == {"RUNNING"}

    assert resumed.code == 0, resumed.err
    assert _trial_lines(resumed) == ["2/3", "3/3"]
    end = folder(killed["states"][1])
    _check_same_end(end, folder(uninterrupted["states"][0]))
    # The first trial was not run again.
    assert end.trials[0] == state.trials[0]


def test_a_stop_signal_ends_it_with_130_and_one_line(interrupted, folder):
    for done, lines in zip(interrupted["done"], (["1/3"], ["2/3"]), strict=False):
        assert done.code == 130, done.err
        assert done.err == "kerasreg: interrupted; continue with --resume\n"
        assert _trial_lines(done) == lines
    for state in interrupted["states"][:2]:
        _check_whole(folder(state))


def test_an_interrupted_search_goes_on(interrupted, uninterrupted, folder):
    resumed = interrupted["done"][2]
    assert resumed.code == 0, resumed.err
    assert _trial_lines(resumed) == ["3/3"]
    _check_same_end(folder(interrupted["states"][2]), folder(uninterrupted["states"][0]))


def test_a_stop_signal_cannot_get_lost(swallowed, folder):
    (done,) = swallowed["done"]
    assert done.code == 130
    assert done.err.splitlines()[-1] == "kerasreg: interrupted; continue with --resume"
    assert folder(swallowed["states"][0]).versions == []


def test_a_finished_search_is_published_again_without_its_trials(uninterrupted, folder):
    first, second = map(folder, uninterrupted["states"][:2])
    again = uninterrupted["done"][1]
    assert again.code == 0, again.err
    assert _trial_lines(again) == []
    assert second.versions == [1, 2]
    assert second.trials == first.trials
    report = second.report
    assert report["saved_model"].endswith("2")
    assert report["verification"]["relative_difference"] <= 1e-6
    assert report["best_hyperparameters"] == first.report["best_hyperparameters"]
    for model in ("baseline", "winner"):
        assert report["test"][model] == pytest.approx(first.report["test"][model])
    # The version that somebody may be serving is as it was.
    assert folder(second.path / "model" / "1").contents() == (
        folder(first.path / "model" / "1").contents()
    )


def test_more_trials_run_only_what_is_missing(uninterrupted, folder):
    before, after = map(folder, uninterrupted["states"][1:])
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


def test_a_grid_search_runs(grid, folder):
    assert grid["done"][0].code == 0, grid["done"][0].err
    assert _trial_lines(grid["done"][0]) == ["1/2", "2/2"]
    first = folder(grid["states"][0])
    assert first.versions == [1]
    assert first.report["settings"]["tuner"] == "grid"


def _check_grid(where, trials):
    assert [trial["status"] for trial in where.trials] == ["COMPLETED"] * trials
    settings = [json.dumps(t["hyperparameters"]["values"], sort_keys=True) for t in where.trials]
    assert len(set(settings)) == trials


def test_a_grid_search_goes_on_with_the_next_settings(grid, folder):
    more = grid["done"][1]
    assert more.code == 0, more.err
    assert _trial_lines(more) == ["3/4", "4/4"]
    end = folder(grid["states"][1])
    _check_grid(end, 4)
    assert end.trials[:2] == folder(grid["states"][0]).trials


def test_a_grid_search_that_was_killed_goes_on(grid_killed, folder):
    _, resumed = grid_killed["done"]
    assert resumed.code == 0, resumed.err
    assert _trial_lines(resumed) == ["2/3", "3/3"]
    _check_grid(folder(grid_killed["states"][1]), 3)
