"""Channels of a model: groups that stay or go together, and channels that may go.

A channel here is one index of the last axis of a tensor between two layers. Layers that
work on each channel by itself hand it on; an addition makes one of two; a flattening makes
several places of one. A channel may go if each consumer either does not look at it, its
weights being zero, or can put the constant that it is into a bias.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Tensor(NamedTuple):
    """The channels of a tensor between layers.

    `channels` numbers the channel of each place of the last axis; `constant` is what that
    place always holds, NaN where it varies; `shape` is static, without the batch.
    """

    channels: np.ndarray
    constant: np.ndarray
    shape: tuple[int | None, ...]


class Consumer(NamedTuple):
    """A layer that mixes channels: which of its inputs which of its outputs look at."""

    inputs: Tensor
    looks_at: np.ndarray  # Of shape (inputs, outputs).
    outputs: np.ndarray  # Channels.
    folds: bool  # Whether its bias can take a constant that is not zero.


class Channels:
    """The channels of a model, as a partition of numbers, with what keeps each in it."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._kept: set[int] = set()
        self._consumers: list[Consumer] = []
        self._tensors: list[np.ndarray] = []

    def new(self, count: int) -> np.ndarray:
        """Channels that were not there."""
        first = len(self._parent)
        self._parent += range(first, first + count)
        return np.arange(first, first + count)

    def unite(self, one: np.ndarray, other: np.ndarray) -> None:
        """Makes channels stay or go together."""
        for mine, theirs in zip(self.roots(one), self.roots(other), strict=True):
            # Each anew: the pair before may have joined them.
            self._parent[self._root(int(theirs))] = self._root(int(mine))

    def keep(self, channels: np.ndarray) -> None:
        """Makes channels stay."""
        self._kept |= set(channels.tolist())

    def consume(self, consumer: Consumer) -> None:
        """Says who looks at what."""
        self._consumers.append(consumer)

    def note(self, tensor: Tensor) -> Tensor:
        """Says that there is such a tensor, of which one channel at least must stay."""
        self._tensors.append(tensor.channels)
        return tensor

    def roots(self, channels: np.ndarray) -> np.ndarray:
        """One number for all channels that stay or go together."""
        return np.array([self._root(int(channel)) for channel in channels], dtype=int)

    def _root(self, channel: int) -> int:
        while self._parent[channel] != channel:
            self._parent[channel] = self._parent[self._parent[channel]]
            channel = self._parent[channel]
        return channel

    def solve(self) -> np.ndarray:
        """The mask of channels that stay, over all numbers; channels of one root share it."""
        root = self.roots(np.arange(len(self._parent)))
        forced = np.zeros(len(root), dtype=bool)
        forced[root[list(self._kept)]] = True
        stays = np.ones(len(root), dtype=bool)
        while True:
            needed = forced.copy()
            for consumer in self._consumers:
                looks = consumer.looks_at[:, stays[root[consumer.outputs]]].any(axis=1)
                constant = consumer.inputs.constant
                replaced = (constant == 0) | (np.isfinite(constant) & consumer.folds)
                needed[root[consumer.inputs.channels[looks & ~replaced]]] = True
            empty = [
                root[channels[0]]
                for channels in self._tensors
                if len(channels) and not needed[root[channels]].any()
            ]
            if empty:  # One of them stays, from the beginning.
                forced[empty] = True
                stays[:] = True
            elif (needed == stays).all():
                return needed[root]
            else:  # An output that goes looks at nothing: more may go.
                stays = needed
