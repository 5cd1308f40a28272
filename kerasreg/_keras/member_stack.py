"""Models of one structure as one layer, whose weights have a leading axis of members."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops, tree

from kerasreg._keras.internals import functional_of, input_structure, walk_layers
from kerasreg._keras.pfor_converters import register_converters, unrolled_convolutions

# Tensors with so many axes are images.
_IMAGES = 4
_LOOKUPS = (keras.layers.IntegerLookup, keras.layers.StringLookup, keras.layers.TextVectorization)


class MemberStack(keras.layers.Layer):
    """The outputs of all members for the same inputs, by one program in inference mode.

    Args:
        template: a model that has a graph. It lends its layers; its weights are those of the
            first member.
        members: for each member the values of `template.weights`, or None, and then all are zero
            until they are loaded.
        count: how many members there are.

    Attributes:
        problem: why the program takes one member after the other; None for a batched program.
    """

    def __init__(
        self, template: keras.Model, members: Sequence[Sequence[Any]] | None, count: int
    ) -> None:
        policies = [layer.dtype_policy for layer in walk_layers(template)]
        half = [policy for policy in policies if "16" in policy.compute_dtype]
        super().__init__(autocast=False, dtype=(half or policies)[0])
        self.count = count
        # Keras and TensorFlow track what is in attributes, and the weights of the template are
        # not to be saved beside the stacked ones.
        self._untracked = _Box(template)
        # But their tables are.
        self.lookups = [layer for layer in walk_layers(template) if isinstance(layer, _LOOKUPS)]
        self._stacked = [
            self.add_weight(
                shape=(count, *weight.shape),
                initializer="zeros",
                dtype=weight.dtype,
                trainable=False,
                autocast=False,
                name=f"{number}_{weight.name}",
            )
            for number, weight in enumerate(template.weights)
        ]
        self.built = True
        if members is not None:
            for variable, values in zip(self._stacked, zip(*members, strict=True), strict=True):
                variable.assign(ops.stack([ops.convert_to_tensor(value) for value in values]))
            self.show(template, 0)
        self.problem = self._why_not_batched()

    def template(self) -> Any:
        """The model that lends its layers: no property, as Keras saves what it finds in those."""
        return self._untracked.value

    def show(self, model: Any, member: int) -> None:
        """Gives a model of the structure the weights of a member."""
        for weight, stacked in zip(model.weights, self._stacked, strict=True):
            weight.assign(stacked.value[member])
        for layer in walk_layers(model):
            # What such a layer computes with is made of its weights.
            if isinstance(layer, keras.layers.Normalization):
                layer.finalize_state()

    def originals(self) -> list[tuple[Any, Any, Any]]:
        """For each stacked weight: it, the weight of the template, and the layer of that one."""
        owners = {
            id(weight): layer
            for layer in walk_layers(self.template())
            # The innermost comes last.
            for weight in layer.weights
        }
        return [
            (stacked, weight, owners[id(weight)])
            for stacked, weight in zip(self._stacked, self.template().weights, strict=True)
        ]

    def load_own_variables(self, store: Any) -> None:
        super().load_own_variables(store)
        self.show(self.template(), 0)

    def call(self, inputs: Any) -> list[Any]:
        values = [ops.convert_to_tensor(variable) for variable in self._stacked]
        if self.problem is None:
            return self._batched(values, inputs, ops.vectorized_map)
        each = [self._one([value[k] for value in values], inputs) for k in range(self.count)]
        return [ops.stack(outputs) for outputs in zip(*each, strict=True)]

    def compute_output_spec(self, inputs: Any) -> list[Any]:
        """Symbolic outputs, with a leading axis of members."""
        return [
            keras.KerasTensor((self.count, *output.shape), output.dtype)
            for output in self.template().outputs
        ]

    def _batched(self, values: Any, inputs: Any, vectorized_map: Any) -> list[Any]:
        flat = tree.flatten(inputs)
        # Of numbers that weights are multiplied with one copy for each member: the first product
        # is then a batched one too, which moves no weights. What is looked up is one for all, and
        # so are images, of which one convolution has the filters of all members.
        copied = [
            len(x.shape) < _IMAGES
            and keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype))
            for x in flat
        ]
        copies = [
            ops.repeat(ops.expand_dims(x, 0), self.count, axis=0)
            for x, is_copied in zip(flat, copied, strict=True)
            if is_copied
        ]

        def one(member: Any) -> list[Any]:
            values, mine = member
            own = iter(mine)
            given = [
                next(own) if is_copied else x for x, is_copied in zip(flat, copied, strict=True)
            ]
            return self._one(values, tree.pack_sequence_as(inputs, given))

        with contextlib.ExitStack() as stack:
            if keras.backend.backend() == "tensorflow":
                register_converters()
                stack.enter_context(unrolled_convolutions())
            return list(vectorized_map(one, (values, copies)))

    def _one(self, values: Sequence[Any], inputs: Any) -> list[Any]:
        with keras.StatelessScope(list(zip(self.template().weights, values, strict=True))):
            return tree.flatten(self.template()(inputs, training=False))

    def _why_not_batched(self) -> str | None:
        if keras.backend.backend() == "jax":
            return None
        if keras.backend.backend() != "tensorflow":
            return f"the backend {keras.backend.backend()} has no batched form for all layers"
        import tensorflow as tf

        def strict(function: Callable[[Any], Any], members: Any) -> Any:
            return tf.vectorized_map(function, members, fallback_to_while_loop=False)

        def specs(values: Any, inputs: Any) -> Any:
            return self._batched(values, inputs, strict)

        inputs = tree.map_structure(
            lambda tensor: tf.TensorSpec(tensor.shape, tensor.dtype),
            input_structure(functional_of(self.template())),
        )
        values = [tf.TensorSpec(one.shape, one.dtype) for one in self._stacked]
        try:
            tf.function(specs, autograph=False).get_concrete_function(values, inputs)
        except Exception as error:  # TensorFlow's, of any class, for an operation that it lacks.
            lines = itertools.dropwhile(lambda line: not line.strip(), str(error).splitlines())
            return next(lines, type(error).__name__)
        return None


class _Box:
    """Holds what Keras and TensorFlow are not to track."""

    def __init__(self, value: Any) -> None:
        self.value = value
