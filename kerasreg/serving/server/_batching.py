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
    size: int
    answer: asyncio.Future[_Arrays]

    def goes_with(self, other: _Waiting) -> bool:
        """Whether both can be one batch: of one signature, with examples of the same shapes."""
        return self.signature is other.signature and all(
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
        size = len(next(iter(features.values()))) if features else 0
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
        taken, left, size = [], [], 0
        for one in self._waiting:
            if one is first or (first.goes_with(one) and size + one.size <= self._most):
                taken.append(one)
                size += one.size
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
    total = sum(one.size for one in batch)
    try:
        found = batch[0].signature(joined)
    except Exception:
        # One of them is at fault, and the others are not.
        return [_run(one) for one in batch]
    if any(value.ndim == 0 or len(value) != total for value in found.values()):
        return [_run(one) for one in batch]
    ends = np.cumsum([one.size for one in batch])
    return [
        {name: value[end - one.size : end] for name, value in found.items()}
        for one, end in zip(batch, ends, strict=True)
    ]


def _run(one: _Waiting) -> Any:
    try:
        return one.signature(one.features)
    except Exception as error:
        return error
