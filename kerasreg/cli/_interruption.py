"""A command that is told to end, by SIGTERM or Ctrl-C: it stops where nothing is lost.

Nothing that imports Keras or TensorFlow: the command may be told to end before they are there.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from kerasreg.cli._worker import INTERRUPTED

# A program that starts the command may pass a signal on that the command had already.
_SECONDS_OF_ONE = 0.5
# So long nobody is told that a search goes on to the end of its epoch.
_SECONDS_UNTOLD = 1.0
# So long a search that has stopped has to write what it knows, and to end the process.
_SECONDS_TO_END = 15.0
_LOOKS = 0.05  # Seconds between two looks.
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_CLOSED = b"\0"  # No signal has this number.


class Interruption:
    """Within, the first signal asks what runs to stop, and the second ends the process at once.

    The bytes of signals come by a socket, and a thread acts on them: a handler of Python's would
    wait for the end of a long step of TensorFlow, and what it raises in a finaliser is lost. What
    cannot be asked to stop is ended where it is: what is on the disk is whole at every instant.

    Args:
        stop: asks the search that runs to stop where nothing is lost, by `SearchStopped`; returns
            whether one runs.
        leave: gives back what other processes wait for, before this one ends where it is.
        line: what is said then, by which it can be gone on.
        in_main_thread: whether only the main thread may call these now, which is in no long step.
    """

    def __init__(
        self,
        stop: Callable[[], bool],
        leave: Callable[[], None],
        line: Callable[[], str],
        in_main_thread: Callable[[], bool] = lambda: False,
    ) -> None:
        self._stop, self._leave, self._line = stop, leave, line
        self._in_main_thread = in_main_thread
        self._ends = threading.Lock()  # Whoever has it ends the process.
        self._ends_since = 0.0

    def __enter__(self) -> Interruption:
        # That of the beginning: there are times at which what libraries print goes nowhere.
        self._errors = os.dup(2)
        self._told, self._heard = socket.socketpair()
        self._heard.setblocking(False)
        self._before = {number: signal.getsignal(number) for number in _SIGNALS}
        self._fd_before = signal.set_wakeup_fd(self._heard.fileno(), warn_on_full_buffer=False)
        self.handle()
        self._thread = threading.Thread(target=self._wait, name="kerasreg-signals", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._fd_before)
        self._heard.send(_CLOSED)
        self._thread.join(_SECONDS_TO_END)
        for one in (self._told, self._heard):
            one.close()
        os.close(self._errors)

    def handle(self) -> None:
        """Handles signals from now on, also where a library has taken them since."""
        for number in _SIGNALS:
            signal.signal(number, self._handle)

    def _handle(self, *of_signal: Any) -> None:
        if self._ends.locked():
            if time.monotonic() - self._ends_since > _SECONDS_OF_ONE:
                os._exit(INTERRUPTED)
        elif self._in_main_thread():
            self._end()

    def _wait(self) -> None:
        if self._told.recv(1) == _CLOSED:
            return
        began, stopping, waits_since = time.monotonic(), False, 0.0
        told, wait = False, 0.0
        while True:
            wait, looks = _LOOKS, wait
            if select.select([self._told], [], [], looks)[0]:
                again = self._told.recv(64)
                if _CLOSED in again:
                    return
                if time.monotonic() - began > _SECONDS_OF_ONE:
                    self._end()
            if self._in_main_thread():
                # Its handler has been called before that was so.
                if time.monotonic() - began > _SECONDS_TO_END:
                    self._end()
                continue
            if self._stop():
                stopping, waits_since = True, time.monotonic()
                if not told and time.monotonic() - began > _SECONDS_UNTOLD:
                    told = True
                    self._say(
                        "note: stops at the end of the epoch, with a checkpoint; "
                        "a second signal ends it at once"
                    )
            elif not stopping or time.monotonic() - waits_since > _SECONDS_TO_END:
                self._end()

    def _end(self) -> None:
        """Ends the process where it is."""
        if not self._ends.acquire(blocking=False):
            return
        self._ends_since = time.monotonic()
        if os.isatty(1):
            os.write(1, b"\n")  # After the line of progress.
        self._say(self._line())
        self._leave()
        os._exit(INTERRUPTED)

    def _say(self, line: str) -> None:
        os.write(self._errors, f"kerasreg: {line}\n".encode())
