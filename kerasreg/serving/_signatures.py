"""What a served model answers: its signatures, with names for inputs and outputs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from kerasreg._keras.internals import (
    first_call_signature,
    input_structure,
    output_structure,
    walk_layers,
)
from kerasreg.layers import NoisyLayer, monte_carlo
from kerasreg.random import mix
from kerasreg.serving._names import argument_names, input_names, output_names
from kerasreg.serving._probabilities import scores_of
from kerasreg.serving._quantization import StoredWeights


class Served:
    """A model as a function of named features, after its preprocessing.

    Args:
        model: a built model.
        preprocessing: a built model whose outputs are what `model` takes, or None.
        outputs: a name for each output, or None.
        quantization: None, or in what the model's weights are stored, see `StoredWeights`.

    Attributes:
        weights: the `StoredWeights` that the model reads in place of its own, or None.
        batch: the size of a batch, if the model takes no other; or None.
        stateful: whether the model keeps a state from call to call.
        specs: a `tf.TensorSpec` for each feature, by name; the first axis is the batch.
        arguments: the name of each feature as an argument of a function.
        names: of the outputs.
        shapes: of the outputs, with the batch first.
        floating: whether each output is of floating numbers.
    """

    def __init__(
        self,
        model: keras.Model,
        preprocessing: keras.Model | None = None,
        outputs: Sequence[str] | None = None,
        quantization: str | None = None,
    ) -> None:
        self.model, self.preprocessing = model, preprocessing
        self.weights = None if quantization is None else StoredWeights(model, quantization)
        self.stateful = any(getattr(layer, "stateful", False) for layer in walk_layers(model))
        if self.weights is not None and self.stateful:
            raise ValueError(
                "`quantization` must be None for a model with a state that it keeps from call to "
                f"call. Received: quantization={quantization!r}"
            )
        taken = model if preprocessing is None else preprocessing
        self._structure = _inputs_of(taken)
        structure = _outputs_of(model)
        self.names = output_names(structure, outputs)
        flat = tree.flatten(structure)
        self.shapes = [tuple(output.shape) for output in flat]
        self.floating = [keras.backend.is_float_dtype(output.dtype) for output in flat]
        names = input_names(self._structure)
        self.arguments = argument_names(names)
        self.specs = dict(zip(names, tree.flatten(self._structure), strict=True))
        self.batch = self._batch_of(taken)
        self.specs = {
            name: tf.TensorSpec((self.batch, *spec.shape[1:]), spec.dtype, self.arguments[name])
            for name, spec in self.specs.items()
        }

    def _batch_of(self, taken: keras.Model) -> int | None:
        """The size of a batch that a model is built for, unless it takes others too."""
        sizes = {tensor.shape[0] for tensor in tree.flatten(_symbolic_inputs(taken))} - {None}
        if len(sizes) != 1:
            return None
        (size,) = sizes
        return None if self._takes(size + 1) else int(size)

    def _takes(self, count: int) -> bool:
        """Whether the model answers each of so many examples."""
        features = {}
        for name, spec in self.specs.items():
            if self.stateful or None in spec.shape[1:].as_list():
                return False
            features[name] = tf.zeros((count, *spec.shape[1:]), spec.dtype)
        try:
            found = self(features).values()
        except Exception:  # The model's own.
            return False
        return all(len(value.shape) > 0 and value.shape[0] == count for value in found)

    @contextmanager
    def as_it_was(self) -> Iterator[None]:
        """Calls inside leave the state that the model keeps from call to call as it was."""
        # States of recurrent layers are none of the model's variables.
        states = [getattr(layer, "states", None) for layer in walk_layers(self.model)]
        own = [one for one in tree.flatten(states) if isinstance(one, keras.Variable)]
        variables = [*self.model.non_trainable_variables, *own]
        kept = [(one, tf.identity(one.value)) for one in variables]
        try:
            yield
        finally:
            for one, value in kept:
                if not bool(tf.reduce_all(one.value == value)):
                    one.assign(value)

    @property
    def rounding(self) -> float:
        """The largest step between numbers that the model computes with; 0 for single precision."""
        types = {layer.compute_dtype for layer in walk_layers(self.model)}
        types |= {spec.dtype.name for spec in self.specs.values()}
        half = {"float16": 2.0**-10, "bfloat16": 2.0**-7}
        return max((half[name] for name in types & set(half)), default=0.0)

    def model_inputs(self, features: Mapping[str, Any]) -> Any:
        """What the model itself is called with."""
        values = [features[name] for name in self.specs]
        packed = tree.pack_sequence_as(self._structure, values)
        return packed if self.preprocessing is None else self.preprocessing(packed, training=False)

    def named(self, outputs: Any) -> dict[str, Any]:
        """The outputs by name, without zeros left out: a signature has dense tensors."""
        return {
            name: _dense(name, value)
            for name, value in zip(self.names, tree.flatten(outputs), strict=True)
        }

    def reading(self) -> AbstractContextManager[Any]:
        """Where the model reads the weights that are served."""
        return nullcontext() if self.weights is None else self.weights.read()

    def outputs(self, features: Mapping[str, Any]) -> Any:
        """From features to outputs, as the model returns them."""
        inputs = self.model_inputs(features)
        with self.reading():
            return self.model(inputs, training=False)

    def __call__(self, features: Mapping[str, Any]) -> dict[str, Any]:
        """From features to named outputs."""
        return self.named(self.outputs(features))

    def function(self, answer: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Any:
        """A traced function of what the model is called with, and signature by names."""
        structure = tree.pack_sequence_as(self._structure, list(self.specs.values()))

        @tf.function(input_signature=[structure])
        def traced(inputs: Any) -> dict[str, Any]:
            return answer(self.by_name(inputs))

        traced.get_concrete_function()
        return traced

    def by_name(self, inputs: Any, argument: str = "samples") -> dict[str, Any]:
        """Inputs in the structure that a model takes, or already by name, by name."""
        if isinstance(inputs, Mapping) and set(inputs) == set(self.specs):
            return {name: inputs[name] for name in self.specs}
        flat = tree.flatten(inputs)
        if len(flat) != len(self.specs) or not _has_keys(inputs, self._structure):
            found = list(inputs) if isinstance(inputs, Mapping) else f"{len(flat)} arrays"
            raise ValueError(
                f"`{argument}` must be inputs with the names {list(self.specs)}, or as the model "
                f"is called with them. Received: {found}"
            )
        return dict(zip(self.specs, flat, strict=True))


def _dense(name: str, value: Any) -> Any:
    if isinstance(value, tf.RaggedTensor):
        raise ValueError(
            "`model` must have outputs of rows of one length, such as `ragged.to_tensor()`. "
            f"Received: a ragged tensor for {name!r}"
        )
    return tf.sparse.to_dense(value) if isinstance(value, tf.SparseTensor) else value


def _has_keys(inputs: Any, structure: Any) -> bool:
    """Whether all that is a dict in the inputs is one with the same keys in a structure."""
    if isinstance(inputs, Mapping):
        if not isinstance(structure, dict) or set(inputs) != set(structure):
            return False
        return all(_has_keys(value, structure[key]) for key, value in inputs.items())
    if not isinstance(inputs, (list, tuple)) or not isinstance(structure, (list, tuple)):
        return True
    return all(map(_has_keys, inputs, structure))


def _symbolic_inputs(model: keras.Model) -> Any:
    """The structure that a model is called with, of symbolic tensors or specs of them."""
    structure = input_structure(model)
    if structure is None and isinstance(model, keras.Sequential):
        structure = model.inputs[0]
    if structure is None:
        signature = list(first_call_signature(model))
        structure = signature[0] if len(signature) == 1 else signature
    return structure


def _inputs_of(model: keras.Model) -> Any:
    """The structure that a model is called with, of `tf.TensorSpec` for any batch."""

    def spec(tensor: Any) -> tf.TensorSpec:
        return tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype, tensor.name)

    return tree.map_structure(spec, _symbolic_inputs(model))


def _outputs_of(model: keras.Model) -> Any:
    """The structure that a model returns, of symbolic tensors."""
    known = output_structure(model)
    if known is not None:
        return known
    inputs = tree.map_structure(
        lambda spec: keras.KerasTensor(tuple(spec.shape), spec.dtype, name=spec.name),
        _symbolic_inputs(model),
    )
    return model.compute_output_spec(inputs)


def examples(served: Served) -> Any:
    """The signature that takes a batch of serialised `tf.Example`, or None.

    A feature of an example has the name of the input; its values are floats for floating
    types, 64-bit integers for integers and booleans, bytes for strings. A first axis of
    unknown length (after the batch) is padded with zeros, or empty strings. Inputs with
    other unknown axes cannot be in examples.
    """
    features: dict[str, Any] = {}
    for name, spec in served.specs.items():
        shape = spec.shape[1:].as_list()
        if None in shape[1:]:
            return None
        kind = tf.string if spec.dtype == tf.string else tf.int64
        kind = tf.float32 if spec.dtype.is_floating else kind
        if None in shape:
            features[name] = tf.io.FixedLenSequenceFeature(shape[1:], kind, allow_missing=True)
        else:
            features[name] = tf.io.FixedLenFeature(shape, kind)

    @tf.function(input_signature=[tf.TensorSpec([served.batch], tf.string, "examples")])
    def answer(examples: Any) -> dict[str, Any]:
        parsed = tf.io.parse_example(examples, features)
        return served({name: tf.cast(parsed[name], s.dtype) for name, s in served.specs.items()})

    answer.get_concrete_function()
    return answer


class Labels(NamedTuple):
    """The names of classes, and what the scores of the model are, see `scores_of`."""

    names: list[str]
    scores: str


def classification(served: Served, labels: Labels, folder: str) -> tuple[Any, Any]:
    """The signature that answers with labels, and the table that it needs.

    Args:
        served: a model with one output, of one score for each label, or of the probability
            of the second of two.
        labels: of the classes.
        folder: where to write them, for the table that is an asset.

    Returns:
        A function with the outputs `label` (batch,), `classes` (batch, labels) and `scores`
        (batch, labels), which are probabilities; and the table.
    """
    (shape,) = served.shapes
    single = shape[-1] == 1
    path = os.path.join(folder, "labels.txt")
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(f"{label}\n" for label in labels.names)
    initializer = tf.lookup.TextFileInitializer(
        path,
        tf.int64,
        tf.lookup.TextFileIndex.LINE_NUMBER,
        tf.string,
        tf.lookup.TextFileIndex.WHOLE_LINE,
    )
    table = tf.lookup.StaticHashTable(initializer, "")

    def answer(features: Mapping[str, Any]) -> dict[str, Any]:
        (scores,) = served(features).values()
        if scores.dtype.size < 4:  # Which JSON has no numbers for.
            scores = tf.cast(scores, tf.float32)
        if labels.scores == "logits":
            scores = tf.nn.softmax(scores)
        if single:
            scores = tf.concat([1 - scores, scores], axis=-1)
        classes = table.lookup(tf.range(len(labels.names), dtype=tf.int64))
        return {
            "label": table.lookup(tf.argmax(scores, axis=-1)),
            "classes": tf.broadcast_to(classes, tf.shape(scores)),
            "scores": scores,
        }

    return served.function(answer), table


def check_labels(labels: Any, served: Served, values: Mapping[str, np.ndarray] | None) -> Labels:
    """The labels, or a `ValueError`.

    Args:
        labels: strings.
        served: the model.
        values: outputs to look at, by name, or None where there are none.
    """
    sizes = list(served.shapes[0][1:]) if len(served.shapes) == 1 else []
    count = sizes[0] if len(sizes) == 1 else None
    if count is None:
        raise ValueError(
            "`labels` must be None for a model whose output is not of shape (batch, classes). "
            f"Received: outputs of the shapes {served.shapes}"
        )
    expected = 2 if count == 1 else count
    good = not isinstance(labels, (str, bytes)) and all(
        isinstance(label, str) and label and not set(label) & set("\r\n") for label in labels
    )
    if not good or len(labels) != expected or len(set(labels)) != expected:
        raise ValueError(
            f"`labels` must be {expected} different strings of one line each. "
            f"Received: labels={labels!r}"
        )
    scores = scores_of(served.model, count, values)
    if scores is None and count == 1:
        raise ValueError(
            "`labels` must be None for a model with a single output that is no probability: end "
            "it with a sigmoid. Received: a model without"
        )
    if scores is None:
        raise ValueError(
            "`labels` must be None for a model whose outputs are neither probabilities nor the "
            "logits of classes: end it with a softmax or a sigmoid. Received: a model without"
        )
    return Labels(list(labels), scores)


def monte_carlo_signature(served: Served, passes: int) -> Any:
    """The signature that answers with mean and variance of `passes` passes with dropout on.

    The masks of an example are made by its features: it has the same answer each time and
    in any batch.
    """
    layers = walk_layers(served.model)
    if not any(isinstance(layer, NoisyLayer) for layer in layers):
        raise ValueError(
            "`passes` must be 0 for a model without a layer of dropout of kerasreg, such as "
            f"kerasreg.layers.ScheduledDropout. Received: passes={passes}"
        )

    if served.stateful or served.batch not in (None, 1):
        raise ValueError(
            "`passes` must be 0 for a model that takes batches of one size only, or keeps a state "
            f"from call to call. Received: passes={passes}"
        )

    if not any(served.floating):
        raise ValueError(
            "`passes` must be 0 for a model without outputs of floating numbers. "
            f"Received: passes={passes}"
        )

    def answer(features: Mapping[str, Any]) -> dict[str, Any]:
        inputs = served.model_inputs(features)
        words = [_hash(tf.convert_to_tensor(part)) for part in tree.flatten(inputs)]
        word = words[0]
        for other in words[1:]:
            word = mix(tf.bitwise.bitwise_xor(word, other))

        def passed(example: Any) -> Any:
            seed, number, values = example
            with monte_carlo(seed, number):
                batch = tree.map_structure(lambda value: value[None], values)
                return served.named(served.model(batch, training=False))

        size = tf.shape(word)[0]

        def repeated(value: Any) -> Any:
            return tf.repeat(value, passes, axis=0)

        each = (
            repeated(word),
            tf.tile(tf.range(passes), [size]),
            tree.map_structure(repeated, inputs),
        )
        with served.reading():
            drawn = tf.vectorized_map(passed, each)
        found = {}
        for name, values in drawn.items():
            if not values.dtype.is_floating:  # No mean of it is of its type.
                continue
            shape = tf.concat([[size, passes], tf.shape(values)[2:]], axis=0)
            values = tf.reshape(values, shape)
            found[f"{name}_mean"] = tf.reduce_mean(values, axis=1)
            found[f"{name}_variance"] = tf.math.reduce_variance(values, axis=1)
        return found

    return served.function(answer)


def _hash(x: Any) -> Any:
    """A 32-bit hash of each example of a batch, from all bits of its values."""
    if x.dtype == tf.string:
        x = tf.strings.to_hash_bucket_fast(x, 2**31 - 1)
    if x.dtype == tf.bool or x.dtype.size < 4:
        x = tf.cast(x, tf.float32)
    words = tf.bitcast(x, tf.uint32)  # Twice as many for 64 bits.
    words = tf.reshape(words, [tf.shape(x)[0], tf.reduce_prod(tf.shape(words)[1:])])
    # Sums of hashed values, each with its place, do not depend on the order of summation.
    place = tf.cast(tf.range(tf.shape(words)[1]), tf.uint32) * tf.constant(0x9E3779B9, tf.uint32)
    mixed = mix(tf.bitwise.bitwise_xor(mix(words), place[None]))
    # TensorFlow has no sum of uint32 on CPUs.
    total = tf.reduce_sum(tf.cast(mixed, tf.int64), axis=1)
    return mix(tf.cast(tf.bitwise.bitwise_and(total, 0xFFFFFFFF), tf.uint32))
