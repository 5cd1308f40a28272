"""Publishing a model in the layout that TensorFlow Serving reads: `<base>/<version>/`.

A version directory appears by one rename of a folder that is complete and
synced: a reader sees all of it or nothing, and nothing is ever overwritten.
"""

from __future__ import annotations

import os
import shutil
import tempfile

import keras


def versions(base_dir: str | os.PathLike[str]) -> list[int]:
    """The published versions in a base directory, in ascending order.

    Args:
        base_dir: the directory; it need not exist.

    Returns:
        The numbers of its version directories.

    Example:

    >>> import kerasreg
    >>> kerasreg.serving.versions("does-not-exist")
    []
    """
    if not os.path.isdir(base_dir):
        return []
    return sorted(
        int(name)
        for name in os.listdir(base_dir)
        if name.isascii() and name.isdigit() and os.path.isdir(os.path.join(base_dir, name))
    )


def export(model: keras.Model, base_dir: str | os.PathLike[str]) -> str:
    """Exports a model for inference as the next version in a base directory.

    In contrast to `model.export(path)`, nothing is overwritten, and there is no
    moment at which the version is on disk in part. Concurrent exports get
    different versions.

    Args:
        model: a built Keras model. Its signatures `serve` and `serving_default`
            take a batch of any size.
        base_dir: the base directory, made when missing.

    Returns:
        The path of the new version directory, `<base_dir>/<number>`.

    Raises:
        ValueError: if the model is not built, or `base_dir` is a file.

    Example:

    >>> import tempfile, keras, kerasreg
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> path = kerasreg.serving.export(model, tempfile.mkdtemp())
    >>> path.endswith("/1")
    True
    """
    if not model.built:
        raise ValueError(
            f"`model` must be built: call it on data first. Received: {model.name!r}, unbuilt"
        )
    base_dir = os.fspath(base_dir)
    if os.path.exists(base_dir) and not os.path.isdir(base_dir):
        raise ValueError(f"`base_dir` must be a directory. Received: the file {base_dir!r}")
    os.makedirs(base_dir, exist_ok=True)
    # In the base directory, so that the rename stays in one file system. Readers
    # look for names that are numbers and pass over this one.
    staging = tempfile.mkdtemp(prefix=".staging-", dir=base_dir)
    try:
        staged = os.path.join(staging, "model")
        model.export(staged, verbose=False)
        _sync(staged)
        return _publish(staged, base_dir)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _publish(staged: str, base_dir: str) -> str:
    """Renames a staged folder to the next free version; returns its path."""
    version = max(versions(base_dir), default=0) + 1
    while True:
        path = os.path.join(base_dir, str(version))
        try:
            # Renaming onto a directory with files in it fails: that version was
            # taken by another export meanwhile.
            os.rename(staged, path)
        except OSError:
            if not os.path.exists(path):
                raise
            version += 1
            continue
        _sync_folder(base_dir)
        return path


def _sync(folder: str) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(parent, name), "rb") as file:
                os.fsync(file.fileno())
        _sync_folder(parent)


def _sync_folder(folder: str) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # Windows cannot sync a folder.
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
