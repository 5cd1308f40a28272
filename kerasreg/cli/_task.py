"""What a search is of: its data, their division, its space, and the tuner that goes through it."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import keras_tuner
import numpy as np
from sklearn import model_selection

from kerasreg import distribute, tuners
from kerasreg._durations import check_duration
from kerasreg._validation import check_choice, check_count
from kerasreg.cli._data import Table
from kerasreg.cli._earlier import adapted
from kerasreg.cli._progress import OneLine, reporting
from kerasreg.cli._record import SAMPLERS, TUNERS, SearchSettings, Shared, most_trials
from kerasreg.cli._split import search_data
from kerasreg.hypermodels import TableHyperModel, fit
from kerasreg.reports import SearchReport

# Of rows: with fewer than the first number 8 folds, with more than the second none.
_FEW_ROWS, _MANY_ROWS = 1_000, 50_000
# So many trials are proposed at a time where the next ones learn from them.
_INFORMED = 8
# Of warnings of a search, those that are for who runs the command.
_TOLD = ("trials failed", "begin again", "begins again", "checkpoint", "cannot be read", "damaged")


class SearchTask:
    """What is searched, and how: the same in each process that takes part in a search.

    Args:
        settings: what to do.
        table: the data.
        folder: the folder of the search.
        write: what takes a line of output.
        earlier: settings of an earlier search, to be tried first.

    Raises:
        ValueError: if a setting cannot be, or the table cannot be divided.

    Attributes:
        data: the parts of the table.
        folds: the number of folds; None for one validation part.
        fit_arguments: the data that the trials are given.
        strategy: what trains each trial on several replicas, or None.
        initial: the settings that are tried first, as they are in this space.
        adaptation: what had to be left out of these settings, in words, or nothing.
        phase: what is done now, in words; nothing before the search begins.
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
        self.line = OneLine(write)
        self.data = search_data(table, seed=settings.seed)
        self.folds = self._folds()
        self.fit_arguments = self._validation()
        # Before anything is computed: logical devices cannot be made later.
        self.strategy = distribute.mirrored_strategy(settings.replicas)
        self.earlier = list(earlier)
        self.initial: list[dict[str, Any]] = []
        self.adaptation = ""
        self.phase = ""
        self._searching: list[Any] = []  # The tuners whose searches have begun.
        if self.earlier:
            self._adapt()

    def told(self) -> list[str]:
        """What is searched, in lines."""
        settings, table, data = self.settings, self.table, self.data
        kind = "regression" if table.classes is None else f"{len(table.classes)} classes"
        how = "one validation part" if self.folds is None else f"{self.folds} folds"
        how += "" if settings.order is None else f" in the order of {settings.order!r}"
        lines = [
            f"{table.name}: {len(table.y)} rows, {len(table.columns)} features, {kind}; "
            f"{len(data.rows)} to search with in {how}, {len(data.test_rows)} to test"
        ]
        if data.target_scale != 1.0:
            lines.append(
                f"val_rmse is in standard deviations of the target: 1 is {data.target_scale:.4g}"
            )
        if self.initial:
            count = f"{len(self.initial)} setting{'s' if len(self.initial) > 1 else ''}"
            lines.append(f"begins with {count} of {settings.start_from}")
        if self.adaptation:
            lines.append(f"note: of these settings {self.adaptation}")
        return lines

    def _adapt(self) -> None:
        """Fits the settings of an earlier search into the space of this one."""
        if self.settings.tuner == "grid":
            raise ValueError(
                "`start_from` must be left out of a grid search, which goes through its points in "
                f"their order. Received: start_from={self.settings.start_from!r}"
            )
        space = keras_tuner.HyperParameters()
        self.hypermodel(True).build(space)
        self.initial, self.adaptation = adapted(self.earlier, space)

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
    def splitter(self) -> Any:
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

    def hypermodel(self, regularized: bool, replicas: int = 1) -> TableHyperModel:
        """The space of a search, with or without penalties and dropout."""
        samples = len(self.fit_arguments["x"])
        if self.folds is not None:
            samples = samples * (self.folds - 1) // self.folds
        if self.folds is not None and self.settings.order is not None:
            parts = self.splitter.split(self.fit_arguments["x"])
            samples = round(np.mean([len(train) for train, _ in parts]))
        return (TableHyperModel if replicas == 1 else _OfReplicas)(
            self.data.fitted,
            None if self.table.classes is None else len(self.table.classes),
            samples=samples,
            epochs=self.settings.epochs or None,
            regularized=regularized,
            seed=self.settings.seed,
        )

    def search(
        self,
        tuner: keras_tuner.Tuner,
        time: str | float | None = None,
        report: Callable[[SearchReport], None] | None = None,
    ) -> None:
        """Runs what is left of a search, in a time if there is a limit."""
        self._searching.append(tuner)
        # KerasTuner prints the traceback of a trial that failed, and keeps it in the trial's file.
        # Here the line of the trial says that it failed, and a note why.
        with self._failures_as_notes(), contextlib.redirect_stderr(io.StringIO()):
            tuners.run_search(tuner, **self.given(tuner), time_limit=time, report=report, verbose=0)

    def stop(self) -> bool:
        """Asks the search that runs to stop where nothing is lost; returns whether one runs."""
        return any([tuner.stop() for tuner in self._searching])

    def follow(
        self,
        tuner: Any,
        look: Callable[[], bool],
        ended: Callable[[Any], None],
        report: Callable[[SearchReport], None],
    ) -> None:
        """Looks on while workers search."""
        with self._failures_as_notes():
            tuner.follow(**self.given(tuner), look=look, ended=ended, report=report)

    def given(self, tuner: keras_tuner.Tuner) -> dict[str, Any]:
        """What a search is given to train with."""
        hypermodel = tuner.hypermodel
        return {
            **self.fit_arguments,
            "epochs": hypermodel.epochs,
            "batch_size": hypermodel.batch_size,
        }

    @contextlib.contextmanager
    def _failures_as_notes(self) -> Iterator[None]:
        """Notes how many trials failed, and what of an earlier search could not be used."""
        with warnings.catch_warnings(record=True) as caught, contextlib.ExitStack() as stack:
            stack.callback(self.line.close)
            warnings.simplefilter("always")
            yield
        for warning in caught:
            if any(told in str(warning.message) for told in _TOLD):
                self.write(f"note: {warning.message}")

    def common(self, project: str, hypermodel: TableHyperModel, strategy: Any) -> dict[str, Any]:
        """Arguments of any tuner of this job."""
        return {
            "hypermodel": hypermodel,
            "objective": hypermodel.objective,
            "seed": self._seed,
            "directory": self.folder,
            "project_name": project,
            "distribution_strategy": strategy,
            "folds": self.splitter,
            "max_lanes": self.settings.lanes or None,
            # Members of an ensemble are better for it. Replicas are no lanes.
            "batches": "own" if strategy is None else "shared",
        }

    def tuner(self, hypermodel: TableHyperModel, strategy: Any) -> Any:
        """The tuner of the search, which this process alone goes through."""
        settings, common = self.settings, self.common("search", hypermodel, strategy)
        classes = {
            "random": tuners.VectorizedRandomSearch,
            "bayesian": tuners.VectorizedBayesianOptimization,
            "grid": tuners.VectorizedGridSearch,
            "hyperband": tuners.VectorizedHyperband,
        }
        if settings.tuner != "grid":
            common["initial_settings"] = self.initial
        limit = None if settings.time is None else check_duration("time", settings.time)
        most = most_trials(dataclasses.asdict(settings))
        tuner = reporting(classes[settings.tuner], self.line, limit=limit)
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

    def oracle(self, shared: Shared) -> tuners.StudyOracle:
        """The oracle of a search of several machines, which writes nothing on this one."""
        hypermodel, space = self.hypermodel(True), keras_tuner.HyperParameters()
        hypermodel.build(space)
        return tuners.StudyOracle(
            hypermodel.objective, seed=self._seed, hyperparameters=space, **self._study(shared)
        )

    @property
    def _seed(self) -> int:
        return self.settings.seed + 1  # 0 would mean "any" to KerasTuner.

    def _study(self, shared: Shared) -> dict[str, Any]:
        """Arguments of all that takes part in the study."""
        return {
            "max_trials": most_trials(dataclasses.asdict(self.settings)),
            "sampler": SAMPLERS[self.settings.tuner],
            "storage": shared.storage,
            "study_name": shared.study_name,
        }

    def study_tuner(self, workers: int, shared: Shared, together: int | None = None) -> Any:
        """The tuner of a search that several processes share by a study.

        Args:
            workers: how many there are on this machine.
            shared: where the trials of several machines are.
            together: how many workers there are on all machines; None for those of this one.
        """
        settings, hypermodel = self.settings, self.hypermodel(True)
        together = workers if together is None else together
        most = most_trials(dataclasses.asdict(settings))
        # Each takes its part of the trials at once: one program has as many lanes as it can get,
        # and none is left without. Where trials learn from others, fewer run at a time.
        at_once = None if most is None else -(-most // together)
        if shared.storage is not None:  # How many workers there will be nobody knows.
            at_once = _INFORMED
        if settings.tuner == "bayesian":
            at_once = max(1, _INFORMED // together)
        with contextlib.redirect_stdout(io.StringIO()):
            return tuners.VectorizedStudySearch(
                initial_settings=self.initial,
                trials_at_once=at_once,
                memory_share=1.0 / workers,
                artifacts=shared.artifacts,
                **self._study(shared),
                **self.common("search", hypermodel, None),
            )


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
