"""Whether a search may begin, or go on, in a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

_ENTRIES: dict[str, Any] = {
    "data": str, "target": (str, type(None)), "task": str, "tuner": str, "trials": int,
    "epochs": int, "seed": int, "replicas": int, "fingerprint": str,
}  # fmt: skip


def read_record(folder: str) -> dict[str, Any] | None:
    """The record of the search in a folder, or None where there is none.

    Raises:
        ValueError: if the record cannot be read.
    """
    path = os.path.join(folder, "job.json")
    if not os.path.exists(path):
        return None
    try:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
        record["drop"] = tuple(record["drop"])
        for name, kind in _ENTRIES.items():
            if not isinstance(record[name], kind):
                raise TypeError(f"{name} is {record[name]!r}")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path!r} is not the record of a search: {error}") from error
    return record


def check_record(
    folder: str, settings: Mapping[str, Any], fixed: Iterable[str], resume: bool
) -> dict[str, Any] | None:
    """Checks that a search may begin, or go on, in a folder.

    Args:
        folder: where the search is, or is to be.
        settings: the settings that are wanted now.
        fixed: names of those that were given and must equal the record's.
        resume: whether a search is to go on.

    Returns:
        The record of the search that goes on; None for one that begins.

    Raises:
        ValueError: if there is a search and none may be, or the other way round,
            or it was begun with another setting.
    """
    record = read_record(folder)
    if not resume:
        if record is not None:
            raise ValueError(
                f"{folder!r} already holds a search; go on with it with --resume, or choose "
                "another --output_dir"
            )
        if os.path.isdir(folder) and os.listdir(folder):
            raise ValueError(f"--output_dir must be a new or an empty folder; {folder!r} is not")
        return None
    if record is None:
        raise ValueError(f"--resume needs a search in --output_dir; there is none in {folder!r}")
    for name in sorted(fixed):
        if settings[name] != record[name]:
            raise ValueError(
                f"--{name}={settings[name]} differs from the search in {folder!r}, which was "
                f"begun with --{name}={record[name]}"
            )
    return record
