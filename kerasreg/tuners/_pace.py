"""How long trainings take: a search with a time limit begins those only that will end in time."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any, NamedTuple

# Of the time that is left, the rest is for what estimates get wrong, and for the search itself.
_SHARE = 0.95
# A training that runs is given up for fewer lanes when it would take so much longer than the time
# that is left, and before such a part of it is over.
_TOO_SLOW = 1.15
_EARLY = 0.25
# So many epochs show how long one takes, the first one, which is traced and compiled, left out.
_EPOCHS = 2


class _Measured(NamedTuple):
    lanes: int
    seconds: float  # Of a training, from its second epoch on, and one more epoch.
    beginning: float  # By how much the first epoch of a program took longer.


class Pace:
    """What is known of the duration of trainings, by program."""

    def __init__(self) -> None:
        self._measured: dict[Any, _Measured] = {}
        self._last: _Measured | None = None

    def learn(self, key: Any, lanes: int, seconds: float, beginning: float | None) -> None:
        """Takes how long a training took.

        Args:
            key: of its program.
            lanes: how many lanes the program has.
            seconds: its duration without `beginning`.
            beginning: by how much the first epoch of the program took longer than others; None
                where the training took over a lane of a program that ran.
        """
        known = self._measured.get(key)
        if beginning is None:
            beginning = 0.0 if known is None else known.beginning
        self._last = self._measured[key] = _Measured(lanes, seconds, beginning)

    def ends(self, key: Any, left: float | None) -> bool:
        """Whether a training that takes over a lane now will end in time.

        Args:
            key: of the program that runs.
            left: seconds; None for no limit.
        """
        known = self._measured.get(key)
        return left is None or known is None or known.seconds <= left

    def lanes(self, key: Any, most: int, whole: int, left: float | None) -> int:
        """How many trainings that begin now, in a new program, will end in time.

        The time of a program is taken to be that of its lanes, one by one: it will be less.

        Args:
            key: of the program; None where it is not known yet: the last one that was measured is
                taken then, as it is for a program that was not.
            most: at most so many.
            whole: how many trainings a trial has, which begin together.
            left: seconds; None for no limit.

        Returns:
            `most`, or a multiple of `whole` that is less, perhaps 0.
        """
        known = self._measured.get(key, self._last)
        if left is None or known is None or whole > most:
            return most
        fits = known.lanes * (left - known.beginning) / _positive(known.seconds)
        return _whole(most, whole, fits)


class Running:
    """The epochs of trainings that began together, by which it is seen early how long they take.

    Args:
        now: the time, in seconds.
    """

    def __init__(self, now: float) -> None:
        self._times = [now]
        self._took_over: dict[int, float] = {}  # By lane, when its later training began.

    def take_over(self, lanes: Iterable[int], now: float) -> None:
        """Takes that other trainings begin in lanes that are free."""
        self._took_over |= dict.fromkeys(lanes, now)

    @property
    def has_trained_whole(self) -> bool:
        """Whether a lane was taken over: whole trainings were seen."""
        return bool(self._took_over)

    def longest(self, lanes: Iterable[int], now: float) -> tuple[float, float | None] | None:
        """How long the longest of some trainings took that have ended.

        Args:
            lanes: those of trainings that ended by themselves.
            now: the time.

        Returns:
            The seconds and the beginning, as for `Pace.learn`; None of no lanes.
        """
        begun = [self._took_over.get(lane) for lane in lanes]
        if None in begun:
            beginning = self.beginning
            return now - self._times[0] - beginning, beginning
        times = [time for time in begun if time is not None]
        return (now - min(times), None) if times else None

    def epoch_ended(self, now: float) -> None:
        """Takes the time of the end of an epoch."""
        self._times.append(now)

    @property
    def beginning(self) -> float:
        """By how much the first epoch took longer than others; 0 where there are none."""
        epochs = self._epochs
        return max(0.0, epochs[0] - statistics.median(epochs[1:])) if epochs[1:] else 0.0

    def fewer(self, lanes: int, whole: int, epochs: int, left: float | None) -> int | None:
        """How many lanes to begin again with, where so many would not end in time.

        Args:
            lanes: how many there are.
            whole: how many trainings a trial has.
            epochs: of a whole training.
            left: seconds from now on; None for no limit.

        Returns:
            A multiple of `whole`; None where all go on: they end in time, too few epochs were
            seen, too many were trained, or not even one trial would end in time.
        """
        seen = self._epochs
        if left is None or not _EPOCHS < len(seen) <= max(_EPOCHS + 1, _EARLY * epochs):
            return None
        epoch = statistics.median(seen[1:])
        if epoch * (epochs - len(seen)) <= _TOO_SLOW * left:
            return None
        fits = lanes * (left - self.beginning) / _positive(epoch * epochs)
        return _whole(lanes - 1, whole, fits) or None

    @property
    def _epochs(self) -> list[float]:
        return [after - before for before, after in zip(self._times, self._times[1:], strict=False)]


def _whole(most: int, whole: int, fits: float) -> int:
    if _SHARE * fits >= most:
        return most
    return max(0, int(_SHARE * fits) // whole * whole)


def _positive(seconds: float) -> float:
    return max(seconds, 1e-9)
