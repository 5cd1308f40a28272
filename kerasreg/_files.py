"""Files that are whole at every instant: written beside, synced, renamed."""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any


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
    folder = os.path.dirname(os.path.abspath(path))
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


def write_json(path: str | os.PathLike[str], value: Any) -> str:
    """Writes a value as JSON, whole at every instant; returns the text."""
    text = json.dumps(value)
    write_text(path, text)
    return text
