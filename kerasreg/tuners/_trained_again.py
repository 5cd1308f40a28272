"""Trials of a search, trained again: on other folds to confirm them, or with all samples."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import keras_tuner

from kerasreg._keras import keras_tuner_internals as internals
from kerasreg._overrides import has_own
from kerasreg._validation import check_count
from kerasreg._warnings import warn
from kerasreg.tuners._out_of_fold import Searched, share_trained
from kerasreg.tuners._run_search import reasons
from kerasreg.tuners._selection import Selection, select_trial
from kerasreg.tuners._standard_error import scores_of_folds

# Methods by which a subclass may train in another way.
_TRAINS_BY = ("run_trial", "build_model", "fit_arguments", "on_training_end", "on_lanes_epoch_end")
# Arguments of a tuner that say how it trains.
_LIKE = (
    *("hypermodel", "max_lanes", "jit_compile", "random_numbers", "devices", "derive_models"),
    *("pad_widths", "batches", "checkpoint_every", "max_model_size", "optimizer", "loss"),
    *("metrics", "distribution_strategy"),
)


class GivenSettings(keras_tuner.Oracle):
    """An oracle that gives the settings that it was given, one after the other.

    Args:
        objective: a KerasTuner objective.
        settings: the values of the hyperparameters of each trial.
        hyperparameters: the space.
        seed: a whole number.
    """

    def __init__(
        self,
        objective: Any,
        settings: Sequence[dict[str, Any]],
        hyperparameters: keras_tuner.HyperParameters,
        seed: int,
    ) -> None:
        super().__init__(
            objective=objective,
            max_trials=len(settings),
            hyperparameters=hyperparameters,
            seed=seed,
            # One that fails says nothing of the others.
            max_consecutive_failed_trials=len(settings) + 1,
        )
        self._settings = [dict(values) for values in settings]

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the next setting."""
        return {"status": "RUNNING", "values": dict(self._settings[int(trial_id)])}


class LastEpoch(keras_tuner.Objective):
    """An objective of which each epoch is better than those before."""

    def better_than(self, a: float, b: float) -> bool:
        """Whatever they are."""
        return True


def confirm(
    tuner: Any,
    kind: type,
    *,
    data: Searched | None,
    leading: int,
    executions: int | None,
    seed: int | None,
    rule: str,
    complexity: str | Callable[[Any], float] | None,
    time_limit: float | str | None,
) -> Selection:
    """Trains the leading trials of a search again on other folds, see the tuner's method.

    Args:
        tuner: the tuner of the search.
        kind: the class of tuners that train as usual.
        data: the data to train with; None for those of the search.
        leading: as for the tuner's method.
        executions: likewise.
        seed: likewise.
        rule: likewise.
        complexity: likewise.
        time_limit: likewise.
    """
    check_count("leading", leading)
    executions = tuner.executions_per_trial if executions is None else executions
    check_count("executions", executions)
    seed = tuner.oracle.seed + 1 if seed is None else check_count("seed", seed, minimum=0)
    _check_trains_as_usual(tuner, kind, "`confirm`")
    data = tuner.searched if data is None else data
    if data is None:
        raise ValueError(
            "`fit_args` must be the data of the search, as this tuner has not searched in "
            "this process. Received: none"
        )
    first = select_trial(tuner, rule, complexity)
    trials = leading_trials(tuner, first, leading)
    again, oracle = _again(
        tuner, kind, "again", trials, tuner.oracle.objective, tuner.folds, executions, seed
    )
    with tuner.training_again(again):
        again.search(*data.args, groups=data.groups, time_limit=time_limit, **data.kwargs)
    found = select_trial(tuner, rule, complexity, scores_again(tuner, again, trials))
    if not found.confirmed:
        warn(
            f"None of the {len(trials)} leading trials could be trained again: the trial is "
            f"chosen by the scores of the search alone. {reasons(list(oracle.trials.values()))}"
        )
    return found


def retrained(
    tuner: Any, kind: type, lengths_kind: type, trials: Sequence[Any], executions: int
) -> tuple[Any, list[Any]]:
    """Trains trials again with all samples, each for as many epochs as were best.

    Args:
        tuner: the tuner of the search.
        kind: the class of tuners that train as usual.
        lengths_kind: its subclass, which has `lengths`: the number of epochs of each trial.
        trials: the trials.
        executions: how often each is trained.

    Returns:
        The tuner that has trained them, and its trials, in the order of those that were given.

    Raises:
        ValueError: if they cannot be trained so, or the data are not known.
        RuntimeError: if one of them failed.
    """
    _check_trains_as_usual(tuner, kind, "`retrain`")
    if tuner.searched is None:
        raise ValueError(
            "`retrain` must be 0 until `search` was called in this process: a search that is "
            f"done ends at once, and tells the data. Received: retrain={executions}"
        )
    args, kwargs = tuner.searched.without_validation()
    share = share_trained(tuner, tuner.searched)
    again, oracle = _again(
        tuner,
        lengths_kind,
        "retrained",
        trials,
        LastEpoch("loss", "min"),
        None,
        executions,
        tuner.oracle.seed + 1,
    )
    again.lengths = [max(1, round((trial.best_step + 1) * share)) for trial in trials]
    with tuner.training_again(again):
        again.search(*args, **kwargs)
    done = _in_order(oracle)
    for trial, trial_again in zip(trials, done, strict=True):
        if trial_again.status != "COMPLETED":
            raise RuntimeError(
                f"Trial {trial.trial_id} could not be trained again with all samples: "
                f"{(trial_again.message or 'no reason is known').strip().splitlines()[-1]}"
            )
    return again, done


def _check_trains_as_usual(tuner: Any, kind: type, who: str) -> None:
    """Raises a ValueError if trials cannot be trained again by another tuner."""
    own = [name for name in _TRAINS_BY if has_own(tuner, name, kind)]
    if own or isinstance(tuner.oracle, keras_tuner.oracles.HyperbandOracle):
        raise ValueError(
            f"{who} trains trials as `VectorizedTuner` does. Received: a tuner with "
            f"{', '.join(own) or 'trials that go on with others'} of its own"
        )


def _again(
    tuner: Any,
    kind: type,
    what: str,
    trials: Sequence[Any],
    objective: Any,
    folds: Any,
    executions: int,
    seed: int,
) -> tuple[Any, GivenSettings]:
    """A tuner that trains as another one does, with the settings of some of its trials.

    Its folder is within that of the other one. The same trials with the same seed have the same
    folder, where they are gone on with, but for that of a worker of several, which has a part of
    its own.

    Returns:
        The tuner and its oracle.
    """
    settings = [trial.hyperparameters.values for trial in trials]
    oracle = GivenSettings(objective, settings, tuner.oracle.get_space(), seed)
    which = repr(([trial.trial_id for trial in trials], executions, seed)).encode()
    name, part = f"{what}-{zlib.crc32(which):08x}", tuner.part_of_project
    with internals.no_chief():
        again = kind(
            oracle,
            **{name: getattr(tuner, name) for name in _LIKE},
            folds=folds,
            directory=os.path.abspath(tuner.project_dir),
            project_name=f"{name}-{part}" if part else name,
            executions_per_trial=executions,
        )
    return again, oracle


def _in_order(oracle: keras_tuner.Oracle) -> list[Any]:
    """The trials in the order of the settings, of which their ids are the numbers."""
    return sorted(oracle.trials.values(), key=lambda trial: int(trial.trial_id))


def leading_trials(tuner: Any, first: Any, leading: int) -> list[Any]:
    """The trials that are worth training again: those with the best scores, and the chosen one.

    A rule may have chosen one of which others are better by no more than chance.

    Args:
        tuner: the tuner of the search.
        first: the `Selection` by the search alone.
        leading: how many trials, >= 1.
    """
    names = [row.setting for row in first.rows[:leading]]
    if first.trial.trial_id not in names:
        names[-1] = first.trial.trial_id
    return [tuner.oracle.trials[name] for name in names]


def scores_again(tuner: Any, again: Any, trials: Sequence[Any]) -> dict[str, list[float]]:
    """The scores of trials that were trained again, by the ids that they have in the search.

    Args:
        tuner: the tuner of the search.
        again: the tuner that has trained them again.
        trials: the trials, in the order in which they were trained again.
    """
    name, found = tuner.oracle.objective.name, dict[str, list[float]]()
    for trial, trial_again in zip(trials, _in_order(again.oracle), strict=False):
        if trial_again.status == "COMPLETED":
            found[trial.trial_id] = scores_of_folds(again, trial_again, name)
    return found
