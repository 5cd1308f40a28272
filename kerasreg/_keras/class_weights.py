"""Weights of classes as weights of samples, as `fit` makes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np


def sample_weights_of_classes(y: Any, class_weight: Mapping[int, float]) -> np.ndarray:
    """The weight of each sample's class; 1 for a class without a weight.

    Args:
        y: class numbers of shape (samples,) or (samples, 1), or scores of shape
            (samples, classes), of which the largest is the class.
        class_weight: a weight by class number.

    Raises:
        ValueError: if `y` has another shape.

    Example:

    >>> from kerasreg._keras.class_weights import sample_weights_of_classes
    >>> sample_weights_of_classes([0, 2, 1], {0: 0.5, 2: 3.0}).tolist()
    [0.5, 3.0, 1.0]
    """
    y = np.asarray(y)
    if y.ndim not in (1, 2):
        raise ValueError(
            "`y` must have the shape (samples,), (samples, 1) or (samples, classes) where "
            f"`class_weight` is given. Received: y of shape {y.shape}"
        )
    classes, places = np.unique(class_numbers(y, np).astype("int32"), return_inverse=True)
    weights = [class_weight.get(int(one), 1.0) for one in classes]
    return np.array(weights, keras.config.floatx())[places]


def class_numbers(y: Any, xp: Any) -> Any:
    """The number of each sample's class, as Keras reads targets where classes have weights.

    Args:
        y: class numbers, also in a column, or scores of classes, of which the largest is the class.
        xp: `numpy`, or `keras.ops`.

    Example:

    >>> import numpy as np
    >>> from kerasreg._keras.class_weights import class_numbers
    >>> class_numbers(np.array([[0.1, 0.9], [0.8, 0.2]]), np).tolist()
    [1, 0]
    """
    if len(y.shape) > 1:
        y = xp.squeeze(y, -1) if y.shape[-1] == 1 else xp.argmax(y, -1)
    is_floating = keras.backend.is_float_dtype(keras.backend.standardize_dtype(y.dtype))
    return xp.round(y) if is_floating else y


def is_class_weight(of: Any) -> bool:
    """Whether something is a dictionary of numbers by whole numbers, of which Keras reads all.

    Args:
        of: what was given to `fit` as `class_weight`.

    Example:

    >>> from kerasreg._keras.class_weights import is_class_weight
    >>> is_class_weight({0: 0.5, 2: 3.0}), is_class_weight({"0": 0.5})
    (True, False)
    """
    return isinstance(of, Mapping) and all(
        isinstance(number, (int, np.integer))
        and not isinstance(number, bool)
        and abs(int(number)) < 2**31
        and isinstance(weight, (int, float, np.integer, np.floating))
        for number, weight in of.items()
    )
