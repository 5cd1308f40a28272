"""The report of a tuner's search: what its trials, its selection and its ensemble tell."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import keras_tuner
import numpy as np

from kerasreg._version import __version__
from kerasreg.reports import SearchReport, checks, honest_scores, search_report
from kerasreg.tuners._lane_report import LaneReport
from kerasreg.tuners._learning_curves import LearningCurves
from kerasreg.tuners._out_of_fold import Searched
from kerasreg.tuners._progress import expected_trials
from kerasreg.tuners._renewal import Stage
from kerasreg.tuners._results import trained_by
from kerasreg.tuners._run_search import completed_trials
from kerasreg.tuners._search_log import SearchLog
from kerasreg.tuners._selection import Selection, select_trial
from kerasreg.tuners._trial_ensembles import EnsembleSelection


def report_of_search(
    tuner: Any,
    report: LaneReport,
    curves: LearningCurves,
    log: SearchLog,
    *,
    stage: Stage | None,
    selection: Selection | None = None,
    ensemble: EnsembleSelection | None = None,
    notes: Sequence[str] = (),
    title: str | None = None,
    data: str | None = None,
    every_curve: bool = False,
) -> SearchReport:
    """The report of a tuner: `VectorizedTuner.report` says what of.

    Args:
        tuner: a tuner.
        report: how the trials were trained.
        curves: the learning curves of the trials.
        log: what else the search saw of the trials.
        stage: how far the search is; None where none has begun in this process.
        selection: what chose a trial, or None for the tuner's own choice.
        ensemble: what chose an ensemble, or None.
        notes: sentences for those who read the report.
        title: the name of the search, by default that of the project.
        data: the fingerprint of the data, or None.
        every_curve: whether it has all learning curves that are known, not those of some trials.
    """
    done, objective = completed_trials(tuner), tuner.oracle.objective
    # Several objectives are no metric, and have one score for each trial.
    if selection is None and done and all(one.metrics.exists(objective.name) for one in done):
        selection = select_trial(tuner)
    trials = [tuner.oracle.trials[one] for one in dict.fromkeys(tuner.oracle.start_order)]
    rows = () if selection is None else selection.rows
    ranking = [row.setting for row in rows] or [one.trial_id for one in done]
    folds = getattr(tuner, "folds", None)
    logged, trained = log.to_dict(tuner.project_dir), trained_by(report)
    return search_report(
        [trial.get_state() for trial in trials],
        objective=objective.name,
        direction=objective.direction,
        title=tuner.project_name if title is None else title,
        executions=1 if folds is None else tuner.executions_per_trial,
        shrunken={row.setting: (row.shrunken, row.shrunken_error) for row in rows},
        trained={
            one.trial_id: logged["trials"].get(one.trial_id, {}) | trained.get(one.trial_id, {})
            for one in trials
        },
        # A report that is renewed again and again is to be cheap.
        weigh=stage is None or stage.state != "running",
        curves=curves.to_dict(ranking, tuner.project_dir, every_curve),
        honesty=honest_scores(
            objective.name,
            len(done),
            None if selection is None else _told_of_trial(selection),
            None if ensemble is None else _told_of(ensemble),
        ),
        ensemble=None if ensemble is None else _told_of(ensemble),
        checks=None if ensemble is None else checks(ensemble.predictions, ensemble.targets),
        programs=[row._asdict() for row in report.rows],
        provenance={
            "versions": _versions(),
            "fingerprint": data,
            "command": None,
            "code": None if selection is None else _code(selection.trial),
        },
        notes=list(notes),
        progress=None if stage is None else _progress(tuner, stage),
        lanes=logged["lanes"],
    )


def _progress(tuner: Any, stage: Stage) -> dict[str, Any]:
    """How far a search is, as a report has it."""
    expected = expected_trials(tuner)
    return {
        "state": stage.state,
        "ended": len(tuner.oracle.end_order),
        # An oracle may end before its limit, such as that of a grid.
        "expected": expected if stage.state != "finished" else None,
        "running": stage.running,
        "written": stage.time.isoformat(timespec="seconds"),
    }


def _told_of(ensemble: EnsembleSelection) -> dict[str, Any]:
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


def _told_of_trial(selection: Selection) -> dict[str, Any]:
    return {
        "trial": selection.trial.trial_id,
        "score": selection.search_score,
        "confirmed": selection.confirmed_score,
        # Without an error nothing was shrunken.
        "shrunken": selection.score if np.isfinite(selection.standard_error) else None,
        "shrunken_error": selection.standard_error,
    }


def _versions() -> dict[str, str]:
    backend = keras.backend.backend()
    found = {"kerasreg": __version__, "keras": keras.__version__}
    if backend == "tensorflow":
        import tensorflow

        backend = f"tensorflow {tensorflow.__version__}"
    found["backend"] = backend
    found["keras_tuner"] = keras_tuner.__version__
    return {**found, "numpy": np.__version__, "python": platform.python_version()}


def fingerprint(searched: Searched | None) -> str | None:
    """A hash of the data of a search, where they are arrays."""
    if searched is None:
        return None
    given: Mapping[str, Any] = searched.kwargs
    named = {name: given[name] for name in ("x", "y", "validation_data") if name in given}
    flat = keras.tree.flatten([list(searched.args), named])
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
