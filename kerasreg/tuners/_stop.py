"""A search that is asked to stop, such as by SIGTERM, stops where nothing is lost."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class SearchStopped(BaseException):  # No `except Exception` of a trial's code is to catch it.
    """Is raised by `search` when `tuner.stop()` was called: the search is not done.

    Trials that train as lanes are in a checkpoint. The next `search` of the project goes on.

    Attributes:
        kept: the ids of the trials that go on from a checkpoint.
        again: the ids of those that have begun, and begin again.

    Example:

    >>> import tempfile, keras, numpy as np, kerasreg
    >>> def build(hp):
    ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    ...     rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    ...     model.compile(keras.optimizers.SGD(rate), "mse")
    ...     return model
    >>> tuner = kerasreg.tuners.VectorizedRandomSearch(
    ...     build, "val_loss", max_trials=4, directory=tempfile.mkdtemp())
    >>> stop = keras.callbacks.LambdaCallback(
    ...     on_epoch_end=lambda epoch, logs: tuner.stop() if epoch == 1 else None)
    >>> data = np.ones((8, 3)), np.ones((8, 1))
    >>> try:
    ...     tuner.search(*data, epochs=3, validation_data=data, callbacks=[stop], verbose=0)
    ... except kerasreg.tuners.SearchStopped as stopped:
    ...     print(stopped.kept)
    ('0', '1', '2', '3')
    """

    kept: tuple[str, ...] = ()
    again: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__("The search was asked to stop; the next one goes on.")


class Stopping:
    """Whether a search was asked to stop.

    Attributes:
        asked: that is so.
    """

    def __init__(self) -> None:
        self.asked = False

    def check(self) -> None:
        """Stops the search here, if it was asked for.

        Raises:
            SearchStopped: if so.
        """
        if self.asked:
            raise SearchStopped


@contextlib.contextmanager
def stopped_by_sigterm(stopping: Stopping) -> Iterator[None]:
    """Lets SIGTERM stop a search first, and end the process then, as it does by default.

    A second one ends the process at once. A handler of the program's own is left alone, and so are
    threads other than the main one, which may have none.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    received = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal received
        received = stopping.asked = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if received:
            os.kill(os.getpid(), signal.SIGTERM)
