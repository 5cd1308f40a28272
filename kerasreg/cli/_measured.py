"""What a model that is compared costs: its size, and the time that it takes for a row."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

_CALLS = 20
_SECONDS = 1.0  # So long it is measured at most, but for the first calls.


def milliseconds(call: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    """The median time of a call, after one that may compile something.

    Args:
        call: what is measured.
        clock: gives the time in seconds.
    """
    call()
    times: list[float] = []
    begun = clock()
    while len(times) < _CALLS and (not times or clock() - begun < _SECONDS):
        before = clock()
        call()
        times.append(clock() - before)
    return 1000.0 * statistics.median(times)


def of_network(network: Any, inputs: Any) -> dict[str, float | int | None]:
    """The size of a Keras model, its zeros, and its time for a row.

    Args:
        network: the model.
        inputs: rows as it takes them, of which the first is used.
    """
    import keras

    numbers = [np.asarray(weight) for weight in network.weights]
    numbers = [one for one in numbers if one.dtype.kind not in "iub"]
    count = sum(one.size for one in numbers)
    zeros = count - sum(int(np.count_nonzero(one)) for one in numbers)
    row = keras.tree.map_structure(lambda values: values[:1], inputs)
    return {
        "zeros": zeros / count if count else None,
        "bytes": sum(one.nbytes for one in numbers),
        "milliseconds": milliseconds(lambda: network.predict_on_batch(row)),
    }
