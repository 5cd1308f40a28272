"""Settings of an earlier search: of its folder, or of the card of a model that it exported."""

from __future__ import annotations

import json
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras_tuner

from kerasreg import serving, tuners

# More of them would leave a search of the default length nothing to find.
_MOST = 16


def earlier_settings(path: str, trials: int | None) -> list[dict[str, Any]]:
    """Reads the settings that a search is to begin with, the best one first.

    Args:
        path: the folder of a search, of which the members of its ensemble come first, then its
            other trials by their scores; or a version of an exported model, a folder of versions,
            of which the newest counts, or a model card.
        trials: the number of trials of the new search, of which they are at most half; None if it
            has no such number.

    Returns:
        At most 16 settings, each as values by the names of hyperparameters.

    Raises:
        ValueError: if there are no settings.
    """
    most = _MOST if trials is None else min(_MOST, max(trials // 2, 1))
    if not os.path.exists(path):
        raise ValueError(
            "`start_from` must be the folder of a search, an exported model, or its "
            f"model_card.json. There is no {path!r}"
        )
    if os.path.isdir(path) and os.path.exists(os.path.join(path, "job.json")):
        return _of_search(pathlib.Path(path))[:most]
    return [_of_card(path)]


def _of_card(path: str) -> dict[str, Any]:
    if os.path.isdir(path):
        versions = serving.list_versions(path)
        version = os.path.join(path, str(versions[-1])) if versions else path
        card = serving.read_card(version)
    else:
        card = _json(pathlib.Path(path))
    setting = card.get("hyperparameters")
    if not isinstance(setting, Mapping) or not setting:
        raise ValueError(f"`start_from` must have hyperparameters: the card of {path!r} has none")
    return dict(setting)


def _of_search(folder: pathlib.Path) -> list[dict[str, Any]]:
    states = [_json(file) for file in sorted(folder.glob("search/trial_*/trial.json"))]
    scores = {state.get("trial_id"): state.get("score") for state in states}
    # Every objective of the command is one of which less is better.
    done = sorted(
        (score, str(trial_id))
        for trial_id, score in scores.items()
        if isinstance(score, (int, float)) and math.isfinite(score)
    )
    report = folder / "report.json"
    members = _json(report).get("ensemble", {}).get("rows", []) if report.exists() else []
    order = [str(row["trial_id"]) for row in members] + [trial_id for _, trial_id in done]
    values = {str(one["trial_id"]): one["hyperparameters"]["values"] for one in states}
    found: list[dict[str, Any]] = []
    for trial_id in dict.fromkeys(order):
        setting = {k: v for k, v in values.get(trial_id, {}).items() if not k.startswith("tuner/")}
        # Trials of Hyperband's later rounds have the settings of earlier ones.
        if setting and setting not in found:
            found.append(setting)
    if not found:
        raise ValueError(
            f"`start_from` must have trials that are done: the search in {str(folder)!r} has none"
        )
    return found


def _json(path: pathlib.Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise TypeError(f"it is a {type(found).__name__}")
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"`start_from` cannot be read: {str(path)!r}: {error}") from error
    return found


def adapted(
    settings: Sequence[Mapping[str, Any]], space: keras_tuner.HyperParameters
) -> tuple[list[dict[str, Any]], str]:
    """Fits earlier settings into the space of a search.

    Args:
        settings: of an earlier search.
        space: of the new one.

    Returns:
        Those of which something is left, and a note of what is otherwise, or `""`.

    Raises:
        ValueError: if nothing is left of any.
    """
    each = [tuners.adapt_setting(setting, space) for setting in settings]
    kept = [one.values for one in each if one.values]
    if not kept:
        raise ValueError(
            "`start_from` must have hyperparameters of this search. Received: "
            f"{', '.join(map(repr, settings[0]))}"
        )
    told = {
        "not searched here, and left out": [name for one in each for name in one.unknown],
        "left out for their values": [name for one in each for name in one.left_out],
        "moved into the ranges of today": [name for one in each for name in one.moved],
    }
    parts = [
        f"{', '.join(map(repr, dict.fromkeys(names)))} {what}"
        for what, names in told.items()
        if names
    ]
    return kept, "; ".join(parts)
