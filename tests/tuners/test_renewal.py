"""The report of a search that runs: when it is renewed, what it says, and what is kept on disk."""

import contextlib
import json
import random
import warnings

import numpy as np
import pytest

from kerasreg import tuners
from kerasreg.reports import SearchReport, search_report
from kerasreg.tuners import _renewal
from kerasreg.tuners._learning_curves import LearningCurves
from kerasreg.tuners._renewal import Renewal, Stage, check_targets
from kerasreg.tuners._search_log import LanesInUse, SearchLog
from kerasreg.tuners._sparing import Sparing

pytestmark = pytest.mark.shares_programs


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Always:
    """Work that is always due."""

    due = True

    def __init__(self, *_):
        pass

    def spending(self):
        return contextlib.nullcontext()


# --- How often -------------------------------------------------------------------------


@pytest.mark.parametrize("part", [0.01, 0.1])
def test_work_takes_a_part_of_the_time_at_most(part):
    clock, generator = Clock(), random.Random(0)
    begun, spent, longest, times = clock.now, 0.0, 0.0, 0
    sparing = Sparing(part, clock=clock)
    for _ in range(20_000):
        clock.now += 0.1
        if sparing.due:
            cost = 0.05 * generator.lognormvariate(0.0, 1.0)
            with sparing.spending():
                clock.now += cost
            spent, longest, times = spent + cost, max(longest, cost), times + 1
            # But for what the last time took longer than those before.
            assert spent <= part * (clock.now - begun) + longest
    assert times > 50
    assert spent <= part * (clock.now - begun)


def test_slow_work_is_waited_for_and_fast_work_is_not_done_all_the_time():
    clock = Clock()
    sparing = Sparing(0.01, first=0.0, least=2.0, clock=clock)
    clock.now += 1.9
    assert not sparing.due
    clock.now += 0.2
    assert sparing.due
    with sparing.spending():
        clock.now += 10.0
    clock.now += 1000.0
    assert not sparing.due  # Another time would make 20 of 1,012 seconds, or more.
    clock.now += 3000.0
    assert sparing.due


def test_an_error_of_the_work_costs_its_time():
    clock = Clock()
    sparing = Sparing(0.01, first=0.0, least=0.0, clock=clock)

    def work():
        with sparing.spending():
            clock.now += 10.0
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        work()
    assert not sparing.due


# --- Where to --------------------------------------------------------------------------


def nothing(stage):
    return search_report(
        [],
        objective="val_loss",
        direction="min",
        progress={"state": stage.state, "ended": 0, "expected": 3, "running": stage.running,
                  "written": stage.time.isoformat()},
    )  # fmt: skip


def test_files_are_written_and_functions_called(tmp_path):
    given = []
    targets = check_targets([tmp_path / "a.html", str(tmp_path / "a.json"), given.append])
    kept = []
    renewal = Renewal(targets, nothing, lambda: kept.append(1), Always(), Always())
    renewal.look(2)
    assert "0 of 3 trials have ended, 2 trials in training" in (tmp_path / "a.html").read_text()
    assert json.loads((tmp_path / "a.json").read_text())["progress"]["state"] == "running"
    renewal.close(Stage("finished"))
    assert "has finished" in (tmp_path / "a.html").read_text()
    assert [one.progress["state"] for one in given] == ["running", "finished"]
    assert len(kept) == 2


def test_one_target_needs_no_list(tmp_path):
    assert check_targets(tmp_path / "a.md") == [tmp_path / "a.md"]
    assert check_targets(print) == [print]
    assert check_targets(None) == []


@pytest.mark.parametrize("report", [3, ["a.html", 3]])
def test_other_targets_are_refused(report):
    with pytest.raises(ValueError, match=r"`report` must be a \.html.* Received: report="):
        check_targets(report)
    with pytest.raises(ValueError, match="`path` must end with"):
        check_targets("report.pdf")


def test_a_report_that_fails_ends_no_search_and_is_told_once(tmp_path):
    def fail(report):
        raise OSError("no space")

    renewal = Renewal([fail], nothing, lambda: None, Always(), Always())
    with pytest.warns(UserWarning, match=r"not renewed any more: OSError: no space"):
        renewal.look(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        renewal.look(1)
        renewal.close(Stage("finished"))


# --- Of a search -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def seen(build, blobs, tmp_path_factory):
    """Reports of a search after each epoch, with what was on disk then; and the tuner."""
    folder, found = tmp_path_factory.mktemp("renewed"), []
    tuner = tuners.VectorizedRandomSearch(
        build, "val_loss", max_trials=6, max_lanes=2, seed=5, directory=folder
    )

    def look(report):
        curves = LearningCurves(tuner.oracle.objective).to_dict(report.ranking, tuner.project_dir)
        log = SearchLog().to_dict(tuner.project_dir)
        found.append((report, curves, log, (folder / "report.html").read_text()))

    x, y, validation_data = blobs
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_renewal, "Sparing", Always)
        tuner.search(
            x,
            y,
            epochs=3,
            batch_size=16,
            validation_data=validation_data,
            verbose=0,
            report=[folder / "report.html", look],
        )
    return tuner, found, folder


def test_the_report_of_a_search_that_runs_has_what_has_ended(seen):
    _, found, _ = seen
    reports = [one for one, *_ in found]
    states = [one.progress["state"] for one in reports]
    assert set(states[:-1]) == {"running"}
    assert states[-1] == "finished"
    ended = [one.progress["ended"] for one in reports]
    assert ended == sorted(ended)
    assert {0, 2, 4, 6} <= set(ended)
    for report in reports[:-1]:
        assert report.progress["expected"] == 6
        assert report.failures == []  # Those in training are none.
        assert len(report.ranking) == report.progress["ended"]
        assert SearchReport.from_dict(report.to_dict()) == report
    assert any(one.progress["running"] == 2 for one in reports)


def test_the_page_says_that_the_search_runs(seen):
    _, found, folder = seen
    for report, _, _, page in found[:-1]:
        ended = report.progress["ended"]
        assert "still running when this was written at 2" in page
        assert f"{ended} of 6 trials have ended" in page
    assert "still running" not in (folder / "report.html").read_text()
    assert "The search has finished at 2" in (folder / "report.html").read_text()


def test_curves_and_times_are_on_disk_while_it_runs(seen):
    tuner, found, _ = seen
    for report, curves, log, _ in found:
        if report.ranking:
            assert [one["trial"] for one in curves["trials"]] == report.ranking
            assert set(report.ranking) <= set(log["trials"])
    last, log = found[-1][0], found[-1][2]
    for row in last.trials:
        known = log["trials"][row["trial"]]
        assert row["began"] <= row["ended"] == known["ended"]
        variables = tuner.load_model(tuner.oracle.trials[row["trial"]]).variables
        numbers = sum(int(np.prod(one.shape)) for one in variables if one.dtype == "float32")
        assert row["bytes"] == known["bytes"] == 4 * numbers
        assert 0.0 <= row["zeros"] < 1.0


def test_another_process_knows_them(seen, build):
    _, found, folder = seen
    again = tuners.VectorizedRandomSearch(
        build, "val_loss", max_trials=6, seed=5, directory=folder
    ).report()
    assert again.progress is None
    for row, before in zip(again.trials, found[-1][0].trials, strict=True):
        for name in ("began", "ended", "zeros", "bytes", "stopped", "seconds"):
            assert row[name] == before[name]
    assert again.lanes == found[-1][0].lanes


def test_lanes_in_use_are_never_more_than_there_are(seen):
    (one,) = seen[1][-1][0].lanes
    assert one["most"] == 2
    assert max(one["in_use"]) == 2.0
    assert one["in_use"][-1] == 0.0
    assert 0.0 < one["mean"] <= 2.0


def test_an_interrupted_search_leaves_a_report_that_says_so(build, blobs, tmp_path):
    class Interrupts(tuners.VectorizedRandomSearch):
        def on_trial_end(self, trial):
            super().on_trial_end(trial)
            if len(self.oracle.end_order) == 3:
                raise KeyboardInterrupt

    tuner = Interrupts(build, "val_loss", max_trials=6, max_lanes=2, seed=5, directory=tmp_path)
    x, y, validation_data = blobs
    with pytest.raises(KeyboardInterrupt):
        tuner.search(
            x,
            y,
            epochs=2,
            validation_data=validation_data,
            verbose=0,
            report=tmp_path / "report.json",
        )
    found = SearchReport.from_dict(json.loads((tmp_path / "report.json").read_text()))
    assert found.progress["state"] == "stopped"
    assert found.progress["ended"] == 3
    assert "interrupted, or stopped by an error" in found.html()
    assert tuner.report(ensemble=False).progress["state"] == "stopped"


def test_pruned_trials_are_told_from_others(build, blobs, tmp_path):
    optuna = pytest.importorskip("optuna")

    class AfterOne(optuna.pruners.BasePruner):
        def prune(self, study, trial):
            return trial.number % 2 == 1 and trial.last_step >= 1

    tuner = tuners.VectorizedRandomSearch(
        build, "val_loss", max_trials=4, seed=5, directory=tmp_path, pruner=AfterOne()
    )
    x, y, validation_data = blobs
    tuner.search(x, y, epochs=5, validation_data=validation_data, verbose=0)
    report = tuner.report()
    stopped = {row["trial"] for row in report.trials if row["stopped"] == "pruner"}
    curves = {one["trial"]: len(one["epochs"]) for one in report.curves["trials"]}
    assert len(stopped) == 2
    assert {trial for trial, epochs in curves.items() if epochs == 2} == stopped
    assert {one.state.name for one in tuner.to_study().trials} == {"PRUNED", "COMPLETE"}


# --- What is kept ----------------------------------------------------------------------


def test_zeros_are_those_of_numbers():
    log = SearchLog()
    log.begin()
    log.trial_began("0")
    numbers = [np.array([[0.0, 1.0], [-0.0, 2.0]], "float32"), np.zeros(4, "uint32")]
    log.trial_ended("0", None, numbers)
    log.trial_ended("1", "pruner", [])
    found = log.to_dict("nowhere")["trials"]
    assert (found["0"]["zeros"], found["0"]["bytes"]) == (0.5, 16)
    assert found["1"]["stopped"] == "pruner"
    assert "zeros" not in found["1"]


def test_lanes_over_time_are_bounded_and_keep_their_mean():
    clock = Clock()
    lanes, generator = LanesInUse(clock), random.Random(0)
    area, begun, now = 0.0, clock.now, 0
    for _ in range(10_000):
        step = generator.random()
        clock.now += step
        area, now = area + now * step, generator.randrange(129)
        lanes.set(now)
    lanes.set(0)
    lanes.close()
    clock.now += 1000.0  # Nothing counts after the end.
    found = lanes.to_dict()
    assert len(found["seconds"]) == len(found["in_use"]) <= 402
    assert found["seconds"] == sorted(found["seconds"])
    assert found["mean"] == pytest.approx(area / (found["seconds"][-1]), rel=1e-3)
    widths = np.diff(found["seconds"])
    told = float(np.sum(widths * np.array(found["in_use"][:-1])))
    assert told == pytest.approx(area, rel=1e-2)
    assert begun == found["began"]


def test_a_log_that_cannot_be_read_is_none(tmp_path):
    (tmp_path / "search_log.json").write_text("{")
    assert SearchLog().to_dict(tmp_path) == {"trials": {}, "lanes": []}
    SearchLog().write(tmp_path, {})  # Nothing has begun.
    assert (tmp_path / "search_log.json").read_text() == "{"
