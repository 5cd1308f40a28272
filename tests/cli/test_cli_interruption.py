"""`kerasreg search` in one process that is told to end, by SIGTERM or Ctrl-C, in each phase."""

import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
from helpers.commands import SearchFolder, command_inside, python

from kerasreg.cli._interruption import Interruption

PROGRAM = os.path.join(os.path.dirname(__file__), "interrupted_program.py")
SEARCH = ("search", "--data=diabetes", "--trials=3", "--epochs=4", "--folds=3", "--lanes=3",
          "--seed=5", "--retrain=1", "--output_dir=out")  # fmt: skip
RESUME = ("search", "--resume", "--output_dir=out")
GO_ON = "; continue with --resume\n"


def told_to_end(moment, number, *arguments, cwd):
    """What a process does that gets a signal at a moment."""
    done = python(PROGRAM, moment, str(int(number)), *arguments, cwd=cwd)
    assert done.code == 130, done.err
    return done


# Of the trainings of lanes, the first is that of the search, the second that of the baseline, and
# the third that of the members; what is done is not done again.
MOMENTS = (
    ("1.2", "in the search, after 0 of 3 trials, 1 goes on from a checkpoint"),
    ("1.5", "in the search, after 1 of 3 trials, 1 goes on from a checkpoint"),
    ("2.2", "in the training of the baseline, 1 goes on from a checkpoint"),
    ("2.1", "in the training of the members, {} from a checkpoint"),
    ("choice", "in the making of the ensemble"),
    ("export", "in the export"),
    ("report", "in the report"),
)


@pytest.mark.long
def test_a_search_that_is_told_to_end_in_each_phase_ends_as_one_that_is_not(tmp_path):
    (tmp_path / "whole").mkdir()
    whole = python("-m", "kerasreg", *SEARCH, cwd=tmp_path / "whole")
    assert whole.code == 0, whole.err
    signals = [signal.SIGTERM, signal.SIGINT] * 4
    before = told_to_end("data", signals.pop(), *SEARCH, cwd=tmp_path)
    assert before.err == "kerasreg: interrupted before the search began; start it again\n"
    assert not (tmp_path / "out").exists()
    arguments = SEARCH
    for moment, where in MOMENTS:
        done = told_to_end(moment, signals.pop(), *arguments, cwd=tmp_path)
        found = re.fullmatch(r"kerasreg: interrupted (.*)" + GO_ON, done.err)
        assert found, done.err
        pattern = re.escape(where).replace(re.escape("{}"), r"\d (goes|go) on")
        assert re.fullmatch(pattern, found[1]), done.err
        arguments = RESUME
    resumed = told_to_end("data", signal.SIGTERM, *RESUME, cwd=tmp_path)
    assert resumed.err == "kerasreg: interrupted before the search began" + GO_ON
    last = python("-m", "kerasreg", *RESUME, cwd=tmp_path)
    assert (last.code, last.err) == (0, "")
    assert not re.findall(r"^trial ", last.out, re.MULTILINE)
    check_same_end(SearchFolder(tmp_path / "out"), SearchFolder(tmp_path / "whole" / "out"))


def check_same_end(where, whole):
    assert [trial["status"] for trial in where.trials] == ["COMPLETED"] * 3
    for one, other in zip(where.trials, whole.trials, strict=True):
        assert one["hyperparameters"]["values"] == other["hyperparameters"]["values"]
        assert one["score"] == pytest.approx(other["score"], rel=1e-5)
    for model in ("baseline", "winner", "ensemble"):
        assert where.report["test"][model] == pytest.approx(whole.report["test"][model], rel=1e-4)
    mine, theirs = where.report["ensemble"], whole.report["ensemble"]
    assert [row["trial_id"] for row in mine["rows"]] == [row["trial_id"] for row in theirs["rows"]]
    assert mine["expected_score"] == pytest.approx(theirs["expected_score"], rel=1e-4)
    assert not list(where.path.rglob("checkpoint-*"))


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(number, tmp_path):
    arguments = [PROGRAM, "1.1.stays", str(int(number)), *SEARCH]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [sys.executable, *arguments],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            said = process.stderr.readline()
            assert "a second signal ends it at once" in said
            process.send_signal(number)
            assert process.wait(10) == 130
            assert process.stderr.read() == "kerasreg: interrupted in the search" + GO_ON
        finally:
            process.kill()
    done = command_inside(*RESUME, cwd=tmp_path)
    assert done.code == 0, done.err
    assert len(SearchFolder(tmp_path / "out").trials) == 3


def interruption(**given):
    given = {"stop": lambda: False, "leave": lambda: None, "line": lambda: "ended", **given}
    return Interruption(**given)


def test_handlers_are_as_they_were_when_it_is_over():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    fd = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(fd)
    threads = threading.active_count()
    with interruption():
        assert signal.getsignal(signal.SIGTERM) not in before
        assert threading.active_count() == threads + 1
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    assert signal.set_wakeup_fd(fd) == fd
    assert threading.active_count() == threads


def test_what_runs_is_asked_to_stop_as_long_as_it_runs():
    asked = []

    def stop():
        asked.append(time.monotonic())
        return True

    with interruption(stop=stop):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # By who started it, which is the same one.
        until = time.monotonic() + 20
        while len(asked) < 3 and time.monotonic() < until:
            time.sleep(0.01)
    assert len(asked) >= 3
