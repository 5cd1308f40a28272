"""`model.fit` for a trial, on replicas too, and with a failure when the training diverges."""

from __future__ import annotations

import functools
import math
from typing import Any

import keras
import keras_tuner


def fit(
    model: keras.Model,
    x: Any,
    y: Any,
    validation_data: tuple[Any, Any],
    *,
    batch_size: int,
    seed: int | None = None,
    **kwargs: Any,
) -> keras.callbacks.History:
    """Trains a compiled model on arrays, on one or several replicas.

    Args:
        model: a compiled model; under a strategy, one that was built in its scope.
        x: features, shape (samples, ...).
        y: targets, shape (samples, ...).
        validation_data: `(x, y)`.
        batch_size: size of a (global) batch.
        seed: seed of the batch order; sets Keras' global seed.
        **kwargs: passed on to `model.fit`, or to `kerasreg.distribute.fit` on replicas.

    Returns:
        The history.

    Raises:
        keras_tuner.errors.FailedTrialError: if the loss is not finite. (Keras
            goes on with NaN weights, and KerasTuner counts such a trial as
            completed when the objective is an accuracy.)

    Example:

    >>> import keras, numpy as np, kerasreg
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> x, y = np.ones((8, 2)), np.ones((8, 1))
    >>> history = kerasreg.hypermodels.fit(model, x, y, (x, y), batch_size=4, verbose=0)
    >>> sorted(history.history)
    ['loss', 'val_loss']
    """
    if seed is not None:
        keras.utils.set_random_seed(seed)
    kwargs["callbacks"] = [*kwargs.get("callbacks", ()), keras.callbacks.TerminateOnNaN()]
    strategy = getattr(model, "distribute_strategy", None)
    train: Any = model.fit
    if strategy is not None and strategy.num_replicas_in_sync > 1:
        from kerasreg import distribute

        train = functools.partial(distribute.fit, model)
    history = train(x, y, batch_size=batch_size, validation_data=validation_data, **kwargs)
    # The validation sees the weights that the last step left.
    for name in ("loss", "val_loss"):
        losses = history.history.get(name, [])
        for epoch, loss in enumerate(losses):
            if not math.isfinite(loss):
                raise keras_tuner.errors.FailedTrialError(
                    f"`{name}` is {loss} in epoch {epoch + 1} of {len(losses)}: the training "
                    "diverged."
                )
    return history
