"""The report of a tuner's search: what its trials, its selection and its ensemble tell."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from typing import Any

import keras
import keras_tuner
import numpy as np

from kerasreg._version import __version__
from kerasreg.reports import SearchReport, checks, search_report
from kerasreg.tuners._lane_report import LaneReport
from kerasreg.tuners._learning_curves import LearningCurves
from kerasreg.tuners._results import trained_by
from kerasreg.tuners._run_search import completed_trials
from kerasreg.tuners._selection import Selection, select_trial
from kerasreg.tuners._trial_ensembles import EnsembleSelection


def report_of_search(
    tuner: Any,
    report: LaneReport,
    curves: LearningCurves,
    selection: Selection | None,
    ensemble: EnsembleSelection | None,
    notes: list[str],
    title: str | None,
) -> SearchReport:
    """The report of a tuner: `VectorizedTuner.report` says what of.

    Args:
        tuner: a tuner.
        report: how the trials were trained.
        curves: the learning curves of the trials.
        selection: what chose a trial, or None for the tuner's own choice.
        ensemble: what chose an ensemble, or None.
        notes: sentences for those who read the report.
        title: the name of the search, by default that of the project.
    """
    done, objective = completed_trials(tuner), tuner.oracle.objective
    # Several objectives are no metric, and have one score for each trial.
    if selection is None and done and all(one.metrics.exists(objective.name) for one in done):
        selection = select_trial(tuner)
    trials = [tuner.oracle.trials[one] for one in dict.fromkeys(tuner.oracle.start_order)]
    rows = () if selection is None else selection.rows
    ranking = [row.setting for row in rows] or [one.trial_id for one in done]
    folds = getattr(tuner, "folds", None)
    return search_report(
        [trial.get_state() for trial in trials],
        objective=objective.name,
        direction=objective.direction,
        title=tuner.project_name if title is None else title,
        executions=1 if folds is None else tuner.executions_per_trial,
        shrunken={row.setting: (row.shrunken, row.shrunken_error) for row in rows},
        trained=trained_by(report),
        curves=curves.to_dict(ranking, tuner.project_dir),
        honesty=honesty(objective.name, len(rows), selection, ensemble),
        ensemble=None if ensemble is None else told_of(ensemble),
        checks=None if ensemble is None else checks(ensemble.predictions, ensemble.targets),
        programs=[row._asdict() for row in report.rows],
        provenance={
            "versions": _versions(),
            "fingerprint": _fingerprint(tuner),
            "command": None,
            "code": None if selection is None else _code(selection.trial),
        },
        notes=notes,
    )


def told_of(ensemble: EnsembleSelection) -> dict[str, Any]:
    """An ensemble, as a report has it."""
    return {
        "metric": ensemble.metric,
        "score": ensemble.score,
        "expected_score": ensemble.expected_score,
        "standard_error": ensemble.standard_error,
        "best_trial": ensemble.best_trial_id,
        "best_score": ensemble.best_score,
        "members": [
            {"trial": row.trial_id, "share": row.share, "score": row.score} for row in ensemble.rows
        ],
    }


def honesty(
    metric: str, trials: int, selection: Selection | None, ensemble: EnsembleSelection | None
) -> list[dict[str, Any]]:
    """The scores of what was chosen, each with the reason to trust it or not."""
    rows: list[tuple[str, str, float, float | None, str]] = []
    if selection is not None:
        trial = selection.trial.trial_id
        rows.append(
            (
                f"trial {trial} in the search",
                metric,
                selection.search_score,
                None,
                f"too good: one of the best of {trials} was taken, and luck was taken with it",
            )
        )
        if selection.confirmed_score is not None:
            rows.append(
                (
                    f"trial {trial}, trained again",
                    metric,
                    selection.confirmed_score,
                    None,
                    "on new folds or with other random numbers, after it was among the best",
                )
            )
        if np.isfinite(selection.standard_error):
            rows.append(
                (
                    f"trial {trial}, shrunken",
                    metric,
                    selection.score,
                    selection.standard_error,
                    "an estimate for new folds, with luck taken off",
                )
            )
    if ensemble is not None:
        rows.append(
            (
                "the ensemble where its trials were chosen",
                ensemble.metric,
                ensemble.score,
                None,
                "too good: these samples chose its trials",
            )
        )
        if ensemble.expected_score is not None:
            rows.append(
                (
                    "the ensemble elsewhere",
                    ensemble.metric,
                    ensemble.expected_score,
                    ensemble.standard_error,
                    "to be expected: of five parts of the samples each was scored by what the "
                    "others chose",
                )
            )
    names = ("what", "metric", "score", "standard_error", "note")
    return [dict(zip(names, row, strict=True)) for row in rows]


def _versions() -> dict[str, str]:
    backend = keras.backend.backend()
    found = {"kerasreg": __version__, "keras": keras.__version__}
    if backend == "tensorflow":
        import tensorflow

        backend = f"tensorflow {tensorflow.__version__}"
    found["backend"] = backend
    found["keras_tuner"] = keras_tuner.__version__
    return {**found, "numpy": np.__version__, "python": platform.python_version()}


def _fingerprint(tuner: Any) -> str | None:
    """A hash of the data of the last search, where they are arrays."""
    if tuner.searched is None:
        return None
    given: Mapping[str, Any] = tuner.searched.kwargs
    named = {name: given[name] for name in ("x", "y", "validation_data") if name in given}
    flat = keras.tree.flatten([list(tuner.searched.args), named])
    if not flat or not all(isinstance(one, np.ndarray) and one.dtype != object for one in flat):
        return None
    digest = hashlib.sha256()
    for one in flat:
        digest.update(f"{one.dtype}{one.shape}".encode())
        digest.update(np.ascontiguousarray(one).view(np.uint8).data)
    return digest.hexdigest()


def _code(trial: Any) -> str:
    """Code that builds the model of a trial, given the hypermodel."""
    # Hyperband's own entries are about the search, not about the model.
    values = trial.hyperparameters.values.items()
    lines = [f"    {name!r}: {value!r}," for name, value in values if "tuner/" not in name]
    return "\n".join(
        [
            "import keras_tuner",
            "",
            "values = {",
            *lines,
            "}",
            "hp = keras_tuner.HyperParameters()",
            "for name, value in values.items():",
            "    hp.Fixed(name, value)",
            "model = hypermodel.build(hp)  # Or build(hp), where the hypermodel is a function.",
        ]
    )
