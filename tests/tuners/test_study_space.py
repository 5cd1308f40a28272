"""A space of KerasTuner as parameters of a study, and back."""

import contextlib
import functools
import warnings

import keras_tuner
import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from kerasreg.tuners._study_space import (
    differences,
    parameter_of,
    parameters,
    params_of,
    suggest,
    values_by,
    values_of,
)

HP = keras_tuner.HyperParameters
optuna.logging.set_verbosity(optuna.logging.WARNING)


def one(kind, *args, **kwargs):
    """A hyperparameter."""
    hp = HP()
    getattr(hp, kind)("x", *args, **kwargs)
    return hp.space[0]


def distribution(*args, **kwargs):
    return parameter_of(one(*args, **kwargs)).distribution


of = optuna.distributions


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (("Float", 0.0, 1.0), of.FloatDistribution(0.0, 1.0)),
        (("Float", 1e-4, 1e-1, None, "log"), of.FloatDistribution(1e-4, 1e-1, log=True)),
        (("Float", 0.0, 0.35, 0.1), of.FloatDistribution(0.0, 0.3, step=0.1)),
        (("Int", 1, 9), of.IntDistribution(1, 9)),
        (("Int", 16, 70, 16), of.IntDistribution(16, 64, step=16)),
        (("Int", 1, 64, None, "log"), of.IntDistribution(1, 64, log=True)),
        (("Int", 2, 33, 2, "log"), of.CategoricalDistribution((2, 4, 8, 16, 32))),
        (("Float", 0.01, 1.0, 10, "log"), of.CategoricalDistribution((0.01, 0.1, 1.0))),
        (("Choice", [16, 64, 32]), of.CategoricalDistribution((16, 64, 32))),
        (("Choice", ["relu", "gelu"]), of.CategoricalDistribution(("relu", "gelu"))),
        (("Boolean",), of.CategoricalDistribution((False, True))),
    ],
    ids=repr,
)
def test_what_a_hyperparameter_is_in_a_study(declared, expected):
    found = parameter_of(one(*declared))
    assert found.name == "x"
    if isinstance(expected, of.CategoricalDistribution):
        assert found.distribution.choices == pytest.approx(expected.choices)
    else:
        assert found.distribution == expected


def test_a_fixed_one_is_no_parameter_and_has_its_value():
    hp = HP()
    hp.Fixed("kind", "dense")
    assert parameters(hp.space) == []
    assert values_by(hp, None) == {"kind": "dense"}
    with pytest.raises(ValueError, match=r"`hp` must be a Float, Int, Choice.*Received: 'none'"):
        parameter_of("none")


def test_a_reversed_scale_is_drawn_as_keras_tuner_draws_it():
    """Densest at the upper end; under another name, as the numbers are others."""
    hp = HP()
    hp.Float("momentum", 0.01, 1.0, sampling="reverse_log")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials = [study.ask() for _ in range(400)]
    drawn = [values_by(hp, functools.partial(suggest, trial))["momentum"] for trial in trials]
    assert study.trials[0].params.keys() == {"momentum (reflected)"}
    shares = [hp.space[0].value_to_prob(value) for value in drawn]
    assert np.quantile(shares, [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.08)


@some.composite
def arguments_of(draw, kind):
    """Arguments of a hyperparameter of a kind."""
    if kind in ("Float", "Int"):
        sampling = draw(some.sampled_from(["linear", "log", "reverse_log"]))
        scale = 1 if kind == "Int" else draw(some.sampled_from([1.0, 0.1, 1e-3]))
        low = draw(some.integers(1, 50)) - 60 * draw(some.booleans()) * (sampling == "linear")
        step = draw(some.sampled_from([None, 2, 3, 7]))
        if step is not None and sampling == "linear":
            step *= scale
        high = low + draw(some.integers(0, 200))
        return {"min_value": low * scale, "max_value": high * scale, "step": step} | {
            "sampling": sampling
        }
    if kind == "Choice":
        lists = [["a", "b", "c"], [1, 2, 4], [0.1, 0.01], ["same"], [3, 3, 5]]
        return {"values": draw(some.sampled_from(lists))}
    return {"value": draw(some.sampled_from([1, 0.5, "text", True]))} if kind == "Fixed" else {}


@some.composite
def hyperparameters(draw):
    """A random space: of all kinds, conditional ones to any depth, and names that occur twice."""
    hp, parents = HP(), [[]]
    for _ in range(draw(some.integers(1, 7))):
        scopes = draw(some.sampled_from(parents))
        name = draw(some.sampled_from("abcdefgh"))
        if name in [parent.name for parent, _ in scopes]:
            continue
        kind = draw(some.sampled_from(["Float", "Int", "Choice", "Boolean", "Fixed"]))
        known = len(hp.space)
        with contextlib.ExitStack() as stack:
            for parent, which in scopes:
                stack.enter_context(hp.conditional_scope(parent.name, which))
            getattr(hp, kind)(name, **draw(arguments_of(kind)))
        if len(hp.space) > known and kind in ("Choice", "Boolean"):
            new = hp.space[-1]
            which = draw(some.lists(some.sampled_from(new.values), min_size=1, unique=True))
            parents.append([*scopes, (new, which)])
    return hp


def shares_a_name(hp, values):
    """Whether two active hyperparameters share a name, of which KerasTuner keeps one value."""
    whole = HP.from_config({**hp.get_config(), "values": values})
    names = [one.name for one in hp.space if whole.is_active(one)]
    return len(set(names)) < len(names)


def is_valid(hp, value):
    """Whether KerasTuner itself may give this value."""
    if not hasattr(hp, "min_value"):
        return any(value == one and type(value) is type(one) for one in hp.values)
    if hp.step is None:
        whole = isinstance(hp.min_value, int)
        return hp.min_value <= value <= hp.max_value and (not whole or isinstance(value, int))
    kind = type(hp.min_value)
    return any(value == kind(one) for one in hp.values)


def is_same(one, other, rel=1e-9):
    """Whether two values are equal, but for the rounding of a number."""
    if isinstance(one, (str, bool)):
        return one == other
    return one == pytest.approx(other, rel=rel, abs=1e-12)


def check_what_a_study_draws(hp, seed):
    """It is a setting of KerasTuner's, and what that is in a study is what was drawn."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
        trial = study.ask()
        values = values_by(hp, functools.partial(suggest, trial))
    if shares_a_name(hp, values):
        return
    whole = HP.from_config({**hp.get_config(), "values": values})
    assert values.keys() == {one.name for one in hp.space if whole.is_active(one)}
    for name, value in values.items():
        declared = [one for one in hp.space if one.name == name and whole.is_active(one)]
        assert any(is_valid(one, value) for one in declared), (declared, value)
    params, distributions = params_of(hp, values)
    optuna.create_trial(params=params, distributions=distributions, value=0.0)
    assert params.keys() == trial.params.keys()
    for name, of_name in distributions.items():
        assert of_name == trial.distributions[name]
        assert is_same(params[name], trial.params[name])
    back = values_of(hp, params)
    assert back.keys() == values.keys()
    for name, value in values.items():
        assert is_same(back[name], value)


def check_what_keras_tuner_draws(hp, seed):
    """It is a trial of a study, and back it is what was drawn."""
    hps = HP()
    for declared in hp.space:
        hps.merge([declared])
        if hps.is_active(declared):
            hps.values[declared.name] = declared.random_sample(seed)
    if shares_a_name(hp, hps.values):
        return
    params, distributions = params_of(hp, hps.values)
    optuna.create_trial(params=params, distributions=distributions, value=0.0)
    back = values_of(hp, params)
    assert back.keys() == hps.values.keys()
    for name, value in hps.values.items():
        assert is_same(back[name], value), name


@settings(deadline=None, max_examples=20, derandomize=True)
@given(hyperparameters(), some.integers(0, 1000))
def test_a_setting_is_the_same_in_a_study_and_back(hp, seed):
    check_what_a_study_draws(hp, seed)
    check_what_keras_tuner_draws(hp, seed)


@pytest.mark.long
@settings(deadline=None, max_examples=500)
@given(hyperparameters(), some.integers(0, 1000))
def test_any_setting_is_the_same_in_a_study_and_back(hp, seed):
    check_what_a_study_draws(hp, seed)
    check_what_keras_tuner_draws(hp, seed)


def test_one_name_with_two_ranges_is_two_parameters_of_a_study():
    hp = HP()
    hp.Choice("kind", ["dense", "conv"])
    with hp.conditional_scope("kind", ["dense"]):
        hp.Int("units", 8, 16)
    with hp.conditional_scope("kind", ["conv"]):
        hp.Choice("units", [3, 5])
    names = [parameter.name for _, parameter in parameters(hp.space)]
    assert names == ["kind", "units", "units [kind=conv]"]
    study = optuna.create_study()  # Which refuses other choices under a name.
    for number in range(20):
        trial = study.ask()
        values = values_by(hp, functools.partial(suggest, trial))
        assert values["units"] in ([3, 5] if values["kind"] == "conv" else range(8, 17))
        study.tell(trial, number)


def test_what_a_space_does_not_have_has_no_way_back():
    hp = HP()
    hp.Float("rate", 0.0, 1.0)
    hp.Choice("kind", ["a", "b"])
    assert values_of(hp, {"rate": 0.5, "kind": "a", "more": 1}) == {"rate": 0.5, "kind": "a"}
    for params in ({"rate": 0.5}, {"rate": 2.0, "kind": "a"}, {"rate": 0.5, "kind": "c"}):
        assert values_of(hp, params) is None, params


def test_in_what_two_spaces_differ():
    def space(*declared):
        hp = HP()
        for kind, name, *args in declared:
            getattr(hp, kind)(name, *args)
        return hp.space

    rate, units = ("Float", "rate", 0.0, 0.5), ("Int", "units", 16, 64, 16)
    assert differences(space(rate, units), space(units, rate)) == []
    # One of them may have met more so far.
    assert differences(space(rate), space(units, rate)) == []
    assert differences(space(rate), space(("Float", "rate", 0.0, 0.9))) == [
        "'rate' is Float 0.0 to 0.5 here and Float 0.0 to 0.9 there"
    ]
    assert differences(space(rate), space(units)) == [
        "only here are 'rate'",
        "only there are 'units'",
    ]
    assert differences(space(units), space(("Choice", "units", [16, 32]))) == [
        "'units' is Int 16 to 64 in steps of 16 here and Choice [16, 32] there"
    ]
