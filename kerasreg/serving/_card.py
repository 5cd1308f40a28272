"""The model card: what a served model is and how it came to be, beside it (Mitchell et al. 2019,
"Model Cards for Model Reporting", arXiv:1810.03993).
"""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._keras.hyperparameter import hyperparameters_of
from kerasreg._version import __version__
from kerasreg.models import SparsityReport, sparsity_report
from kerasreg.regularizers import Penalty

FOLDER = "assets.extra"  # Which TensorFlow's loaders leave alone.
NAMES = ("model_card.json", "model_card.md")


def model_card(model: keras.Model, given: Mapping[str, Any]) -> dict[str, Any]:
    """What can be said of a model, and what was given.

    Args:
        model: the model as it is exported.
        given: more entries, of what JSON can hold; they come first.

    Returns:
        A dict of what JSON can hold.

    Raises:
        ValueError: if JSON can't hold what was given.
    """
    try:
        first = json.loads(json.dumps(dict(given), default=_plain, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(
            "`card` must be a dict of what JSON can hold: strings, finite numbers, lists, dicts. "
            f"Received: {error}"
        ) from None
    report = sparsity_report(model) if model.weights else SparsityReport(())
    now = datetime.datetime.now(datetime.UTC)
    found = {
        "model": model.name,
        "exported": now.isoformat(timespec="seconds"),
        "parameters": int(model.count_params()),
        "bytes": report.bytes,
        "zeros": {"count": report.zeros, "share": report.share},
        "hyperparameters_of_layers": _rows_of_hyperparameters(model),
        "penalties": _penalties(model),
        "optimizer": _optimizer(model),
        "versions": _versions(),
    }
    return {**first, **{name: value for name, value in found.items() if name not in first}}


def _plain(value: Any) -> Any:
    """Of NumPy, what JSON has."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} {value!r}")


def _number(value: Any) -> float:
    return float(ops.convert_to_numpy(value))


def _rows_of_hyperparameters(model: keras.Model) -> list[dict[str, Any]]:
    """Rates and strengths as they are, with the schedule that moved them and how far it was."""
    return [
        {
            "of": names[-1],
            "name": hyperparameter.argument,
            "value": _number(hyperparameter.variable),
            "schedule": None if hyperparameter.schedule is None else repr(hyperparameter.schedule),
            "step": None if hyperparameter.step is None else int(_number(hyperparameter.step)),
        }
        for names, hyperparameter in hyperparameters_of(model)
    ]


def _penalties(model: keras.Model) -> list[dict[str, Any]]:
    """The penalty of each weight that has one, at the strength as it is."""
    found = []
    for weight in model.weights:
        penalty = getattr(weight, "regularizer", None)
        if penalty is not None:
            value = penalty.value(weight) if isinstance(penalty, Penalty) else penalty(weight)
            name = type(penalty).__name__
            found.append({"weight": weight.path, "penalty": name, "value": _number(value)})
    return found


def _optimizer(model: keras.Model) -> dict[str, Any] | None:
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        return None
    serialised = keras.saving.serialize_keras_object(optimizer)
    return {
        "class": serialised["class_name"],
        "config": serialised["config"],
        "steps": int(_number(optimizer.iterations)),
    }


def _versions() -> dict[str, str]:
    import tensorflow as tf

    found = {"kerasreg": __version__, "python": platform.python_version()}
    found |= {"keras": keras.__version__, "tensorflow": tf.__version__}
    return {**found, "numpy": np.__version__}


def write_card(saved_model: str, card: Mapping[str, Any]) -> None:
    """Writes a card into a SavedModel, for programs and for people."""
    folder = os.path.join(saved_model, FOLDER)
    os.makedirs(folder, exist_ok=True)
    texts = (json.dumps(card, indent=2, default=str) + "\n", as_markdown(card))
    for name, text in zip(NAMES, texts, strict=True):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)


def read_card(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads the model card of an exported version.

    Args:
        path: a version directory, as `export` returns it.

    Returns:
        The entries of the card, by name.

    Raises:
        ValueError: if `path` has no model card.

    Example:

    >>> import tempfile, keras, kerasreg
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)], name="net")
    >>> path = kerasreg.serving.export(model, tempfile.mkdtemp(), tolerance=None)
    >>> kerasreg.serving.read_card(path)["model"]
    'net'
    """
    try:
        with open(os.path.join(path, FOLDER, NAMES[0]), encoding="utf-8") as file:
            return dict(json.load(file))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(
            f"`path` must be a version directory with a model card. Received: path="
            f"{os.fspath(path)!r}, of which it is said: {error}"
        ) from error


def as_markdown(card: Mapping[str, Any]) -> str:
    """A card as Markdown: a heading for each entry, and tables for what is in it."""
    lines = [f"# Model card: {card['model']}", ""]
    for name, value in card.items():
        if name == "model" or value in (None, [], {}):
            continue
        title = name.replace("_", " ")
        if not isinstance(value, (dict, list)):
            lines += [f"**{title}**: {_cell(value)}", ""]
            continue
        lines += [f"## {title[:1].upper()}{title[1:]}", ""]
        if isinstance(value, dict) and all(isinstance(part, dict) for part in value.values()):
            value = [{"": key, **part} for key, part in value.items()]
        if isinstance(value, dict):
            lines += _table(["", ""], [[key, part] for key, part in value.items()])
        elif all(isinstance(row, dict) for row in value):
            columns = list(dict.fromkeys(key for row in value for key in row))
            lines += _table(columns, [[row.get(key) for key in columns] for row in value])
        else:
            lines += [f"- {_cell(part)}" for part in value]
        lines.append("")
    return "\n".join(lines)


def _table(columns: list[str], rows: list[list[Any]]) -> list[str]:
    written = [columns, ["---"] * len(columns), *rows]
    return ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in written]


def _cell(value: Any) -> str:
    """A value in one line, with nothing in it that Markdown takes for the end of a cell."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = json.dumps(value) if isinstance(value, (dict, list)) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
