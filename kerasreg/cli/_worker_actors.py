"""Workers that are actors of a Ray cluster, which places them and hands them the data.

Ray says where a worker runs, and brings the table from its object store, where it is put once.
Which trials there are, who runs them, and what became of them is in the study, as for workers that
are processes: an actor that is lost costs nothing but time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kerasreg._first_line import first_line
from kerasreg.cli._record import Cluster
from kerasreg.cli._worker import INTERRUPTED, Part, failed, left, take_part
from kerasreg.cli._worker_processes import thread_counts

# What `--ray` is for a cluster of this machine alone.
LOCAL = "local"
# An actor has a thread that searches, and one that is told to hand the trials back.
_THREADS = 2
# So long the machine of an address has to answer.
_SECONDS_TO_REACH = 10.0


class RayWorker:
    """What Ray makes an actor of: it takes part in a search."""

    def __init__(self) -> None:
        self._tuner: Any = None
        self._leaves = threading.Event()

    def place(self) -> str:
        """Tells where it is, as soon as there is a place for it."""
        return socket.gethostname()

    def search(self, part: Part, table: Any, host: str) -> str | None:
        """Searches until no trial is left; returns why that failed, in a line, or None.

        Args:
            part: what is to be done.
            table: the data.
            host: the machine that has the folder of the search.
        """
        try:
            with _folder_here(part, host) as folder:
                take_part(dataclasses.replace(part, folder=folder), self._begins, table)
        except Exception as error:
            return failed(error)
        return None

    def _begins(self, tuner: Any) -> None:
        self._tuner = tuner
        if self._leaves.is_set():
            raise RuntimeError("it was told to end before it began")

    def leave(self) -> int:
        """Hands the trials back; returns how many they are."""
        self._leaves.set()
        return 0 if self._tuner is None else self._tuner.oracle.hand_back()


@contextlib.contextmanager
def _folder_here(part: Part, host: str) -> Iterator[str]:
    """The folder of the search, or on another machine than its own one for the while.

    Raises:
        ValueError: if what the folder has of the search is nowhere else.
    """
    if socket.gethostname() == host and os.path.exists(part.folder):
        yield part.folder
    elif part.shared.get("storage") is None:
        # A file of SQLite is for one machine, also where others see it.
        raise ValueError(
            f"the search is on {host} alone, and not on {socket.gethostname()}: several machines "
            "need --storage and --artifacts"
        )
    else:
        with tempfile.TemporaryDirectory(prefix="kerasreg-") as folder:
            yield folder


class WorkerActor:
    """A worker that is an actor of a Ray cluster.

    Args:
        ray: the module.
        actor: the actor.
        found: what its search will return.
    """

    def __init__(self, ray: Any, actor: Any, found: Any) -> None:
        self._ray, self._actor, self._found = ray, actor, found
        self._place = actor.place.remote()
        self._leaving: Any = None
        self._code: int | None = None
        self._line = "it said nothing"

    def code(self) -> int | None:
        """The exit code that a process would have, or None while it runs."""
        if self._code is None and self._leaving is not None and self._is_there(self._leaving):
            self._code = self._left()
        if self._code is None and self._is_there(self._found):
            self._code = self._ended()
        return self._code

    def _is_there(self, reference: Any) -> bool:
        return bool(self._ray.wait([reference], timeout=0)[0])

    def _left(self) -> int:
        with contextlib.suppress(self._ray.exceptions.RayError):
            handed_back = self._ray.get(self._leaving)
            self._line = left(handed_back)
        return INTERRUPTED

    def _ended(self) -> int:
        try:
            failure = self._ray.get(self._found)
        except self._ray.exceptions.RayActorError:
            return -signal.SIGKILL.value  # The actor is gone, or its machine.
        except self._ray.exceptions.RayError as error:
            self._line = str(error).strip().splitlines()[-1]
            return 1
        if failure is not None:
            self._line = failure
        return 0 if failure is None else 1

    def last_line(self) -> str:
        """Why it has failed, or that it was told to end."""
        return self._line

    def waits(self) -> bool:
        """Whether the cluster has no place for it yet."""
        return not self._is_there(self._place)

    def leave(self) -> None:
        """Tells it to hand its trials back, and to end."""
        self._leaving = self._actor.leave.remote()

    def kill(self) -> None:
        """Ends it at once."""
        self._ray.kill(self._actor)

    def close(self) -> None:
        """Ends the actor, which waits for others to search when its search has ended."""
        self._ray.kill(self._actor)


class Actors:
    """Starts workers in a Ray cluster.

    As many as there is place for, of one GPU each, or of one core where the cluster has no GPU;
    those of machines that join later are started then. With a number there are that many, each
    of an equal part of the cluster; those for which there is no place yet wait for machines.

    Args:
        ray: the module, connected to the cluster.
        cluster: the cluster; of the address `"local"` it is made for this search.
        folder: the folder of the search.
        record: what the search is of.
        table: the data.
        left: tells the seconds that are left to the search; None for no limit.
        shared: where the trials of several machines are.
    """

    def __init__(
        self,
        ray: Any,
        cluster: Cluster,
        folder: str,
        record: Mapping[str, Any],
        table: Any,
        left: Callable[[], float | None],
        shared: Mapping[str, Any],
    ) -> None:
        self._ray = ray
        self._folder, self._record, self._workers = folder, record, cluster.workers
        self._left, self._shared = left, shared
        self._table = self._ray.put(table)

    def count(self) -> int:
        """How many workers there are to be."""
        if self._workers is not None:
            return self._workers
        there = self._ray.cluster_resources()
        return max(1, int(there.get("GPU", 0) or there.get("CPU", 1)))

    def _part_of_one(self, workers: int) -> tuple[float, float]:
        """The cores and the GPUs of a worker: whole cores, and whole GPUs or a part of one."""
        there = self._ray.cluster_resources()
        cores, gpus = there.get("CPU", 1), there.get("GPU", 0)
        of_gpu = gpus / workers
        return max(1.0, cores // workers), float(int(of_gpu)) if of_gpu >= 1 else of_gpu

    def _on_one_machine(self, workers: int, cores: float) -> int:
        """How many workers at most a machine of the cluster has, which share its memory."""
        nodes = [one["Resources"].get("CPU", 1) for one in self._ray.nodes() if one["Alive"]]
        return max(1, min(workers, int(max(nodes, default=1) // cores)))

    def start(self, number: int) -> WorkerActor:
        """Starts the worker of a number, from 0."""
        workers = self.count()
        cores, gpus = self._part_of_one(workers)
        actor = (
            self._ray.remote(RayWorker)
            .options(
                num_cpus=cores,
                num_gpus=gpus,
                max_concurrency=_THREADS,
                # Whoever watches starts another one, and says so.
                max_restarts=0,
                runtime_env={"env_vars": thread_counts(int(cores))},
            )
            .remote()
        )
        part = Part(
            os.path.abspath(self._folder),
            self._record,
            self._on_one_machine(workers, cores),
            (),
            self._left(),
            self._shared,
            workers,
        )
        found = actor.search.remote(part, self._table, socket.gethostname())
        return WorkerActor(self._ray, actor, found)

    def close(self) -> None:
        """Leaves the cluster; one that was made for this search ends."""
        self._ray.shutdown()


def connected(address: str) -> Any:
    """The module of Ray, connected to a cluster.

    Args:
        address: the address of the cluster; `"auto"` for that of this machine, `"local"` for one
            that is made now.

    Raises:
        ValueError: if there is no such cluster.
    """
    import ray

    given: dict[str, Any] = {"address": None if address == LOCAL else address}
    if address == LOCAL:
        given |= {"include_dashboard": False}
    with _own_signals():
        try:
            _reach(address)
            ray.init(log_to_driver=False, logging_level="ERROR", namespace="kerasreg", **given)
        except (OSError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"--ray={address} must be the address of a Ray cluster that runs (`ray start "
                f"--head` starts one), or {LOCAL!r}. {first_line(error)}"
            ) from error
    return ray


def _reach(address: str) -> None:
    """Raises an `OSError` where nobody listens: Ray itself tries for minutes."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_SECONDS_TO_REACH).close()


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keeps Ray from taking the signals that the command knows what to do with."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
