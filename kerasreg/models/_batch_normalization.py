"""Statistics of batch normalization for weights that were averaged or assigned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._keras.internals import walk_layers
from kerasreg._validation import check_count


def update_batch_normalization(model: keras.Model, x: Any, *, batch_size: int = 128) -> None:
    """Makes the moving means and variances of batch normalization anew.

    Weights that were averaged have never been seen by the `BatchNormalization` layers, whose
    statistics are of those before. They become the means over the batches of what each
    layer sees in training mode. Nothing else changes: not the weights, and not the state of
    dropout.

    Args:
        model: a built model.
        x: inputs as for `fit`: arrays, or a `tf.data.Dataset` or `PyDataset` of batches,
            whose targets are left out.
        batch_size: of arrays, a whole number >= 1.

    Raises:
        ValueError: if the model is not built or has no `BatchNormalization`, or there are no
            inputs.

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
    statistics = {id(v) for layer in layers for v in (layer.moving_mean, layer.moving_variance)}
    before = [(v, np.array(ops.convert_to_numpy(v))) for v in model.variables]
    momenta = [layer.momentum for layer in layers]
    number = 0
    try:
        for batch in _batches(x, batch_size):
            for layer in layers:
                # The mean of all batches so far. Read in each call, which is in no graph.
                layer.momentum = number / (number + 1)
            model(batch, training=True)
            number += 1
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for variable, value in before:
            if id(variable) not in statistics or number == 0:
                variable.assign(value)
    if number == 0:
        raise ValueError("`x` must have at least one batch of inputs. Received none.")


def _batches(x: Any, batch_size: int) -> Iterator[Any]:
    if isinstance(x, keras.utils.PyDataset):
        for index in range(x.num_batches or 0):
            yield keras.utils.unpack_x_y_sample_weight(x[index])[0]
    elif hasattr(x, "element_spec"):
        for batch in x:
            yield keras.utils.unpack_x_y_sample_weight(batch)[0]
    else:
        # An input that may be left out may be None.
        length = len(next(array for array in keras.tree.flatten(x) if array is not None))
        for start in range(0, length, batch_size):
            part = slice(start, start + batch_size)
            yield keras.tree.map_structure(
                lambda array, part=part: None if array is None else array[part], x
            )
