"""Files of a search that all its processes reach: in a folder, or in an object store by fsspec.

A file is named by the hash of its content, and is there whole or not at all. So several processes
may write the same one, and nothing is ever changed.
"""

from __future__ import annotations

import hashlib
import os
import time
import types
import uuid
from collections.abc import Callable
from typing import Any

from kerasreg._files import write_bytes
from kerasreg._first_line import first_line
from kerasreg._urls import without_password

# Stores that show a file when all of it is there. In others it is written beside and renamed.
_WHOLE = {"memory", "s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "oci", "hf"}
# What the store does not do at once it may do later.
_SECONDS_BETWEEN_TRIES = (1.0, 4.0)
_LOCAL = ("file", "local")


class Artifacts:
    """A folder, or a place in an object store, for files named by their content.

    Args:
        where: the path of a folder, or a URL of fsspec's, such as `"s3://bucket/search"`.

    Raises:
        ValueError: if it is neither.
        ImportError: if fsspec, or what it needs for the store, is not installed.
        RuntimeError: if the store cannot be reached. No password is in the message.
    """

    def __init__(self, where: str | os.PathLike[str]) -> None:
        if not isinstance(where, (str, os.PathLike)) or not os.fspath(where):
            raise ValueError(
                "`artifacts` must be the path of a folder, a URL such as 's3://bucket/search', or "
                f"None. Received: artifacts={where!r}"
            )
        text = os.fspath(where)
        self._told = without_password(text)
        self.folder: str | None = None
        protocol, colon, path = text.partition("://")
        if not colon:
            self.folder = os.path.abspath(text)
        elif protocol in _LOCAL:
            self.folder = os.path.abspath(path)
        else:
            self._is_whole = protocol in _WHOLE
            try:
                self._system, self._path = import_fsspec().core.url_to_fs(text)
            except ImportError as error:
                raise ImportError(f"`artifacts` cannot be used: {self._told!r}: {error}") from None
            except Exception as error:  # Of the store, of the network, or of the URL.
                raise self._error("used", error) from None

    def check(self) -> None:
        """Writes a file, reads it and deletes it.

        Raises:
            RuntimeError: if that fails. No password is in the message.
        """
        content = uuid.uuid4().bytes
        name = f"check-{content.hex()}"
        try:
            self._write(name, content)
            found = self._read(name)
            self._delete(name)
        except Exception as error:
            raise self._error("written", error) from None
        if found != content:
            raise self._error("written", OSError("what was read is not what was written"))

    def put(self, content: bytes, ending: str = "") -> str:
        """Keeps a file; returns its name.

        Args:
            content: what is in it.
            ending: of the name.

        Raises:
            RuntimeError: if it cannot be written.
        """
        name = hashlib.sha256(content).hexdigest() + ending

        def write() -> None:
            if not self._exists(name):
                self._write(name, content)

        self._tried("written", write)
        return name

    def get(self, name: str) -> bytes:
        """What is in a file.

        Raises:
            RuntimeError: if it cannot be read, or is not what it was.
        """
        content: bytes = self._tried("read", lambda: self._read(name))
        if hashlib.sha256(content).hexdigest() != name.partition(".")[0]:
            raise self._error("read", OSError(f"{name} is not what was written"))
        return content

    def local(self, name: str, folder: str) -> str:
        """A path by which a file can be read: its own, or that of a copy.

        Args:
            name: the name of the file.
            folder: for copies.

        Raises:
            RuntimeError: if it cannot be read.
        """
        if self.folder is not None:
            path = os.path.join(self.folder, name)
            if os.path.exists(path):
                return path
        path = os.path.join(folder, name)
        if not os.path.exists(path):
            write_bytes(path, self.get(name))
        return path

    def _tried(self, what: str, call: Callable[[], Any]) -> Any:
        """What a call gives, which is made again where it fails."""
        for seconds in (*_SECONDS_BETWEEN_TRIES, None):
            try:
                return call()
            except Exception as error:
                if seconds is None or isinstance(error, FileNotFoundError):
                    raise self._error(what, error) from None
                time.sleep(seconds)
        raise AssertionError

    def _error(self, what: str, error: Exception) -> RuntimeError:
        reason = without_password(f"{type(error).__name__}: {first_line(error)}")
        return RuntimeError(f"`artifacts` cannot be {what}: {self._told!r}: {reason}")

    def _exists(self, name: str) -> bool:
        if self.folder is not None:
            return os.path.exists(os.path.join(self.folder, name))
        return bool(self._system.exists(f"{self._path}/{name}"))

    def _write(self, name: str, content: bytes) -> None:
        if self.folder is not None:
            write_bytes(os.path.join(self.folder, name), content)
            return
        path = f"{self._path}/{name}"
        if self._is_whole:
            self._system.pipe_file(path, content)
            return
        self._system.makedirs(self._path, exist_ok=True)
        beside = f"{self._path}/.{uuid.uuid4().hex}"
        self._system.pipe_file(beside, content)
        self._system.mv(beside, path)

    def _read(self, name: str) -> bytes:
        if self.folder is not None:
            with open(os.path.join(self.folder, name), "rb") as file:
                return file.read()
        return bytes(self._system.cat_file(f"{self._path}/{name}"))

    def _delete(self, name: str) -> None:
        if self.folder is not None:
            os.remove(os.path.join(self.folder, name))
        else:
            self._system.rm_file(f"{self._path}/{name}")


def check_artifacts(where: str | os.PathLike[str]) -> None:
    """Raises an error if files cannot be written where processes are to share them.

    Args:
        where: as `artifacts` of `VectorizedStudySearch`.

    Raises:
        ValueError: if it is no such place.
        ImportError: if fsspec, or what it needs for the store, is not installed.
        RuntimeError: if a file cannot be written, read or deleted. No password is in the message.

    Example:

    >>> import tempfile, kerasreg
    >>> kerasreg.tuners.check_artifacts(tempfile.mkdtemp())
    """
    Artifacts(where).check()


def import_fsspec() -> types.ModuleType:
    """Imports fsspec.

    Raises:
        ImportError: if it is not installed, with the command that does.
    """
    try:
        import fsspec.core
    except ImportError as error:
        raise ImportError("it needs fsspec: pip install 'kerasreg[artifacts]'") from error
    return fsspec
