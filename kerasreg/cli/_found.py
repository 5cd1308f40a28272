"""What a search has found, as the machine that ended it gives it to the others."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any

from kerasreg._files import write_bytes

_FILES = (
    "ensemble.keras",
    "report.html",
    "report.json",
    "report.md",
    "results.csv",
    "search_report.json",
)
_MODEL = "model"


def give(tuner: Any, folder: str, version: str) -> dict[str, str]:
    """Shares what is in the folder of a search that has ended.

    Args:
        tuner: the tuner, which has artifacts.
        folder: the folder.
        version: the path of the exported model.

    Returns:
        The names of the artifacts by the names of files; the exported model is an archive.
    """
    paths = {name: os.path.join(folder, name) for name in _FILES}
    found = {name: tuner.share_file(path) for name, path in paths.items()}
    with tempfile.TemporaryDirectory() as temporary:
        parent, last = os.path.split(os.path.abspath(version))
        base = os.path.join(temporary, "model")
        archive = shutil.make_archive(base, "zip", root_dir=parent, base_dir=last)
        found[_MODEL] = tuner.share_file(archive)
    return found


def take(tuner: Any, found: Mapping[str, str], folder: str) -> None:
    """Writes what another machine has shared into the folder of this one, each file at once.

    Args:
        tuner: the tuner, which has artifacts.
        found: what `give` returned there.
        folder: the folder.
    """
    for name in _FILES:
        write_bytes(os.path.join(folder, name), tuner.shared_file(found[name]))
    base = os.path.join(folder, _MODEL)
    os.makedirs(base, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=base, prefix=".staging-") as temporary:
        archive = os.path.join(temporary, "model.zip")
        write_bytes(archive, tuner.shared_file(found[_MODEL]))
        shutil.unpack_archive(archive, os.path.join(temporary, "versions"))
        for version in os.listdir(os.path.join(temporary, "versions")):
            place = os.path.join(base, version)
            if not os.path.exists(place):
                os.rename(os.path.join(temporary, "versions", version), place)
