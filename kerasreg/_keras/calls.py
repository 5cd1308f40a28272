"""Seeing the calls of a model's layers while the model runs."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from keras import ops

Hook = Callable[[Any, Callable[[], Any]], Any]


@contextlib.contextmanager
def seen(layers: Iterable[Any], hook: Hook) -> Iterator[None]:
    """Within it, each call of a layer is `hook(layer, call)`, which returns `call()`.

    So a single eager pass meets every layer with its true input, in the order in
    which they run, in models of any kind. Keras has no public hooks. The
    method is set behind Keras' back, which else would track it.
    """
    replaced: list[tuple[Any, Any]] = []

    def around(layer: Any, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            return hook(layer, lambda: original(*args, **kwargs))

        return call

    try:
        for layer in layers:
            replaced.append((layer, vars(layer).get("call")))
            object.__setattr__(layer, "call", around(layer, layer.call))
        yield
    finally:
        for layer, before in reversed(replaced):
            if before is None:
                object.__delattr__(layer, "call")
            else:
                object.__setattr__(layer, "call", before)


def numbers(tensor: Any) -> np.ndarray | None:
    """The values of a tensor in float64; None in a traced function, where there are none."""
    try:
        return np.asarray(ops.convert_to_numpy(ops.cast(tensor, "float32")), "float64")
    except (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return None
