"""The main job: search, retrain the best setting, report, export, verify."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import os
import shlex
import warnings
from collections.abc import Callable
from typing import Any

import keras
import keras_tuner
import numpy as np

from kerasreg import distribute, serving, tuners
from kerasreg._files import write_json
from kerasreg._validation import check_choice, check_count
from kerasreg.cli._data import Table
from kerasreg.cli._progress import reporting
from kerasreg.cli._record import TUNERS, SearchSettings
from kerasreg.cli._scores import format_scores, score
from kerasreg.cli._split import Parts, split
from kerasreg.hypermodels import DenseHyperModel

# Of 20 trials 4 structures: measured on digits, four times as fast as 20 of them.
_TRIALS_PER_STRUCTURE = 5


class SearchJob:
    """One search in one folder.

    The folder holds `job.json` (settings and fingerprint of the data), `search/`
    (KerasTuner's project), and in the end `report.json` and `model/<version>/`.

    Args:
        settings: what to do.
        table: the data.
        folder: the folder; made when missing.
        write: what takes a line of output.
    """

    def __init__(
        self, settings: SearchSettings, table: Table, folder: str, write: Callable[[str], None]
    ) -> None:
        check_choice("tuner", settings.tuner, TUNERS)
        check_count("trials", settings.trials)
        check_count("epochs", settings.epochs)
        self.settings = settings
        self.table = table
        self.folder = folder
        self.write = write
        check_count("replicas", settings.replicas)
        self.parts = split(table, seed=settings.seed)
        fewest = min(len(x) for x, _ in (self.parts.train, self.parts.validation))
        if settings.replicas > fewest:
            raise ValueError(
                f"`replicas` must be at most the rows of the validation part, {fewest}. "
                f"Received: replicas={settings.replicas}"
            )
        # Before anything is computed: logical devices cannot be made later.
        self.strategy = distribute.mirrored_strategy(settings.replicas)

    def run(self) -> dict[str, Any]:
        """Does all of it; returns the report.

        Raises:
            kerasreg.tuners.SearchFailedError: if no trial completed.
            RuntimeError: if the exported model does not do what Keras does.
        """
        settings, table = self.settings, self.table
        record = {**dataclasses.asdict(settings), "fingerprint": table.fingerprint()}
        write_json(os.path.join(self.folder, "job.json"), record)

        kind = "regression" if table.classes is None else f"{len(table.classes)} classes"
        sizes = [len(x) for x, _ in (self.parts.train, self.parts.validation, self.parts.test)]
        self.write(
            f"{table.name}: {len(table.y)} rows, {len(table.columns)} features, {kind}; "
            f"train {sizes[0]}, validation {sizes[1]}, test {sizes[2]}"
        )
        best = self._search(self.strategy)
        setting = ", ".join(f"{name}={_short(value)}" for name, value in best.values.items())
        self.write(f"best setting: {setting}")

        winner, baseline = self._retrain(best, True), self._retrain(best, False)
        scores = {
            "baseline": self._test(baseline),
            "winner": self._test(winner),
        }
        self.write(f"\ntest part ({sizes[2]} rows), the same network without and with:")
        self.write(format_scores(scores))

        served, samples = self._served(winner)
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
            "best_hyperparameters": best.values,
            "classes": table.classes,
            "columns": table.columns,
            "test": scores,
            "saved_model": path,
            "verification": dataclasses.asdict(verification),
        }
        write_json(os.path.join(self.folder, "report.json"), report)
        if not verification.passed:
            raise RuntimeError(f"{path} differs from the Keras model; do not serve it.")
        return report

    def _served(self, network: keras.Model) -> tuple[keras.Model, Any]:
        """What is exported, and the test part as it takes it: raw columns where there are such."""
        if self.parts.fitted is None:
            return network, self.parts.test[0]
        rows = self.table.frame.iloc[self.parts.test_rows]
        return self.parts.fitted.model(network), self.parts.fitted.raw(rows)

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
            "data": {
                "name": self.table.name,
                "sha256": self.table.fingerprint(),
                "rows": len(self.table.y),
                "columns": list(self.table.columns),
            },
        }

    def _hypermodel(self, regularized: bool) -> DenseHyperModel:
        x, _ = self.parts.train
        return DenseHyperModel(
            features=x.shape[1],
            classes=None if self.table.classes is None else len(self.table.classes),
            epochs=self.settings.epochs,
            samples=len(x),
            **self.parts.first_layers(),
            regularized=regularized,
            seed=self.settings.seed,
        )

    @property
    def _objective(self) -> keras_tuner.Objective:
        if self.table.classes is None:
            return keras_tuner.Objective("val_rmse", "min")
        return keras_tuner.Objective("val_accuracy", "max")

    def _search(self, strategy: Any) -> keras_tuner.HyperParameters:
        """Runs what is left of the search; returns the best setting."""
        tuner = self._tuner(strategy)
        # KerasTuner prints the traceback of a trial that failed, and keeps it in the
        # trial's file. Here the line of the trial says that it failed, and a note why.
        with (
            warnings.catch_warnings(record=True) as caught,
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("always")
            completed = tuners.run_search(
                tuner, *self.parts.train, validation_data=self.parts.validation, verbose=0
            )
        for warning in caught:
            if "trials failed" in str(warning.message):
                self.write(f"note: {warning.message}")
        return completed[0].hyperparameters

    def _tuner(self, strategy: Any) -> keras_tuner.Tuner:
        settings = self.settings
        common = {
            "hypermodel": self._hypermodel(regularized=True),
            "objective": self._objective,
            "seed": settings.seed + 1,  # 0 would mean "any" to KerasTuner.
            "directory": self.folder,
            "project_name": "search",
            "distribution_strategy": strategy,
        }
        classes = {
            "random": tuners.VectorizedRandomSearch,
            "bayesian": tuners.VectorizedBayesianOptimization,
            "grid": tuners.VectorizedGridSearch,
            "hyperband": tuners.VectorizedHyperband,
        }
        tuner = reporting(classes[settings.tuner], self.write)
        # KerasTuner prints when it goes on with a project.
        with contextlib.redirect_stdout(io.StringIO()):
            if settings.tuner == "hyperband":
                return tuner(max_epochs=settings.epochs, **common)
            if settings.tuner == "bayesian":
                # KerasTuner's default, three random points a dimension, is more than
                # most searches have trials.
                common["num_initial_points"] = max(settings.trials // 3, 2)
            if settings.tuner == "random":
                # Trials of one structure are trained together; there are to be four at least.
                most = max(1, settings.trials // 4)
                common["trials_per_structure"] = min(_TRIALS_PER_STRUCTURE, most)
            return tuner(max_trials=settings.trials, **common)

    def _retrain(self, setting: keras_tuner.HyperParameters, regularized: bool) -> keras.Model:
        """Trains a setting anew; returns the model of its best epoch on raw targets."""
        hypermodel = self._hypermodel(regularized)
        # Hyperband's own entries are about the search, not about the model.
        values = keras_tuner.HyperParameters()
        values.values = dict(setting.values)
        model = hypermodel.build(values)
        objective = self._objective
        best_epoch = keras.callbacks.EarlyStopping(
            objective.name,
            mode=objective.direction,
            patience=self.settings.epochs,
            restore_best_weights=True,
        )
        hypermodel.fit(
            values,
            model,
            *self.parts.train,
            validation_data=self.parts.validation,
            callbacks=[best_epoch],
        )
        return _in_raw_units(model, self.parts)

    def _test(self, model: keras.Model) -> dict[str, float]:
        x, y = self.parts.test
        return score(y, model.predict(x, verbose=0), self.table.classes is not None)


def _in_raw_units(model: keras.Model, parts: Parts) -> keras.Model:
    """The model with its output in the units of the data, not standardised."""
    if parts.target_mean == 0.0 and parts.target_scale == 1.0:
        return model
    rescaling = keras.layers.Rescaling(parts.target_scale, parts.target_mean, name="raw_units")
    return keras.Model(model.input, rescaling(model.output), name=model.name)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, (float, np.floating)) else str(value)
