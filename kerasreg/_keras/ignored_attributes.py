"""What is looked at in an object, a function and a module, to compare two models."""

from __future__ import annotations

import inspect
import sys
import types
from typing import Any

import keras

# What a module of these names is known to do depends on nothing that we cannot see.
KNOWN = {"keras", "kerasreg", "tensorflow", "jax", "numpy", "builtins", "functools", "math"}

# Attributes that Keras keeps on its objects and that do not say what is computed.
# fmt: off
_BOOKKEEPING = {
    # Names, graphs of calls (a functional model gives its own), trackers and caches.
    "_tracker", "_tracked", "_lock", "_auto_config", "name", "_name", "_path", "_parent_path",
    "path", "_inbound_nodes", "_outbound_nodes", "_losses", "_loss_ids", "_losses_override",
    "_call_signature", "_call_context_args", "call_signature_parameters", "_build_shapes_dict",
    "_called", "build", "quantize", "_saved_model_inputs_spec", "_saved_model_arg_spec",
    "_obj_type", "_metrics", "_initial_seed", "_call_has_context_arg",
    # Of trainers.
    "loss", "_compile_loss", "_compile_metrics", "_loss_tracker", "train_function",
    "test_function", "predict_function", "unrolled_steps_per_execution", "_distribute_strategy",
    "stop_training", "stop_evaluating", "stop_predicting", "history",
    "_compiled_trainable_state", "_eval_epoch_iterator",
    "_initial_epoch", "steps_per_execution", "optimizer", "_compile_config", "_functional",
    "_distribute_reduction_method", "_steps_per_execution",
    # Of functional models, whose nodes are walked instead.
    "_nodes", "_nodes_by_depth", "_operations", "_operations_by_depth", "_layers", "_inputs",
    "_outputs", "input_names", "output_names",
    # Of optimizers.
    "_variables", "_trainable_variables_indices", "built", "_built", "_distribution_strategy",
    # These say what is decided for each variable, by its name, which is compared instead.
    "decided",
    "_exclude_from_weight_decay", "_exclude_from_weight_decay_cache",
    "_exclude_from_weight_decay_pattern",
    # Of penalties: an optimizer that is known by itself.
    "applied_by",
    # Of recurrent cells, which keep their masks for one pass.
    "_dropout_mask", "_recurrent_dropout_mask",
    # Of lookups: what `adapt` has counted, of which their table is made.
    "token_counts", "token_document_counts", "num_documents",
}
# fmt: on
_OF_KERAS = (
    keras.Layer,
    keras.Operation if hasattr(keras, "Operation") else keras.Layer,
    keras.optimizers.Optimizer,
    keras.metrics.Metric,
    keras.losses.Loss,
    keras.random.SeedGenerator,
    keras.dtype_policies.DTypePolicy,
)


def is_bookkeeping(owner: Any, name: str, item: Any) -> bool:
    """Whether an attribute says nothing about what its owner computes."""
    if name in _BOOKKEEPING:
        # A user's own attribute of such a name is looked at.
        return isinstance(owner, _OF_KERAS)
    if name.startswith("_self_") or name.endswith("_initializer"):
        return True
    if isinstance(owner, (keras.optimizers.Optimizer, keras.metrics.Metric)):
        # Slots and counts are made when an optimizer or a metric is built.
        return _is_state(item)
    # The seed of a layer of Keras' own is in a variable of its seed generator.
    return name == "seed" and module_of(type(owner)) == "keras"


def _is_state(item: Any) -> bool:
    if isinstance(item, (list, tuple)):
        return all(part is None or _is_state(part) for part in item)
    return isinstance(item, keras.Variable)


def module_of(value: Any) -> str:
    """The package that a class or a function says it is from."""
    return str(getattr(value, "__module__", None) or "").split(".")[0]


def is_known(function: types.FunctionType) -> bool:
    """Whether a function is found under its own name in a module that we know."""
    if module_of(function) not in KNOWN:
        return False
    found: Any = sys.modules.get(function.__module__)
    for part in function.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is function or inspect.unwrap(found) is function if callable(found) else False


def global_names(code: types.CodeType) -> list[str]:
    """The names of globals that a code, and the code within it, may read."""
    names = list(code.co_names)
    for item in code.co_consts:
        if isinstance(item, types.CodeType):
            names += global_names(item)
    return names
