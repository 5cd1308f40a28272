"""A worker that is gone: the others hear of it, and say so, instead of waiting for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow as tf

from kerasreg._first_line import first_line
from kerasreg.distribute._cluster import has_workers

# With this TensorFlow begins what it says to whoever exchanges anything with a worker that is gone.
_ABORTED = "Collective ops is aborted by: "
# Such errors come also of the exchange itself.
_ERRORS = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError)
_LENGTH = 200


class WorkerLostError(RuntimeError):
    """Is raised where a worker is gone, with which this one trains.

    No worker can train alone, and none can join later: end this program, and start it again on all
    of them. `keras.callbacks.BackupAndRestore` goes on where the chief was.

    Example:

    >>> import kerasreg
    >>> issubclass(kerasreg.distribute.WorkerLostError, RuntimeError)
    True
    """


@contextlib.contextmanager
def workers_answer(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Says what has happened where a worker is gone while others wait for it within.

    Args:
        strategy: the strategy; of a single process nothing happens.

    Raises:
        WorkerLostError: if one is gone.
    """
    try:
        yield
    except tf.errors.OpError as error:
        known = _ABORTED in str(error) or isinstance(error, _ERRORS)
        if not known or not has_workers(strategy):
            raise
        raise WorkerLostError(
            "A worker is gone, and the others cannot train without it: start the program again on "
            "all of them, where `keras.callbacks.BackupAndRestore` goes on. TensorFlow says: "
            f"{_told(error)}"
        ) from error


def _told(error: tf.errors.OpError) -> str:
    """What an error says of the worker, in a line."""
    line = first_line(error, after=_ABORTED)
    return line if len(line) <= _LENGTH else f"{line[:_LENGTH]} ..."
