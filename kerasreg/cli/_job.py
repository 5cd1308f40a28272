"""The main job: search, choose an ensemble, report, export, verify."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import io
import math
import os
import shlex
import shutil
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import keras_tuner
import numpy as np
from sklearn import model_selection

from kerasreg import distribute, models, serving, tuners
from kerasreg._durations import check_duration
from kerasreg._files import write_json, write_text
from kerasreg._validation import check_choice, check_count
from kerasreg.cli._baselines import baselines
from kerasreg.cli._data import Table
from kerasreg.cli._earlier import adapted
from kerasreg.cli._measured import of_network
from kerasreg.cli._progress import OneLine, reporting
from kerasreg.cli._record import TUNERS, SearchSettings, most_trials
from kerasreg.cli._scores import differences, format_scores, score
from kerasreg.cli._search_report import while_running, with_comparison, write_report
from kerasreg.cli._split import SearchData, search_data
from kerasreg.hypermodels import TableHyperModel, fit
from kerasreg.reports import SearchReport

# Of rows: with fewer than the first number 8 folds, with more than the second none.
_FEW_ROWS, _MANY_ROWS = 1_000, 50_000
# So many trials are proposed at a time where the next ones learn from them.
_INFORMED = 8
_REFERENCE = "ensemble"


class SearchJob:
    """One search in one folder.

    The folder holds `job.json` (settings and fingerprint of the data), `search/`
    (KerasTuner's project), and in the end `report.json`, `results.csv`, `ensemble.keras`,
    `model/<version>/`, and `report.html`, `report.md` and `search_report.json`, to look at.

    Args:
        settings: what to do.
        table: the data.
        folder: the folder; made when missing.
        write: what takes a line of output.
        earlier: settings of an earlier search, to be tried first.

    Raises:
        ValueError: if a setting cannot be, or the table cannot be divided.
    """

    def __init__(
        self,
        settings: SearchSettings,
        table: Table,
        folder: str,
        write: Callable[[str], None],
        earlier: Sequence[dict[str, Any]] = (),
    ) -> None:
        check_choice("tuner", settings.tuner, TUNERS)
        if settings.trials is not None:
            check_count("trials", settings.trials)
        check_count("epochs", settings.epochs, minimum=0)
        if settings.time is not None:
            check_duration("time", settings.time)
        check_count("replicas", settings.replicas)
        self.settings = settings
        self.table = table
        self.folder = folder
        self.write = write
        self._line = OneLine(write)
        self.data = search_data(table, seed=settings.seed)
        self.folds = self._folds()
        self._fit_arguments = self._validation()
        # Before anything is computed: logical devices cannot be made later.
        self.strategy = distribute.mirrored_strategy(settings.replicas)
        self.earlier = list(earlier)
        self._initial: list[dict[str, Any]] = []
        self._adaptation = ""
        if self.earlier:
            self._adapt()

    def _adapt(self) -> None:
        """Fits the settings of an earlier search into the space of this one."""
        if self.settings.tuner == "grid":
            raise ValueError(
                "`start_from` must be left out of a grid search, which goes through its points in "
                f"their order. Received: start_from={self.settings.start_from!r}"
            )
        space = keras_tuner.HyperParameters()
        self._hypermodel(True).build(space)
        self._initial, self._adaptation = adapted(self.earlier, space)

    def _folds(self) -> int | None:
        """The number of folds; None for one validation part."""
        asked, rows = self.settings.folds, len(self.data.y)
        if self.settings.replicas > 1:
            if asked > 1:
                raise ValueError(
                    "`folds` must be 0 or 1 with several replicas, whose trainings are no lanes. "
                    f"Received: folds={asked}"
                )
            return None
        if asked == 0:
            # In an order of time each fold has another number of rows, and a program of its own.
            few = rows < _FEW_ROWS and self.settings.order is None
            asked = 8 if few else 5 if rows <= _MANY_ROWS else 1
            asked = min(asked, max(2, rows // 8))
        what, groups = "rows", self.data.groups
        if self.settings.order is not None:
            what, rows = "pairs of rows", rows // 2
        if groups is not None:
            what, rows = "groups", len(np.unique(groups))
            asked = asked if self.settings.folds else min(asked, rows)
        if asked > rows:
            raise ValueError(
                f"`folds` must be at most the number of {what} to search with, {rows}. "
                f"Received: folds={asked}"
            )
        return asked if asked > 1 else None

    @property
    def _splitter(self) -> Any:
        """What the tuners are given as folds."""
        if self.folds is None or self.settings.order is None:
            return self.folds
        # The later half of the rows validates, so that no fold is trained on few.
        size = len(self.data.y) // (2 * self.folds)
        return model_selection.TimeSeriesSplit(self.folds, test_size=size)

    def _validation(self) -> dict[str, Any]:
        """The data that the trials are given."""
        x, y = self.data.x, self.data.y
        if self.folds is not None:
            return {"x": x, "y": y, "groups": self.data.groups}
        train, validation = self.data.parts(self.table, 0.25, self.settings.seed)
        if self.settings.replicas > len(validation):
            raise ValueError(
                f"`replicas` must be at most the rows of the validation part, {len(validation)}. "
                f"Received: replicas={self.settings.replicas}"
            )
        part = x[validation], y[validation]
        return {"x": x[train], "y": y[train], "validation_data": part}

    def run(self) -> dict[str, Any]:
        """Does all of it; returns the report.

        Raises:
            kerasreg.tuners.SearchFailedError: if no trial completed.
            RuntimeError: if the exported model does not do what Keras does.
        """
        settings, table = self.settings, self.table
        found = {"fingerprint": table.fingerprint(), "earlier": self.earlier}
        record = {**dataclasses.asdict(settings), **found}
        write_json(os.path.join(self.folder, "job.json"), record)

        kind = "regression" if table.classes is None else f"{len(table.classes)} classes"
        how = "one validation part" if self.folds is None else f"{self.folds} folds"
        how += "" if settings.order is None else f" in the order of {settings.order!r}"
        self.write(
            f"{table.name}: {len(table.y)} rows, {len(table.columns)} features, {kind}; "
            f"{len(self.data.rows)} to search with in {how}, {len(self.data.test_rows)} to test"
        )
        if self._initial:
            count = f"{len(self._initial)} setting{'s' if len(self._initial) > 1 else ''}"
            self.write(f"begins with {count} of {settings.start_from}")
        if self._adaptation:
            self.write(f"note: of these settings {self._adaptation}")
        hypermodel = self._hypermodel(True, settings.replicas)
        tuner = self._tuner(hypermodel, self.strategy)
        described = table.described()  # Which takes a hash of the data.

        def renew(report: SearchReport) -> None:
            now = while_running(report, record, table.name, described)
            write_report(now, self.folder)

        self._search(tuner, settings.time, renew)
        rows = tuner.results().to_csv(index=False, lineterminator="\n")
        write_text(os.path.join(self.folder, "results.csv"), rows)
        chosen = tuner.select()
        best = chosen.trial.hyperparameters
        setting = ", ".join(f"{name}={_short(value)}" for name, value in best.values.items())
        self.write(f"best setting, trial {chosen.trial.trial_id}: {setting}")
        selection = tuner.select_ensemble()
        self.write(_told(selection))
        networks = {
            "baseline": self._baseline(best, chosen.trial.trial_id),
            "winner": tuner.ensemble(candidates=[chosen.trial.trial_id]),
            _REFERENCE: self._ensemble(selection),
        }
        x_test = self.data.fitted.arrays(self.data.frame.iloc[self.data.test_rows])
        outputs = {
            name: network.predict(x_test, verbose=0) * self.data.target_scale
            + self.data.target_mean
            for name, network in networks.items()
        }
        notes: list[str] = []
        measured: dict[str, Any] = {
            name: of_network(network, x_test) for name, network in networks.items()
        }
        outputs |= baselines(
            table,
            self.data.rows,
            self.data.test_rows,
            settings.seed,
            left_out=notes.append,
            measured=measured,
        )
        truth, is_classified = table.y[self.data.test_rows], table.classes is not None
        scores = {name: score(truth, each, is_classified) for name, each in outputs.items()}
        compared = differences(truth, outputs, is_classified, _REFERENCE)
        for line in notes:
            self.write(f"note: {line}")
        self.write(f"\ntest part ({len(truth)} rows), which nothing has seen:")
        self.write(format_scores(scores, compared, _REFERENCE))

        served, samples = self._served(networks[_REFERENCE])
        self._save(served)
        path = serving.export(
            served,
            os.path.join(self.folder, "model"),
            labels=self._labels(),
            samples=samples,
            card=self._card(best, scores),
            tolerance=None,  # Below, so that the report has it also when it fails.
        )
        self.write(f"\nexported {path}")
        verification = serving.verify(path, served, samples)
        self.write(
            f"loaded in a new process without Keras and kerasreg: outputs "
            f"{'equal' if verification.passed else 'DIFFER from'} Keras' on "
            f"{verification.samples} rows (largest relative difference "
            f"{verification.relative_difference:.1e}, limit {verification.tolerance:.0e})"
        )
        report = {
            "settings": record,
            "best_trial": chosen.trial.trial_id,
            "best_hyperparameters": best.values,
            "ensemble": selection.to_dict(),
            "classes": table.classes,
            "columns": table.columns,
            "test": scores,
            "compared": {name: list(each) for name, each in compared.items()},
            "measured": measured,
            "saved_model": path,
            "verification": dataclasses.asdict(verification),
        }
        write_json(os.path.join(self.folder, "report.json"), report)
        page = tuner.report(selection=chosen, ensemble=selection, title=table.name)
        write_report(with_comparison(page, report, described), self.folder)
        self.write(f"report: {os.path.join(self.folder, 'report.html')}")
        if not verification.passed:
            raise RuntimeError(f"{path} differs from the Keras model; do not serve it.")
        return report

    def _save(self, model: keras.Model) -> None:
        """Writes the model for Keras, whole at every instant, and clears what a kill has left."""
        for left in glob.glob(os.path.join(glob.escape(self.folder), "model", ".staging-*")):
            shutil.rmtree(left, ignore_errors=True)
        beside = os.path.join(self.folder, ".ensemble.keras")
        model.save(beside)
        os.replace(beside, os.path.join(self.folder, "ensemble.keras"))

    def _ensemble(self, selection: tuners.EnsembleSelection) -> models.Ensemble:
        """The ensemble, of the models of folds or of others that are trained with all rows."""
        times = self.settings.retrain
        if times is None:
            times = 0 if self.settings.order is None else 1
        if not times:
            return selection.model()
        trainings = times * len(selection.rows)
        self.write(f"trains {trainings} {'members' if trainings > 1 else 'member'} with all rows")
        with contextlib.redirect_stdout(io.StringIO()):
            return selection.model(retrain=times)

    def _served(self, network: keras.Model) -> tuple[keras.Model, Any]:
        """What is exported, and the test part as it takes it: raw columns where there are such."""
        fitted, rows = self.data.fitted, self.data.test_rows
        if self.table.reading is None:
            model = fitted.vector_model(network)
            return _in_raw_units(model, self.data), self.table.x[rows]
        model = fitted.model(_in_raw_units(network, self.data))
        return model, fitted.raw(self.data.frame.iloc[rows])

    def _labels(self) -> list[str] | None:
        """The classes as text, where that tells them apart."""
        labels = [str(one) for one in self.table.classes or ()]
        good = len(set(labels)) == len(labels) and all(len(one.splitlines()) == 1 for one in labels)
        return labels if labels and good else None

    def _card(self, best: Any, scores: Any) -> dict[str, Any]:
        given = dataclasses.asdict(self.settings)
        flags = {name: value for name, value in given.items() if value not in (None, ())}
        written = {
            name: ",".join(value) if isinstance(value, tuple) else value
            for name, value in flags.items()
        }
        return {
            "command": shlex.join(
                ["kerasreg", "search", *(f"--{name}={value}" for name, value in written.items())]
            ),
            "hyperparameters": best.values,
            "metrics": {
                # A score that is not finite is no number in JSON, and stops no export.
                which: {name: one if math.isfinite(one) else str(one) for name, one in each.items()}
                for which, each in scores.items()
            },
            "data": self.table.described(),
        }

    def _hypermodel(self, regularized: bool, replicas: int = 1) -> TableHyperModel:
        samples = len(self._fit_arguments["x"])
        if self.folds is not None:
            samples = samples * (self.folds - 1) // self.folds
        if self.folds is not None and self.settings.order is not None:
            parts = self._splitter.split(self._fit_arguments["x"])
            samples = round(np.mean([len(train) for train, _ in parts]))
        return (TableHyperModel if replicas == 1 else _OfReplicas)(
            self.data.fitted,
            None if self.table.classes is None else len(self.table.classes),
            samples=samples,
            epochs=self.settings.epochs or None,
            regularized=regularized,
            seed=self.settings.seed,
        )

    def _search(
        self,
        tuner: keras_tuner.Tuner,
        time: str | None = None,
        report: Callable[[SearchReport], None] | None = None,
    ) -> None:
        """Runs what is left of a search, in a time if there is a limit."""
        hypermodel = tuner.hypermodel
        # KerasTuner prints the traceback of a trial that failed, and keeps it in the
        # trial's file. Here the line of the trial says that it failed, and a note why.
        with (
            warnings.catch_warnings(record=True) as caught,
            contextlib.redirect_stderr(io.StringIO()),
            contextlib.ExitStack() as stack,
        ):
            stack.callback(self._line.close)
            warnings.simplefilter("always")
            tuners.run_search(
                tuner,
                **self._fit_arguments,
                epochs=hypermodel.epochs,
                batch_size=hypermodel.batch_size,
                time_limit=time,
                report=report,
                verbose=0,
            )
        for warning in caught:
            if "trials failed" in str(warning.message):
                self.write(f"note: {warning.message}")

    def _common(self, project: str, hypermodel: TableHyperModel, strategy: Any) -> dict[str, Any]:
        """Arguments of any tuner of this job."""
        return {
            "hypermodel": hypermodel,
            "objective": hypermodel.objective,
            "seed": self.settings.seed + 1,  # 0 would mean "any" to KerasTuner.
            "directory": self.folder,
            "project_name": project,
            "distribution_strategy": strategy,
            "folds": self._splitter,
            "max_lanes": self.settings.lanes or None,
            # Members of an ensemble are better for it. Replicas are no lanes.
            "batches": "own" if strategy is None else "shared",
        }

    def _tuner(self, hypermodel: TableHyperModel, strategy: Any) -> Any:
        settings, common = self.settings, self._common("search", hypermodel, strategy)
        classes = {
            "random": tuners.VectorizedRandomSearch,
            "bayesian": tuners.VectorizedBayesianOptimization,
            "grid": tuners.VectorizedGridSearch,
            "hyperband": tuners.VectorizedHyperband,
        }
        if settings.tuner != "grid":
            common["initial_settings"] = self._initial
        limit = None if settings.time is None else check_duration("time", settings.time)
        most = most_trials(dataclasses.asdict(settings))
        tuner = reporting(classes[settings.tuner], self._line, limit=limit)
        # KerasTuner prints when it goes on with a project.
        with contextlib.redirect_stdout(io.StringIO()):
            if settings.tuner == "hyperband":
                return tuner(max_epochs=hypermodel.epochs, **common)
            if settings.tuner == "bayesian":
                # KerasTuner's default, three random points a dimension, is more than
                # most searches have trials.
                common["num_initial_points"] = _INFORMED if most is None else max(most // 3, 2)
                common["max_lanes"] = settings.lanes or _INFORMED * (self.folds or 1)
            # A grid has an end of its own.
            return tuner(max_trials=most, **common)

    def _baseline(self, setting: keras_tuner.HyperParameters, trial_id: str) -> models.Ensemble:
        """Trains a setting without regularization, in the same folds."""
        hypermodel = self._hypermodel(regularized=False)
        given = keras_tuner.HyperParameters()
        for name, value in setting.values.items():
            # Hyperband's own entries are about the search, not about the model.
            if not name.startswith("tuner/"):
                given.Fixed(name, value)
        with contextlib.redirect_stdout(io.StringIO()):
            tuner = tuners.VectorizedRandomSearch(
                max_trials=1,
                hyperparameters=given,
                tune_new_entries=False,
                # Of another best setting there is another one.
                **self._common(f"baseline-{trial_id}", hypermodel, None),
            )
        self._search(tuner)
        return tuner.ensemble(candidates=1)


class _OfReplicas(TableHyperModel):
    """Trains on several replicas."""

    def fit(
        self,
        hp: keras_tuner.HyperParameters,
        model: keras.Model,
        x: Any,
        y: Any,
        validation_data: Any,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        return fit(model, x, y, validation_data, seed=self.seed, **kwargs)


def _told(selection: tuners.EnsembleSelection) -> str:
    """The ensemble in a line."""
    name, count = selection.metric, len(selection.rows)
    line = f"ensemble of {count} {'trial' if count == 1 else 'trials'}: {name} "
    if selection.expected_score is None:
        return line + f"{selection.score:.4f} where its trials were chosen"
    return line + (
        f"{selection.expected_score:.4f} ± {selection.standard_error:.4f} is to be expected; "
        f"the best trial alone: {selection.best_score:.4f}"
    )


def _in_raw_units(model: keras.Model, data: SearchData) -> keras.Model:
    """The model with its output in the units of the data, not standardised."""
    if data.target_mean == 0.0 and data.target_scale == 1.0:
        return model
    rescaling = keras.layers.Rescaling(data.target_scale, data.target_mean, name="raw_units")
    return keras.Model(model.input, rescaling(model.output), name=model.name)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, (float, np.floating)) else str(value)
