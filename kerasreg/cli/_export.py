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
    quantization: str | None
    original: str | None
    validation_data: str | None
    original_tolerance: float | None


def export(model: str, settings: Settings, write: Callable[[str], None]) -> str:
    """Loads a model, exports it, and tells what was published; returns its path.

    Raises:
        ValueError: if a file is not what it should be, or an argument does not fit the model.
        RuntimeError: if what was exported differs from Keras.
    """
    loaded = _load("`model`", model)
    path = serving.export(
        loaded,
        settings.base_dir,
        samples=_samples(settings.samples),
        labels=settings.labels or None,
        outputs=settings.outputs or None,
        mc_passes=settings.mc_passes,
        card=_card(settings.card),
        tolerance=settings.tolerance,
        quantization=settings.quantization,
        original=None if settings.original is None else _load("--original", settings.original),
        validation_data=_validation_data(settings.validation_data),
        original_tolerance=settings.original_tolerance,
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
    for name, each in card.get("against_original", {}).items():
        if each is not None:
            write(f"against the original, {name.replace('_', ' ')}: {each:.6g}")
    for name, each in card.get("metrics_against_original", {}).items():
        write(f"{name}: {each['original']:.6g}, exported {each['exported']:.6g}")
    return path


def _load(argument: str, path: str) -> keras.Model:
    if not path.endswith(".keras") or not os.path.isfile(path):
        raise ValueError(f"{argument} must be a .keras file. Received: {path!r}")
    try:
        loaded = keras.saving.load_model(path)
    except Exception as error:  # Keras raises whatever a broken file leads to.
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            f"{argument} must be a .keras file that loads. Received: {path!r}, of which "
            f"Keras says: {lines[0]}"
        ) from error
    if not isinstance(loaded, keras.Model):
        raise ValueError(f"{argument} must be a Keras model. Received: a {type(loaded).__name__}")
    return loaded


def _samples(path: str | None, flag: str = "--samples") -> Any:
    if path is None:
        return None
    try:
        found = np.load(path)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{flag} must be a .npy or .npz file of arrays without objects. Received: {path!r}, "
            f"of which NumPy says: {error}"
        ) from error
    return found if isinstance(found, np.ndarray) else dict(found)


def _validation_data(path: str | None) -> Any:
    found = _samples(path, "--validation_data")
    if found is None:
        return None
    if not isinstance(found, dict) or not set(found) - {"y"}:
        raise ValueError(
            "--validation_data must be a .npz file with inputs, as x or by their names, and "
            f"targets, as y. Received: {path!r}"
        )
    y = found.pop("y", None)
    return (found["x"] if set(found) == {"x"} else found), y


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
