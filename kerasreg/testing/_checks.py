"""The checks: each is a function that raises `AssertionError`, and has a name.

Some ask a component alone. The others train with it; what a model can hold together is
trained together, and faults are told by component.
"""

from __future__ import annotations

import copy
import functools
import inspect
import json
import math
import pathlib
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg.regularizers import Penalty
from kerasreg.schedules import Hyperparameter, Schedule
from kerasreg.testing._documentation import check_documentation
from kerasreg.testing._training import (
    BATCHES,
    FEATURES,
    OPTIMIZER,
    Component,
    Interrupt,
    Interrupted,
    Make,
    Shapes,
    State,
    Training,
    acts_on_whole_models,
    dtype_policy,
    fit,
    groups,
    is_callback,
    is_optimizer,
    is_schedule,
    model_of_optimizers,
    owners,
    rounded,
    shape_for,
    state_of,
)

Refused = Mapping[str, Sequence[Any]]
Faults = dict[str, str]  # By component.

# The unit roundoffs of the types that compute.
ROUNDOFFS = {"float32": 2.0**-24, "mixed_float16": 2.0**-11, "mixed_bfloat16": 2.0**-8}
# Of weights and inputs of about 1, in six steps of several roundings each.
ROUNDINGS = 10.0
SEEN = 2 * ROUNDINGS * max(ROUNDOFFS.values())  # What would be seen in any precision.
EPOCHS = 3
RESUMED_EPOCHS = 4  # Of one that is stopped in the third.


# What is asked of a component alone.


def behaviour(component: Component, shape: tuple[int, ...] | None = None) -> Any:
    """What a component does, as numbers: two that are equal give equal ones."""
    if is_schedule(component):
        return [float(component(step)) for step in range(12)]
    if isinstance(component, Hyperparameter):
        values = [component.current(training) for training in (True, True, True, False)]
        return [None if each is None else float(each) for pair in values for each in pair]
    if is_callback(component):
        return component.get_config()
    if isinstance(component, keras.initializers.Initializer):
        return np.array(component(shape or (2, 2, 3, 4))).tolist()
    if is_optimizer(component):
        return [np.array(variable).tolist() for variable in component.variables] + _steps(component)
    if isinstance(component, keras.regularizers.Regularizer):
        w = np.linspace(-1, 1, 60, dtype="float32").reshape(20, 3)
        variables = getattr(component, "variables", [])
        return [float(component(w)), *(float(variable) for variable in variables)]
    size = shape or shape_for(component)
    x = np.linspace(-1, 1, 20 * int(np.prod(size)), dtype="float32").reshape(20, *size)
    keras.utils.set_random_seed(1)  # What is made here may draw weights.
    return [np.array(component(x, training=training)).tolist() for training in (True, True, False)]


def _steps(optimizer: keras.optimizers.Optimizer) -> list[Any]:
    """The weights after each of four steps of an optimizer that made none, and at the end."""
    variables = model_of_optimizers().trainable_variables
    optimizer.build(variables)
    found = []
    for step in range(4):
        sizes = [int(np.prod(variable.shape)) for variable in variables]
        gradients = [
            ops.convert_to_tensor(np.cos(step + np.arange(size)).reshape(variable.shape), "float32")
            for size, variable in zip(sizes, variables, strict=True)
        ]
        optimizer.apply(gradients, variables)
        found.append([np.array(variable).tolist() for variable in variables])
    optimizer.finalize_variable_values(variables)
    return [*found, [np.array(variable).tolist() for variable in variables]]


def config(make: Make, shape: tuple[int, ...] | None) -> None:
    """The config is JSON and makes an equal component."""
    component = make()
    given = json.loads(json.dumps(component.get_config(), allow_nan=False))
    again = type(component).from_config(given)
    assert type(again) is type(component), f"the config makes a {type(again).__name__}"
    _equal(again.get_config(), component.get_config(), "the config of what the config makes")
    # A config that forgets an argument is equal to itself.
    for argument in set(inspect.signature(type(component)).parameters) - set(given):
        one, other = (getattr(each, argument, None) for each in (component, again))
        if isinstance(one, bool | int | float | str):
            _equal(other, one, f"`{argument}` of what the config makes")
    _equal(behaviour(again, shape), behaviour(component, shape), "what the config makes")


def registered(make: Make, shape: tuple[int, ...] | None) -> None:
    """Keras serialises the component under a name of a package, and makes it again."""
    component = make()
    serialised = json.loads(json.dumps(keras.saving.serialize_keras_object(component)))
    name = keras.saving.get_registered_name(type(component))
    assert ">" in name, (
        f"{name} is not registered: `@keras.saving.register_keras_serializable(package)`"
    )
    # Two packages may have a name each that is the same, and then one is registered by another.
    assert serialised["registered_name"] == name, f"serialised as {serialised['registered_name']}"
    again = keras.saving.deserialize_keras_object(serialised)
    assert type(again) is type(component), f"deserialised as a {type(again).__name__}"
    _equal(behaviour(again, shape), behaviour(component, shape), "what is deserialised")


def deep_copy(make: Make, shape: tuple[int, ...] | None) -> None:
    """A deep copy is equal and goes its own way."""
    component = make()
    copied = copy.deepcopy(component)
    assert type(copied) is type(component), f"the copy is a {type(copied).__name__}"
    assert copied is not component, "the copy is the component itself"
    _equal(copied.get_config(), component.get_config(), "the config of the copy")
    variables = getattr(component, "variables", [])
    before = [np.array(variable) for variable in variables]
    for mine, theirs in zip(getattr(copied, "variables", []), variables, strict=True):
        assert mine is not theirs, f"the copy shares {theirs.path}"
        np.testing.assert_array_equal(mine, theirs, f"{theirs.path} of the copy")
        mine.assign(mine + 1)
    for value, variable in zip(before, variables, strict=True):
        np.testing.assert_array_equal(variable, value, f"{variable.path} moved with the copy's")
    _equal(behaviour(component, shape), behaviour(make(), shape), "a component that was copied")


def values(make: Make, shape: tuple[int, ...] | None) -> None:
    """A schedule gives the same for any type of step, at once too, and keeps its promises."""
    schedule = make()
    if isinstance(schedule, Schedule):
        assert schedule == make(), "equal ones are not equal"
        assert hash(schedule) == hash(make()), "equal ones have other hashes"
    steps = np.arange(40)
    one_by_one = np.array([float(schedule(int(step))) for step in steps])
    for dtype in ("int32", "int64", "float32"):
        tensor = ops.convert_to_tensor(steps[7], dtype)
        given = float(schedule(tensor))
        assert abs(given - one_by_one[7]) <= 1e-6, f"{dtype} 7 gives {given}, 7 {one_by_one[7]}"
    if not isinstance(schedule, Schedule):
        return
    at_once = schedule(ops.convert_to_tensor(steps, "int32"))
    assert keras.backend.standardize_dtype(at_once.dtype) == "float32", f"{at_once.dtype}"
    np.testing.assert_allclose(at_once, one_by_one, rtol=0, atol=1e-6, err_msg="steps at once")
    low, high = schedule.bounds
    outside = (one_by_one < low - 1e-6) | (one_by_one > high + 1e-6)
    assert not np.any(outside), (
        f"`bounds` are {low}, {high}, but at step {np.argmax(outside)} the value is "
        f"{one_by_one[np.argmax(outside)]}"
    )
    if schedule.length is not None:
        end = one_by_one[min(int(np.ceil(schedule.length)), len(steps) - 1)]
        after = one_by_one[steps >= schedule.length]
        np.testing.assert_allclose(after, end, rtol=0, atol=1e-6, err_msg="after `length`")


def prox(make: Make, shape: tuple[int, ...] | None) -> None:
    """The proximal operator of a `Penalty` gives what no point near or far is better than."""
    penalty = make()
    if not isinstance(penalty, Penalty) or not penalty.has_prox:
        return
    rng = np.random.default_rng(2)
    v = rng.normal(size=(4, 3)).astype("float32")
    t = min(0.7, 0.4 * penalty.largest_step_size)

    def objective(w: Any) -> float:
        return float(0.5 * np.sum((w - v) ** 2) + t * np.array(penalty.value(w)))

    found = np.array(penalty.prox(v, t))
    assert found.shape == v.shape, f"prox of {v.shape} is of {found.shape}"
    near = [found + scale * rng.normal(size=v.shape) for scale in (1e-3, 0.1) for _ in range(8)]
    for other in [v, 0 * v, 0.5 * found, 2 * found, *near]:
        best, here = objective(found), objective(other.astype("float32"))
        assert best <= here + 1e-5, f"½‖w-v‖² + t·penalty(w) is {here} elsewhere, {best} at prox"


def refuses(make: Make, refused: Refused) -> None:
    """Each value raises a `ValueError` that names the argument and says what came."""
    faults = []
    for argument, given in refused.items():
        for value in given:
            what = f"{argument}={value!r:.40}"
            try:
                make(**{argument: value})
            except ValueError as error:
                message = str(error)
                parts = (f"`{argument}` must be ", f"Received: {argument}=")
                faults += [
                    f"{what}: no {part!r} in {message!r:.200}"
                    for part in parts
                    if part not in message
                ]
            except Exception as error:
                faults.append(f"{what} raises {error!r:.200}, no ValueError")
            else:
                faults.append(f"{what} is accepted")
    assert not faults, "\n    ".join(faults)


# What is asked of trainings, of which each gives faults by component.


class Trainings:
    """The trainings of components that are trained together, each made once."""

    def __init__(self, makes: Mapping[str, Make], shapes: Shapes) -> None:
        self.makes, self.shapes = makes, shapes
        self._eager: Training | None = None
        self._whole: State | None = None

    @property
    def of_whole_models(self) -> bool:
        """Whether it is an optimizer or a callback that is trained with."""
        return any(acts_on_whole_models(make()) for make in self.makes.values())

    def new(self, **options: Any) -> Training:
        """One that has not begun."""
        return Training(self.makes, self.shapes, **options)

    def trained(self, policy: str = "float32", **options: Any) -> State:
        """The state at the end of one."""
        with dtype_policy(policy):
            training = self.new(**options)
            training.fit(EPOCHS)
            return training.state()

    @property
    def eager(self) -> Training:
        """One that is at its end, which all others are compared with."""
        if self._eager is None:
            self._eager = self.new(run_eagerly=True)
            self._eager.fit(EPOCHS)
        return self._eager

    def amplified(self, roundoff: float) -> dict[str, float]:
        """By how much a training ends elsewhere on rounded data, by component."""
        expected = self.eager.state()
        most = dict.fromkeys(expected, 0.0)
        for seed in range(3):  # In one, roundings may cancel.
            training = self.new(run_eagerly=True)
            training.fit(EPOCHS, given=rounded(roundoff, seed))
            for name, values in training.state().items():
                pairs = zip(values.values(), expected[name].values(), strict=True)
                most[name] = max([most[name], *(distance(*pair) for pair in pairs)])
        return most

    @property
    def whole(self) -> State:
        """The state at the end of one that is not interrupted."""
        if self._whole is None:
            with tempfile.TemporaryDirectory() as folder:
                training = self.new(run_eagerly=True, backup_dir=pathlib.Path(folder) / "state")
                training.fit(RESUMED_EPOCHS)
            self._whole = training.state()
        return self._whole


def effect(trainings: Trainings) -> Faults:
    """The weights of a branch without the component are others, in any precision."""
    state = trainings.eager.state()
    without = trainings.trained(absent=True, run_eagerly=True)
    faults = {}
    for name in trainings.makes:
        pairs = zip(_head(state[name]), _head(without[name]), strict=True)
        moved = max(distance(one, other) for one, other in pairs)
        if not moved > SEEN:
            faults[name] = (
                f"weights of a training without it differ by {moved:.3g} at most, which is too "
                f"little to see the component by: {SEEN} is needed"
            )
    return faults


def _head(state: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The weights of the last layer, which is there without the component too."""
    return [value for path, value in state.items() if path.endswith(("head/kernel", "head/bias"))]


def counted(trainings: Trainings) -> Faults:
    """Each training step is counted once, and a schedule has moved what it moves."""
    training, steps = trainings.eager, EPOCHS * BATCHES
    faults: Faults = {}
    # The model of an optimizer or a callback counts by itself, and a callback may end it.
    if trainings.of_whole_models:
        return faults
    for name, values in training.state().items():
        for path, value in values.items():
            if path.endswith("/step") and value.shape == () and value != steps:
                faults[name] = f"{path} is {value} after {steps} steps"
    for name, component in training.components.items():
        schedule: Any = getattr(component, "schedule", None)
        # A schedule may have one itself, and no variable.
        if is_schedule(schedule) and not is_schedule(component):
            expected = float(schedule(steps - 1))
            scalars = [float(v) for v in getattr(component, "variables", []) if v.shape == ()]
            if scalars and not np.any(np.isclose(scalars, expected, 1e-5, 1e-7)):
                faults.setdefault(name, f"its schedule is at {expected}, its variables {scalars}")
    return faults


def mode(policy: str, way: str) -> Callable[[Trainings], Faults]:
    """A training in a precision and a mode of execution ends as the eager one does."""
    options: dict[str, Any] = {"eager": {"run_eagerly": True}, "graph": {"jit_compile": False}}
    given = options.get(way, {"jit_compile": True})

    def check(trainings: Trainings) -> Faults:
        state = trainings.trained(policy, **given)
        expected = trainings.eager.state()
        optimizer = policy == "float32"
        faults = differences(state, expected, ROUNDINGS * ROUNDOFFS[policy], optimizer)
        if not faults:
            return faults
        # Some trainings amplify what is rounded, as those with noise as large as the values do.
        most = trainings.amplified(ROUNDOFFS[policy])
        allowed = {name: ROUNDINGS * max(ROUNDOFFS[policy], size) for name, size in most.items()}
        return differences(state, expected, allowed, optimizer)

    return check


def saved_model(trainings: Trainings) -> Faults:
    """A saved model is loaded with equal state and outputs, and goes on alike."""
    training = trainings.new(run_eagerly=True)
    training.fit(1)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.keras"
        training.model.save(path)
        loaded = keras.models.load_model(path)
    faults = _prefixed("once loaded: ", differences(_state(loaded, trainings), training.state()))
    x = np.linspace(-1, 1, 8 * FEATURES, dtype="float32").reshape(8, FEATURES)
    one, other = (np.array(model(x, training=False)) for model in (loaded, training.model))
    for index, name in enumerate(trainings.makes):
        if not np.array_equal(one[:, index], other[:, index]):
            faults.setdefault(name, "outputs of the loaded model differ")
    theirs = owners(training.model, trainings.makes)
    for name, owner in owners(loaded, trainings.makes).items():
        loss, expected = _loss(owner), _loss(theirs[name])
        if loss != expected:
            faults.setdefault(name, f"its loss in the loaded model is {loss}, not {expected}")
    training.fit(1)
    fit(loaded, 1)
    later = differences(_state(loaded, trainings), training.state())
    return {**_prefixed("after going on: ", later), **faults}


def _loss(model: keras.Model) -> float:
    """Of penalties, as they are now."""
    return sum(float(loss) for loss in model.losses)


def _state(model: keras.Model, trainings: Trainings) -> State:
    return state_of(model, trainings.makes)


def used_copy(trainings: Trainings) -> Faults:
    """A deep copy of a component that was trained with goes on from there."""
    faults: Faults = {}
    # Copies of optimizers and callbacks begin anew, as Keras' own do.
    if trainings.of_whole_models:
        return faults
    for name, component in trainings.eager.components.items():
        if not getattr(component, "variables", []):
            continue
        copied = copy.deepcopy(component)
        pairs = zip(copied.variables, component.variables, strict=True)
        for mine, theirs in pairs:
            if not np.array_equal(mine, theirs):
                faults[name] = f"{theirs.path} is {np.array(theirs)}, of a copy {np.array(mine)}"
    return faults


def backup_and_restore(trainings: Trainings) -> Faults:
    """A training that is stopped in the middle of an epoch goes on by `BackupAndRestore`."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        backup = [keras.callbacks.BackupAndRestore(root / "backup")]
        broken = trainings.new(run_eagerly=True, backup_dir=root / "state")
        _stopped(broken, Interrupt(epoch=2, batch=1), *backup)
        resumed = trainings.new(run_eagerly=True, backup_dir=root / "state")
        epochs = resumed.fit(RESUMED_EPOCHS, *backup)
    assert epochs == [2, 3], f"the epochs {epochs} ran after an interruption in epoch 2"
    return differences(resumed.state(), trainings.whole)


def initial_epoch(trainings: Trainings) -> Faults:
    """A training that is stopped and called again with `initial_epoch` goes on."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        parts = trainings.new(run_eagerly=True, backup_dir=root / "state")
        _stopped(parts, Interrupt(epoch=2, batch=0))
        parts.fit(RESUMED_EPOCHS, initial_epoch=2)
    return differences(parts.state(), trainings.whole)


def _stopped(training: Training, interrupt: Interrupt, *callbacks: Any) -> None:
    try:
        training.fit(RESUMED_EPOCHS, *callbacks, interrupt)
    except Interrupted:
        return
    raise AssertionError(f"the training ended before epoch {interrupt.epoch} of {RESUMED_EPOCHS}")


def differences(
    one: State,
    other: State,
    tolerance: float | Mapping[str, float] = 0.0,
    also_optimizer: bool = True,
) -> Faults:
    """Where the values of variables differ by more than a tolerance, by component."""
    faults: Faults = {}
    for name, values in one.items():
        if name == OPTIMIZER and not also_optimizer:
            continue
        allowed = tolerance[name] if isinstance(tolerance, Mapping) else tolerance
        # By order: names of layers that have none are numbered on.
        for (path, mine), theirs in zip(values.items(), other[name].values(), strict=True):
            exact = not np.issubdtype(mine.dtype, np.floating)
            found = distance(mine, theirs)
            if not found <= (0.0 if exact else allowed):
                faults.setdefault(name, f"{path} differs by {found:.3g}")
    return faults


def distance(mine: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference of two values; infinite where their shapes differ."""
    if mine.shape != theirs.shape:
        return math.inf
    if np.array_equal(mine, theirs):
        return 0.0
    return float(np.max(np.abs(np.subtract(mine, theirs, dtype="float64"))))


def _prefixed(prefix: str, faults: Faults) -> Faults:
    return {name: prefix + fault for name, fault in faults.items()}


def _equal(mine: Any, theirs: Any, what: str) -> None:
    assert mine == theirs, f"{what} differs: {mine!r:.300} is not {theirs!r:.300}"


# All of them by name.

_OF_ONE: dict[str, Callable[[Make, tuple[int, ...] | None], None]] = {
    "config": config,
    "registered": registered,
    "deep_copy": deep_copy,
    "values": values,
    "prox": prox,
}
_TRAINED: dict[str, Callable[[Trainings], Faults]] = {
    "effect": effect,
    "counted": counted,
    "graph": mode("float32", "graph"),
    "xla": mode("float32", "xla"),
    "mixed_float16": mode("mixed_float16", "eager"),
    "mixed_bfloat16": mode("mixed_bfloat16", "eager"),
    "mixed_float16_graph": mode("mixed_float16", "graph"),
    "mixed_bfloat16_graph": mode("mixed_bfloat16", "graph"),
    "mixed_float16_xla": mode("mixed_float16", "xla"),
    "mixed_bfloat16_xla": mode("mixed_bfloat16", "xla"),
    "saved_model": saved_model,
    "used_copy": used_copy,
    "backup_and_restore": backup_and_restore,
    "initial_epoch": initial_epoch,
}
ALONE = (*_OF_ONE, "refused", "documentation")
TRAINED = tuple(_TRAINED)
CHECKS = ALONE + TRAINED


def check_names(checks: Collection[str] | None) -> tuple[str, ...]:
    """The checks to run, all where None, in their order; or a `ValueError`."""
    if checks is None:
        return CHECKS
    unknown = sorted(set(checks) - set(CHECKS)) if not isinstance(checks, str) else [checks]
    if unknown:
        raise ValueError(
            f"`checks` must be names of checks, of {', '.join(CHECKS)}. Received: {checks!r}"
        )
    return tuple(check for check in CHECKS if check in checks)


def run_alone(
    name: str,
    make: Make,
    checks: Sequence[str],
    shape: tuple[int, ...] | None = None,
    refused: Refused | None = None,
) -> list[str]:
    """Runs checks of a component alone; returns what is wrong."""
    component = make()
    faults = []
    for check in checks:
        if check == "values" and not is_schedule(component):
            continue
        if check == "refused":
            faults += _fault(name, check, lambda: refuses(make, refused or {}))
        elif check == "documentation":
            faults += _fault(name, check, lambda: check_documentation(type(component)))
        elif check in _OF_ONE:
            faults += _fault(name, check, functools.partial(_OF_ONE[check], make, shape))
    return faults


def run_trained(
    makes: Mapping[str, Make], checks: Sequence[str], shapes: Shapes | None = None
) -> list[str]:
    """Runs checks of trainings; returns what is wrong."""
    faults: list[str] = []
    trained = [check for check in checks if check in _TRAINED]
    for group in groups(makes) if trained else []:
        trainings = Trainings(group, shapes or {})
        no_model = is_callback(next(iter(group.values()))())  # Is saved with a callback.
        for check in trained:
            if not (no_model and check == "saved_model"):
                faults += _faults_of(check, trainings)
    return faults


def _faults_of(check: str, trainings: Trainings) -> list[str]:
    found: Faults = {}
    raised = _fault(
        " or ".join(trainings.makes), check, lambda: found.update(_TRAINED[check](trainings))
    )
    if raised and len(trainings.makes) > 1:
        # Which of them? Halves tell.
        makes, half = list(trainings.makes.items()), len(trainings.makes) // 2
        halves = [Trainings(dict(part), trainings.shapes) for part in (makes[:half], makes[half:])]
        return [fault for part in halves for fault in _faults_of(check, part)] or raised
    # What is wrong with a component shows in its own variables, and then in slots.
    return raised + [
        f"{name}: {check}: {fault}"
        for name, fault in found.items()
        if name != OPTIMIZER or len(found) == 1
    ]


def _fault(name: str, check: str, run: Callable[[], Any]) -> list[str]:
    try:
        run()
    except AssertionError as error:
        return [f"{name}: {check}: {str(error).strip()}"]
    except Exception as error:
        return [f"{name}: {check}: raised {type(error).__name__}: {error}"]
    return []


def raise_if_any(faults: Sequence[str]) -> None:
    """An `AssertionError` that lists what is wrong."""
    if faults:
        raise AssertionError(
            f"{len(faults)} check(s) of the component contract failed.\n" + "\n".join(faults)
        )
