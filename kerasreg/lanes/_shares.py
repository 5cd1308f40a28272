"""Shares of lanes: which of them each core moves by itself, and their values put together.

XLA divides single operations among the cores of a processor, most of which are too small for that.
The state of many lanes does not stay in a core's cache either. Lanes have nothing to do with each
other, and so each core can take all steps of some lanes.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

# More lanes at a time do not stay in the cache, and fewer are not worth a call.
MOST, _FEWEST = 64, 8

Result = TypeVar("Result")


def shares_of(lanes: int, cores: int) -> list[slice]:
    """The shares of lanes: of one size, so that one program does for all.

    Args:
        lanes: the number of lanes.
        cores: the number of cores that move shares at the same time.

    Returns:
        A slice for each share. The last one may begin with lanes of the share before it.
    """
    count = -(-lanes // MOST)
    count = max(1, min(-(-count // cores) * cores, lanes // _FEWEST))
    size = -(-lanes // count)
    begins = [*range(0, lanes - size, size), lanes - size]
    return [slice(begin, begin + size) for begin in begins]


def shares_over(lanes: int, devices: int, most: int | None = None) -> list[slice]:
    """The shares of lanes that devices move, each as many as the others.

    Args:
        lanes: the number of lanes.
        devices: the number of devices.
        most: how many lanes a share may have at most.

    Returns:
        As of `shares_of`: the first device moves the first one, and so on, and begins again.
    """
    count = devices if most is None else devices * -(-lanes // (devices * most))
    size = -(-lanes // min(count, lanes))
    begins = [*range(0, lanes - size, size), lanes - size]
    return [slice(begin, begin + size) for begin in begins]


def at_once(calls: Sequence[Callable[[], Result]], cores: int) -> list[Result]:
    """What functions return that threads call, so many at a time."""
    if len(calls) == 1:
        return [calls[0]()]
    with concurrent.futures.ThreadPoolExecutor(min(cores, len(calls))) as threads:
        return [done.result() for done in [threads.submit(call) for call in calls]]


def joined(
    found: Sequence[Sequence[Any]], shares: Sequence[slice], concat: Callable[..., Any]
) -> list[Any]:
    """Values of all lanes, from those of each share.

    Args:
        found: for each share a list of values, each with a first axis of lanes.
        shares: the shares.
        concat: puts a list of values together, along an axis.
    """
    if len(shares) == 1:
        return list(found[0])
    # Of each share, how many of its first lanes the share before it has.
    ends = [0, *(share.stop for share in shares[:-1])]
    skipped = [end - share.start for end, share in zip(ends, shares, strict=True)]
    return [
        concat(
            [part[skip:] if skip else part for part, skip in zip(parts, skipped, strict=True)],
            axis=0,
        )
        for parts in zip(*found, strict=True)
    ]
