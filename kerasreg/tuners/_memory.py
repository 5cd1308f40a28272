"""How many lanes fit into memory, and which error tells that they do not."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kerasreg._keras.internals import walk_layers
from kerasreg._keras.streams import batch_size_of
from kerasreg.tuners._plan import Plan

# As many as are worth it: more do not lower the cost of each on a small machine.
_MOST = 128
# Of what is free, the rest is for the data, the program and everything else.
_SHARE = 0.5


def lanes_that_fit(plan: Plan, devices: Sequence[str] | None = None, share: float = 1.0) -> int:
    """The largest power of two of lanes whose state and activations fit, at most 128.

    An estimate: what it gets wrong is put right by fewer lanes after an error.

    Args:
        plan: the first training.
        devices: the names of the devices among which the lanes are divided. So many for each of
            them, but for processors, which have their memory in common.
        share: the part of the free memory that is there for them, as for one of several processes.
    """
    with_own_memory = sum(not name.startswith("cpu") for name in devices or ())
    return _lanes_of_one(plan, share) * max(1, with_own_memory)


def _lanes_of_one(plan: Plan, share: float) -> int:
    free = free_bytes()
    if free is None:
        return _MOST
    given = plan.arguments or {}
    batch = given.get("batch_size") or batch_size_of(given.get("x")) or 32
    fits = _SHARE * share * free / max(1, lane_bytes(plan.program_model, batch))
    return max(1, min(_MOST, 2 ** int(math.log2(max(1.0, fits)))))


def lane_bytes(model: keras.Model, batch_size: int) -> int:
    """The bytes of a lane: weights, gradients and slots, each twice, and activations."""
    size = (keras.config.floatx() == "float64" and 8) or 4
    weights = sum(math.prod(variable.shape) for variable in model.variables)
    activations = sum(_elements(layer) for layer in walk_layers(model) if layer is not model)
    # Slots: two for most optimizers. A layer's output, its gradient, and what is between.
    return size * (8 * weights + 4 * batch_size * activations)


def _elements(layer: Any) -> int:
    try:
        shapes = [tensor.shape for tensor in keras.tree.flatten(layer.output)]
    except (AttributeError, ValueError):  # Not of a functional model.
        return 0
    return int(sum(np.prod([length or 1 for length in shape[1:]]) for shape in shapes))


def free_bytes() -> int | None:
    """Memory that the system can give, in bytes, if it says so."""
    try:
        with open("/proc/meminfo") as lines:
            found = dict(line.split(":") for line in lines)
        return int(found["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pages = getattr(os, "sysconf_names", {}).get("SC_AVPHYS_PAGES")
        return None if pages is None else os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is not as much memory as was asked for."""
    # TensorFlow's error, JAX's, and Python's.
    known = type(error).__name__ == "ResourceExhaustedError" or isinstance(error, MemoryError)
    return known or "RESOURCE_EXHAUSTED" in str(error)
