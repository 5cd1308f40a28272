"""Weights of classes as values of lanes: each lane has a table of its own.

Keras makes weights of samples of them before a training. Samples are the same for all lanes, so
here the data have samples of weight 1, and a step multiplies these by the weights of its lane.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from kerasreg._keras.class_weights import class_numbers, is_class_weight

ClassWeight = Mapping[int, float] | None
# Stands for no class, where another lane has more of them.
_NO_CLASS = np.iinfo("int32").min


class ClassWeights(NamedTuple):
    """The weights of classes of all lanes, each array of shape (lanes, classes).

    Attributes:
        classes: the numbers of the classes that have a weight.
        weights: the weight of each of them.
    """

    classes: Any
    weights: Any


def class_weights_of(lanes: Sequence[ClassWeight]) -> ClassWeights:
    """The weights of classes of lanes, as tensors.

    Args:
        lanes: for each lane a dictionary of weights by class number, or None.

    Example:

    >>> from kerasreg.lanes._class_weights import class_weights_of
    >>> weights = class_weights_of([{0: 0.5, 2: 3.0}, None])
    >>> weights.weights.shape
    TensorShape([2, 2])
    """
    most = max((len(of or ()) for of in lanes), default=0)
    shape = len(lanes), max(1, most)
    classes, weights = np.full(shape, _NO_CLASS, "int32"), np.ones(shape, keras.config.floatx())
    for lane, of in enumerate(lanes):
        for place, (number, weight) in enumerate(sorted((of or {}).items())):
            classes[lane, place], weights[lane, place] = number, weight
    return ClassWeights(ops.convert_to_tensor(classes), ops.convert_to_tensor(weights))


def unweighted(lanes: Sequence[ClassWeight]) -> dict[int, float]:
    """Weights of 1 for all classes that have a weight in some lane, which Keras' data then have."""
    every = sorted({int(number) for of in lanes for number in of or ()})
    # Keras takes the largest of them, so that there must be one.
    return dict.fromkeys(every or [0], 1.0)


def weighted(batch: Any, of: ClassWeights) -> Any:
    """A batch whose samples have the weights of their classes in one lane.

    Args:
        batch: `(x, y, sample_weight)`, with a weight of 1 for each sample.
        of: the weights of the lane, each tensor of shape (classes,).
    """
    x, y, sample_weight = batch
    numbers = ops.cast(class_numbers(y, ops), "int32")
    is_one = ops.expand_dims(numbers, -1) == of.classes
    # One term at most is not zero, so that the sum is exact. A class without a weight has 1.
    found = ops.sum(ops.where(is_one, of.weights, ops.zeros_like(of.weights)), -1)
    found = ops.where(ops.any(is_one, -1), found, ops.ones_like(found))
    return x, y, sample_weight * ops.cast(found, sample_weight.dtype)


def check_class_weight(class_weight: Any, lanes: int) -> list[ClassWeight] | None:
    """The weights of classes of each lane; None if all lanes have the same ones, or none.

    Args:
        class_weight: the argument of `Lanes.fit`.
        lanes: the number of lanes.

    Raises:
        ValueError: if it is no dictionary, nor a list with one or None for each lane, or a key of
            one of several dictionaries is no whole number, or a weight no number.
    """
    if class_weight is None or isinstance(class_weight, Mapping):
        return None
    given = list(class_weight) if isinstance(class_weight, Sequence) else None
    if given is None or len(given) != lanes:
        raise ValueError(
            "`class_weight` must be a dictionary, or a list with a dictionary or None for each of "
            f"{lanes} lanes. Received: class_weight={class_weight!r}"
        )
    for of in given:
        if of is not None and not is_class_weight(of):
            raise ValueError(
                "`class_weight` must have, for each lane, None or a dictionary of numbers by class "
                f"number. Received: {of!r}"
            )
    return given
