"""KerasTuner tuners that train many trials as one program."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from typing import Any

import keras
import keras_tuner
from keras_tuner.src import errors

# Private: how KerasTuner turns results into scores, and its own callbacks.
from keras_tuner.src.engine import metrics_tracking, tuner_utils
from keras_tuner.src.engine.tuner import maybe_distribute

from kerasreg._keras.deferred_variables import deferred_variables
from kerasreg._validation import check_count
from kerasreg.lanes import Lanes
from kerasreg.tuners import _best_epochs
from kerasreg.tuners._ahead import Ahead
from kerasreg.tuners._crash_safe import keep_whole
from kerasreg.tuners._folds import check_folds, folds_of
from kerasreg.tuners._many_trials import ManyTrialsTuner, no_garbage_collection
from kerasreg.tuners._memory import lanes_that_fit
from kerasreg.tuners._plan import Digests, Plan, is_arrays
from kerasreg.tuners._progress import Progress
from kerasreg.tuners._pruning import Pruning
from kerasreg.tuners._running import Running
from kerasreg.tuners._together import OutOfMemory, train_together


class VectorizedTuner(ManyTrialsTuner):
    """A KerasTuner tuner that trains the trials that share a program together.

    It asks the oracle for many trials at a time, builds their models, finds
    which of them differ only in values, and trains each group as lanes of one
    program (`kerasreg.lanes`). When lanes end, new trials of the same program
    take them over, and nothing is compiled for these. A trial that shares its
    program with no other, or that cannot be a lane (its class has a `train_step`
    of its own, it is fed by a generator, ...), is trained by Keras, one by one.
    Scores, folders and `get_best_models` are KerasTuner's. The hypermodel is used
    as it is; its `fit` is run twice for each trial, before and after the training.

    Args:
        oracle: a KerasTuner oracle.
        hypermodel: a `keras_tuner.HyperModel`, or a function that builds a model
            from hyperparameters.
        max_lanes: at most so many trainings at a time, >= 1. None for 128, or a
            lower power of two if memory asks for it. For an oracle that learns
            from results, fewer at a time are better informed.
        folds: validate each trial by cross-validation instead of by
            `validation_data`: a number of folds >= 2 (stratified where the
            targets are classes), or a splitter of scikit-learn's. Folds are lanes
            too. `search(..., groups=...)` gives splitters the group of each example.
        pruner: an Optuna pruner, such as `optuna.pruners.MedianPruner()` or
            `optuna.pruners.SuccessiveHalvingPruner()` (ASHA), which ends trials
            by their intermediate results. A trial that it ended is completed,
            with the results that it had.
        jit_compile: as for `kerasreg.lanes.Lanes`.
        **kwargs: those of `keras_tuner.Tuner`, `executions_per_trial` among them:
            executions are lanes too. With a `distribution_strategy` trials are
            trained one by one.

    The order of batches is the same for all trials of a group, and follows from
    the oracle's seed (`kerasreg.lanes.batch_order`). Weights of the best epoch of
    each trial are kept in one file for all trials that ended together. State on
    disk is whole at every instant, as with `kerasreg.tuners.keep_whole`. While a
    trial runs, each epoch is reported to the oracle (`update_trial`).

    Raises:
        ValueError: if an argument is outside its range.

    Example:

    >>> import tempfile, keras, keras_tuner, numpy as np, kerasreg
    >>> def build(hp):
    ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    ...     rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    ...     model.compile(keras.optimizers.SGD(rate), "mse")
    ...     return model
    >>> tuner = kerasreg.tuners.VectorizedRandomSearch(
    ...     build, "val_loss", max_trials=4, directory=tempfile.mkdtemp())
    >>> x, y = np.ones((8, 3)), np.ones((8, 1))
    >>> tuner.search(x, y, epochs=2, validation_data=(x, y), verbose=0)
    >>> len(tuner.oracle.end_order), len(tuner.get_best_models())
    (4, 1)
    """

    def __init__(
        self,
        oracle: keras_tuner.Oracle,
        hypermodel: Any = None,
        max_lanes: int | None = None,
        folds: Any = None,
        pruner: Any = None,
        jit_compile: bool | str = "auto",
        **kwargs: Any,
    ) -> None:
        self.max_lanes = None if max_lanes is None else check_count("max_lanes", max_lanes)
        self.folds = None if folds is None else check_folds(folds)
        self.jit_compile = jit_compile
        super().__init__(oracle, hypermodel, **kwargs)
        self._pruning = None if pruner is None else Pruning(pruner, self.oracle.objective)
        self._running: dict[str, Running] = {}
        self._waiting: list[Plan] = []
        self._ended: dict[str, list[Any]] = {}
        self._lanes_now = self.max_lanes
        keep_whole(self)

    def search(self, *fit_args: Any, groups: Any = None, **fit_kwargs: Any) -> None:
        """Searches, as `keras_tuner.Tuner.search` does.

        Args:
            *fit_args: given to the hypermodel's `fit`: the training data.
            groups: with `folds`, the group of each example: none is divided.
            **fit_kwargs: given to the hypermodel's `fit`: `validation_data`,
                `epochs`, `callbacks`, ... `verbose=0` shows nothing.
        """
        if type(self).run_trial is not keras_tuner.Tuner.run_trial:
            # What a trial is, is then the subclass' own.
            super().search(*fit_args, **fit_kwargs)
            return
        self._call, self._groups = (fit_args, fit_kwargs), groups
        self._digests = Digests()
        self._splits: dict[str, Any] = {}
        self._ahead, self._key_now = Ahead(self), None
        self._running, self._waiting, self._ended = {}, [], {}
        self._progress = Progress(self, quiet=fit_kwargs.get("verbose", "auto") == 0)
        self.oracle.verbose = 0  # Its table for each trial is nothing for many at once.
        self.on_search_begin()
        keras.backend.clear_session()
        while True:
            status = self._ask(self._lanes_now or 1)
            if self._waiting:
                self._train(self._take(self._waiting[0].key(self._digests)))
            elif status == "STOPPED":
                break
            else:
                time.sleep(1.0)  # Others' results are waited for.
        self._progress.update(0, last=True)
        self.on_search_end()

    def _ask(self, count: int) -> str:
        """Asks the oracle for trials until so many trainings wait; its last word."""
        with self._state_written_once(), no_garbage_collection():
            while len(self._waiting) < count:
                self.pre_create_trial()
                # An oracle gives a tuner one trial at a time: each place is one to it.
                taken = self.oracle.ongoing_trials
                places = (f"{self.tuner_id}-lane-{n}" for n in range(len(taken) + 1))
                trial = self.oracle.create_trial(next(p for p in places if p not in taken))
                if trial.status in ("STOPPED", "IDLE"):
                    return str(trial.status)
                self.on_trial_begin(trial)
                self._begin(trial)
                if self._lanes_now is None and self._waiting:
                    self._lanes_now = count = lanes_that_fit(self._waiting[0])
                self._ahead.look(count)
        return "RUNNING"

    def _begin(self, trial: Any) -> None:
        """Builds the models of a trial."""
        running = self._running[trial.trial_id] = Running(trial, self.oracle.objective)
        with self._failing(trial):
            plans = []
            for execution in range(self.executions_per_trial):
                for fold in range(self._fold_count()) if self.folds is not None else [None]:
                    with deferred_variables():
                        model = self._try_build(trial.hyperparameters)
                    plan = Plan(trial, execution, model, fold)
                    self._prepare(plan)
                    plans.append(plan)
            for plan in plans:
                running.add(plan)
            self._waiting += plans
            return
        self._end(running)

    def _prepare(self, plan: Plan) -> None:
        """Finds what a training is to be: its data, its arguments, callbacks of its own."""
        args, kwargs = self._call
        kwargs = self._fit_kwargs(plan.trial, plan.execution, kwargs)
        if self.distribution_strategy is not None:
            if plan.fold is not None:
                raise errors.FatalValueError("With a `distribution_strategy` there are no folds.")
            return
        plan.reach(self.hypermodel, args, kwargs)
        if plan.fold is None or plan.arguments is None:
            return
        given = plan.arguments
        if given.get("validation_data") is not None or given.get("validation_split"):
            raise errors.FatalValueError("With `folds` there can be no validation data.")
        data = given.get("x"), given.get("y")
        if not is_arrays(data):
            raise errors.FatalValueError("With `folds` the data must be arrays.")
        known = self._digests.of(data)
        if known not in self._splits:
            self._splits[known] = folds_of(self.folds, *data, self._groups, self.oracle.seed)
        plan.rows = self._splits[known][plan.fold]

    def _fold_count(self) -> int:
        if isinstance(self.folds, int):
            return self.folds
        return int(self.folds.get_n_splits(groups=self._groups))  # type: ignore[union-attr]

    def _take(self, key: Any, count: int | None = None) -> list[Plan]:
        """Takes trainings of one program from those that wait."""
        if key is None or self.distribution_strategy is not None:
            return [self._waiting.pop(0)]
        same = [plan for plan in self._waiting if plan.key(self._digests) == key]
        same = same[: self._lanes_now if count is None else count]
        chosen = set(map(id, same))
        self._waiting = [plan for plan in self._waiting if id(plan) not in chosen]
        return same

    def _train(self, group: list[Plan]) -> None:
        together = [plan for plan in group if plan.key(self._digests) is not None]
        alone = [plan for plan in group if plan not in together]
        if together:
            unfinished: list[Plan] = list(together)
            try:
                train_together(self, unfinished)
            except OutOfMemory:
                self._lanes_now = max(1, len(together) // 2)
                warnings.warn(
                    f"{len(together)} lanes need more memory than there is; going on with "
                    f"{self._lanes_now}.",
                    stacklevel=4,
                )
                self._again(unfinished)
                self._waiting = unfinished + self._waiting
                return
            alone += unfinished
            if unfinished:
                self._again(unfinished)
        for plan in alone:
            if plan.trial.trial_id in self._running:
                self._train_alone(plan)
                self._done([plan])

    def _again(self, plans: list[Plan]) -> None:
        """Prepares trainings that broke off for another beginning."""
        for plan in list(plans):
            plan.error = None
            with self._failing(plan.trial):
                self._prepare(plan)

    def _train_alone(self, plan: Plan) -> None:
        distributed = self.distribution_strategy is not None
        if plan.arguments is None and not distributed:  # The hypermodel's `fit` did it.
            return

        def watch(epoch: int, logs: dict[str, Any]) -> None:
            if self._watch({id(plan): (plan, epoch, logs)}):
                plan.model.stop_training = True

        path = self._get_checkpoint_fname(plan.trial.trial_id)
        callbacks = [
            tuner_utils.SaveBestEpoch(self.oracle.objective, path),
            keras.callbacks.LambdaCallback(on_epoch_end=watch),
        ]
        try:
            if distributed:
                args, kwargs = self._call
                kwargs = self._fit_kwargs(plan.trial, plan.execution, kwargs)
                kwargs["callbacks"] = [*kwargs["callbacks"], *callbacks]
                with maybe_distribute(self.distribution_strategy):
                    plan.run_whole(self.hypermodel, args, kwargs)
            else:
                plan.train_alone(callbacks)
        except Exception as error:  # the trial's, and raised when it is finished
            plan.error = error
        self._progress.update(1)

    def _watch(self, seen: Mapping[int, tuple[Plan, int, dict[str, Any]]]) -> set[str]:
        """Reports an epoch of some trainings; the trials that are to end."""
        objective = self.oracle.objective
        complete: dict[str, tuple[int, float]] = {}
        stopped: set[str] = set()
        for plan, epoch, logs in seen.values():
            trial_id = plan.trial.trial_id
            running = self._running.get(trial_id)
            means = None if running is None else running.seen(epoch, logs)
            if means is None or not objective.has_value(means):
                continue
            complete[trial_id] = epoch, objective.get_value(means)
            # Written when the trial ends. KerasTuner's own oracles do nothing with it:
            # for those who look, the objective is enough.
            own = type(self.oracle).update_trial is not keras_tuner.Oracle.update_trial
            told = means if own else {k: v for k, v in means.items() if k in self._objectives}
            if self._report(trial_id, told, epoch).status == "STOPPED":
                stopped.add(trial_id)
        if self._pruning is not None:
            stopped |= set(self._pruning.report(complete))
        for trial_id in stopped:
            self._running[trial_id].pruned = True
        self._progress.stopped += len(stopped)
        return stopped

    def _between_epochs(
        self, lanes: Lanes, seen: Mapping[int, tuple[Plan, int, dict[str, Any]]]
    ) -> None:
        """What a kind of search does with the lanes between epochs; nothing by default.

        Args:
            lanes: the lanes.
            seen: of each that trained: its training, the epoch that ended, the logs.
        """

    @property
    def _objectives(self) -> set[str]:
        objective = self.oracle.objective
        return {one.name for one in getattr(objective, "objectives", [objective])}

    def _done(self, plans: list[Plan]) -> None:
        """Takes the results of trainings, and ends the trials that have all of theirs."""
        with self._state_written_once():
            for plan in plans:
                running = self._running.get(plan.trial.trial_id)
                if running is None:
                    continue  # Another execution of it has failed.
                with self._failing(plan.trial):
                    found = plan.finish(self.hypermodel)
                    objective = self.oracle.objective
                    tuner_utils.validate_trial_results(found, objective, "HyperModel.fit()")
                    running.results.append(found)
                running.left -= 1
                if running.left == 0 or plan.trial.status in ("FAILED", "INVALID"):
                    self._end(running)
            _best_epochs.write(self.project_dir, self._ended)
            self._ended = {}

    def _end(self, running: Running) -> None:
        trial, objective = running.trial, self.oracle.objective
        del self._running[trial.trial_id]
        self._waiting = [plan for plan in self._waiting if plan.trial is not trial]
        if self._own_oracle():
            # What it reported on the way gives place to its result.
            self.oracle.trials[trial.trial_id].metrics = metrics_tracking.MetricsTracker()
        if trial.status not in ("FAILED", "INVALID"):
            with self._failing(trial):
                step = tuner_utils.get_best_step(running.results, objective)
                for result in running.results:
                    found = tuner_utils.convert_to_metrics_dict(result, objective)
                    plain = {k: v for k, v in found.items() if getattr(v, "ndim", 0) == 0}
                    # Of each execution: the tracker takes the mean, and keeps them all.
                    self._report(trial.trial_id, plain, step)
                trial.status = "COMPLETED"
        if running.best:
            self._ended[trial.trial_id] = running.best
        self.on_trial_end(trial)
        if self._pruning is not None:
            self._pruning.end(
                trial.trial_id, self.oracle.get_trial(trial.trial_id).score, running.pruned
            )
