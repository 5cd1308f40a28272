"""Statistics of batch normalization for weights that were averaged or assigned."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._keras.batches import batches
from kerasreg._keras.internals import walk_layers
from kerasreg._validation import check_count


def update_batch_normalization(
    model: keras.Model, x: Any, *, batch_size: int = 128, steps: int | None = None
) -> None:
    """Makes the moving means and variances of batch normalization anew.

    Weights that were averaged have never been seen by the `BatchNormalization` layers, whose
    statistics are of those before. They become the means over the batches of what each
    layer sees in training mode. Nothing else changes: not the weights, and not the state of
    dropout.

    Args:
        model: a built model.
        x: inputs as for `fit`: arrays; or a `tf.data.Dataset`, a `PyDataset` or a generator of
            batches, whose targets are left out.
        batch_size: of arrays, a whole number >= 1.
        steps: the batches to take, a whole number >= 1. By default all of them. Data without an
            end, such as a repeated dataset, needs it.

    Raises:
        ValueError: if the model is not built or has no `BatchNormalization`, if there are no
            inputs, or if there is no end of them and no `steps`.

    As PyTorch's `update_bn` (Izmailov et al. 2018, arXiv:1803.05407).

    Example:

    >>> import keras, numpy as np
    >>> from kerasreg.models import update_batch_normalization
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization()])
    >>> update_batch_normalization(model, np.array([[1.0, 2.0], [3.0, 4.0]]))
    >>> np.array(model.layers[0].moving_mean).tolist()
    [2.0, 3.0]
    """
    check_count("batch_size", batch_size)
    steps = None if steps is None else check_count("steps", steps)
    layers = [
        layer
        for layer in (walk_layers(model) if isinstance(model, keras.Model) else [])
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    if not layers or not model.built:
        raise ValueError(
            "`model` must be a keras.Model that is built and has BatchNormalization. "
            f"Received: model={model!r}"
        )
    of_inputs = batches(x, batch_size=batch_size, steps=steps)
    statistics = {id(v) for layer in layers for v in (layer.moving_mean, layer.moving_variance)}
    before = [(v, np.array(ops.convert_to_numpy(v))) for v in model.variables]
    momenta = [layer.momentum for layer in layers]
    number = 0
    try:
        for batch in of_inputs:
            for layer in layers:
                # The mean of all batches so far. Read in each call, which is in no graph.
                layer.momentum = number / (number + 1)
            model(batch.x, training=True)
            number += 1
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for variable, value in before:
            if id(variable) not in statistics or number == 0:
                variable.assign(value)
    if number == 0:
        raise ValueError("`x` must have at least one batch of inputs. Received none.")
