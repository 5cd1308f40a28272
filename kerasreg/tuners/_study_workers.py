"""The processes that search in one study: who lives, and who does not.

Optuna's own heartbeat is kept by its databases alone, for each trial, and in `study.optimize`
alone. Here a process is heard, and not a trial, in every storage.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from kerasreg.tuners._study_trials import NOBODY

# So begin the names of the attributes of a study that tell of its workers.
PREFIX = "kerasreg:worker:"
# A worker is heard so often in the time after which it is taken for dead.
_BEATS = 6


def host() -> str:
    """Names the machine, since its start, and the part of it whose processes can be seen."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        with open("/proc/sys/kernel/random/boot_id") as file:
            parts.append(file.read().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return "|".join(parts)


def started(pid: int) -> str | None:
    """When a process of this machine began, in a text to compare; None if there is none."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        # A zombie is dead, and waits for its parent to notice.
        return None if fields[0] in "ZX" else fields[19]
    except OSError:
        pass
    if os.path.isdir("/proc/self"):
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:  # Of another user: it lives.
        pass
    return ""


class Workers:
    """Tells which workers live.

    A worker of this machine lives if its process does. Of another one's, the beats of its heart
    are counted: clocks of machines are not compared.

    Args:
        timeout: a worker that was not heard for so many seconds is dead.
        clock: gives the time in seconds.
        wall: gives the seconds since 1970.
    """

    def __init__(
        self,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._timeout, self._clock, self._wall = timeout, clock, wall
        self._heard: dict[str, tuple[int, float]] = {}
        self._orphans: dict[int, float] = {}
        self._unknown: dict[str, float] = {}
        self._records: dict[str, Mapping[str, Any]] = {}
        self._host = host()
        self._offsets: dict[str, tuple[float, float]] = {}
        self._looked: float | None = None

    def look(self, attributes: Mapping[str, Any]) -> None:
        """Takes what the study says of its workers.

        Args:
            attributes: the user attributes of the study.
        """
        now, wall = self._clock(), self._wall()
        before, self._looked = self._looked, wall
        for name, record in attributes.items():
            if name.startswith(PREFIX):
                worker = name.removeprefix(PREFIX)
                self._records[worker] = record
                beat = int(record["beat"])
                if self._heard.get(worker, (None, 0.0))[0] != beat:
                    # It told this between the look before and this one.
                    if worker in self._heard and before is not None and "time" in record:
                        self._offsets[worker] = record["time"] - wall, record["time"] - before
                    self._heard[worker] = beat, now

    def is_alive(self, worker: str) -> bool:
        """Whether a worker lives, as far as is known."""
        record = self._records.get(worker)
        if worker == NOBODY:
            return False
        if record is None:
            # A worker is in the study before its first trial: it has come since the last look.
            now = self._clock()
            return now - self._unknown.setdefault(worker, now) <= self._timeout
        if record["ended"]:
            return False
        if record["host"] == self._host:
            return started(int(record["pid"])) == record["started"]
        return self._clock() - self._heard[worker][1] <= self._timeout

    def clocks(self) -> dict[str, float]:
        """By how many seconds at least clocks of other machines go before this one's, or after.

        Returns:
            The seconds by the names of machines, of those that differ.
        """
        found = {}
        for worker, (least, most) in self._offsets.items():
            record = self._records[worker]
            if record["host"] != self._host and not least <= 0.0 <= most:
                found[record["host"].partition("|")[0]] = least if least > 0.0 else most
        return found

    def searching(self, me: str | None) -> list[str]:
        """The workers that live and run trials, but for one."""
        return [one for one in self.others(me) if self._records[one].get("searches", True)]

    def others(self, me: str | None) -> list[str]:
        """The workers that live, but for one."""
        return [one for one in self._records if one != me and self.is_alive(one)]

    def is_orphan(self, number: int, me: str | None) -> bool:
        """Whether a running trial that names no worker has none.

        A worker is named when the parameters are drawn, and was killed before, or draws still. One
        that has come since the last look is not known yet: nobody decides at the first sight.
        """
        now = self._clock()
        if number not in self._orphans:
            self._orphans[number] = now
            return False
        return not self.others(me) or now - self._orphans[number] > self._timeout


class Heart:
    """Tells a study, again and again, that this process lives.

    Args:
        tell: writes a record of this worker, by the name of an attribute.
        timeout: as for `Workers`.
        beats: whether a thread tells it; otherwise the beginning and the end are told.
        searches: whether it runs trials, or only ends what others have searched.
        leave: is called in the thread when it ends.
    """

    def __init__(
        self,
        tell: Callable[[str, dict[str, Any]], None],
        timeout: float,
        beats: bool = True,
        searches: bool = True,
        leave: Callable[[], None] = lambda: None,
    ) -> None:
        self.worker = uuid.uuid4().hex[:12]
        self._tell, self._leave, self._interval = tell, leave, timeout / _BEATS
        pid = os.getpid()
        self._record = {
            "host": host(),
            "pid": pid,
            "started": started(pid),
            "searches": searches,
            "ended": False,
        }
        self._beat = 0
        self._stop = threading.Event()
        self._write()
        self._thread: threading.Thread | None = None
        if beats:
            self._thread = threading.Thread(target=self._run, name="kerasreg-heart", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Says that this worker has ended: its trials that still run are free for others."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._record["ended"] = True
        # Where the storage does not answer, others find out by themselves.
        with contextlib.suppress(Exception):
            self._write()

    def silence(self) -> None:
        """Tells nothing any more: for a search that nobody holds."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            # A storage that does not answer now is asked again. What fails for long fails
            # in the search itself, which says so.
            with contextlib.suppress(Exception):
                self._write()
        self._leave()

    def _write(self) -> None:
        self._beat += 1
        now = {"beat": self._beat, "time": time.time()}
        self._tell(PREFIX + self.worker, {**self._record, **now})
