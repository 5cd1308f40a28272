"""The oracle over a study, driven with made-up scores: what counts, what is refused."""

import sys
import threading
import warnings

import keras_tuner
import optuna
import pytest
import sqlalchemy

from kerasreg import tuners
from kerasreg._keras import keras_tuner_internals as internals
from kerasreg.tuners import _study_storage
from kerasreg.tuners._study_trials import AGAIN, SURPLUS, WORKER
from kerasreg.tuners._study_workers import PREFIX

OBJECTIVE = keras_tuner.Objective("score", "min")
STORAGES = {"sqlite": "study.db", "journal": "study.log"}


def space():
    hp = keras_tuner.HyperParameters()
    hp.Float("rate", 1e-3, 1e-1, sampling="log")
    hp.Choice("kind", ["dense", "conv"])
    with hp.conditional_scope("kind", ["conv"]):
        hp.Int("filters", 4, 16, step=4)
    hp.Fixed("classes", 3)
    return hp


def score_of(values):
    return values["rate"] + values.get("filters", 2) / 100


@pytest.fixture
def made(tmp_path):
    """Makes oracles of one storage and one folder, which leave their study at the end."""
    every, memory = [], optuna.storages.InMemoryStorage()

    def make(objective=OBJECTIVE, max_trials=6, storage="memory", folder="project", **given):
        given = {"hyperparameters": space(), "seed": 3, "sampler": "random", **given}
        path = memory if storage == "memory" else storage
        path = tmp_path / STORAGES[storage] if storage in STORAGES else path
        oracle = tuners.StudyOracle(objective, max_trials, storage=path, **given)
        oracle.verbose = 0
        internals.set_project(oracle, str(tmp_path), folder)
        every.append(oracle)
        return oracle

    yield make
    for oracle in every:
        oracle.release()


def begin(oracle, place="a"):
    return oracle.create_trial(place)


def end(oracle, trial, status="COMPLETED", message=None, **metrics):
    if status == "COMPLETED":
        metrics = metrics or {"score": score_of(trial.hyperparameters.values)}
        oracle.update_trial(trial.trial_id, metrics)
    trial.status, trial.message = status, message
    oracle.end_trial(trial)


def run(oracle):
    """Runs all trials; returns the last status."""
    while True:
        trial = begin(oracle)
        if trial.status != "RUNNING":
            return trial.status
        end(oracle, trial)


def states(oracle):
    return [trial.state.name for trial in oracle.study.trials]


@pytest.mark.parametrize("storage", [*STORAGES, "memory"])
def test_each_trial_is_one_of_the_study(made, storage):
    oracle = made(storage=storage)
    assert run(oracle) == "STOPPED"
    assert states(oracle) == ["COMPLETE"] * 6
    assert [trial.status for trial in oracle.trials.values()] == ["COMPLETED"] * 6
    assert oracle.start_order == oracle.end_order == [f"{n:04d}" for n in range(6)]
    best = oracle.get_best_trials()[0]
    assert oracle.study.best_value == best.score == min(t.score for t in oracle.trials.values())
    for number, trial in enumerate(oracle.trials.values()):
        told, values = oracle.study.trials[number], trial.hyperparameters.values
        assert told.value == trial.score == score_of(values)
        # Active ones alone, and no fixed one.
        assert ("filters" in told.params) == (told.params["kind"] == "conv")
        assert values == {**told.params, "classes": 3}
    assert {"dense", "conv"} == {t.params["kind"] for t in oracle.study.trials}


@pytest.mark.parametrize("storage", STORAGES)
def test_another_process_knows_all_of_it(made, storage):
    first = made(storage=storage)
    trial = begin(first)
    end(first, trial, "FAILED", "Traceback:\nValueError: bad")
    run(first)
    other = made(seed=8, storage=storage)
    assert run(other) == "STOPPED"
    assert other.seed == 3
    assert other.trials.keys() == first.trials.keys()
    assert (other.start_order, other.end_order) == (first.start_order, first.end_order)
    for trial_id, trial in other.trials.items():
        mine, theirs = trial.get_state(), first.trials[trial_id].get_state()
        assert mine == theirs
    assert other.trials["0000"].message == "Traceback:\nValueError: bad"
    assert other.get_best_trials()[0].trial_id == first.get_best_trials()[0].trial_id


def test_processes_share_the_trials_and_wait_for_the_last_ones(made):
    one, two = made(max_trials=3), made(max_trials=3)
    first, second, third = begin(one, "a"), begin(two), begin(one, "b")
    assert [t.trial_id for t in (first, second, third)] == ["0000", "0001", "0002"]
    values = [t.hyperparameters.values["rate"] for t in (first, second, third)]
    assert len(set(values)) == 3  # Of one seed.
    assert begin(two, "c").status == "IDLE"
    end(two, second)
    assert begin(two).status == "IDLE"
    end(one, third)
    end(one, first)
    assert begin(two).status == begin(one).status == "STOPPED"
    assert states(one) == ["COMPLETE"] * 3
    assert two.trials["0000"].score == first.score


@pytest.mark.parametrize(
    ("storage", "left"), [("memory", ["FAIL"]), ("journal", ["FAIL"]), ("sqlite", [])]
)
def test_a_trial_that_another_process_has_begun_first_takes_its_place(
    made, monkeypatch, storage, left
):
    one, two = (made(max_trials=1, storage=storage) for _ in range(2))
    one.open()
    create, late = one._requests.create, []

    def create_second(attributes):
        if not late:
            late.append(begin(two))
        return create(attributes)

    monkeypatch.setattr(one._requests, "create", create_second)
    assert begin(one).status == "IDLE"
    end(two, late[0])
    assert begin(one).status == "STOPPED"
    # A database takes back what was added in vain.
    assert states(one) == ["COMPLETE", *left]
    for trial in one.study.trials[1:]:
        assert trial.user_attrs[SURPLUS]
    assert list(one.trials) == ["0000"]


@pytest.mark.parametrize("storage", STORAGES)
def test_the_trials_of_one_that_left_are_taken_over_and_count_once(made, storage):
    one, two = (made(max_trials=2, storage=storage) for _ in range(2))
    trial = begin(one)
    one.update_trial(trial.trial_id, {"score": 1.0}, step=0)
    one.release()
    again = begin(two)
    assert again.trial_id == trial.trial_id == "0000"
    assert again.hyperparameters.values == trial.hyperparameters.values
    end(two, again)
    assert run(two) == "STOPPED"
    assert states(two) == ["FAIL", "COMPLETE", "COMPLETE"]
    assert len(two.trials) == 2
    assert two.study.trials[1].user_attrs[AGAIN] == 0
    # The first one ends it too, and is not heard.
    end(one, trial)
    assert run(one) == "STOPPED"
    assert one.trials["0000"].score == two.trials["0000"].score
    assert states(two) == ["FAIL", "COMPLETE", "COMPLETE"]


def test_one_that_was_killed_while_it_took_over_leaves_nothing_that_runs(made, monkeypatch):
    one, two = (made(max_trials=1, storage="sqlite") for _ in range(2))
    begin(one)
    one.release()
    # It was queued again; that it had broken off was not said any more.
    with monkeypatch.context() as killed:
        killed.setattr(type(two), "_fail", lambda self, number: None)
        again = begin(two)
    assert states(two) == ["RUNNING", "RUNNING"]
    end(two, again)
    assert begin(two).status == "STOPPED"
    assert states(two) == ["FAIL", "COMPLETE"]


def forget(oracle, worker):
    """Lets a worker look as one of another machine that is not heard any more."""
    oracle._heart.silence()
    oracle._heart._thread.join()  # It may be at a beat, which says where it is.
    record = oracle.study.user_attrs[PREFIX + worker]
    oracle.study.set_user_attr(PREFIX + worker, {**record, "host": "elsewhere"})


def test_one_that_was_taken_for_dead_gives_way(made):
    one, two = (made(max_trials=1, worker_timeout=0.3, storage="sqlite") for _ in range(2))
    trial = begin(one)
    worker = one.study.trials[0].user_attrs[WORKER]
    forget(one, worker)
    again = begin(two)
    while again.status == "IDLE":
        again = begin(two)
    assert again.trial_id == trial.trial_id
    one.update_trial(trial.trial_id, {"score": 1.0}, step=3)
    with pytest.warns(UserWarning, match="Trial 0000 is another process's now"):
        assert one.trials_to_end([trial.trial_id]) == {trial.trial_id}
    end(two, again)
    end(one, trial)
    assert begin(one).status == "STOPPED"
    assert one.trials["0000"].score == again.score
    assert states(one) == ["FAIL", "COMPLETE"]


def test_a_result_that_was_told_but_for_the_last_word_is_kept(made, monkeypatch):
    one, two = made(max_trials=1), made(max_trials=1)
    trial = begin(one)
    monkeypatch.setattr(type(one), "_say_last_word", lambda *_: sys.exit("killed"))
    with pytest.raises(SystemExit):
        end(one, trial)
    one.release()
    assert begin(two).status == "STOPPED"
    assert states(two) == ["COMPLETE"]
    assert two.trials["0000"].score == score_of(trial.hyperparameters.values)


def test_a_trial_that_ends_each_process_is_given_up(made, monkeypatch):
    monkeypatch.setattr("kerasreg.tuners._study_oracle._MOST_ATTEMPTS", 3)
    for _ in range(3):
        oracle = made(max_trials=1)
        assert begin(oracle).trial_id == "0000"
        oracle.release()
    last = made(max_trials=1)
    assert begin(last).status == "STOPPED"
    assert last.trials["0000"].status == "FAILED"
    assert last.trials["0000"].message == "3 processes died while they ran this trial."
    assert states(last) == ["FAIL"] * 3


def test_a_trial_is_tried_again_and_fails_for_good(made):
    oracle = made(max_trials=2, max_retries_per_trial=1)
    trial = begin(oracle)
    end(oracle, trial, "INVALID", "first")
    assert states(oracle) == ["RUNNING"]
    again = begin(oracle)
    assert again.trial_id == "0000"
    end(oracle, again, "INVALID", "second")
    assert oracle.trials["0000"].status == "FAILED"
    assert states(oracle) == ["FAIL"]
    assert run(oracle) == "STOPPED"
    assert states(oracle) == ["FAIL", "COMPLETE"]


def test_failures_are_counted_on_by_one_that_takes_over(made):
    one, two = (made(max_trials=1, max_retries_per_trial=1) for _ in range(2))
    end(one, begin(one), "INVALID")
    one.release()
    end(two, begin(two), "INVALID")
    assert two.trials["0000"].status == "FAILED"


def test_a_score_that_is_no_number_fails(made):
    oracle = made(max_trials=2)
    end(oracle, begin(oracle), score=float("nan"))
    assert run(oracle) == "STOPPED"
    assert states(oracle) == ["FAIL", "COMPLETE"]


def test_too_many_failures_are_told_and_in_the_study(made):
    oracle = made(max_consecutive_failed_trials=2)
    end(oracle, begin(oracle), "FAILED", "one")
    with pytest.raises(RuntimeError, match="consecutive failures"):
        end(oracle, begin(oracle), "FAILED", "two")
    assert states(oracle) == ["FAIL", "FAIL"]


def test_what_build_finds_on_the_way_is_in_the_study(made):
    oracle = made(max_trials=2, hyperparameters=None)
    trial = begin(oracle)
    assert trial.hyperparameters.values == {}
    assert trial.hyperparameters.Int("units", 8, 64) == 8
    end(oracle, trial, score=0.5)
    assert oracle.study.trials[0].params == {"units": 8}
    second = begin(oracle)
    assert 8 <= second.hyperparameters.values["units"] <= 64
    # Others know it too, before they have built anything.
    other = made(hyperparameters=None)
    other.open()
    assert [hp.name for hp in other.get_space().space] == ["units"]


def test_settings_are_tried_first_and_once(made):
    settings = [{"rate": 0.02, "kind": "conv", "filters": 8}, {"rate": 0.05}]
    one, two = made(max_trials=4), made(max_trials=4)
    one.enqueue(settings)
    two.enqueue(settings)
    run(one)
    assert run(two) == "STOPPED"
    tried = [trial.hyperparameters.values for trial in two.trials.values()]
    assert tried[0] == {**settings[0], "classes": 3}
    assert tried[1] == {"rate": 0.05, "kind": "dense", "classes": 3}
    assert len(tried) == 4


def test_settings_that_two_queue_at_once_are_tried_once(made, monkeypatch):
    one, two = made(max_trials=2), made(max_trials=2)
    trials = one.study.get_trials()
    for oracle in (one, two):
        with monkeypatch.context() as patch:
            patch.setattr(oracle.study, "get_trials", lambda **kwargs: trials)
            oracle.enqueue([{"rate": 0.02}])
    run(one)
    assert [t.hyperparameters.values["rate"] == 0.02 for t in one.trials.values()] == [True, False]
    assert states(one) == ["COMPLETE", "FAIL", "COMPLETE"]


def test_a_search_that_is_resumed_draws_what_it_would_have_drawn(made):
    whole = made(storage=optuna.storages.InMemoryStorage(), sampler="tpe", max_trials=14)
    run(whole)
    for most in (4, 12, 14):
        part = made(sampler="tpe", max_trials=most)
        run(part)
    for trial_id, trial in whole.trials.items():
        assert part.trials[trial_id].hyperparameters.values == trial.hyperparameters.values


@pytest.mark.filterwarnings("error::UserWarning")  # Of an epoch that is told twice.
def test_epochs_are_intermediate_values_and_a_pruner_ends_trials(made):
    pruner = optuna.pruners.PercentilePruner(50.0, n_startup_trials=1)
    oracle = made(max_trials=2, pruner=pruner)
    good = begin(oracle)
    for step, score in enumerate((0.5, 0.4, float("nan"))):
        oracle.update_trial(good.trial_id, {"score": score}, step=step)
        assert oracle.trials_to_end([good.trial_id]) == set()
    end(oracle, good, score=0.4)
    bad = begin(oracle)
    oracle.update_trial(bad.trial_id, {"score": 0.9}, step=0)
    assert oracle.trials_to_end([bad.trial_id]) == {bad.trial_id}
    end(oracle, bad, score=0.9)
    assert states(oracle) == ["COMPLETE", "PRUNED"]
    assert oracle.study.trials[0].intermediate_values == {0: 0.5, 1: 0.4}
    assert [t.status for t in oracle.trials.values()] == ["COMPLETED"] * 2
    assert made(max_trials=2, pruner=pruner).study.trials[1].value == 0.9


OBJECTIVES = [keras_tuner.Objective("accuracy", "max"), keras_tuner.Objective("bytes", "min")]


def test_of_several_objectives_there_is_a_front(made):
    oracle = made(OBJECTIVES, max_trials=4)
    for accuracy, size in [(0.9, 100), (0.8, 50), (0.7, 80), (0.95, 400)]:
        end(oracle, begin(oracle), accuracy=accuracy, bytes=size)
    assert [t.trial_id for t in oracle.pareto_front()] == ["0003", "0000", "0001"]
    assert oracle.study.trials[1].values == [0.8, 50.0]
    assert oracle.trials["0001"].score == pytest.approx(50 - 0.8)
    assert [t.trial_id for t in oracle.get_best_trials(4)] == ["0001", "0000", "0003", "0002"]
    other = made(OBJECTIVES, max_trials=4)
    assert begin(other).status == "STOPPED"
    assert [t.trial_id for t in other.pareto_front()] == ["0003", "0000", "0001"]
    with pytest.raises(ValueError, match="`pruner` must be None for several objectives"):
        made(OBJECTIVES, pruner=optuna.pruners.MedianPruner())


def test_what_another_program_has_put_into_the_study_is_known(made, tmp_path):
    path = f"sqlite:///{tmp_path}/study.db"
    study = optuna.create_study(storage=path, study_name="project")
    study.optimize(
        lambda t: (
            t.suggest_float("rate", 1e-3, 1e-1, log=True)
            + (t.suggest_categorical("kind", ["dense", "conv"]) == "conv")
            * t.suggest_int("filters", 4, 16, step=4)
        ),
        n_trials=3,
    )
    study.add_trial(optuna.create_trial(value=7.0))  # Of another space.
    oracle = made(max_trials=5, storage=path)
    assert run(oracle) == "STOPPED"
    assert list(oracle.trials) == ["0000", "0001", "0002", "0003", "0004"]
    assert [oracle.trials[f"{n:04d}"].score for n in range(3)] == [
        t.value for t in study.trials[:3]
    ]


def test_a_study_of_something_else_is_refused_with_what_differs(made):
    run(made(max_trials=1))
    other = keras_tuner.HyperParameters()
    other.Float("rate", 1e-3, 0.5, sampling="log")
    with pytest.raises(
        ValueError,
        match=r"study 'project' of another space: 'rate' is Float 0.001 to 0.5, log here and "
        r"Float 0.001 to 0.1, log there",
    ):
        made(hyperparameters=other).open()
    with pytest.raises(
        ValueError,
        match=r"`objective` must be the one of the study 'project', which has 'score' \(min\).*"
        r"Received: 'score' \(max\)",
    ):
        made(keras_tuner.Objective("score", "max")).open()
    with pytest.raises(ValueError, match=r"'score' \(min\).*Received: 'loss' \(min\)"):
        made(keras_tuner.Objective("loss", "min")).open()
    with pytest.raises(ValueError, match=r"Received: 'accuracy' \(max\) and 'bytes' \(min\)"):
        made(OBJECTIVES).open()
    assert run(made(keras_tuner.Objective("score", "max"), study_name="mine")) == "STOPPED"
    memory = optuna.storages.InMemoryStorage()
    optuna.create_study(study_name="project", storage=memory, direction="maximize")
    with pytest.raises(ValueError, match=r"which has 'unknown' \(max\); .*'score' \(min\)"):
        made(storage=memory).open()


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ({"storage": 3}, "`storage` must be a URL .* Received: storage=3"),
        ({"storage": ""}, "`storage` must be a URL"),
        ({"sampler": "tpee"}, "`sampler` must be one of .*did you mean 'tpe'"),
        ({"sampler": 3}, "`sampler` must be a sampler of Optuna's, or one of tpe"),
        ({"objective": OBJECTIVES, "sampler": "cmaes"}, "`sampler`|The sampler 'cmaes'"),
        ({"pruner": "median"}, "`pruner` must be an Optuna pruner. Received: pruner='median'"),
        ({"study_name": ""}, "`study_name` must be a text or None"),
        ({"max_trials": 0}, "`max_trials` must be a whole number >= 1"),
        ({"worker_timeout": 0}, "`worker_timeout` must be a number > 0"),
    ],
    # The same in each process: an object's text has its place in memory.
    ids=lambda one: " ".join(one) if isinstance(one, dict) else "",
)
def test_bad_arguments_are_refused(made, argument, text):
    with pytest.raises((ValueError, ImportError), match=text):
        made(**argument).open()


@pytest.mark.parametrize("reason", ["no route to {url}", "wrong password: s3:cr@t", "s3:cr%40t"])
def test_a_storage_that_cannot_be_reached_is_told_without_its_password(made, reason, monkeypatch):
    def fails(url, **kwargs):
        raise OSError(reason.format(url=url) + "\nmore")

    url = "postgresql://me:s3:cr%40t@host:1/db?sslpassword=hidden"
    monkeypatch.setattr(optuna.storages, "RDBStorage", fails)
    with pytest.raises(RuntimeError, match="`storage` cannot be opened") as raised:
        made(storage=url).open()
    message = str(raised.value)
    assert "postgresql://me:***@host:1/db?sslpassword=***" in message
    assert not any(secret in message for secret in ("s3:cr", "cr%40t", "cr@t", "hidden", "more"))
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


@pytest.mark.parametrize("answers", [True, False])
def test_a_server_that_is_about_to_listen_is_waited_for(made, monkeypatch, answers):
    """As one that is started again; one that never answers is told after some seconds."""
    opened, now = [], [0.0]
    real = optuna.storages.RDBStorage

    def opens(url, **kwargs):
        opened.append(now[0])
        if not answers or len(opened) < 4:
            raise sqlalchemy.exc.OperationalError("connect", {}, OSError("Connection refused"))
        return real("sqlite://")

    monkeypatch.setattr(optuna.storages, "RDBStorage", opens)
    monkeypatch.setattr(_study_storage.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(
        _study_storage.time, "sleep", lambda pause: now.__setitem__(0, now[0] + pause)
    )
    if answers:
        assert isinstance(_study_storage.storage_of("mysql://host/db", None), real)
        assert len(opened) == 4
        return
    with pytest.raises(RuntimeError, match=r"`storage` cannot be opened.*Connection refused"):
        _study_storage.storage_of("mysql://host/db", None)
    assert 5 < opened[-1] <= 15


def test_a_file_that_is_none_and_a_driver_that_is_missing_are_told(made, tmp_path):
    (tmp_path / "study.db").write_text("this is no database" * 100)
    with pytest.raises(RuntimeError, match=r"study.db'.*not a database"):
        made(storage="sqlite").open()
    with pytest.raises(ImportError, match=r"me:\*\*\*@host.*pip install pymysql") as raised:
        made(storage="mysql+pymysql://me:secret@host/db").open()
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("module", "package"), [("psycopg", "'psycopg[binary]'"), ("psycopg2", "psycopg2-binary")]
)
def test_the_driver_that_is_missing_is_the_one_that_sqlalchemy_takes(
    made, monkeypatch, module, package
):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError) as raised:
        made(storage=f"postgresql+{module}://me:secret@host/db").open()
    assert f"(pip install {package})" in str(raised.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///a/b.db", "sqlite:///a/b.db"),
        ("mysql://me@host/db", "mysql://me@host/db"),
        ("mysql://me:pa/ss@wo@host/db", "mysql://me:***@host/db"),
        ("postgresql://h/db?user=me&password=x&a=1", "postgresql://h/db?user=me&password=***&a=1"),
    ],
)
def test_passwords_are_hidden(url, expected):
    assert _study_storage.without_password(url) == expected


@pytest.mark.parametrize("sampler", ["tpe", "qmc", "nsgaii", "random"])
def test_samplers_by_name(made, sampler):
    oracle = made(sampler=sampler, max_trials=12)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert run(oracle) == "STOPPED"
    rates = [t.hyperparameters.values["rate"] for t in oracle.trials.values()]
    assert len(set(rates)) == 12


@pytest.mark.parametrize(("sampler", "package"), [("gp", "torch"), ("cmaes", "cmaes")])
def test_a_sampler_whose_package_is_missing_says_what_to_install(sampler, package, monkeypatch):
    find = _study_storage.importlib.util.find_spec
    monkeypatch.setattr(
        _study_storage.importlib.util,
        "find_spec",
        lambda name, *args: None if name == package else find(name, *args),
    )
    with pytest.raises(ImportError, match=f"The sampler '{sampler}' needs .* install {package}"):
        tuners.StudyOracle(OBJECTIVE, sampler=sampler)


def test_a_sampler_and_a_storage_of_optuna_are_taken_as_they_are(made):
    sampler = optuna.samplers.RandomSampler(seed=1)
    storage = optuna.storages.InMemoryStorage()
    oracle = made(sampler=sampler, storage=storage, study_name="mine")
    assert oracle.study.sampler is sampler
    run(oracle)
    assert len(optuna.load_study(study_name="mine", storage=storage).trials) == 6


@pytest.mark.parametrize("storage", [*STORAGES, "memory"])
def test_a_sampler_of_optuna_is_told_of_the_end_of_each_trial(made, storage):
    told = []

    class Told(optuna.samplers.RandomSampler):
        def after_trial(self, study, trial, state, values):
            told.append((state.name, values, trial.intermediate_values, len(trial.params)))

    pruner = optuna.pruners.PercentilePruner(50.0, n_startup_trials=1)
    oracle = made(max_trials=2, sampler=Told(seed=1), pruner=pruner, storage=storage)
    for score in (0.5, 0.9):
        trial = begin(oracle)
        oracle.update_trial(trial.trial_id, {"score": score}, step=0)
        assert len(oracle.trials_to_end([trial.trial_id])) == (score > 0.5)
        end(oracle, trial, score=score)
    params = [len(trial.params) for trial in oracle.study.trials]
    assert told == [
        ("COMPLETE", [0.5], {0: 0.5}, params[0]),
        ("PRUNED", [0.9], {0: 0.9}, params[1]),
    ]
    assert [trial.value for trial in oracle.study.trials] == [0.5, 0.9]


def test_without_optuna_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"pip install kerasreg\[optuna\]"):
        tuners.StudyOracle(OBJECTIVE)


def test_two_that_ask_at_once_never_get_one_trial(made):
    """A queue of one SQLite file, which Optuna alone lets two take the same trial from."""
    oracles = [made(max_trials=16, storage="sqlite") for _ in range(4)]
    oracles[0].enqueue([{"rate": rate / 1000} for rate in range(2, 18)])
    for oracle in oracles:
        oracle.open()
    got, start = [[] for _ in oracles], threading.Barrier(4)

    def take(oracle, mine):
        start.wait()
        for place in range(4):
            mine.append(begin(oracle, place).trial_id)

    threads = [
        threading.Thread(target=take, args=pair, name=f"taker-{number}")
        for number, pair in enumerate(zip(oracles, got, strict=True))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(trial_id for mine in got for trial_id in mine) == [
        f"{number:04d}" for number in range(16)
    ]


def test_a_study_in_which_others_search_is_not_deleted(made, tmp_path):
    one = made()
    begin(one)
    with pytest.raises(ValueError, match="`overwrite` must be False while 1 processes search"):
        made().delete(str(tmp_path), "project")
    one.release()
    made().delete(str(tmp_path), "project")
    assert made().study.trials == []
