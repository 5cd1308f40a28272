"""Workers that are processes of this machine, which share its cores and its GPUs."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from kerasreg.cli._worker import PROGRAM, Part


def shares(cores: Sequence[int], workers: int) -> list[list[int]]:
    """Which cores each worker has; of fewer cores than workers all have all.

    Args:
        cores: the numbers of the cores.
        workers: how many workers there are.
    """
    if len(cores) < workers:
        return [list(cores)] * workers
    ends = [len(cores) * number // workers for number in range(workers + 1)]
    return [list(cores[begin:end]) for begin, end in itertools.pairwise(ends)]


def thread_counts(threads: int) -> dict[str, str]:
    """What tells the libraries of a process with how many threads to compute.

    Args:
        threads: how many.
    """
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "OPENBLAS_NUM_THREADS")
    return dict.fromkeys(names, str(threads))


def environment(number: int, threads: int, gpus: Sequence[str]) -> dict[str, str]:
    """What the environment of a worker has besides that of this process.

    Args:
        number: the number of the worker, from 0.
        threads: how many threads it is to compute with.
        gpus: the GPUs as CUDA names them.
    """
    found = thread_counts(threads)
    if gpus:
        found["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
        # Several workers may have one GPU, and this process one of theirs.
        found["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    return found


@dataclasses.dataclass
class WorkerProcess:
    """A worker that is a process of this machine.

    Attributes:
        process: the process.
        errors: the file that has what it wrote of errors.
    """

    process: subprocess.Popen[bytes]
    errors: IO[bytes]

    def code(self) -> int | None:
        """The exit code, or None while it runs."""
        return self.process.poll()

    def last_line(self) -> str:
        """What it said last."""
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def waits(self) -> bool:
        """Whether there is no place for it yet: there is always one on this machine."""
        return False

    def leave(self) -> None:
        """Tells it to hand its trials back, and to end."""
        self.process.terminate()

    def kill(self) -> None:
        """Ends it at once."""
        self.process.kill()

    def close(self) -> None:
        """Closes the files that it had."""
        self.errors.close()
        if self.process.stdin is not None:
            self.process.stdin.close()


class Processes:
    """Starts the workers of this machine.

    Args:
        folder: the folder of the search.
        record: what the search is of.
        count: how many workers there are.
        left: tells the seconds that are left to the search; None for no limit.
        gpus: the GPUs of this machine, as CUDA names them.
        shared: where the trials of several machines are.
    """

    def __init__(
        self,
        folder: str,
        record: Mapping[str, Any],
        count: int,
        left: Callable[[], float | None],
        gpus: Sequence[str] = (),
        shared: Mapping[str, Any] | None = None,
    ) -> None:
        self._shared = dict(shared or {})
        self._folder, self._record, self._count = folder, record, count
        self._left, self._gpus = left, gpus
        there = hasattr(os, "sched_getaffinity")
        cores = sorted(os.sched_getaffinity(0)) if there else list(range(os.cpu_count() or 1))
        self._cores = shares(cores, count)
        self._threads = max(1, len(cores) // count)

    def start(self, number: int) -> WorkerProcess:
        """Starts the worker of a number, from 0."""
        errors = tempfile.TemporaryFile()  # noqa: SIM115
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, **environment(number, self._threads, self._gpus)},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        part = Part(
            os.path.abspath(self._folder),
            self._record,
            self._count,
            self._cores[number],
            self._left(),
            self._shared,
        )
        assert process.stdin is not None
        # One that has died already is seen when it is looked at.
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(dataclasses.asdict(part)).encode() + b"\n")
            process.stdin.flush()
        return WorkerProcess(process, errors)
