"""A worker: one of the processes that search together, and what `kerasreg search` starts of them.

What a worker is told comes as one line of JSON on its standard input, which stays open as long as
the process lives that started it. Nothing that imports Keras or TensorFlow at module level.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kerasreg._first_line import first_line

# A worker that was told to end has handed its trials back.
INTERRUPTED = 130
# So a process of Python becomes a worker. The command's name keeps Keras from being imported first.
PROGRAM = "import sys; sys.argv[0] = 'kerasreg'; from kerasreg.cli._worker import main; main()"


@dataclasses.dataclass(frozen=True)
class Part:
    """What a worker is told.

    Attributes:
        folder: the folder of the search.
        record: the settings of the search, and the fingerprint of its data.
        workers: how many workers this machine has, which share its memory.
        cores: the numbers of the cores that it has; none for all.
        seconds: the time that is left to the search; None for no limit.
        shared: where the trials of several machines are, as `Shared` has it.
        together: how many workers all machines have, as far as is known; None for those of this
            one.
    """

    folder: str
    record: Mapping[str, Any]
    workers: int
    cores: Sequence[int] = ()
    seconds: float | None = None
    shared: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    together: int | None = None


def take_part(
    part: Part, begins: Callable[[Any], None] = lambda tuner: None, table: Any = None
) -> None:
    """Searches, with others, until no trial is left or the time is over.

    Args:
        part: what is to be done.
        begins: is given the tuner before its search.
        table: the data, where they are not to be read.

    Raises:
        ValueError: if the data are not those that the search began with.
        RuntimeError: if the study cannot be reached, or too many trials failed in a row.
    """
    from kerasreg.cli._command import loading
    from kerasreg.cli._record import Shared, settings_of, table_of

    settings = settings_of(part.record)
    if table is None:
        table = table_of(settings)
        if table.fingerprint() != part.record["fingerprint"]:
            raise ValueError(f"the data {settings.data!r} have changed since the search began")
    with loading():
        from kerasreg import tuners
        from kerasreg.cli._task import SearchTask
    task = SearchTask(settings, table, part.folder, lambda line: None, part.record["earlier"])
    tuner = task.study_tuner(part.workers, Shared(**part.shared), part.together)
    begins(tuner)
    # The study has the failures, and the process that ends the search tells of them.
    with contextlib.suppress(tuners.SearchFailedError):
        task.search(tuner, part.seconds)


def left(handed_back: int) -> str:
    """What a worker says that was told to end, in a line."""
    return f"a worker was told to end; trials handed back: {handed_back}"


def failed(error: Exception) -> str:
    """What a worker says of an error that ended it, in a line."""
    return f"{type(error).__name__}: {first_line(error)}"


class _Watch:
    """Ends this process when it is told to, or when the one that started it is gone.

    The bytes of signals come by a socket, also while the search is in a long step of TensorFlow,
    and a thread hands the trials back: a handler would wait for the step, or stand in the middle of
    a transaction.
    """

    def __init__(self) -> None:
        self.tuner: Any = None
        self.was_told = False
        self._told, heard = socket.socketpair()
        heard.setblocking(False)
        self._heard = heard
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(heard.fileno())
        threading.Thread(target=self._wait, name="kerasreg-watch", daemon=True).start()

    def _wait(self) -> None:
        select.select([self._told, sys.stdin.fileno()], [], [])
        self.was_told = True
        try:
            handed_back = 0 if self.tuner is None else self.tuner.oracle.hand_back()
            line = f"kerasreg: {left(handed_back)}\n"
        except Exception as error:  # Others find out that this process is gone.
            line = f"kerasreg: a worker was told to end, and could not hand back: {error!r}\n"
        os.write(2, line.encode())
        os._exit(INTERRUPTED)


def main() -> None:
    """Runs a worker to its end, which is that of the process."""
    part = Part(**json.loads(sys.stdin.buffer.readline()))
    watch = _Watch()
    if part.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, part.cores)
    code = 0
    try:
        take_part(part, lambda tuner: setattr(watch, "tuner", tuner))
    except Exception as error:
        # The last line is that which is told.
        if not watch.was_told:
            print(failed(error), file=sys.stderr)
        code = 1
    if watch.was_told:  # What has failed may be a trial that is another process's by now.
        threading.Event().wait()
    sys.stderr.flush()
    # Threads of TensorFlow crash an orderly end now and then.
    os._exit(code)
