"""Prediction with dropout on (Gal and Ghahramani 2016, arXiv:1506.02142)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from kerasreg._keras.batches import are_batches, batches
from kerasreg._keras.internals import walk_layers
from kerasreg._validation import check_choice, check_count
from kerasreg._warnings import warn
from kerasreg.layers import NoisyLayer, monte_carlo

# Keras' own noise, which has no keys that could differ from sample to sample.
_OF_KERAS = (
    keras.layers.AlphaDropout,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
)
_KINDS = ("auto", "probabilities", "numbers")


@dataclasses.dataclass(frozen=True)
class MonteCarloPrediction:
    """Moments of many passes with noise; each field has the structure of the model's output.

    Attributes:
        mean: mean over passes, an array of the shape of the model's output.
        variance: variance over passes, `mean(y²) - mean(y)²`, of the same shape.
        entropy: entropy of the mean, `-Σ p log p` in nats, an array without the last
            axis; None for outputs that are no probabilities.

    Example:

    >>> import numpy as np, kerasreg
    >>> kerasreg.models.MonteCarloPrediction(np.ones(2), np.zeros(2), None).entropy is None
    True
    """

    mean: Any
    variance: Any
    entropy: Any


def mc_predict(
    model: keras.Model,
    x: Any,
    *,
    passes: int = 32,
    batch_size: int = 32,
    seed: int = 0,
    outputs: str = "auto",
    steps: int | None = None,
) -> MonteCarloPrediction:
    """Predicts many times with dropout on, and tells mean, variance and entropy.

    All passes of a batch are one program, vectorised over the passes. Only
    kerasreg's layers are noisy: all else, such as BatchNormalization, is in
    inference mode. Nothing of the model changes; no step is counted.

    Args:
        model: a model that holds kerasreg layers of dropout.
        x: input arrays (samples, ...), in the structure that the model takes; or a
            `tf.data.Dataset`, a `PyDataset` or a generator of batches, whose targets are left out.
        passes: how many masks, a whole number >= 1.
        batch_size: of arrays the samples in a batch, a whole number >= 1; memory grows with
            `passes * batch_size`.
        seed: an integer; equal seeds give equal predictions. Together with the
            seeds of the layers it makes the masks.
        outputs: `"probabilities"` (over the last axis, or of one class where
            that has length 1), `"numbers"`, or `"auto"`, which takes outputs for
            probabilities if they are in [0, 1] and sum to 1, or if there is one
            in [0, 1] for each sample.
        steps: the batches to take, a whole number >= 1. By default all of them. Data without an
            end, such as a repeated dataset, needs it.

    Returns:
        A `MonteCarloPrediction` of NumPy arrays, float64.

    Raises:
        ValueError: if the model holds no kerasreg dropout, or an argument is
            outside its range.

    Example:

    >>> import keras, numpy as np, kerasreg
    >>> model = keras.Sequential([
    ...     keras.Input((4,)),
    ...     kerasreg.layers.ScheduledDropout(0.5),
    ...     keras.layers.Dense(3, activation="softmax"),
    ... ])
    >>> prediction = kerasreg.models.mc_predict(model, np.ones((5, 4)), passes=10)
    >>> prediction.mean.shape, prediction.entropy.shape
    ((5, 3), (5,))
    """
    check_count("passes", passes)
    check_count("batch_size", batch_size)
    check_count("seed", seed, minimum=0)
    check_choice("outputs", outputs, _KINDS)
    _check_noise(model)
    steps = None if steps is None else check_count("steps", steps)
    if not are_batches(x):
        # An input that may be left out may be None.
        x = tree.map_structure(lambda part: None if part is None else np.asarray(part), x)
        lengths = {len(part) for part in tree.flatten(x) if part is not None}
        if len(lengths) != 1 or lengths == {0}:
            raise ValueError(
                "`x` must be arrays with one number of samples, at least 1. "
                f"Received: arrays of {sorted(lengths)} samples"
            )
    predict = _vectorised(model, passes, seed)
    means, squares, structure, start = [], [], None, 0
    for batch in batches(x, batch_size=batch_size, steps=steps):
        drawn = predict(batch.x, ops.convert_to_tensor(start, dtype="int32"))
        start += len(next(part for part in tree.flatten(batch.x) if part is not None))
        structure = drawn
        flat = [np.asarray(ops.convert_to_numpy(part), "float64") for part in tree.flatten(drawn)]
        means.append([part.mean(axis=0) for part in flat])
        squares.append([part.var(axis=0) for part in flat])
    if structure is None:
        raise ValueError("`x` must have at least one batch of inputs. Received none.")
    mean = [np.concatenate(parts) for parts in zip(*means, strict=True)]
    variance = [np.concatenate(parts) for parts in zip(*squares, strict=True)]
    fields = (mean, variance, [_entropy(part, outputs) for part in mean])
    return MonteCarloPrediction(*(tree.pack_sequence_as(structure, field) for field in fields))


def _check_noise(model: keras.Model) -> None:
    layers = walk_layers(model)
    if not any(isinstance(layer, NoisyLayer) for layer in layers):
        raise ValueError(
            "`model` must hold a layer of dropout of kerasreg, such as "
            f"kerasreg.layers.ScheduledDropout. Received: model={model.name!r}, with layers of the "
            f"types {sorted({type(layer).__name__ for layer in layers[1:]})}"
        )
    silent = [layer.name for layer in layers if isinstance(layer, _OF_KERAS)]
    if silent:
        warn(
            f"mc_predict leaves Keras' own layers {silent} without noise; "
            "kerasreg.layers has one for each of them.",
        )


def _vectorised(model: keras.Model, passes: int, seed: int) -> Callable[[Any, Any], Any]:
    """From a batch, and where it starts, to outputs with a leading axis of passes."""

    def predict(batch: Any, start: Any) -> Any:
        def sample(index: Any) -> Any:
            # With the start: a mask knows a sample by its place in the batch.
            with monte_carlo(seed, start, index):
                return model(batch, training=False)

        return ops.vectorized_map(sample, ops.arange(passes))

    if keras.backend.backend() != "tensorflow":
        return predict
    import tensorflow as tf

    return tf.function(predict, reduce_retracing=True)


def _entropy(p: Any, outputs: str) -> Any:
    """Entropy in nats over the last axis, or None where `p` is no probability."""
    single = p.ndim == 1 or p.shape[-1] == 1
    if outputs == "auto":
        inside = np.all((p >= 0.0) & (p <= 1.0))
        if not inside or (not single and not np.allclose(p.sum(axis=-1), 1.0, atol=1e-3)):
            outputs = "numbers"
    if outputs == "numbers":
        return None
    if single:
        p = p if p.ndim == 1 else p[..., 0]
        p = np.stack([p, 1.0 - p], axis=-1)
    # 0 log 0 is 0.
    return -np.sum(p * np.log(np.where(p > 0.0, p, 1.0)), axis=-1)
