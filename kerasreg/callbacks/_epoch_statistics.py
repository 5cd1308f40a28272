"""Statistics of regularization in the logs, epoch by epoch."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg.regularizers import Penalty


@keras.saving.register_keras_serializable(package="kerasreg")
class EpochStatistics(keras.callbacks.Callback):
    """Logs sparsity, norms, the generalisation gap and what penalties have of the loss.

    Put it before loggers, such as `TensorBoard`, in the list of callbacks.

    Args:
        per_layer: whether the first two are logged for each weight too, as
            `"sparsity/" + path` and `"weight_norm/" + path`.

    Logs:
        At the end of each epoch, for the weights as they are then:

        - `sparsity`: the share of zeros in all trainable weights of two or more axes.
        - `weight_norm`: the root of the sum of their squares.
        - `gap`: `val_loss - loss`, where there is validation.
        - `penalty`: the sum of the regularizers on weights. (Those on activities are part of
          the loss only while it is computed.)
        - `penalty_share`: `penalty / loss`, where the loss is not 0.

    Raises:
        ValueError: if `per_layer` is no boolean.

    Example:

    >>> import keras, numpy as np, kerasreg
    >>> model = keras.Sequential([keras.layers.Dense(1, kernel_regularizer="l2")])
    >>> model.compile("sgd", "mse")
    >>> statistics = kerasreg.callbacks.EpochStatistics()
    >>> x = np.ones((4, 2))
    >>> history = model.fit(x, x[:, :1], verbose=0, callbacks=[statistics]).history
    >>> sorted(history)
    ['loss', 'penalty', 'penalty_share', 'sparsity', 'weight_norm']
    """

    def __init__(self, per_layer: bool = False) -> None:
        super().__init__()
        if not isinstance(per_layer, bool):
            raise ValueError(
                f"`per_layer` must be True or False. Received: per_layer={per_layer!r}"
            )
        self.per_layer = per_layer

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = {} if logs is None else logs
        zeros = size = 0
        squares = 0.0
        for weight in self.model.trainable_weights:
            if len(weight.shape) < 2:
                continue
            values = np.asarray(ops.convert_to_numpy(weight), dtype="float64")
            its_zeros, its_squares = int(np.sum(values == 0)), float(np.sum(values**2))
            if self.per_layer:
                logs[f"sparsity/{weight.path}"] = its_zeros / values.size
                logs[f"weight_norm/{weight.path}"] = math.sqrt(its_squares)
            zeros, size, squares = zeros + its_zeros, size + values.size, squares + its_squares
        logs["sparsity"] = zeros / size if size else 0.0
        logs["weight_norm"] = math.sqrt(squares)
        if "val_loss" in logs and "loss" in logs:
            logs["gap"] = float(logs["val_loss"]) - float(logs["loss"])
        logs["penalty"] = sum(map(_penalty, self.model.trainable_weights))
        if logs.get("loss"):
            logs["penalty_share"] = logs["penalty"] / float(logs["loss"])

    def get_config(self) -> dict[str, Any]:
        return {"per_layer": self.per_layer}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> EpochStatistics:
        return cls(**config)


def _penalty(weight: keras.Variable) -> float:
    """The loss that the regularizer of a weight adds; schedules do not advance."""
    regularizer = weight.regularizer
    if regularizer is None:
        return 0.0
    w = ops.cast(ops.convert_to_tensor(weight), "float32")
    if isinstance(regularizer, Penalty):
        return float(ops.convert_to_numpy(regularizer.value(w)))
    return float(ops.convert_to_numpy(regularizer(w)))
