"""Seeing the calls of a model's layers while the model runs."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from keras import ops

from kerasreg._keras.patching import patched

Hook = Callable[[Any, Callable[[], Any]], Any]


@contextlib.contextmanager
def intercept_calls(layers: Iterable[Any], hook: Hook) -> Iterator[None]:
    """Within it, each call of a layer is `hook(layer, call)`, which returns `call()`.

    So a single eager pass meets every layer with its true input, in the order in
    which they run, in models of any kind. Keras has no public hooks.
    """

    def around(layer: Any, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            return hook(layer, lambda: original(*args, **kwargs))

        return call

    with contextlib.ExitStack() as stack:
        for layer in layers:
            stack.enter_context(patched(layer, call=around(layer, layer.call)))
        yield


def numbers(tensor: Any) -> np.ndarray | None:
    """The values of a tensor in float64; None in a traced function, where there are none."""
    try:
        return np.asarray(ops.convert_to_numpy(ops.cast(tensor, "float32")), "float64")
    except (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return None
