"""Files that are whole at every instant: written beside, synced, renamed; and paths as they are."""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

# TensorFlow takes the path of a SavedModel or a checkpoint for a pattern. `*` and `?` match
# themselves in it; these two do not.
_OF_PATTERNS = "[" if os.sep == "\\" else "[\\"

_WRITERS = 16
# There is no room: of the disk, of what a user may have of it, of a file.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text file so that a reader sees the old content or the new, never a part.

    Args:
        path: the file; its folder is made when missing.
        text: the content, written as UTF-8.

    Raises:
        OSError: if it cannot be written; `path` is then as it was.
    """
    write_bytes(path, text.encode())


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """As `write_text`, of bytes."""
    try:
        _write_bytes(os.path.abspath(path), content)
    except OSError as error:
        if not is_full(error):
            raise
        room = f"{len(content)} bytes are needed, and {free_bytes(path)} are free"
        raise OSError(error.errno, f"{error.strerror}: {room}", os.fspath(path)) from error


def _write_bytes(path: str, content: bytes) -> None:
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=folder, prefix=f".{os.path.basename(path)}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        if os.path.exists(beside):
            os.remove(beside)
        raise


def is_full(error: OSError) -> bool:
    """Whether an error says that there is no room for what was to be written."""
    return error.errno in _FULL


def free_bytes(path: str | os.PathLike[str]) -> int:
    """The room that is left on the disk of a file or folder, which need not exist yet."""
    folder = os.path.abspath(path)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return shutil.disk_usage(folder).free


def write_texts(texts: Mapping[str, str]) -> None:
    """As `write_text`, of many files: in any order, and sooner than one after the other.

    Args:
        texts: the contents by path.

    Raises:
        OSError: if one cannot be written; all others are tried.
    """
    if len(texts) == 1:
        write_text(*next(iter(texts.items())))
        return
    # A disk syncs many files in the time of a few.
    with concurrent.futures.ThreadPoolExecutor(_WRITERS) as threads:
        written = [threads.submit(write_text, path, text) for path, text in texts.items()]
    for one in written:
        one.result()


def write_json(path: str | os.PathLike[str], value: Any) -> str:
    """Writes a value as JSON, whole at every instant; returns the text."""
    text = json.dumps(value)
    write_text(path, text)
    return text


def characters_of_patterns(path: str | os.PathLike[str]) -> str:
    """The characters of a path, as an absolute one, that TensorFlow may take for a pattern."""
    full = os.path.abspath(path)
    return "".join(one for one in _OF_PATTERNS if one in full)


@contextlib.contextmanager
def plain_path(folder: str | os.PathLike[str]) -> Iterator[str]:
    """Gives a path of a folder that TensorFlow takes for no pattern, for as long as it reads it.

    Args:
        folder: a folder that exists.

    Returns:
        A context manager, which gives the path itself, or the path of a temporary link to it.
    """
    if not characters_of_patterns(folder):
        yield os.fspath(folder)
        return
    with tempfile.TemporaryDirectory(prefix="kerasreg-") as temporary:
        link = os.path.join(temporary, "folder")
        try:
            os.symlink(os.path.abspath(folder), link, target_is_directory=True)
        except OSError:  # A system without links, or without the right to make one.
            shutil.copytree(folder, link)
        yield link
