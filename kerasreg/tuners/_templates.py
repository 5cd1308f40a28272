"""Templates: what the models that a hypermodel builds in one way have in common, and their numbers.

The first models of a way are built and looked at. Each number of theirs that differs is to be a
function of the hyperparameters that `build` computed; then further models of that way need not be
built to be lanes.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import keras
import keras_tuner
import numpy as np

from kerasreg._keras.deferred_variables import initial_value, initializer_of
from kerasreg._keras.random_draws import draws_by_numpy
from kerasreg._keras.stateless_optimizer import optimizer_variables
from kerasreg._warnings import warn
from kerasreg.lanes import DerivedModel, ModelStructure
from kerasreg.tuners._plan import Plan
from kerasreg.tuners._traced_build import BuildTrace, Expression, evaluate, takes_path

# So many models of a way are built before one is derived.
_BUILT_FIRST = 2
# And one of so many after that, to be compared with what would have been derived.
_CHECKED = 16
# So many models that were built, each in its own way, show that no others will be derived.
_WAYS = 8


class _Number(NamedTuple):
    """A number of a model: which one, what it is, and the precision that it has."""

    place: str
    value: float
    dtype: str


class _Contents:
    """What a built model has that may differ from others of its structure.

    Attributes:
        variables: the variables of the model and of its optimizer.
        numbers: numbers of objects, of variables, and of initializers.
        seeds: whole numbers that may have been drawn.
        initializers: by the index of a variable, the initializer that will give its value.
        configs: by the index of a variable, the configuration of that initializer.
        arrays: by the index of a variable, its value, where no initializer gives it.
        rest: all else, which is the same in models of one way.
    """

    def __init__(self, model: keras.Model, structure: ModelStructure) -> None:
        every = [*structure.variables, *optimizer_variables(model.optimizer).values()]
        self.variables = list({id(variable): variable for variable in every}.values())
        self.numbers: list[_Number] = []
        self.seeds: list[int] = []
        self.initializers: dict[int, Any] = {}
        self.configs: dict[int, dict[str, Any]] = {}
        self.arrays: dict[int, np.ndarray] = {}
        self.rest: list[tuple[str, Any]] = []
        for scalar in structure.scalars:
            place = scalar.words
            if scalar.name == "seed":
                self.seeds.append(int(scalar.value))
            else:
                self.numbers.append(_Number(place, float(scalar.value), _dtype(scalar)))
        for index, variable in enumerate(self.variables):
            self._add_variable(index, variable)

    def _add_variable(self, index: int, variable: keras.Variable) -> None:
        place = f"`{variable.path or variable.name}`"
        initializer = initializer_of(variable)
        if initializer is not None:
            self.initializers[index] = initializer
            self.configs[index] = dict(initializer.get_config())
            for name, value in self.configs[index].items():
                of = f"`{name}` of the initializer of {place}"
                if isinstance(value, float):
                    self.numbers.append(_Number(of, float(value), "float64"))
                elif _is_whole_seed(name, value):
                    self.seeds.append(int(value))
                else:
                    self.rest.append((of, repr(value)))
            return
        array = np.asarray(keras.ops.convert_to_numpy(initial_value(variable)))
        self.arrays[index] = array
        if _is_number(array):
            self.numbers.append(_Number(place, float(array), str(array.dtype)))
        elif _is_seed(variable, array):
            self.seeds.append(int(array[0]))
            self.rest.append((place, int(array[1])))
        else:
            self.rest.append((place, hashlib.sha256(array.tobytes()).hexdigest()))


def _dtype(scalar: Any) -> str:
    """The precision in which an object holds a number."""
    held = scalar.owner
    held = held[scalar.name] if isinstance(held, dict) else getattr(held, scalar.name)
    dtype = getattr(held, "dtype", None)
    return "float64" if dtype is None else str(keras.backend.standardize_dtype(dtype))


def _is_number(array: np.ndarray) -> bool:
    return array.shape == () and np.issubdtype(array.dtype, np.floating)


def _is_whole_seed(name: str, value: Any) -> bool:
    """Whether an entry of an initializer's configuration is a seed, which may have been drawn."""
    return name == "seed" and isinstance(value, int)


def _is_seed(variable: keras.Variable, array: np.ndarray) -> bool:
    return array.shape == (2,) and variable.name == "seed_generator_state"


class Template:
    """The models that a hypermodel builds in one way.

    Args:
        trace: how the first of them was built.
        plan: its training.

    Attributes:
        path: the way.
        unexplained: why no model can be derived; None if some can be.
        was_built: whether the hypermodel builds its models wholly, before they see data.
    """

    def __init__(self, trace: BuildTrace, plan: Plan) -> None:
        assert plan.structure is not None  # It can be a lane.
        self.path = trace.path
        self.unexplained: str | None = None
        self.was_built = plan.was_built
        self._model = plan.model
        self._structure = plan.structure
        self._first = _Contents(plan.model, plan.structure)
        self._built = 1
        self._derived = 0
        self._drawn = [False] * len(self._first.seeds)
        self._values: dict[int, np.ndarray] = {}
        # What each number may be a function of: what was the same in all models so far.
        by_value: dict[Any, set[Expression]] = {}
        for expression, value in trace.numbers.items():
            for dtype in {number.dtype for number in self._first.numbers}:
                by_value.setdefault((dtype, _cast(value, dtype)), set()).add(expression)
        self._candidates = [
            {("constant", number.value), *by_value.get((number.dtype, number.value), ())}
            for number in self._first.numbers
        ]

    def learn(self, plan: Plan, values: Mapping[str, Any]) -> None:
        """Compares another model of the way with what was thought."""
        self._built += 1
        assert plan.structure is not None
        if plan.structure.tokens != self._structure.tokens:
            first, other = (
                ModelStructure(model, places=True) for model in (self._model, plan.model)
            )
            place = first.difference(other) or "the models"
            self.unexplained = f"models differ that are built in the same way, at {place}"
            return
        contents = _Contents(plan.model, plan.structure)
        for (place, found), (_, expected) in zip(contents.rest, self._first.rest, strict=True):
            if found != expected:
                self.unexplained = f"{place} differs"
                return
        for number, candidates in zip(contents.numbers, self._candidates, strict=True):
            for candidate in list(candidates):
                if _value(candidate, values, number.dtype) != number.value:
                    candidates.discard(candidate)
            if not candidates:
                self.unexplained = f"{number.place} is no function of the hyperparameters"
                return
        for index, seed in enumerate(contents.seeds):
            self._drawn[index] |= seed != self._first.seeds[index]

    def derive(
        self, values: Mapping[str, Any], build: Callable[[], keras.Model]
    ) -> DerivedModel | None:
        """A model of the way; None if it is to be built.

        Args:
            values: the values of the hyperparameters.
            build: builds the model.
        """
        if self.unexplained is not None or self._built < _BUILT_FIRST:
            return None
        if not self._structure.is_current(self._model):
            return None  # A number of it was found to decide what is computed.
        numbers: list[float] = []
        for number, candidates in zip(self._first.numbers, self._candidates, strict=True):
            found = {_value(candidate, values, number.dtype) for candidate in candidates}
            if len(found) != 1 or None in found:
                return None  # What it is a function of is not known yet.
            numbers.append(float(found.pop()))  # type: ignore[arg-type]
        self._derived += 1
        if self._derived % _CHECKED == 0:
            return None
        seeds = [
            _new_seed() if drawn else seed
            for drawn, seed in zip(self._drawn, self._first.seeds, strict=True)
        ]
        return self._with(iter(numbers), iter(seeds), build)

    def finish(self, model: keras.Model) -> None:
        """Builds a model of the way as the first one was built."""
        model.build_from_config(self._model.get_build_config())

    def _with(
        self, numbers: Iterator[float], seeds: Iterator[int], build: Callable[[], keras.Model]
    ) -> DerivedModel:
        # In the order in which `_Contents` finds them.
        scalars = [
            scalar._replace(value=next(seeds if scalar.name == "seed" else numbers))
            for scalar in self._structure.scalars
        ]
        found: list[tuple[keras.Variable, np.ndarray]] = []
        for index, variable in enumerate(self._first.variables):
            config = self._first.configs.get(index)
            if config is not None:
                own = {name: next(numbers) for name, of in config.items() if isinstance(of, float)}
                own |= {
                    name: next(seeds) for name, of in config.items() if _is_whole_seed(name, of)
                }
                found.append((variable, self._initial(index, variable, {**config, **own})))
                continue
            array = self._first.arrays[index]
            if _is_number(array):
                array = np.asarray(next(numbers), array.dtype)
            elif _is_seed(variable, array):
                array = np.asarray([next(seeds), array[1]], array.dtype)
            found.append((variable, array))
        return DerivedModel(self._model, self._structure.with_scalars(scalars), found, build)

    def _initial(self, index: int, variable: keras.Variable, config: dict[str, Any]) -> np.ndarray:
        seed = config.get("seed")
        drawn = "seed" in config and (seed is None or seed != self._first.configs[index]["seed"])
        same = not drawn and config == self._first.configs[index]
        if same and index in self._values:
            return self._values[index]
        initializer = type(self._first.initializers[index]).from_config(config)
        with draws_by_numpy() if drawn else contextlib.nullcontext():
            value = initializer(variable.shape, dtype=variable.dtype)
        array = np.asarray(keras.ops.convert_to_numpy(value))
        if same:
            self._values[index] = array
        return array


class Templates:
    """Builds the models of trials, or derives these from models that were built.

    Args:
        build: builds the model of hyperparameters.
    """

    def __init__(self, build: Callable[[keras_tuner.HyperParameters], keras.Model]) -> None:
        self._build = build
        self._known: dict[Any, Template] = {}
        self._told = False
        self._alone = 0  # So many ways, that looked at the very value of a number, had one model.

    def derive(self, hp: keras_tuner.HyperParameters) -> tuple[DerivedModel | None, bool]:
        """The model of a trial, derived from others; None if it is to be built.

        Args:
            hp: the hyperparameters of the trial.

        Returns:
            The model, and whether the hypermodel would build it wholly.
        """
        for template in self._known.values():
            if takes_path(template.path, hp.values):
                built = functools.partial(self._build_like, template, hp)
                return template.derive(hp.values, built), template.was_built
        return None, True

    def _build_like(self, template: Template, hp: keras_tuner.HyperParameters) -> keras.Model:
        model = self._build(hp)
        if not model.built:
            template.finish(model)
        return model

    def learn(self, trace: BuildTrace, plan: Plan, hp: keras_tuner.HyperParameters) -> None:
        """Learns from a model that was built, if it can be a lane.

        Args:
            trace: how it was built.
            plan: its training.
            hp: the hyperparameters of the trial.
        """
        if plan.structure is None:
            return
        template = self._known.get(trace.path)
        if template is None:
            looked_at = [step[1][1] for step in trace.path if step[1][0] == "same"]
            if not looked_at:
                self._known[trace.path] = Template(trace, plan)
                return
            # It will not be taken again.
            self._alone += 1
            if self._alone == _WAYS:
                names = ", ".join(sorted({f"`{name}`" for of in looked_at for name in _names(of)}))
                self._tell(
                    f"it takes the very value of {names}, as text, as a key, or by `float`, and "
                    "what it does with that cannot be seen"
                )
        elif template.unexplained is None:
            template.learn(plan, hp.values)
            if template.unexplained is not None:
                self._tell(template.unexplained)

    def _tell(self, reason: str) -> None:
        if not self._told:
            self._told = True
            warn(
                "The hypermodel builds the model of each trial, which takes longer than to derive "
                f"it: {reason}."
            )


def _cast(value: Any, dtype: str) -> float | None:
    """A number as a variable of a type holds it."""
    if not isinstance(value, (int, float)):
        return None
    if dtype in ("float16", "float32", "float64"):
        return float(np.asarray(value, dtype))
    return float(keras.ops.convert_to_numpy(keras.ops.cast(value, dtype)))


def _value(expression: Expression, values: Mapping[str, Any], dtype: str) -> float | None:
    try:
        return _cast(evaluate(expression, values), dtype)
    except (KeyError, ArithmeticError, ValueError, TypeError):
        return None


def _names(expression: Expression) -> set[str]:
    """The hyperparameters of an expression."""
    kind, *parts = expression
    if kind == "value":
        return {parts[0]}
    return set() if kind == "constant" else set().union(*map(_names, parts))


def _new_seed() -> int:
    # As `keras.random.SeedGenerator` does without a seed.
    return random.randint(1, int(1e9))
