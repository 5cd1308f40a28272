"""KerasTuner tuners that train many trials as one program."""

from __future__ import annotations

import contextlib
import os
import traceback
import warnings
from collections.abc import Iterator
from typing import Any

import keras
import keras_tuner
from keras.src.utils.naming import reset_uids
from keras_tuner.src import errors

# Private: names, and how KerasTuner turns results into scores, and its own callbacks.
from keras_tuner.src.engine import tuner_utils

from kerasreg._validation import check_count
from kerasreg.tuners import _best_epochs
from kerasreg.tuners._best_epochs import BestEpochs
from kerasreg.tuners._plan import Digests, Plan, train_together
from kerasreg.tuners._resume import keep_whole


class VectorizedTuner(keras_tuner.Tuner):
    """A KerasTuner tuner that trains the trials that share a program together.

    It asks the oracle for up to `max_lanes` trials at a time, builds their
    models, finds which of them differ only in values, and trains each group as
    lanes of one program (`kerasreg.lanes`). A trial that shares its program with
    no other, or that cannot be a lane (its class has a `train_step` of its own,
    it is fed by a generator, ...), is trained by Keras, one by one. Scores, folders and
    `get_best_models` are KerasTuner's. The hypermodel is used as it is; its `fit`
    is run twice for each trial, before and after the training.

    Args:
        oracle: a KerasTuner oracle.
        hypermodel: a `keras_tuner.HyperModel`, or a function that builds a model
            from hyperparameters.
        max_lanes: at most so many trials at a time, >= 1. For an oracle that
            learns from results, fewer at a time are better informed.
        jit_compile: as for `kerasreg.lanes.Lanes`.
        **kwargs: those of `keras_tuner.Tuner`, `executions_per_trial` among them:
            executions are lanes too.

    The order of batches is the same for all trials of a group, and follows from
    the oracle's seed (`kerasreg.lanes.batch_order`). Weights of the best epoch of
    each trial are kept in one file for each group. State on disk is whole at
    every instant, as with `kerasreg.tuners.keep_whole`.

    Raises:
        ValueError: if `max_lanes` is no whole number >= 1.

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
        max_lanes: int = 128,
        jit_compile: bool | str = "auto",
        **kwargs: Any,
    ) -> None:
        self.max_lanes = check_count("max_lanes", max_lanes)
        self.jit_compile = jit_compile
        super().__init__(oracle, hypermodel, **kwargs)
        keep_whole(self)

    def search(self, *fit_args: Any, **fit_kwargs: Any) -> None:
        """Searches, as `keras_tuner.Tuner.search` does.

        Args:
            *fit_args: given to the hypermodel's `fit`: the training data.
            **fit_kwargs: likewise: `validation_data`, `epochs`, `callbacks`, ...
        """
        if type(self).run_trial is not keras_tuner.Tuner.run_trial:
            # What a trial is, is then the subclass' own.
            super().search(*fit_args, **fit_kwargs)
            return
        if "verbose" in fit_kwargs:
            self.oracle.verbose = fit_kwargs["verbose"]
        self.on_search_begin()
        more = True
        while more:
            trials, more = self._new_trials()
            if trials:
                self._run_trials(trials, fit_args, fit_kwargs)
        self.on_search_end()

    def _new_trials(self) -> tuple[list[Any], bool]:
        """As many trials as the oracle gives and there are lanes, and whether it has more."""
        trials: list[Any] = []
        with self._state_written_once():
            while len(trials) < max(1, self.max_lanes // self.executions_per_trial):
                self.pre_create_trial()
                # An oracle gives a tuner one trial at a time: each lane is one to it.
                trial = self.oracle.create_trial(f"{self.tuner_id}-lane-{len(trials)}")
                if trial.status == "STOPPED":
                    return trials, False
                if trial.status == "IDLE":
                    # It waits for results: of these, if there are any.
                    break
                self.on_trial_begin(trial)
                trials.append(trial)
        return trials, True

    def _run_trials(self, trials: list[Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        keras.backend.clear_session()
        plans: list[Plan] = []
        given: dict[int, dict[str, Any]] = {}
        for trial in trials:
            for execution in range(self.executions_per_trial):
                with self._failing(trial):
                    plan = Plan(trial, execution, self._try_build(trial.hyperparameters))
                    given[id(plan)] = self._fit_kwargs(trial, execution, kwargs)
                    plan.reach(self.hypermodel, args, given[id(plan)])
                    plans.append(plan)
        for group in self._groups(plans):
            self._train(group)
        results: dict[str, list[Any]] = {}
        for plan in plans:
            with self._failing(plan.trial):
                found = plan.finish(self.hypermodel, args, given[id(plan)])
                tuner_utils.validate_trial_results(found, self.oracle.objective, "HyperModel.fit()")
                results.setdefault(plan.trial.trial_id, []).append(found)
        with self._state_written_once():
            for trial in trials:
                if trial.status not in ("FAILED", "INVALID"):
                    with self._failing(trial):
                        self._report(trial, results[trial.trial_id])
                self.on_trial_end(trial)

    def _report(self, trial: Any, results: list[Any]) -> None:
        objective = self.oracle.objective
        self.oracle.update_trial(
            trial.trial_id,
            tuner_utils.convert_to_metrics_dict(results, objective),
            step=tuner_utils.get_best_step(results, objective),
        )
        trial.status = "COMPLETED"

    def _groups(self, plans: list[Plan]) -> list[list[Plan]]:
        """Plans that one program can train, at most `max_lanes` in each."""
        digests = Digests()
        groups: dict[Any, list[Plan]] = {}
        for plan in plans:
            key = plan.key(digests)
            groups.setdefault(("alone", id(plan)) if key is None else key, []).append(plan)
        return [
            group[begin : begin + self.max_lanes]
            for group in groups.values()
            for begin in range(0, len(group), self.max_lanes)
        ]

    def _train(self, group: list[Plan]) -> None:
        plans = [plan for plan in group if plan.arguments is not None]
        if len(plans) > 1:
            best = BestEpochs(self.oracle.objective, [plan.trial.trial_id for plan in plans])
            try:
                train_together(
                    plans,
                    self.oracle.seed,
                    self.jit_compile,
                    watch=lambda lanes, epoch, logs: best.update(lanes, logs),
                )
                _best_epochs.write(self.project_dir, best.of_trials())
                return
            except Exception as error:  # each trial is tried alone then
                warnings.warn(
                    f"{len(plans)} trials could not be trained together and are trained one by "
                    f"one: {error!r}",
                    stacklevel=4,
                )
                for plan in plans:
                    plan.error = None
        for plan in plans:
            self._train_alone(plan)

    def _train_alone(self, plan: Plan) -> None:
        checkpoint = tuner_utils.SaveBestEpoch(
            self.oracle.objective, self._get_checkpoint_fname(plan.trial.trial_id)
        )
        assert plan.arguments is not None
        callbacks = list(plan.arguments.get("callbacks") or ())
        plan.arguments["callbacks"] = [*callbacks, checkpoint]
        try:
            plan.train_alone()
        except Exception as error:  # the trial's, and raised when it is finished
            plan.error = error

    def _fit_kwargs(self, trial: Any, execution: int, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments of one execution, with callbacks of its own."""
        callbacks = self._deepcopy_callbacks(kwargs.get("callbacks", []))
        self._configure_tensorboard_dir(callbacks, trial, execution)
        if self._has_hooks():
            callbacks.append(tuner_utils.TunerCallback(self, trial))
        return {**kwargs, "callbacks": callbacks}

    def _has_hooks(self) -> bool:
        names = ("on_batch_begin", "on_batch_end", "on_epoch_begin", "on_epoch_end")
        base = keras_tuner.Tuner
        return any(getattr(type(self), name) is not getattr(base, name) for name in names)

    def _try_build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        # KerasTuner clears the session and collects garbage before each model, which
        # takes longer than to build it; names are what has to begin anew.
        reset_uids()
        model = self._build_hypermodel(hp)
        if not isinstance(model, keras.Model):
            raise errors.FatalTypeError(
                "The hypermodel's `build` must return a Keras model. "
                f"Received: {model!r} of type {type(model).__name__}"
            )
        if self.max_model_size and model.count_params() > self.max_model_size:
            raise errors.FailedTrialError(f"Oversized model: {model.count_params()} parameters.")
        return model

    def load_model(self, trial: Any) -> keras.Model:
        """The model of a trial with the weights of its best epoch.

        Args:
            trial: a trial that was trained.
        """
        if os.path.exists(self._get_checkpoint_fname(trial.trial_id)):
            return super().load_model(trial)
        model = self._try_build(trial.hyperparameters)
        if not _best_epochs.read(self.project_dir, trial.trial_id, model):
            raise FileNotFoundError(
                f"No weights of trial {trial.trial_id} in {self.project_dir!r}."
            )
        return model

    @contextlib.contextmanager
    def _failing(self, trial: Any) -> Iterator[None]:
        """Marks a trial as failed where KerasTuner would."""
        try:
            yield
        except Exception as error:
            if isinstance(error, errors.FatalError):
                raise
            failed = isinstance(error, errors.FailedTrialError)
            trial.status = "FAILED" if failed else "INVALID"
            trial.message = traceback.format_exc()

    @contextlib.contextmanager
    def _state_written_once(self) -> Iterator[None]:
        """Writes the oracle's state, which grows with the trials, when all are dealt with."""
        kept = {owner: owner.save for owner in (self, self.oracle)}
        for owner in kept:
            owner.save = lambda: None
        try:
            yield
        finally:
            for owner, save in kept.items():
                owner.save = save
            self.save()
