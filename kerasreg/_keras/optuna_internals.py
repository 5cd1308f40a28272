"""Questions about Optuna's insides, which its public names do not answer.

A study of 4.0 to 5.0 has these names. Where an earlier or a later storage has none of them, as one
of the user's own may have none, the answer is None, and requests are made one by one.
"""

from __future__ import annotations

import inspect
from typing import Any

# Requests of a database, by which the cache before it asks.
_ADD, _READ, _SET_PARAMETER = "_create_new_trial", "_get_trials", "_set_trial_param"


def id_in_storage(trial: Any) -> int:
    """By what its storage knows a trial. To ask the storage would be a request.

    Args:
        trial: a trial of Optuna's, frozen or not.
    """
    return int(trial._trial_id)


def take_id_in_storage(trial: Any, trial_id: int) -> None:
    """Gives a frozen trial that was added to a storage the id by which that knows it.

    Args:
        trial: the trial.
        trial_id: the id.
    """
    trial._trial_id = trial_id


def added_to_database(storage: Any, study_id: int, trial: Any) -> Any:
    """Adds a trial to a database, and gives it with its id and its number, by one request.

    Args:
        storage: a storage of Optuna's.
        study_id: the id of the study.
        trial: a frozen trial.

    Returns:
        The trial; None, and nothing was added, if the storage is no database.
    """
    add = getattr(storage, _ADD, None)
    return None if add is None else add(study_id, trial)


def trials_since(storage: Any) -> Any:
    """The request of a database for some of its trials, and for all after one of them.

    Args:
        storage: a storage of Optuna's.

    Returns:
        A function of the id of the study, the states (None for all), the ids of trials, and the id
        after which all are given too; None if the storage has no such request.
    """
    return _that_takes(storage, _READ, "included_trial_ids")


def parameter_setter(storage: Any) -> Any:
    """The request of a database that sets a parameter and takes the distribution that is known.

    Args:
        storage: a storage of Optuna's.

    Returns:
        A function of the id of the trial, the name, the value, the distribution and the known one;
        None if the storage has no such request.
    """
    return _that_takes(storage, _SET_PARAMETER, "previous_distribution")


def file_of_journal(storage: Any) -> Any:
    """What a storage keeps its journal in; None for a storage of another kind.

    Args:
        storage: a storage of Optuna's.
    """
    return getattr(storage, "_backend", None)


def database_requests() -> tuple[str, ...]:
    """The names of requests of a database beside those that all storages have."""
    return _ADD, _READ, _SET_PARAMETER


def _that_takes(storage: Any, name: str, parameter: str) -> Any:
    """A request of a storage, if it has a parameter of this name; None otherwise."""
    request = getattr(storage, name, None)
    if request is None or parameter not in inspect.signature(request).parameters:
        return None
    return request
