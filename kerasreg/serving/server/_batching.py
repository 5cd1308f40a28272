"""Requests that wait while the model is busy are answered together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from kerasreg.serving.server._versions import Signature

_Arrays = Mapping[str, np.ndarray]


class _Waiting(NamedTuple):
    signature: Signature
    features: _Arrays
    size: int | None  # None if its inputs have several, of which the model makes what it can.
    answer: asyncio.Future[_Arrays]

    def goes_with(self, other: _Waiting) -> bool:
        """Whether both can be one batch: of one signature, with examples of the same shapes."""
        if self.signature is not other.signature or None in (self.size, other.size):
            return False
        return all(
            value.shape[1:] == other.features[name].shape[1:]
            for name, value in self.features.items()
        )


class TooManyRequests(Exception):
    """The queue is full."""


class Batcher:
    """Calls signatures in one thread, with what has come in meanwhile as one batch.

    Nothing waits for others to come: a request that finds the model idle is answered at once.

    Args:
        most: examples in a batch that is put together, a whole number >= 1.
        queue: how many requests may wait.
    """

    def __init__(self, most: int, queue: int) -> None:
        self._most, self._queue = most, queue
        self._waiting: list[_Waiting] = []
        self._thread = ThreadPoolExecutor(1, "kerasreg-model")
        self._busy: asyncio.Task[None] | None = None

    async def __call__(self, signature: Signature, features: _Arrays) -> _Arrays:
        """The answer of a signature.

        Raises:
            TooManyRequests: if too many wait already.
        """
        if len(self._waiting) >= self._queue:
            raise TooManyRequests
        answer: asyncio.Future[_Arrays] = asyncio.get_running_loop().create_future()
        sizes = {len(value) for value in features.values()}
        size = sizes.pop() if len(sizes) == 1 else None
        self._waiting.append(_Waiting(signature, features, size, answer))
        if self._busy is None or self._busy.done():
            self._busy = asyncio.create_task(self._work())
        return await answer

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = self._take()
            found = await loop.run_in_executor(self._thread, run_together, batch)
            for one, answer in zip(batch, found, strict=True):
                if one.answer.done():  # The client has gone.
                    continue
                if isinstance(answer, BaseException):
                    one.answer.set_exception(answer)
                else:
                    one.answer.set_result(answer)

    def _take(self) -> list[_Waiting]:
        """The first that waits, and those that can be answered with it."""
        first = self._waiting[0]
        taken, left, size = [], [], first.size or 0
        for one in self._waiting:
            if one is first:
                taken.append(one)
            elif first.goes_with(one) and size + (one.size or 0) <= self._most:
                taken.append(one)
                size += one.size or 0
            else:
                left.append(one)
        self._waiting = left
        return taken

    def close(self) -> None:
        """Ends the thread after what it does."""
        self._thread.shutdown()


def run_together(batch: Sequence[_Waiting]) -> list[Any]:
    """The answers, or exceptions, of requests that go together."""
    if len(batch) == 1:
        return [_run(batch[0])]
    names = batch[0].features
    joined = {name: np.concatenate([one.features[name] for one in batch]) for name in names}
    sizes = [one.size or 0 for one in batch]
    try:
        found = batch[0].signature(joined)
    except Exception:
        # One of them is at fault, and the others are not; or the model takes no larger batch.
        return [_run(one) for one in batch]
    if any(value.ndim == 0 or len(value) != sum(sizes) for value in found.values()):
        return [_run(one) for one in batch]
    return [
        {name: value[end - size : end] for name, value in found.items()}
        for size, end in zip(sizes, np.cumsum(sizes), strict=True)
    ]


def _run(one: _Waiting) -> Any:
    try:
        return one.signature(one.features)
    except Exception as error:
        return error
