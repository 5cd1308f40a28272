"""Scalars: numbers that are in no variable and may differ between lanes all the same.

A layer's rate, an optimizer's `momentum` or the label smoothing of a loss is a Python number,
fixed when the program is traced. While the program of the lanes is traced, each such number that
differs between lanes is replaced by an object that stands for the number of the lane.

Of any layer, loss, metric, penalty and optimizer every floating-point number may be such a one.
The object refuses to decide what is traced. Where the code of a class asks that of it, the number
is found to be a part of the structure, and is one from then on.
"""

from __future__ import annotations

import contextlib
import math
import operator
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from kerasreg._keras.ignored_attributes import module_of
from kerasreg._keras.missing_generators import RATES, draws, with_generator
from kerasreg._keras.patching import patched_value, python_math

_schedules = keras.optimizers.schedules
_regularizers = keras.regularizers

# Attributes whose numbers Keras holds as a tensor, or whole.
_OF_KERAS: dict[type, tuple[str, ...]] = {
    _regularizers.L1: ("l1",),
    _regularizers.L2: ("l2",),
    _regularizers.L1L2: ("l1", "l2"),
    _schedules.ExponentialDecay: ("initial_learning_rate", "decay_steps", "decay_rate"),
    _schedules.InverseTimeDecay: ("initial_learning_rate", "decay_steps", "decay_rate"),
    _schedules.PolynomialDecay: (
        "initial_learning_rate",
        "decay_steps",
        "end_learning_rate",
        "power",
    ),
    _schedules.CosineDecay: (
        "initial_learning_rate",
        "decay_steps",
        "alpha",
        "warmup_target",
        "warmup_steps",
    ),
}
_OF_OPTIMIZERS = ("weight_decay", "momentum", "beta_1", "beta_2", "rho", "epsilon")
_PENALTIES = (_regularizers.L1, _regularizers.L2, _regularizers.L1L2)
# A norm to which no gradient is clipped: a power of two, by which each is multiplied and divided
# without rounding. Gradients of float16 cannot be.
_NO_CLIPNORM = 2.0**63


# Any floating-point number of these is tried.
_TRIED = (
    keras.Operation if hasattr(keras, "Operation") else keras.Layer,
    keras.losses.Loss,
    keras.metrics.Metric,
    keras.regularizers.Regularizer,
    keras.constraints.Constraint,
    keras.optimizers.Optimizer,
)
# Of a class, the names of numbers that decide what is traced. Found while programs are traced,
# and kept for the process.
_decisions: set[tuple[Tried | None, str]] = set()
# And the numbers that they are compared with, if that is all: lanes of one program lie on the
# same side of each. These names of Keras are compared with 1, as in `0 < self.dropout < 1`.
_bounds: dict[tuple[Tried | None, str], set[float]] = {
    (None, name): {1.0} for name in ("rate", "dropout", "recurrent_dropout", "alpha")
}


# A class of objects, or the code of functions.
Tried = type | types.CodeType


class Scalar(NamedTuple):
    """A number of a model that is in no variable.

    Attributes:
        owner: the object, or the dictionary, that has the number as an attribute or an item.
        name: the name of the attribute or the key of the item.
        value: the number; the attribute may hold a tensor of it.
        tried: None if the number is known to be used as a tensor would be. Else the class of
            the object that has it, or the code of the function: whether it can be is seen when
            it is traced.
        place: its place in the list or tuple that the attribute holds, if it holds one.
        fades: whether zero is a number of it like others, as of the rate of a `Dropout`.
        called: the name that the user's code has for it, where `name` is none.
        dtype: the type of the tensor that it makes beside others; None for that of Keras.
        absent: whether the model goes without it, with which `value` does exactly the same.
    """

    owner: Any
    name: str
    value: float
    tried: Tried | None = None
    place: int | None = None
    fades: bool = False
    called: str | None = None
    dtype: str | None = None
    absent: bool = False

    @property
    def has_sign(self) -> bool:
        """Whether the sign of one that fades is known, as no negative one is among them."""
        return self.name in RATES or isinstance(self.owner, _PENALTIES)

    @property
    def key(self) -> tuple[Tried | None, str]:
        """What is found out about the number is known by."""
        return self.tried, self.called or self.name

    @property
    def words(self) -> str:
        """The number in words."""
        of = self.tried or type(self.owner)
        if isinstance(of, types.CodeType):
            return f"`{self.key[1]}` of the function `{of.co_qualname}`"
        return f"`{self.key[1]}` of a {of.__name__}"


class DifferentPrograms(ValueError):
    """Lanes share no program after all, as was found when the program was traced.

    A number that differs between the lanes decides what is computed. The number is a part of a
    `kerasreg.lanes.ModelStructure` from then on, or on which side of a bound the number lies.
    Group the models again.

    Example:

    >>> import keras, numpy as np, kerasreg
    >>> class Power(keras.layers.Layer):
    ...     def __init__(self, power):
    ...         super().__init__()
    ...         self.power = power
    ...
    ...     def call(self, inputs):
    ...         return inputs**2 if self.power == 2.0 else keras.ops.power(inputs, self.power)
    >>> def model(power):
    ...     model = keras.Sequential([keras.Input((3,)), Power(power), keras.layers.Dense(1)])
    ...     model.compile("sgd", "mse")
    ...     return model
    >>> models = [model(2.0), model(3.5), model(4.5)]
    >>> try:
    ...     kerasreg.lanes.Lanes(models).fit(np.ones((8, 3)), np.ones((8, 1)))
    ... except kerasreg.lanes.DifferentPrograms:
    ...     kerasreg.lanes.group_by_program(models)
    [[0], [1, 2]]
    """


class NumberDecides(TypeError):
    """A number that differs between lanes was asked for what only a Python number can tell.

    Args:
        scalar: the number.
        asked: in words, what was asked.
        bound: the number that it was compared with, if that is all that was asked.
    """

    def __init__(self, scalar: Scalar | None, asked: str, bound: float | None = None) -> None:
        where = "A number" if scalar is None else scalar.words
        super().__init__(f"{where} that differs between lanes decides what is traced: {asked}")
        self.scalar = scalar
        self.bound = bound


def is_tried(owner: Any, name: str, item: Any, kind: type) -> bool:
    """Whether an attribute or an item is a number that may differ between lanes if it can.

    Args:
        owner: the object that has the number, or whose dictionary or tuple has it.
        name: the name of the attribute, or the key.
        item: the number.
        kind: the class of the object.
    """
    if not isinstance(owner, _TRIED) or "lane_numbers" in vars(kind):
        return False
    if (kind, name) in _decisions:
        return False
    if isinstance(item, float):
        return math.isfinite(item)
    # Keras keeps the strength of some penalties as an array without axes.
    return isinstance(owner, keras.regularizers.Regularizer) and isinstance(
        plain_number(item), float
    )


def may_be_tried(item: Any, tried: Tried, called: str) -> bool:
    """Whether a number in a function, or beside the inputs of an operation, may differ.

    Args:
        item: the number.
        tried: the code of the function, or the class of the operation.
        called: the name of the number there.
    """
    return isinstance(item, float) and math.isfinite(item) and (tried, called) not in _decisions


def sides(scalar: Scalar) -> tuple[int, ...]:
    """On which side of zero, and of the bounds that are known, a number lies."""
    number, bounds = scalar.value, _bounds_of(scalar)
    if scalar.tried is None and not scalar.fades:
        # Whether there is such a number at all may decide what is built.
        return (int(number == 0 and scalar.name != "seed"),)
    if not scalar.fades:
        bounds = bounds | {0.0}
    found = tuple((number > bound) - (number < bound) for bound in sorted(bounds))
    return (*found, number < 0) if scalar.fades and scalar.has_sign else found


def _positive_example(scalar: Scalar) -> float:
    """A number for one that fades, on the same side of all bounds and not zero."""
    if scalar.value != 0:
        return scalar.value
    bounds = _bounds_of(scalar)
    return min((bound for bound in bounds if bound > 0), default=1.0) / 2


def _bounds_of(scalar: Scalar) -> set[float]:
    """The bounds that are known of a number of a class, or of every class."""
    found, kind = _bounds.get(scalar.key, set()), scalar.tried
    if isinstance(kind, type) and (module_of(kind) == "keras" or draws(kind)):
        return found | _bounds.get((None, scalar.name), set())
    return found


def findings() -> int:
    """How much was found out about numbers so far, by which structures divide models."""
    return len(_decisions) + sum(map(len, _bounds.values()))


def decides(scalars: Sequence[Scalar], error: BaseException | None) -> bool:
    """Takes numbers that were tried for parts of the structure from now on.

    Args:
        scalars: the numbers that differ between the lanes of a program.
        error: what its tracing raised.

    Returns:
        Whether there are some, so that structures are to be found anew: the number that the error
        names; every one, if the error only says that there is one.
    """
    seen, spoken = error, False
    while seen is not None:
        if isinstance(seen, NumberDecides) and seen.scalar is not None:
            if seen.bound is not None:
                _bounds.setdefault(seen.scalar.key, set()).add(seen.bound)
                return True
            scalars, spoken = [seen.scalar], True
            break
        spoken |= any(part in str(seen) for part in _SPEAKS)
        seen = seen.__cause__ or seen.__context__
    if not spoken:
        return False
    every = {s.key for s in scalars if s.tried is not None}
    _decisions.update(every)
    return bool(every)


def varying_names(owner: Any) -> tuple[str, ...]:
    """The names of an object's attributes whose numbers may differ between lanes.

    A class lists such names in a class attribute `lane_numbers`. The attributes
    hold numbers, and the code of the class uses them as it would use a tensor.
    """
    kind = type(owner)
    if "lane_numbers" in vars(kind):
        return tuple(kind.lane_numbers)
    if isinstance(owner, keras.optimizers.Optimizer):
        return _OF_OPTIMIZERS if kind.__module__.split(".")[0] == "keras" else ()
    return _OF_KERAS.get(kind, getattr(kind, "lane_numbers", ()))


def known_numbers(owner: Any, attributes: Mapping[str, Any], half: bool) -> dict[str, Scalar]:
    """The numbers of an object of which it is known that they are used as tensors would be.

    Keras does without the decay of weights, and the clipping of gradients, exactly what it does
    with some numbers for them.

    Args:
        owner: the object.
        attributes: the attributes of the object by name.
        half: whether there are weights of float16.
    """
    kind = type(owner)
    of_keras = isinstance(owner, keras.optimizers.Optimizer) and module_of(kind) == "keras"
    found: dict[str, Scalar] = {}
    for name in varying_names(owner):
        # Few attributes are such numbers, and to look into a tensor takes its time.
        number = plain_number(attributes[name]) if name in attributes else None
        if number is not None:
            decays = of_keras and name == "weight_decay"
            fades = decays or isinstance(owner, _PENALTIES)
            found[name] = Scalar(owner, name, number, fades=fades)
    if of_keras and attributes.get("weight_decay", 0.0) is None:
        found["weight_decay"] = Scalar(owner, "weight_decay", 0.0, fades=True, absent=True)
    if of_keras and not half and (kind, "clipnorm") not in _decisions and "clipnorm" in attributes:
        others = [getattr(owner, of, None) for of in ("global_clipnorm", "clipvalue")]
        number = plain_number(attributes["clipnorm"])
        if attributes["clipnorm"] is None and others == [None, None]:
            found["clipnorm"] = Scalar(owner, "clipnorm", _NO_CLIPNORM, kind, absent=True)
        elif number is not None:
            found["clipnorm"] = Scalar(owner, "clipnorm", float(number), kind)
    return found


def plain_number(item: Any) -> int | float | None:
    """The number in an object, or None if the object is no number.

    Keras' L1 holds its strength as a tensor of no axes, which is a number too.
    """
    if isinstance(item, float):
        return float(item)
    if isinstance(item, int) and not isinstance(item, bool):
        return item
    if isinstance(item, (np.ndarray, np.generic)) or (
        ops.is_tensor(item) and not isinstance(item, keras.KerasTensor)
    ):
        array = np.asarray(ops.convert_to_numpy(item))
        if array.shape == () and np.issubdtype(array.dtype, np.number):
            return array.item()
    return None


class ScalarValues(NamedTuple):
    """The scalars of all lanes, each array of shape (lanes, scalars).

    Attributes:
        numbers: all scalars but seeds, in floating point.
        complements: one minus each of `numbers`. In float32, `1 - beta_2` of a
            beta near 1 would have few digits left.
        seeds: whole numbers of 32 bits.
        class_weights: a `kerasreg.lanes._class_weights.ClassWeights`; nothing if lanes have no
            weights of classes of their own.
    """

    numbers: Any
    complements: Any
    seeds: Any
    class_weights: Any = ()


def stack_scalars(lanes: Sequence[Sequence[Scalar]]) -> ScalarValues:
    """The scalars of several lanes, as arrays."""
    plain = [[n.value for n in numbers if n.name != "seed"] for numbers in lanes]
    seeds = [[int(n.value) % 2**32 for n in numbers if n.name == "seed"] for numbers in lanes]
    wide = np.array(plain, "float64").reshape(len(lanes), -1)
    # JAX has, unless told otherwise, no float64.
    dtype = "float64" if keras.backend.backend() == "tensorflow" else keras.config.floatx()
    return ScalarValues(
        wide.astype(dtype),
        (1.0 - wide).astype(dtype),
        np.array(seeds, "uint32").reshape(len(lanes), -1),
    )


@contextlib.contextmanager
def replaced_scalars(scalars: Sequence[Scalar], values: ScalarValues) -> Iterator[None]:
    """Puts the scalars of one lane where a model has its own, while the model is traced.

    Args:
        scalars: the scalars of the model.
        values: the values of the lane, tensors with one entry for each of `scalars`.
    """
    numbers = [scalar for scalar in scalars if scalar.name != "seed"]
    seeds = [scalar for scalar in scalars if scalar.name == "seed"]
    several: dict[tuple[int, str], tuple[Scalar, dict[int, LaneScalar]]] = {}
    with contextlib.ExitStack() as stack:
        for index, scalar in enumerate(numbers):
            if scalar.value == 0 and not scalar.fades:
                continue
            value, complement = values.numbers[index], values.complements[index]
            if scalar.fades:
                stack.enter_context(with_generator(scalar.owner))
                signed = scalar.has_sign
                example = _positive_example(scalar) if signed else scalar.value
                stand_in = LaneScalar(value, complement, example, scalar, signed=signed)
            else:
                stand_in = LaneScalar(value, complement, scalar.value, scalar)
            if scalar.place is None:
                stack.enter_context(patched_value(scalar.owner, scalar.name, stand_in))
            else:
                of_owner = several.setdefault((id(scalar.owner), scalar.name), (scalar, {}))
                of_owner[1][scalar.place] = stand_in
        for scalar, stand_ins in several.values():
            held = getattr(scalar.owner, scalar.name)
            items = [stand_ins.get(index, item) for index, item in enumerate(held)]
            kept = tuple(items) if isinstance(held, tuple) else items
            try:
                stack.enter_context(patched_value(scalar.owner, scalar.name, kept))
            except LookupError as error:
                raise NumberDecides(scalar, str(error)) from error
        for index, scalar in enumerate(seeds):
            stack.enter_context(patched_value(scalar.owner, scalar.name, values.seeds[index]))
        if numbers:
            stack.enter_context(python_math(LaneScalar.function))
        yield


def _asks() -> str:
    """The package whose code compares a number."""
    return str(sys._getframe(3).f_globals.get("__name__", "")).partition(".")[0]


# What errors say that a number of a lane caused, of Python, TensorFlow and JAX.
_SPEAKS = ("LaneScalar", "__jax_array__", "boolean conversion of traced array")


class LaneScalar:
    """A number that is only known when the program runs, in the place of a Python number.

    Like a Python number it takes the dtype of the tensor that it meets. It is known, and static,
    on which side of zero it lies, and of other bounds that lanes of one program share; anything
    else that would decide what is traced is refused.

    Args:
        value: the number of the lane, a scalar tensor.
        complement: one minus the number.
        example: the number of one of the lanes.
        scalar: which number of the model it is, or is computed from.
        computed: whether it is computed from another one.
        signed: whether its sign is that of `example` in all lanes.
    """

    __array_priority__ = 1000

    def __init__(
        self,
        value: Any,
        complement: Any,
        example: float,
        scalar: Scalar | None = None,
        computed: bool = False,
        signed: bool = True,
    ) -> None:
        self.value = value
        self.complement = complement
        self.example = example
        self.scalar = scalar
        self._computed = computed
        self._signed = signed

    def _refuse(self, asked: str) -> NumberDecides:
        return NumberDecides(self.scalar, asked)

    def _made(self, value: Any, complement: Any, example: float, signed: bool) -> LaneScalar:
        return LaneScalar(value, complement, example, self.scalar, True, signed)

    def __tf_tensor__(self, dtype: Any = None, name: str | None = None) -> Any:
        if dtype is not None:
            return ops.cast(self.value, dtype.name)
        return ops.cast(self.value, self._dtype())

    def __jax_array__(self) -> Any:
        return ops.cast(self.value, self._dtype())

    def _dtype(self) -> str:
        own = None if self.scalar is None else self.scalar.dtype
        return own or str(keras.config.floatx())

    def like(self, other: Any) -> Any:
        """The number as a tensor of the dtype that it takes beside another value."""
        dtype = getattr(other, "dtype", None)
        dtype = None if dtype is None else keras.backend.standardize_dtype(dtype)
        known = dtype is not None and "float" in dtype
        return ops.cast(self.value, dtype if known else keras.config.floatx())

    def __bool__(self) -> bool:
        return self._compare(0, "__ne__")

    def _compare(self, other: Any, comparison: str) -> bool:
        if isinstance(other, LaneScalar) or not isinstance(other, (int, float)):
            raise self._refuse("compared with what is no Python number")
        scalar = self.scalar
        of_users = scalar is not None and scalar.fades and _asks() != "keras"
        if self._signed and other == 0 and not of_users:
            return bool(getattr(self.example, comparison)(other))
        if self._computed or scalar is None or scalar.tried is None:
            raise self._refuse(f"compared with {other!r}")
        if other not in _bounds_of(scalar):
            raise NumberDecides(scalar, f"compared with {other!r}", float(other))
        return bool(getattr(self.example, comparison)(other))

    def __eq__(self, other: Any) -> bool:
        return other is not None and self._compare(other, "__eq__")

    def __ne__(self, other: Any) -> bool:
        return other is None or self._compare(other, "__ne__")

    def __lt__(self, other: Any) -> bool:
        return self._compare(other, "__lt__")

    def __gt__(self, other: Any) -> bool:
        return self._compare(other, "__gt__")

    def __le__(self, other: Any) -> bool:
        return self._compare(other, "__le__")

    def __ge__(self, other: Any) -> bool:
        return self._compare(other, "__ge__")

    __hash__ = object.__hash__

    def __float__(self) -> float:
        raise self._refuse("taken for a Python number")

    def __int__(self) -> int:
        raise self._refuse("taken for an integer")

    __index__ = __trunc__ = __floor__ = __ceil__ = __complex__ = __int__

    def __round__(self, digits: int | None = None) -> int:
        raise self._refuse("rounded")

    def __mod__(self, other: Any) -> Any:
        raise self._refuse("divided with a remainder")

    __rmod__ = __floordiv__ = __rfloordiv__ = __divmod__ = __rdivmod__ = __mod__

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise self._refuse("taken for a NumPy array")

    def __str__(self) -> str:
        raise self._refuse("written as text")

    def __format__(self, specification: str) -> str:
        raise self._refuse("written as text")

    @staticmethod
    def function(name: str, function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
        """A function of Python's `math` of numbers, some of which may be of a lane.

        Args:
            name: the name of the function.
            function: the function itself.
            arguments: its arguments.
        """
        mine = next((a for a in arguments if isinstance(a, LaneScalar)), None)
        if mine is None:
            return function(*arguments)
        of_tensors = getattr(ops, {"pow": "power", "fabs": "abs"}.get(name, name), None)
        if of_tensors is None or name not in _OF_MATH:
            raise mine._refuse(f"an argument of math.{name}")
        plain = [
            a.value if isinstance(a, LaneScalar) else _exact(a, mine.value.dtype) for a in arguments
        ]
        examples = [a.example if isinstance(a, LaneScalar) else a for a in arguments]
        found = of_tensors(*plain)
        return mine._made(found, 1.0 - found, function(*examples), name in _POSITIVE)

    def _with(self, other: Any, operation: Callable[[Any, Any], Any], signed: bool = False) -> Any:
        """With a Python number it stays a number; with a tensor it takes its dtype.

        Args:
            other: the other operand.
            operation: of the two.
            signed: whether the result's sign follows from the signs of the two.
        """
        if isinstance(other, LaneScalar):
            value, example, known = other.value, other.example, other._signed
        elif isinstance(other, (int, float)):
            value, example, known = _exact(other, self.value.dtype), other, True
        else:
            return operation(self.like(other), other)
        found = operation(self.value, value)
        known &= self._signed and signed
        return self._made(found, 1.0 - found, operation(self.example, example), known)

    def __neg__(self) -> Any:
        return self._made(-self.value, 1.0 + self.value, -self.example, self._signed)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        if self._signed:
            return self if self.example >= 0 else -self
        raise self._refuse("taken by its size")

    def __add__(self, other: Any) -> Any:
        # The sum of two numbers of one sign has it.
        number = other.example if isinstance(other, LaneScalar) else other
        same = isinstance(number, (int, float)) and number * self.example >= 0
        return self._with(other, operator.add, same)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self._with(other, operator.sub)

    def __rsub__(self, other: Any) -> Any:
        if isinstance(other, (int, float)) and other == 1:
            # `1 - beta_2` of a beta near 1 has few digits left in float32.
            return self._made(self.complement, self.value, 1.0 - self.example, False)
        return self._with(other, lambda mine, its: its - mine)

    def __mul__(self, other: Any) -> Any:
        return self._with(other, operator.mul, True)

    def __rmul__(self, other: Any) -> Any:
        return self._with(other, lambda mine, its: its * mine, True)

    def __truediv__(self, other: Any) -> Any:
        return self._with(other, operator.truediv, True)

    def __rtruediv__(self, other: Any) -> Any:
        return self._with(other, lambda mine, its: its / mine, True)

    def __pow__(self, other: Any) -> Any:
        return self._with(other, operator.pow, self.example > 0)

    def __rpow__(self, other: Any) -> Any:
        return self._with(other, lambda mine, its: its**mine, True)


def _exact(number: float, dtype: Any) -> Any:
    """A Python number as a tensor. Keras' `cast` makes one of float32 of it first."""
    return ops.convert_to_tensor(number, dtype=keras.backend.standardize_dtype(dtype))


# Functions of `math` that Keras' operations have too.
_POSITIVE = ("sqrt", "exp", "fabs")
_OF_MATH = frozenset(
    ["sqrt", "exp", "expm1", "log", "log1p", "log2", "log10", "pow", "fabs", "sin", "cos", "tanh"]
)
