"""`kerasreg search --workers`: processes that share the trials of one search."""

import os
import random
import re
import signal
import threading
import time

import pytest
from helpers.commands import (
    SearchFolder,
    check_refused,
    check_same_search,
    command_inside,
    printed_until,
    rest_of,
    started,
)

from kerasreg.cli import _worker_processes, _workers
from kerasreg.cli._worker_processes import Processes, environment, shares
from kerasreg.cli._workers import Workers

SEARCH = ("search", "--data=diabetes", "--trials=6", "--epochs=2", "--folds=3", "--seed=5",
          "--lanes=3", "--output_dir=out")  # fmt: skip
RESUME = ("search", "--resume", "--output_dir=out")


@pytest.mark.parametrize(
    ("cores", "workers", "expected"),
    [
        ([0, 1, 2, 3], 2, [[0, 1], [2, 3]]),
        ([0, 1, 2, 5, 7], 2, [[0, 1], [2, 5, 7]]),
        ([3], 1, [[3]]),
        ([0, 1], 3, [[0, 1]] * 3),
    ],
)
def test_cores_are_divided_where_there_are_enough(cores, workers, expected):
    assert shares(cores, workers) == expected


def test_gpus_are_dealt_out():
    assert "CUDA_VISIBLE_DEVICES" not in environment(0, 2, [])
    given = [environment(number, 1, ["4", "5"])["CUDA_VISIBLE_DEVICES"] for number in range(3)]
    assert given == ["4", "5", "4"]
    assert environment(0, 3, [])["OMP_NUM_THREADS"] == "3"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--tuner=hyperband"], ["--tuner=hyperband", "--workers", "random, bayesian"]),
        (["--tuner=grid"], ["--tuner=grid", "--workers"]),
        (["--replicas=2", "--folds=1"], ["--replicas=2", "--workers"]),
        (["--workers=0"], ["--workers=0", "positive"]),
    ],
)
def test_what_workers_cannot_do_is_refused_in_one_line(tmp_path, flags, words):
    given = ["search", "--data=wine", "--workers=2", *flags]
    check_refused(command_inside(*given, cwd=tmp_path), *words)
    assert list(tmp_path.iterdir()) == []


# Workers that search nothing: each does what a file of its number says, line by line.
PRETENDS = """
import json, os, signal, sys, time
part = json.loads(sys.stdin.buffer.readline())
plan = os.path.join(part["folder"], "plan")
lines = open(plan).read().split()
open(plan, "w").write(" ".join(lines[1:]))
what = lines[0]
print("first line", file=sys.stderr)
print("kerasreg: " + what, file=sys.stderr, flush=True)
if what == "waits":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(130))
    time.sleep(600)
if what == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
os._exit(int(what))
"""


@pytest.fixture
def pretending(tmp_path, monkeypatch):
    """Makes workers that do what is planned, one after the other; returns them and their notes."""
    monkeypatch.setattr(_worker_processes, "PROGRAM", PRETENDS)

    def make(*plan, left=lambda: None):
        (tmp_path / "plan").write_text(" ".join(plan))
        notes = []
        processes = Processes(str(tmp_path), {}, 1, lambda: None)
        workers = Workers(processes.start, lambda: 1, left, notes.append)
        workers.start()
        return workers, notes

    return make


def looked(workers):
    """Looks until none runs."""
    until = time.monotonic() + 60
    while workers.look():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_one_that_is_killed_is_started_anew_and_that_is_said(pretending):
    workers, notes = pretending("killed", "killed", "0")
    looked(workers)
    line = "worker 1 was ended by SIGKILL; its trials are taken over, and another one is started"
    assert notes == [line] * 2
    assert (workers.failures, workers.interrupted) == ([], False)


def test_one_that_dies_again_and_again_is_given_up(pretending, monkeypatch):
    monkeypatch.setattr(_workers, "_MOST_DEATHS", 2)
    workers, notes = pretending(*["killed"] * 4)
    looked(workers)
    assert len(notes) == 3
    assert notes[-1].endswith("It is the last of 3; no other one is started")
    assert workers.failures == ["3 workers died by SIGKILL, and no trial ended"]
    # Where trials end in between, they do not die of all that there is.
    workers, notes = pretending(*["killed"] * 4, "0")
    until = time.monotonic() + 60
    while workers.look():
        assert time.monotonic() < until
        workers.trial_ended()
        time.sleep(0.01)
    assert len(notes) == 4
    assert workers.failures == []


def test_one_that_dies_when_the_time_is_over_is_the_last(pretending):
    left = [1.0]
    workers, notes = pretending("killed", "0", left=lambda: left[0])
    left[0] = -1.0
    looked(workers)
    assert notes == [
        "worker 1 was ended by SIGKILL; its trials are taken over by the next search, as the time "
        "is over"
    ]


def test_one_that_fails_tells_why_and_is_not_started_anew(pretending):
    workers, notes = pretending("1", "0")
    looked(workers)
    assert notes == ["worker 1 has failed: kerasreg: 1"]
    assert workers.failures == ["kerasreg: 1"]


def test_one_that_was_told_to_end_is_not_started_anew(pretending):
    workers, notes = pretending("130", "0")
    looked(workers)
    assert notes == ["worker 1: 130"]
    assert (workers.failures, workers.interrupted) == ([], True)


def test_all_are_told_to_end(pretending, tmp_path):
    workers, _ = pretending("waits")
    begun = time.monotonic()
    while "waits" in (tmp_path / "plan").read_text():
        assert time.monotonic() < begun + 60
    workers.stop()
    assert not workers.look()


# --- Whole searches -------------------------------------------------------------------


def _lines(out):
    return re.findall(r"^trial (\d+/\d+):", out, re.MULTILINE)


def _children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(one) for one in file.read().split()]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The search by one worker."""
    path = tmp_path_factory.mktemp("alone")
    with started(*SEARCH, "--workers=1", cwd=path) as process:
        code, out, err = rest_of(process)
    assert (code, err) == (0, "")
    assert _lines(out) == [f"{number}/6" for number in range(1, 7)]
    return SearchFolder(path / "out")


@pytest.mark.long
def test_two_share_the_trials_and_one_of_them_is_killed(alone, tmp_path):
    with started(*SEARCH, "--workers=2", cwd=tmp_path) as process:
        printed = printed_until(process, "trial 1/6")
        os.kill(_children(process.pid)[0], signal.SIGKILL)
        code, out, err = rest_of(process)
    assert code == 0, err
    (line,) = err.splitlines()
    assert re.fullmatch(
        r"kerasreg: note: worker \d was ended by SIGKILL; its trials are taken over, and another "
        "one is started",
        line,
    )
    assert len(_lines(printed + out)) == 6
    check_same_search(SearchFolder(tmp_path / "out"), alone, 6)


@pytest.mark.long
def test_a_search_that_is_told_to_end_goes_on_with_more_workers(alone, tmp_path):
    with started(*SEARCH, "--workers=2", cwd=tmp_path) as process:
        printed = printed_until(process, "trial 1/6")
        workers = _children(process.pid)
        process.send_signal(signal.SIGTERM)
        code, out, err = rest_of(process)
    assert (code, err) == (130, "kerasreg: interrupted in the search; continue with --resume\n")
    assert not any(os.path.exists(f"/proc/{one}") for one in workers)
    done = len(_lines(printed + out))
    assert done < 6
    # No trial is left to a process that is gone.
    import optuna

    study = optuna.load_study(
        study_name="search", storage=f"sqlite:///{tmp_path}/out/search/study.db"
    )
    assert "RUNNING" not in {trial.state.name for trial in study.trials}
    with started(*RESUME, "--workers=3", cwd=tmp_path) as process:
        code, out, err = rest_of(process)
    assert (code, err) == (0, "")
    assert _lines(out)[-1] == "6/6"
    check_same_search(SearchFolder(tmp_path / "out"), alone, 6)


@pytest.mark.long
def test_a_worker_that_is_told_to_end_hands_its_trials_back_and_others_go_on(alone, tmp_path):
    with started(*SEARCH, "--workers=2", cwd=tmp_path) as process:
        printed_until(process, "trial 1/6")
        os.kill(_children(process.pid)[0], signal.SIGTERM)
        code, _, err = rest_of(process)
    assert code == 0, err
    (line,) = err.splitlines()
    assert re.fullmatch(
        r"kerasreg: note: worker \d: a worker was told to end; trials handed back: \d", line
    )
    check_same_search(SearchFolder(tmp_path / "out"), alone, 6)


@pytest.mark.long
def test_when_all_workers_are_told_to_end_the_search_is_interrupted(alone, tmp_path):
    with started(*SEARCH, "--workers=2", cwd=tmp_path) as process:
        printed_until(process, "trial 1/6")
        for worker in _children(process.pid):
            os.kill(worker, signal.SIGTERM)
        code, _, err = rest_of(process)
    assert code == 130, err
    *notes, last = err.splitlines()
    assert last == "kerasreg: the workers were told to end; continue with --resume"
    assert len(notes) == 2
    with started(*RESUME, "--workers=1", cwd=tmp_path) as process:
        code, _, err = rest_of(process)
    assert (code, err) == (0, "")
    check_same_search(SearchFolder(tmp_path / "out"), alone, 6)


@pytest.mark.slow
def test_three_workers_of_which_one_is_killed_every_five_seconds(tmp_path):
    draw, killed = random.Random(3), 0
    given = [*SEARCH, "--trials=40", "--workers=3"]
    with started(*given, cwd=tmp_path) as process:
        printed = threading.Thread(target=process.stdout.read)
        printed.start()
        until = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < until:
            time.sleep(5)
            if children := _children(process.pid):
                os.kill(draw.choice(children), signal.SIGKILL)
                killed += 1
        printed.join()
        assert process.wait(600) == 0
        notes = process.stderr.read().splitlines()
    # When all trials have ended, nobody is told of the last one.
    assert killed > 5
    assert killed - len(notes) in (0, 1)
    found = SearchFolder(tmp_path / "out")
    assert [trial["status"] for trial in found.trials] == ["COMPLETED"] * 40
    assert found.versions == [1]
    whole = [*SEARCH, "--trials=40", "--workers=1", "--output_dir=whole"]
    with started(*whole, cwd=tmp_path) as process:
        assert rest_of(process)[0] == 0
    check_same_search(found, SearchFolder(tmp_path / "whole"), 40)


@pytest.mark.long
def test_workers_end_when_the_process_is_gone_that_started_them(alone, tmp_path):
    with started(*SEARCH, "--workers=2", cwd=tmp_path) as process:
        printed_until(process, "trial 1/6")
        workers = _children(process.pid)
        process.kill()
        process.communicate()
    until = time.monotonic() + 60
    while any(os.path.exists(f"/proc/{one}") for one in workers):
        assert time.monotonic() < until
        time.sleep(0.1)
    with started(*RESUME, cwd=tmp_path) as process:
        code, _, err = rest_of(process)
    assert (code, err) == (0, "")
    check_same_search(SearchFolder(tmp_path / "out"), alone, 6)


@pytest.mark.long
def test_a_time_holds_for_all_together(tmp_path):
    given = [*SEARCH, "--trials=400", "--workers=2", "--time=20s"]
    with started(*given, cwd=tmp_path) as process:
        code, out, err = rest_of(process)
    assert (code, err) == (0, "")
    found = SearchFolder(tmp_path / "out")
    done = sum(trial["status"] == "COMPLETED" for trial in found.trials)
    assert 1 <= done < 400
    assert found.versions == [1]
    assert len(_lines(out)) == done


@pytest.mark.long
def test_a_search_of_one_process_has_no_study(tmp_path):
    short = ("search", "--data=wine", "--trials=1", "--epochs=1", "--folds=2", "--output_dir=out")
    assert command_inside(*short, cwd=tmp_path).code == 0
    done = command_inside(*RESUME, "--workers=2", cwd=tmp_path)
    check_refused(done, "--workers=2", "begun with --workers", "KerasTuner")
