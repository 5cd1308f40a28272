"""A model that mixes targets as a layer of it mixes examples (Zhang et al. 2018)."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops, tree

from kerasreg._keras.internals import walk_layers
from kerasreg.layers import MixUp


@keras.saving.register_keras_serializable(package="kerasreg")
class MixUpModel(keras.Model):
    """A functional model whose `kerasreg.layers.MixUp` mixes targets too.

    The loss of a training step is `λ·L(y, ŷ) + (1 - λ)·L(y', ŷ)`: `ŷ` are the predictions for
    mixtures of examples, `y` and `y'` the targets of the two examples of each mixture, with the
    weights of each, and λ is the share that the layer drew. `L` is the loss that the model was
    compiled with, whatever it is; so targets may be whole numbers of classes. For cross-entropy
    this is the loss of the mixed targets, and for the squared error it differs from that by what
    does not depend on the predictions. Losses of layers count as ever.

    Metrics are of the first targets, whose share is the larger one. Evaluation, prediction and
    exports are those of any model.

    Args:
        *args: `inputs` and `outputs` of a `keras.Model`. One layer between them is a
            `kerasreg.layers.MixUp`.
        **kwargs: the same by name, and `name` and `trainable` of a Keras model.

    Raises:
        ValueError: when it is trained: if the model has no `MixUp`, or more than one.

    Example:

    >>> import keras, kerasreg
    >>> inputs = keras.Input((4,))
    >>> x = kerasreg.layers.MixUp(0.2)(inputs)
    >>> x = keras.layers.Dense(8, "relu")(x)
    >>> model = kerasreg.models.MixUpModel(inputs, keras.layers.Dense(3, "softmax")(x))
    >>> model.compile("adam", "sparse_categorical_crossentropy")
    >>> x, y = keras.random.normal((30, 4)), keras.ops.arange(30) % 3
    >>> history = model.fit(x, y, verbose=0)
    """

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The loss of a batch, as Keras asks for it."""

        def loss(y: Any, weights: Any) -> Any:
            return super(MixUpModel, self).compute_loss(x, y, y_pred, weights, training)

        first = loss(y, sample_weight)
        if not training:
            return first
        layers = [layer for layer in walk_layers(self) if isinstance(layer, MixUp)]
        if len(layers) != 1:
            raise ValueError(
                "A `MixUpModel` must have one layer `kerasreg.layers.MixUp`. "
                f"Received: {[layer.name for layer in layers]}"
            )
        share = ops.cast(layers[0].share(), first.dtype)
        # The whole loss twice, with its penalties: their shares sum up to one.
        return share * first + (1 - share) * loss(_partners(y), _partners(sample_weight))


def _partners(values: Any) -> Any:
    """What belongs to the second example of each mixture."""
    return tree.map_structure(lambda of: None if of is None else ops.flip(of, axis=0), values)
