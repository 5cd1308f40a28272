"""Processes that search in one study: each trial counts once, also when some of them are killed."""

import os
import signal
import threading
import time

import pytest
from helpers.processes import needs_fork, run_program

PROGRAM = os.path.join(os.path.dirname(__file__), "study_program.py")

pytestmark = needs_fork


def check(found, trials):
    """Every trial is there once, has ended, and nothing else was counted."""
    assert found["last"] == "STOPPED"
    assert len(found["trials"]) == trials
    assert {status for status, _, _ in found["trials"].values()} == {"COMPLETED"}
    assert found["states"].count("COMPLETE") == trials
    assert set(found["states"]) <= {"COMPLETE", "FAIL", "WAITING"}
    assert set(found["codes"]) <= {0, -signal.SIGKILL}


def same_settings(found, whole):
    """The trials of a search whose processes were killed have the settings of one without kills."""
    drawn, disturbed = (
        [values for _, (_, values, _) in sorted(of["trials"].items())] for of in (whole, found)
    )
    assert disturbed == drawn


@pytest.mark.long
@pytest.mark.parametrize("storage", ["sqlite", "journal"])
def test_two_share_the_trials(storage, tmp_path):
    found = run_program(PROGRAM, "black_box", storage, 2, 40, 0, 1, tmp_path)
    check(found, 40)
    assert found["codes"] == [0, 0]
    # Without kills no trial is run twice.
    begun = [line for line in found["runs"] if line.endswith("begins")]
    assert len(begun) == len(set(begun)) == 40


@pytest.mark.long
@pytest.mark.parametrize(
    ("storage", "processes", "kills"),
    [("sqlite", 1, 12), ("sqlite", 3, 25), ("journal", 3, 12)],
)
def test_killed_ones_lose_no_trial(storage, processes, kills, tmp_path):
    found = run_program(PROGRAM, "black_box", storage, processes, 60, kills, 5, tmp_path)
    check(found, 60)
    # A machine that is slow to start processes kills fewer before the trials have ended.
    assert found["killed"] >= kills // 4
    ended = [line for line in found["runs"] if line.endswith("ends")]
    assert len(set(ended)) == 60
    whole = run_program(PROGRAM, "black_box", storage, 1, 60, 0, 5, tmp_path / "whole")
    same_settings(found, whole)


@pytest.mark.chaos
@pytest.mark.parametrize("processes", [1, 3])
def test_fifty_kills_at_random_moments(processes, tmp_path, monkeypatch):
    monkeypatch.setenv("STUDY_NAP", "0.1")
    trials = 100 * processes
    found = run_program(PROGRAM, "black_box", "sqlite", processes, trials, 50, 5, tmp_path)
    check(found, trials)
    assert found["killed"] > 40
    monkeypatch.setenv("STUDY_NAP", "0")
    whole = run_program(PROGRAM, "black_box", "sqlite", 3, trials, 0, 5, tmp_path / "whole")
    same_settings(found, whole)


def chaos(postgres, folder, trials, every, lasts, restart_after, monkeypatch):
    """Three processes, of which one is killed every few seconds, and a server that restarts."""
    monkeypatch.setenv("STUDY_NAP", "0.5")

    restarted = threading.Event()

    def restart():
        until = time.monotonic() + 100
        while not (folder / "runs").exists() and time.monotonic() < until:
            time.sleep(0.1)
        time.sleep(restart_after)
        postgres.stop()
        if not ended.is_set():
            restarted.set()
        postgres.start()

    ended = threading.Event()
    folder.mkdir()
    thread = threading.Thread(target=restart)
    thread.start()
    kills = f"{every}x{lasts}"
    try:
        found = run_program(PROGRAM, "black_box", postgres.url, 3, trials, kills, 5, folder)
    finally:
        ended.set()
        thread.join()
    check(found, trials)
    assert restarted.is_set()
    return found


@pytest.mark.long
def test_a_server_that_is_started_again_and_processes_that_are_killed(
    postgres, tmp_path, monkeypatch
):
    found = chaos(postgres, tmp_path / "short", 40, 3, 12, 4.0, monkeypatch)
    assert found["killed"] >= 2


@pytest.mark.chaos
def test_three_minutes_of_kills_and_a_server_that_is_started_again(postgres, tmp_path, monkeypatch):
    url = postgres.url
    found = chaos(postgres, tmp_path / "chaos", 700, 5, 180, 90.0, monkeypatch)
    assert found["killed"] >= 25
    monkeypatch.setenv("STUDY_NAP", "0")
    whole = run_program(PROGRAM, "black_box", "sqlite", 3, 700, 0, 5, tmp_path / "whole")
    same_settings(found, whole)
    assert url == postgres.url


@pytest.mark.long
def test_lanes_of_two_processes_of_which_some_are_killed(tmp_path):
    found = run_program(PROGRAM, "lanes", "sqlite", 2, 18, 3, 2, tmp_path)
    check(found, 18)
    # In one folder, all weights are there for all.
    assert found["weights"] == [2] * 18
