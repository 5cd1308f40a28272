"""Vectorised forms of TensorFlow operations that `tf.vectorized_map` does not know.

An operation without one runs in a loop over the lanes: right, and slow.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

from kerasreg._keras.patching import patched
from kerasreg._keras.tensorflow_internals import (
    all_operations,
    has_converter,
    looped_operation,
    path_in_vectorized_map,
    widen_converter,
)


def _unrolls_convolutions() -> bool:
    return False


@contextlib.contextmanager
def unrolled_convolutions() -> Iterator[None]:
    """Gives convolutions with a kernel for each lane a form without a loop while it is entered.

    Each lane has an operation of its own; where all have the same images, they share one. For
    outputs alone, where nothing of XLA is asked: gradients and XLA have better forms, see
    `lane_convolutions`.
    """
    # Replaced for the thread that enters.
    with patched(sys.modules[__name__], _unrolls_convolutions=lambda: True):
        yield


def register_converters() -> None:
    """Teaches TensorFlow the vectorised forms; does nothing the second time."""
    import tensorflow as tf
    from tensorflow.python.ops.parallel_for import pfor

    def bitcast(converted: Any) -> Any:
        # Keras' `argmax`, hence its accuracies, looks at the sign of a zero.
        kind = converted.get_attr("type")
        return pfor.wrap(tf.bitcast(converted.stacked_input(0), kind), True)

    def in_top_k(converted: Any) -> Any:
        converted.stack_inputs([0, 1])
        predictions, targets = converted.stacked_input(0), converted.stacked_input(1)
        k = converted.unstacked_input(2)
        classes = tf.shape(predictions)[-1]
        known = (targets >= 0) & (targets < tf.cast(classes, targets.dtype))
        safe = tf.where(known, targets, tf.zeros_like(targets))
        target = tf.gather(predictions, safe, batch_dims=2)[..., None]
        # As the operation itself: with ties at the boundary, all of them are in.
        greater = tf.reduce_sum(tf.cast(predictions > target, k.dtype), axis=-1)
        finite = tf.reduce_all(tf.math.is_finite(predictions), axis=-1)
        return pfor.wrap(known & finite & (greater < k), True)

    def look_up(converted: Any) -> Any:
        keys, stacked, _ = converted.input(1)
        found = tf.raw_ops.LookupTableFindV2(
            table_handle=converted.unstacked_input(0),
            keys=keys,
            default_value=converted.unstacked_input(2),
        )
        return pfor.wrap(found, stacked)

    def transform_images(converted: Any) -> Any:
        # One batch of the images of all lanes.
        converted.stack_inputs([0, 1])
        images, transforms = converted.stacked_input(0), converted.stacked_input(1)
        lanes, count = tf.shape(images)[0], tf.shape(images)[1]
        # Keras gives one transformation for each image, and TensorFlow takes one for all, too.
        transforms = tf.broadcast_to(transforms, [lanes, count, 8])
        found = tf.raw_ops.ImageProjectiveTransformV3(
            images=tf.reshape(images, tf.concat([[lanes * count], tf.shape(images)[2:]], 0)),
            transforms=tf.reshape(transforms, [-1, 8]),
            output_shape=converted.unstacked_input(2),
            fill_value=converted.unstacked_input(3),
            interpolation=converted.get_attr("interpolation").decode(),
            fill_mode=converted.get_attr("fill_mode").decode(),
        )
        shape = tf.concat([[lanes, count], tf.shape(found)[1:]], 0)
        return pfor.wrap(tf.reshape(found, shape), True)

    def of_colors(operation: Any) -> Callable[[Any], Any]:
        def convert(converted: Any) -> Any:
            images, stacked, _ = converted.input(0)
            return pfor.wrap(operation(images), stacked)

        return convert

    def is_list(converted: Any) -> bool:
        return bool(converted.input(0).t.dtype == tf.variant)

    def zeros_like_list(converted: Any) -> Any:
        # The steps of a recurrent layer whose outputs another one takes. Each element of the list
        # has an axis of lanes. TensorFlow's own form makes numbers of it, which is an error.
        return pfor.wrap(tf.zeros_like(converted.stacked_input(0)), True)

    def has_known_rank(converted: Any) -> bool:
        return converted.op.outputs[0].shape.num_elements() is not None

    def shape_of_elements(converted: Any) -> Any:
        # That of lists that TensorFlow has given an axis of lanes may be unknown, which is one
        # number. Its own form takes the first of several away, and has none then.
        rank = converted.op.outputs[0].shape.num_elements()
        kind = converted.get_attr("shape_type")
        found = tf.raw_ops.TensorListElementShape(
            input_handle=converted.stacked_input(0), shape_type=kind
        )
        unknown = tf.fill([rank], tf.cast(-1, kind))
        known = tf.equal(tf.size(found), rank + 1)
        return pfor.wrap(
            tf.cond(known, lambda: tf.reshape(found, [-1])[1:], lambda: unknown), False
        )

    def has_kernels(converted: Any) -> bool:
        return _unrolls_convolutions() and bool(converted.input(1).is_stacked)

    def convolve_each(converted: Any) -> Any:
        names = [of.name for of in converted.op.op_def.attr if of.name != "T"]
        attributes = {name: converted.get_attr(name) for name in names}
        (images, stacked, _), kernels = converted.input(0), converted.stacked_input(1)
        if stacked or attributes["data_format"] != b"NHWC":
            each = tf.unstack(images) if stacked else [images] * kernels.shape[0]
            pairs = zip(each, tf.unstack(kernels), strict=True)
            found = [tf.raw_ops.Conv2D(input=one, filter=own, **attributes) for one, own in pairs]
            return pfor.wrap(tf.stack(found), True)
        # All have the same images: a single convolution with the filters of all.
        count, *window, filters = kernels.shape
        joined = tf.reshape(tf.transpose(kernels, [1, 2, 3, 0, 4]), [*window, count * filters])
        found = tf.raw_ops.Conv2D(input=images, filter=joined, **attributes)
        apart = tf.reshape(found, tf.concat([tf.shape(found)[:-1], [count, filters]], 0))
        return pfor.wrap(tf.transpose(apart, [3, 0, 1, 2, 4]), True)

    widen_converter("Conv2D", has_kernels, convolve_each)
    widen_converter("ZerosLike", is_list, zeros_like_list)
    widen_converter("TensorListElementShape", has_known_rank, shape_of_elements)

    converters: dict[str, Callable[[Any], Any]] = {
        "Bitcast": bitcast,
        "InTopKV2": in_top_k,
        # All lanes have one table.
        "LookupTableFindV2": look_up,
        "ImageProjectiveTransformV3": transform_images,
        "RGBToHSV": of_colors(tf.image.rgb_to_hsv),
        "HSVToRGB": of_colors(tf.image.hsv_to_rgb),
    }
    for operation, converter in converters.items():
        # A later TensorFlow may have its own, and refuses a second one.
        if not has_converter(operation):
            pfor.RegisterPFor(operation)(converter)


def fallbacks(function: Any) -> list[tuple[str, str]]:
    """The operations of a traced function that run in a loop over the lanes.

    Args:
        function: a TensorFlow `ConcreteFunction`.

    Returns:
        `(layer, operation)` for each: the path of the layer, and the name of
        the operation within it.
    """
    found: list[tuple[str, str]] = []
    for operation in all_operations(function.graph):
        looped = looped_operation(operation)
        if looped is None:
            continue
        layer, name = looped
        # A recurrent layer's own loop, which all lanes take together.
        if re.fullmatch(r"while(_\d+)?", name):
            continue
        # Chosen so: see `lane_convolutions`.
        if re.search(r"conv|Conv", name):
            continue
        if (layer, name) not in found:
            found.append((layer, name))
    return found


def calls_of_python(function: Any) -> list[str]:
    """The places in a traced function that call Python when it runs."""
    kinds = ("PyFunc", "EagerPyFunc", "PyFuncStateless", "NumpyFunction")
    names = [op.name for op in all_operations(function.graph) if op.type in kinds]
    return sorted(set(map(path_in_vectorized_map, names)))


def assignments(function: Any) -> list[str]:
    """The places in a traced function that assign variables of TensorFlow."""
    names = [op.name for op in all_operations(function.graph) if _ASSIGNS.match(op.type)]
    return sorted(set(map(path_in_vectorized_map, names)))


_ASSIGNS = re.compile("Assign(Add|Sub)?VariableOp$")


def draws_random_numbers(function: Any) -> bool:
    """Whether a traced function has TensorFlow's own random operations."""
    return any("Random" in operation.type for operation in all_operations(function.graph))
