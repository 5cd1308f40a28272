"""The cross-entropy of whole-number classes, with label smoothing.

Szegedy et al. 2016, "Rethinking the Inception Architecture" (arXiv:1512.00567).
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasreg._validation import check_number


@keras.saving.register_keras_serializable(package="kerasreg")
class SparseCategoricalCrossentropy(keras.losses.Loss):
    """Cross-entropy of whole-number classes, with label smoothing.

    `-(1 - s)·log p_y - s/K·Σ_k log p_k`, with the smoothing `s` and `K` classes. It equals
    `keras.losses.CategoricalCrossentropy(label_smoothing=s)` of one-hot targets, and with `s = 0`
    `keras.losses.SparseCategoricalCrossentropy`. Lanes may differ in the smoothing.

    Args:
        from_logits: whether predictions are logits, and not probabilities.
        label_smoothing: the share of the target that is spread over all classes, a number from 0
            to 1.
        **kwargs: `reduction`, `name`, `dtype` of a Keras loss.

    Call arguments:
        y_true: class numbers from 0, of shape (...) or (..., 1).
        y_pred: probabilities or logits, of shape (..., classes).

    Returns:
        A loss.

    Raises:
        ValueError: if `label_smoothing` is outside [0, 1], or `from_logits` no Boolean.

    Example:

    >>> import numpy as np, kerasreg
    >>> loss = kerasreg.losses.SparseCategoricalCrossentropy(label_smoothing=0.5)
    >>> round(float(loss(np.array([0]), np.array([[0.8, 0.2]]))), 4)
    0.5697
    """

    lane_numbers = ("label_smoothing",)

    def __init__(
        self, from_logits: bool = False, label_smoothing: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**{"name": "sparse_categorical_crossentropy", **kwargs})
        if not isinstance(from_logits, bool):
            raise ValueError(
                f"`from_logits` must be True or False. Received: from_logits={from_logits!r}"
            )
        self.from_logits = from_logits
        self.label_smoothing = check_number("label_smoothing", label_smoothing, 0.0, 1.0)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == 1:
            y_true = ops.squeeze(y_true, axis=-1)
        if self.from_logits:
            logarithms = ops.log_softmax(y_pred, axis=-1)
        else:
            # As Keras does, so that no class is impossible.
            share = y_pred / ops.sum(y_pred, axis=-1, keepdims=True)
            epsilon = keras.config.epsilon()
            logarithms = ops.log(ops.clip(share, epsilon, 1.0 - epsilon))
        classes = y_pred.shape[-1]
        of_class = ops.one_hot(ops.cast(y_true, "int32"), classes, dtype=logarithms.dtype)
        of_true = ops.sum(of_class * logarithms, axis=-1)
        of_all = ops.mean(logarithms, axis=-1)
        return -((1.0 - self.label_smoothing) * of_true + self.label_smoothing * of_all)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {
            **super().get_config(),
            "from_logits": self.from_logits,
            "label_smoothing": self.label_smoothing,
        }
