"""A trial while it runs, and its trainings: calls of `model.fit` that may become lanes."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import re
import traceback
import types
import weakref
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import keras_tuner
import numpy as np

from kerasreg._keras.batches import has_no_end
from kerasreg._keras.class_weights import is_class_weight
from kerasreg._keras.deferred_variables import deferred_variables
from kerasreg._keras.internals import (
    as_keras_arrays,
    build_by_batch,
    rows_for_fit,
)
from kerasreg._keras.patching import original
from kerasreg._keras.rows import are_rows, as_keras_rows, is_sparse
from kerasreg._keras.streams import contents_of, example_of, is_generator, is_stream
from kerasreg.lanes import (
    DerivedModel,
    LaneState,
    ModelStructure,
    why_not_a_lane,
    why_not_resumable,
)
from kerasreg.tuners._callback_places import places_of
from kerasreg.tuners._trial_thread import TrialThread

# An execution of a trial and one of its folds, if it has folds.
Which = tuple[int, int | None]
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
        "steps_per_epoch",
        "validation_steps",
        "validation_freq",
        "sample_weight",
        "class_weight",
        "shuffle",
        "callbacks",
    ]
)
# Of an array in a file with more bytes, the contents are not compared.
_MOST_READ = 2**28
# The number of batches of each of those that may be streams.
_STEPS = {"x": "steps_per_epoch", "validation_data": "validation_steps"}
_DATA = ("x", "y", "sample_weight", "validation_data")


class Plan:
    """One training of a trial: a call of `model.fit`.

    Facts about the model are taken when the plan is made, which is when `model.fit` is called.

    Args:
        trial: a KerasTuner trial.
        execution: the number of the execution of the trial.
        model: the model that is to be trained, or what it is derived from.
        fit: the method of the model that trains it by Keras; None for the one that it has.
        call: the positional and the keyword arguments of the call.
        fold: the number of the fold, or None.
        thread: the thread that rests in the call; None if no code of the user's waits for it.
        watched: whether the epochs of the training are those of the trial: its intermediate
            results, and its weights if they are the best. They are also if its callbacks say so.

    Attributes:
        was_built: whether the model was built before.
        structure: the structure of the model; None if the model cannot be a lane.
        wide: the wider model whose program trains the model, and its structure; None if the model
            is not padded.
        why_not_padded: why the model is not padded, where others of the search are wider.
        arguments: the arguments of `fit` by name; None if `fit` is not Keras' own.
        places: the places that callbacks write to, each after the name of the callback's class.
        rows: the rows of the fold: for training and for validation.
        key: equal for plans that one program can train; None for a plan that none can.
        why_alone: why no program can train it, in words.
        history: the history of the training.
        error: the error that the training raised.
        state: what a checkpoint has of the training, if it goes on from there.
        joint: of a training that goes on, whether its best epoch is that of all folds together.
    """

    def __init__(
        self,
        trial: Any,
        execution: int,
        model: keras.Model | DerivedModel,
        fit: Callable[..., Any] | None,
        call: tuple[Sequence[Any], Mapping[str, Any]],
        *,
        fold: int | None = None,
        thread: TrialThread | None = None,
        watched: bool = True,
    ) -> None:
        self.trial = trial
        self.execution = execution
        self.lane_model = model
        self.why_alone: str | None = None
        self.structure: ModelStructure | None = None
        self.wide: tuple[keras.Model, ModelStructure] | None = None
        self.why_not_padded: str | None = None
        self.fold = fold
        self.thread = thread
        self.watched = watched
        self.rows: tuple[np.ndarray, np.ndarray] | None = None
        self.key: Any = None
        self.history: Any = None
        self.error: Exception | None = None
        self.state: LaneState | None = None
        self.joint: bool | None = None
        self._contents = ""  # Of the data and the arguments of the training, if it is a lane.
        self.its_model: Callable[[], contextlib.AbstractContextManager[None]] = (
            contextlib.nullcontext
        )
        template = self.template
        self.was_built = bool(template.built)
        self._reached = _Reached()
        self._fit = fit
        self._call = list(call[0]), dict(call[1])
        self.arguments = self._bound()
        self.watched |= any(isinstance(one, EpochReports) for one in self.all_callbacks)
        self.places = [
            (type(callback).__name__, place)
            for callback in self.callbacks()
            for place in places_of(callback)
        ]
        if not self.was_built:
            self.build(template)
        self.look_again()

    @property
    def model(self) -> keras.Model:
        """The model that is trained, which is built now if it was not."""
        given = self.lane_model
        return given.built[0] if isinstance(given, DerivedModel) else given

    @property
    def template(self) -> keras.Model:
        """A model of the same structure: the model itself, or the one that it is derived from."""
        given = self.lane_model
        return given.template if isinstance(given, DerivedModel) else given

    @property
    def program_model(self) -> keras.Model:
        """The model whose program trains the model, if lanes do."""
        return self.template if self.wide is None else self.wide[0]

    def look_again(self) -> None:
        """Finds the structure of the model as it is now."""
        given = self.lane_model
        if isinstance(given, DerivedModel):
            current = why_not_a_lane(given.template) is None
            if current and given.structure.is_current(given.template):
                self.structure = given.structure
                return
            self.lane_model = given.built[0]
        self.why_alone = why_not_a_lane(self.model)
        self.structure = None if self.why_alone else ModelStructure(self.model)

    def _bound(self) -> dict[str, Any] | None:
        keras_fit = original(keras.Model, "fit")
        if original(type(self.template), "fit") is not keras_fit:
            return None
        try:
            bound = _signature(keras_fit).bind(self.template, *self._call[0], **self._call[1])
        except TypeError:  # Keras says so when it is called.
            return None
        return {name: value for name, value in bound.arguments.items() if name != "self"}

    def build(self, model: keras.Model) -> None:
        """Builds a model without an `Input` as Keras does, by the first batch, if it can be.

        Args:
            model: the model of the training, or another one of the hypermodel's.
        """
        given = self.arguments
        if given is None or not getattr(model, "compiled", False):
            return
        with contextlib.suppress(Exception), deferred_variables():
            # What cannot be built so, Keras builds, or says why it cannot.
            batch = self._example(given)
            if batch is not None:
                build_by_batch(model, batch)

    def _example(self, given: Mapping[str, Any]) -> Any:
        """Some of the data of the training, if there are some to be looked at."""
        data = [given.get(name) for name in ("x", "y", "sample_weight")]
        if is_stream(data[0]):
            return example_of(data[0])
        if data[0] is None or not are_rows(data):
            return None
        size = given.get("batch_size") or 32
        # As tensors: NumPy has no type of text that Keras knows.
        return keras.tree.map_structure(
            lambda part: None if part is None else keras.ops.convert_to_tensor(part[:size]),
            tuple(as_keras_rows(data)),
        )

    def find_key(self, digests: Digests) -> None:
        """Finds the key, when the rows are known, or why there is none."""
        if self.why_alone is None:
            self.why_alone = self._why_not_shared()
        if self.why_alone is not None or self.structure is None:
            self.key = None
            return
        given = self._lane_arguments()
        try:
            data = digests.of([given.pop(name, None) for name in _DATA])
        except ValueError as error:  # Keras refuses it, and says so.
            self.key, self.why_alone = None, str(error)
            return
        folded = self.rows is not None
        # A stream is known by the object, which another process does not have.
        lasting = re.sub("stream [^,)}\\]]*", "stream", data)
        self._contents = f"{lasting} {sorted(given.items())!r}"
        shared = self.structure if self.wide is None else self.wide[1]
        weighted = self.class_weight is not None
        self.key = digests.same(
            (shared.tokens, folded, weighted, data, repr(sorted(given.items())))
        )

    def _why_not_shared(self) -> str | None:
        if self.arguments is None:
            return "`model.fit` is not called as Keras' own"
        given = self._lane_arguments()
        if unknown := sorted(set(given) - _COMMON):
            return f"`model.fit` is called with {', '.join(unknown)}"
        if self.rows is not None:
            for name in _STEPS.values():
                if given.get(name) is not None:
                    return f"`model.fit` is called with {name}={given[name]!r} for data in folds"
        streams = self._streams()
        for name, stream in streams.items():
            if is_generator(stream) and given.get(_STEPS[name]) is None:
                return (
                    f"`{name}` is a generator, of which a training takes all batches where "
                    f"there are no `{_STEPS[name]}`"
                )
        for name in _DATA:
            part = given.get(name)
            if name in streams:
                continue
            if not are_rows(part):
                kinds = {type(p).__name__ for p in keras.tree.flatten(part) if not are_rows(p)}
                return (
                    f"`{name}` is no array but a {', '.join(sorted(kinds))}; give arrays, a "
                    "tf.data.Dataset or a PyDataset to train trials together"
                )
        return None

    def check(self, own_batches: bool) -> None:
        """Refuses a training that would never end, or cannot be as it was asked for.

        Args:
            own_batches: whether each training is to have an order of its batches.

        Raises:
            keras_tuner.errors.FatalValueError: if data have no end, and no number of steps; or
                their batches are those of all trainings.
        """
        given = self.arguments or {}
        streams = self._streams()
        if own_batches and ("x" in streams or given.get("steps_per_epoch") is not None):
            raise keras_tuner.errors.FatalValueError(
                '`batches` must be "shared" where the data are read batch by batch, which all '
                "trials see in one order; give arrays, and no `steps_per_epoch`. Received: "
                'batches="own"'
            )
        for name, stream in streams.items():
            steps = _STEPS[name]
            if given.get(steps) is None and has_no_end(stream):
                raise keras_tuner.errors.FatalValueError(
                    f"`{steps}` must be a whole number >= 1 for data without an end, such as a "
                    f"repeated dataset. Received: {steps}=None, and {name}={stream!r}"
                )

    def _streams(self) -> dict[str, Any]:
        """The arguments that are streams, such as datasets."""
        given = self.arguments or {}
        x, validation = given.get("x"), given.get("validation_data")
        if isinstance(validation, (list, tuple)) and validation:
            validation = validation[0]
        found = {"x": x, "validation_data": validation}
        return {name: part for name, part in found.items() if is_stream(part)}

    def _lane_arguments(self) -> dict[str, Any]:
        """The arguments that lanes of one program must have in common, if there are some."""
        # Lanes may have their own of these.
        own = {"verbose", "callbacks", "epochs", "initial_epoch"}
        given = self.arguments or {}
        if self.class_weight is not None:
            own.add("class_weight")
        return {name: value for name, value in given.items() if name not in own}

    @property
    def class_weight(self) -> Mapping[int, float] | None:
        """The weights of classes of the training, which other lanes of the program may not have."""
        found = (self.arguments or {}).get("class_weight")
        return found if is_class_weight(found) else None

    def common_arguments(self) -> dict[str, Any]:
        """The arguments of `Lanes.fit` for plans of equal keys, but callbacks and rows."""
        given = self._lane_arguments()
        if self.rows is not None:
            data = [given.get(name) for name in ("x", "y", "sample_weight")]
            given["validation_data"] = tuple(part for part in data if part is not None)
        # None is Keras' word for its default.
        return {name: value for name, value in given.items() if value is not None}

    @property
    def all_callbacks(self) -> list[Any]:
        """The callbacks of the call."""
        given = self._call[1] if self.arguments is None else self.arguments
        found = given.get("callbacks")
        if found is None:
            return []
        if isinstance(found, keras.callbacks.CallbackList):
            return list(found.callbacks)
        return list(keras.tree.flatten(found))

    def callbacks(self) -> list[Any]:
        """The callbacks of the call but those that report to the search, which the lanes do."""
        return [one for one in self.all_callbacks if not isinstance(one, EpochReports)]

    def callbacks_of_lane(self) -> list[Any]:
        """The callbacks of the training as a lane.

        Those of the user's own find what the trial's code left. Where there are some, another one
        takes the place of the reports to the search: what is called before it and raises leaves
        no epoch to report, as with KerasTuner, and what is called after it does.
        """
        if not self.callbacks():
            return []
        every = list(self.all_callbacks)
        if self.watched and not any(isinstance(one, EpochReports) for one in every):
            every.append(self._reached)
        found = [self._reached if isinstance(one, EpochReports) else one for one in every]
        return found if self.thread is None else [self.thread.around(one) for one in found]

    def seed(self, of_search: int) -> int:
        """The seed of an order of the batches that no other training of the search has.

        Args:
            of_search: the seed of the search.
        """
        which = zlib.crc32(str(self.trial.trial_id).encode())
        fold = -1 if self.fold is None else self.fold
        entropy = [of_search, which, self.execution, fold + 1]
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])

    @property
    def which(self) -> Which:
        """The execution and the fold of the training."""
        return self.execution, self.fold

    def why_not_resumable(self) -> str | None:
        """Why no checkpoint can have the training, if it is a lane; None if one can."""
        if self.thread is not None:
            return "code of the user's waits for its trainings"
        reasons = map(why_not_resumable, self.callbacks_of_lane())
        return next((f"its callback {reason}" for reason in reasons if reason is not None), None)

    def outline(self, of_search: int) -> dict[str, str]:
        """What is equal for two trainings of which one can go on with the state of the other.

        Args:
            of_search: the seed of the search.
        """
        model, first, last = self.template, *self.epochs()
        shapes = [(tuple(one.shape), str(one.dtype)) for one in model.variables]
        rows = hashlib.sha256()
        for of in self.rows or ():
            rows.update(np.ascontiguousarray(of).tobytes())
        assert self.structure is not None  # It is a lane.
        return {
            "model": f"{shapes} {type(model.optimizer).__name__} {_digest(self.structure)}",
            "data": hashlib.sha256(self._contents.encode()).hexdigest(),
            "folds": rows.hexdigest(),
            "epochs": f"{first} to {last}",
            "seed": str(of_search),
            "callbacks": str([type(one).__name__ for one in self.callbacks_of_lane()]),
        }

    def unlike_numbers(self, numbers: Sequence[tuple[str, float]]) -> str | None:
        """The names of the numbers of the model that are others than in a checkpoint, or None.

        Seeds are drawn anew for each model. Which numbers there are may be known only when the
        program is traced.
        """
        assert self.structure is not None  # It is a lane.
        mine = [(one.name, one.value) for one in self.structure.scalars if one.name != "seed"]
        theirs = [(name, value) for name, value in numbers if name != "seed"]
        if [name for name, _ in mine] != [name for name, _ in theirs]:
            return None
        unlike = [name for (name, now), (_, then) in zip(mine, theirs, strict=True) if now != then]
        return ", ".join(map(repr, dict.fromkeys(unlike))) or None

    def has_reached(self, epoch: int) -> bool:
        """Whether an epoch of the lane is one to report: no callback raised before that."""
        return not self.callbacks() or self._reached.epoch == epoch

    def epochs(self) -> tuple[int, int]:
        """The first epoch and the last one of the call."""
        given = self.arguments or {}
        return given.get("initial_epoch") or 0, given.get("epochs") or 1

    @property
    def epochs_left(self) -> int:
        """How many epochs the training has before it, when it begins or goes on."""
        first, last = self.epochs()
        return last - (first if self.state is None else self.state.epoch)

    def train_by_keras(self, reports: EpochReports) -> Any:
        """Trains the model by Keras, and returns what its `fit` returns.

        Args:
            reports: is added to the callbacks if the epochs are those of the trial.
        """
        args, kwargs = self._call
        given = dict(kwargs if self.arguments is None else self.arguments)
        callbacks = self.all_callbacks
        if self.watched and not any(isinstance(one, EpochReports) for one in callbacks):
            callbacks.append(reports)
        given["callbacks"] = callbacks
        if self.rows is not None:
            names = ("x", "y", "sample_weight")
            data = [given.get(name) for name in names]
            given |= dict(zip(names, rows_for_fit(data, self.rows[0]), strict=True))
            given["validation_data"] = tuple(
                part for part in rows_for_fit(data, self.rows[1]) if part is not None
            )
        fit = self.model.fit if self._fit is None else self._fit
        return fit(*(args if self.arguments is None else ()), **given)


@functools.cache
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(function)


def _digest(structure: ModelStructure) -> str:
    """A hash of the structure of a model, which is the same in another process.

    Numbers are left out: which of them decide on the program is found out while it is traced.
    """
    kept = [_lasting(one) for one in structure.tokens if one[0] not in ("number", "float")]
    return hashlib.sha256(repr(kept).encode()).hexdigest()


def _lasting(token: Any) -> str:
    """A part of a token as text, without addresses in memory."""
    if isinstance(token, (type(None), bool, int, float, str, bytes)):
        return repr(token)
    if isinstance(token, (tuple, list)):
        return f"({', '.join(map(_lasting, token))})"
    if isinstance(token, type):
        return f"{token.__module__}.{token.__qualname__}"
    if isinstance(token, types.CodeType):
        return f"{token.co_name} {token.co_code.hex()} {_lasting(token.co_consts)}"
    return type(token).__name__


class EpochReports(keras.callbacks.Callback):
    """Tells a search of the epochs of a trial that Keras trains, or a loop of the user's.

    Args:
        tell: is called with the model, the number of the epoch and its logs, and says whether
            the training is to end.
    """

    def __init__(self, tell: Callable[[Any, int, dict[str, Any]], bool]) -> None:
        super().__init__()
        self._tell = tell

    def __deepcopy__(self, memory: Any) -> EpochReports:
        return self  # The search is one.

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._tell(self.model, epoch, dict(logs or {})):
            self.model.stop_training = True


class _Reached(keras.callbacks.Callback):
    """Keeps the number of the last epoch at whose end it was called.

    Attributes:
        epoch: the number of the epoch, or None.
    """

    epoch: int | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epoch = epoch


class RunningTrial:
    """A trial and its trainings: executions and folds.

    Args:
        trial: a KerasTuner trial.
        objective: a KerasTuner objective.
        trainings: how many trainings report each epoch.

    Attributes:
        thread: the thread that runs the user's code of the trial, if there is some.
        plans: the trainings of the trial that were prepared.
        results: what own code returned, a result for each training.
        histories: of a trial without own code, those of the trainings that are done.
        left: how many trainings are not done.
        best: the weights of the best epoch of the best training.
        kept: the weights of the best epoch of each training, by its execution and its fold.
        stopped_by: what ended the trial early, or None.
        told: whether the oracle was told of intermediate results.
        reports: the epochs that all trainings have had, with the means of their results.
        reported_itself: whether own code has told the oracle of the results.
        now: the execution and the fold that own code trains now, and their model.
        replicated: under a strategy, what was called of `kerasreg.distribute`, else None.
    """

    def __init__(self, trial: Any, objective: Any, trainings: int) -> None:
        self.trial = trial
        self.objective = objective
        self.thread: TrialThread | None = None
        self.plans: list[Plan] = []
        self.results: list[Any] = []
        self.left = 0
        self.stopped_by: str | None = None
        self.told = self.reported_itself = False
        self.now: tuple[int, int | None, Any] = (0, None, None)
        self.replicated: list[str] | None = None
        self.best: list[np.ndarray] = []
        self.kept: dict[Which, list[np.ndarray]] = {}
        self._apart: dict[Which, tuple[float, list[np.ndarray]]] = {}
        self.histories: dict[Which, Any] = {}
        self._scores: dict[Which, float | None] = {}
        self._trainings = trainings
        self._score: float | None = None
        self._epochs: dict[int, list[dict[str, float]]] = {}
        self.reports: list[tuple[int, dict[str, float]]] = []
        self._resumed: dict[str, Any] | None = None

    def add(self, plan: Plan) -> None:
        """Takes one more training."""
        self.plans.append(plan)
        self.left += 1

    @property
    def executions(self) -> list[list[Any]]:
        """The results of the folds of each execution; of own code, all of them."""
        if not self.histories:
            return [self.results]
        found: dict[int, list[Any]] = {}
        for execution, fold in sorted(self.histories, key=_order):
            found.setdefault(execution, []).append(self.histories[execution, fold])
        return list(found.values())

    def keep(self, score: float | None, values: list[np.ndarray], which: Which) -> None:
        """Takes the weights of a training's best epoch.

        As KerasTuner's: where the logs do not have the objective, the last epoch is the best.

        Args:
            score: the objective then; None if it is not known.
            values: the weights.
            which: the execution and the fold of the training.
        """
        if self._is_better(score, self._scores.get(which)):
            self._scores[which] = self._scores.get(which) if score is None else score
            self.kept[which] = values
        if self._is_better(score, self._score):
            self._score = self._score if score is None else score
            self.best = values

    def keep_apart(self, score: float, values: list[np.ndarray], which: Which) -> None:
        """Takes the weights of a fold at the epoch that the other folds choose.

        Args:
            score: the objective of the other folds then.
            values: the weights.
            which: the execution and the fold of the training.
        """
        known = self._apart.get(which)
        if known is None or self._is_better(score, known[0]):
            self._apart[which] = score, values

    @property
    def apart(self) -> dict[Which, list[np.ndarray]]:
        """The weights that `keep_apart` has taken, where they are not those of the best epoch."""
        return {
            which: values
            for which, (_, values) in self._apart.items()
            if not all(map(np.array_equal, self.kept.get(which, []), values))
        }

    def keep_model(self, model: Any, logs: dict[str, Any], which: Which) -> None:
        """Takes the weights of a model after an epoch, if it is the best so far of the training."""
        score = self.objective.get_value(logs) if self.objective.has_value(logs) else None
        if self._is_better(score, self._scores.get(which)):
            values = [np.array(keras.ops.convert_to_numpy(v)) for v in model.variables]
            self.keep(score, values, which)

    def _is_better(self, score: float | None, best: float | None) -> bool:
        return score is None or best is None or bool(self.objective.better_than(score, best))

    def forget_epochs(self) -> None:
        """Forgets the epochs of trainings that begin again, where they have begun."""
        kept = self._resumed or {"epochs": {}, "reports": []}
        self._epochs = {epoch: list(of) for epoch, of in kept["epochs"].items()}
        self.reports = list(kept["reports"])
        self.told = False

    def record(self) -> dict[str, Any]:
        """What a checkpoint has of the trial, beside its trainings."""
        return {
            "stopped_by": self.stopped_by,
            "epochs": {epoch: list(of) for epoch, of in self._epochs.items()},
            "reports": list(self.reports),
            "kept": [(which, self._scores.get(which), of) for which, of in self.kept.items()],
            "apart": [(which, *of) for which, of in self._apart.items()],
            "histories": [
                (which, list(of.epoch), dict(of.history)) for which, of in self.histories.items()
            ],
        }

    def resume(self, record: Mapping[str, Any]) -> None:
        """Takes what `record` has returned in another process."""
        self._resumed = dict(record)
        self.stopped_by = record["stopped_by"]
        self.forget_epochs()
        for which, score, values in record["kept"]:
            self.keep(score, values, which)
        for which, score, values in record["apart"]:
            self.keep_apart(score, values, which)
        for which, epochs, metrics in record["histories"]:
            history = keras.callbacks.History()
            history.epoch, history.history = list(epochs), dict(metrics)
            self.histories[which] = history

    def seen(self, epoch: int, logs: dict[str, Any]) -> dict[str, float] | None:
        """Takes an epoch of one training; returns the means, if all have had that epoch."""
        plain = {name: value for name, value in logs.items() if np.ndim(value) == 0}
        of_epoch = self._epochs.setdefault(epoch, [])
        of_epoch.append(plain)
        if len(of_epoch) < self._trainings:
            return None
        del self._epochs[epoch]
        shared = [name for name in plain if all(name in logs for logs in of_epoch)]
        means = {name: float(np.mean([logs[name] for logs in of_epoch])) for name in shared}
        self.reports.append((epoch, means))
        return means


def _order(which: Which) -> tuple[int, int]:
    return which[0], which[1] or 0


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


class Digests:
    """Hashes of the contents of arrays, each array looked at once; and keys made of them.

    Streams, large arrays in files and sparse ones have the same contents if they are the same
    object, or datasets of which TensorFlow says so.
    """

    def __init__(self) -> None:
        self._streams: dict[int, tuple[Any, str]] = {}
        self._count = 0
        self._known: dict[int, tuple[Any, bytes, str]] = {}
        self._keys: dict[Any, Any] = {}

    def same(self, key: Any) -> Any:
        """One object for equal keys, which are long: to compare an object with itself is cheap."""
        return self._keys.setdefault(key, key)

    def of(self, data: Any) -> Any:
        """A hash of a structure of arrays."""
        return keras.tree.map_structure(self._of_part, data).__repr__()

    def _of_part(self, part: Any) -> str:
        if part is None:
            return "None"
        # Nor is a large file read, or what is sparse looked through.
        is_large = isinstance(part, np.memmap) and part.nbytes > _MOST_READ
        by_object = is_stream(part) or is_sparse(part) or is_large
        return self._of_object(part) if by_object else self._of_array(part)

    def _of_object(self, stream: Any) -> str:
        """A name of an object that no other has, also not when the object is gone."""
        key = id(stream)
        known = self._streams.get(key)
        if known is None or known[0]() is not stream:
            contents = contents_of(stream) if is_stream(stream) else None
            if contents is None:
                self._count += 1
                contents = str(self._count)
            gone = weakref.ref(stream, lambda _: self._streams.pop(key, None))
            known = self._streams[key] = gone, f"stream {contents}"
        return known[1]

    def _of_array(self, array: Any) -> str:
        # A table of several types would be one of objects.
        is_plain = isinstance(array, np.ndarray) or keras.ops.is_tensor(array)
        plain, key = np.asarray(array if is_plain else as_keras_arrays(array)), id(array)
        sample = _sample(plain)
        known = self._known.get(key)
        if known is not None and known[0]() is array and known[1] == sample:
            return known[2]
        content = hashlib.blake2b(_bytes(plain)).hexdigest()
        digest = f"{plain.dtype} {plain.shape} {content}"
        with contextlib.suppress(TypeError):  # Of what cannot be referred to weakly, no more.
            # The data of trials that have ended is not kept.
            self._known[key] = (
                weakref.ref(array, lambda _: self._known.pop(key, None)),
                sample,
                digest,
            )
        return digest


def _sample(array: np.ndarray) -> bytes:
    """Some of the elements of an array, which tell whether it was written to meanwhile."""
    flat = array.reshape(-1) if array.flags.c_contiguous else array.ravel()
    return bytes(_bytes(flat[:: max(1, flat.size // 4096)]))


def _bytes(array: np.ndarray) -> Any:
    """The contents of an array, of which no copy is made."""
    if array.dtype == object:  # Of objects, the bytes are where they are.
        return repr(array.tolist()).encode()
    return np.ascontiguousarray(array).reshape(-1).view("uint8").data
