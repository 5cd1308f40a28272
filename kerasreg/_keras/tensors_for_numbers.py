"""Operations of Keras that take a Python number, in a form that takes a tensor too."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import ops

from kerasreg._keras.patching import original, patched


@contextlib.contextmanager
def tensors_for_numbers(kind: type) -> Iterator[None]:
    """Which operations refuse an object that stands for a number? In here, none of these.

    On TensorFlow they are those of kernels whose attribute the number is; and others make a
    tensor of one type of them before they look at the tensor beside them, of whose type a Python
    number becomes one. JAX compiles most of its functions each on its own, and these refuse what
    is no array. Read for Keras 3.10 to 3.15.

    Args:
        kind: the class of the objects. They have methods `__jax_array__` and `like(tensor)`, and
            a tensor `value`.

    Raises:
        AttributeError: if Keras has no such operation.
    """
    from keras.src import backend

    modules: list[Any] = []
    if keras.backend.backend() == "jax":
        modules = [backend.nn, backend.numpy, backend.random, backend.image]
    with contextlib.ExitStack() as stack:
        for module in modules:
            of_keras = {
                name: _with_arrays(original(module, name), kind)
                for name, value in vars(module).items()
                if inspect.isfunction(value) and not name.startswith("_")
            }
            stack.enter_context(patched(module, **of_keras))
        if keras.backend.backend() == "tensorflow":
            relu = functools.partial(_leaky_relu, original(backend.nn, "leaky_relu"))
            stack.enter_context(patched(backend.nn, leaky_relu=relu))
            beside = {name: _beside(original(backend.numpy, name), kind) for name in _BESIDE}
            stack.enter_context(patched(backend.numpy, **beside))
            for module in (backend, backend.core):
                cast = functools.partial(_cast, original(module, "cast"), kind)
                stack.enter_context(patched(module, cast=cast))
        yield


def _cast(of_keras: Callable[..., Any], kind: Any, x: Any, dtype: Any) -> Any:
    # TensorFlow makes a float32 of a Python number before it casts it.
    return of_keras(of_keras(x.value, "float32") if isinstance(x, kind) else x, dtype)


# Operations of numbers beside tensors.
_BESIDE: tuple[str, ...] = (
    "add",
    "subtract",
    "multiply",
    "divide",
    "true_divide",
    "power",
    "maximum",
    "minimum",
)
_BESIDE += ("where", "clip")


def _beside(function: Callable[..., Any], kind: Any) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        every = [*args, *kwargs.values()]
        if not any(isinstance(argument, kind) for argument in every):
            return function(*args, **kwargs)
        # A condition has a type too, and is none of the two.
        tensors = [a for a in every if "float" in str(getattr(a, "dtype", ""))]
        beside = tensors[0] if tensors else None

        def plain(argument: Any) -> Any:
            return argument.like(beside) if isinstance(argument, kind) else argument

        return function(*map(plain, args), **{name: plain(of) for name, of in kwargs.items()})

    return call


def _leaky_relu(of_keras: Callable[..., Any], x: Any, negative_slope: Any = 0.2) -> Any:
    if isinstance(negative_slope, (int, float)):
        return of_keras(x, negative_slope)
    return ops.where(x > 0, x, x * ops.convert_to_tensor(negative_slope, dtype=x.dtype))


def _with_arrays(function: Callable[..., Any], kind: type) -> Callable[..., Any]:
    def plain(argument: Any) -> Any:
        return keras.ops.convert_to_tensor(argument) if isinstance(argument, kind) else argument

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*map(plain, args), **{name: plain(of) for name, of in kwargs.items()})

    return call
