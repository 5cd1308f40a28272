"""Batches that split evenly over the replicas of a `tf.distribute` strategy.

Keras averages replicas equally and fails when a first batch does not split
evenly, so a ragged batch is either an error or weighted wrongly. These two
datasets have no ragged batches.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from kerasreg._validation import check_count


def even_batch_size(samples: int, batch_size: int, *, replicas: int) -> int:
    """The largest batch size <= `batch_size` that splits evenly over the replicas.

    Args:
        samples: number of samples there are.
        batch_size: wanted size of a global batch.
        replicas: number of replicas.

    Returns:
        A multiple of `replicas`, at least `replicas`.

    Raises:
        ValueError: if there are fewer samples than replicas.

    Example:

    >>> import kerasreg
    >>> kerasreg.distribute.even_batch_size(samples=100, batch_size=33, replicas=2)
    32
    """
    check_count("batch_size", batch_size)
    if samples < replicas:
        raise ValueError(
            f"`samples` must be at least the number of replicas, {replicas}. "
            f"Received: samples={samples}"
        )
    return max(min(batch_size, samples) // replicas, 1) * replicas


def training_batches(
    x: np.ndarray, y: np.ndarray, batch_size: int, *, replicas: int, seed: int | None = None
) -> tf.data.Dataset:
    """Shuffled batches of equal size; a new order, and other left-out samples, each epoch.

    Args:
        x: features, shape (samples, ...).
        y: targets, shape (samples, ...).
        batch_size: wanted size of a global batch; rounded down to a multiple of
            `replicas`.
        replicas: number of replicas.
        seed: seed of the order.

    Returns:
        A `tf.data.Dataset` of `(x, y)`. The samples that do not fill a last
        batch are left out of that epoch.

    Raises:
        ValueError: if there are fewer samples than replicas.

    Example:

    >>> import numpy as np, kerasreg
    >>> x, y = np.zeros((10, 3)), np.zeros(10)
    >>> batches = kerasreg.distribute.training_batches(x, y, batch_size=5, replicas=2)
    >>> [len(features) for features, _ in batches]
    [4, 4]
    """
    size = even_batch_size(len(x), batch_size, replicas=replicas)
    dataset = tf.data.Dataset.from_tensor_slices((x, y))
    dataset = dataset.shuffle(len(x), seed=seed, reshuffle_each_iteration=True)
    return dataset.batch(size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def evaluation_batches(
    x: np.ndarray, y: np.ndarray, batch_size: int, *, replicas: int
) -> tf.data.Dataset:
    """All samples in batches of equal size, the last one padded with weight 0.

    The weights are such that Keras' mean loss, and every metric given as
    `weighted_metrics`, is the one over the samples without the padding.

    Args:
        x: features, shape (samples, ...).
        y: targets, shape (samples, ...).
        batch_size: wanted size of a global batch.
        replicas: number of replicas.

    Returns:
        A `tf.data.Dataset` of `(x, y, sample_weight)`.

    Raises:
        ValueError: if there are fewer samples than replicas.

    Example:

    >>> import numpy as np, kerasreg
    >>> x, y = np.zeros((3, 2)), np.zeros(3)
    >>> batches = kerasreg.distribute.evaluation_batches(x, y, batch_size=2, replicas=2)
    >>> [[round(float(w), 2) for w in weights] for _, _, weights in batches]
    [[1.33, 1.33], [1.33, 0.0]]
    """
    samples = len(x)
    size = even_batch_size(samples, batch_size, replicas=replicas)
    padding = -samples % size
    # Keras divides a batch's loss by its size, padding included: the weight of
    # the real samples makes up for that.
    weights = np.full(samples + padding, (samples + padding) / samples, dtype="float32")
    weights[samples:] = 0.0

    def padded(values: Any) -> np.ndarray:
        values = np.asarray(values)
        return np.concatenate([values, np.repeat(values[:1], padding, axis=0)])

    dataset = tf.data.Dataset.from_tensor_slices((padded(x), padded(y), weights))
    return dataset.batch(size).prefetch(tf.data.AUTOTUNE)
