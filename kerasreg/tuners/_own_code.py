"""The user's own code of a trial: what KerasTuner would run, between the trainings in it.

A tuner's `run_trial`, or a hypermodel's `fit`, runs in the thread of its trial (`TrialThread`).
Each call of `model.fit` in it is a training, which the search prepares and trains as any other.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import keras_tuner

from kerasreg._keras import keras_tuner_internals as internals
from kerasreg._keras.patching import original, patched
from kerasreg.tuners._plan import Plan
from kerasreg.tuners._searching_tuner import SearchingTuner
from kerasreg.tuners._trial import RunningTrial
from kerasreg.tuners._trial_thread import TrialThread


def thread_of(
    running: RunningTrial, tuner: SearchingTuner, args: Sequence[Any], kwargs: dict[str, Any]
) -> TrialThread:
    """The thread in which the code of a trial will run.

    Args:
        running: the trial.
        tuner: the tuner, whose `run_trial` is the code.
        args: the positional arguments of `search`.
        kwargs: its keyword arguments.
    """
    return TrialThread(
        lambda thread: _run_trial(thread, tuner, running, args, kwargs),
        f"kerasreg-trial-{running.trial.trial_id}-{id(running)}",
        owners=[tuner.hypermodel, tuner],
    )


def _run_trial(
    thread: TrialThread,
    tuner: SearchingTuner,
    running: RunningTrial,
    args: Sequence[Any],
    kwargs: dict[str, Any],
) -> Any:
    """The code of a trial, in its thread: each call of `model.fit` in it is a training."""
    keras_fit = original(keras.Model, "fit")
    trains = False

    def fit(model: keras.Model, *args: Any, **kwargs: Any) -> Any:
        nonlocal trains
        if trains:  # A callback of a model that Keras trains in this thread trains another one.
            return keras_fit(model, *args, **kwargs)
        by_keras = functools.partial(keras_fit, model)
        execution, fold, own = running.now
        plan = Plan(
            running.trial,
            execution,
            model,
            by_keras,
            (args, kwargs),
            fold=fold if model is own else None,
            thread=thread,
            watched=model is own,
        )
        trains = True
        try:
            return thread.rest(plan)
        finally:
            trains = False

    with patched(keras.Model, fit=fit):
        return tuner.run_trial(running.trial, *args, **kwargs)


def advance(
    running: RunningTrial, oracle: Any, answer: Callable[[], Any] | None = None
) -> Plan | None:
    """Runs the code of a trial to its next training, or to its end.

    Args:
        running: the trial, which has a thread.
        oracle: learns the hyperparameters that the code names.
        answer: what the call of `model.fit` gives in which the code rests; None at the beginning.

    Returns:
        The training that the code asks for; None if the code has ended.
    """
    thread, trial = running.thread, running.trial
    assert thread is not None
    if answer is not None:
        _draw_late(oracle, trial)
    thread.advance(answer)
    # What KerasTuner learns when a trial ends: the next trial is drawn before that.
    known = {hp.name for hp in oracle.hyperparameters.space}
    if any(hp.name not in known for hp in trial.hyperparameters.space):
        oracle.update_space(trial.hyperparameters)
    return None if thread.done else thread.request


def _draw_late(oracle: Any, trial: Any) -> None:
    """Draws hyperparameters that other trials have named since a trial was drawn."""
    if isinstance(oracle, keras_tuner.oracles.GridSearchOracle):
        return  # It visits those points later.
    hps = trial.hyperparameters
    for hp in oracle.hyperparameters.space:
        if hp.name not in hps.values and oracle.tune_new_entries:
            hps.merge([hp])
            if hps.is_active(hp):
                hps.values[hp.name] = hp.random_sample(internals.next_seed(oracle))


def outcome(plan: Plan) -> Any:
    """What `model.fit` gives when its training has ended."""
    if plan.error is not None:
        raise plan.error
    return plan.history


def throw(error: BaseException) -> Any:
    """Raises an error where the code rests."""
    raise error


def take_result(running: RunningTrial, oracle: Any, result: Any) -> None:
    """Takes what the code of a trial has returned.

    Args:
        running: the trial.
        oracle: knows what the code has reported by itself.
        result: what `run_trial` returned.

    Raises:
        keras_tuner.errors.FatalError: if it is no result.
    """
    known = oracle.trials[running.trial.trial_id].metrics
    reported = known.exists(oracle.objective.name) and not running.told
    running.reported_itself = result is None and reported
    if running.reported_itself:
        warnings.warn(
            "To call `oracle.update_trial` in `run_trial` is deprecated in KerasTuner. Please "
            "remove the call, and return the metrics.",
            DeprecationWarning,
            stacklevel=2,
        )
    else:
        internals.check_result(result, oracle.objective, "Tuner.run_trial()")
    # Of each execution: the tracker takes the mean, and keeps them all.
    running.results = result if isinstance(result, list) else [result]
