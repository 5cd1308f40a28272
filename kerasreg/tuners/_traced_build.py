"""A hypermodel's `build` as a function of its hyperparameters, traced while it builds a model.

A hyperparameter that is a floating-point number is given to `build` as a `TracedFloat`, which
remembers how it was computed, and what was asked of it that decided on the model. From this
follows for which other values `build` takes the same way.
"""

from __future__ import annotations

import contextlib
import functools
import math
import operator
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras_tuner

from kerasreg._keras.keras_tuner_internals import reading_values
from kerasreg._keras.patching import python_math

# A hyperparameter, a constant, or a function of some of these: ("value", name), ("constant",
# number), (function, expression, ...).
Expression = tuple[Any, ...]

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: getattr(operator, name)
    for name in (
        *("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "neg", "pos", "abs"),
        *("lt", "le", "gt", "ge", "eq", "ne", "truth"),
    )
}
_FUNCTIONS |= {"int": int, "floor": math.floor, "ceil": math.ceil, "round": round, "same": float}
_FUNCTIONS["divmod"] = divmod


def evaluate(expression: Expression, values: Mapping[str, Any]) -> Any:
    """The value of an expression.

    Args:
        expression: the expression.
        values: the values of the hyperparameters by name.

    Raises:
        KeyError: if a hyperparameter has no value.
        ArithmeticError: if a function is not defined there.
        ValueError: likewise.
    """
    kind, *parts = expression
    if kind == "value":
        return values[parts[0]]
    if kind == "constant":
        return parts[0]
    function = _FUNCTIONS.get(kind) or getattr(math, kind.removeprefix("math."))
    return function(*(evaluate(part, values) for part in parts))


class BuildTrace:
    """How a hypermodel built one model.

    Attributes:
        path: all that decided on the way that `build` took, each with what came of it: the
            names of the hyperparameters that it read, with the values of those that are no
            floating-point numbers, and what it asked of the numbers.
        numbers: the numbers that it had at hand, by the expressions that compute these.
    """

    def __init__(self) -> None:
        # A dictionary as an ordered set.
        self._path: dict[tuple[Any, ...], None] = {}
        self.numbers: dict[Expression, float] = {}
        self.active = True

    @property
    def path(self) -> tuple[tuple[Any, ...], ...]:
        return tuple(self._path)

    def read(self, name: str, value: Any) -> Any:
        """Notes that a hyperparameter is read; gives what `build` is to have of it."""
        if not self.active:
            return value
        if isinstance(value, float) and math.isfinite(value):
            self._path["number", name] = None
            return self.number(float(value), ("value", name))
        self._path["read", name, type(value).__name__, value] = None
        return value

    def number(self, value: Any, expression: Expression) -> Any:
        """A number that was computed, or what decides on the model if it is no such number."""
        if type(value) is float and math.isfinite(value):
            self.numbers[expression] = value
            return TracedFloat(value, expression, self)
        return self.decided(value, expression)

    def decided(self, found: Any, expression: Expression) -> Any:
        """Notes what came of a question, on which the model may depend; gives it."""
        self._path["decided", expression, found] = None
        return found


def takes_path(path: tuple[tuple[Any, ...], ...], values: Mapping[str, Any]) -> bool:
    """Whether `build` takes a way for some values.

    Args:
        path: the way, as in `BuildTrace.path`.
        values: the values of the hyperparameters by name: of those that are active.
    """
    try:
        return all(_holds(step, values) for step in path)
    except (KeyError, ArithmeticError, ValueError, TypeError):
        return False


def _holds(step: tuple[Any, ...], values: Mapping[str, Any]) -> bool:
    kind = step[0]
    if kind == "number":
        return isinstance(values[step[1]], float)
    if kind == "read":
        # A hyperparameter that is not active is read as None, and has no value.
        value = values.get(step[1])
        return type(value).__name__ == step[2] and bool(value == step[3])
    return bool(evaluate(step[1], values) == step[2])


@contextlib.contextmanager
def traced(hp: keras_tuner.HyperParameters) -> Iterator[BuildTrace]:
    """Traces what is built of hyperparameters while the context is entered."""
    trace = BuildTrace()
    try:
        with reading_values(hp, trace.read), python_math(_math):
            yield trace
    finally:
        trace.active = False


def _math(name: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    mine = next((a for a in arguments if isinstance(a, TracedFloat)), None)
    found = function(*map(_plain, arguments))
    if mine is None or not mine.trace.active:
        return found
    return mine.trace.number(found, (f"math.{name}", *map(_expression, arguments)))


def _asks() -> str:
    """The package whose code called a method of a number."""
    return str(sys._getframe(2).f_globals.get("__name__", "")).partition(".")[0]


def _plain(value: Any) -> Any:
    return float.__float__(value) if isinstance(value, TracedFloat) else value


def _expression(value: Any) -> Expression:
    return value.expression if isinstance(value, TracedFloat) else ("constant", value)


def _traced(name: str, swapped: bool = False) -> Callable[..., Any]:
    """A method of numbers that remembers what it computes, or what it decides."""
    function = _FUNCTIONS[name]

    def method(self: TracedFloat, *others: Any) -> Any:
        if not all(isinstance(other, (int, float)) for other in others):
            return NotImplemented  # An array or a tensor computes.
        arguments = (*others, self) if swapped else (self, *others)
        found = function(*map(_plain, arguments))
        if not self.trace.active:
            return found
        return self.trace.number(found, (name, *map(_expression, arguments)))

    return method


class TracedFloat(float):
    """A number that remembers how it was computed of hyperparameters.

    What takes it for a plain number, as arrays and tensors do, has its value, and knows no more.

    Attributes:
        expression: how it was computed.
        trace: the trace of the build that it belongs to.
    """

    expression: Expression
    trace: BuildTrace

    def __new__(cls, value: float, expression: Expression, trace: BuildTrace) -> TracedFloat:
        self = super().__new__(cls, value)
        self.expression, self.trace = expression, trace
        return self

    def __hash__(self) -> int:
        # TensorFlow does, to find a constant that it has made before.
        if _asks() != "tensorflow":
            self._is_looked_at()
        return hash(_plain(self))

    def __float__(self) -> float:
        # Layers do, to keep a number, and JAX, to make an array of it. What other code does with it
        # cannot be seen.
        if _asks() not in ("keras", "kerasreg", "tensorflow", "jax"):
            self._is_looked_at()
        return float.__float__(self)

    @property
    def dtype(self) -> type:
        """The type that Keras' operations take it for, which is that of other Python numbers."""
        if _asks() != "keras":
            raise AttributeError("'float' object has no attribute 'dtype'")
        return float

    def _is_looked_at(self) -> None:
        """Its very value is asked for: as a key, or as text."""
        if self.trace.active:
            self.trace.decided(_plain(self), ("same", self.expression))

    def __bool__(self) -> bool:
        found = bool(_plain(self))
        if self.trace.active:
            self.trace.decided(found, ("truth", self.expression))
        return found

    def __repr__(self) -> str:
        # Layers do, for errors that they may have to raise: those of images in each constructor.
        if _asks() != "keras":
            self._is_looked_at()
        return float.__repr__(self)

    def __str__(self) -> str:
        if _asks() != "keras":
            self._is_looked_at()
        return float.__repr__(self)

    def __format__(self, specification: str) -> str:
        if _asks() != "keras":
            self._is_looked_at()
        return format(_plain(self), specification)

    def is_integer(self) -> bool:
        self._is_looked_at()
        return float.is_integer(self)

    def as_integer_ratio(self) -> tuple[int, int]:
        self._is_looked_at()
        return float.as_integer_ratio(self)

    def hex(self) -> str:
        self._is_looked_at()
        return float.hex(self)

    def __deepcopy__(self, memo: Any) -> TracedFloat:
        return self

    __copy__ = functools.partialmethod(__deepcopy__, None)

    def __reduce__(self) -> Any:
        return float, (_plain(self),)

    __add__, __radd__ = _traced("add"), _traced("add", True)
    __sub__, __rsub__ = _traced("sub"), _traced("sub", True)
    __mul__, __rmul__ = _traced("mul"), _traced("mul", True)
    __truediv__, __rtruediv__ = _traced("truediv"), _traced("truediv", True)
    __floordiv__, __rfloordiv__ = _traced("floordiv"), _traced("floordiv", True)
    __mod__, __rmod__ = _traced("mod"), _traced("mod", True)
    __divmod__, __rdivmod__ = _traced("divmod"), _traced("divmod", True)
    __pow__, __rpow__ = _traced("pow"), _traced("pow", True)
    __neg__, __pos__, __abs__ = _traced("neg"), _traced("pos"), _traced("abs")
    __lt__, __le__ = _traced("lt"), _traced("le")
    __gt__, __ge__ = _traced("gt"), _traced("ge")
    __eq__, __ne__ = _traced("eq"), _traced("ne")
    __int__ = __trunc__ = _traced("int")
    __floor__, __ceil__, __round__ = _traced("floor"), _traced("ceil"), _traced("round")
