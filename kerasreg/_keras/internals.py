"""What kerasreg asks of the insides of Keras: one function for each question.

Each docstring says for which versions of Keras the answer was read in its source. Where an
attribute or a method is gone, Python's own `AttributeError` or `ImportError` names it. A key of
Keras' global state that is gone would read as None: each such key is tried once in a thread of its
own, and the error names the key. `tests/_keras/test_internals.py` has a test for each function,
with the function's name in its own.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras

from kerasreg._keras.patching import replace

# The keys of Keras' global state, which is one for each thread.
_CALL = "current_call_ctx"
_SCOPE = "stateless_scope"
_WRITING = "shared_objects/id_to_config_map"
_SEEDS = "global_seed_generator"
_SEED = "global_random_seed"


# Calls of layers.


def running_call() -> Any:
    """Which call of an outermost layer is running in this thread? Keras' context of it, or None.

    Read for Keras 3.10 to 3.15: `Layer.__call__` keeps the context under a key of the global state.

    Raises:
        RuntimeError: if Keras keeps the context elsewhere.
    """
    call = _global(_CALL)
    if call is None:
        check_calls_are_seen()
    return call


def is_training(call: Any) -> bool:
    """Does a running call, or one that ran, train?

    Read for Keras 3.10 to 3.15.

    Args:
        call: a context that `running_call` returned.
    """
    return bool(call.get_value("training"))


def outermost_layer(call: Any) -> Any:
    """Which layer did the user, or Keras, call? The one that a call entered first.

    Read for Keras 3.10 to 3.15.

    Args:
        call: a context that `running_call` returned.
    """
    return call.entry_layer


def forget_loss(layer: Any, loss: Any) -> None:
    """Which losses did a layer add itself? This takes one of them off that list.

    In a stateless scope that gathers losses, a layer drops its own losses when the next call
    begins. The loss itself stays in the scope. Read for Keras 3.10 to 3.15.
    """
    layer._loss_ids.discard(id(loss))


def takes_training(layer: Any) -> bool:
    """Does a layer's `call` have an argument `training`? Read for Keras 3.10 to 3.15."""
    return bool(layer._call_has_training_arg)


def takes_mask(layer: Any) -> bool:
    """Does a layer's `call` have an argument `mask`? Read for Keras 3.10 to 3.15."""
    return bool(layer._call_has_mask_arg)


@functools.cache
def check_calls_are_seen() -> None:
    """Does Keras tell tracked layers when a call begins, and where is its context then?

    A value that a schedule moves stands still without that, and nothing else would say so.
    Tried once in a process. Read for Keras 3.10 to 3.15: `Layer.__call__` calls the method
    `_clear_losses` of all tracked layers when an outermost call begins.

    Raises:
        RuntimeError: if it does not.
    """
    seen: list[Any] = []

    class Inner(keras.layers.Layer):
        def _clear_losses(self) -> None:
            super()._clear_losses()
            seen.append(_global(_CALL))

    class Outer(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Inner()

        def build(self, shape: Any) -> None:
            self.built = True

        def call(self, x: Any, training: bool | None = None) -> Any:
            return x

        def compute_output_spec(self, x: Any, training: bool | None = None) -> Any:
            return x

    def call() -> Any:
        outer = Outer()
        outer(keras.KerasTensor((1,)), training=True)
        return outer

    outer = _in_new_thread(call)
    if not seen:
        raise RuntimeError(
            f"Keras {keras.__version__} does not call `_clear_losses` of tracked layers when a "
            "call begins. kerasreg needs that to count training steps."
        )
    if seen[0] is None:
        raise RuntimeError(_moved(_CALL, "the running call of a layer"))
    if outermost_layer(seen[0]) is not outer or not is_training(seen[0]):
        raise RuntimeError(
            f"Keras {keras.__version__} does not say in the context of a call which layer was "
            "called, or whether it trains. kerasreg needs both to count training steps."
        )


# Stateless scopes.


def stateless_scope() -> Any:
    """Which `keras.StatelessScope` is this thread in? The innermost, or None.

    Read for Keras 3.10 to 3.15.
    """
    from keras.src.backend.common.stateless_scope import get_stateless_scope

    return get_stateless_scope()


@contextlib.contextmanager
def outside_stateless_scopes() -> Iterator[None]:
    """How does one leave all stateless scopes for a while?

    Read for Keras 3.10 to 3.15: the scope is kept under a key of the global state.

    Raises:
        RuntimeError: if the scope is still there.
    """
    scope = stateless_scope()
    _set_global(_SCOPE, None)
    try:
        if stateless_scope() is not None:
            raise RuntimeError(_moved(_SCOPE, "the stateless scope"))
        yield
    finally:
        _set_global(_SCOPE, scope)


# Layers in layers.


def walk_layers(layer: Any) -> list[Any]:
    """Which layers is a layer made of? Itself, then all within it, each once.

    Read for Keras 3.10 to 3.15.
    """
    return list(layer._flatten_layers())


def inner_layers(layer: Any) -> list[Any]:
    """Which layers does a layer hold itself, without those that these hold?

    Read for Keras 3.10 to 3.15.
    """
    return list(layer._flatten_layers(include_self=False, recursive=False))


def tracked_variables(layer: Any) -> list[Any]:
    """Which variables does a layer hold itself, also those that it does not call its weights?

    Read for Keras 3.10 to 3.15.
    """
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def set_on_built_layer(layer: Any, name: str, value: Any) -> None:
    """How does a built layer, which takes no new state, get an attribute that has some?

    Read for Keras 3.10 to 3.15: a layer's tracker is locked when the layer is built.
    """
    tracker = layer._tracker
    locked = tracker.locked
    tracker.unlock()
    try:
        setattr(layer, name, value)
    finally:
        tracker.locked = locked


def untrack(layer: Any, value: Any) -> None:
    """How does a layer let go of the state of a value that it no longer has?

    Read for Keras 3.10 to 3.15.
    """
    layer._tracker.untrack(value)


def put_first(layer: Any, first: Iterable[Any]) -> None:
    """In which order does a layer hold its inner layers? This puts some of them first.

    Copies of a layer take its state in that order. Read for Keras 3.10 to 3.15.
    """
    put = {id(one): one for one in first}
    layer._layers[:] = [*put.values(), *(one for one in layer._layers if id(one) not in put)]


# The graph of a model.


def made_by(tensor: Any) -> Any:
    """Which operation made a symbolic tensor? Read for Keras 3.10 to 3.15."""
    return tensor._keras_history.operation


def node_of(tensor: Any) -> Any:
    """By which call of an operation was a symbolic tensor made? Keras' node of the call.

    Read for Keras 3.10 to 3.15.
    """
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index]


def output_place(tensor: Any) -> int:
    """Which of the outputs of its call is a symbolic tensor? Read for Keras 3.10 to 3.15."""
    return int(tensor._keras_history.tensor_index)


def is_in_graph(tensor: Any) -> bool:
    """Does Keras know how a tensor was made? Read for Keras 3.10 to 3.15."""
    return hasattr(tensor, "_keras_history")


def is_functional(model: Any) -> bool:
    """Is a model made of inputs and outputs? A Sequential model is not, the model in it is.

    Read for Keras 3.10 to 3.15.
    """
    from keras.src.models.functional import Functional

    return isinstance(model, Functional)


def functional_of(model: Any) -> Any:
    """Which functional model does the work of a model? None for one that has none.

    A Sequential model builds one when it is built. Read for Keras 3.10 to 3.15.
    """
    if isinstance(model, keras.Sequential):
        return model._functional
    return model if is_functional(model) else None


def has_own_call(model: Any) -> bool:
    """Does a model run by a `call` of its class, or of its own, and not by Keras'?

    Read for Keras 3.10 to 3.15.

    Args:
        model: a `keras.Model`.
    """
    from keras.src.models.functional import Functional

    return "call" in vars(model) or type(model).call not in (
        Functional.call,
        keras.Sequential.call,
    )


def is_made_of_inputs_and_outputs(kind: type) -> bool:
    """Does a class of functional models have the constructor `(inputs, outputs)`?

    Such a model writes its layers into its config; another one writes only its own arguments.
    Read for Keras 3.10 to 3.15.
    """
    from keras.src.models.functional import functional_like_constructor

    return bool(functional_like_constructor(kind))


def graph_nodes(model: Any) -> list[Any]:
    """Which calls is a functional model made of? Keras' nodes, in the order in which they run.

    Read for Keras 3.10 to 3.15.

    Args:
        model: a functional model, such as `functional_of` returns.
    """
    by_depth = model._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def tracked_dictionary() -> type:
    """As which class does a Keras object keep a dictionary that it was given?

    Read for Keras 3.10 to 3.15.
    """
    from keras.src.utils.tracking import TrackedDict

    return TrackedDict


def input_structure(model: Any) -> Any:
    """In which structure does a functional model take its inputs? None for any other model.

    Read for Keras 3.10 to 3.15.
    """
    return model._inputs_struct if is_functional(model) else None


def output_structure(model: Any) -> Any:
    """In which structure does a functional model return its outputs? None for any other model.

    Read for Keras 3.10 to 3.15.
    """
    return model._outputs_struct if is_functional(model) else None


def first_call_signature(model: Any) -> Any:
    """With which inputs was a model of a class of one's own called first? Specs of tensors.

    Read for Keras 3.10 to 3.15.
    """
    from keras.src.export.export_utils import get_input_signature

    return get_input_signature(model)


def operation_classes(names: Sequence[str]) -> tuple[type, ...]:
    """Which classes are behind functions of `keras.ops`, such as `"Add"` behind `x + y`?

    Read for Keras 3.10 to 3.15.
    """
    from keras.src.ops import numpy

    return tuple(getattr(numpy, name) for name in names)


# The training of a model.


@functools.cache
def trainer_attributes() -> frozenset[str]:
    """Which methods and properties train a model, so that a model with others trains otherwise?

    Read for Keras 3.10 to 3.15: a model inherits from a trainer of the backend and a common one.

    Raises:
        RuntimeError: if there are none.
    """
    kinds = [kind for kind in keras.Model.__mro__ if kind.__module__.endswith(".trainer")]
    names = {name for kind in kinds for name in vars(kind) if not name.startswith("__")}
    if not {"fit", "train_step", "_symbolic_build"} <= names:
        raise RuntimeError(
            f"Keras {keras.__version__} defines the training of a model elsewhere than up to 3.15."
        )
    return frozenset(names)


def compile_arguments(model: Any) -> dict[str, Any]:
    """With which arguments was a model compiled? None at all for one that is not compiled.

    Read for Keras 3.10 to 3.15.
    """
    return dict(model._compile_config.config) if model.compiled else {}


def compute_loss(
    model: Any, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool
) -> Any:
    """What does Keras' own training step take for the loss of a batch?

    Read for Keras 3.10 to 3.15.
    """
    return model._compute_loss(
        x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training
    )


def are_arrays(data: Any) -> bool:
    """Does `model.fit` take data for arrays in memory, one for each part, none sparse or ragged?

    A part may be None. Read for Keras 3.10 to 3.15.

    Args:
        data: a structure of what may be arrays.
    """
    return all(_is_array(part) for part in keras.tree.flatten(data))


def as_keras_arrays(data: Any) -> Any:
    """Of which NumPy arrays does `model.fit` make batches, when it is given data?

    Floating point has the precision of `floatx`, a series of pandas is a column, and a table of
    pandas whose columns have several types is floating point, or an array of objects if no column
    is. Text is an array of objects. Read for Keras 3.10 to 3.15.

    Args:
        data: a structure of arrays, tensors, and tables and series of pandas. A part may be None.

    Returns:
        The same structure of NumPy arrays.

    Raises:
        ValueError: if a part is no array, is sparse or ragged, or has a type that Keras refuses.
    """
    from keras.src.trainers.data_adapters import array_slicing

    def convert(part: Any) -> Any:
        if part is None:
            return None
        if not _is_array(part):
            raise ValueError(
                "The data must be arrays, tensors, or tables and series of pandas, neither sparse "
                f"nor ragged. Received: {part!r} of type {type(part).__name__}"
            )
        sliceable = array_slicing.convert_to_sliceable(part, target_backend="numpy")
        return sliceable.convert_to_numpy(sliceable.array)

    return keras.tree.map_structure(convert, data)


def rows_for_fit(data: Any, rows: Any) -> Any:
    """Which arrays has `model.fit` to be given to see some rows of data as it sees all of them?

    Text has to be a tensor: of its arrays Keras takes only some. Read for Keras 3.10 to 3.15.

    Args:
        data: as for `as_keras_arrays`.
        rows: a slice, or an array of the numbers of rows.

    Raises:
        ValueError: as `as_keras_arrays` does.
    """

    def take(part: Any) -> Any:
        if part is None:
            return None
        taken = part[rows]
        return keras.ops.convert_to_tensor(taken) if taken.dtype == object else taken

    return keras.tree.map_structure(take, as_keras_arrays(data))


def _is_array(part: Any) -> bool:
    from keras.src.trainers.data_adapters import array_slicing, data_adapter_utils

    is_other = (
        data_adapter_utils.is_scipy_sparse,
        data_adapter_utils.is_jax_sparse,
        data_adapter_utils.is_tensorflow_sparse,
        data_adapter_utils.is_tensorflow_ragged,
    )
    return bool(array_slicing.can_slice_array(part)) and not any(kind(part) for kind in is_other)


class LossWeights:
    """The weights with which a compiled model adds its losses up, in the order of `places`.

    Read for Keras 3.10 to 3.15.

    Args:
        loss: what Keras makes of `compile(loss=..., loss_weights=...)`.
        weights: a weight by its place.

    Attributes:
        places: the place of each weight: the name or the number of an output, or None for the
            weight of all.
    """

    def __init__(self, loss: Any, weights: dict[Any, float]) -> None:
        self._loss, self._given = loss, weights
        self.places = tuple(weights)

    @property
    def weights(self) -> tuple[Any, ...]:
        return tuple(self._given.values())

    @weights.setter
    def weights(self, values: tuple[Any, ...]) -> None:
        """Gives the losses, which are built, other weights.

        Raises:
            LookupError: if it is not clear which weight is that of which loss.
        """
        own = dict(zip(self.places, values, strict=True))
        self._loss._flat_losses = [
            entry._replace(loss_weights=own[self._place(entry, index)])
            for index, entry in enumerate(self._loss._flat_losses)
        ]

    def _place(self, entry: Any, index: int) -> Any:
        if None in self._given:
            return None
        path, names = entry.path or (0,), list(self._loss.output_names or ())
        place = path[0] if len(path) == 1 else index
        if place not in self._given and len(names) == len(self._given):
            place = names[place] if isinstance(place, int) else names.index(place)
        known = entry.loss_weights
        # It may be what takes the place of a number just now.
        other = isinstance(known, (int, float)) and known != self._given.get(place)
        if place not in self._given or other:
            raise LookupError(f"the loss at {path} has a weight of another place")
        return place


def loss_weights(model: Any) -> LossWeights | None:
    """Which weights have the losses of a compiled model? None where they are none, or no numbers.

    Read for Keras 3.10 to 3.15.
    """
    loss = model._compile_loss if getattr(model, "compiled", False) else None
    given = None if loss is None else loss._user_loss_weights
    if isinstance(given, (int, float)):
        return LossWeights(loss, {None: float(given)})
    if isinstance(given, dict):
        weights = dict(given)
    elif isinstance(given, (list, tuple)):
        weights = dict(enumerate(given))
    else:
        return None
    if all(isinstance(weight, (int, float)) for weight in weights.values()):
        return LossWeights(loss, {place: float(of) for place, of in weights.items()})
    return None


def loss_tracker(model: Any) -> Any:
    """Which metric of a compiled model has the mean of the loss? Read for Keras 3.10 to 3.15."""
    return model._loss_tracker


def build_by_batch(model: Any, batch: Any) -> None:
    """How does Keras build a compiled model, its metrics and its optimizer by a batch?

    Read for Keras 3.10 to 3.15.

    Args:
        model: a compiled model.
        batch: `(x, y, sample_weight)`.
    """
    model._symbolic_build(data_batch=batch)


def symbolic_call(function: Any, given: Any) -> Any:
    """Which symbolic tensors does a function give for so many samples as one likes?

    Read for Keras 3.10 to 3.15.

    Args:
        function: a model, or any function of tensors.
        given: tensors; the length of the first axis of each is left open.
    """
    from keras.src.backend import compute_output_spec

    symbolic = keras.tree.map_structure(
        lambda part: keras.KerasTensor((None, *part.shape[1:]), part.dtype), given
    )
    return compute_output_spec(function, symbolic)


def takes(model: Any, inputs: Any) -> bool:
    """Can a model be called with inputs of such shapes? Found without running it.

    Read for Keras 3.10 to 3.15.

    Args:
        model: a built model.
        inputs: tensors; the length of the first axis of each is left open.
    """
    try:
        symbolic_call(model, inputs)
    except Exception:
        return False
    return True


def forget_functions(model: Any, *kinds: str) -> None:
    """Where does Keras keep the traced steps of a model? This drops some of them.

    Read for Keras 3.10 to 3.15.

    Args:
        model: a model.
        *kinds: of the steps: `"train"`, `"test"` or `"predict"`.
    """
    for kind in kinds:
        if not hasattr(model, f"{kind}_function"):
            raise AttributeError(f"Keras {keras.__version__} keeps no `{kind}_function`")
        setattr(model, f"{kind}_function", None)


def note_new_layers(model: Any) -> None:
    """Which layers did Keras see when a model was compiled? This adds the new ones.

    Keras would warn of a changed `trainable` for each of them. Read for Keras 3.10, which does
    not compare layers, and 3.15, which does.
    """
    if not hasattr(keras.Model, "_warn_if_trainable_state_changed") or not model.compiled:
        return
    for layer in walk_layers(model):
        model._compiled_trainable_state.setdefault(layer, layer.trainable)


def profiles_batches(callback: Any) -> bool:
    """Does a `keras.callbacks.TensorBoard` profile some batches? Read for Keras 3.10 to 3.15."""
    return not callback._start_batch == callback._stop_batch == 0


def logged_metrics(model: Any) -> dict[str, Any]:
    """Under which names does a model log its metrics? The metric by each name, without `val_`.

    Keras puts the name of an output before that of a compiled metric, and numbers metrics of one
    name. Read for Keras 3.10 to 3.15: what gathers compiled metrics gives their results in the
    order of its list.
    """
    from keras.src.trainers.compile_utils import CompileMetrics

    found = {}
    for metric in getattr(model, "metrics", None) or ():
        if not isinstance(metric, CompileMetrics):
            found[metric.name] = metric
        elif metric.built:
            found.update(zip(metric.result(), metric.metrics, strict=True))
    return found


def metric_direction(metric: Any) -> str | None:
    """In which direction does a metric get better? `"up"`, `"down"`, or None if it does not say.

    Read for Keras 3.10 to 3.15.

    Raises:
        RuntimeError: if no metric of Keras says it where it did.
    """
    _check_directions()
    return getattr(metric, "_direction", None)


@functools.cache
def _check_directions() -> None:
    metric = _in_new_thread(keras.metrics.MeanSquaredError)
    if getattr(metric, "_direction", None) != "down":
        raise RuntimeError(
            f"Keras {keras.__version__} does not keep the direction of a metric in `_direction`, "
            "as it did from 3.10 to 3.15. kerasreg must be told where it is now."
        )


def validates_some_epochs(model: Any) -> bool:
    """Does the `fit` that runs have a `validation_freq`, by which it leaves epochs out?

    Callbacks are not told. Read for Keras 3.10 to 3.15: `fit` of each backend has arguments of
    these names. False where no `fit` of Keras trains the model in this thread.
    """
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_name == "fit":
            given = frame.f_locals
            if given.get("self") is model and "validation_freq" in given:
                validated = given.get("validation_data") is not None
                return validated and given["validation_freq"] != 1
    return False


def stored_dtype(variable: Any) -> str:
    """Which dtype does a variable have outside of an autocast scope?

    Read for Keras 3.10 to 3.15.
    """
    return str(variable._dtype)


# Optimizers.

_SLOTS = {
    "accumulator": "_accumulators",
    "average_gradient": "_average_gradients",
    "norm": "_u",
    "velocity": "_velocities",
    "velocity_hat": "_velocity_hats",
}


def slots_of(optimizer: Any, name: str) -> list[Any]:
    """What does an optimizer remember for each trainable variable, by the name in Keras' own text?

    Read for Keras 3.10 to 3.15.

    Args:
        optimizer: a built optimizer.
        name: `"accumulator"` (Adagrad), `"average_gradient"` (RMSprop), `"norm"` (Adamax),
            `"velocity"` (Adam, Nadam, RMSprop) or `"velocity_hat"` (Adam with `amsgrad`).
    """
    return list(getattr(optimizer, _SLOTS[name]))


def trainable_variables_of(optimizer: Any) -> list[Any]:
    """Which variables was an optimizer built for, in the order of its slots?

    Read for Keras 3.10 to 3.15.
    """
    return list(optimizer._trainable_variables)


def index_of(optimizer: Any, variable: Any) -> int:
    """Which of an optimizer's slots belong to a variable, also to one of the backend's own?

    Read for Keras 3.10 to 3.15.
    """
    return int(optimizer._get_variable_index(variable))


def share_trainable_variables(outer: Any, inner: Any) -> None:
    """For which variables is an optimizer around another one built? For the same ones.

    Read for Keras 3.10 to 3.15: `build` of the base class keeps the list and the indices.
    """
    replace(outer, "_trainable_variables", inner._trainable_variables)
    replace(outer, "_trainable_variables_indices", inner._trainable_variables_indices)


def check_known(optimizer: Any, variables: Sequence[Any]) -> None:
    """Was an optimizer built for some variables? Keras' own error says for which one it was not.

    Read for Keras 3.10 to 3.15.

    Raises:
        ValueError: if not.
    """
    optimizer._check_variables_are_known(variables)


def own_variables(optimizer: Any) -> list[Any]:
    """Which variables did an optimizer make itself? Read for Keras 3.10 to 3.15."""
    return list(optimizer._variables)


def calls_of(optimizer: Any) -> Any:
    """How often were gradients given to an optimizer, also where it only gathered them?

    The variable of it, of an optimizer with a rule of its own. `iterations` counts the steps that
    were made. Read for Keras 3.10 to 3.15.
    """
    return optimizer._iterations


def decays(optimizer: Any, variable: Any) -> bool:
    """Does a variable decay, by what `exclude_from_weight_decay` was told?

    Read for Keras 3.10 to 3.15.

    Args:
        optimizer: one that has that method of Keras' base class.
        variable: a variable of Keras or, as Keras asks on TensorFlow, of the backend.
    """
    return bool(optimizer._use_weight_decay(variable))


def learning_rate_of(optimizer: Any) -> Any:
    """What was an optimizer's learning rate made of? A variable, or a schedule.

    Read for Keras 3.10 to 3.15.
    """
    return optimizer._learning_rate


def show_moving_averages(optimizer: Any, averages: Sequence[Any]) -> None:
    """Where does `keras.callbacks.SwapEMAWeights` look for averages of weights?

    This puts averages there that Keras did not make. Read for Keras 3.10 to 3.15.
    """
    optimizer._model_variables_moving_average = averages


def replace_update_step(optimizer: Any, step: Callable[[Any, Any, Any], None]) -> Any:
    """How does one get between an optimizer and each variable that it moves, for good?

    Keras calls `update_step` of the object, for one variable. Read for Keras 3.10 to 3.15.

    Args:
        optimizer: a Keras optimizer with a rule of its own.
        step: what is called in its place, with a gradient, a variable and the learning rate.

    Returns:
        The method that was there.
    """
    before = optimizer.update_step
    replace(optimizer, "update_step", step)
    return before


def default_stateless_apply(optimizer: Any) -> bool:
    """Does an optimizer have the `stateless_apply` of Keras' base class?

    The classes are asked, not the functions: other code may have replaced those for a while. Read
    for Keras 3.10 to 3.15, where `LossScaleOptimizer` has another one.
    """
    owner = next(kind for kind in type(optimizer).__mro__ if "stateless_apply" in vars(kind))
    return owner in keras.optimizers.Optimizer.__mro__


def base_optimizer() -> type:
    """Which class of optimizers has methods that are the same on all backends?

    Read for Keras 3.10 to 3.15.
    """
    from keras.src.optimizers.base_optimizer import BaseOptimizer

    return BaseOptimizer


# The global state.


def is_writing_model() -> bool:
    """Is Keras writing or reading a whole model in this thread, in which objects are shared?

    Read for Keras 3.10 to 3.15.

    Raises:
        RuntimeError: if Keras keeps the shared objects elsewhere.
    """
    _check_writing_is_seen()
    return _global(_WRITING) is not None


def config_sharing_scope() -> Any:
    """In which scope do layers that share an object share it when their configs are read?

    Read for Keras 3.10 to 3.15.

    Returns:
        A context manager.
    """
    from keras.src.saving.serialization_lib import ObjectSharingScope

    return ObjectSharingScope()


def shared_object(key: Any) -> Any:
    """Which object was already made for a key, while a model is read? None outside of that.

    Read for Keras 3.10 to 3.15.
    """
    from keras.src.saving.serialization_lib import get_shared_object

    return get_shared_object(key)


def note_shared_object(key: Any, value: Any) -> None:
    """How does one keep an object for a key, for as long as a model is read?

    Read for Keras 3.10 to 3.15.
    """
    from keras.src.saving.serialization_lib import record_object_after_deserialization

    record_object_after_deserialization(value, key)


def global_seed_generator() -> Any:
    """Which generator seeds draws without a seed? None before the first of them.

    Read for Keras 3.10 to 3.15.

    Raises:
        RuntimeError: if Keras keeps the generator elsewhere.
    """
    _check_seeds_are_seen()
    return _global(_SEEDS)


def restore_global_seed_generator(generator: Any) -> None:
    """How does the generator of draws without a seed become another one, or none again?

    Read for Keras 3.10 to 3.15.

    Args:
        generator: what `global_seed_generator` returned.
    """
    _check_seeds_are_seen()
    _set_global(_SEEDS, generator)


def thread_settings() -> list[dict[str, Any]]:
    """What has Keras set for this thread alone, such as its dtype policy? Copies.

    Keras keeps its global state in objects that each thread sees empty at first. Read for Keras
    3.10, which has one of them, and 3.15, which has two.
    """
    return [{key: _copied(value) for key, value in vars(of).items()} for of in _trackers()]


def adopt_thread_settings(settings: list[dict[str, Any]], only_seeds: bool = False) -> None:
    """How does a thread take over what Keras has set for another one?

    Read for Keras 3.10 to 3.15.

    Args:
        settings: what `thread_settings` returned in the other thread.
        only_seeds: whether to take over the seed and the generator of draws without a seed alone.

    Raises:
        RuntimeError: if Keras keeps the generator elsewhere.
    """
    _check_seeds_are_seen()
    for tracker, of_tracker in zip(_trackers(), settings, strict=True):
        taken = {
            key: _copied(value)
            for key, value in of_tracker.items()
            if not only_seeds or key in (_SEEDS, _SEED)
        }
        if not only_seeds:
            vars(tracker).clear()
        vars(tracker).update(taken)


def _copied(setting: Any) -> Any:
    """A setting that another thread does not change: of a generator, one in the same state."""
    if isinstance(setting, keras.random.SeedGenerator):
        generator = keras.random.SeedGenerator(0)
        generator.state.assign(setting.state)
        return generator
    return copy.copy(setting) if isinstance(setting, (dict, list, set)) else setting


def _trackers() -> list[Any]:
    from keras.src.backend.common import global_state

    names = ("GLOBAL_STATE_TRACKER", "GLOBAL_SETTINGS_TRACKER")
    return [vars(global_state)[name] for name in names if name in vars(global_state)]


def reset_automatic_names() -> None:
    """How do new layers get the names `dense`, `dense_1`, ... from the beginning again?

    Read for Keras 3.10 to 3.15.
    """
    from keras.src.utils.naming import reset_uids

    reset_uids()


@functools.cache
def _check_writing_is_seen() -> None:
    def inside() -> Any:
        with config_sharing_scope():
            return _global(_WRITING)

    if _in_new_thread(inside) is None:
        raise RuntimeError(_moved(_WRITING, "the objects that a model's config shares"))


@functools.cache
def _check_seeds_are_seen() -> None:
    def generator() -> Any:
        from keras.src.random.seed_generator import global_seed_generator

        _set_global(_SEEDS, "here")
        return global_seed_generator()

    if _in_new_thread(generator) != "here":
        raise RuntimeError(_moved(_SEEDS, "the generator of seeds"))


def _moved(key: str, what: str) -> str:
    return (
        f"Keras {keras.__version__} does not keep {what} under {key!r} in its global state, as it "
        "did from 3.10 to 3.15. kerasreg must be told where it is now."
    )


def _global(key: str) -> Any:
    from keras.src.backend.common import global_state

    return global_state.get_global_attribute(key)


def _set_global(key: str, value: Any) -> None:
    from keras.src.backend.common import global_state

    global_state.set_global_attribute(key, value)


def _in_new_thread(function: Callable[[], Any]) -> Any:
    """The result of a function in a thread of its own, which has a global state of its own."""
    results: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="kerasreg-probe")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
