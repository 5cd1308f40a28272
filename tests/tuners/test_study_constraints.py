"""Constraints on metrics: what is checked, what counts as best, what the study is told."""

import math

import keras_tuner
import optuna
import pytest

from kerasreg import tuners
from kerasreg._keras import keras_tuner_internals as internals

pytestmark = pytest.mark.skipif(
    not hasattr(optuna.trial.Trial, "set_constraint"), reason="constraints need Optuna 5"
)
ACCURACY = keras_tuner.Objective("accuracy", "max")
BYTES = keras_tuner.Objective("bytes", "min")
# What five trials have: accuracy and bytes.
RESULTS = [(0.9, 100), (0.8, 50), (0.7, 80), (0.95, 400), (0.85, 120)]


def made(folder, objective=ACCURACY, max_trials=5, sampler="random", **given):
    hp = keras_tuner.HyperParameters()
    hp.Float("x", 0.0, 1.0)
    given = {"hyperparameters": hp, "seed": 3, **given}
    oracle = tuners.StudyOracle(objective, max_trials, sampler=sampler, **given)
    oracle.verbose = 0
    internals.set_project(oracle, str(folder), "project")
    return oracle


def told(oracle, accuracy, size, status="COMPLETED"):
    trial = oracle.create_trial("a")
    oracle.update_trial(trial.trial_id, {"accuracy": accuracy, "bytes": size})
    trial.status = status
    oracle.end_trial(trial)
    return trial


@pytest.mark.parametrize(
    ("constraints", "best"),
    [
        ({"bytes": 100}, ["0000", "0001", "0002", "0003", "0004"]),
        ({"bytes": 99.5}, ["0001", "0002", "0003", "0000", "0004"]),
        ({"bytes": (60, 130)}, ["0000", "0004", "0002", "0003", "0001"]),
        ({"bytes": (60, None), "accuracy": (None, 0.9)}, ["0000", "0004", "0002", "0003", "0001"]),
        # The trials that keep to it are none.
        ({"bytes": 1}, ["0003", "0000", "0004", "0001", "0002"]),
        (None, ["0003", "0000", "0004", "0001", "0002"]),
    ],
)
def test_the_best_trials_keep_to_the_constraints(tmp_path, constraints, best):
    oracle = made(tmp_path, constraints=constraints)
    for accuracy, size in RESULTS:
        told(oracle, accuracy, size)
    assert [trial.trial_id for trial in oracle.get_best_trials(5)] == best
    feasible = [t for t in oracle.trials.values() if oracle.is_feasible(t)]
    # Optuna says the same.
    kept = [t.number for t in oracle.study.trials if all(v <= 0 for v in t.constraints.values())]
    assert [trial.trial_id for trial in feasible] == [f"{number:04d}" for number in kept]
    if feasible:
        assert f"{oracle.study.best_trial.number:04d}" == best[0]
    other = made(tmp_path, constraints=constraints)
    assert other.create_trial("b").status == "STOPPED"
    assert [trial.trial_id for trial in other.get_best_trials(5)] == best
    oracle.release()
    other.release()


def test_by_how_much_a_trial_is_beyond_is_in_the_study(tmp_path):
    oracle = made(tmp_path, constraints={"bytes": (60, 130)}, max_trials=2)
    told(oracle, 0.9, 150)
    told(oracle, 0.9, math.inf)
    first, second = oracle.study.trials
    assert first.constraints == {"bytes >= 60": -90.0, "bytes <= 130": 20.0}
    assert second.constraints["bytes <= 130"] == math.inf
    oracle.release()


def test_a_failed_trial_needs_no_metrics_and_comes_last(tmp_path):
    oracle = made(tmp_path, constraints={"bytes": 60}, max_trials=3)
    failed = oracle.create_trial("a")
    failed.status = "FAILED"
    oracle.end_trial(failed)
    told(oracle, 0.9, 100)
    told(oracle, 0.8, 50)
    assert [trial.trial_id for trial in oracle.get_best_trials(3)] == ["0002", "0001", "0000"]
    assert not oracle.is_feasible(failed)
    oracle.release()


def test_a_front_has_trials_that_keep_to_the_constraints(tmp_path):
    oracle = made(tmp_path, [ACCURACY, BYTES], constraints={"accuracy": (0.82, None)})
    for accuracy, size in RESULTS:
        told(oracle, accuracy, size)
    assert [trial.trial_id for trial in oracle.pareto_front()] == ["0003", "0000"]
    ranked = [trial.trial_id for trial in oracle.get_best_trials(5)]
    assert set(ranked[:2]) == {"0000", "0003"}
    assert ranked[2] == "0004"
    oracle.release()


@pytest.mark.parametrize(
    ("sampler", "count"), [("tpe", 60), pytest.param("nsgaii", 300, marks=pytest.mark.long)]
)
def test_samplers_learn_from_constraints(tmp_path, sampler, count):
    """The best settings are where a constraint forbids them: later ones keep to it more often."""
    hp = keras_tuner.HyperParameters()
    names = list("abcd")
    for name in names:
        hp.Float(name, 0.0, 1.0)
    shares = {}
    for constraints in (None, {"bytes": 0.45}):
        oracle = made(
            tmp_path / str(constraints is None),
            max_trials=count,
            sampler=sampler,
            constraints=constraints,
            hyperparameters=hp.copy(),
            storage=optuna.storages.InMemoryStorage(),
        )
        for _ in range(count):
            trial = oracle.create_trial("a")
            mean = sum(trial.hyperparameters.values[name] for name in names) / len(names)
            oracle.update_trial(trial.trial_id, {"accuracy": mean, "bytes": mean})
            trial.status = "COMPLETED"
            oracle.end_trial(trial)
        late = [sum(t.params.values()) / len(names) for t in oracle.study.trials[count // 2 :]]
        shares[constraints is None] = sum(mean <= 0.45 for mean in late) / len(late)
        oracle.release()
    assert shares[True] < 0.2 < 0.4 < shares[False]


def test_values_are_those_of_the_best_epoch(tmp_path):
    oracle = made(tmp_path, constraints={"bytes": 60}, max_trials=1)
    trial = oracle.create_trial("a")
    for epoch, (accuracy, size) in enumerate([(0.7, 90), (0.9, 50), (0.8, 100)]):
        oracle.update_trial(trial.trial_id, {"accuracy": accuracy, "bytes": size}, step=epoch)
    trial.status = "COMPLETED"
    oracle.end_trial(trial)
    assert oracle.is_feasible(oracle.trials[trial.trial_id])
    oracle.release()


def test_completed_trials_has_those_last_that_do_not_keep_to_them(tmp_path):
    class Sizes(keras_tuner.Tuner):
        def run_trial(self, trial, **kwargs):
            x = trial.hyperparameters.Float("x", 0.0, 1.0)
            return {"accuracy": x, "bytes": x}

    oracle = tuners.StudyOracle(ACCURACY, 8, sampler="random", seed=1, constraints={"bytes": 0.5})
    tuner = Sizes(oracle=oracle, directory=tmp_path)
    found = tuners.run_search(tuner, verbose=0)
    values = [trial.hyperparameters.values["x"] for trial in found]
    good = [x for x in values if x <= 0.5]
    assert good == sorted(good, reverse=True)
    assert values == good + sorted((x for x in values if x > 0.5), reverse=True)
    assert 0 < len(good) < 8


@pytest.mark.parametrize(
    "constraints",
    [
        ["bytes"],
        {"bytes": None},
        {"bytes": "small"},
        {"bytes": (2, 1)},
        {"bytes": (None, None)},
        {"bytes": (1, 2, 3)},
        {"bytes": math.nan},
        {"bytes": True},
        {3: 1},
    ],
)
def test_what_is_no_constraint_is_refused(constraints):
    with pytest.raises(ValueError, match="`constraints` must be, by the names of metrics") as error:
        tuners.StudyOracle(ACCURACY, constraints=constraints)
    assert repr(constraints) in str(error.value)


def test_a_metric_that_is_not_reported_is_named(tmp_path):
    oracle = made(tmp_path, constraints={"byte": 60}, max_trials=2)
    with pytest.raises(ValueError, match=r"that trials report: accuracy, bytes. Received: 'byte'"):
        told(oracle, 0.9, 100)
    oracle.release()


def test_a_study_keeps_its_constraints(tmp_path):
    first = made(tmp_path, constraints={"bytes": 60}, max_trials=2)
    told(first, 0.9, 100)
    for other in ({"bytes": 70}, None, {"bytes": (None, 60), "accuracy": (0.5, None)}):
        with pytest.raises(ValueError, match="`constraints` must be those of the study 'project'"):
            made(tmp_path, constraints=other).open()
    made(tmp_path, constraints={"bytes": (None, 60.0)}).open()
    first.release()


def test_lanes_keep_to_constraints(tmp_path):
    import keras
    import numpy as np

    def build(hp):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation="softmax")])
        rate = hp.Float("rate", 1e-3, 1e-1, sampling="log")
        model.compile(keras.optimizers.SGD(rate), "sparse_categorical_crossentropy")
        return model

    x = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
    y = (x[:, 0] > 0).astype("int32")
    given = {"max_trials": 6, "sampler": "random", "seed": 1, "directory": tmp_path}
    for name, constraints in (("free", None), ("bound", {"loss": (0.6, None)})):
        tuner = tuners.VectorizedStudySearch(
            build, "val_loss", project_name=name, constraints=constraints, **given
        )
        tuner.search(x, y, validation_data=(x, y), epochs=3, verbose=0)
        best = tuner.oracle.get_best_trials(6)
        if constraints is None:
            free = [trial.trial_id for trial in best]
    assert {trial.trial_id for trial in best} == set(free)
    kept = [trial.metrics.get_history("loss")[0].mean() >= 0.6 for trial in best]
    assert kept == sorted(kept, reverse=True)
    assert 0 < sum(kept) < 6
