"""The devices that lanes are divided among."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

# Strategies whose replicas compute what one device computes, by the names of their classes.
_OF_REPLICAS = ("OneDeviceStrategy", "MirroredStrategy", "MultiWorkerMirroredStrategy")


def check_devices(devices: Any) -> tuple[str, ...]:
    """The names of devices, as Keras lists them; none for the backend's default device.

    Args:
        devices: a list of names such as `"gpu:0"`; None for the default device.

    Raises:
        ValueError: if a name is none of Keras' devices here, or is there twice.
    """
    if devices is None:
        return ()
    is_list = isinstance(devices, Sequence) and not isinstance(devices, str)
    names = [str(name).lower() for name in devices] if is_list else []
    known = {name for name in names if name in _there(name.partition(":")[0])}
    if not names or len(known) < len(names):
        there = list(dict.fromkeys([*_there(None), *_there("cpu")]))
        raise ValueError(
            "`devices` must be None or a list of different names of "
            f"`keras.distribution.list_devices()`, here of {there}. Received: devices={devices!r}"
        )
    return tuple(names)


def _there(kind: str | None) -> list[str]:
    try:
        return list(keras.distribution.list_devices(kind))
    except RuntimeError:  # JAX has no backend of that kind here.
        return []


def strategy_name(strategy: Any) -> str:
    """The name by which people know the class of a `tf.distribute` strategy."""
    name = type(strategy).__name__.lstrip("_")
    # TensorFlow's class has the name that it had at first.
    return {"CollectiveAllReduceStrategy": "MultiWorkerMirroredStrategy"}.get(name, name)


def device_alone(strategy: Any) -> str | None:
    """The device of a `tf.distribute` strategy that has one replica, as Keras names it.

    Args:
        strategy: any strategy.

    Returns:
        A name such as `"gpu:0"`; None if the strategy has more replicas, or is of another class
        than TensorFlow's of replicas: what such a one does is not known.
    """
    if strategy_name(strategy) not in _OF_REPLICAS or strategy.num_replicas_in_sync > 1:
        return None
    (device,) = strategy.extended.worker_devices  # "/job:localhost/replica:0/task:0/device:GPU:0"
    return ":".join(device.split(":")[-2:]).lower()


def strategy_of_replicas(strategy: Any) -> Any:
    """A `tf.distribute` strategy; None where models are where they are without one.

    So it is under TensorFlow's default strategy, and under one whose only replica is the device
    that is taken by default: `tf.distribute.MirroredStrategy()` on a machine with one device.
    """
    if strategy is None or strategy_name(strategy) == "DefaultDistributionStrategy":
        return None
    by_default = _there(None)[:1]
    return None if device_alone(strategy) in by_default else strategy
