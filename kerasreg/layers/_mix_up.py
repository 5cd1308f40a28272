"""Mixtures of two examples in place of each (Zhang et al. 2018, "mixup", arXiv:1710.09412).

Within a network, behind the first layers, after Verma et al. 2019, "Manifold Mixup"
(arXiv:1806.05236). The share of the second example is a number of the whole batch, as in both.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops, tree

from kerasreg._descriptions import described_component
from kerasreg._keras.fused import fused_draw
from kerasreg._keras.hyperparameter import Hyperparameter, NumberOrSchedule
from kerasreg.layers._noise_stream import NoiseStream
from kerasreg.random import Key, fold_in, key, normal, replica_id, uniform

# So many draws of a gamma number, each of which is taken with a probability of at least 0.95.
_TRIES = 8


def mixing_share(alpha: Any, key: Key) -> Any:
    """Draws `max(B, 1 - B)`, with `B` of the distribution Beta(α, α).

    `B = G₁ / (G₁ + G₂)` of two numbers of the distribution Gamma(α): `G = G' · u^(1/α)` with `G'`
    of Gamma(α + 1) by rejection (Marsaglia and Tsang 2000) and `u` uniform, in logarithms.

    Args:
        alpha: α, a scalar tensor >= 0.
        key: a key, from `kerasreg.random.key`.

    Returns:
        A float32 scalar from ½ to 1; 1 where α is 0.
    """
    return _mixing_share(ops.cast(alpha, "float32"), key, shape=(2, _TRIES))


@fused_draw
def _mixing_share(alpha: Any, key: Key, shape: Any) -> Any:
    third = alpha + (1.0 - 1.0 / 3.0)
    z, u = normal(shape, key), uniform(shape, fold_in(key, 1))
    root = 1.0 + z / ops.sqrt(9.0 * third)
    cube = root**3
    logarithm = 3.0 * ops.log(ops.maximum(root, 1e-7))
    accepted = ops.log(u) < 0.5 * z**2 + third * (1.0 - cube + logarithm)
    taken = ops.argmax(ops.cast(ops.logical_and(root > 0, accepted), "int32"), axis=-1)
    ones = ops.one_hot(taken, shape[-1], dtype=logarithm.dtype)
    powers = ops.log(uniform(shape[:1], fold_in(key, 2))) / ops.maximum(alpha, 1e-8)
    gammas = ops.sum(ones * logarithm, axis=-1) + powers
    # Of `B` and `1 - B` the larger one: no exponential is larger than 1.
    share = 1.0 / (1.0 + ops.exp(-ops.abs(gammas[0] - gammas[1])))
    return ops.where(alpha > 0, share, ops.ones_like(share))


def mixed(values: Any, share: Any) -> Any:
    """`λ·v + (1 - λ)·(v in reverse order)`: each example with its partner.

    Args:
        values: a floating-point tensor whose first axis is the examples.
        share: λ, a scalar tensor.
    """
    share = ops.cast(share, values.dtype)
    return share * values + (1.0 - share) * ops.flip(values, axis=0)


@keras.saving.register_keras_serializable(package="kerasreg")
class MixUp(keras.layers.Layer):
    """Mixes each example of a batch with another one, in training.

    `y[n] = λ·x[n] + (1 - λ)·x[N - 1 - n]` for a batch of `N` examples, the identity at inference.
    The partner is the example at the other side of the batch: any other one, where batches are
    shuffled. In each training step λ is drawn anew, the larger of `B` and `1 - B` with `B` of the
    distribution Beta(α, α). (Both give the same mixtures, in another order.) The larger α, the
    nearer is λ to ½; with α = 0 nothing is mixed.

    **Targets are mixed by the model**: make it of the class `kerasreg.models.MixUpModel`. In a
    model of another class, the layer adds nothing but noise.

    The layer stands where examples are rows of numbers: behind encodings and embeddings, so that
    categories are mixed too, or deeper in the network. `keras.layers.MixUp` mixes images before
    they are given to a model, with their one-hot targets.

    Args:
        alpha: α, a number >= 0 or a schedule of such numbers over training steps. Numbers from
            0.1 to 0.4 are usual. α is in a variable, in which lanes may differ.
        seed: an integer; equal seeds give equal shares. By default drawn at random (under
            `keras.utils.set_random_seed`), and kept in the config.
        **kwargs: `name`, `dtype`, `trainable` of a Keras layer.

    Call arguments:
        inputs: a floating-point tensor whose first axis is the examples, or several in a
            structure, which are mixed alike.
        training: True mixes, False does not; None, as in any Keras layer, takes the value of the
            surrounding call.

    Returns:
        Tensors of the shapes and dtypes of `inputs`.

    Attributes:
        alpha: α of the last training step, a scalar variable that may be assigned.
        schedule: the schedule of α, or None.
        step: the number of training steps that the layer has seen, an int32 variable.
        seed: the seed of the shares, an integer.

    Raises:
        ValueError: if α is negative, or a schedule that turns negative.

    Example:

    >>> import keras, kerasreg
    >>> layer = kerasreg.layers.MixUp(0.2, seed=1)
    >>> y = layer(keras.ops.array([[0.0], [5.0], [10.0]]), training=True)
    >>> share = float(layer.share())
    >>> abs(float(y[0, 0]) - 10 * (1 - share)) < 1e-5, float(y[1, 0]), 0.5 <= share <= 1
    (True, 5.0, True)
    """

    def __init__(
        self, alpha: NumberOrSchedule = 0.2, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._alpha = Hyperparameter(alpha, "alpha", count_steps=True)
        self._stream = NoiseStream(seed, self._alpha)
        self.supports_masking = True
        self.built = True

    @property
    def alpha(self) -> keras.Variable:
        """α of the last training step: a scalar variable, which may be assigned."""
        return self._alpha.variable

    @property
    def schedule(self) -> Any:
        """The schedule of α, or None."""
        return self._alpha.schedule

    @property
    def step(self) -> keras.Variable:
        """The number of training steps that the layer has seen: a scalar int32 variable."""
        return self._alpha.step

    @property
    def seed(self) -> int:
        """The seed of the shares."""
        return self._stream.seed

    def call(self, inputs: Any, training: bool | None = False) -> Any:
        """The mixtures in training; the inputs otherwise."""
        if not training:
            return inputs
        alpha, step, _ = self._alpha.current(training=True)
        share = self._share(alpha, step)
        return tree.map_structure(lambda values: mixed(values, share), inputs)

    def share(self) -> Any:
        """λ of the last training step, for those who mix targets: a float32 scalar."""
        # Computed again of what the layer keeps: a tensor of the call would belong to its graph.
        step = ops.convert_to_tensor(self.step) - 1
        return self._share(ops.convert_to_tensor(self.alpha), step)

    def _share(self, alpha: Any, step: Any) -> Any:
        # Uses of the layer in one pass mix alike, as their targets are the same.
        return mixing_share(alpha, key(self.seed, replica_id(), step))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the inputs."""
        return input_shape

    def save_own_variables(self, store: Any) -> None:
        """Writes the seed, which may have been drawn at random."""
        super().save_own_variables(store)
        self._stream.save(store)

    def load_own_variables(self, store: Any) -> None:
        """Takes the seed."""
        self._stream.load(store)

    def get_config(self) -> dict[str, Any]:
        """The arguments; a number that was assigned is given as it is now."""
        config = super().get_config()
        return {**config, "alpha": self._alpha.serialized_value(), "seed": self.seed}

    def __repr__(self) -> str:
        return described_component(self)
