"""Trials of different widths and activations in one program: that of which wider model.

The hypermodel builds the wide models itself, with larger values of those hyperparameters that
decide on nothing but widths. Which these are, and which decide on activations only, is found by
building models of other values.
"""

from __future__ import annotations

import bisect
import functools
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import keras_tuner
import numpy as np
from keras import ops

from kerasreg._keras.deferred_variables import deferred_variables
from kerasreg._keras.internals import inner_layers
from kerasreg._keras.rows import are_rows
from kerasreg.lanes import (
    ModelStructure,
    merge_activations,
    why_not_a_lane,
    why_not_padded,
)
from kerasreg.tuners._plan import Plan

# Measured, for models of a few layers on two cores: to trace and to compile a program.
_SECONDS_OF_A_PROGRAM = 2.0
# Measured likewise: what an activation more adds to the products.
_SHARE_OF_AN_ACTIVATION = 0.5
# Of data whose number is not known.
_SAMPLES = 10_000
# Draws of the hyperparameters, by which the mean of the work is estimated.
_DRAWS = 200
# So many times the largest widths are halved at most.
_HALVINGS = 3
# Forward, and twice that for the gradients; each product is a multiplication and an addition.
_OPERATIONS = 6.0


class Wide(NamedTuple):
    """A model whose program trains models that are narrower, or have one of its activations.

    Attributes:
        model: the model, built and compiled.
        structure: its structure.
    """

    model: keras.Model
    structure: ModelStructure


class _Family:
    """Models that differ in widths and activations only.

    Attributes:
        levels: by the name of a hyperparameter that decides on widths only, the values to which
            its values are rounded up.
        activations: structures of models that have the other activations.
        wides: the wide model of each combination of levels.
        refused: by the tokens of a model, why it cannot have zeros beside it, or None.
    """

    def __init__(self) -> None:
        self.levels: Mapping[str, Sequence[int]] = {}
        self.activations: list[ModelStructure] = []
        self.wides: dict[tuple[int, ...], Wide | None] = {}
        self.refused: dict[Any, str | None] = {}


class Widths:
    """Finds the wide model of each trial of a search.

    The widest model that the search may build would do for all trials. Narrow trials would waste
    most of its work, though, and to save that costs programs. So widths are rounded up to the
    largest one, or to it and its halves, or not at all: as is estimated to take the least time.
    Activations are computed side by side where that costs less than a program of each. The wide
    model of a trial depends on no other trial.

    Args:
        build: builds the model of hyperparameters.
        left: gives how many trainings the search will still have, at most.
    """

    def __init__(
        self,
        build: Callable[[keras_tuner.HyperParameters], keras.Model],
        left: Callable[[], int],
    ) -> None:
        self._build = build
        self._left = left
        self._families: dict[Any, _Family] = {}
        self._structural: set[str] = set()  # Hyperparameters that decide on more, as was seen.

    def find(self, plan: Plan) -> tuple[Wide | None, str | None]:
        """The wide model of a training.

        Args:
            plan: a training whose model can be a lane.

        Returns:
            The wide model, or None if there is none; and why there is none, where models that
            differ so cannot share a program.
        """
        structure = plan.structure
        assert structure is not None
        hp = plan.trial.hyperparameters
        if not _whole_numbers(hp) and not _texts(hp):
            return None, None
        family = self._families.get(structure.unsized_tokens)
        if family is None:
            family = self._families[structure.unsized_tokens] = _Family()
            self._explore(family, plan)
        if not family.levels and not family.activations:
            return None, None
        rounded = {name: _rounded(hp.values[name], of) for name, of in family.levels.items()}
        key = tuple(rounded.values())
        if key not in family.wides:
            family.wides[key] = self._merged(family, self._wide(plan, rounded))
        wide = family.wides[key]
        if wide is None or not wide.structure.is_as_wide_as(structure):
            return None, "the hypermodel builds no model that is as wide as each of the others"
        if structure.tokens not in family.refused:
            structures = structure, wide.structure
            reason = why_not_padded(plan.template, wide.model, structures)
            family.refused[structure.tokens] = reason
        reason = family.refused[structure.tokens]
        return (wide, None) if reason is None else (None, reason)

    def _explore(self, family: _Family, plan: Plan) -> None:
        """Finds which hyperparameters decide on widths or activations only."""
        hp = plan.trial.hyperparameters
        numbers = {
            name: of for name, of in _whole_numbers(hp).items() if name not in self._structural
        }
        # All of them, or those that do so by themselves.
        widest = self._extremes(plan, numbers)
        if widest is None and len(numbers) > 1:
            numbers = {
                name: values
                for name, values in numbers.items()
                if self._extremes(plan, {name: values}) is not None
            }
            widest = self._extremes(plan, numbers)
        if widest is None:
            numbers, widest = {}, plan.template
        seconds = self._seconds(plan, widest)
        if seconds * _SHARE_OF_AN_ACTIVATION < _SECONDS_OF_A_PROGRAM:
            for name, values in _texts(hp).items():
                family.activations += self._activations(plan, name, values)
        if numbers:
            levels = self._levels(plan, numbers, widest, seconds)
            # Exact widths need a wide model only for the activations.
            exact = all(len(of) == len(numbers[name]) for name, of in levels.items())
            if family.activations or not exact:
                family.levels = levels

    def _activations(self, plan: Plan, name: str, values: list[str]) -> list[ModelStructure]:
        """Models of the other values of a hyperparameter, if it decides on activations only."""
        assert plan.structure is not None
        if name in self._structural:
            return []
        found: list[ModelStructure] = []
        for value in values:
            if value == plan.trial.hyperparameters.values[name]:
                continue
            other = self._wide(plan, {name: value})
            if other is None or other.structure.unsized_tokens != plan.structure.unsized_tokens:
                self._structural.add(name)
                return []
            found.append(other.structure)
        sites = [[site.names for site in of.activations] for of in (plan.structure, *found)]
        return found if any(of != sites[0] for of in sites) else []

    def _merged(self, family: _Family, wide: Wide | None) -> Wide | None:
        """A model with all activations of a family."""
        if wide is None or not family.activations:
            return wide
        try:
            return Wide(wide.model, merge_activations(wide.model, family.activations))
        except ValueError:  # It differs in more.
            return None

    def _extremes(self, plan: Plan, numbers: Mapping[str, Sequence[int]]) -> keras.Model | None:
        """The model of the largest values, if these and the least ones differ in widths only."""
        if not numbers:
            return None
        # What is 1 wide is spread over others, and is no width.
        least = {name: _rounded(2, values) for name, values in numbers.items()}
        widest = self._wide(plan, {name: values[-1] for name, values in numbers.items()})
        narrowest = None if widest is None else self._wide(plan, least)
        assert plan.structure is not None
        if widest is None or narrowest is None:
            return None
        both = narrowest.structure, widest.structure
        if not both[1].is_as_wide_as(both[0]):
            if len(numbers) == 1:
                self._structural |= set(numbers)
            return None
        if not both[1].is_as_wide_as(plan.structure) or both[0].sizes == both[1].sizes:
            return None
        # What is seen of these holds for all that lie between.
        why_not_padded(narrowest.model, widest.model, both)
        return widest.model

    def _wide(self, plan: Plan, values: Mapping[str, Any]) -> Wide | None:
        """The model of a training with other values; None if it cannot be a lane."""
        hp = plan.trial.hyperparameters.copy()
        hp.values.update(values)
        try:
            with deferred_variables():
                model = self._build(hp)
            if not model.built:
                plan.build(model)
            if why_not_a_lane(model) is not None:
                return None
            structure = ModelStructure(model)
        except Exception:  # A setting that fails is no width.
            return None
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        return Wide(model, structure)

    def _seconds(self, plan: Plan, widest: keras.Model) -> float:
        """How long the trainings of the search take, if all models are as wide as a given one."""
        first, last = plan.epochs()
        products = _work(widest) * _samples(plan) * (last - first)
        return (self._left() + 1) * _OPERATIONS * products / _operations_per_second()

    def _levels(
        self, plan: Plan, numbers: Mapping[str, Sequence[int]], widest: keras.Model, seconds: float
    ) -> Mapping[str, Sequence[int]]:
        """The values to round up to that are estimated to take the least time."""
        count = self._left() + 1
        values = plan.trial.hyperparameters.values
        work, most = _work(plan.template), _work(widest)
        share = _share(values, {name: of[-1] for name, of in numbers.items()})
        # How the work grows with the widths: between not at all and with their square.
        power = 2.0
        if 0.0 < share < 1.0 and 0 < work < most:
            power = min(2.0, math.log(work / most) / math.log(share))
        draw = random.Random(0)
        draws = [{name: draw.choice(of) for name, of in numbers.items()} for _ in range(_DRAWS)]

        def estimate(levels: Mapping[str, Sequence[int]]) -> float:
            programs = min(count, math.prod(map(len, levels.values())))
            rounded = [
                {name: _rounded(of_draw[name], of) for name, of in levels.items()}
                for of_draw in draws
            ]
            largest = {name: of[-1] for name, of in levels.items()}
            mean = float(np.mean([_share(one, largest) ** power for one in rounded]))
            return programs * _SECONDS_OF_A_PROGRAM + seconds * mean

        halvings = range(_HALVINGS + 1)
        choices = [*(_halved(numbers, halving) for halving in halvings), numbers]
        return min(choices, key=estimate)


def _texts(hp: Any) -> dict[str, list[str]]:
    """The hyperparameters that are one of several texts, with these."""
    return {
        one.name: list(one.values)
        for one in hp.space
        if isinstance(one, keras_tuner.engine.hyperparameters.Choice)
        and type(hp.values.get(one.name)) is str
        and hp.is_active(one)
        and len(one.values) > 1
    }


def _whole_numbers(hp: Any) -> dict[str, Sequence[int]]:
    """The hyperparameters of whole numbers that a model has, with the values of each, sorted."""
    kinds = keras_tuner.engine.hyperparameters
    found: dict[str, Sequence[int]] = {}
    for one in hp.space:
        value = hp.values.get(one.name)
        if type(value) is not int or not hp.is_active(one):
            continue
        if isinstance(one, kinds.Int):
            step = one.step if one.sampling == "linear" and one.step else 1
            values: Sequence[int] = range(one.min_value, one.max_value + 1, step)
        elif isinstance(one, kinds.Choice):
            values = sorted(one.values)
        else:
            continue
        if len(values) > 1 and values[-1] > 1:
            found[one.name] = values
    return found


def _halved(numbers: Mapping[str, Sequence[int]], halvings: int) -> dict[str, list[int]]:
    """The largest values, and half of them, a quarter, ...: each the least value from there on."""
    return {
        name: sorted(
            {_rounded(-(-values[-1] // 2**halving), values) for halving in range(halvings + 1)}
        )
        for name, values in numbers.items()
    }


def _rounded(value: int, levels: Sequence[int]) -> int:
    """The least of sorted levels that a value does not exceed."""
    return levels[bisect.bisect_left(levels, value)]


def _share(values: Mapping[str, Any], largest: Mapping[str, int]) -> float:
    """How wide a model is, as a share of the widest one: the geometric mean of its widths."""
    shares = [max(1, values[name]) / most for name, most in largest.items()]
    return math.prod(shares) ** (1.0 / len(shares))


def _samples(plan: Plan) -> int:
    given = plan.arguments or {}
    x = given.get("x")
    if not are_rows(x) or x is None:
        return _SAMPLES
    return len(keras.tree.flatten(x)[0])


def _work(model: keras.Model) -> float:
    """The products of one sample: each weight as often as there are places for it."""
    total = 0.0
    for layer in inner_layers(model):
        if isinstance(layer, keras.Model):
            total += _work(layer)
            continue
        weights = sum(math.prod(variable.shape) for variable in layer.trainable_variables)
        total += weights * max(_places(layer, "input"), _places(layer, "output"))
    return total


def _places(layer: Any, name: str) -> float:
    """The places that a layer takes the same weights for: pixels, or steps of a sequence."""
    try:
        tensors = keras.tree.flatten(getattr(layer, name))
    except (AttributeError, ValueError):  # It is no layer of a graph, or is used several times.
        return 1.0
    places = (math.prod(length or 1 for length in of.shape[1:-1]) for of in tensors)
    return max(places, default=1.0)


@functools.cache
def _operations_per_second() -> float:
    """The speed of the products of many lanes, measured."""
    left, right = ops.ones((16, 64, 128)), ops.ones((16, 128, 128))
    seconds = []
    for _ in range(4):
        begun = time.perf_counter()
        float(ops.sum(ops.matmul(left, right)))
        seconds.append(time.perf_counter() - begun)
    return 2.0 * 16 * 64 * 128 * 128 / min(seconds)
