"""A space of KerasTuner as parameters of an Optuna study, and back.

Pure functions of hyperparameters: no study and no storage is needed here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import keras_tuner

from kerasreg._keras import keras_tuner_internals as internals


class Parameter(NamedTuple):
    """What a hyperparameter is in a study.

    Attributes:
        name: the name of the parameter.
        distribution: Optuna's distribution of it.
        value_of: gives the value of the hyperparameter for a value of the parameter.
        param_of: gives the value of the parameter for a value of the hyperparameter.
    """

    name: str
    distribution: Any
    value_of: Callable[[Any], Any]
    param_of: Callable[[Any], Any]


def parameter_of(hp: Any) -> Parameter | None:
    """What a hyperparameter of KerasTuner is in an Optuna study.

    | KerasTuner | Optuna |
    |---|---|
    | `Float`, `Int`, also with `sampling="log"` | a float or whole number, likewise |
    | ... with a linear `step` | ... with the same step |
    | ... with `sampling="reverse_log"` | `min_value + max_value - value`, on a logarithmic scale |
    | ... with a `step` of such a scale | its values as choices |
    | `Choice`, `Boolean` | choices |
    | `Fixed` | nothing |

    Optuna has no choices with an order: its samplers learn nothing of neighbours there.

    Args:
        hp: a hyperparameter of KerasTuner's, such as `hp.space` has them.

    Returns:
        A `Parameter`; None for a `Fixed` one, which a study does not choose.

    Raises:
        ValueError: if the hyperparameter is of another kind.
    """
    from optuna.distributions import CategoricalDistribution

    kinds = keras_tuner.engine.hyperparameters
    if isinstance(hp, kinds.Fixed):
        return None
    if isinstance(hp, (kinds.Float, kinds.Int)):
        whole = isinstance(hp, kinds.Int)
        if hp.step is None:
            return _continuous(hp, whole)
        if hp.sampling == "linear":
            return _linear_grid(hp, whole)
        kind = int if whole else float
        values = [kind(internals.grid_value(hp, of)) for of in range(internals.grid_size(hp))]
        return _choices(hp.name, values)
    if isinstance(hp, kinds.Boolean):
        return Parameter(hp.name, CategoricalDistribution((False, True)), bool, bool)
    if isinstance(hp, kinds.Choice):
        return _choices(hp.name, hp.values)
    raise ValueError(
        "`hp` must be a Float, Int, Choice, Boolean or Fixed of KerasTuner's. Received: "
        f"{hp!r} of type {type(hp).__name__}"
    )


def _continuous(hp: Any, whole: bool) -> Parameter:
    from optuna.distributions import FloatDistribution, IntDistribution

    low, high = hp.min_value, hp.max_value
    distribution: Any = IntDistribution if whole else FloatDistribution
    kind = int if whole else float

    def within(value: Any) -> Any:
        return min(max(kind(_number(hp.name, value)), kind(low)), kind(high))

    if hp.sampling != "reverse_log":
        scale = distribution(low, high, log=hp.sampling == "log")
        return Parameter(hp.name, scale, within, within)

    def reflected(value: Any) -> Any:
        return within(low + high - _number(hp.name, value))

    scale = distribution(low, high, log=True)
    # Another name, so that nobody takes its values for those of the hyperparameter.
    return Parameter(f"{hp.name} (reflected)", scale, reflected, reflected)


def _linear_grid(hp: Any, whole: bool) -> Parameter:
    from optuna.distributions import FloatDistribution, IntDistribution

    low, step, last = hp.min_value, hp.step, internals.grid_size(hp) - 1

    def value_of(value: Any) -> Any:
        index = min(max(round((_number(hp.name, value) - low) / step), 0), last)
        return (int if whole else float)(internals.grid_value(hp, index))

    if whole:
        scale = IntDistribution(low, low + last * step, step=step)
        return Parameter(hp.name, scale, value_of, value_of)

    # In decimals, as Optuna counts steps: three of 0.1 are 0.3, and not 0.30000000000000004.
    first, each = (Decimal(f"{number:.12g}") for number in (low, step))

    def param_of(value: Any) -> float:
        return float(first + round((value_of(value) - low) / step) * each)

    scale = FloatDistribution(float(first), float(first + last * each), step=float(each))
    return Parameter(hp.name, scale, value_of, param_of)


def _number(name: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name!r} must be a number. Received: {value!r}")
    return value


def _choices(name: str, values: Iterable[Any]) -> Parameter:
    from optuna.distributions import CategoricalDistribution

    choices = tuple(dict.fromkeys(values))

    def own(value: Any) -> Any:
        if value in choices:
            return choices[choices.index(value)]
        # Of a grid: computed in another way, or written and read.
        near = [
            one
            for one in choices
            if isinstance(one, (int, float))
            and isinstance(value, (int, float))
            and math.isclose(one, value, rel_tol=1e-9)
        ]
        if not near:
            raise ValueError(f"{name!r} must be one of {list(choices)}. Received: {value!r}")
        return near[0]

    return Parameter(name, CategoricalDistribution(choices), own, own)


def parameters(space: Iterable[Any]) -> list[tuple[Any, Parameter]]:
    """The parameters of a space: for each hyperparameter that is not fixed.

    KerasTuner may have several hyperparameters of one name, under other conditions. Where these
    have another distribution than the first one, which an Optuna study refuses, their
    conditions are part of the name of the parameter.

    Args:
        space: hyperparameters of KerasTuner's, such as `hp.space`.

    Returns:
        Pairs of a hyperparameter and its `Parameter`, in the order of the space.
    """
    taken: dict[str, Any] = {}
    found = []
    for hp in space:
        parameter = parameter_of(hp)
        if parameter is None:
            continue
        if taken.setdefault(parameter.name, parameter.distribution) != parameter.distribution:
            parameter = parameter._replace(name=f"{parameter.name} [{_conditions_of(hp)}]")
        found.append((hp, parameter))
    return found


def _conditions_of(hp: Any) -> str:
    return ", ".join(f"{one.name}={'|'.join(map(str, one.values))}" for one in hp.conditions)


def active_values(
    space: keras_tuner.HyperParameters, choose: Callable[[Any], Any]
) -> dict[str, Any]:
    """The value that a function gives for each hyperparameter which is active with the others'."""
    hps = keras_tuner.HyperParameters()
    for hp in space.space:
        hps.merge([hp])
        if hps.is_active(hp):
            hps.values[hp.name] = choose(hp)
    return dict(hps.values)


def values_by(
    space: keras_tuner.HyperParameters, ask: Callable[[Parameter], Any]
) -> dict[str, Any]:
    """The values of a space whose active parameters are asked for, parents first.

    Args:
        space: a space of KerasTuner's.
        ask: gives a value of a parameter, such as by `trial.suggest_float`.

    Returns:
        The values of the active hyperparameters, by name.
    """
    known = {id(hp): parameter for hp, parameter in parameters(space.space)}

    def choose(hp: Any) -> Any:
        parameter = known.get(id(hp))
        return hp.default if parameter is None else parameter.value_of(ask(parameter))

    return active_values(space, choose)


def suggest(trial: Any, parameter: Parameter) -> Any:
    """Asks a trial of Optuna's for a value of a parameter."""
    from optuna import distributions

    name, of = parameter.name, parameter.distribution
    if isinstance(of, distributions.FloatDistribution):
        return trial.suggest_float(name, of.low, of.high, step=of.step, log=of.log)
    if isinstance(of, distributions.IntDistribution):
        return trial.suggest_int(name, of.low, of.high, step=of.step, log=of.log)
    return trial.suggest_categorical(name, of.choices)


def params_of(
    space: keras_tuner.HyperParameters, values: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A setting of KerasTuner's as Optuna's: the parameters of active hyperparameters.

    Args:
        space: the space.
        values: the values of a trial, by name. A value that is left out is the default.

    Returns:
        The parameters and their distributions, by the names of parameters: `params` and
        `distributions` of `optuna.create_trial`.

    Raises:
        ValueError: if a value is none that a choice has.
    """
    known = {id(hp): parameter for hp, parameter in parameters(space.space)}
    params, distributions = dict[str, Any](), dict[str, Any]()

    def choose(hp: Any) -> Any:
        value, parameter = values.get(hp.name, hp.default), known.get(id(hp))
        if parameter is not None:
            params[parameter.name] = parameter.param_of(value)
            distributions[parameter.name] = parameter.distribution
        return value

    active_values(space, choose)
    return params, distributions


def values_of(
    space: keras_tuner.HyperParameters, params: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The parameters of a trial of Optuna's as values of KerasTuner's: the way back.

    Args:
        space: the space.
        params: the parameters of a trial.

    Returns:
        The values of the active hyperparameters, by name; None if a parameter is missing, or
        has a value that the space does not have.
    """

    def ask(parameter: Parameter) -> Any:
        value, of = params[parameter.name], parameter.distribution
        if hasattr(of, "low") and not of.low <= value <= of.high:
            raise ValueError(f"{parameter.name} = {value!r} is outside of {of}.")
        return value

    try:
        return values_by(space, ask)
    except (KeyError, TypeError, ValueError):
        return None


def differences(own: Sequence[Any], other: Sequence[Any]) -> list[str]:
    """In what two spaces differ so that no study can be of both, in words.

    One of them may have hyperparameters that the other does not have yet, as `build` meets them
    one after another. They are other spaces if both have some that the other lacks, or
    the same hyperparameter has other values.

    Args:
        own: hyperparameters of a space.
        other: those of the other one.

    Returns:
        The differences; none for spaces that can be one.
    """
    found, here, there = [], _by_key(own), _by_key(other)
    for key in here.keys() & there.keys():
        one, two = _description(here[key]), _description(there[key])
        if one != two:
            found.append(f"{here[key].name!r} is {one} here and {two} there")
    lacks = sorted(here[key].name for key in here.keys() - there.keys())
    more = sorted(there[key].name for key in there.keys() - here.keys())
    if lacks and more:
        found.append(f"only here are {', '.join(map(repr, lacks))}")
        found.append(f"only there are {', '.join(map(repr, more))}")
    return sorted(found)


def key_of(hp: Any) -> str:
    """What KerasTuner knows a hyperparameter by: its name and its conditions, as a text."""
    return repr((hp.name, [(one.name, list(one.values)) for one in hp.conditions]))


def _by_key(space: Sequence[Any]) -> dict[str, Any]:
    return {key_of(hp): hp for hp in space}


def _description(hp: Any) -> str:
    """What values a hyperparameter may have, but for the default."""
    kind = type(hp).__name__
    if hasattr(hp, "min_value"):
        steps = "" if hp.step is None else f" in steps of {hp.step}"
        scale = "" if hp.sampling == "linear" else f", {hp.sampling}"
        return f"{kind} {hp.min_value} to {hp.max_value}{steps}{scale}"
    return f"{kind} {list(hp.values)}"
