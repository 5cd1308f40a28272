"""Settings that are tried first: which are taken, which are refused, and after a resumption."""

import keras
import keras_tuner
import numpy as np
import pytest

from kerasreg import tuners
from kerasreg.tuners._explore import nearest

pytestmark = pytest.mark.shares_programs

X = np.random.default_rng(3).normal(size=(36, 4)).astype("float32")
Y = X[:, :1] * 2.0
RATE, UNITS = {"rate": 0.02, "units": 8}, {"units": 4}
SEARCHES = {
    "random": (tuners.VectorizedRandomSearch, {"max_trials": 4}),
    "bayesian": (tuners.VectorizedBayesianOptimization, {"max_trials": 4}),
    "hyperband": (tuners.VectorizedHyperband, {"max_epochs": 2, "factor": 2}),
}


def build(hp):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(hp.Choice("units", [2, 4, 8])),
            keras.layers.Dense(1),
        ]
    )
    rate = hp.Float("rate", 1e-3, 1e-1, sampling="log", default=0.01)
    model.compile(keras.optimizers.SGD(rate), "mse")
    return model


def made(kind, folder, settings, hypermodel=build, **more):
    search, arguments = SEARCHES[kind]
    return search(
        hypermodel, "val_loss", initial_settings=settings, seed=5, directory=folder,
        **{**arguments, **more},
    )  # fmt: skip


def run(tuner, **given):
    tuner.search(X, Y, validation_split=0.25, batch_size=9, verbose=0, **given)
    return tuner


def values_of(tuner):
    """The settings of the trials in the order in which they began, without Hyperband's own."""
    trials = [tuner.oracle.trials[trial_id] for trial_id in tuner.oracle.start_order]
    return [
        {name: value for name, value in trial.hyperparameters.values.items() if "/" not in name}
        for trial in trials
    ]


@pytest.mark.parametrize("kind", SEARCHES)
def test_they_are_tried_first_and_once(kind, tmp_path):
    # The last one is the first one again, as the trial of another search has it.
    space = keras_tuner.HyperParameters()
    build(space)
    space.values = {**RATE, "tuner/epochs": 7}
    tuner = run(made(kind, tmp_path, [RATE, UNITS, space]))
    found = values_of(tuner)
    first = [{"units": 8, "rate": 0.02}, {"units": 4, "rate": 0.01}]
    assert found[:2] == first
    drawn = found[2:]
    assert drawn
    if kind != "hyperband":
        assert all(one not in first for one in drawn)
        return
    # Trials of the first round, some of which go on.
    states = [tuner.oracle.trials[name].hyperparameters.values for name in tuner.oracle.start_order]
    assert [one["tuner/round"] for one in states[:2]] == [0, 0]
    assert states[0]["tuner/epochs"] == 1
    assert any(one.get("tuner/trial_id") in ("0000", "0001") for one in states)


def test_what_is_drawn_afterwards_is_what_is_drawn_without(tmp_path):
    alone = values_of(run(made("random", tmp_path / "alone", [])))
    found = values_of(run(made("random", tmp_path / "first", [RATE])))
    assert found[1:] == alone[1:]


def test_a_search_that_is_resumed_goes_on_with_those_that_are_left(tmp_path):
    settings = [RATE, UNITS, {"units": 2, "rate": 0.05}, {"rate": 0.1}]
    whole = values_of(run(made("random", tmp_path / "whole", settings, max_trials=6)))
    run(made("random", tmp_path / "parts", settings, max_trials=2))
    resumed = run(made("random", tmp_path / "parts", settings, max_trials=6))
    assert values_of(resumed) == whole
    assert len(whole) == 6


def test_they_have_folds_and_are_lanes_of_one_program(tmp_path):
    settings = [{"rate": rate} for rate in (0.01, 0.03, 0.09)]
    tuner = made("random", tmp_path, settings, folds=3, max_trials=3)
    tuner.search(X, Y, epochs=1, batch_size=6, verbose=0)
    (row,) = tuner.lane_report().rows
    assert (row.trials, row.at_once) == (3, 9)
    assert [one["rate"] for one in values_of(tuner)] == [0.01, 0.03, 0.09]


def _layers(hp):
    model = keras.Sequential([keras.Input((4,))])
    for index in range(hp.Int("layers", 1, 3)):
        model.add(keras.layers.Dense(hp.Int(f"units_{index}", 2, 8)))
    model.add(keras.layers.Dense(1))
    model.compile("sgd", "mse")
    return model


def test_a_hyperparameter_that_only_some_settings_declare_is_known(tmp_path):
    tuner = made("random", tmp_path, [{"layers": 2, "units_1": 5}], _layers, max_trials=2)
    assert values_of(run(tuner))[0] == {"layers": 2, "units_0": 2, "units_1": 5}
    with pytest.raises(ValueError, match="'units_2' = 4"):
        made("random", tmp_path / "other", [{"layers": 2, "units_2": 4}], _layers)


def test_what_a_later_trial_brings_into_the_space_makes_none_of_them_new(tmp_path):
    settings = [{"layers": 1, "units_0": 7}, {"layers": 3}]
    run(made("random", tmp_path, settings, _layers, max_trials=2))
    again = run(made("random", tmp_path, settings, _layers, max_trials=3))
    assert [one["layers"] for one in values_of(again)][:2] == [1, 3]
    assert values_of(again)[2] not in [values_of(again)[0], values_of(again)[1]]


def _conditional(hp):
    hp.Choice("kind", ["plain", "deep"])
    with hp.conditional_scope("kind", ["deep"]):
        units = hp.Int("units", 2, 8)
    layers = [keras.layers.Dense(units)] if units else []
    model = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


REFUSED = {
    "a dictionary alone": (build, RATE, "must be a list of dictionaries"),
    "a text": (build, "best", "must be a list of dictionaries"),
    "a number in the list": (build, [3], "must have values by the names"),
    "a name that is mistyped": (build, [{"rat": 0.1}], "'rat' = 0.1; did you mean 'rate'"),
    "a number outside": (build, [{"rate": 3.0}], "'rate' may have: from 0.001 to 0.1.*3.0"),
    "a choice that is none": (build, [{"units": 5}], r"'units' may have: one of \[2, 4, 8\].*5"),
    "text for a number": (build, [{"rate": "high"}], "'rate' may have.*'high'"),
    "a Boolean for a number": (build, [{"rate": True}], "'rate' may have.*True"),
    "not a number": (build, [{"rate": float("nan")}], "'rate' may have.*nan"),
    "no whole number": (_layers, [{"layers": 1.5}], "'layers' may have: whole numbers from 1 to 3"),
    "one that is not active": (_conditional, [{"units": 4}], "active.*'units' = 4"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_space_does_not_have_is_refused_by_name(case, tmp_path):
    hypermodel, settings, match = REFUSED[case]
    with pytest.raises(ValueError, match=match):
        made("random", tmp_path, settings, hypermodel)


def test_a_condition_is_met_by_the_other_values(tmp_path):
    tuner = made("random", tmp_path, [{"units": 4, "kind": "deep"}], _conditional, max_trials=1)
    assert values_of(run(tuner)) == [{"kind": "deep", "units": 4}]


def test_a_grid_and_a_population_take_none(tmp_path):
    oracle = keras_tuner.oracles.GridSearchOracle("val_loss")
    with pytest.raises(ValueError, match="`initial_settings` must be empty for a grid search"):
        tuners.VectorizedTuner(oracle, build, initial_settings=[RATE], directory=tmp_path)
    with pytest.raises(ValueError, match="`initial_settings` has no meaning for a population"):
        tuners.PopulationBasedTraining(build, "val_loss", initial_settings=[RATE])


def test_hyperparameters_that_are_not_searched_cannot_be_set(tmp_path):
    known = keras_tuner.HyperParameters()
    known.Float("rate", 0.01, 0.1)
    with pytest.raises(ValueError, match="'units' = 4"):
        made("random", tmp_path, [UNITS], hyperparameters=known, tune_new_entries=False)


def space():
    hp = keras_tuner.HyperParameters()
    hp.Float("float", 0.0, 1.0)
    hp.Float("steps", 0.0, 1.0, step=0.25)
    hp.Float("log steps", 1e-3, 1.0, step=10, sampling="log")
    hp.Int("int", 2, 64, sampling="log")
    hp.Int("even", 2, 9, step=2)
    hp.Choice("numbers", [0.0, 1e-5, 1e-4])
    hp.Choice("words", ["relu", "tanh"])
    hp.Choice("codes", [1, 7], ordered=False)
    hp.Boolean("flag")
    hp.Fixed("fixed", 3)
    return hp


NEAREST = [
    ("float", 0.3, 0.3), ("float", 7, 1.0), ("float", "0.3", None), ("float", True, None),
    ("steps", 0.4, 0.5), ("steps", -3.0, 0.0), ("log steps", 0.02, 0.01), ("log steps", 50.0, 1.0),
    ("int", 31.6, 32), ("int", 100, 64), ("even", 9, 8), ("even", 5.2, 6),
    ("numbers", 8e-5, 1e-4), ("numbers", 5, 1e-4), ("words", "tanh", "tanh"),
    ("words", "elu", None),
    ("codes", 7, 7), ("codes", 6, None), ("flag", True, True), ("flag", 1, None),
    ("fixed", 3, 3), ("fixed", "x", None), ("float", np.float32(0.5), 0.5), ("float", [1], None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "expected"), NEAREST)
def test_the_nearest_value_is_one_that_is_declared(name, value, expected):
    (hp,) = (one for one in space().space if one.name == name)
    found = nearest(hp, value)
    assert found == (None if expected is None else pytest.approx(expected))
    assert type(found) is type(expected)


def test_a_setting_is_adapted_to_another_space():
    given = {"float": 2.0, "even": 4, "words": "elu", "momentum": 0.9, "flag": True}
    found = tuners.adapt_setting(given, space())
    assert found.values == {"float": 1.0, "even": 4, "flag": True}
    assert found.unknown == ("momentum",)
    assert found.moved == {"float": 2.0}
    assert found.left_out == {"words": "elu"}
    hp = keras_tuner.HyperParameters()
    _conditional(hp)
    assert tuners.adapt_setting({"units": 4}, hp).unknown == ("units",)
    assert tuners.adapt_setting({"units": 4, "kind": "deep"}, hp).unknown == ()
    with pytest.raises(ValueError, match="`setting` must have values by the names"):
        tuners.adapt_setting([1], hp)
