"""What processes that train together ask each other, and where each of them writes."""

from __future__ import annotations

import hashlib
import os

import tensorflow as tf

from kerasreg.distribute._cluster import is_chief
from kerasreg.distribute._lost_workers import workers_answer
from kerasreg.distribute._replicas import gathered


def least(strategy: tf.distribute.Strategy, number: int) -> int:
    """The least of the whole numbers of all workers. All of them call it.

    Args:
        strategy: any strategy. A single process has the only number.
        number: that of this worker.

    Raises:
        WorkerLostError: if one is gone.

    Example:

    >>> import tensorflow as tf, kerasreg
    >>> kerasreg.distribute.least(tf.distribute.get_strategy(), 3)
    3
    """
    with workers_answer(strategy):
        return int(gathered(strategy, [number]).min())


def check_same(strategy: tf.distribute.Strategy, what: str, text: str) -> None:
    """Checks that all workers have the same text. All of them call it.

    Args:
        strategy: any strategy. A single process has nobody to differ from.
        what: what the text is, for the error.
        text: the text of this worker.

    Raises:
        ValueError: if one has another text, with its own.
        WorkerLostError: if one is gone.

    Example:

    >>> import tensorflow as tf, kerasreg
    >>> kerasreg.distribute.check_same(tf.distribute.get_strategy(), "the settings", "rate=0.1")
    """
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
    with workers_answer(strategy):
        numbers = gathered(strategy, [number])[:, 0]
    others = [str(worker) for worker, one in enumerate(numbers) if one != numbers[0]]
    if others:
        raise ValueError(
            f"{what} must be the same on all workers. Received: {text} on one, and another one on "
            f"worker {', '.join(others)} than on the chief"
        )


def folder_of_worker(strategy: tf.distribute.Strategy, folder: str | os.PathLike[str]) -> str:
    """A folder that no other worker writes to: the folder itself for the chief.

    Args:
        strategy: any strategy.
        folder: the folder, which all of them may see.

    Returns:
        For worker 1 its folder `worker-1` within, and so on.

    Example:

    >>> import tensorflow as tf, kerasreg
    >>> kerasreg.distribute.folder_of_worker(tf.distribute.get_strategy(), "search")
    'search'
    """
    if is_chief(strategy):
        return os.fspath(folder)
    resolver = strategy.cluster_resolver
    return os.path.join(folder, f"{resolver.task_type}-{resolver.task_id}")
