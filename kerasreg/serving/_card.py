"""The model card: what a served model is and how it came to be, beside it (Mitchell et al. 2019,
"Model Cards for Model Reporting", arXiv:1810.03993).
"""

from __future__ import annotations

import datetime
import functools
import json
import math
import os
import platform
from collections.abc import Callable, Mapping
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
        A dict of what JSON can hold. `not_described` has what could not be described, by its
        place, with the reason: there are schedules without a config, and penalties that fail.

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
    now = datetime.datetime.now(datetime.UTC)
    sections: dict[str, Callable[[], Any]] = {
        "model": lambda: model.name,
        "exported": lambda: now.isoformat(timespec="seconds"),
        "parameters": lambda: int(model.count_params()),
        "bytes": lambda: _report(model).bytes,
        "zeros": lambda: {"count": _report(model).zeros, "share": _report(model).share},
        "hyperparameters_of_layers": lambda: _rows_of_hyperparameters(model),
        "penalties": lambda: _penalties(model),
        "optimizer": lambda: _optimizer(model),
        "versions": _versions,
    }
    found: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for name, describe in sections.items():
        if name in first:
            continue
        try:
            found[name] = _jsonable(describe(), name, missing)
        except Exception as error:  # Of the objects that are described: others wrote them.
            found[name], missing[name] = None, _in_words(error)
    if missing:
        found["not_described"] = missing
    return {**first, **found}


class _Unknown:
    """What could not be described, and why."""

    def __init__(self, error: Exception) -> None:
        self.reason = _in_words(error)


def _in_words(error: Exception) -> str:
    try:
        lines = str(error).strip().splitlines() or [""]
    except Exception:
        lines = ["a message that cannot be written"]
    return f"{type(error).__name__}: {lines[0][:200]}".rstrip(": ")


def _tried(describe: Callable[[], Any]) -> Any:
    """What a function returns, or why it does not."""
    try:
        return describe()
    except Exception as error:
        return _Unknown(error)


def _jsonable(value: Any, path: str, missing: dict[str, str], depth: int = 0) -> Any:
    """A value of what JSON can hold: numbers that are not finite are text, as `"nan"`.

    What could not be described is noted under its path.
    """
    if isinstance(value, _Unknown):
        missing[path] = value.reason
        return None
    if value is None or isinstance(value, (bool, str, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (np.generic, np.ndarray)):
        return _jsonable(value.tolist(), path, missing, depth)
    if isinstance(value, (Mapping, list, tuple)) and depth > 50:
        return "..."
    if isinstance(value, Mapping):
        named = {_text(key, path, missing): part for key, part in value.items()}
        return {
            key: _jsonable(part, f"{path}.{key}", missing, depth + 1) for key, part in named.items()
        }
    if isinstance(value, (list, tuple)):
        parts = enumerate(value)
        return [_jsonable(part, f"{path}.{i}", missing, depth + 1) for i, part in parts]
    return _text(value, path, missing)


def _text(value: Any, path: str, missing: dict[str, str]) -> str:
    try:
        return value if isinstance(value, str) else str(value)
    except Exception as error:
        missing[path] = _in_words(error)
        return type(value).__name__


def _report(model: keras.Model) -> SparsityReport:
    return sparsity_report(model) if model.weights else SparsityReport(())


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
            "schedule": _tried(functools.partial(_repr_of, hyperparameter.schedule)),
            "step": None if hyperparameter.step is None else int(_number(hyperparameter.step)),
        }
        for names, hyperparameter in hyperparameters_of(model)
    ]


def _repr_of(value: Any) -> str | None:
    return None if value is None else repr(value)


def _value_of(penalty: Any, weight: Any) -> float:
    return _number(penalty(weight))


def _penalties(model: keras.Model) -> list[dict[str, Any]]:
    """The penalty of each weight that has one, at the strength as it is."""
    found = []
    for weight in model.weights:
        penalty = getattr(weight, "regularizer", None)
        if penalty is not None:
            of = penalty.value if isinstance(penalty, Penalty) else penalty
            value = _tried(functools.partial(_value_of, of, weight))
            name = getattr(penalty, "__name__", type(penalty).__name__)
            found.append({"weight": weight.path, "penalty": name, "value": value})
    return found


def _optimizer(model: keras.Model) -> dict[str, Any] | None:
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        return None
    config = _tried(lambda: keras.saving.serialize_keras_object(optimizer)["config"])
    found = {
        "class": type(optimizer).__name__,
        "config": config,
        "steps": _tried(lambda: int(_number(optimizer.iterations))),
    }
    if isinstance(config, _Unknown):
        found["learning_rate"] = _tried(lambda: _number(optimizer.learning_rate))
    return found


def _versions() -> dict[str, str]:
    import tensorflow as tf

    found = {"kerasreg": __version__, "python": platform.python_version()}
    found |= {"keras": keras.__version__, "tensorflow": tf.__version__}
    return {**found, "numpy": np.__version__}


def write_card(saved_model: str, card: Mapping[str, Any]) -> None:
    """Writes a card into a SavedModel, for programs and for people."""
    folder = os.path.join(saved_model, FOLDER)
    os.makedirs(folder, exist_ok=True)
    plain = _jsonable(card, "", {})
    texts = (json.dumps(plain, indent=2, allow_nan=False) + "\n", as_markdown(plain))
    for name, text in zip(NAMES, texts, strict=True):
        # A name may have half of a pair of characters, which UTF-8 has not.
        with open(os.path.join(folder, name), "w", encoding="utf-8", errors="replace") as file:
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
