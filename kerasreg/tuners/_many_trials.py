"""What a tuner needs to have many trials at once: to build, to fail, to write state once."""

from __future__ import annotations

import contextlib
import gc
import os
import traceback
from collections.abc import Iterator
from typing import Any

import keras
import keras_tuner
from keras.src.utils.naming import reset_uids
from keras_tuner.src import errors

# Private: KerasTuner's own callbacks and its scope of a strategy.
from keras_tuner.src.engine import tuner_utils
from keras_tuner.src.engine.tuner import maybe_distribute

from kerasreg.tuners import _best_epochs


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Looks for no garbage while models are built: those that are kept are none.

    To look at all of them again and again would be much of the work of building.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


class ManyTrialsTuner(keras_tuner.Tuner):
    """A KerasTuner tuner whose trials may be built, and fail, beside each other."""

    _written_later = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._directions: dict[str, str | None] = {}  # Of metrics: is more better?
        super().__init__(*args, **kwargs)

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
        with maybe_distribute(self.distribution_strategy):
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

    def _report(self, trial_id: str, metrics: dict[str, Any], step: int) -> Any:
        """Tells the oracle of results, which are written when the trial ends; the trial."""
        # KerasTuner tries names of metrics for each trial anew.
        tracked = self.oracle.trials[trial_id].metrics if self._own_oracle() else None
        for name, direction in self._directions.items():
            if tracked is not None and name in metrics and not tracked.exists(name):
                tracked.register(name, direction=direction)
        with _without(self.oracle, "_save_trial"):
            trial = self.oracle.update_trial(trial_id, metrics, step=step)
        if tracked is not None:
            for name, of_name in tracked.metrics.items():
                self._directions.setdefault(name, of_name.direction)
        return trial

    def _own_oracle(self) -> bool:
        """Whether the oracle is in this process, and no client of one elsewhere."""
        return isinstance(self.oracle, keras_tuner.Oracle)

    @contextlib.contextmanager
    def _state_written_once(self) -> Iterator[None]:
        """Writes the oracle's state, which grows with the trials, when all are dealt with."""
        if self._written_later:
            yield
            return
        self._written_later = True
        try:
            with _without(self, "save"), _without(self.oracle, "save"):
                yield
        finally:
            self._written_later = False
            self.save()


@contextlib.contextmanager
def _without(owner: Any, name: str) -> Iterator[None]:
    """Lets a method do nothing for a while."""
    method = getattr(owner, name)
    setattr(owner, name, lambda *_: None)
    try:
        yield
    finally:
        setattr(owner, name, method)
