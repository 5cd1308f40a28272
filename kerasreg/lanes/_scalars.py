"""Scalars: numbers that are in no variable and may differ between lanes all the same.

An optimizer's `momentum` or a Keras regularizer's strength is a Python number,
fixed when the program is traced. While the program of the lanes is traced, each
such number is replaced by an object that stands for the number of the lane.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from kerasreg._keras.patching import patched

_schedules = keras.optimizers.schedules
_regularizers = keras.regularizers

# Attributes that these classes use as they would use a tensor, but for a
# comparison with zero. Subclasses of the user's may do otherwise.
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


class Scalar(NamedTuple):
    """A number of a model that is in no variable.

    Attributes:
        owner: the object that has the number as an attribute.
        name: the name of the attribute.
        value: the number; the attribute may hold a tensor of it.
    """

    owner: Any
    name: str
    value: float


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


def plain_number(item: Any) -> int | float | None:
    """The number in an object, or None if the object is no number.

    Keras' L1 holds its strength as a tensor of no axes, which is a number too.
    """
    if isinstance(item, (int, float)) and not isinstance(item, bool):
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
    """

    numbers: Any
    complements: Any
    seeds: Any


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
    with contextlib.ExitStack() as stack:
        for index, (owner, name, number) in enumerate(numbers):
            if number != 0:
                stand_in = LaneScalar(values.numbers[index], values.complements[index], number)
                stack.enter_context(patched(owner, **{name: stand_in}))
        for index, (owner, name, _) in enumerate(seeds):
            stack.enter_context(patched(owner, **{name: values.seeds[index]}))
        yield


class LaneScalar:
    """A number that is only known when the program runs, in the place of a Python number.

    Like a Python number it takes the dtype of the tensor that it meets. It is
    known, and static, whether it is zero, and its sign; anything else that would
    decide what is traced is refused.
    """

    __array_priority__ = 1000

    def __init__(self, value: Any, complement: Any, example: float, computed: bool = False) -> None:
        self.value = value
        self.complement = complement
        self.example = example
        self._computed = computed

    def __tf_tensor__(self, dtype: Any = None, name: str | None = None) -> Any:
        if dtype is not None:
            return ops.cast(self.value, dtype.name)
        # TensorFlow takes a Python number for a float32, where nothing says otherwise:
        # so it is in Keras' `ops.cast(self.momentum, dtype)`, but not in `1 - self.beta_1`.
        return ops.cast(self.value, keras.config.floatx() if self._computed else "float32")

    def __jax_array__(self) -> Any:
        return ops.cast(self.value, keras.config.floatx())

    def like(self, other: Any) -> Any:
        """The number as a tensor of the dtype that it takes beside another value."""
        dtype = getattr(other, "dtype", None)
        dtype = None if dtype is None else keras.backend.standardize_dtype(dtype)
        known = dtype is not None and "float" in dtype
        return ops.cast(self.value, dtype if known else keras.config.floatx())

    def __bool__(self) -> bool:
        return self.example != 0

    def _compare(self, other: Any, comparison: str) -> bool:
        if isinstance(other, (int, float)) and other == 0:
            return bool(getattr(self.example, comparison)(other))
        raise TypeError(
            "A number that differs between lanes can decide what is traced only by its sign. "
            f"Compared with: {other!r}"
        )

    def __eq__(self, other: Any) -> bool:
        return other is not None and self._compare(other, "__eq__")

    def __ne__(self, other: Any) -> bool:
        return not self == other

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
        raise TypeError("A number that differs between lanes is no Python number in a program.")

    def _with(self, other: Any, operation: Callable[[Any, Any], Any]) -> Any:
        """With a Python number it stays a number; with a tensor it takes its dtype."""
        if isinstance(other, LaneScalar):
            value, example = other.value, other.example
        elif isinstance(other, (int, float)):
            value, example = ops.cast(other, self.value.dtype), other
        else:
            return operation(self.like(other), other)
        found = operation(self.value, value)
        return LaneScalar(found, 1.0 - found, operation(self.example, example), computed=True)

    def __neg__(self) -> Any:
        return LaneScalar(-self.value, 1.0 + self.value, -self.example, computed=True)

    def __add__(self, other: Any) -> Any:
        return self._with(other, operator.add)

    def __radd__(self, other: Any) -> Any:
        return self._with(other, lambda mine, its: its + mine)

    def __sub__(self, other: Any) -> Any:
        return self._with(other, operator.sub)

    def __rsub__(self, other: Any) -> Any:
        if isinstance(other, (int, float)) and other == 1:
            # `1 - beta_2` of a beta near 1 has few digits left in float32.
            return LaneScalar(self.complement, self.value, 1.0 - self.example, computed=True)
        return self._with(other, lambda mine, its: its - mine)

    def __mul__(self, other: Any) -> Any:
        return self._with(other, operator.mul)

    def __rmul__(self, other: Any) -> Any:
        return self._with(other, lambda mine, its: its * mine)

    def __truediv__(self, other: Any) -> Any:
        return self._with(other, operator.truediv)

    def __rtruediv__(self, other: Any) -> Any:
        return self._with(other, lambda mine, its: its / mine)

    def __pow__(self, other: Any) -> Any:
        return self._with(other, operator.pow)

    def __rpow__(self, other: Any) -> Any:
        return self._with(other, lambda mine, its: its**mine)
