"""What belongs to the process and not to a thread, kept while other code runs."""

from __future__ import annotations

import contextlib
import os
import random
import sys
import warnings
from collections.abc import Iterator

import keras
import numpy as np

from kerasreg._keras.tensorflow_internals import operation_seeds_state, restore_operation_seeds

# What `warnings.catch_warnings` replaces.
_OF_WARNINGS = ("filters", "showwarning", "_showwarnmsg_impl")


class Surroundings:
    """What belongs to the process and is changed by code that means itself, as it is now.

    These are random numbers (Python's, NumPy's and TensorFlow's), standard streams, the current
    folder, the environment, and the filters of warnings.
    """

    def __init__(self) -> None:
        self._python, self._numpy = random.getstate(), np.random.get_state()
        self._tensorflow = operation_seeds_state() if _is_tensorflow() else None
        self._streams = sys.stdin, sys.stdout, sys.stderr
        self._environment = dict(os.environ)
        self._folder = _current_folder()
        self._warnings = {name: getattr(warnings, name, None) for name in _OF_WARNINGS}

    def restore(self, random_numbers: bool = True) -> None:
        """Puts all back.

        Args:
            random_numbers: whether to put back random numbers too.
        """
        if random_numbers:
            random.setstate(self._python)
            np.random.set_state(self._numpy)
            if self._tensorflow is not None:
                restore_operation_seeds(self._tensorflow)
        sys.stdin, sys.stdout, sys.stderr = self._streams
        if dict(os.environ) != self._environment:
            for name in set(os.environ) - set(self._environment):
                del os.environ[name]
            os.environ.update(self._environment)
        if self._folder is not None and self._folder != _current_folder():
            # A folder that is gone is nobody's current one.
            with contextlib.suppress(OSError):
                os.chdir(self._folder)
        if any(getattr(warnings, name, None) is not of for name, of in self._warnings.items()):
            with warnings.catch_warnings():  # Python notices others only where it sets them.
                pass
            for name, of in self._warnings.items():
                if of is not None:
                    setattr(warnings, name, of)

    def writes_elsewhere(self) -> bool:
        """Whether other folders or streams are in place now, to which a callback would write."""
        return self._folder != _current_folder() or self._streams[1:] != (sys.stdout, sys.stderr)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Puts all back for a while, and keeps here what is changed meanwhile."""
        outside = Surroundings()
        self.restore()
        try:
            yield
        finally:
            vars(self).update(vars(Surroundings()))
            outside.restore()


def _is_tensorflow() -> bool:
    return bool(keras.backend.backend() == "tensorflow")


def _current_folder() -> str | None:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return None
