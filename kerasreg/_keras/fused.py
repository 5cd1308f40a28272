"""One kernel where TensorFlow would run a random function operation by operation.

A hash is a dozen integer operations. XLA fuses them with what uses the bits;
a graph without XLA, or eager execution, makes a pass over memory of each. So in
a graph that is not compiled as a whole, the function alone is: the bits are the
same, and dropout then costs a quarter of what Keras' own does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kerasreg._keras.tensorflow_internals import is_compiled_by_xla, is_in_vectorized_map


def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a pure function of tensors where that is of use, else leaves it.

    Args:
        function: takes tensors, and structures of tensors and Python numbers,
            by position, and hashable static values by name. Static: the names'
            values, and the shapes and dtypes of the tensors, one kernel for each.
    """

    @functools.wraps(function)
    def call(*arguments: Any, **static: Any) -> Any:
        if not fuses_here(*arguments):
            return function(*arguments, **static)
        import tensorflow as tf

        # Python numbers become arguments of the kernel: layers that differ in
        # their seed share it.
        arguments = tf.nest.map_structure(_as_tensor, arguments)
        flat = tf.nest.flatten(arguments)
        specs = [tf.TensorSpec(part.shape, part.dtype) for part in flat]
        structure = tf.nest.pack_sequence_as(arguments, specs)
        return _kernel(function, structure, tuple(sorted(static.items())))(*flat)

    return call


def fused_draw(function: Callable[..., Any]) -> Callable[..., Any]:
    """`fused` for a function whose argument `shape` may have tensors in it.

    A kernel has a static shape; others are drawn operation by operation.
    """
    compiled = fused(function)

    @functools.wraps(function)
    def draw(*arguments: Any, shape: Any) -> Any:
        if is_static(shape):
            return compiled(*arguments, shape=tuple(shape))
        return function(*arguments, shape=shape)

    return draw


def is_static(shape: Any) -> bool:
    """Whether all lengths are known while tracing."""
    return all(isinstance(length, int) for length in shape)


def fuses_here(*arguments: Any) -> bool:
    """Whether a function of these arguments becomes a kernel of its own here.

    It does in a TensorFlow graph that XLA does not compile as a whole.
    """
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    if tf.executing_eagerly() or not _xla_works():
        return False
    # What changes from batch to batch may be the number of examples; a length that
    # changes would compile a kernel for each.
    shapes = [part.shape for part in tf.nest.flatten(arguments) if hasattr(part, "shape")]
    if any(shape.rank is None or None in shape[1:] for shape in map(tf.TensorShape, shapes)):
        return False
    graph = tf.compat.v1.get_default_graph()
    return not is_compiled_by_xla(graph) and not is_in_vectorized_map(graph)


def _as_tensor(value: Any) -> Any:
    if isinstance(value, int):
        return ops.convert_to_tensor(value, dtype="uint32")
    return ops.convert_to_tensor(value)


# Bounded: a program has few shapes, and each kernel holds compiled code.
@functools.lru_cache(maxsize=256)
def _kernel(function: Any, structure: Any, static: tuple[tuple[str, Any], ...]) -> Any:
    import tensorflow as tf

    def flat_function(*flat: Any) -> Any:
        return function(*tf.nest.pack_sequence_as(structure, flat), **dict(static))

    # Outside of the graph that is being traced: other graphs use the kernel too.
    with tf.init_scope():
        compiled = tf.function(flat_function, jit_compile=True, autograph=False)
        return compiled.get_concrete_function(*tf.nest.flatten(structure))


@functools.cache
def _xla_works() -> bool:
    """Whether this TensorFlow can compile: not every platform's can."""
    import tensorflow as tf

    with tf.init_scope():
        try:
            return bool(tf.function(lambda x: x > 0.0, jit_compile=True)(tf.constant(1.0)))
        except (tf.errors.OpError, ValueError, NotImplementedError):
            return False
