"""What a search asks of the storage of its study: how often, how much, and what a kill leaves."""

import contextlib
import threading

import keras_tuner
import optuna
import pytest
import sqlalchemy

from kerasreg import tuners
from kerasreg._keras import keras_tuner_internals as internals
from kerasreg.tuners import _study_oracle
from kerasreg.tuners._study_requests import JointEntries, NotTogether
from kerasreg.tuners._study_storage import storage_of
from kerasreg.tuners._study_trials import AGAIN, SURPLUS, WORKER
from kerasreg.tuners._study_workers import PREFIX

OBJECTIVE = keras_tuner.Objective("score", "min")


def space(count=3):
    hp = keras_tuner.HyperParameters()
    for number in range(count):
        hp.Float(f"x{number}", -1.0, 1.0)
    return hp


@pytest.fixture
def given(request, kind):
    """The kind of a storage, or the URL of one."""
    return request.getfixturevalue("postgres").url if kind == "postgres" else kind


def opened(kind, folder):
    if kind == "sqlite" and int(optuna.__version__.split(".")[0]) < 5:
        pytest.skip("requests of this Optuna to a database are made one by one")
    if kind == "memory":
        return optuna.storages.InMemoryStorage()
    if "://" in kind:
        return storage_of(kind, None)
    return storage_of(str(folder / ("study.db" if kind == "sqlite" else "study.log")), None)


def oracle(storage, folder, most=10**6, count=3, **given):
    given = {"sampler": "random", "seed": 3, "worker_timeout": 1e6, **given}
    made = tuners.StudyOracle(
        OBJECTIVE,
        most,
        storage=storage,
        study_name=str(folder),
        hyperparameters=space(count),
        **given,
    )
    made.verbose = 0
    internals.set_project(made, str(folder), "project")
    made.save = lambda: None  # KerasTuner's own file of all trials.
    return made


def run(made, epochs=3, lanes=1):
    """Runs a block of trials; gives whether there were some."""
    block = [made.create_trial(f"lane-{lane}") for lane in range(lanes)]
    block = [trial for trial in block if trial.status == "RUNNING"]
    for epoch in range(epochs):
        for trial in block:
            score = trial.hyperparameters.values["x0"] ** 2 + 1 / (1 + epoch)
            made.update_trial(trial.trial_id, {"score": score}, step=epoch)
        made.trials_to_end([trial.trial_id for trial in block])
    with made.told_together():
        for trial in block:
            trial.status = "COMPLETED"
            made.end_trial(trial)
    return bool(block)


@pytest.fixture(autouse=True)
def no_clock(monkeypatch):
    """Nothing is asked because time has passed."""
    monkeypatch.setattr(_study_oracle, "_SECONDS_UNTOLD", float("inf"))
    monkeypatch.setattr(_study_oracle, "_SECONDS_BETWEEN_LOOKS", float("inf"))
    monkeypatch.setattr(_study_oracle, "_SECONDS_IDLE", 0.0)


@pytest.fixture
def written(monkeypatch):
    """Counts the transactions of databases, and the entries of journals."""
    counted = [0]

    def count(*_):
        counted[0] += 1

    engine = sqlalchemy.Engine
    sqlalchemy.event.listen(engine, "begin", count)
    backend = optuna.storages.journal.JournalFileBackend
    append = backend.append_logs
    monkeypatch.setattr(backend, "append_logs", lambda *given: (count(), append(*given))[1])
    yield counted
    sqlalchemy.event.remove(engine, "begin", count)


@pytest.mark.parametrize(("count", "epochs"), [(1, 1), (12, 20)])
@pytest.mark.parametrize(
    ("kind", "sampler", "most"),
    [("sqlite", "random", 2), ("sqlite", "tpe", 4), ("journal", "tpe", 3)],
)
def test_a_trial_is_told_at_once(tmp_path, written, kind, sampler, most, count, epochs):
    """However many hyperparameters and epochs it has."""
    made = oracle(opened(kind, tmp_path), tmp_path, count=count, sampler=sampler)
    run(made, epochs)
    written[0] = 0
    for _ in range(4):
        run(made, epochs)
    assert written[0] <= 4 * most
    told = optuna.load_study(study_name=str(tmp_path), storage=made._storage).trials[-1]
    assert len(told.params) == len(told.distributions) == count
    assert list(told.intermediate_values) == list(range(epochs))
    assert told.state.name == "COMPLETE"
    made.release()


@pytest.mark.parametrize(("kind", "begin"), [("sqlite", 1), ("journal", 2)])
def test_the_trials_of_a_block_end_at_once(tmp_path, written, kind, begin):
    made = oracle(opened(kind, tmp_path), tmp_path)
    run(made, lanes=8)
    written[0] = 0
    run(made, lanes=8)
    assert written[0] <= 8 * begin + 1
    made.release()


@pytest.mark.parametrize(("kind", "begin", "epoch"), [("sqlite", 1, 2), ("journal", 2, 1)])
def test_a_pruner_is_told_of_an_epoch_of_all_lanes_at_once(tmp_path, written, kind, begin, epoch):
    pruner = optuna.pruners.PercentilePruner(99.0, n_startup_trials=1, n_warmup_steps=0)
    made = oracle(opened(kind, tmp_path), tmp_path, pruner=pruner)
    run(made, lanes=8)
    written[0] = 0
    run(made, lanes=8, epochs=5)
    assert written[0] <= 8 * begin + 5 * epoch + 1
    made.release()


@pytest.mark.parametrize("kind", ["memory", pytest.param("journal", marks=pytest.mark.long)])
def test_a_trial_looks_at_as_many_however_many_there_are(tmp_path, monkeypatch, kind):
    looked = []
    storage = opened(kind, tmp_path)
    made = oracle(storage, tmp_path)
    made.open()

    def watched(ask):
        def asked(*given, **named):
            found = ask(*given, **named)
            looked.append(len(found) if isinstance(found, list) else 1)
            return found

        return asked

    for name in ("get_trial", "get_all_trials"):
        monkeypatch.setattr(storage, name, watched(getattr(storage, name)))
    update = made._standing.update

    def seen(trials):
        trials = list(trials)
        looked.append(len(trials))
        return update(trials)

    monkeypatch.setattr(made._standing, "update", seen)
    found = []
    distributions = {f"x{n}": optuna.distributions.FloatDistribution(-1, 1) for n in range(3)}
    params = dict.fromkeys(distributions, 0.5)
    other = optuna.create_trial(value=1.0, params=params, distributions=distributions)
    for more in (100, 900):
        for _ in range(more):
            made.study.add_trial(other)
        run(made)
        looked.clear()
        for _ in range(3):
            run(made)
        found.append(sum(looked))
    assert found[0] == found[1] > 0
    made.release()


@pytest.mark.long
@pytest.mark.parametrize("kind", ["sqlite", "journal", "postgres"])
def test_threads_that_ask_at_once_have_the_ranks_and_draws_of_one(tmp_path, kind, given):
    (tmp_path / "whole").mkdir()
    whole = oracle(optuna.storages.InMemoryStorage(), tmp_path / "whole", most=24)
    while run(whole):
        pass
    every = [oracle(opened(given, tmp_path), tmp_path, most=24) for _ in range(4)]
    for made in every:
        made.open()

    def search(made):
        while run(made, lanes=2) or not made.is_over:
            made.refresh()

    threads = [
        threading.Thread(target=search, args=(made,), name=f"t{at}")
        for at, made in enumerate(every)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for made in every:
        made.refresh()
        assert sorted(made.end_order) == sorted(whole.end_order)
        for name, trial in whole.trials.items():
            assert made.trials[name].hyperparameters.values == trial.hyperparameters.values
    states = [trial.state.name for trial in every[0].study.trials]
    assert states.count("COMPLETE") == 24
    assert set(states) <= {"COMPLETE", "FAIL"}
    for made in every:
        made.release()


class _Killed(BaseException):
    pass


@contextlib.contextmanager
def killed(kind, storage, after):
    """Ends the process before it has written so often; yields whether it was ended."""
    left = [after]

    def write(*_):
        left[0] -= 1
        if left[0] < 0:
            raise _Killed

    with pytest.MonkeyPatch.context() as patch:
        if hasattr(storage, "engine"):
            sqlalchemy.event.listen(storage.engine, "begin", write, insert=True)
        elif kind == "journal":
            backend = storage._backend._backend
            append = backend.append_logs
            patch.setattr(backend, "append_logs", lambda logs: (write(), append(logs))[1])
        else:
            for name in dir(storage):
                if name.startswith(("set_trial", "create_new_trial")):
                    request = getattr(storage, name)
                    patch.setattr(
                        storage, name, lambda *a, r=request, **k: (write(), r(*a, **k))[1]
                    )
        try:
            yield left
        finally:
            if hasattr(storage, "engine"):
                sqlalchemy.event.remove(storage.engine, "begin", write)


def buried(storage, folder):
    """Lets all workers of a study be dead, of which this process has one that was killed."""
    study = optuna.load_study(study_name=str(folder), storage=storage)
    for name, record in study.user_attrs.items():
        if name.startswith(PREFIX):
            study.set_user_attr(name, {**record, "ended": True})


@pytest.mark.parametrize("sampler", ["random", "tpe"])
@pytest.mark.parametrize(
    "kind",
    [
        "memory",
        *(pytest.param(kind, marks=pytest.mark.long) for kind in ("sqlite", "journal", "postgres")),
    ],
)
def test_who_is_killed_before_any_request_costs_nothing(tmp_path, kind, given, sampler):
    """The ids and the draws of the search are those of one in which nobody was killed."""

    def result(made):
        while run(made, lanes=2):
            pass
        made.refresh(look=True)
        assert made.is_over
        assert made.start_order == made.end_order == ["0000", "0001", "0002"]
        return {name: trial.hyperparameters.values for name, trial in made.trials.items()}

    (tmp_path / "whole").mkdir()
    whole = oracle(opened(given, tmp_path / "whole"), tmp_path, most=3, sampler=sampler)
    expected = result(whole)
    whole.release()
    kills = 0
    while True:
        folder = tmp_path / str(kills)
        folder.mkdir()
        storage = opened(given, folder)
        made = oracle(storage, folder, most=3, sampler=sampler)
        made.open()
        made._join()
        with killed(kind, storage, kills) as left, contextlib.suppress(_Killed):
            while run(made, lanes=2):
                pass
        storage = storage if kind == "memory" else opened(given, folder)
        buried(storage, folder)
        other = oracle(storage, folder, most=3, sampler=sampler)
        found = result(other)
        if sampler == "random":  # Others learn from what there is.
            assert found == expected
        states = [trial.state.name for trial in other.study.trials]
        assert states.count("COMPLETE") == 3
        assert set(states) <= {"COMPLETE", "FAIL", "WAITING"}
        for trial in other.study.trials:
            assert WORKER in trial.user_attrs or AGAIN in trial.user_attrs
        other.release()
        if left[0] >= 0:
            break
        kills += 1
    assert kills >= 4


def settings(made):
    """The values of trials, by their ids."""
    return {one: made.trials[one].hyperparameters.values for one in sorted(made.end_order)}


def undisturbed(folder):
    """The settings of a search that nothing disturbs."""
    whole = oracle(opened("memory", folder), folder / "whole", most=2)
    while run(whole):
        pass
    whole.release()
    return settings(whole)


def test_what_cannot_be_one_transaction_is_done_one_by_one(tmp_path, monkeypatch):
    storage = opened("sqlite", tmp_path)
    made = oracle(storage, tmp_path, most=2)
    made.open()
    undone = []

    def conflict(connection):
        if storage.scoped_session.is_joined:
            undone.append(1)
            raise sqlalchemy.exc.OperationalError("COMMIT", {}, Exception("deadlock"))

    sqlalchemy.event.listen(storage.engine, "commit", conflict)
    while run(made):
        pass
    sqlalchemy.event.remove(storage.engine, "commit", conflict)
    assert len(undone) >= 4
    states = [trial.state.name for trial in made.study.trials]
    assert states == ["COMPLETE"] * 2
    assert [len(t.intermediate_values) for t in made.study.trials] == [3, 3]
    assert made.end_order == ["0000", "0001"]
    made.release()
    assert settings(made) == undisturbed(tmp_path)


def test_what_was_done_and_not_answered_is_not_done_twice(tmp_path, monkeypatch):
    """A database that is gone after it has done a transaction, and there again."""
    storage = opened("sqlite", tmp_path)
    made = oracle(storage, tmp_path, most=2)
    made.open()
    made._join()
    joined, left = type(storage.scoped_session).joined, [0, 1]

    @contextlib.contextmanager
    def unanswered(sessions):
        with joined(sessions):
            yield
        if left and not left.pop(0):
            raise NotTogether

    monkeypatch.setattr(type(storage.scoped_session), "joined", unanswered)
    run(made)  # It was added twice.
    left[:] = [1, 0]
    run(made)  # It was told twice that it ended.
    left.clear()
    made.refresh(look=True)
    while run(made):
        pass
    assert sorted(made.end_order) == ["0000", "0001"]
    states = [trial.state.name for trial in made.study.trials]
    assert states.count("COMPLETE") == 2
    assert "RUNNING" not in states
    made.release()
    assert settings(made) == undisturbed(tmp_path)


def test_entries_of_a_journal_that_are_refused_are_told_once(tmp_path):
    storage = opened("journal", tmp_path)
    study = optuna.create_study(storage=storage)
    trial_id = storage.create_new_trial(study._study_id)
    other = opened("journal", tmp_path)
    other.set_trial_state_values(trial_id, optuna.trial.TrialState.FAIL)
    entries = storage._backend
    assert isinstance(entries, JointEntries)

    def report():
        with entries.joined(lambda: storage.get_study_directions(study._study_id)):
            for step in range(3):
                storage.set_trial_intermediate_value(trial_id, step, 0.5)

    with pytest.raises(RuntimeError, match="already finished"):
        report()
    # Nothing of it is left to be told to others.
    assert storage.get_trial(trial_id).intermediate_values == {}
    assert storage.create_new_trial(study._study_id) == trial_id + 1


def test_a_study_of_an_earlier_version_is_gone_on_with(tmp_path):
    """It made a request for each parameter, each epoch and each attribute."""
    storage = opened("sqlite", tmp_path)
    whole = oracle(optuna.storages.InMemoryStorage(), tmp_path / "whole", most=4)
    while run(whole):
        pass
    first = oracle(storage, tmp_path, most=4)
    run(first)
    first.release()
    study = optuna.load_study(study_name=str(tmp_path), storage=storage)
    values = [trial.hyperparameters.values for trial in whole.trials.values()]
    # One was killed while it drew, before it was named; one when all was drawn.
    half, drawn = study.ask(), study.ask()
    half.suggest_float("x0", -1.0, 1.0)
    drawn.set_user_attr(WORKER, "gone")
    for name, value in values[2].items():
        distribution = optuna.distributions.FloatDistribution(-1.0, 1.0)
        storage.set_trial_param(drawn._trial_id, name, value, distribution)
    drawn.set_user_attr("kerasreg:drawn", True)
    drawn.report(0.5, 0)
    study.set_user_attr(
        "kerasreg:worker:gone", {"host": "x", "pid": 1, "started": None, "ended": True, "beat": 1}
    )
    other = oracle(storage, tmp_path, most=4)
    other.open()
    other._join()
    other._looked = -float("inf")  # It has seen at two looks that one has no worker.
    while run(other):
        pass
    assert [trial.hyperparameters.values for trial in other.trials.values()] == values
    assert list(other.trials) == ["0000", "0001", "0002", "0003"]
    assert not any(trial.user_attrs.get(SURPLUS) for trial in other.study.trials)
    other.release()
