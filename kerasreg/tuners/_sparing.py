"""Work that is done again and again during a search, and costs a small part of its time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator


class Sparing:
    """Tells when work may be done again, such that all of it takes a part of the time at most.

    What the next time will cost is taken to be what the last one did, or twice the mean, if that
    is more. Work that takes longer than that is waited for afterwards: then it is not due until
    all of the work is that part of the time again.

    Args:
        part: of the time since the beginning, such as 0.01.
        first: the seconds that the first time is expected to cost.
        least: seconds between two times at least.
        clock: gives the time in seconds.
    """

    def __init__(
        self,
        part: float,
        first: float = 0.05,
        least: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._part, self._least, self._clock = part, least, clock
        self._begun = self._last = clock()
        self._spent, self._times, self._next = 0.0, 0, first

    @property
    def due(self) -> bool:
        """Whether the work may be done now."""
        now = self._clock()
        affordable = self._spent + self._next <= self._part * (now - self._begun)
        return affordable and now - self._last >= self._least

    @contextlib.contextmanager
    def spending(self) -> Iterator[None]:
        """The work is done within."""
        begun = self._clock()
        try:
            yield
        finally:
            self._last = self._clock()
            cost = self._last - begun
            self._spent += cost
            self._times += 1
            self._next = max(cost, 2.0 * self._spent / self._times)
