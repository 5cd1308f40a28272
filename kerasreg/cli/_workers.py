"""Workers, wherever they are: started, watched, started anew when they die, told to end."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Protocol

from kerasreg.cli._worker import INTERRUPTED

# When so many have died and no trial has ended, another one would not help: the trials during which
# so many died have failed by then.
_MOST_DEATHS = 12
# So long workers have to hand their trials back, and to end when no trial is left.
_SECONDS_TO_LEAVE = 30.0
_SECONDS_TO_END = 120.0


class Worker(Protocol):
    """A worker that was started."""

    def code(self) -> int | None:
        """The exit code; None while it runs, that of a signal below 0 where it was killed."""

    def last_line(self) -> str:
        """What it said last, when it has ended."""

    def waits(self) -> bool:
        """Whether there is no place for it yet."""

    def leave(self) -> None:
        """Tells it to hand its trials back, and to end."""

    def kill(self) -> None:
        """Ends it at once."""

    def close(self) -> None:
        """Gives back what was needed to watch it."""


class Workers:
    """Workers that are started, watched, and started anew when they die.

    Args:
        start: starts the worker of a number, from 0.
        count: tells how many there are to be, which may change while they search.
        left: tells the seconds that are left to the search; None for no limit.
        note: takes a line that the user has to know.
        close: gives back, when all have ended, what was needed to start them.
    """

    def __init__(
        self,
        start: Callable[[int], Worker],
        count: Callable[[], int],
        left: Callable[[], float | None],
        note: Callable[[str], None],
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._start_one, self._count, self._left, self._note = start, count, left, note
        self._close = close
        self._running: dict[int, Worker] = {}
        self._is_over = False
        self._gone = 0  # Those that have ended, or are given up.
        self._deaths = 0  # Since a trial has ended.
        self.failures: list[str] = []
        self.interrupted = False

    def start(self) -> None:
        """Starts those that are not there, if there is time."""
        if self._is_over or not self._has_time():
            return
        while len(self._running) < self._count() - self._gone:
            number = min(set(range(len(self._running) + 1)) - self._running.keys())
            self._running[number] = self._start_one(number)

    def _has_time(self) -> bool:
        left = self._left()
        return left is None or left > 0

    def trial_ended(self) -> None:
        """A trial has ended: those who died before did not die of all that there is."""
        self._deaths = 0

    def look(self) -> bool:
        """Looks who has ended, and starts anew who died, and who may join; does one run?"""
        for number, worker in list(self._running.items()):
            code = worker.code()
            if code is None:
                continue
            del self._running[number]
            if code < 0:
                self._died(number, signal.Signals(-code).name)
            else:
                self._ended(number, code, worker)
            worker.close()
        # When one has ended as it should, others would find nothing to do.
        self.start()
        return bool(self._running)

    def _ended(self, number: int, code: int, worker: Worker) -> None:
        self._gone += 1
        if code == INTERRUPTED:
            self.interrupted = True
            self._note(f"worker {number + 1}: {worker.last_line().removeprefix('kerasreg: ')}")
        elif code > 0:
            self.failures.append(worker.last_line())
            self._note(f"worker {number + 1} has failed: {self.failures[-1]}")

    def _died(self, number: int, by: str) -> None:
        self._deaths += 1
        line = f"worker {number + 1} was ended by {by}; its trials are taken over"
        if self._deaths > _MOST_DEATHS:
            self._gone += 1
            self.failures.append(f"{self._deaths} workers died by {by}, and no trial ended")
            self._note(f"{line}. It is the last of {self._deaths}; no other one is started")
        elif not self._has_time():
            self._note(f"{line} by the next search, as the time is over")
        elif len(self._running) < self._count() - self._gone:
            self._note(f"{line}, and another one is started")
        else:  # With the machine on which it was.
            self._note(line)

    def wait(self) -> None:
        """Waits until all have ended, when no trial is left."""
        self._wait(_SECONDS_TO_END)

    def stop(self) -> None:
        """Tells all to hand their trials back and to end, and waits for that."""
        for worker in self._running.values():
            if worker.code() is None and not worker.waits():
                worker.leave()
        self._wait(_SECONDS_TO_LEAVE)
        self._close()

    def _wait(self, seconds: float) -> None:
        self._is_over = True
        until = time.monotonic() + seconds
        for worker in self._running.values():
            if worker.waits():
                worker.kill()
        while any(worker.code() is None for worker in self._running.values()):
            if time.monotonic() > until:
                for worker in self._running.values():
                    worker.kill()
            time.sleep(0.05)
        for worker in self._running.values():
            worker.close()
        self._running.clear()
