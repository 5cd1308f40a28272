"""Processes that search in one study: each trial counts once, also when some of them are killed."""

import os
import signal

import pytest
from helpers.processes import needs_fork, run_program

PROGRAM = os.path.join(os.path.dirname(__file__), "study_program.py")

pytestmark = [pytest.mark.long, needs_fork]


def check(found, trials):
    """Every trial is there once, has ended, and nothing else was counted."""
    assert found["last"] == "STOPPED"
    assert len(found["trials"]) == trials
    assert {status for status, _, _ in found["trials"].values()} == {"COMPLETED"}
    assert found["states"].count("COMPLETE") == trials
    assert set(found["states"]) <= {"COMPLETE", "FAIL", "WAITING"}
    assert set(found["codes"]) <= {0, -signal.SIGKILL}


@pytest.mark.parametrize("storage", ["sqlite", "journal"])
def test_two_share_the_trials(storage, tmp_path):
    found = run_program(PROGRAM, "black_box", storage, 2, 40, 0, 1, tmp_path)
    check(found, 40)
    assert found["codes"] == [0, 0]
    # Without kills no trial is run twice.
    begun = [line for line in found["runs"] if line.endswith("begins")]
    assert len(begun) == len(set(begun)) == 40


@pytest.mark.parametrize(
    ("storage", "processes", "kills"),
    [("sqlite", 1, 12), ("sqlite", 3, 25), ("journal", 3, 12)],
)
def test_killed_ones_lose_no_trial(storage, processes, kills, tmp_path):
    found = run_program(PROGRAM, "black_box", storage, processes, 60, kills, 5, tmp_path)
    check(found, 60)
    assert found["killed"] > kills // 2
    ended = [line for line in found["runs"] if line.endswith("ends")]
    assert len(set(ended)) == 60
    # The settings of trials that were tried again are those that they had.
    whole = run_program(PROGRAM, "black_box", storage, 1, 60, 0, 5, tmp_path / "whole")
    drawn = {trial: values for trial, (_, values, _) in whole["trials"].items()}
    other = [
        of for of, (_, values, _) in found["trials"].items() if values != drawn.get(of, values)
    ]
    # Also where a process was killed while it drew them.
    assert other == []


def test_lanes_of_two_processes_of_which_some_are_killed(tmp_path):
    found = run_program(PROGRAM, "lanes", "sqlite", 2, 18, 3, 2, tmp_path)
    check(found, 18)
    # In one folder, all weights are there for all.
    assert found["weights"] == [2] * 18
