"""`kerasreg search --ray`: the same search by actors of a Ray cluster, on this machine."""

import contextlib
import os
import re
import signal
import socket
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

from kerasreg.cli import _worker_actors
from kerasreg.cli._worker import Part

ray = pytest.importorskip("ray")

SEARCH = ("search", "--data=diabetes", "--trials=6", "--epochs=2", "--folds=3", "--seed=5",
          "--lanes=3", "--output_dir=out")  # fmt: skip
# Ray's processes take a while, and the first one of all the longest.
_HANGS = 300


def _actors(address=""):
    """The processes of actors, as Ray names them."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline") as file:
            if file.read().startswith("ray::RayWorker"):
                found.append(int(pid))
    return found


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The search by one process."""
    path = tmp_path_factory.mktemp("alone")
    with started(*SEARCH, "--workers=1", cwd=path) as process:
        code, _, err = rest_of(process)
    assert (code, err) == (0, "")
    return SearchFolder(path / "out")


def test_where_no_cluster_runs_that_is_said_in_one_line(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    done = command_inside("search", "--data=wine", "--ray=127.0.0.1:1", cwd=tmp_path)
    check_refused(done, "--ray=127.0.0.1:1", "ray start --head", "'local'")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--tuner=grid"], ["--tuner=grid", "random, bayesian"]),
        (["--replicas=2", "--folds=1"], ["--replicas=2"]),
        (["--ray="], ["--ray"]),
    ],
)
def test_what_actors_cannot_do_is_refused_in_one_line(tmp_path, flags, words):
    check_refused(
        command_inside("search", "--data=wine", "--ray=local", *flags, cwd=tmp_path), *words
    )
    assert list(tmp_path.iterdir()) == []


def test_a_machine_without_the_folder_needs_places_that_all_reach(tmp_path):
    part, here = Part(str(tmp_path), {}, 1), socket.gethostname()
    with _worker_actors._folder_here(part, here) as folder:
        assert folder == str(tmp_path)
    with (
        pytest.raises(ValueError, match=r"on another alone, .* need --storage and --artifacts"),
        _worker_actors._folder_here(part, "another"),
    ):
        pass
    shared = {"storage": "postgresql://x", "artifacts": "s3://y"}
    part = Part(str(tmp_path), {}, 1, shared=shared)
    with _worker_actors._folder_here(part, "another") as folder:
        assert folder != str(tmp_path)
        assert os.path.isdir(folder)
    assert not os.path.exists(folder)


def test_why_a_search_failed_is_told():
    worker = _worker_actors.RayWorker()
    failure = worker.search(Part("/nowhere", {}, 1), None, "another")
    assert failure.startswith("ValueError: the search is on another alone")
    assert worker.leave() == 0


@pytest.mark.long
def test_two_actors_share_the_trials_and_one_of_them_is_killed(alone, tmp_path):
    with started(*SEARCH, "--ray=local", "--workers=2", cwd=tmp_path) as process:
        printed_until(process, "trial 1/6")
        os.kill(_actors()[0], signal.SIGKILL)
        code, _, err = rest_of(process)
    assert code == 0, err
    assert re.fullmatch(
        r"kerasreg: note: worker \d was ended by SIGKILL; its trials are taken over, and another "
        r"one is started\n",
        err,
    )
    check_same_search(SearchFolder(tmp_path / "out"), alone, 6)
    assert _actors() == []


@pytest.mark.long
def test_a_search_that_is_told_to_end_goes_on_without_ray(alone, tmp_path):
    with started(*SEARCH, "--ray=local", "--workers=1", cwd=tmp_path) as process:
        printed_until(process, "trial 1/6")
        process.send_signal(signal.SIGTERM)
        code, _, err = rest_of(process)
    assert (code, err) == (130, "kerasreg: interrupted in the search; continue with --resume\n")
    import optuna

    study = optuna.load_study(
        study_name="search", storage=f"sqlite:///{tmp_path}/out/search/study.db"
    )
    assert "RUNNING" not in {trial.state.name for trial in study.trials}
    done = command_inside("search", "--resume", "--output_dir=out", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    check_same_search(SearchFolder(tmp_path / "out"), alone, 6)


@pytest.mark.long
def test_a_node_joins_late_and_another_one_is_removed(alone, tmp_path):
    from ray.cluster_utils import Cluster

    # The head has no place for a worker.
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        first = cluster.add_node(num_cpus=1)
        flags = ("--ray=" + cluster.address, "--trials=80")
        with started(*SEARCH, *flags, cwd=tmp_path) as process:
            printed_until(process, "trial 1/80")
            assert len(_actors()) == 1
            cluster.add_node(num_cpus=1)
            until = time.monotonic() + _HANGS
            while len(_actors()) < 2:
                assert time.monotonic() < until
                assert process.poll() is None
                time.sleep(0.1)
            cluster.remove_node(first, allow_graceful=False)
            code, _, err = rest_of(process)
        assert code == 0, err
        # Ray may count the node for a while, and then has no place for the one that was started.
        assert re.fullmatch(r"(kerasreg: note: worker 1 was ended by SIGKILL; .*\n){1,2}", err)
    finally:
        cluster.shutdown()
    found = SearchFolder(tmp_path / "out")
    assert [trial["status"] for trial in found.trials] == ["COMPLETED"] * 80
    # The first of them are those of the shorter search.
    for one, other in zip(found.trials, alone.trials, strict=False):
        assert one["hyperparameters"]["values"] == other["hyperparameters"]["values"]
        assert one["score"] == pytest.approx(other["score"], rel=1e-4)
