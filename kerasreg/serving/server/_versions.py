"""The newest version of a model in memory, while newer ones are published."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from kerasreg._files import plain_path
from kerasreg._first_line import first_line
from kerasreg.serving._export import list_versions
from kerasreg.serving.server._rest import Spec

_LOG = logging.getLogger("kerasreg.serving")


class Signature:
    """A function of a SavedModel, from arrays to arrays."""

    def __init__(self, function: Any) -> None:
        self._function = function
        # An argument is called by letters; its spec has the name of the input.
        found = function.structured_input_signature[1]
        specs = {spec.name or key: (key, spec) for key, spec in found.items()}
        self._keys = {name: specs[name][0] for name in sorted(specs)}
        self.tensors: Mapping[str, tf.TensorSpec] = {name: specs[name][1] for name in sorted(specs)}
        self.inputs = {
            name: Spec(
                tuple(spec.shape[1:].as_list()),
                np.dtype(spec.dtype.as_numpy_dtype),
                spec.shape[0] if spec.shape.rank else None,
            )
            for name, spec in self.tensors.items()
        }
        self.outputs: Mapping[str, tf.TensorSpec] = function.structured_outputs

    def __call__(self, features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        tensors = {
            self._keys[name]: tf.constant(features[name], spec.dtype)
            for name, spec in self.tensors.items()
        }
        return {name: value.numpy() for name, value in self._function(**tensors).items()}


class Version:
    """One version, loaded."""

    def __init__(self, path: str, number: int) -> None:
        self.path, self.number = path, number
        with plain_path(path) as plain:
            # A signature does not keep the variables that it reads.
            self._loaded = tf.saved_model.load(plain)
        self.signatures = {
            name: Signature(function)
            for name, function in self._loaded.signatures.items()
            # TensorFlow's own, which resets variables.
            if not name.startswith("__")
        }


class Versions:
    """Keeps the newest version of a base directory in memory.

    Args:
        base_dir: where versions are published.
    """

    def __init__(self, base_dir: str) -> None:
        self._base_dir = base_dir
        self._failed: set[int] = set()
        self.current: Version | None = None
        self.loaded_at = 0.0

    def look(self) -> bool:
        """Loads a newer version if there is one; returns whether it did.

        One that cannot be loaded is told of, and not tried again; the one before goes on.
        """
        present = 0 if self.current is None else self.current.number
        for number in reversed(list_versions(self._base_dir)):
            if number <= present:
                return False
            if number in self._failed:
                continue
            try:
                self.current = Version(os.path.join(self._base_dir, str(number)), number)
            except Exception as error:  # Whatever is wrong with the files.
                _LOG.error("version %d cannot be loaded: %s", number, first_line(error))
                self._failed.add(number)
                continue
            self.loaded_at = time.time()
            _LOG.info("version %d is served", number)
            return True
        return False

    async def watch(self, seconds: float, changed: Callable[[], None]) -> None:
        """Looks every so many seconds, in a thread, until it is cancelled."""
        while True:
            await asyncio.sleep(seconds)
            try:
                if await asyncio.to_thread(self.look):
                    changed()
            except OSError as error:  # A directory that is away for a while.
                _LOG.error("%s cannot be read: %s", self._base_dir, error)
