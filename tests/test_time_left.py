"""The time left of searches whose durations are known: ranges that hold, or nothing."""

import heapq
import random
import statistics

import pytest

from kerasreg._time_left import TimeLeft, left_words

BEGUN = 100.0


def ends_of(durations, lanes, compiling=20.0):
    """When each trial ends, and how long it took: a free lane takes the next one."""
    free, found = [BEGUN + compiling] * lanes, []
    for duration in durations:
        end = heapq.heappop(free) + duration
        heapq.heappush(free, end)
        found.append((end, duration))
    return sorted(found)


def foretold(durations, lanes, instants=40, known=None):
    """At instants of a search what is foretold, and what comes."""
    ends, left, told = ends_of(durations, lanes), TimeLeft(BEGUN), []
    last, done = ends[-1][0], 0
    for instant in range(1, instants):
        now = BEGUN + (last - BEGUN) * instant / instants
        while ends[done][0] <= now:
            left.ended(ends[done][0], 1, ends[done][1])
            done += 1
        open_trials = len(ends) - done
        total = open_trials if known is None else known(open_trials)
        told.append((left.left(now, total, min(lanes, open_trials)), last - now))
    return told


def constant(generator, number):
    return 10.0


def spread(generator, number):
    return 10.0 * generator.lognormvariate(0.0, 0.4)


def wide(generator, number):
    return 10.0 * generator.lognormvariate(0.0, 1.0)


def longer(generator, number):
    return (10.0 + number / 6.0) * generator.lognormvariate(0.0, 0.2)


def shorter(generator, number):
    return (20.0 - number / 6.0) * generator.lognormvariate(0.0, 0.2)


# Of all that is said, so much is to hold; and so often something is to be said after a third.
@pytest.mark.parametrize(
    ("of_trial", "lanes", "holds", "said"),
    [
        (constant, 1, 0.99, 0.95),
        (constant, 8, 0.95, 0.5),
        (spread, 1, 0.9, 0.9),
        (spread, 8, 0.9, 0.7),
        (wide, 1, 0.75, 0.5),
        (longer, 8, 0.9, 0.7),
        (shorter, 8, 0.9, 0.6),
        # One after the other, and ever longer: a trend that noise hides at first.
        (longer, 1, 0.55, 0.9),
        (shorter, 1, 0.55, 0.9),
    ],
)
def test_what_comes_is_in_the_range(of_trial, lanes, holds, said):
    held, spoken = [], []
    for seed in range(20):
        generator = random.Random(seed)
        told = foretold([of_trial(generator, number) for number in range(60)], lanes)
        held += [found[0] <= true <= found[1] for found, true in told if found is not None]
        spoken += [found is not None for found, _ in told[13:]]
    assert statistics.fmean(held) >= holds
    assert statistics.fmean(spoken) >= said


def test_nothing_is_said_before_there_is_something_to_say():
    left = TimeLeft(BEGUN)
    assert left.left(BEGUN + 50.0, 10) is None
    for number in range(3):
        left.ended(BEGUN + 10.0 * (number + 1))
        assert left.left(BEGUN + 10.0 * (number + 1), 10) is None
    left.ended(BEGUN + 40.0)
    assert left.left(BEGUN + 40.0, 10) is not None
    assert left.left(BEGUN + 40.0, None) is None


def test_trials_that_end_together_are_one_instant():
    """Eight lanes of one length end at once: one instant tells nothing of what differs."""
    left = TimeLeft(BEGUN)
    for _ in range(24):
        left.ended(BEGUN + 30.0)
    assert left.left(BEGUN + 31.0, 8, 8) is None


def test_what_is_said_while_lanes_end_together_is_what_was_said_before():
    """They are told of one by one: the first of eight is no sign of slow trials."""
    left = TimeLeft(BEGUN)
    for instant in range(1, 6):
        for _ in range(8):
            left.ended(BEGUN + 10.0 * instant)
    before = left.left(BEGUN + 59.0, 40, 8)
    left.ended(BEGUN + 60.0)
    first = left.left(BEGUN + 60.0, 39, 8)
    for _ in range(7):
        left.ended(BEGUN + 60.0)
    last = left.left(BEGUN + 60.0, 32, 8)
    assert before[0] <= 51.0 <= before[1]
    assert first[0] <= 40.0 <= first[1] <= 1.3 * before[1]
    assert last[0] <= 40.0 <= last[1] <= first[1]


def test_the_range_of_equal_trials_is_narrow():
    (found, true), *_ = foretold([10.0] * 40, 1)[20:]
    assert found[1] - found[0] < 0.25 * true


def test_a_limit_is_the_most():
    left = TimeLeft(BEGUN)
    assert left.left(BEGUN, 10, 1, 60.0) == (0.0, 60.0)
    assert left.left(BEGUN, None, 1, 60.0) == (0.0, 60.0)
    for number in range(6):
        left.ended(BEGUN + 10.0 * (number + 1))
    assert left.left(BEGUN + 60.0, 100, 1, 30.0) == (30.0, 30.0)
    assert left.left(BEGUN + 60.0, 100, 1, -1.0) == (0.0, 0.0)


def test_a_trial_that_takes_longer_than_all_before_is_not_over_at_once():
    left = TimeLeft(BEGUN)
    for number in range(6):
        left.ended(BEGUN + 10.0 * (number + 1))
    low, high = left.left(BEGUN + 300.0, 1)
    assert low == 0.0
    assert high > 1.0


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, ""),
        ((0.0, 0.0), "about 0:00 left"),
        ((9.4, 10.0), "about 0:10 left"),
        ((9.4, 12.2), "0:09 to 0:13 left"),
        ((0.5, 12.2), "at most 0:13 left"),
        ((71.0, 99.0), "1:10 to 1:40 left"),
        ((3000.0, 4000.0), "50:00 to 1:07:00 left"),
    ],
)
def test_words(found, said):
    assert left_words(found) == said
