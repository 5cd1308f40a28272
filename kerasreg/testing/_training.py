"""A small training in which components are used, each in a branch with weights of its own.

The branches of one model share inputs and targets and nothing else: the loss is the sum of
theirs. So a component moves the weights of its own branch only, and a fault has a name.
An optimizer and a callback act on a whole model, and each has one for itself.
"""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops

from kerasreg.layers import ScheduledDropout
from kerasreg.regularizers import L1, L2
from kerasreg.schedules import Hyperparameter

Component: TypeAlias = Any
Make: TypeAlias = Callable[..., Component]
Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
# Of each branch, and of the optimizer: the value of each variable by its path.
State: TypeAlias = dict[str, dict[str, np.ndarray]]
Data: TypeAlias = tuple[np.ndarray, np.ndarray]  # Inputs and targets.

FEATURES = 3
BATCHES = 2
LEARNING_RATE = 0.2
OPTIMIZER = "optimizer"  # Whose variables are listed under this name.


class Interrupted(Exception):
    """Raised by `Interrupt`."""


class Interrupt(keras.callbacks.Callback):
    """Stops a training in an epoch, before a batch of it or at its end."""

    def __init__(self, epoch: int, batch: int) -> None:
        super().__init__()
        self.epoch, self.batch = epoch, batch
        self._running = -1

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Stops before the first batch."""
        self._running = epoch
        if epoch == self.epoch and self.batch == 0:
            raise Interrupted

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Stops after as many batches."""
        if self._running == self.epoch and batch + 1 == self.batch:
            raise Interrupted


def directions(features: int) -> np.ndarray:
    """A fixed matrix (3, features) of columns that differ; it leaves lengths about as they are."""
    numbers = np.cos(np.arange(FEATURES * features, dtype="float32") ** 2)
    return numbers.reshape(FEATURES, features) * math.sqrt(2.0 / features)


@keras.saving.register_keras_serializable("kerasreg.testing")
class Spread(keras.layers.Layer):
    """The features in another shape, each entry a fixed sum of them."""

    def __init__(self, shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shape = tuple(shape)
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Makes (batch, *shape) of (batch, 3)."""
        matrix = ops.cast(directions(math.prod(self.shape)), inputs.dtype)
        return ops.reshape(inputs @ matrix, (-1, *self.shape))

    def get_config(self) -> dict[str, Any]:
        """The shape."""
        return {**super().get_config(), "shape": self.shape}


@keras.saving.register_keras_serializable("kerasreg.testing")
class Weighted(keras.layers.Layer):
    """The sum of the inputs' entries, weighted by a weight of their shape."""

    def __init__(self, initializer: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.initializer = keras.initializers.get(initializer)

    def build(self, input_shape: Any) -> None:
        """Makes the weight."""
        self.kernel = self.add_weight(
            name="kernel", shape=input_shape[1:], initializer=self.initializer
        )

    def call(self, inputs: Any) -> Any:
        """Makes (batch, 1) of (batch, ...)."""
        axes = tuple(range(1, len(inputs.shape)))
        return ops.expand_dims(ops.sum(inputs * self.kernel, axes), -1)

    def get_config(self) -> dict[str, Any]:
        """The initializer."""
        initializer = keras.saving.serialize_keras_object(self.initializer)
        return {**super().get_config(), "initializer": initializer}


@keras.saving.register_keras_serializable("kerasreg.testing")
class Times(keras.layers.Layer):
    """Multiplies by a hyperparameter."""

    def __init__(self, factor: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(factor, dict):
            factor = keras.saving.deserialize_keras_object(factor)
        self.factor = factor
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Makes (batch, ...) of (batch, ...)."""
        return inputs * ops.cast(self.factor.current()[0], inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """The hyperparameter."""
        factor = keras.saving.serialize_keras_object(self.factor)
        return {**super().get_config(), "factor": factor}


@keras.saving.register_keras_serializable("kerasreg.testing")
def sum_of_losses(y_true: Any, y_pred: Any) -> Any:
    """The squared error of each branch, added up: a branch learns as it would alone."""
    return ops.sum(ops.square(y_pred - y_true), axis=-1)


def is_schedule(component: Component) -> bool:
    """Whether it is a schedule, also one of Keras' own."""
    return isinstance(component, keras.optimizers.schedules.LearningRateSchedule)


def is_callback(component: Component) -> bool:
    """Whether it is a callback."""
    return isinstance(component, keras.callbacks.Callback)


def is_optimizer(component: Component) -> bool:
    """Whether it is an optimizer."""
    return isinstance(component, keras.optimizers.Optimizer)


def hyperparameter_of(schedule: Component) -> Hyperparameter:
    """What moves by a schedule of any values."""
    return Hyperparameter(schedule, "factor", minimum=-1e9)


def shape_for(layer: keras.layers.Layer) -> tuple[int, ...]:
    """The shape of inputs that a layer asks for by its `input_spec`, else of the features."""
    ndim = getattr(getattr(layer, "input_spec", None), "ndim", None)
    return (FEATURES,) if ndim is None else (FEATURES,) * (ndim - 1)


def branch(
    name: str, component: Component, shape: tuple[int, ...] | None, absent: bool
) -> keras.Sequential:
    """A model of one output that uses a component, or one like it without."""
    layers: list[Any] = [keras.Input((FEATURES,))]
    penalty, last = None, None
    if isinstance(component, keras.regularizers.Regularizer):
        penalty = None if absent else component
    elif isinstance(component, keras.initializers.Initializer):
        used = keras.initializers.GlorotNormal(seed=3) if absent else component
        layers.append(Spread(shape or (2, 2, 3, 4)))
        last = Weighted(used, name="head")
    elif is_schedule(component) or isinstance(component, Hyperparameter):
        if is_schedule(component):
            component = hyperparameter_of(component)
        layers += [] if absent else [Times(component, name="times")]
    elif isinstance(component, keras.layers.Layer):
        shape = shape or shape_for(component)
        if absent and isinstance(component, keras.layers.Wrapper):
            component = component.layer
        elif absent:
            component = keras.layers.Identity()
        around = shape != (FEATURES,)
        layers += [Spread(shape)] if around else []
        layers += [component, keras.layers.Flatten()]
    else:
        assert component is None, f"{type(component).__name__} is no component of a model."
    if last is None:
        initializer = keras.initializers.GlorotNormal(seed=3)
        last = keras.layers.Dense(
            1, kernel_regularizer=penalty, kernel_initializer=initializer, name="head"
        )
    return keras.Sequential([*layers, last], name=name)


def data() -> Data:
    """Inputs and targets that the features predict."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(4 * BATCHES, FEATURES)).astype("float32")
    return x, (x @ [[1.0], [-0.5], [0.25]] + 0.5).astype("float32")


def rounded(roundoff: float, seed: int) -> Data:
    """The data, each number off by at most a relative roundoff."""
    rng = np.random.default_rng(seed)
    x, y = (each * (1.0 + roundoff * rng.uniform(-1.0, 1.0, each.shape)) for each in data())
    return x.astype("float32"), y.astype("float32")


def calls(make: Make, backup_dir: Any) -> Component:
    """A new component; where `make` takes a folder for a state, with one."""
    takes = backup_dir is not None and "backup_dir" in inspect.signature(make).parameters
    return make(backup_dir=str(backup_dir)) if takes else make()


class Training:
    """A compiled model that uses components, and what it is trained with.

    Args:
        makes: functions that make the components, by name. An optimizer or a callback is
            the only one.
        shapes: of the inputs of some of them, by name.
        absent: whether it is the same training without them.
        backup_dir: a folder for callbacks that keep a state in one.
        **compile_options: for `compile`.
    """

    def __init__(
        self,
        makes: Mapping[str, Make],
        shapes: Shapes | None = None,
        absent: bool = False,
        backup_dir: Any = None,
        **compile_options: Any,
    ) -> None:
        keras.utils.set_random_seed(1)
        self.components = {name: calls(make, backup_dir) for name, make in makes.items()}
        self.callbacks: list[keras.callbacks.Callback] = []
        optimizer: Any = keras.optimizers.SGD(LEARNING_RATE, momentum=0.5)
        first = next(iter(self.components.values()))
        if is_callback(first):
            self.callbacks = [] if absent else [first]
            optimizer = keras.optimizers.SGD(LEARNING_RATE, momentum=0.5, weight_decay=0.01)
            self.model = _model_of_callbacks()
        elif is_optimizer(first):
            optimizer = optimizer if absent else first
            self.model = model_of_optimizers()
        else:
            self.model = self._model_of_branches(shapes or {}, absent)
        if keras.config.dtype_policy().name == "mixed_float16":
            # With a scale at which no step is skipped, so that all policies take as many.
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2.0**6)
        self.model.compile(optimizer, sum_of_losses, **{"jit_compile": False, **compile_options})
        # Only where a metric of it is read: it is compiled too.
        watched = getattr(first, "monitor", "val_" if hasattr(first, "metric") else "")
        self.validates = is_callback(first) and str(watched).startswith("val_")

    def _model_of_branches(self, shapes: Shapes, absent: bool) -> keras.Model:
        inputs = keras.Input((FEATURES,))
        outputs = [
            branch(name, component, shapes.get(name), absent)(inputs)
            for name, component in self.components.items()
        ]
        return keras.Model(inputs, ops.concatenate(outputs, -1) if len(outputs) > 1 else outputs[0])

    def fit(
        self,
        epochs: int,
        *callbacks: keras.callbacks.Callback,
        initial_epoch: int = 0,
        given: Data | None = None,
    ) -> list[int]:
        """Trains up to an epoch, on `data()` or what is given; returns which epochs ran."""
        together = [*self.callbacks, *callbacks]
        return fit(self.model, epochs, together, self.validates, initial_epoch, given)

    def state(self) -> State:
        """The values of all variables."""
        return state_of(self.model, self.components)


def fit(
    model: keras.Model,
    epochs: int,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    validates: bool = False,
    initial_epoch: int = 0,
    given: Data | None = None,
) -> list[int]:
    """Trains a model on `data()` or what is given; returns which epochs ran."""
    x, y = data() if given is None else given
    history = model.fit(
        x,
        y,
        batch_size=len(x) // BATCHES,
        epochs=epochs,
        initial_epoch=initial_epoch,
        validation_data=(x, y) if validates else None,
        callbacks=list(callbacks),
        shuffle=False,
        verbose=0,
    )
    return list(history.epoch)


def _model_of_callbacks() -> keras.Model:
    """With everything in it that a callback may move; nothing drops before one does."""
    initializer = keras.initializers.GlorotNormal(seed=3)
    return keras.Sequential(
        [
            keras.Input((FEATURES,)),
            ScheduledDropout(0.0, seed=1, name="dropout"),
            keras.layers.Dense(
                1, kernel_initializer=initializer, kernel_regularizer=L2(0.01), name="head"
            ),
        ]
    )


def model_of_optimizers() -> keras.Model:
    """With a penalty, which an optimizer may apply itself."""
    initializer = keras.initializers.GlorotNormal(seed=3)
    return keras.Sequential(
        [
            keras.Input((FEATURES,)),
            keras.layers.Dense(
                1, kernel_initializer=initializer, kernel_regularizer=L1(0.3), name="head"
            ),
        ]
    )


def state_of(model: keras.Model, names: Mapping[str, Any]) -> State:
    """The values of all variables of a model that uses components, by component and path."""
    state = {name: _values(owner.variables) for name, owner in owners(model, names).items()}
    return {**state, OPTIMIZER: _values(model.optimizer.variables)}


def owners(model: keras.Model, names: Mapping[str, Any]) -> dict[str, keras.Model]:
    """The branch of each component; the whole model of one that acts on all of it."""
    branches = {layer.name: layer for layer in model.layers if layer.name in names}
    return branches or dict.fromkeys(names, model)


def _values(variables: Sequence[keras.Variable]) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for variable in variables:
        # Paths may be the same where a layer has two hyperparameters of one name.
        path = variable.path if variable.path not in found else f"{variable.path}.{len(found)}"
        found[path] = np.array(ops.convert_to_numpy(variable))
    return found


def groups(makes: Mapping[str, Make]) -> list[dict[str, Make]]:
    """Those that are trained together: all that a model holds, and each other one alone."""
    alone = {name: make for name, make in makes.items() if acts_on_whole_models(make())}
    held = {name: make for name, make in makes.items() if name not in alone}
    return [*([held] if held else []), *({name: make} for name, make in alone.items())]


def acts_on_whole_models(component: Component) -> bool:
    """Whether it is an optimizer or a callback."""
    return is_optimizer(component) or is_callback(component)


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Computes in a precision."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
