"""`kerasreg export`: a saved Keras model as the next version of a SavedModel."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Set
from typing import TYPE_CHECKING, Any

from absl import logging

from kerasreg._first_line import first_line
from kerasreg.cli._command import (
    Command,
    UsageError,
    bad_input,
    check_writable,
    loading,
    write,
    writing,
)
from kerasreg.cli._options import option

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """Arguments of `kerasreg.serving.export`, where they are data, by the names of files."""

    base_dir: str | None = option(None, "Folder of the versions; made when missing.")
    samples: str | None = option(
        None,
        "A .npy file of inputs, or an .npz file with an array for each input: to compare with "
        "Keras, and for warm-up requests. Without it the comparison is of random numbers.",
    )
    labels: tuple[str, ...] = option(
        (), "Names of the classes, separated by commas: adds `classify`."
    )
    outputs: tuple[str, ...] = option((), "Names of the outputs, separated by commas.")
    passes: int = option(
        0, "Passes with dropout on of the signature `predict_mc`; 0 leaves it out.", minimum=0
    )
    card: str | None = option(None, "A .json file with more for the model card.")
    tolerance: float = option(
        1e-6,
        "Largest relative difference from Keras with which a version is published.",
        minimum=0.0,
    )
    quantization: str | None = option(
        None,
        "Stores the weights in fewer bits; they are widened where they are used.",
        choices=["float16", "int8"],
    )
    original: str | None = option(
        None, "The .keras file before it was made smaller, to compare with."
    )
    validation_data: str | None = option(
        None,
        "A .npz file with inputs, as `x` or by their names, and targets, as `y`, of the "
        "comparison of --quantization and --original.",
    )
    original_tolerance: float | None = option(
        None, "The largest relative difference from the original with which it is published."
    )


def _run(options: ExportOptions, given: Set[str], model: str | None) -> None:
    if model is None or not options.base_dir:
        raise UsageError(
            "export needs a model and a folder: kerasreg export net.keras --base_dir=models/net"
        )
    check_writable("--base_dir", options.base_dir)
    with bad_input():
        with loading():
            import kerasreg.serving  # noqa: F401
        logging.set_verbosity(logging.WARNING)  # Keras' export logs each file.
        with writing(options.base_dir):
            _export(model, options)


def _export(model: str, options: ExportOptions) -> None:
    """Loads a model, exports it, and tells what was published."""
    from kerasreg import serving

    arguments = dataclasses.asdict(options)
    loaded = load("`model`", model)
    arguments["samples"] = _samples(options.samples)
    arguments["labels"] = options.labels or None
    arguments["outputs"] = options.outputs or None
    arguments["card"] = _card(options.card)
    if options.original is not None:
        arguments["original"] = load("--original", options.original)
    arguments["validation_data"] = _validation_data(options.validation_data)
    path = serving.export(loaded, **arguments)
    write(f"exported {path}")
    card = serving.read_card(path)
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
            # What is not finite is text in the card.
            write(f"against the original, {name.replace('_', ' ')}: {float(each):.6g}")
    for name, each in card.get("metrics_against_original", {}).items():
        before, after = (float(each[key]) for key in ("original", "exported"))
        write(f"{name}: {before:.6g}, exported {after:.6g}")


def load(argument: str, path: str) -> keras.Model:
    import keras

    if not path.endswith(".keras") or not os.path.isfile(path):
        raise ValueError(f"{argument} must be a .keras file. Received: {path!r}")
    try:
        loaded = keras.saving.load_model(path)
    except Exception as error:  # Keras raises whatever a broken file leads to.
        raise ValueError(
            f"{argument} must be a .keras file that loads. Received: {path!r}, of which "
            f"Keras says: {first_line(error)}"
        ) from error
    if not isinstance(loaded, keras.Model):
        raise ValueError(f"{argument} must be a Keras model. Received: a {type(loaded).__name__}")
    return loaded


def _samples(path: str | None, flag: str = "--samples") -> Any:
    import numpy as np

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


EXPORT = Command(
    name="export",
    summary=[
        "export a saved Keras model as the next version of a SavedModel,",
        "compared with Keras before it is published",
    ],
    purpose="a saved Keras model as the next version in a folder",
    examples=[
        "kerasreg export net.keras --base_dir=models/net --samples=x.npy --labels=no,yes",
        "kerasreg export net.keras --base_dir=models/net --quantization=int8 \\",
        "    --validation_data=held_out.npz",
    ],
    options=ExportOptions,
    run=_run,
    takes="MODEL.keras --base_dir=FOLDER",
)
