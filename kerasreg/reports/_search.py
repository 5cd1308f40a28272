"""The report of a search: what it found, as plain values, as a page and as Markdown."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from kerasreg._files import write_text
from kerasreg._report import plain
from kerasreg.reports._effects import effects, importance
from kerasreg.reports._markdown import markdown
from kerasreg.reports._optuna import study_of
from kerasreg.reports._page import page
from kerasreg.reports._tensorboard import write_tensorboard
from kerasreg.reports._trials import (
    far_limit,
    finite,
    hyperparameters_of,
    near,
    ranked,
    trial_row,
)
from kerasreg.reports._verdict import verdict

SCHEMA = "kerasreg-search-report-1"
_ENDINGS = (".html", ".json", ".md")
_SHOWN_FAILED = 5
# Parts that reports of earlier versions do not have.
_LATER = frozenset({"progress", "lanes"})
# What is known of a trial beside its state.
_TRAINED = (
    "program",
    "why_alone",
    "seconds",
    "stopped",
    "zeros",
    "bytes",
    "began",
    "ended",
)


@dataclasses.dataclass(frozen=True)
class SearchReport:
    """What a search found, to look at: `html` and `markdown` show it, `to_dict` has the values.

    `search_report` makes one of the states of trials, and `tuner.report` of a tuner. All values
    are such as JSON can hold. A part that is not known is None, or empty, and is not shown. The
    file `search_report.schema.json` of this package says what each part holds.

    Attributes:
        title: the name of the search.
        objective: the `name` and the `direction`, `"min"` or `"max"`, of its objective.
        trials: each trial, in the order in which they began.
        ranking: the ids of the completed trials, the best first.
        hyperparameters: the name, kind, scale and range of each hyperparameter.
        test: scores on a test part, of the ensemble and of what the ensemble is compared with.
        honesty: the scores of what was chosen, each with the reason to trust it or not.
        curves: learning curves of some trials.
        effects: the mean score for values of each hyperparameter.
        importance: how much scores depend on each hyperparameter.
        ensemble: the members of the ensemble, and what it scores.
        checks: calibration and confusion of the ensemble, or its residuals.
        columns: how each column of the data was read.
        programs: how trials were trained, and how long that took.
        failures: the reasons for which trials failed.
        provenance: versions, fingerprint of the data, the command, and code.
        notes: sentences on what the report does not have.
        progress: whether the search still ran when the report was made, and how far it was.
        lanes: how many lanes were in use over time, for each search of the project.

    Example:

    >>> import kerasreg
    >>> space = [{"class_name": "Float", "config": {"name": "rate", "conditions": []}}]
    >>> states = [
    ...     {"trial_id": name, "status": "COMPLETED", "score": score, "best_step": 0,
    ...      "hyperparameters": {"space": space, "values": {"rate": rate}}, "message": None,
    ...      "metrics": {"metrics": {"val_loss": {"direction": "min", "observations": [
    ...          {"step": 0, "value": [score]}]}}}}
    ...     for name, rate, score in [("0", 0.1, 0.5), ("1", 0.2, 0.3)]]
    >>> report = kerasreg.reports.search_report(states, objective="val_loss", direction="min")
    >>> report.ranking, report.trials[1]["values"]
    (['1', '0'], {'rate': 0.2})
    >>> report.html().startswith("<!DOCTYPE html>"), report.markdown().startswith("# ")
    (True, True)
    """

    title: str
    objective: dict[str, Any]
    trials: list[dict[str, Any]]
    ranking: list[str]
    hyperparameters: list[dict[str, Any]]
    test: dict[str, Any] | None = None
    honesty: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    curves: dict[str, Any] | None = None
    effects: dict[str, Any] | None = None
    importance: dict[str, Any] | None = None
    ensemble: dict[str, Any] | None = None
    checks: dict[str, Any] | None = None
    columns: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    programs: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    failures: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)
    progress: dict[str, Any] | None = None
    lanes: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    @property
    def verdict(self) -> list[str]:
        """What the search found, in sentences."""
        return verdict(self)

    def to_dict(self) -> dict[str, Any]:
        """All parts, as JSON can hold them, by the names that the schema has."""
        parts = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {"schema": SCHEMA, "verdict": self.verdict, **_jsonable(parts)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SearchReport:
        """The report that `to_dict` has written down.

        Args:
            values: what `to_dict` returned, also after JSON.

        Raises:
            ValueError: if it is something else.

        Example:

        >>> import kerasreg
        >>> report = kerasreg.reports.search_report([], objective="val_loss", direction="min")
        >>> kerasreg.reports.SearchReport.from_dict(report.to_dict()) == report
        True
        """
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(values, Mapping) or values.get("schema") != SCHEMA:
            found = values.get("schema") if isinstance(values, Mapping) else type(values).__name__
            raise ValueError(
                f"`values` must be what `to_dict` of a report returned, of the schema {SCHEMA!r}. "
                f"Received: {found!r}"
            )
        if missing := sorted(names - _LATER - set(values)):
            raise ValueError(f"`values` must have all parts of a report. Missing: {missing}")
        return cls(**{name: values[name] for name in names & set(values)})

    def html(self) -> str:
        """The report as one HTML page, which loads nothing from elsewhere."""
        return page(self)

    def markdown(self) -> str:
        """The report as Markdown."""
        return markdown(self)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes the report as the ending of a file says; the file is whole at every instant.

        Args:
            path: a `.html`, `.json` or `.md` file.

        Raises:
            ValueError: if the file has another ending.
            OSError: if it cannot be written.

        Example:

        >>> import os, tempfile, kerasreg
        >>> report = kerasreg.reports.search_report([], objective="val_loss", direction="min")
        >>> path = os.path.join(tempfile.mkdtemp(), "report.html")
        >>> report.write(path)
        >>> os.path.getsize(path) < 1_000_000
        True
        """
        ending = check_path(path)
        if ending == ".html":
            text = self.html()
        elif ending == ".md":
            text = self.markdown()
        else:
            text = json.dumps(self.to_dict(), allow_nan=False, indent=1) + "\n"
        write_text(path, text)

    def to_tensorboard(self, folder: str | os.PathLike[str]) -> None:
        """Writes the trials for TensorBoard: `tensorboard --logdir=FOLDER` shows them.

        Each trial has a folder below. The HParams dashboard has its hyperparameters, its status and
        its metrics at the best epoch. Beside these, `epoch_val_loss` and the like are its learning
        curve. A second call replaces what the first one wrote.

        Args:
            folder: a folder, which is made if it is missing.

        Raises:
            OSError: if it cannot be written.

        Example:

        >>> import os, tempfile, kerasreg
        >>> states = [{"trial_id": "0", "status": "FAILED", "score": None, "message": "no",
        ...            "hyperparameters": {"space": [], "values": {}},
        ...            "metrics": {"metrics": {}}}]
        >>> report = kerasreg.reports.search_report(states, objective="loss", direction="min")
        >>> folder = tempfile.mkdtemp()
        >>> report.to_tensorboard(folder)
        >>> sorted(os.listdir(folder))
        ['events.out.tfevents.0000000000.kerasreg', 'trial-0']
        """
        write_tensorboard(self, folder)

    def to_study(self, storage: Any = None, study_name: str | None = None) -> Any:
        """The trials as an Optuna study, for its dashboard and its functions.

        The study has the hyperparameters with what they were drawn from, the scores, the epochs as
        intermediate values, the times, and as user attributes the id and the metrics. A trial that
        a pruner or the oracle stopped is `PRUNED`, so that `study.best_trial` is none of these.
        Trials without an end are left out. Trials that the study has already are not added again.

        Args:
            storage: as for `optuna.create_study`, such as `"sqlite:///study.db"`; None for memory.
            study_name: the name of the study, by default the title of the report.

        Returns:
            An `optuna.Study`.

        Raises:
            ImportError: if Optuna is not installed, with the command that installs it.

        Example:

        >>> import kerasreg
        >>> report = kerasreg.reports.search_report([], objective="val_loss", direction="min")
        >>> report.to_study().direction.name
        'MINIMIZE'
        """
        return study_of(self, storage, study_name)


def check_path(path: str | os.PathLike[str]) -> str:
    """The ending of the file of a report; refuses others than those that a report is written as.

    Args:
        path: the file.

    Returns:
        `".html"`, `".json"` or `".md"`.

    Raises:
        ValueError: if the file has another ending.

    Example:

    >>> import kerasreg
    >>> kerasreg.reports.check_path("found/report.HTML")
    '.html'
    """
    ending = os.path.splitext(os.fspath(path))[1].lower()
    if ending not in _ENDINGS:
        raise ValueError(
            f"`path` must end with {', '.join(_ENDINGS[:-1])} or {_ENDINGS[-1]}. "
            f"Received: path={os.fspath(path)!r}"
        )
    return ending


def search_report(
    states: Sequence[Mapping[str, Any]],
    *,
    objective: str,
    direction: str,
    title: str = "search",
    executions: int = 1,
    shrunken: Mapping[str, tuple[float, float]] | None = None,
    trained: Mapping[str, Mapping[str, Any]] | None = None,
    weigh: bool = True,
    **parts: Any,
) -> SearchReport:
    """The report of trials, as KerasTuner writes their states down; no tuner is needed.

    Args:
        states: the state of each trial in the order in which they began, as `trial.get_state()` or
            a file `trial.json` has it.
        objective: the name of the objective, such as `"val_loss"`.
        direction: `"min"` or `"max"`.
        title: the name of the search.
        executions: of trials with folds, how often each fold was trained.
        shrunken: by the ids of trials their shrunken scores and the standard errors of these.
        trained: by the ids of trials what is known of them beside their states: the `program`,
            `why_alone` and `seconds`; what `stopped` them; the part of `zeros` in their weights,
            and the `bytes` of these; when they `began` and `ended`, in seconds since 1970.
        weigh: whether the importance of hyperparameters is found, which takes the most time.
        **parts: other attributes of a `SearchReport`.

    Returns:
        A `SearchReport`.

    Raises:
        ValueError: if `direction` is neither word.

    Example:

    >>> import kerasreg
    >>> report = kerasreg.reports.search_report([], objective="val_loss", direction="min")
    >>> report.verdict
    ['No trial has completed.']
    """
    if direction not in ("min", "max"):
        raise ValueError(f"`direction` must be 'min' or 'max'. Received: direction={direction!r}")
    rows = [trial_row(state, objective, executions) for state in states]
    for row in rows:
        score, error = (shrunken or {}).get(row["trial"], (None, None))
        row |= {"shrunken": finite(score), "shrunken_error": finite(error)}
        row |= {
            name: value
            for name, value in (trained or {}).get(row["trial"], {}).items()
            if name in _TRAINED
        }
    order = ranked(rows, direction)
    hyperparameters = hyperparameters_of(states, rows)
    limit = far_limit(order, direction)
    close = near(order, limit, direction)
    found = effects(hyperparameters, close)
    return SearchReport(
        title=title,
        objective={"name": objective, "direction": direction},
        trials=rows,
        ranking=[row["trial"] for row in order],
        hyperparameters=hyperparameters,
        effects={"limit": limit, "left_out": len(order) - len(close), "rows": found}
        if found
        else None,
        importance=importance(hyperparameters, order) if weigh else None,
        failures=_failures(rows, (parts.get("progress") or {}).get("state") == "running"),
        **_jsonable(parts),
    )


def _failures(rows: Sequence[Mapping[str, Any]], runs: bool) -> list[dict[str, Any]]:
    """Trials without a result, by the reason, the most frequent first.

    While a search runs, those in training are none.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        running = row["status"] == "RUNNING"
        if row["status"] != "COMPLETED" and not (runs and running):
            left = "was not at its end when the search ended, or was cut off" if running else ""
            found.setdefault((row["status"], row["message"] or left), []).append(row["trial"])
    return [
        {"status": key[0], "message": key[1], "count": len(ids), "trials": ids[:_SHOWN_FAILED]}
        for key, ids in sorted(found.items(), key=lambda item: -len(item[1]))
    ]


def _jsonable(value: Any) -> Any:
    """As `plain`, with None in place of numbers that are not finite."""
    value = plain(value)
    if isinstance(value, dict):
        return {name: _jsonable(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_jsonable(part) for part in value]
    return finite(value) if isinstance(value, float) else value
