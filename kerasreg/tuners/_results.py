"""The trials of a search as a table of pandas."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np

from kerasreg._error_of_mean import error_of_mean
from kerasreg.tuners._lane_report import LaneReport
from kerasreg.tuners._standard_error import scores_of_folds

_FIRST = ("trial", "status", "score", "standard_error")
_LAST = ("message", "program", "at_once", "why_alone", "seconds")
# Columns of whole numbers, which trials may lack.
_WHOLE = ("best_epoch", "program", "at_once")


def results(tuner: Any, report: LaneReport | None = None) -> Any:
    """The trials of a tuner as a DataFrame: `VectorizedTuner.results` says which columns.

    Args:
        tuner: any KerasTuner tuner.
        report: how the trials were trained, as far as it is known.

    Returns:
        A `pandas.DataFrame`.

    Raises:
        ImportError: if pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "A table of results needs pandas: pip install kerasreg[search]"
        ) from error
    trials = [tuner.oracle.trials[of] for of in dict.fromkeys(tuner.oracle.start_order)]
    of_folds = {trial.trial_id: _scores(tuner, trial) for trial in trials}
    kind = "execution" if getattr(tuner, "folds", None) is None else "fold"
    most = max(map(len, of_folds.values()), default=0)
    # The score of a single training is the score.
    columns = [f"{kind}_{index}" for index in range(most)] if most > 1 or kind == "fold" else []
    own = {*_FIRST, *columns, "best_epoch", *_LAST}
    trained = {} if report is None else trained_by(report)
    rows, hyperparameters = [], dict[str, None]()
    for trial in trials:
        scores = of_folds[trial.trial_id]
        score = np.nan if trial.score is None else float(trial.score)
        of_mean = error_of_mean(scores)
        first = dict(zip(_FIRST, (trial.trial_id, trial.status, score, of_mean), strict=True))
        values = {
            f"hp_{name}" if name in own else name: value
            for name, value in _active_values(trial.hyperparameters).items()
        }
        hyperparameters |= dict.fromkeys(values)
        ended = {
            **dict(zip(columns, scores, strict=False)),
            "best_epoch": trial.best_step if scores else None,
            "message": _last_line(trial),
        }
        rows.append({**first, **ended, **trained.get(trial.trial_id, {}), **values})
    order = [*_FIRST, *columns, "best_epoch", *hyperparameters, *_LAST]
    frame = pandas.DataFrame(rows, columns=order)
    frame[list(_WHOLE)] = frame[list(_WHOLE)].astype("Int64")
    numbers = [*_FIRST[2:], *columns, "seconds"]
    frame[numbers] = frame[numbers].astype("float64")
    return frame


def _scores(tuner: Any, trial: Any) -> list[float]:
    name = tuner.oracle.objective.name
    known = trial.status == "COMPLETED" and trial.metrics.exists(name)
    return scores_of_folds(tuner, trial, name) if known else []


def _active_values(hp: Any) -> dict[str, Any]:
    """The values of a trial, without those of conditions that do not hold."""
    declared = {one.name for one in hp.space}
    active = {one.name for one in hp.space if hp.is_active(one)}
    return {
        name: value for name, value in hp.values.items() if name in active or name not in declared
    }


def _last_line(trial: Any) -> str | None:
    lines = (trial.message or "").strip().splitlines()
    return lines[-1] if lines else None


def trained_by(report: LaneReport) -> dict[str, dict[str, Any]]:
    """How each trial was trained, by its id; of seconds it has a part of those of its program."""
    keys = [(one.program, one.why) for one in report.trainings]
    counts = Counter(keys)
    seconds: dict[Any, float] = defaultdict(float)
    for row in report.rows:  # Two searches have a row each for one reason.
        seconds[row.program, row.why if row.program is None else None] += row.seconds
    found: dict[str, dict[str, Any]] = {}
    for one, key in zip(report.trainings, keys, strict=True):
        of_trial = found.setdefault(one.trial, {"seconds": 0.0})
        of_trial |= {"program": one.program, "at_once": one.at_once, "why_alone": one.why}
        of_trial["seconds"] += seconds[key] / counts[key]
    return found


def seconds_of(report: LaneReport) -> dict[str, dict[str, Any]]:
    """The seconds of each trial, by its id: what is true of it in another process too."""
    return {name: {"seconds": found["seconds"]} for name, found in trained_by(report).items()}
