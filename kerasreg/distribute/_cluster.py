"""The workers of `TF_CONFIG`: read, checked, and waited for.

TensorFlow waits for workers that never come, and says little of what is wrong in `TF_CONFIG`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import time
from typing import Any

import tensorflow as tf

_EVERY = 0.2  # Seconds between two tries.


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The addresses of all workers, the chief's first, and which of them this process is."""

    workers: tuple[str, ...]
    index: int

    @property
    def address(self) -> str:
        """The address of this process."""
        return self.workers[self.index]


def read_cluster() -> Cluster:
    """Reads the environment variable `TF_CONFIG`.

    Raises:
        ValueError: if it is missing, or is not what TensorFlow takes.
    """
    text = os.environ.get("TF_CONFIG", "")

    def refuse(what: str) -> ValueError:
        return ValueError(
            '`TF_CONFIG` must be JSON such as {"cluster": {"worker": ["host:port", ...]}, '
            f'"task": {{"type": "worker", "index": 0}}}}; {what}. Received: TF_CONFIG={text!r}'
        )

    try:
        config = json.loads(text)
    except ValueError as error:
        raise refuse("it is not set" if not text else f"it is no JSON: {error}") from None
    cluster, task = (config.get(name) if isinstance(config, dict) else None for name in _PARTS)
    if not isinstance(cluster, dict) or not isinstance(task, dict):
        raise refuse('it has no "cluster" and "task"')
    if set(cluster) - {"chief", "worker"}:
        raise refuse(f"only chief and worker take part, not {sorted(set(cluster) - set(_TYPES))}")
    workers: list[str] = []
    first: dict[str, int] = {}
    for kind in _TYPES:
        first[kind] = len(workers)
        given = cluster.get(kind, [])
        if not isinstance(given, list) or not all(_is_address(one) for one in given):
            raise refuse(f'"{kind}" is no list of addresses "host:port"')
        workers += given
    if len(set(workers)) < len(workers):
        raise refuse("an address is there twice")
    kind, index = str(task.get("type")), task.get("index")
    if kind not in _TYPES or not cluster.get(kind):
        raise refuse(f'the "type" of the task, {kind!r}, is none of the cluster')
    if isinstance(index, str) and index.isdecimal():  # As TensorFlow takes it.
        index = int(index)
    if not isinstance(index, int) or not 0 <= index < len(cluster[kind]):
        raise refuse(f'the "index" of the task, {index!r}, is none of the {kind} addresses')
    return Cluster(tuple(workers), first[kind] + index)


_PARTS = ("cluster", "task")
_TYPES = ("chief", "worker")


def _is_address(one: Any) -> bool:
    host, _, port = one.rpartition(":") if isinstance(one, str) else ("", "", "")
    return bool(host) and port.isdecimal() and 0 < int(port) < 65536


def wait_for_peers(cluster: Cluster, timeout: float) -> None:
    """Waits until each other worker has answered once.

    Meanwhile this one answers at its own port, which TensorFlow takes afterwards: so workers that
    wait for each other do not wait for ever. Who has gone on answers by TensorFlow.

    Args:
        cluster: the workers.
        timeout: seconds.

    Raises:
        ValueError: if one does not answer in that time, or if this one's port is taken.
    """
    missing = [one for one in cluster.workers if one != cluster.address]
    end = time.monotonic() + timeout
    with contextlib.ExitStack() as stack:
        own = stack.enter_context(socket.socket())
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            own.bind(("", int(cluster.address.rpartition(":")[2])))
            own.listen(128)
        except OSError as error:
            raise ValueError(
                f"`TF_CONFIG` must have a free port for this worker. Received: {cluster.address}, "
                f"of which the system says: {error.strerror}"
            ) from None
        while missing := [one for one in missing if not _answers(one)]:
            if time.monotonic() > end:
                raise ValueError(
                    "`TF_CONFIG` must have workers that answer; is the same program started on "
                    f"each of them? Received: {', '.join(missing)} without an answer in "
                    f"{timeout:g} s"
                )
            time.sleep(_EVERY)


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=2.0):
            return True
    except OSError:
        return False


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes files, of those that train together.

    Args:
        strategy: any strategy. Of one process, that process is the chief.

    Returns:
        True in exactly one process.

    Example:

    >>> import tensorflow as tf, kerasreg
    >>> kerasreg.distribute.is_chief(tf.distribute.get_strategy())
    True
    """
    resolver = strategy.cluster_resolver
    if not has_workers(strategy) or resolver is None:
        return True
    workers = resolver.cluster_spec().as_dict()
    return resolver.task_type == "chief" or ("chief" not in workers and resolver.task_id == 0)


def has_workers(strategy: tf.distribute.Strategy) -> bool:
    """Whether several processes train together under a strategy.

    Args:
        strategy: any strategy.

    Returns:
        True under a `MultiWorkerMirroredStrategy` of more than one worker.

    Example:

    >>> import tensorflow as tf, kerasreg
    >>> kerasreg.distribute.has_workers(tf.distribute.get_strategy())
    False
    """
    resolver = strategy.cluster_resolver
    if resolver is None or not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return False
    return sum(map(len, resolver.cluster_spec().as_dict().values())) > 1
