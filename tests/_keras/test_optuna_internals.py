"""Each question about Optuna's insides, by the name of the function that answers it."""

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from kerasreg._keras import optuna_internals as internals

# The oldest versions have not all of these.
IS_OLD = int(optuna.__version__.split(".")[0]) < 5
KNOWN = optuna.distributions.FloatDistribution(0.0, 1.0)


@pytest.fixture
def database(tmp_path):
    return optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/study.db")


@pytest.fixture
def study(database):
    return optuna.create_study(storage=database, study_name="study")


def running():
    return optuna.create_trial(state=TrialState.RUNNING, user_attrs={"who": "me"})


def study_id_of(storage):
    return storage.get_study_id_from_name("study")


def test_id_in_storage_is_that_by_which_it_gives_the_trial(study, database):
    asked = study.ask()
    assert database.get_trial(internals.id_in_storage(asked)).number == asked.number
    frozen = study.trials[0]
    assert internals.id_in_storage(frozen) == internals.id_in_storage(asked)


def test_take_id_in_storage_makes_it_known(study, database):
    trial = running()
    internals.take_id_in_storage(trial, database.create_new_trial(study_id_of(database), trial))
    assert database.get_trial(internals.id_in_storage(trial)).user_attrs == {"who": "me"}


def test_added_to_database_gives_the_number(study, database):
    study.ask()
    found = internals.added_to_database(database, study_id_of(database), running())
    assert (found.number, found.user_attrs) == (1, {"who": "me"})
    assert study.trials[1].state == TrialState.RUNNING
    memory = optuna.storages.InMemoryStorage()
    assert internals.added_to_database(memory, 0, running()) is None


def test_trials_since_gives_some_and_all_after_one(study, database):
    ids = [internals.id_in_storage(study.ask()) for _ in range(4)]
    assert internals.trials_since(optuna.storages.InMemoryStorage()) is None
    request = internals.trials_since(database)
    if request is None:
        assert IS_OLD
        return
    found = request(study_id_of(database), None, {ids[0]}, ids[2])
    assert sorted(trial.number for trial in found) == [0, 3]


def test_parameter_setter_sets_a_parameter(study, database):
    trial_id = internals.id_in_storage(study.ask())
    assert internals.parameter_setter(optuna.storages.InMemoryStorage()) is None
    setter = internals.parameter_setter(database)
    if setter is None:
        assert IS_OLD
        return
    setter(trial_id, "rate", 0.5, KNOWN, KNOWN)
    assert study.trials[0].params == {"rate": 0.5}


def test_file_of_journal_is_what_it_was_given(tmp_path, database):
    backend = JournalFileBackend(str(tmp_path / "study.log"))
    assert internals.file_of_journal(optuna.storages.JournalStorage(backend)) is backend
    assert internals.file_of_journal(optuna.storages.InMemoryStorage()) is None


def test_database_requests_are_requests_of_a_database(database):
    names = internals.database_requests()
    assert any(callable(getattr(database, name, None)) for name in names)
    assert IS_OLD or all(callable(getattr(database, name)) for name in names)
    assert not set(names) & set(dir(optuna.storages.BaseStorage))
