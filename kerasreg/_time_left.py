"""How long a search will take, by when its trials ended: a range, or nothing at all."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kerasreg._durations import duration

# Trials that end within this part of the time so far end together, as lanes do.
_TOGETHER = 0.01
# So many intervals between ends tell how far these differ.
_FEWEST_INTERVALS = 3
# A range that is wider than this part of its middle is none.
_WIDEST = 0.8
# What comes may differ from all that was by this part.
_LEAST = 0.05
# Of Student's distribution, for nine ranges in ten, by the degrees of freedom.
_STUDENT = (math.inf, 6.31, 2.92, 2.35, 2.13, 2.02, 1.94, 1.89, 1.86, 1.83, 1.81)
_MANY = 1.70
_OF_TREND = 1.0


class TimeLeft:
    """Foretells when the last trial of a search ends.

    What counts are the intervals between instants at which trials ended, each with the number of
    those trials. The range is that of a prediction: it has the error of the mean and what differs
    from trial to trial. It spans what follows from all intervals but the first, in which programs
    are compiled; from the later half; from a trend that goes on; and from all time since the
    beginning, as of trials that run side by side the short ones end first.

    Args:
        begun: the time at which the search began, in seconds.
    """

    def __init__(self, begun: float) -> None:
        self._begun = begun
        self._ends: list[tuple[float, int]] = []  # The time, and how many trials ended then.
        self._longest = 0.0

    def ended(self, now: float, count: int = 1, longest: float = 0.0) -> None:
        """Trials have ended.

        Args:
            now: the time.
            count: how many of them.
            longest: the seconds of the longest of them, as far as that is known.
        """
        if count <= 0:
            return
        self._longest = max(self._longest, longest)
        if self._ends and self._is_together(now):
            self._ends[-1] = self._ends[-1][0], self._ends[-1][1] + count
        else:
            self._ends.append((now, count))

    def left(
        self, now: float, trials: int | None, running: int = 1, limit: float | None = None
    ) -> tuple[float, float] | None:
        """The least and the most seconds that are left, most probably.

        Args:
            now: the time.
            trials: how many trials have not ended; None if nobody knows.
            running: how many of them are in training.
            limit: the search ends after so many seconds at the latest; None for no limit.

        Returns:
            The range; None where nothing can be said.
        """
        if trials is None:
            return None if limit is None else (0.0, max(0.0, limit))
        if trials <= 0:
            return 0.0, 0.0
        every = self._intervals()
        # Others may end at this instant, of which nothing is known yet.
        instant = running > 1 and bool(every) and self._is_together(now)
        if instant:
            every = every[:-1]
        ranges = _ranges(every, trials) if len(every) >= _FEWEST_INTERVALS else []
        if not ranges:
            return None if limit is None else (0.0, max(0.0, limit))
        since = now - self._ends[-1][0]
        low = min(least for least, _ in ranges) - since
        # The mean of all time so far: of trials that still run, too.
        done = sum(count for _, count in self._ends)
        high = max(trials * (now - self._begun) / done, *(most for _, most in ranges))
        if running > 1:
            # Those that run side by side do not end at one time: the last one ends alone.
            each = sum(length for length, _ in every) / sum(count for _, count in every)
            high += max((min(running, trials) - 1) * each, self._longest)
            low -= min(running, trials) * each if instant else 0.0
        # What has not ended for longer than is usual takes longer than that.
        low, high = max(0.0, low), max(high - since, 0.2 * high)
        if limit is not None:
            low, high = min(low, max(0.0, limit)), min(high, max(0.0, limit))
        return low, high

    def _is_together(self, now: float) -> bool:
        """Whether what ends now ends together with what ended last."""
        return now - self._ends[-1][0] <= _TOGETHER * (now - self._begun)

    def _intervals(self) -> list[tuple[float, int]]:
        """The seconds before each end, and how many trials ended then, but those of the first."""
        pairs = zip(self._ends, self._ends[1:], strict=False)
        return [(then - before, count) for (before, _), (then, count) in pairs]


def _ranges(intervals: Sequence[tuple[float, int]], trials: int) -> list[tuple[float, float]]:
    """Ranges of the time from the last end to that of the search; none if one is too wide."""
    found = [_ahead(intervals, trials)]
    if len(intervals) >= 2 * _FEWEST_INTERVALS:
        half = len(intervals) // 2
        parts = intervals[:half], intervals[half:]
        found.append(_ahead(parts[1], trials))
        before, after = (sum(t for t, _ in one) / sum(n for _, n in one) for one in parts)
        spread = math.hypot(*(_deviation(one) / math.sqrt(len(one)) for one in parts))
        per_trial = len(intervals) / sum(count for _, count in intervals)
        error = spread * per_trial
        if abs(after - before) > error:
            # The trend goes on to the middle of what comes.
            ahead = 0.5 + trials * per_trial / len(intervals)
            ends = (after + (after - before + sign * _OF_TREND * error) * ahead for sign in (-1, 1))
            least, most = (min(3.0 * after, max(after / 3.0, end)) for end in ends)
            found.append((trials * least, trials * most))
    known = [one for one in found if one is not None]
    return known if len(known) == len(found) else []


def _deviation(intervals: Sequence[tuple[float, int]]) -> float:
    """How far intervals differ from what their trials take on average."""
    each = sum(length for length, _ in intervals) / sum(count for _, count in intervals)
    squares = sum((length - each * count) ** 2 for length, count in intervals)
    return math.sqrt(squares / (len(intervals) - 1))


def _ahead(intervals: Sequence[tuple[float, int]], trials: int) -> tuple[float, float] | None:
    """The range by some intervals; None if it is too wide."""
    count = sum(ended for _, ended in intervals)
    each = sum(length for length, _ in intervals) / count
    known, coming = len(intervals), trials * len(intervals) / count
    student = _STUDENT[known - 1] if known - 1 < len(_STUDENT) else _MANY
    middle = trials * each
    error = _deviation(intervals) * math.sqrt(coming + coming * coming / known)
    half = student * error + _LEAST * middle
    if half > _WIDEST * (middle + each):
        return None
    return max(0.0, middle - half), middle + half


def left_words(found: tuple[float, float] | None) -> str:
    """A range of time as a line of progress has it; empty where there is none."""
    if found is None:
        return ""
    low, high = found
    step = 1 if high < 60 else 5 if high < 600 else 60
    least, most = step * math.floor(low / step), step * math.ceil(high / step)
    if most - least <= step:
        return f"about {duration(most)} left"
    if least < 0.1 * most:
        return f"at most {duration(most)} left"
    return f"{duration(least)} to {duration(most)} left"
