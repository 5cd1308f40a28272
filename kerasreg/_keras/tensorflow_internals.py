"""What kerasreg asks of the insides of TensorFlow: one function for each question.

Each docstring says for which versions of TensorFlow the answer was read in its source. Where an
attribute or a module is gone, Python's own error names it. Names of scopes and of functions that
are gone would match nothing: they are looked for in TensorFlow's code once in a process, and the
error names them. `tests/_keras/test_tensorflow_internals.py` has a test for each function, with
the function's name in its own.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

# The names of scopes that a `tf.vectorized_map` opens: around its body, and around what it makes.
_BODY, _CONVERTED = "loop_body", "pfor"
# `tf.recompute_grad` evaluates a function in the first of these, and again in the second.
_FIRST, _AGAIN = "inner", "inner_recompute_grad"
_RECOMPUTES_IN = os.path.join("tensorflow", "python", "ops", "custom_gradient.py")


# Graphs.


def is_compiled_by_xla(graph: Any) -> bool:
    """Does XLA compile a graph, or one around it, as a whole?

    Read for TensorFlow 2.18 to 2.21. A wrong answer costs speed and no more.
    """
    from tensorflow.python.ops import control_flow_util

    return bool(control_flow_util.GraphOrParentsInXlaContext(graph))


def is_in_vectorized_map(graph: Any) -> bool:
    """Does a `tf.vectorized_map` trace its body, in a graph or around it?

    Read for TensorFlow 2.18 to 2.21: the body is traced in a scope of a known name.

    Raises:
        RuntimeError: if TensorFlow has no scope of this name.
    """
    _check_scopes_of_vectorized_map()
    while graph is not None:
        if _BODY in graph.get_name_scope().split("/"):
            return True
        graph = getattr(graph, "outer_graph", None)
    return False


def path_in_vectorized_map(name: str) -> str:
    """What is the name of an operation within the body of a `tf.vectorized_map`?

    Read for TensorFlow 2.18 to 2.21.

    Args:
        name: the name of an operation in the graph.
    """
    _check_scopes_of_vectorized_map()
    return name.split(f"{_BODY}/")[-1].split(f"/{_CONVERTED}/")[0]


def looped_operation(operation: Any) -> tuple[str, str] | None:
    """Which operation of the body of a `tf.vectorized_map` does a loop go through one by one?

    Read for TensorFlow 2.18 to 2.21: an operation without a vectorised form becomes a loop.

    Args:
        operation: of a graph.

    Returns:
        `(layer, name)`: the path of the layer, and the name of the operation within it. None if
        `operation` is no such loop.
    """
    _check_scopes_of_vectorized_map()
    path, loop, _ = operation.name.partition(f"/{_CONVERTED}/while")
    if operation.type not in ("While", "StatelessWhile") or not loop or f"{_BODY}/" not in path:
        return None
    layer, _, name = path.split(f"{_BODY}/")[-1].rpartition("/")
    return layer, name


def all_operations(graph: Any) -> Iterator[Any]:
    """Which operations are in a graph, and in the functions that it calls?

    Read for TensorFlow 2.18 to 2.21.
    """
    yield from graph.get_operations()
    for name in graph._functions:
        inner = graph._get_function(name)
        if inner is not None and getattr(inner, "graph", None) is not None:
            yield from all_operations(inner.graph)


def has_converter(operation: str) -> bool:
    """Does `tf.vectorized_map` know the vectorised form of an operation, such as `"MatMul"`?

    Read for TensorFlow 2.18 to 2.21.
    """
    from tensorflow.python.ops.parallel_for import pfor

    return operation in pfor._pfor_converter_registry


def widen_converter(operation: str, applies: Any, converter: Any) -> None:
    """How is a vectorised form of an operation mended? By another one for some inputs.

    Read for TensorFlow 2.18 to 2.21. Does nothing the second time.

    Args:
        operation: the type of an operation that `tf.vectorized_map` knows, such as `"ZerosLike"`.
        applies: whether the other form is to be taken; of what a converter is given.
        converter: the other form.

    Raises:
        KeyError: if TensorFlow knows no form of the operation.
    """
    from tensorflow.python.ops.parallel_for import pfor

    known = pfor._pfor_converter_registry[operation]
    if getattr(known, "kerasreg_widened", False):
        return

    def convert(converted: Any) -> Any:
        return (converter if applies(converted) else known)(converted)

    convert.kerasreg_widened = True  # type: ignore[attr-defined]
    pfor._pfor_converter_registry[operation] = convert


def handles_text(graph: Any) -> bool:
    """Is there text in a graph, or in the functions that it calls? XLA has none.

    To compile such a graph may end the process. Read for TensorFlow 2.18 to 2.21.
    """
    import tensorflow as tf

    return any(
        output.dtype == tf.string
        for operation in all_operations(graph)
        for output in operation.outputs
    )


@functools.cache
def _check_scopes_of_vectorized_map() -> None:
    from tensorflow.python.ops.parallel_for import control_flow_ops

    functions = [f for f in vars(control_flow_ops).values() if isinstance(f, types.FunctionType)]
    codes = [code for function in functions for code in _codes(function.__code__)]
    known = {text for code in codes for text in code.co_consts if isinstance(text, str)}
    for name in (_BODY, _CONVERTED):
        if name not in known:
            raise RuntimeError(_gone(f"scope {name!r}", "tf.vectorized_map"))


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """The code of a function, and of the functions that are defined in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


# Tables.


def table_contents(table: Any) -> dict[Any, Any] | None:
    """Which values has a table by their keys? None for what is no table, or one that may change.

    The default value has the key None. Read for TensorFlow 2.18 to 2.21.
    """
    import tensorflow as tf

    if not isinstance(table, tf.lookup.StaticHashTable):
        return None
    with tf.init_scope():  # Also while a function is traced.
        keys, values = table.export()
    default = table._default_value
    return {
        **dict(zip(keys.numpy().tolist(), values.numpy().tolist(), strict=True)),
        None: default.numpy().item(),
    }


# Functions that are evaluated again for their gradient.


def recomputed_calls() -> list[tuple[bool, int]]:
    """Which evaluations by `tf.recompute_grad` are around this place, the innermost first?

    Read for TensorFlow 2.18 to 2.21: the names of functions on Python's stack tell.

    Returns:
        For each, whether it is the second evaluation, and the identity of the arguments, which
        is the same for the first evaluation and the second.

    Raises:
        RuntimeError: if TensorFlow has no functions of these names.
    """
    if "tensorflow" not in sys.modules:
        return []
    _check_names_of_recomputation()
    calls = []
    frame: Any = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_name
        if name in (_FIRST, _AGAIN) and frame.f_code.co_filename.endswith(_RECOMPUTES_IN):
            calls.append((name == _AGAIN, id(frame.f_locals["args"])))
        frame = frame.f_back
    return calls


@functools.cache
def _check_names_of_recomputation() -> None:
    import tensorflow as tf

    code = inspect.unwrap(tf.recompute_grad).__code__
    for name in (_FIRST, _AGAIN):
        inner = next((one for one in _codes(code) if one.co_name == name), None)
        if inner is None:
            raise RuntimeError(_gone(f"function {name!r}", "tf.recompute_grad"))
        code = inner
        # As an argument, or from the function around it.
        if "args" not in (*code.co_varnames, *code.co_freevars):
            raise RuntimeError(_gone(f"variable 'args' in {name!r}", "tf.recompute_grad"))
    if not code.co_filename.endswith(_RECOMPUTES_IN):
        raise RuntimeError(_gone(f"file {_RECOMPUTES_IN!r}", "tf.recompute_grad"))


def _gone(name: str, of: str) -> str:
    import tensorflow as tf

    return (
        f"TensorFlow {tf.__version__} has no {name} in its `{of}`, as it had from 2.18 to 2.21. "
        "kerasreg must be told its new name."
    )


# Random numbers.


def operation_seeds() -> Any:
    """Which generator seeds the operations that draw? None while no global seed is set.

    Read for TensorFlow 2.18 to 2.21.

    Returns:
        A `random.Random`.
    """
    context = _context()
    return None if context._seed is None else context._rng


def operation_seeds_state() -> Any:
    """How far is the generator that seeds operations? With the global seed, as one object.

    Read for TensorFlow 2.18 to 2.21.
    """
    context = _context()
    return None if context._seed is None else (context._seed, context._rng.getstate())


def restore_operation_seeds(state: Any) -> None:
    """How is the generator that seeds operations put where it was?

    Read for TensorFlow 2.18 to 2.21.

    Args:
        state: what `operation_seeds_state` returned.
    """
    if state == operation_seeds_state():
        return  # To set it forgets what was compiled for operations.
    context = _context()
    context._set_global_seed(None if state is None else state[0])
    if state is not None:
        context._rng.setstate(state[1])


def forget_kernels() -> None:
    """Where do operations that draw keep how far they are? This lets them begin anew.

    An operation that comes again with its seed would go on where it was. Read for TensorFlow 2.18
    to 2.21.
    """
    _context().clear_kernel_cache()


def _context() -> Any:
    from tensorflow.python.eager import context

    return context.context()


# Data.


def is_endless(dataset: Any) -> bool:
    """Does a `tf.data.Dataset` never end?

    TensorFlow says of some datasets that their number of batches is unknown, such as of one that is
    repeated and then filtered. Then the datasets that it is made of are asked. Read for TensorFlow
    2.18 to 2.21.
    """
    import tensorflow as tf

    cardinality = int(dataset.cardinality())
    if cardinality != tf.data.UNKNOWN_CARDINALITY:
        return cardinality == tf.data.INFINITE_CARDINALITY
    # These end although what they take from does not.
    ends = type(dataset).__name__ in ("_TakeDataset", "_TakeWhileDataset")
    return not ends and any(map(is_endless, dataset._inputs()))


def dataset_contents(dataset: Any) -> str | None:
    """Equal for datasets of equal batches, in as far as TensorFlow can tell; None where it cannot.

    It cannot for a dataset that depends on what is outside of it: a Python function, a variable or
    a cache. The elements of arrays and tensors count, the words of tables, and the seeds of
    shuffles. Two datasets that shuffle without a seed are equal, and have other orders each time.
    Read for TensorFlow 2.18 to 2.21.
    """
    import tensorflow as tf
    from tensorflow.core.framework import graph_pb2

    variant = dataset._variant_tensor
    try:
        found = tf.raw_ops.DatasetToGraphV2(
            input_dataset=variant, external_state_policy=2
        )  # That is to fail.
        fingerprint = int(tf.raw_ops.DatasetFingerprint(input_dataset=variant))
    except (tf.errors.OpError, ValueError):
        return None
    graph = graph_pb2.GraphDef.FromString(found.numpy())
    # The fingerprint leaves the seeds out. Of each node, but for its name, which is a count.
    content = hashlib.blake2b(digest_size=16)
    for node in graph.node:
        content.update(node.op.encode())
        if node.op != "Const":
            continue
        value = node.attr["value"].tensor
        for handle in value.resource_handle_val:
            # Of a shuffle, whose seeds are others of these nodes.
            if not handle.maybe_type_name.endswith("SeedGeneratorE"):
                return None
            handle.Clear()
        content.update(value.SerializeToString(deterministic=True))
    return f"{fingerprint:x} {content.hexdigest()}"


# Files.


def saved_signature(path: str, name: str = "serving_default") -> Any:
    """What does the file of a SavedModel say of a signature? A `SignatureDef`.

    Read for TensorFlow 2.18 to 2.21. Nothing is loaded but the file's text.

    Args:
        path: the folder of the SavedModel.
        name: the name of the signature.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    with open(os.path.join(path, "saved_model.pb"), "rb") as file:
        (graph,) = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs
    return graph.signature_def[name]


def name_inputs(path: str, names: Mapping[str, Mapping[str, str]]) -> None:
    """How may the inputs of a signature be called? In the file of a SavedModel by any name.

    TensorFlow saves functions whose arguments are called by letters, and their names are those of
    the inputs. This gives other names to the inputs in the file: in the signature, which servers
    read, and where TensorFlow's loader finds the names of specs and of arguments. Read for
    TensorFlow 2.18 to 2.21.

    Args:
        path: the folder of the SavedModel.
        names: by signature, the new name for each old one; others stay.

    Raises:
        RuntimeError: if the file has no function behind a signature where it had one.
    """
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow.python.saved_model import fingerprinting_utils

    file = os.path.join(path, "saved_model.pb")
    with open(file, "rb") as opened:
        saved = saved_model_pb2.SavedModel.FromString(opened.read())
    (graph,) = saved.meta_graphs
    objects = graph.object_graph_def
    functions = _children(objects, _children(objects, objects.nodes[0]).get("signatures"))
    for key, renamed in names.items():
        if key not in graph.signature_def:
            continue
        inputs = graph.signature_def[key].inputs
        own = {old: inputs[old] for old in renamed if old in inputs}
        kept = {old: type(info).FromString(info.SerializeToString()) for old, info in own.items()}
        for old in kept:
            del inputs[old]
        for old, info in kept.items():
            inputs[renamed[old]].CopyFrom(info)
        node = functions.get(key)
        bare = None if node is None else node.bare_concrete_function
        if bare is None or bare.concrete_function_name not in objects.concrete_functions:
            raise RuntimeError(_gone(f"function of {key!r}", "SavedModel"))
        bare.argument_keywords[:] = [renamed.get(old, old) for old in bare.argument_keywords]
        function = objects.concrete_functions[bare.concrete_function_name]
        _, by_keyword = function.canonicalized_input_signature.tuple_value.values
        for old, spec in by_keyword.dict_value.fields.items():
            spec.tensor_spec_value.name = renamed.get(old, old)
    with open(file, "wb") as opened:
        opened.write(saved.SerializeToString(deterministic=True))
    fingerprinting_utils.write_fingerprint(path)


def _children(objects: Any, node: Any) -> dict[str, Any]:
    """The objects below one of a SavedModel, by name."""
    children = () if node is None else node.children
    return {child.local_name: objects.nodes[child.node_id] for child in children}


def datatype_name(dtype: Any) -> str:
    """What is the name of a dtype in TensorFlow's messages, such as `"DT_FLOAT"`?

    Read for TensorFlow 2.18 to 2.21.

    Args:
        dtype: a `tf.DType`.
    """
    from tensorflow.core.framework import types_pb2

    return str(types_pb2.DataType.Name(dtype.as_datatype_enum))
