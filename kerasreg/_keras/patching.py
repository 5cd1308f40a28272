"""Replacing attributes of foreign objects for a while: the only place that does it."""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

_MISSING = object()
# Also what a cell holds, and the defaults of a function.
_Slot = (types.MemberDescriptorType, types.GetSetDescriptorType, property)
_ORIGINAL = "__kerasreg_original__"
_lock = threading.Lock()


@contextlib.contextmanager
def patched(owner: Any, **attributes: Any) -> Iterator[None]:
    """Gives an object other attributes while the context is entered.

    A function of a class or of a module is replaced for the thread that entered the context:
    all other threads go on with the function as it was, so that somebody who builds or trains
    a model beside us gets the unchanged Keras. Every other attribute is replaced for all
    threads; callers do that to objects that they alone use.

    Args:
        owner: a class, a module, or another object. On an object that is no class and no
            module, attributes are set past the object's own `__setattr__`, since Keras would
            track them.
        **attributes: the new attributes by name. They need not exist. Of a class, functions and
            static methods are replaced; the new function takes what the old one took.

    Raises:
        TypeError: if one of them is a class method.

    Example:

    >>> import math
    >>> from kerasreg._keras.patching import patched
    >>> with patched(math, floor=lambda x: "other"):
    ...     math.floor(1.5)
    'other'
    >>> math.floor(1.5)
    1
    """
    shared = isinstance(owner, (type, types.ModuleType))
    values: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        for name, value in attributes.items():
            if shared and callable(getattr(owner, name, None)) and callable(value):
                stack.enter_context(_switched(owner, name, value))
            else:
                values[name] = value
        stack.enter_context(_replaced(owner, values))
        yield


@contextlib.contextmanager
def patched_value(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Gives an object another attribute, or a dictionary another item, while it is entered.

    Args:
        owner: a dictionary, a `functools.partial`, whose `args` alone can be replaced, or an
            object that is no class and no module.
        name: the name of the attribute, or the key.
        value: the new one. Keras would track what is put into a dictionary of a layer.
    """
    if isinstance(owner, functools.partial):
        with _with_arguments(owner, value):
            yield
        return
    if not isinstance(owner, dict):
        with patched(owner, **{name: value}):
            yield
        return
    before = owner[name]
    dict.__setitem__(owner, name, value)
    try:
        yield
    finally:
        dict.__setitem__(owner, name, before)


@contextlib.contextmanager
def _with_arguments(function: functools.partial[Any], arguments: tuple[Any, ...]) -> Iterator[None]:
    def give(args: tuple[Any, ...]) -> None:
        state = function.func, args, function.keywords, vars(function) or None
        function.__setstate__(state)  # type: ignore[attr-defined]

    before = function.args
    give(arguments)
    try:
        yield
    finally:
        give(before)


@contextlib.contextmanager
def python_math(call: Callable[[str, Callable[..., Any], tuple[Any, ...]], Any]) -> Iterator[None]:
    """Calls another function in the place of those of `math`, in this thread.

    Args:
        call: is given the name of the function, the function, and its arguments.
    """

    def instead(name: str) -> Callable[..., Any]:
        function = original(math, name)
        return lambda *arguments: call(name, function, arguments)

    with patched(math, isclose=_isclose, **{name: instead(name) for name in _OF_NUMBERS}):
        yield


def _isclose(a: float, b: float, *, rel_tol: float = 1e-9, abs_tol: float = 0.0) -> bool:
    """`math.isclose`, whose tolerances have names, in operations that objects of numbers see."""
    if a == b:
        return True
    if math.inf in (abs(a), abs(b)):
        return False
    return bool(abs(a - b) <= max(rel_tol * max(abs(a), abs(b)), abs_tol))


# Functions of `math` that take a number and give one.
_OF_NUMBERS = [
    *("acos", "asin", "atan", "ceil", "cos", "cosh", "erf", "erfc", "exp", "exp2", "expm1", "fabs"),
    *("floor", "isfinite", "isinf", "isnan", "log", "log10", "log1p", "log2", "pow"),
    *("sin", "sinh", "sqrt", "tan", "tanh", "trunc"),
]


def original(owner: Any, name: str) -> Any:
    """The function of a class or of a module as it is in a thread that has replaced nothing.

    A new function that calls the old one asks here: another thread may have replaced the
    function too, and an attribute that is simply read would be the switch between all of them.
    """
    function = getattr(owner, name)
    return getattr(function, _ORIGINAL, function)


def replace(owner: Any, name: str, value: Any) -> None:
    """Gives an object another attribute for good, past the object's own `__setattr__`.

    Args:
        owner: an object that is no class and no module.
        name: the name of the attribute.
        value: the new attribute.
    """
    object.__setattr__(owner, name, value)


@contextlib.contextmanager
def _replaced(owner: Any, values: dict[str, Any]) -> Iterator[None]:
    put, take = _accessors(owner)
    before: dict[str, Any] = {}
    try:
        for name, value in values.items():
            held = _held(owner, name)
            put(name, value)
            before[name] = held
        yield
    finally:
        for name, held in before.items():
            if held is _MISSING:
                take(name)
            else:
                put(name, held)


def _held(owner: Any, name: str) -> Any:
    """The value that an object itself has under a name, in its dictionary or in a slot."""
    held = getattr(owner, "__dict__", {})
    if name not in held and isinstance(getattr(type(owner), name, None), _Slot):
        return getattr(owner, name, _MISSING)
    return held.get(name, _MISSING)


def _accessors(owner: Any) -> tuple[Callable[[str, Any], None], Callable[[str], None]]:
    if isinstance(owner, (type, types.ModuleType)):
        return functools.partial(setattr, owner), functools.partial(delattr, owner)
    return (
        functools.partial(object.__setattr__, owner),
        functools.partial(object.__delattr__, owner),
    )


class _Switch:
    """One function of a class or a module, and what some threads have in its place."""

    def __init__(self, owner: Any, name: str) -> None:
        self.held = vars(owner).get(name, _MISSING)
        held = inspect.getattr_static(owner, name)
        if isinstance(held, classmethod):
            raise TypeError(f"`patched` replaces no class method. Received: {owner}.{name}")
        original = getattr(owner, name)
        self.of_threads: dict[int, list[Any]] = {}

        @functools.wraps(original)
        def switch(*args: Any, **kwargs: Any) -> Any:
            own = self.of_threads.get(threading.get_ident())
            return (own[-1] if own else original)(*args, **kwargs)

        setattr(switch, _ORIGINAL, original)
        setattr(owner, name, staticmethod(switch) if isinstance(held, staticmethod) else switch)

    def remove(self, owner: Any, name: str) -> None:
        if self.held is _MISSING:
            delattr(owner, name)
        else:
            setattr(owner, name, self.held)


_switches: dict[tuple[int, str], _Switch] = {}


@contextlib.contextmanager
def _switched(owner: Any, name: str, value: Any) -> Iterator[None]:
    # Threads enter and leave in any order: the switch stays until the last of them is done.
    key, thread = (id(owner), name), threading.get_ident()
    with _lock:
        if key not in _switches:
            _switches[key] = _Switch(owner, name)
        _switches[key].of_threads.setdefault(thread, []).append(value)
    try:
        yield
    finally:
        with _lock:
            of_threads = _switches[key].of_threads
            of_threads[thread].pop()
            if not of_threads[thread]:
                del of_threads[thread]
            if not of_threads:
                _switches.pop(key).remove(owner, name)
