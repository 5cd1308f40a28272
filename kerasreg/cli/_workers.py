"""The workers of one machine: started, watched, started anew when they die, told to end."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from kerasreg.cli._worker import INTERRUPTED, PROGRAM, Part

# When so many have died and no trial has ended, another one would not help: the trials during which
# so many died have failed by then.
_MOST_DEATHS = 12
# So long workers have to hand their trials back, and to end when no trial is left.
_SECONDS_TO_LEAVE = 30.0
_SECONDS_TO_END = 120.0


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


def environment(number: int, threads: int, gpus: Sequence[str]) -> dict[str, str]:
    """What the environment of a worker has besides that of this process.

    Args:
        number: the number of the worker, from 0.
        threads: how many threads it is to compute with.
        gpus: the GPUs as CUDA names them.
    """
    found = {
        name: str(threads)
        for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "OPENBLAS_NUM_THREADS")
    }
    if gpus:
        found["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
        # Several workers may have one GPU, and this process one of theirs.
        found["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    return found


@dataclasses.dataclass
class _Running:
    """A worker that runs.

    Attributes:
        process: its process.
        errors: the file that has what it wrote of errors.
    """

    process: subprocess.Popen[bytes]
    errors: IO[bytes]

    @property
    def last_line(self) -> str:
        """What it said last."""
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


class Workers:
    """The workers of this machine.

    Args:
        folder: the folder of the search.
        record: what the search is of.
        count: how many workers there are.
        left: tells the seconds that are left to the search; None for no limit.
        note: takes a line that the user has to know.
        gpus: the GPUs of this machine, as CUDA names them.
        shared: where the trials of several machines are.
    """

    def __init__(
        self,
        folder: str,
        record: Mapping[str, Any],
        count: int,
        left: Callable[[], float | None],
        note: Callable[[str], None],
        gpus: Sequence[str] = (),
        shared: Mapping[str, Any] | None = None,
    ) -> None:
        self._shared = dict(shared or {})
        self._folder, self._record, self._count = folder, record, count
        self._left, self._note, self._gpus = left, note, gpus
        there = hasattr(os, "sched_getaffinity")
        cores = sorted(os.sched_getaffinity(0)) if there else list(range(os.cpu_count() or 1))
        self._cores = shares(cores, count)
        self._threads = max(1, len(cores) // count)
        self._running: dict[int, _Running] = {}
        self._deaths = 0  # Since a trial has ended.
        self.failures: list[str] = []
        self.interrupted = False

    def start(self) -> None:
        """Starts all of them, if there is time."""
        left = self._left()
        if left is not None and left <= 0:
            return
        for number in range(self._count):
            self._start(number)

    def _start(self, number: int) -> None:
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
        self._running[number] = _Running(process, errors)
        assert process.stdin is not None
        # One that has died already is seen when it is looked at.
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(dataclasses.asdict(part)).encode() + b"\n")
            process.stdin.flush()

    def trial_ended(self) -> None:
        """A trial has ended: those who died before did not die of all that there is."""
        self._deaths = 0

    def look(self) -> bool:
        """Looks who has ended, and starts anew who died; does one run?"""
        for number, running in list(self._running.items()):
            code = running.process.poll()
            if code is None:
                continue
            del self._running[number]
            self._ended(number, code, running)
        return bool(self._running)

    def _ended(self, number: int, code: int, running: _Running) -> None:
        with running.errors:
            if code == INTERRUPTED:
                self.interrupted = True
                self._note(f"worker {number + 1}: {running.last_line.removeprefix('kerasreg: ')}")
            elif code > 0:
                self.failures.append(running.last_line)
                self._note(f"worker {number + 1} has failed: {running.last_line}")
            elif code < 0:
                self._died(number, signal.Signals(-code).name)
        if running.process.stdin is not None:
            running.process.stdin.close()

    def _died(self, number: int, by: str) -> None:
        self._deaths += 1
        left = self._left()
        line = f"worker {number + 1} was ended by {by}; its trials are taken over"
        if self._deaths > _MOST_DEATHS:
            self.failures.append(f"{self._deaths} workers died by {by}, and no trial ended")
            self._note(f"{line}. It is the last of {self._deaths}; no other one is started")
        elif left is not None and left <= 0:
            self._note(f"{line} by the next search, as the time is over")
        else:
            self._note(f"{line}, and another one is started")
            self._start(number)

    def wait(self) -> None:
        """Waits until all have ended, when no trial is left."""
        self._wait(_SECONDS_TO_END)

    def stop(self) -> None:
        """Tells all to hand their trials back and to end, and waits for that."""
        for running in self._running.values():
            if running.process.poll() is None:
                running.process.terminate()
        self._wait(_SECONDS_TO_LEAVE)

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while any(one.process.poll() is None for one in self._running.values()):
            if time.monotonic() > until:
                for running in self._running.values():
                    running.process.kill()
            time.sleep(0.05)
        self._running.clear()
