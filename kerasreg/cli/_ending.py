"""The end of a search: choose an ensemble, compare, report, export, verify."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import io
import math
import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import keras_tuner
import numpy as np

from kerasreg import models, serving, tuners
from kerasreg._files import write_json, write_text
from kerasreg.cli._baselines import baselines
from kerasreg.cli._measured import of_network
from kerasreg.cli._scores import differences, format_scores, score
from kerasreg.cli._search_report import with_comparison, write_report
from kerasreg.cli._split import SearchData
from kerasreg.cli._task import SearchTask

_REFERENCE = "ensemble"
# What is done, where it is done several times.
_MODELS = "the making of the ensemble"
_NAMES = "winner: the best setting alone; baseline: the same setting without regularization"


class Ending:
    """What is done once, when the trials of a search are there.

    Args:
        task: what was searched.
        record: the settings of the search, and the fingerprint of its data.
        described: the data, as `Table.described` has them.
    """

    def __init__(
        self, task: SearchTask, record: Mapping[str, Any], described: Mapping[str, Any]
    ) -> None:
        self.task, self.record, self.described = task, record, described
        self.settings, self.table, self.data = task.settings, task.table, task.data
        self.folder, self.write = task.folder, task.write

    def run(self, tuner: Any) -> dict[str, Any]:
        """Does all of it; returns the report.

        Args:
            tuner: the tuner whose search has ended.

        Raises:
            RuntimeError: if the exported model does not do what Keras does.
        """
        self.task.phase = _MODELS
        settings, table = self.settings, self.table
        rows = tuner.results().to_csv(index=False, lineterminator="\n")
        write_text(os.path.join(self.folder, "results.csv"), rows)
        chosen = tuner.select()
        best = chosen.trial.hyperparameters
        setting = ", ".join(f"{name}={_short(value)}" for name, value in best.values.items())
        self.write(f"best setting, trial {chosen.trial.trial_id}: {setting}")
        with _weights_of(tuner):
            selection = tuner.select_ensemble()
            self.write(_told(selection, self.data.target_scale))
            networks = {
                "baseline": self._baseline(best, chosen.trial.trial_id),
                "winner": tuner.ensemble(candidates=[chosen.trial.trial_id]),
                _REFERENCE: self._ensemble(selection),
            }
        self.task.phase = "the comparison"
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
        self.write(f"\n{_NAMES}")

        self.task.phase = "the export"
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
            "settings": dict(self.record),
            "best_trial": chosen.trial.trial_id,
            "best_hyperparameters": best.values,
            "ensemble": selection.to_dict(),
            "classes": table.classes,
            "columns": table.columns,
            "test": scores,
            "target_scale": self.data.target_scale,
            "compared": {name: list(each) for name, each in compared.items()},
            "measured": measured,
            "saved_model": path,
            "verification": dataclasses.asdict(verification),
        }
        write_json(os.path.join(self.folder, "report.json"), report)
        self.task.phase = "the report"
        page = tuner.report(selection=chosen, ensemble=selection, title=table.name)
        write_report(with_comparison(page, report, self.described), self.folder)
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
        self.task.phase = "the training of the members"
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
            "data": dict(self.described),
        }

    def _baseline(self, setting: keras_tuner.HyperParameters, trial_id: str) -> models.Ensemble:
        """Trains a setting without regularization, in the same folds."""
        hypermodel = self.task.hypermodel(regularized=False)
        self.task.phase = "the training of the baseline"
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
                **self.task.common(f"baseline-{trial_id}", hypermodel, None),
            )
        self.task.search(tuner)
        self.task.phase = _MODELS
        return tuner.ensemble(candidates=1)


@contextlib.contextmanager
def _weights_of(tuner: Any) -> Iterator[None]:
    """Names the folder where weights of trials are missing, which is the fault of no argument."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        raise RuntimeError(
            f"{tuner.project_dir!r} has trials that are done and no file of their weights "
            f"(lanes-*.npz) any more: put it back, or search in another folder. {error}"
        ) from error


def _told(selection: tuners.EnsembleSelection, unit: float) -> str:
    """The ensemble in a line.

    Args:
        selection: the ensemble.
        unit: what 1 of its scores is in the units of the data.
    """
    name, count = selection.metric, len(selection.rows)
    line = f"ensemble of {count} trials: {name} "
    if count == 1:
        line = f"best ensemble, which is trial {selection.rows[0].trial_id} alone: {name} "
    if selection.expected_score is None or selection.standard_error is None:
        return (
            line + f"{unit * selection.score:.4f} where its trials were chosen, which is too good"
        )
    return line + (
        f"{unit * selection.expected_score:.4f} ± {unit * selection.standard_error:.4f} is to be "
        f"expected; trial {selection.best_trial_id} alone has {unit * selection.best_score:.4f} "
        "where it was found to be the best, which is too good"
    )


def _in_raw_units(model: keras.Model, data: SearchData) -> keras.Model:
    """The model with its output in the units of the data, not standardised."""
    if data.target_mean == 0.0 and data.target_scale == 1.0:
        return model
    rescaling = keras.layers.Rescaling(data.target_scale, data.target_mean, name="raw_units")
    return keras.Model(model.input, rescaling(model.output), name=model.name)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, (float, np.floating)) else str(value)
