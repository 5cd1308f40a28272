"""Choosing a `tf.distribute` strategy."""

from __future__ import annotations

import tensorflow as tf

from kerasreg._validation import check_count


def mirrored_strategy(replicas: int) -> tf.distribute.Strategy | None:
    """A `MirroredStrategy` over that many GPUs, or logical CPU devices where there are none.

    Logical CPU devices share the machine's cores: they are for trying a
    distributed program, not for speed.

    Args:
        replicas: number of replicas, a whole number >= 1.

    Returns:
        The strategy, or None for one replica.

    Raises:
        ValueError: if there are GPUs, but fewer; or if TensorFlow has already
            fixed its CPU devices (call this before anything is computed).

    Example:

    >>> import kerasreg
    >>> kerasreg.distribute.mirrored_strategy(1) is None
    True
    """
    if check_count("replicas", replicas) == 1:
        return None
    gpus = tf.config.list_logical_devices("GPU") if tf.config.list_physical_devices("GPU") else []
    if gpus:
        if len(gpus) < replicas:
            raise ValueError(
                f"`replicas` must be at most the number of GPUs, {len(gpus)}. "
                f"Received: replicas={replicas}"
            )
        return tf.distribute.MirroredStrategy([gpu.name for gpu in gpus[:replicas]])
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * replicas
        )
    except RuntimeError:
        # Already initialised: fine when it was with enough devices.
        if len(tf.config.list_logical_devices("CPU")) < replicas:
            raise ValueError(
                "`replicas` logical CPU devices must be made before TensorFlow computes "
                f"anything. Received: replicas={replicas} afterwards"
            ) from None
    return tf.distribute.MirroredStrategy([f"CPU:{index}" for index in range(replicas)])
