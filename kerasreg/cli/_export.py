"""`kerasreg export`: a saved Keras model as the next version of a SavedModel."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kerasreg import serving
from kerasreg.serving._card import FOLDER, NAMES


@dataclasses.dataclass(frozen=True)
class Settings:
    """What `export` does; see the flags of the command."""

    base_dir: str
    samples: str | None
    labels: tuple[str, ...]
    outputs: tuple[str, ...]
    mc_passes: int
    card: str | None
    tolerance: float


def export(model: str, settings: Settings, write: Callable[[str], None]) -> str:
    """Loads a model, exports it, and tells what was published; returns its path.

    Raises:
        ValueError: if a file is not what it should be, or an argument does not fit the model.
        RuntimeError: if what was exported differs from Keras.
    """
    loaded = _load(model)
    path = serving.export(
        loaded,
        settings.base_dir,
        samples=_samples(settings.samples),
        labels=settings.labels or None,
        outputs=settings.outputs or None,
        mc_passes=settings.mc_passes,
        card=_card(settings.card),
        tolerance=settings.tolerance,
    )
    write(f"exported {path}")
    with open(os.path.join(path, FOLDER, NAMES[0]), encoding="utf-8") as file:
        card = json.load(file)
    write(f"signatures: {', '.join(card['signatures'])}")
    compared = card.get("verification")
    if compared is None:
        write("not compared with Keras: give --samples, for strings and unknown axes")
    else:
        write(
            "loaded in a new process without Keras and kerasreg: outputs equal Keras' on "
            f"{compared['samples']} samples (largest relative difference "
            f"{compared['relative_difference']:.1e}, limit {compared['tolerance']:.0e})"
        )
    return path


def _load(path: str) -> keras.Model:
    if not path.endswith(".keras") or not os.path.isfile(path):
        raise ValueError(f"`model` must be a .keras file. Received: {path!r}")
    try:
        loaded = keras.saving.load_model(path)
    except Exception as error:  # Keras raises whatever a broken file leads to.
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            f"`model` must be a .keras file that loads. Received: {path!r}, of which "
            f"Keras says: {lines[0]}"
        ) from error
    if not isinstance(loaded, keras.Model):
        raise ValueError(f"`model` must be a Keras model. Received: a {type(loaded).__name__}")
    return loaded


def _samples(path: str | None) -> Any:
    if path is None:
        return None
    try:
        found = np.load(path)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"--samples must be a .npy or .npz file of arrays without objects. Received: {path!r}, "
            f"of which NumPy says: {error}"
        ) from error
    return found if isinstance(found, np.ndarray) else dict(found)


def _card(path: str | None) -> Any:
    if path is None:
        return None
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError) as error:
        raise ValueError(f"--card must be a .json file. Received: {path!r}: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"--card must be a JSON object. Received: a {type(found).__name__}")
    return found
