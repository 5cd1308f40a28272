"""The user's own code of a trial, in a thread that rests while the trial's model is trained.

A hypermodel says by its own `fit`, and a tuner by its own `run_trial`, how a trial is trained, and
may do anything before, after and around it. That code runs once, in a thread. Where it calls
`model.fit`, the thread rests until the training is done, as a lane among others or by Keras. Only
one thread runs at any time: the one that called `TrialThread.advance`, or the trial's.

What belongs to the whole process and not to a thread, such as the current folder, `sys.stdout` or
NumPy's random state, is changed by code that means its own trial. So each trial has its own
`Surroundings`, which are put in place while its code runs.
"""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from kerasreg._keras.internals import adopt_thread_settings, thread_settings
from kerasreg._keras.patching import original, patched
from kerasreg._keras.surroundings import Surroundings
from kerasreg._overrides import has_own

# After so many interrupts the thread hears nothing, and is left.
_MOST_INTERRUPTS = 3


class Abandoned(BaseException):
    """Is raised where a trial's code rests when the search ends: no error of the trial's."""


class TrialThread:
    """Runs a function in a thread that can rest, and be gone on with.

    Args:
        function: the function. It calls `rest` to give a request to who called `advance`.
        name: the name of the thread.
        owners: objects to whose attributes the function writes, and other trials too.

    Attributes:
        request: what the function asked for when it came to rest.
        done: whether the function has ended.
        surroundings: what the function found around it when it came to rest.
    """

    def __init__(
        self, function: Callable[[TrialThread], Any], name: str, owners: Sequence[Any] = ()
    ) -> None:
        self.request: Any = None
        self.done = False
        self.surroundings: Surroundings | None = None
        self._function = function
        self._attributes = OwnAttributes(owners)
        self._result: Any = None
        self._error: BaseException | None = None
        self._answer: Callable[[], Any] = lambda: None
        self._settings: Any = None
        self._rests, self._goes_on = threading.Event(), threading.Event()
        context, settings = contextvars.copy_context(), thread_settings()
        # KerasTuner tells threads by their names.
        self._thread = threading.Thread(
            target=context.run, args=(self._run, settings), name=name, daemon=True
        )

    def advance(self, answer: Callable[[], Any] | None = None) -> None:
        """Lets the function run until it rests or ends.

        An interrupt while it runs is raised in the function, where it would be if there were no
        thread.

        Args:
            answer: called in the thread where it rests: gives the result of `rest`, or raises.
        """
        first, outside = self.surroundings is None, Surroundings()
        if self.surroundings is not None:
            self.surroundings.restore()
        self._answer = answer or (lambda: None)
        self._rests.clear()
        self._attributes.enter()
        self._goes_on.set()
        if first:
            self._thread.start()
        try:
            self._wait()
        finally:
            self._attributes.leave()
            self.surroundings = Surroundings()
            if not (first and self.done):  # Else it was a call like any other.
                # The next trial draws other numbers than this one did.
                outside.restore(random_numbers=not first)
            if first and self._settings is not None:
                adopt_thread_settings(self._settings, only_seeds=not self.done)
            self._settings = None

    def around(self, callback: Any) -> Any:
        """A callback that finds, when it is called, what surrounds the function.

        Args:
            callback: a Keras callback.

        Returns:
            The callback, or one that calls it.
        """
        root = type(callback).__module__.partition(".")[0]
        assert self.surroundings is not None  # It rests.
        if root in ("keras", "kerasreg") and not self.surroundings.writes_elsewhere():
            return callback
        return _surrounded(callback, self)

    def result(self) -> Any:
        """What the function returned, or raises what the function raised."""
        if self._error is not None:
            raise self._error
        return self._result

    def close(self) -> None:
        """Ends the function where it rests, so that it leaves what it has entered."""

        def end() -> Any:
            raise Abandoned

        # A function may rest again on its way out.
        while self.surroundings is not None and not self.done:
            self.advance(end)

    def rest(self, request: Any) -> Any:
        """Is called by the function: gives a request away, and rests until it is answered."""
        self.request = request
        self._pause()
        self._goes_on.wait()
        self._goes_on.clear()
        self.request, answer, self._answer = None, self._answer, lambda: None
        return answer()

    def _pause(self) -> None:
        self._settings = thread_settings()
        self._rests.set()

    def _run(self, settings: Any) -> None:
        self._goes_on.clear()
        adopt_thread_settings(settings)
        try:
            with self._attributes.noted():
                self._result = self._function(self)
        except BaseException as error:
            self._error = error
        self.done = True
        del self._function  # And what it holds.
        self._pause()

    def _wait(self) -> None:
        interrupts = 0
        while not self._rests.is_set():
            try:
                self._rests.wait()
            except KeyboardInterrupt:
                interrupts += 1
                if self._rests.is_set() or interrupts >= _MOST_INTERRUPTS:
                    raise
                _raise_in(self._thread, KeyboardInterrupt)


def _raise_in(thread: threading.Thread, error: type[BaseException]) -> None:
    identity = ctypes.c_ulong(thread.ident or 0)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(identity, ctypes.py_object(error))


_HOOKS = [name for name in dir(keras.callbacks.Callback) if name.startswith("on_")]


def _surrounded(callback: Any, thread: TrialThread) -> Any:
    """A stand-in for a callback, which has just the hooks that the callback has."""

    def delegate(name: str) -> Callable[..., Any]:
        def hook(self: Any, *args: Any, **kwargs: Any) -> Any:
            assert thread.surroundings is not None
            with thread.surroundings.entered():
                return getattr(callback, name)(*args, **kwargs)

        return hook

    base = keras.callbacks.Callback
    names = [name for name in _HOOKS if has_own(callback, name, base)]
    members: dict[str, Any] = {name: delegate(name) for name in ("set_model", *names)}
    # For those who ask which kind of callback it is, and for its numbers.
    members["__class__"] = property(lambda self: type(callback))
    members["__getattr__"] = lambda self, name: getattr(callback, name)
    return type(f"Surrounded{type(callback).__name__}", (base,), members)()


_MISSING = object()


class OwnAttributes:
    """What the code of one trial wrote to the attributes of objects that all trials share.

    Each trial finds what it wrote itself, and of everything else what was written last. So an
    attribute can be used as a variable of a trial, and as a count or a record of all trials.

    Args:
        owners: the objects.
    """

    def __init__(self, owners: Sequence[Any]) -> None:
        self._objects = [owner for owner in owners if hasattr(owner, "__dict__")]
        self._owners = [vars(owner) for owner in self._objects]
        self._written: list[set[str]] = [set() for _ in self._owners]
        self._own: list[dict[str, Any]] = [{} for _ in self._owners]
        self._outside: list[dict[str, Any]] = []
        self._entered: list[dict[str, Any]] = []

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """Notes what this thread writes, also where it is what is there already."""
        with contextlib.ExitStack() as stack:
            for kind in {type(owner) for owner in self._objects}:
                assign = original(kind, "__setattr__")

                def note(owner: Any, name: str, value: Any, assign: Any = assign) -> None:
                    assign(owner, name, value)
                    for one, written in zip(self._objects, self._written, strict=True):
                        if one is owner:
                            written.add(name)

                stack.enter_context(patched(kind, __setattr__=note))
            yield

    def enter(self) -> None:
        """Lets the objects have what the trial wrote."""
        self._outside = [dict(owner) for owner in self._owners]
        for owner, own in zip(self._owners, self._own, strict=True):
            _put(owner, own)
        self._entered = [dict(owner) for owner in self._owners]

    def leave(self) -> None:
        """Lets the objects have what others wrote, and what the trial has written since."""
        every = zip(
            self._owners, self._own, self._entered, self._outside, self._written, strict=True
        )
        for owner, own, entered, outside, written in every:
            changes = {
                name: owner.get(name, _MISSING)
                for name in {**entered, **owner}
                if name in written or owner.get(name, _MISSING) is not entered.get(name, _MISSING)
            }
            written.clear()
            _put(owner, {name: outside.get(name, _MISSING) for name in own if name not in changes})
            own.update(changes)


def _put(attributes: dict[str, Any], values: dict[str, Any]) -> None:
    for name, value in values.items():
        if value is _MISSING:
            attributes.pop(name, None)
        else:
            attributes[name] = value
