"""A trial while it runs, and its trainings: the models that it builds, and how it trains them.

A hypermodel says by its own `fit` how a trial is trained, and may do anything
before and after it calls `model.fit`. So its `fit` is run twice: the first time
to the call, which is kept and broken off; then, with the training done, a second
time with the history in the place of the call.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import keras_tuner
import numpy as np

from kerasreg._keras.patching import patched
from kerasreg.lanes import ModelStructure, why_not_a_lane

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
    """One training of a trial: an execution of it, or a fold of one.

    Args:
        trial: a KerasTuner trial.
        execution: the number of the execution of the trial.
        model: the model that the hypermodel built.
        fold: the number of the fold, or None.

    Attributes:
        structure: the structure of the model; None if the model cannot be a lane.
        arguments: the arguments of the call of `model.fit`; None if there was no call.
        rows: the rows of the fold: for training and for validation.
        key: equal for plans that one program can train; None for a plan that none can.
        result: the result of the hypermodel's `fit`.
        history: the history of the training.
        error: the error that the training raised.
    """

    def __init__(
        self, trial: Any, execution: int, model: keras.Model, fold: int | None = None
    ) -> None:
        self.trial = trial
        self.execution = execution
        self.model = model
        self.fold = fold
        self.structure = ModelStructure(model) if why_not_a_lane(model) is None else None
        self.arguments: dict[str, Any] | None = None
        self.rows: tuple[np.ndarray, np.ndarray] | None = None
        self.key: Any = None
        self.history: Any = None
        self.result: Any = None
        self.error: Exception | None = None
        self._call: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})

    def reach_fit(self, hypermodel: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Runs the hypermodel's `fit` up to its call of `model.fit`."""
        self.arguments, self._call = None, (args, kwargs)

        def fit(*of_fit: Any, **named: Any) -> Any:
            bound = inspect.signature(type(self.model).fit).bind(self.model, *of_fit, **named)
            self.arguments = {k: v for k, v in bound.arguments.items() if k != "self"}
            raise _Reached

        with contextlib.suppress(_Reached):
            self.result = self._run(hypermodel, fit)

    def uses_model_after_fit(self, hypermodel: Any) -> bool:
        """Whether the hypermodel may ask the model for what it has learned."""
        return type(hypermodel).fit is not keras_tuner.HyperModel.fit

    def run_whole(self, hypermodel: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Runs the hypermodel's `fit` once, which trains."""
        self.result = hypermodel.fit(self.trial.hyperparameters, self.model, *args, **kwargs)

    def finish(self, hypermodel: Any) -> Any:
        """Runs the hypermodel's `fit` with the training done, and returns its result."""
        if self.error is not None:
            raise self.error
        if self.arguments is None:
            return self.result
        pending = [self.history]
        real_fit = self.model.fit

        def fit(*of_fit: Any, **named: Any) -> Any:
            # A second training of a trial is its own, and is not shared.
            return pending.pop() if pending else real_fit(*of_fit, **named)

        return self._run(hypermodel, fit)

    def _run(self, hypermodel: Any, fit: Any) -> Any:
        args, kwargs = self._call
        with patched(self.model, fit=fit):
            return hypermodel.fit(self.trial.hyperparameters, self.model, *args, **kwargs)

    def find_key(self, digests: Digests) -> None:
        """Finds the key, when the arguments and the rows are known."""
        self.key = self._key(digests)

    def _key(self, digests: Digests) -> Any:
        if self.structure is None or self.arguments is None:
            return None
        given = dict(self.arguments)
        for name, default in _DEFAULTS.items():
            if given.pop(name, default) != default:
                return None
        # Those that lanes of one program may have of their own.
        for name in ("verbose", "callbacks", "epochs", "initial_epoch"):
            given.pop(name, None)
        if not set(given) <= _COMMON:
            return None
        data = [given.pop(name, None) for name in ("x", "y", "sample_weight", "validation_data")]
        if not all(is_arrays(part) for part in data):
            return None
        folded = self.rows is not None
        return digests.same(
            (self.structure.tokens, folded, digests.of(data), repr(sorted(given.items())))
        )

    def common_arguments(self) -> dict[str, Any]:
        """The arguments of `Lanes.fit` for plans of equal keys, but callbacks and rows."""
        given = {k: v for k, v in (self.arguments or {}).items() if k in _COMMON}
        for name in ("callbacks", "epochs", "initial_epoch"):
            given.pop(name, None)
        if self.rows is not None:
            data = [given.get(name) for name in ("x", "y", "sample_weight")]
            given["validation_data"] = tuple(part for part in data if part is not None)
        # None is Keras' word for its default.
        return {name: value for name, value in given.items() if value is not None}

    def callbacks(self) -> list[Any]:
        """The callbacks of the call."""
        return list((self.arguments or {}).get("callbacks") or ())

    def epochs(self) -> tuple[int, int]:
        """The first epoch and the last one of the call."""
        given = self.arguments or {}
        return given.get("initial_epoch") or 0, given.get("epochs") or 1

    def train_alone(self, callbacks: Sequence[Any]) -> None:
        """Trains the model by Keras."""
        given = {**(self.arguments or {}), "verbose": 0}
        given["callbacks"] = [*(given.get("callbacks") or ()), *callbacks]
        if self.rows is not None:
            names = ("x", "y", "sample_weight")
            data = [given.get(name) for name in names]
            given |= dict(zip(names, _rows_of(data, self.rows[0]), strict=True))
            given["validation_data"] = tuple(
                part for part in _rows_of(data, self.rows[1]) if part is not None
            )
        self.history = type(self.model).fit(self.model, **given)


class RunningTrial:
    """A trial and its trainings: executions and folds.

    Args:
        trial: a KerasTuner trial.
        objective: a KerasTuner objective.

    Attributes:
        plans: the trainings of the trial.
        results: the results of the trainings that are done.
        left: how many trainings are not done.
        best: the weights of the best epoch of the best training.
        pruned: whether the trial was ended early.
    """

    def __init__(self, trial: Any, objective: Any) -> None:
        self.trial = trial
        self.objective = objective
        self.plans: list[Plan] = []
        self.results: list[Any] = []
        self.left = 0
        self.pruned = False
        self.best: list[np.ndarray] = []
        self._score: float | None = None
        self._epochs: dict[int, list[dict[str, float]]] = {}

    def add(self, plan: Plan) -> None:
        """Takes one more training."""
        self.plans.append(plan)
        self.left += 1

    def keep(self, score: float | None, values: list[np.ndarray]) -> None:
        """Takes the weights of a training's best epoch, if it is the best so far."""
        known = score is not None and self._score is not None
        if not self.best or (known and self.objective.better_than(score, self._score)):
            self._score, self.best = score, values

    def seen(self, epoch: int, logs: dict[str, Any]) -> dict[str, float] | None:
        """Takes an epoch of one training; returns the means, if all have had that epoch."""
        plain = {name: value for name, value in logs.items() if np.ndim(value) == 0}
        of_epoch = self._epochs.setdefault(epoch, [])
        of_epoch.append(plain)
        if len(of_epoch) < len(self.plans):
            return None
        del self._epochs[epoch]
        return {name: float(np.mean([logs[name] for logs in of_epoch])) for name in plain}


@contextlib.contextmanager
def failing(trial: Any) -> Iterator[None]:
    """Marks a trial as failed where KerasTuner would."""
    try:
        yield
    except Exception as error:
        if isinstance(error, keras_tuner.errors.FatalError):
            raise
        failed = isinstance(error, keras_tuner.errors.FailedTrialError)
        trial.status = "FAILED" if failed else "INVALID"
        trial.message = traceback.format_exc()


def _rows_of(data: Any, rows: np.ndarray) -> Any:
    return keras.tree.map_structure(
        lambda part: None if part is None else np.asarray(part)[rows], data
    )


class Digests:
    """Hashes of the contents of arrays, each array looked at once; and keys made of them."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, str]] = {}
        self._keys: dict[Any, Any] = {}

    def same(self, key: Any) -> Any:
        """One object for equal keys, which are long: to compare an object with itself is cheap."""
        return self._keys.setdefault(key, key)

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
