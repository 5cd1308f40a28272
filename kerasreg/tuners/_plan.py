"""What a trial would train: the model that it builds, and how it calls `model.fit`.

A hypermodel says by its own `fit` how a trial is trained, and may do anything
before and after it calls `model.fit`. So its `fit` is run twice: the first time
to the call, which is kept and broken off; then, with the training done, a second
time with the history in the place of the call.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
from typing import Any

import keras
import numpy as np

from kerasreg.lanes import Lanes
from kerasreg.lanes._refusal import refusal
from kerasreg.lanes._structure import Structure

# Arguments of `model.fit` that lanes have too.
_COMMON = frozenset(
    [
        "x",
        "y",
        "batch_size",
        "epochs",
        "initial_epoch",
        "validation_data",
        "validation_split",
        "validation_batch_size",
        "sample_weight",
        "class_weight",
        "shuffle",
        "callbacks",
    ]
)
# And those that change nothing where they are as they are by default.
_DEFAULTS = {"steps_per_epoch": None, "validation_steps": None, "validation_freq": 1}


class _Reached(BaseException):
    """The call of `model.fit`: no error, so that no hypermodel takes it for one."""


class Plan:
    """One execution of a trial: its model, and the training that it asks for.

    Args:
        trial: a KerasTuner trial.
        execution: the number of the execution of the trial.
        model: what the hypermodel built.

    Attributes:
        arguments: those of the call of `model.fit`; None if there was none.
        result: what the hypermodel's `fit` gave.
        history: of the training.
        error: what was raised while training.
    """

    def __init__(self, trial: Any, execution: int, model: keras.Model) -> None:
        self.trial = trial
        self.execution = execution
        self.model = model
        self.structure = Structure(model) if refusal(model) is None else None
        self.arguments: dict[str, Any] | None = None
        self.history: Any = None
        self.result: Any = None
        self.error: Exception | None = None

    def reach(self, hypermodel: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Runs the hypermodel's `fit` up to its call of `model.fit`."""

        def fit(*of_fit: Any, **named: Any) -> Any:
            bound = inspect.signature(type(self.model).fit).bind(self.model, *of_fit, **named)
            self.arguments = {k: v for k, v in bound.arguments.items() if k != "self"}
            raise _Reached

        with contextlib.suppress(_Reached):
            self.result = self._run(hypermodel, fit, args, kwargs)

    def finish(self, hypermodel: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Runs the hypermodel's `fit` with the training done; what it gives."""
        if self.error is not None:
            raise self.error
        if self.arguments is None:
            return self.result
        pending = [self.history]
        real_fit = self.model.fit

        def fit(*of_fit: Any, **named: Any) -> Any:
            # A second training of a trial is its own, and is not shared.
            return pending.pop() if pending else real_fit(*of_fit, **named)

        return self._run(hypermodel, fit, args, kwargs)

    def _run(self, hypermodel: Any, fit: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # On the object, past Keras' tracking of attributes.
        object.__setattr__(self.model, "fit", fit)
        try:
            return hypermodel.fit(self.trial.hyperparameters, self.model, *args, **kwargs)
        finally:
            self.model.__dict__.pop("fit", None)

    def key(self, digests: Digests) -> Any:
        """Equal for plans that one program can train; None for those that none can."""
        if self.structure is None or self.arguments is None:
            return None
        given = dict(self.arguments)
        for name, default in _DEFAULTS.items():
            if given.pop(name, default) != default:
                return None
        given.pop("verbose", None)
        given.pop("callbacks", None)
        if not set(given) <= _COMMON:
            return None
        data = [given.pop(name, None) for name in ("x", "y", "sample_weight", "validation_data")]
        if not all(is_arrays(part) for part in data):
            return None
        return self.structure.tokens, digests.of(data), repr(sorted(given.items()))

    def train_alone(self) -> None:
        """Trains the model by Keras."""
        assert self.arguments is not None
        self.history = type(self.model).fit(self.model, **{**self.arguments, "verbose": 0})


def train_together(plans: list[Plan], seed: int, jit_compile: bool | str, **more: Any) -> Lanes:
    """Trains plans of equal keys as lanes; each gets its history."""
    lanes = Lanes([plan.model for plan in plans], jit_compile)
    given = {k: v for k, v in (plans[0].arguments or {}).items() if k in _COMMON}
    given["callbacks"] = [list((plan.arguments or {}).get("callbacks") or ()) for plan in plans]
    # None is Keras' word for its default.
    given = {k: v for k, v in given.items() if v is not None}
    watch = more.pop("watch")
    histories = lanes.fit(**given, seed=seed, on_epoch_end=lambda *now: watch(lanes, *now))
    for lane, (plan, history) in enumerate(zip(plans, histories, strict=True)):
        plan.history, plan.error = history, history.error
        lanes.unstack(lane, slots=False)
    return lanes


class Digests:
    """Hashes of the contents of arrays, each array looked at once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, str]] = {}

    def of(self, data: Any) -> Any:
        """A hash of a structure of arrays."""
        return keras.tree.map_structure(self._of_array, data).__repr__()

    def _of_array(self, array: Any) -> str:
        if array is None:
            return "None"
        if id(array) not in self._known:
            plain = np.ascontiguousarray(np.asarray(array))
            content = hashlib.blake2b(plain.tobytes()).hexdigest()
            # The array is kept, so that its id stays its own.
            self._known[id(array)] = array, f"{plain.dtype} {plain.shape} {content}"
        return self._known[id(array)][1]


def is_arrays(data: Any) -> bool:
    """Whether it is arrays in memory, or nothing, and no stream of batches."""
    return all(
        part is None or (hasattr(part, "__array__") and hasattr(part, "shape"))
        for part in keras.tree.flatten(data)
    )
