"""A file of a project that the workers of a chief write: each of them has a part of its own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable


def path_of_part(folder: str, name: str, part: str) -> str:
    """The path of a part of a file.

    Args:
        folder: the folder of the project.
        name: the name of the file, such as `"search_log.json"`.
        part: the name of the part; empty for the file itself.
    """
    stem, ending = os.path.splitext(name)
    return os.path.join(folder, f"{stem}-{part}{ending}" if part else name)


def paths_of_parts(folder: str, name: str) -> list[str]:
    """The paths of a file, if it is there, and of its parts.

    No pattern finds them: the name of the folder may look like one.
    """
    stem, ending = os.path.splitext(name)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    parts = [one for one in names if one.startswith(f"{stem}-") and one.endswith(ending)]
    return [os.path.join(folder, one) for one in [*({name} & set(names)), *parts]]


def remove(paths: Iterable[str]) -> None:
    """Deletes parts that are in the file itself now."""
    for path in paths:
        with contextlib.suppress(OSError):  # It is read again, and does no harm.
            os.remove(path)
