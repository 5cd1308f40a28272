"""KerasTuner tuners that train many trials as one program."""

from __future__ import annotations

import contextlib
import functools
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import keras
import keras_tuner

from kerasreg._devices import check_devices, strategy_of_replicas
from kerasreg._keras import keras_tuner_internals as internals
from kerasreg._keras.deferred_variables import deferred_variables
from kerasreg._keras.internals import reset_automatic_names
from kerasreg._overrides import has_own
from kerasreg._validation import check_choice, check_count, check_number
from kerasreg._warnings import warn
from kerasreg.lanes import Lanes
from kerasreg.models import Ensemble
from kerasreg.reports import SearchReport, check_path
from kerasreg.tuners import _best_epochs
from kerasreg.tuners._checkpoints import Checkpoints, check_every
from kerasreg.tuners._chief import Chief, WorkerOracle, check_parallel, parallel
from kerasreg.tuners._crash_safe import StateFiles
from kerasreg.tuners._folds import check_folds
from kerasreg.tuners._initial_settings import InitialSettings
from kerasreg.tuners._lane_report import LaneRecord, LaneReport, report_of
from kerasreg.tuners._learning_curves import LearningCurves
from kerasreg.tuners._mending import mend
from kerasreg.tuners._out_of_fold import OutOfFold, Searched, out_of_fold
from kerasreg.tuners._plan import Plan, Seen
from kerasreg.tuners._pruning import Pruning
from kerasreg.tuners._renewal import Renewal, Stage, check_targets
from kerasreg.tuners._results import results, seconds_of
from kerasreg.tuners._run_search import completed_trials
from kerasreg.tuners._scheduler import Scheduler
from kerasreg.tuners._search_log import SearchLog
from kerasreg.tuners._search_report import fingerprint, report_of_search
from kerasreg.tuners._selection import Selection, select_trial
from kerasreg.tuners._stop import Stopping, stopped_by_sigterm
from kerasreg.tuners._study_oracle import StudyOracle
from kerasreg.tuners._time_limit import TimeLimit
from kerasreg.tuners._trained_again import confirm, retrained
from kerasreg.tuners._trial_ensembles import EnsembleSelection, select_ensemble


class VectorizedTuner(keras_tuner.Tuner):
    """A KerasTuner tuner that trains the trials that share a program together.

    The tuner asks the oracle for many trials at a time, builds their models, finds
    which of them differ only in values, and trains each group as lanes of one
    program (`kerasreg.lanes`). When lanes end, new trials of the same program
    take them over, and nothing is compiled for these. Keras trains a trial alone if the
    trial shares its program with no other, or cannot be a lane (its class has a
    `make_train_function` of its own, ...). Scores, folders and `get_best_models` are
    KerasTuner's. The hypermodel is used as it is. Its own `fit`, if it has one, runs once for
    each trial, in a thread that rests where it calls `model.fit`.

    Trials share a `tf.data.Dataset`, a `PyDataset` or a generator if it is the same object, or a
    dataset that TensorFlow can tell to be equal. Each batch is read once for the trials that train
    together. A generator is not begun anew: each group of trials goes on with the next batches,
    and so does a trial that takes over a lane. An error of the data is the error of each trial
    that trains with them.

    Args:
        oracle: a KerasTuner oracle.
        hypermodel: a `keras_tuner.HyperModel`, or a function that builds a model
            from hyperparameters.
        max_lanes: at most so many trainings at a time, >= 1. None for 128, or a
            lower power of two if memory asks for it. For an oracle that learns
            from results, fewer at a time are better informed.
        folds: validate each trial by cross-validation instead of by
            `validation_data`: a number of folds >= 2 (stratified where the
            targets are classes: text, Booleans or whole numbers of which each distinct target
            has, on average, at least `folds` samples; of several targets the first that has
            classes decides), or a splitter of scikit-learn's, such as
            `TimeSeriesSplit(5)`, of which the first rows validate no fold, or
            `RepeatedStratifiedKFold(random_state=1)`. Folds are lanes too.
            `search(..., groups=...)` gives splitters the group of each sample.
        initial_settings: settings that are tried first, before those that the oracle proposes: a
            list of dictionaries of values by the names of hyperparameters, or of KerasTuner's
            hyperparameters of trials. A value that a setting leaves out is the default. They count
            as trials; one that a trial has had is not tried again.
        pruner: an Optuna pruner, such as `optuna.pruners.MedianPruner()` or
            `optuna.pruners.SuccessiveHalvingPruner()` (ASHA), which ends trials
            by their intermediate results. A trial that the pruner ended is completed,
            with the results that it had.
        jit_compile: as for `kerasreg.lanes.Lanes`.
        random_numbers: as for `kerasreg.lanes.Lanes`.
        devices: as for `kerasreg.lanes.Lanes`; `max_lanes` is for each of them.
        derive_models: whether models of trials may be derived from others that the hypermodel
            built. With False it builds one for each trial.
        pad_widths: whether trials whose models differ in widths, such as `units`, are padded with
            zeros to train by one program, and activations computed side by side, where that is
            estimated to be faster. With False each width and each activation is a program.
        batches: `"shared"`, or `"own"`: each training has an order of its batches that follows from
            the oracle's seed and the id of its trial. Own ones make better ensembles; a step
            gathers the samples of each trial. They need arrays.
        checkpoint_every: how often trials that train as lanes are kept in a checkpoint, from which
            another process goes on: seconds, or a text such as `"5m"`, at the next end of an epoch;
            `"auto"` for every 10 seconds, or as seldom as they cost 1 % of the time; None for
            never, and trials that were cut off begin again.
        max_model_size: a trial whose model has more parameters fails. None for no limit.
        optimizer: replaces the optimizer of each model, as for `keras_tuner.Tuner`.
        loss: replaces the loss of each model, likewise.
        metrics: replace the metrics of each model, likewise.
        distribution_strategy: a `tf.distribute` strategy; with several replicas, trials are
            trained one by one, by `kerasreg.distribute.fit`. One whose only replica is the device
            that is taken by default, such as `tf.distribute.MirroredStrategy()` on a machine with
            one GPU, is as none, unless the tuner has a `run_trial` of its own. With several
            workers, each runs the same search with the same `seed`, and keeps its files in a
            folder of its own.
        directory: the folder of the project folder; the current folder by default.
        project_name: the name of the project folder; `"untitled_project"` by default.
        tuner_id: the name of the tuner in the state files, as for `keras_tuner.Tuner`.
        overwrite: whether a project that exists is deleted; otherwise it is resumed.
        executions_per_trial: how many trainings a trial has; their mean is its result.
            Executions are lanes too.

    Unless `batches="own"`, the order of batches is the same for all trials of a group, and follows
    from the oracle's seed (`kerasreg.lanes.batch_order`). Weights of the best epoch of
    each trial are kept in one file for all trials that ended together. State on
    disk is whole at every instant, as with `kerasreg.tuners.crash_safe`. While a
    trial runs, each epoch is reported to the oracle (`update_trial`).

    Before the first trial the tuner builds the hypermodel to learn the space: as often as
    KerasTuner needs to meet the conditions, or once if the class of the hypermodel has
    `declares_whole_space = True`. The class promises by this that its `build` declares all
    hyperparameters whatever their values are. A subclass with another `build` promises nothing.

    Few models are built for the trials themselves. `build` gets hyperparameters that remember what
    it computes of them, and what it decides by them. Of each way that it takes, two models are
    built; from then on the numbers of a model follow from its hyperparameters, and its initial
    weights are drawn. One of sixteen models is built all the same, and compared. A model whose
    numbers are not explained is built for each trial, and a warning says why.

    Raises:
        ValueError: if `max_lanes` or `folds` is outside its range, one of `devices` is none here,
            `initial_settings` are none of the space, or `pruner` is no pruner of Optuna.
        ImportError: if `pruner` is given and Optuna is not installed.

    Example:

    >>> import tempfile, keras, keras_tuner, numpy as np, kerasreg
    >>> def build(hp):
    ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    ...     rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    ...     model.compile(keras.optimizers.SGD(rate), "mse")
    ...     return model
    >>> oracle = keras_tuner.oracles.RandomSearchOracle("val_loss", max_trials=4)
    >>> tuner = kerasreg.tuners.VectorizedTuner(oracle, build, directory=tempfile.mkdtemp())
    >>> x, y = np.ones((8, 3)), np.ones((8, 1))
    >>> tuner.search(x, y, epochs=2, validation_data=(x, y), verbose=0)
    >>> len(tuner.oracle.end_order), len(tuner.get_best_models())
    (4, 1)
    """

    memory_share = 1.0  # The part of the free memory that lanes of this process may take.
    _alone: str | None = None  # Why the trials are those of one process, where they are.

    def __init__(
        self,
        oracle: keras_tuner.Oracle,
        hypermodel: Any = None,
        *,
        max_lanes: int | None = None,
        folds: Any = None,
        initial_settings: Sequence[Any] = (),
        pruner: Any = None,
        jit_compile: bool | str = "auto",
        random_numbers: Literal["vectorized", "keras"] = "vectorized",
        devices: Sequence[str] | None = None,
        derive_models: bool = True,
        pad_widths: bool = True,
        batches: Literal["shared", "own"] = "shared",
        checkpoint_every: float | str | None = "auto",
        max_model_size: int | None = None,
        optimizer: Any = None,
        loss: Any = None,
        metrics: Any = None,
        distribution_strategy: Any = None,
        directory: str | os.PathLike[str] | None = None,
        project_name: str | None = None,
        tuner_id: str | None = None,
        overwrite: bool = False,
        executions_per_trial: int = 1,
    ) -> None:
        if hypermodel is None and type(self).run_trial is VectorizedTuner.run_trial:
            raise ValueError(
                "`hypermodel` must be given, unless a subclass has its own `run_trial`. "
                "Received `hypermodel=None`"
            )
        self._explored = False
        self._scheduler: Scheduler | None = None  # Of the search that runs.
        self._lane_records: list[LaneRecord] = []  # Of each search.
        self.searched: Searched | None = None  # The data of the last search.
        self.max_lanes = None if max_lanes is None else check_count("max_lanes", max_lanes)
        self.folds = None if folds is None else check_folds(folds)
        self.jit_compile = jit_compile
        self.random_numbers = random_numbers
        self.devices = None if devices is None else list(check_devices(devices))
        self.derive_models = derive_models
        self.pad_widths = pad_widths
        check_choice("batches", batches, ("shared", "own"))
        self.batches = batches
        check_parallel(oracle, type(self).__name__, self._alone)
        # A worker that comes late must not delete what the others have.
        overwrite = overwrite and internals.parallel_role() != "worker"
        self.checkpoint_every = check_every(checkpoint_every)
        self._stopping: Stopping | None = None  # Of the search that runs.
        self._again: VectorizedTuner | None = None  # What trains trials of this one again.
        if isinstance(oracle, StudyOracle):
            oracle.opens_late = True
            if overwrite:
                oracle.delete(os.fspath(directory or "."), project_name or "untitled_project")
        else:
            internals.reload_from_any_folder(oracle)
        initial = InitialSettings(oracle, initial_settings)
        distribution_strategy = self._of_replicas(distribution_strategy)
        if distribution_strategy is not None:
            from kerasreg.distribute import folder_of_worker

            # Workers train each trial together, and each keeps the state of the search.
            directory = folder_of_worker(distribution_strategy, directory or ".")
        super().__init__(
            oracle,
            hypermodel,
            max_model_size=max_model_size,
            optimizer=optimizer,
            loss=loss,
            metrics=metrics,
            distribution_strategy=distribution_strategy,
            directory=directory,
            project_name=project_name,
            tuner_id=tuner_id,
            overwrite=overwrite,
            executions_per_trial=executions_per_trial,
        )
        self._chief = parallel(self)
        if isinstance(self.oracle, StudyOracle):
            # The study is compared with the space of this hypermodel, also when it is resumed.
            if not self._explored:
                self._populate_initial_space()
            self.oracle.open()
        # Several workers write into one folder.
        self._part = self.oracle.process if isinstance(self.oracle, WorkerOracle) else ""
        self._curves = LearningCurves(self.oracle.objective, self._part)
        self._log = SearchLog(part=self._part)
        self._stage: Stage | None = None  # Of the search of this process.
        self._pruning = None if pruner is None else Pruning(pruner, self.oracle.objective)
        initial.check(self.hypermodel)
        self._files = StateFiles(self)

    def search(
        self,
        *fit_args: Any,
        groups: Any = None,
        time_limit: float | str | None = None,
        report: Any = None,
        **fit_kwargs: Any,
    ) -> None:
        """Searches, as `keras_tuner.Tuner.search` does.

        Args:
            *fit_args: given to the hypermodel's `fit`: the training data.
            groups: with `folds`, the group of each sample: no group is divided.
            time_limit: the time after which the search ends: seconds, or a text such as `"60s"`,
                `"5m"` or `"1h30m"`. None for no limit.
            report: a `.html`, `.json` or `.md` file, in which the report of the search is renewed
                while it runs, so that to load it again shows how far it is; or a function that
                takes such a `kerasreg.reports.SearchReport`; or a list of these. All renewals
                together take at most 1 % of the time, but for one at the end, and one that takes
                longer than those before. The file is whole at every instant. It has no ensemble,
                which `tuner.report` adds.
            **fit_kwargs: given to the hypermodel's `fit`: `validation_data`,
                `epochs`, `callbacks`, ... `verbose=0` shows nothing.

        Where there is a limit, and trials have ended, fewer lanes or none begin where more would
        not end in time, by how long trainings have taken. Where the first epochs show that not all
        of the first lanes will, fewer begin again, unless callbacks or a pruner see the epochs.

        When the time is over, no trial begins, and each training ends at its next epoch that has
        the objective. Its trial is completed, with the results and the weights that it had. A
        trial ends without a result if one of its folds or executions has not begun, or its own
        code trains again: the next search, also one that resumes the project, trains that trial
        anew. One trial at least is trained for one epoch. Code that does not call `model.fit` runs
        to its end. A line says how many trials there are, unless `verbose=0`.

        Raises:
            ValueError: if `time_limit` is no time > 0, or is given for several workers of a
                strategy; or if `report` is none of what it may be.
            keras_tuner.errors.FatalError: if `folds` stand beside validation data or a
                strategy, the data of folds are no arrays, data without an end have no number of
                steps, or `build` returns no model.
            RuntimeError: if too many trials failed one after another.
            kerasreg.tuners.SearchStopped: if `stop` was called.
            ImportError: if there are `folds` and scikit-learn is not installed.

        SIGTERM stops the search as `stop` does, and ends the process then, as it does by default:
        where the program has no handler of its own, and calls `search` in its main thread.
        """
        self._stopping = stopping = Stopping()
        try:
            with stopped_by_sigterm(stopping):
                self._search(fit_args, groups, time_limit, report, fit_kwargs)
        finally:
            self._stopping = None

    def stop(self) -> bool:
        """Asks a search that runs to stop where nothing is lost; it may be called from anywhere.

        At the next end of an epoch `search` writes a checkpoint of the trials that train as lanes,
        and raises `kerasreg.tuners.SearchStopped`. The next `search` of the project, also in
        another process, goes on. Trials that Keras trains alone, and those with code of their own,
        begin again. What `confirm` and `retrain=` train is such a search too, and is called again.

        Returns:
            Whether a search runs. Where none does, nothing happens.
        """
        again, stopping = self._again, self._stopping
        if again is not None and again.stop():
            return True
        if stopping is not None:
            stopping.asked = True
        return stopping is not None

    def _search(
        self, fit_args: Any, groups: Any, time_limit: Any, report: Any, fit_kwargs: dict[str, Any]
    ) -> None:
        self.oracle.verbose = 0  # Its table for each trial is nothing for many at once.
        limit, targets = TimeLimit(time_limit), check_targets(report)
        if self._chief is not None:
            self._serve(self._chief, fit_args, groups, targets, fit_kwargs)
            return
        if isinstance(self.oracle, WorkerOracle):
            targets = []  # The chief knows the trials of all workers.
        else:
            mend(self, self._files)
        if time_limit is not None and self.distribution_strategy is not None:
            from kerasreg.distribute import has_workers

            if has_workers(self.distribution_strategy):
                raise ValueError(
                    "`time_limit` must be None where workers train each trial together: one would "
                    f"end before the others. Received: time_limit={time_limit!r}"
                )
        self._agree()
        renewal = self._new_renewal(targets)
        self._scheduler = self._new_scheduler(fit_args, fit_kwargs, groups, limit, renewal.look)
        self.searched = Searched(fit_args, fit_kwargs, groups)
        self.on_search_begin()
        policy = keras.config.dtype_policy()
        # To look for garbage in all that there is takes longer than to train some trials.
        keras.backend.clear_session(free_memory=False)
        keras.config.set_dtype_policy(policy)  # Which Keras, to 3.15, clears too.
        record = self._scheduler.record
        with self._renewed_at_end(renewal):
            try:
                self._scheduler.run()
            finally:
                self._scheduler = None
                if isinstance(self.oracle, (StudyOracle, WorkerOracle)):
                    self.oracle.release()
                summary = record.close()
        if isinstance(self.oracle, WorkerOracle):
            self.oracle.learn_all()
        self.on_search_end()
        if summary is not None:
            warn(summary)

    def _serve(
        self,
        chief: Chief,
        fit_args: Any,
        groups: Any,
        targets: Sequence[Any],
        fit_kwargs: dict[str, Any],
    ) -> None:
        """Answers workers until they have trained all trials."""
        mend(self, self._files)
        self.searched = Searched(fit_args, fit_kwargs, groups)  # For an ensemble of the trials.
        # Its oracle may ask which values are only values of a program.
        self._new_scheduler(fit_args, fit_kwargs, groups, TimeLimit(None), lambda count: None)
        renewal = self._new_renewal(targets)
        chief.stopping, chief.look = self._stopping or Stopping(), renewal.look
        with self._renewed_at_end(renewal):
            chief.serve()
        self._new_checkpoints().close()  # Of workers that died.
        self._curves.gather([one.trial_id for one in completed_trials(self)], self.project_dir)
        self._log.gather(self.project_dir)

    @contextlib.contextmanager
    def _renewed_at_end(self, renewal: Renewal) -> Iterator[None]:
        """Renews what is looked at when a search has ended within, in whatever way."""
        state = "stopped"
        try:
            yield
            state = "finished"
        finally:
            self._stage = Stage(state)
            renewal.close(self._stage)

    def _agree(self) -> None:
        """Gives again what not all workers have ended, that train each trial together."""
        if self.distribution_strategy is None:
            return
        from kerasreg.distribute import has_workers, least

        if not has_workers(self.distribution_strategy):
            return
        ended = self.oracle.end_order
        with _ended_by_lost_workers():
            ahead = ended[least(self.distribution_strategy, len(ended)) :]
        if ahead:  # One has died before it could write the end of these.
            self._files.give_again(reversed(ahead))

    def reload(self) -> None:
        """Goes on with the project, as `keras_tuner.Tuner.reload` does.

        Raises:
            RuntimeError: if a file of its state cannot be read; the message names it.
        """
        try:
            super().reload()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            path, why = internals.tuner_path(self), f"{type(error).__name__}: {error}"
            if has_own(self, "set_state", VectorizedTuner):
                raise RuntimeError(f"{path!r} is not the state of the tuner ({why}).") from error
            # Which is nothing: the oracle has all that there is.
            warn(f"{path!r} cannot be read ({why}), and is written anew; nothing is lost.")

    def lane_report(self) -> LaneReport:
        """How each trial was trained: as a lane of which program, or alone, and why.

        The report is of the trials that this tuner has trained in this process, also while a
        search runs. Trials that a resumed search found on the disk are not in it.

        Returns:
            A `LaneReport`: `str` of it is a table, with a row for each program and for each
            reason for which trials were trained alone, or on replicas.

        Example:

        >>> import tempfile, keras, numpy as np, kerasreg
        >>> def build(hp):
        ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        ...     rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
        ...     model.compile(keras.optimizers.SGD(rate), "mse")
        ...     return model
        >>> tuner = kerasreg.tuners.VectorizedRandomSearch(
        ...     build, "val_loss", max_trials=4, directory=tempfile.mkdtemp())
        >>> x, y = np.ones((8, 3)), np.ones((8, 1))
        >>> tuner.search(x, y, epochs=2, validation_data=(x, y), verbose=0)
        >>> report = tuner.lane_report()
        >>> [(row.program, row.trials, row.at_once) for row in report], report.share
        ([(1, 4, 4)], 1.0)
        """
        return report_of(self._lane_records)

    def results(self) -> Any:
        """The trials as a table of pandas, in the order in which they began.

        Returns:
            A `pandas.DataFrame` with the columns

            - `trial`: the id; `status`: `"COMPLETED"`, `"FAILED"` or `"RUNNING"`;
            - `score`: the objective; `standard_error`: that of the mean over folds;
            - `fold_0`, ...: the objective in each fold, the mean over executions if there are
              some; without `folds`, `execution_0`, ... if there are several;
            - `best_epoch`: the epoch of the score, from 0;
            - each hyperparameter by its name, with `hp_` before it if the table has another column
              of that name; missing where its condition does not hold;
            - `message`: the last line of the error of a trial that failed;
            - `program`, `at_once`: the program whose lane the trial was, and how many ran together;
              `why_alone`: why the trial was no lane;
            - `seconds`: an equal part of the time of all trainings of the program, or of all that
              were trained alone for that reason. Tracing is in it, building models is not.

            The last four columns are of trials that this process has trained, as in `lane_report`.

        Raises:
            ImportError: if pandas is not installed.

        Example:

        >>> import tempfile, keras, numpy as np, kerasreg
        >>> def build(hp):
        ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        ...     rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
        ...     model.compile(keras.optimizers.SGD(rate), "mse")
        ...     return model
        >>> tuner = kerasreg.tuners.VectorizedRandomSearch(
        ...     build, "val_loss", max_trials=4, folds=2, directory=tempfile.mkdtemp())
        >>> x, y = np.ones((8, 3)), np.ones((8, 1))
        >>> tuner.search(x, y, epochs=2, verbose=0)
        >>> list(tuner.results().columns[:8])
        ['trial', 'status', 'score', 'standard_error', 'fold_0', 'fold_1', 'best_epoch',
         'learning_rate']
        """
        return results(self, self.lane_report())

    def report(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        selection: Selection | None = None,
        ensemble: EnsembleSelection | bool = True,
        title: str | None = None,
    ) -> SearchReport:
        """What the search found, to look at: one HTML file, or the same as JSON or Markdown.

        The page has the scores of the chosen trial and of the ensemble, and how far these can be
        trusted; learning curves; the effect and the importance of each hyperparameter; all trials
        as lines over their hyperparameters; a leaderboard; the members of the ensemble, with their
        calibration or residuals; time, failures, versions, and code for the best setting. A part
        of which nothing is known is left out. The page loads nothing from elsewhere.

        Learning curves and times are of trials that this tuner has trained, or whose search ended
        orderly in an earlier process.

        Args:
            path: a `.html`, `.json` or `.md` file to write, whole at every instant, or None.
            selection: what `select` or `confirm` returned; by default that of `select()`.
            ensemble: what `select_ensemble` returned; True to call it, where the tuner can, and
                False for a report without an ensemble.
            title: the name of the search, by default that of the project.

        Returns:
            A `kerasreg.reports.SearchReport`, with `html()`, `markdown()`, `to_dict()` and `write`.

        Raises:
            ValueError: if `path` has another ending.

        Example:

        >>> import os, tempfile, keras, numpy as np, kerasreg
        >>> def build(hp):
        ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        ...     rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
        ...     model.compile(keras.optimizers.SGD(rate), "mse")
        ...     return model
        >>> folder = tempfile.mkdtemp()
        >>> tuner = kerasreg.tuners.VectorizedRandomSearch(
        ...     build, "val_loss", max_trials=4, folds=2, directory=folder)
        >>> tuner.search(np.ones((8, 3)), np.ones((8, 1)), epochs=2, verbose=0)
        >>> report = tuner.report(os.path.join(folder, "report.html"))
        >>> len(report.trials), report.ranking[0] == tuner.select().trial.trial_id
        (4, True)
        """
        if path is not None:
            check_path(path)
        notes = []
        chosen = None if isinstance(ensemble, bool) else ensemble
        if ensemble is True and completed_trials(self):
            try:
                chosen = self.select_ensemble()
            except ValueError as error:  # Of data that are gone, or cannot be read again.
                notes.append(f"No ensemble was chosen: {error}")
        stage, running = self._stage, self._scheduler
        found = self._report(
            selection=selection,
            ensemble=chosen,
            notes=notes,
            title=title,
            data=fingerprint(self.searched),
            stage=stage if running is None else Stage("running", len(running.running)),
        )
        if path is not None:
            found.write(path)
        return found

    def to_tensorboard(self, folder: str | os.PathLike[str]) -> None:
        """Writes the trials for TensorBoard, whose HParams dashboard shows them.

        Hyperparameters, metrics at the best epoch, status and learning curves of each trial, as
        `kerasreg.reports.SearchReport.to_tensorboard` writes them. `tensorboard --logdir=FOLDER`
        shows them. A second call replaces what the first one wrote.

        Args:
            folder: a folder, which is made if it is missing.

        Raises:
            OSError: if it cannot be written.

        Example:

        >>> import os, tempfile, keras_tuner, kerasreg
        >>> oracle = keras_tuner.oracles.RandomSearchOracle("val_loss", max_trials=4)
        >>> folder = tempfile.mkdtemp()
        >>> tuner = kerasreg.tuners.VectorizedTuner(oracle, lambda hp: None, directory=folder)
        >>> tuner.to_tensorboard(os.path.join(folder, "logs"))  # Best when it has searched.
        >>> len(os.listdir(os.path.join(folder, "logs")))
        1
        """
        self._report_of_trials().to_tensorboard(folder)

    def to_study(self, storage: Any = None, study_name: str | None = None) -> Any:
        """The trials as an Optuna study, which its dashboard shows.

        `kerasreg.reports.SearchReport.to_study` says what the study holds.

        Args:
            storage: as for `optuna.create_study`, such as `"sqlite:///study.db"`; None for memory.
            study_name: the name of the study, by default that of the project.

        Returns:
            An `optuna.Study`.

        Raises:
            ImportError: if Optuna is not installed, with the command that installs it.

        Example:

        >>> import tempfile, keras_tuner, kerasreg
        >>> oracle = keras_tuner.oracles.RandomSearchOracle("val_loss", max_trials=4)
        >>> folder = tempfile.mkdtemp()
        >>> tuner = kerasreg.tuners.VectorizedTuner(oracle, lambda hp: None, directory=folder)
        >>> study = tuner.to_study()  # Best when it has searched.
        >>> study.study_name, study.direction.name
        ('untitled_project', 'MINIMIZE')
        """
        return self._report_of_trials().to_study(storage, study_name)

    def _report_of_trials(self) -> SearchReport:
        """A report of the trials alone, with all learning curves."""
        return self._report(stage=self._stage, every_curve=True)

    def _report(self, **told: Any) -> SearchReport:
        """The report of what the tuner has seen, with what `report_of_search` is told besides."""
        return report_of_search(self, self.lane_report(), self._curves, self._log, **told)

    def select(
        self, rule: str = "best", complexity: str | Callable[[Any], float] | None = None
    ) -> Selection:
        """Chooses a trial by the scores of its folds, as noise allows, and says what it scores.

        The best of many trials looks better than it is. Trials are compared by their means over
        folds, shrunken toward the mean of all of them by as much as noise explains of their
        differences (`kerasreg.tuners.shrunken_scores`). Without folds, executions take their place,
        of which the noise tells nothing of other samples; the scores of single trainings are
        left as they are.

        Args:
            rule: `"best"` for the trial with the best shrunken score, or `"one_standard_error"`
                for the least complex of those whose difference from the best one is at most its
                standard error.
            complexity: for the latter, the number that is to be small: a function of a KerasTuner
                trial, or the name of a hyperparameter or of a metric.

        Returns:
            A `Selection`: its `trial`, `score` and `standard_error`, and the trials in order. `str`
            of it is a table.

        Raises:
            ValueError: if an argument is none of these, or no trial is completed.

        Example:

        >>> import tempfile, keras, numpy as np, kerasreg
        >>> def build(hp):
        ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        ...     rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
        ...     model.compile(keras.optimizers.SGD(rate), "mse")
        ...     return model
        >>> tuner = kerasreg.tuners.VectorizedRandomSearch(
        ...     build, "val_loss", max_trials=4, folds=3, directory=tempfile.mkdtemp())
        >>> x, y = np.random.default_rng(1).normal(size=(2, 30, 3))
        >>> tuner.search(x, y[:, :1], epochs=2, verbose=0)
        >>> selection = tuner.select()
        >>> selection.rows[0].setting == selection.trial.trial_id, selection.rows[0].measured
        (True, 3)
        >>> sparsest = tuner.select("one_standard_error", complexity="learning_rate")
        """
        return select_trial(self, rule, complexity)

    def confirm(
        self,
        *fit_args: Any,
        leading: int = 5,
        executions: int | None = None,
        seed: int | None = None,
        rule: str = "best",
        complexity: str | Callable[[Any], float] | None = None,
        groups: Any = None,
        time_limit: float | str | None = None,
        **fit_kwargs: Any,
    ) -> Selection:
        """Trains the leading trials again, on other folds and with other random numbers, as lanes.

        The trials with the best shrunken scores are trained in a search of their own, in a folder
        within the project. A second call with the same trials trains none of them again. All
        scores together, those of the search and the new ones, choose one of the trials that were
        trained again, as in `select`. With `rule="one_standard_error"` the trial that the rule
        chooses by the search alone is one of them, in place of the last. A warning says so if none
        could be trained again, and the scores of the search choose. Without folds the validation
        data are the same, and only random numbers differ.

        Args:
            *fit_args: the training data, as for `search`; by default all arguments of the last
                search of this process.
            leading: how many trials, >= 1.
            executions: how many trainings each fold has; by default as many as in the search.
            seed: of the folds and the order of batches; by default the one after the search's.
            rule: as for `select`.
            complexity: as for `select`.
            groups: as for `search`.
            time_limit: as for `search`.
            **fit_kwargs: as for `search`.

        Returns:
            A `Selection`, with `search_score` and `confirmed_score` of the chosen trial, and the
            ids of all that were trained again in `confirmed`.

        Raises:
            ValueError: if an argument is none of these, no trial is completed, this process has
                no data, or the tuner trains by methods of its own: Hyperband and populations go on
                with the weights of other trials.

        Example:

        >>> import tempfile, keras, numpy as np, kerasreg
        >>> def build(hp):
        ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        ...     rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
        ...     model.compile(keras.optimizers.SGD(rate), "mse")
        ...     return model
        >>> tuner = kerasreg.tuners.VectorizedRandomSearch(
        ...     build, "val_loss", max_trials=4, folds=3, directory=tempfile.mkdtemp())
        >>> x, y = np.random.default_rng(1).normal(size=(2, 30, 3))
        >>> tuner.search(x, y[:, :1], epochs=2, verbose=0)
        >>> selection = tuner.confirm(leading=2)
        >>> sorted(row.measured for row in selection)
        [3, 3, 6, 6]
        """
        given = bool(fit_args or fit_kwargs)
        return confirm(
            self,
            VectorizedTuner,
            data=Searched(fit_args, fit_kwargs, groups) if given else None,
            leading=leading,
            executions=executions,
            seed=seed,
            rule=rule,
            complexity=complexity,
            time_limit=time_limit,
        )

    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> Any:
        """Trains a trial, as `keras_tuner.Tuner.run_trial` does. A subclass may extend it.

        In a search each call of `model.fit` within is a training that may share a program with
        those of other trials: the method runs in a thread, which rests there.

        Args:
            trial: the trial.
            *args: positional arguments of the hypermodel's `fit`.
            **kwargs: keyword arguments of the hypermodel's `fit`.

        Returns:
            A list with the result of the hypermodel's `fit` for each execution and fold.

        Raises:
            keras_tuner.errors.FatalError: if a result is none.
        """
        scheduler, strategy, hp = self._scheduler, self.distribution_strategy, trial.hyperparameters
        if strategy is not None:
            from kerasreg.distribute import check_same, trained_by_replicas

            with _ended_by_lost_workers():
                check_same(strategy, "`seed` and the trials that follow from it", repr(hp.values))
        path = internals.checkpoint_path(self, trial.trial_id)
        if strategy is not None or scheduler is None:
            reports = [internals.best_epoch_callback(self.oracle.objective, path)]
        else:
            reports = [scheduler.reports_of(trial)]
        if strategy is not None and scheduler is not None:
            reports.append(scheduler.ends_of(trial))
        folds = [None] if scheduler is None else scheduler.folds.numbers
        if strategy is not None and self.folds is not None:
            raise keras_tuner.errors.FatalValueError(
                "With a `distribution_strategy` there are no folds."
            )
        results = []
        for execution in range(self.executions_per_trial):
            for fold in folds:
                given = self.fit_arguments(trial, execution, kwargs)
                given["callbacks"] = [*given["callbacks"], *reports]
                if internals.has_own_build_and_fit(self):
                    results.append(internals.build_and_fit(self, trial, args, given))
                    continue
                with deferred_variables():
                    model = self.build_model(hp)
                was_built = model.built
                with contextlib.ExitStack() as stack:
                    if strategy is not None:
                        stack.enter_context(strategy.scope())
                    if scheduler is not None:
                        stack.enter_context(scheduler.trains(trial, execution, fold, model))
                    if strategy is not None:
                        stack.enter_context(_ended_by_lost_workers())
                        called = stack.enter_context(trained_by_replicas(model))
                        if scheduler is not None:
                            scheduler.running[trial.trial_id].replicated = called
                    result = self.hypermodel.fit(hp, model, *args, **given)
                if not was_built and model.built:
                    internals.write_build_config(self, trial.trial_id, model)
                internals.check_result(result, self.oracle.objective)
                results.append(result)
        return results

    def load_model(self, trial: Any) -> keras.Model:
        """Builds the model of a trial with the weights of its best epoch.

        Args:
            trial: a trial that was trained.

        Returns:
            The model.

        Raises:
            FileNotFoundError: if the project folder has no weights of the trial.
        """
        if os.path.exists(internals.checkpoint_path(self, trial.trial_id)):
            return super().load_model(trial)
        model = self.build_as_trained(trial)
        files = self.weight_files([trial.trial_id])
        if not _best_epochs.read(self.project_dir, trial.trial_id, model, files):
            raise FileNotFoundError(
                f"No weights of trial {trial.trial_id} in {self.project_dir!r}."
            )
        return model

    def build_as_trained(self, trial: Any) -> keras.Model:
        """Builds the model of a trial, with initial weights.

        Args:
            trial: a trial that was trained.

        Returns:
            The model, which is built also if the hypermodel leaves it unbuilt.
        """
        # Weights are assigned next, most often: initial ones are made where they are asked for.
        with deferred_variables():
            model = self.build_model(trial.hyperparameters)
        if not model.built:
            internals.build_as_trained(self, trial.trial_id, model)
        return model

    def out_of_fold(
        self,
        data: Any = None,
        *,
        groups: Any = None,
        candidates: int | Sequence[str] | None = None,
    ) -> OutOfFold:
        """Computes what trials predict for samples that their models were not trained with.

        With folds, each sample is predicted by the models of the folds that it validated. Without,
        these are the samples of the validation data. The weights are those of the best epoch.

        Args:
            data: the data of the search as a pair `(x, y)`: with folds all samples, else those of
                validation, also as a dataset. None for those of the last search of this tuner.
            groups: of these data, as for `search`.
            candidates: of so many trials, the best ones, or of the trials of these ids. None for
                all.

        Returns:
            An `OutOfFold`, whose trials are those that completed, the best one first.

        Raises:
            ValueError: if no trial completed, or the data are not known or cannot be read again.

        Example:

        >>> import tempfile, keras, numpy as np, kerasreg
        >>> def build(hp):
        ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        ...     rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
        ...     model.compile(keras.optimizers.SGD(rate), "mse")
        ...     return model
        >>> tuner = kerasreg.tuners.VectorizedRandomSearch(
        ...     build, "val_loss", max_trials=4, folds=2, directory=tempfile.mkdtemp())
        >>> tuner.search(np.ones((8, 3)), np.ones((8, 1)), epochs=2, verbose=0)
        >>> found = tuner.out_of_fold()
        >>> len(found.trial_ids), found.predictions[0].shape
        (4, (8, 1))
        """
        return out_of_fold(self, data, groups, candidates=candidates)

    def select_ensemble(
        self,
        metric: Any = None,
        *,
        mode: str = "auto",
        size: int = 40,
        shrinkage: float = 100.0,
        candidates: int | Sequence[str] | None = 200,
        data: Any = None,
        groups: Any = None,
    ) -> EnsembleSelection:
        """Chooses the trials whose mean scores best for samples that they were not trained with.

        Greedy selection with replacement, see `kerasreg.models.greedy_selection`, by the
        predictions of `out_of_fold`. All samples count alike: weights of samples are not used.
        Predictions are compared with the targets that `search` was given: a hypermodel whose `fit`
        changes targets, for example standardises these, needs a metric that does the same.

        Args:
            metric: a loss or a metric of Keras, its name, the name of a metric that the models are
                compiled with, or a function of targets and predictions. A function gets targets of
                the shape that they have in the data, and predictions of the shape of outputs: for
                one output `(samples,)` and `(samples, 1)`, perhaps. None for the objective of
                the search if that is a compiled metric of which less is better, and else for the
                loss of the models, without penalties.
            mode: `"min"`, `"max"` or `"auto"`, as for `greedy_selection`.
            size: a trial is chosen so many times at most, some of them again.
            shrinkage: what few samples choose is chance. The shares are those of the choice, with
                the weight of the number of samples, and those of the mean of the ten best trials
                (of the better half, if that is less), with this weight. 0 for the choice alone,
                which is taken too where the other scores much worse than the best trial.
            candidates: so many trials are chosen from, the best ones by the objective; or the ids
                of the trials to choose from.
            data: as for `out_of_fold`.
            groups: as for `out_of_fold`.

        Returns:
            An `EnsembleSelection`, with the score that is to be expected, and `model()`.

        Raises:
            ValueError: as `out_of_fold` and `greedy_selection` do.

        After Caruana et al. 2004, "Ensemble selection from libraries of models".

        Example:

        >>> import tempfile, keras, numpy as np, kerasreg
        >>> def build(hp):
        ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        ...     rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
        ...     model.compile(keras.optimizers.SGD(rate), "mse")
        ...     return model
        >>> tuner = kerasreg.tuners.VectorizedRandomSearch(
        ...     build, "val_loss", max_trials=4, folds=2, directory=tempfile.mkdtemp())
        >>> tuner.search(np.ones((8, 3)), np.ones((8, 1)), epochs=2, verbose=0)
        >>> selection = tuner.select_ensemble()
        >>> round(sum(row.share for row in selection.rows), 6)
        1.0
        """
        check_count("size", size)
        shrinkage = check_number("shrinkage", shrinkage, 0.0, math.inf)
        found = self.out_of_fold(data, groups=groups, candidates=candidates)
        again = functools.partial(retrained, self, VectorizedTuner, _Retraining)
        return select_ensemble(self, found, metric, mode, size, shrinkage, again)

    def ensemble(
        self,
        metric: Any = None,
        *,
        mode: str = "auto",
        size: int = 40,
        shrinkage: float = 100.0,
        candidates: int | Sequence[str] | None = 200,
        data: Any = None,
        groups: Any = None,
        retrain: int = 0,
        spread: bool = False,
    ) -> Ensemble:
        """Makes one Keras model of the trials whose mean scores best.

        `select_ensemble` chooses them, and tells what the mean scores. With folds, all models of
        the folds of a trial are members, or each trial is trained again with all samples.

        Args:
            metric: as for `select_ensemble`.
            mode: as for `select_ensemble`.
            size: as for `select_ensemble`.
            shrinkage: as for `select_ensemble`.
            candidates: as for `select_ensemble`.
            data: as for `out_of_fold`.
            groups: as for `out_of_fold`.
            retrain: as for `EnsembleSelection.model`.
            spread: as for `kerasreg.models.Ensemble`.

        Returns:
            A `kerasreg.models.Ensemble`, which is saved, exported and served as any Keras model.

        Raises:
            ValueError: as `select_ensemble` does.

        Example:

        >>> import tempfile, keras, numpy as np, kerasreg
        >>> def build(hp):
        ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        ...     rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
        ...     model.compile(keras.optimizers.SGD(rate), "mse")
        ...     return model
        >>> tuner = kerasreg.tuners.VectorizedRandomSearch(
        ...     build, "val_loss", max_trials=4, folds=2, directory=tempfile.mkdtemp())
        >>> tuner.search(np.ones((8, 3)), np.ones((8, 1)), epochs=2, verbose=0)
        >>> tuner.ensemble().predict(np.ones((5, 3)), verbose=0).shape
        (5, 1)
        """
        chosen = self.select_ensemble(
            metric,
            mode=mode,
            size=size,
            shrinkage=shrinkage,
            candidates=candidates,
            data=data,
            groups=groups,
        )
        return chosen.model(spread, retrain)

    # For subclasses: the scheduler calls these.

    @property
    def runs_own_code(self) -> bool:
        """Whether a trial is more than its trainings.

        That is so if the tuner has another `run_trial`, the hypermodel has another `fit`, or
        replicas train.
        """
        hypermodel = self.hypermodel
        return (
            self._has_own_loop
            or hypermodel is None
            or has_own(hypermodel, "fit", keras_tuner.HyperModel)
            or self.distribution_strategy is not None
        )

    def _of_replicas(self, strategy: Any) -> Any:
        """The strategy that trains trials; None where that of one device keeps none from lanes."""
        # A loop of the tuner's own may use what was given.
        return strategy if self._has_own_loop else strategy_of_replicas(strategy)

    @property
    def _has_own_loop(self) -> bool:
        """Whether code of the tuner's own trains trials."""
        return has_own(self, "run_trial", VectorizedTuner) or internals.has_own_build_and_fit(self)

    def build_model(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Builds the model of a trial. A subclass may extend it.

        Args:
            hp: the hyperparameters of the trial.

        Returns:
            The model that the hypermodel builds.

        Raises:
            keras_tuner.errors.FatalTypeError: if the hypermodel builds no Keras model.
            keras_tuner.errors.FailedTrialError: if the model is larger than `max_model_size`.
        """
        # KerasTuner clears the session and collects garbage before each model, which
        # takes longer than to build it; names are what has to begin anew.
        reset_automatic_names()
        strategy = self.distribution_strategy
        with contextlib.nullcontext() if strategy is None else strategy.scope():
            model = internals.build_hypermodel(self, hp)
        if not isinstance(model, keras.Model):
            raise keras_tuner.errors.FatalTypeError(
                "The hypermodel's `build` must return a Keras model. "
                f"Received: {model!r} of type {type(model).__name__}"
            )
        if self.max_model_size and model.count_params() > self.max_model_size:
            raise keras_tuner.errors.FailedTrialError(
                f"Oversized model: {model.count_params()} parameters."
            )
        return model

    @property
    def why_no_checkpoints(self) -> str | None:
        """Why a checkpoint of the trials would not be all that there is to know; None if it is."""
        own = [
            name
            for name in ("on_lanes_epoch_end", "on_training_end")
            if has_own(self, name, VectorizedTuner)
        ]
        return f"the tuner has `{own[0]}` of its own, and may know more of them" if own else None

    def builds_by_hypermodel_alone(self, hp: keras_tuner.HyperParameters) -> bool:
        """Whether the model of a trial follows from its hyperparameters, and nothing else.

        Then it may be derived from other models. A subclass with another `build_model` is not
        known to build so; it may say that it does.

        Args:
            hp: the hyperparameters of the trial.
        """
        return not has_own(self, "build_model", VectorizedTuner)

    def fit_arguments(self, trial: Any, execution: int, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Returns the arguments of the hypermodel's `fit` for one execution. May be extended.

        Args:
            trial: the trial.
            execution: the number of the execution.
            kwargs: the keyword arguments of `search`.

        Returns:
            The arguments, with copies of the callbacks.
        """
        callbacks = internals.callbacks_of_execution(
            self, kwargs.get("callbacks", []), trial, execution
        )
        if self._has_hooks():
            callbacks.append(internals.hooks_callback(self, trial))
        return {**kwargs, "callbacks": callbacks}

    def when_written(self, call: Callable[[], None]) -> None:
        """Calls a function when all that has happened so far is on the disk.

        Trials that end together are written together. What tells a user that a trial is done, in
        `on_trial_end`, waits for that: a process that is killed then has the trial.

        Args:
            call: the function, of no arguments.
        """
        self._files.when_written(call)

    def keep_ended(
        self, trial_ids: Sequence[str], weights: Sequence[_best_epochs.TrialWeights]
    ) -> None:
        """Keeps what is needed of trials that end, before the oracle is told. May be extended.

        Args:
            trial_ids: the ids of the trials.
            weights: the weights of those that have some.
        """
        if isinstance(self.oracle, WorkerOracle):
            # Those of a trial that another worker has ended do not belong to its score.
            weights = [one for one in weights if self.oracle.counts(one.trial_id)]
        _best_epochs.write(self.project_dir, weights, self._part)

    def weight_files(self, trial_ids: Sequence[str]) -> list[str] | None:
        """The files that have the weights of trials, the oldest first.

        Args:
            trial_ids: the ids of the trials.

        Returns:
            Their paths; None for those of the project folder.
        """
        return None

    def on_training_end(self, plan: Plan) -> None:
        """Called when a training has ended, before its result is taken. Does nothing here.

        Args:
            plan: the training; `plan.history` may be changed.
        """

    def on_lanes_epoch_end(self, lanes: Lanes, seen: Mapping[int, Seen]) -> None:
        """Called when an epoch of lanes has ended. Does nothing here.

        Args:
            lanes: the lanes.
            seen: for each lane that trained: its training, the epoch and the logs.
        """

    @contextlib.contextmanager
    def training_again(self, again: VectorizedTuner) -> Iterator[None]:
        """Within, `stop` stops the search of another tuner, which trains trials of this one."""
        self._again = again
        try:
            with internals.no_chief():
                yield
        finally:
            self._again = None

    @property
    def part_of_project(self) -> str:
        """What names this process in the folder, where several workers of a chief write there."""
        return self._part

    def _new_scheduler(
        self,
        fit_args: tuple[Any, ...],
        fit_kwargs: dict[str, Any],
        groups: Any,
        limit: TimeLimit,
        look: Callable[[int], None],
    ) -> Scheduler:
        """Makes the owner of a search that begins."""
        in_row = getattr(self.oracle, "trials_per_structure", None)  # A worker's is the chief's.
        record = LaneRecord(in_row)
        self._lane_records.append(record)
        scheduler = Scheduler(
            self,
            fit_args,
            fit_kwargs,
            groups=groups,
            files=self._files,
            pruning=self._pruning,
            record=record,
            curves=self._curves,
            log=self._log,
            limit=limit,
            look=look,
            checkpoints=self._new_checkpoints(),
            stopping=self._stopping or Stopping(),
        )
        if in_row is not None and in_row > 1:
            self.oracle.probe = scheduler.probe
        return scheduler

    def _new_checkpoints(self) -> Checkpoints:
        def has_ended(trial_id: str) -> bool:
            trial = self.oracle.trials.get(trial_id)
            return trial is not None and trial.status in ("COMPLETED", "FAILED")

        alone = not isinstance(self.oracle, (StudyOracle, WorkerOracle))
        return Checkpoints(self.project_dir, self.checkpoint_every, has_ended, alone)

    def _new_renewal(self, targets: Sequence[Any]) -> Renewal:
        """What keeps the state of a search that begins, and renews its report."""
        known: list[str | None] = []  # The fingerprint, which takes its time.

        def make(stage: Stage) -> SearchReport:
            if not known:
                known.append(fingerprint(self.searched))
            return self._report(data=known[0], stage=stage)

        def keep() -> None:
            best = [trial.trial_id for trial in completed_trials(self)]
            self._curves.write(best, self.project_dir)
            self._log.write(self.project_dir, seconds_of(self.lane_report()))

        return Renewal(targets, make, keep)

    def _has_hooks(self) -> bool:
        names = ("on_batch_begin", "on_batch_end", "on_epoch_begin", "on_epoch_end")
        return any(has_own(self, name, keras_tuner.Tuner) for name in names)

    def _populate_initial_space(self) -> None:
        # KerasTuner's hook: learns the space before the first trial, if nothing is resumed.
        self._explored = True
        if not isinstance(self.oracle, StudyOracle) and internals.trials_in_folder(self.oracle):
            # KerasTuner would begin anew, and write over the trials.
            path = internals.tuner_path(self)
            self.oracle.reload()
            warn(f"{path!r} is missing, and is written anew: the search goes on with its trials.")
            return
        if not _declares_whole_space(self.hypermodel):
            internals.explore_space(self)
            return
        hp = self.oracle.get_space()
        self.hypermodel.declare_hyperparameters(hp)
        self.hypermodel.build(hp)
        self.oracle.update_space(hp)


class _Retraining(VectorizedTuner):
    """Trains each trial for a number of epochs of its own, and keeps the weights of the last one.

    Attributes:
        lengths: the numbers of epochs.
    """

    lengths: Sequence[int] = ()

    def fit_arguments(self, trial: Any, execution: int, kwargs: dict[str, Any]) -> dict[str, Any]:
        given = super().fit_arguments(trial, execution, kwargs)
        return {**given, "epochs": self.lengths[int(trial.trial_id)]}

    def builds_by_hypermodel_alone(self, hp: keras_tuner.HyperParameters) -> bool:
        return True


@contextlib.contextmanager
def _ended_by_lost_workers() -> Iterator[None]:
    """A worker that is gone ends the search, and is no failure of the trial."""
    from kerasreg.distribute import WorkerLostError

    try:
        yield
    except WorkerLostError as error:
        raise keras_tuner.errors.FatalRuntimeError(str(error)) from error


def _declares_whole_space(hypermodel: Any) -> bool:
    """Whether one build declares all hyperparameters, as the class of its `build` says."""
    for owner in (hypermodel, *type(hypermodel).__mro__):
        own = getattr(owner, "__dict__", {})
        if "declares_whole_space" in own:
            return bool(own["declares_whole_space"])
        # KerasTuner wraps the method in an attribute of the object itself.
        if owner is not hypermodel and "build" in own:
            return False
    return False
