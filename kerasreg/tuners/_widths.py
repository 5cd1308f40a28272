"""Trials of different widths in one program: which wide model each of them is padded to.

The hypermodel builds the wide models itself, with larger values of those hyperparameters that
decide on nothing but widths. Which these are is found by building a model for each.
"""

from __future__ import annotations

import functools
import math
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
import keras_tuner
import numpy as np
from keras import ops

from kerasreg._keras.deferred_variables import deferred_variables
from kerasreg._keras.internals import inner_layers
from kerasreg._keras.rows import are_rows
from kerasreg.lanes import ModelStructure, why_not_a_lane, why_not_padded
from kerasreg.tuners._trial import Plan

# Measured, for models of a few layers on two cores: to trace and to compile a program.
_SECONDS_OF_A_PROGRAM = 2.0
# Of data whose number is not known.
_SAMPLES = 10_000
# Draws of the hyperparameters, by which the mean of the work is estimated.
_DRAWS = 200
# So many times the largest widths are halved at most.
_HALVINGS = 3
# Forward, and twice that for the gradients; each product is a multiplication and an addition.
_OPERATIONS = 6.0


class Wide(NamedTuple):
    """A model that trials of smaller widths are padded to.

    Attributes:
        model: the model, built and compiled.
        structure: its structure.
    """

    model: keras.Model
    structure: ModelStructure


class _Family:
    """Models that differ in widths only.

    Attributes:
        levels: by the name of a hyperparameter that decides on widths only, the values to which
            its values are rounded up. None if no model is padded.
        refused: why no model is padded, where models of several widths could be.
        wides: the wide model of each combination of levels.
        reasons: why a model of certain sizes is not padded, or None, by the tokens of both models.
    """

    def __init__(self) -> None:
        self.levels: dict[str, list[int]] | None = None
        self.refused: str | None = None
        self.wides: dict[tuple[int, ...], Wide | None] = {}
        self.reasons: dict[Any, str | None] = {}


class Widths:
    """Finds the wide model of each trial of a search.

    The widest model that the search may build would do for all trials. Narrow trials would waste
    most of its work, though, and to save that costs programs. So widths are rounded up to the
    largest one, or to it and its halves, or not at all: as is estimated to take the least time.
    What a trial is rounded up to depends on no other trial.

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

    def find(self, plan: Plan) -> tuple[Wide | None, str | None]:
        """The wide model of a training.

        Args:
            plan: a training whose model can be a lane.

        Returns:
            The wide model, or None if the model is not padded; and why it cannot be.
        """
        structure = plan.structure
        assert structure is not None
        hp = plan.trial.hyperparameters
        numbers = _whole_numbers(hp)
        if not numbers:
            return None, None
        tokens = structure.unsized_tokens
        family = self._families.get(tokens)
        if family is None:
            family = self._families[tokens] = _Family()
            self._explore(family, plan, numbers)
        if family.levels is None:
            return None, family.refused
        rounded = {name: _rounded(hp.values[name], of) for name, of in family.levels.items()}
        key = tuple(rounded.values())
        if key not in family.wides:
            family.wides[key] = self._wide(plan, rounded)
        wide = family.wides[key]
        if wide is None or not wide.structure.is_as_wide_as(structure):
            return None, "the hypermodel builds no model that is as wide as each of the others"
        # Known of the extremes. Sizes that are equal by chance may hide which units are which.
        sizes = structure.tokens, wide.structure.tokens
        if sizes not in family.reasons:
            both = structure, wide.structure
            same = structure.tokens == wide.structure.tokens
            family.reasons[sizes] = (
                None if same else why_not_padded(plan.template, wide.model, both)
            )
        reason = family.reasons[sizes]
        return (wide, None) if reason is None else (None, reason)

    def _explore(self, family: _Family, plan: Plan, numbers: Mapping[str, list[int]]) -> None:
        """Finds which hyperparameters decide on widths only, and how far these are rounded."""
        # All of them, or those that do so by themselves.
        extremes = self._extremes(plan, numbers)
        if extremes is None:
            numbers = {
                name: values
                for name, values in numbers.items()
                if self._extremes(plan, {name: values}) is not None
            }
            extremes = self._extremes(plan, numbers) if numbers else None
        if extremes is None:
            return
        narrowest, widest = extremes
        structures = narrowest.structure, widest.structure
        family.refused = why_not_padded(narrowest.model, widest.model, structures)
        if family.refused is None:
            family.levels = self._levels(plan, numbers, widest.model)
        if family.levels is not None:
            family.wides[tuple(of[-1] for of in family.levels.values())] = widest

    def _extremes(self, plan: Plan, numbers: Mapping[str, list[int]]) -> tuple[Wide, Wide] | None:
        """The models of the least and of the largest values, if they differ in widths only."""
        # What is 1 wide is spread over others, and is no width.
        least = {name: next(of for of in values if of > 1) for name, values in numbers.items()}
        widest = self._wide(plan, {name: values[-1] for name, values in numbers.items()})
        narrowest = None if widest is None else self._wide(plan, least)
        assert plan.structure is not None
        if narrowest is None or widest is None:
            return None
        both = plan.structure, narrowest.structure
        if not all(map(widest.structure.is_as_wide_as, both)):
            return None
        return None if narrowest.structure.sizes == widest.structure.sizes else (narrowest, widest)

    def _wide(self, plan: Plan, values: Mapping[str, int]) -> Wide | None:
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

    def _levels(
        self, plan: Plan, numbers: Mapping[str, list[int]], widest: keras.Model
    ) -> dict[str, list[int]] | None:
        """The values to round up to that are estimated to take the least time; None for none."""
        count = self._left() + 1
        values = plan.trial.hyperparameters.values
        work, most = _work(plan.template), _work(widest)
        share = _share(values, {name: of[-1] for name, of in numbers.items()})
        # How the work grows with the widths: between not at all and with their square.
        power = 2.0
        if 0.0 < share < 1.0 and 0 < work < most:
            power = min(2.0, math.log(work / most) / math.log(share))
        first, last = plan.epochs()
        seconds = _OPERATIONS * most * _samples(plan) * (last - first) / _operations_per_second()
        draw = random.Random(0)
        draws = [{name: draw.choice(of) for name, of in numbers.items()} for _ in range(_DRAWS)]

        def estimate(levels: Mapping[str, list[int]]) -> float:
            programs = min(count, math.prod(map(len, levels.values())))
            rounded = [
                {name: _rounded(of_draw[name], of) for name, of in levels.items()}
                for of_draw in draws
            ]
            largest = {name: of[-1] for name, of in levels.items()}
            mean = float(np.mean([_share(one, largest) ** power for one in rounded]))
            return programs * _SECONDS_OF_A_PROGRAM + count * seconds * mean

        halved = [_halved(numbers, halvings) for halvings in range(_HALVINGS + 1)]
        best = min([*halved, dict(numbers)], key=estimate)
        return None if best == dict(numbers) else best


def _whole_numbers(hp: Any) -> dict[str, list[int]]:
    """The hyperparameters of whole numbers that a model has, with the values of each, sorted."""
    kinds = keras_tuner.engine.hyperparameters
    found: dict[str, list[int]] = {}
    for one in hp.space:
        value = hp.values.get(one.name)
        if type(value) is not int or not hp.is_active(one):
            continue
        if isinstance(one, kinds.Int):
            step = one.step if one.sampling == "linear" and one.step else 1
            values = list(range(one.min_value, one.max_value + 1, step))
        elif isinstance(one, kinds.Choice):
            values = sorted(one.values)
        else:
            continue
        if len(values) > 1 and values[-1] > 1:
            found[one.name] = values
    return found


def _halved(numbers: Mapping[str, list[int]], halvings: int) -> dict[str, list[int]]:
    """The largest values, and half of them, a quarter, ...: each the least value from there on."""
    return {
        name: sorted(
            {
                next(value for value in values if value * 2**halving >= values[-1])
                for halving in range(halvings + 1)
            }
        )
        for name, values in numbers.items()
    }


def _rounded(value: int, levels: list[int]) -> int:
    return next(level for level in levels if level >= value)


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
