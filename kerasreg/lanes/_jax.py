"""K lanes as one JAX program: `jax.vmap` within `jax.lax.scan` over steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from kerasreg.lanes._numbers import Values
from kerasreg.lanes._step import Step


def differentiate(function: Callable[[Any], tuple[Any, Any]]) -> Callable[[Any], tuple[Any, Any]]:
    """A function that gives the gradients of the first thing that another one gives."""

    def gradients(values: Sequence[Any]) -> tuple[Any, Any]:
        (_, besides), found = jax.value_and_grad(function, has_aux=True)(list(values))
        return found, besides

    return gradients


class Program:
    """The functions of K lanes of a step. See `kerasreg.lanes._tensorflow.Program`."""

    def __init__(self, step: Step, lanes: int) -> None:
        self.step = step
        self.lanes = lanes
        self.loops: list[tuple[str, str]] = []  # `vmap` has a rule for everything.
        self.python: list[str] = []
        self._functions: dict[Any, Any] = {}

    @property
    def traces(self) -> int:
        """How many functions were made so far."""
        return len(self._functions)

    def run(
        self,
        kind: str,
        pack: Callable[[Any], Any],
        values: Sequence[Any],
        numbers: Values,
        data: Sequence[Any],
        order: Any,
        active: Any,
        compiled: bool | str,
        form: bool | None = None,
    ) -> list[Any]:
        """Runs training or test steps and gives the values after them.

        `compiled` and `form` change nothing: JAX compiles always.
        """
        order = jnp.asarray(order)
        stacked = order.ndim == 3
        key = (kind, stacked, pack)
        if key not in self._functions:
            step = self.step

            def one(values: Any, numbers: Values, batch: Any) -> Any:
                if kind == "train":
                    return step.train(values, numbers, pack(batch), differentiate)
                return step.test(values, numbers, pack(batch))

            lanes = jax.vmap(one, in_axes=(0, 0, 0 if stacked else None))

            def steps(values: Any, numbers: Any, data: Any, order: Any, active: Any) -> Any:
                def body(values: Any, rows: Any) -> Any:
                    after = lanes(values, numbers, [part[rows] for part in data])
                    # A step may give, for example, a strong type for a weak one.
                    return [
                        jnp.asarray(a, v.dtype) for a, v in zip(after, values, strict=True)
                    ], None

                after, _ = jax.lax.scan(body, list(values), order)
                return [
                    jnp.where(active.reshape([-1] + [1] * (new.ndim - 1)), new, old)
                    for new, old in zip(after, values, strict=True)
                ]

            self._functions[key] = jax.jit(steps)
        data = [jnp.asarray(part) for part in data]
        values = [jnp.asarray(value) for value in values]
        return list(self._functions[key](values, numbers, data, order, jnp.asarray(active)))

    def prepare(self, *arguments: Any, **named: Any) -> Callable[[], Any]:
        """Nothing: a compilation ahead of time is none of the function's own."""
        return lambda: None

    def predict(
        self, pack: Callable[[Any], Any], values: Sequence[Any], numbers: Values, batch: Any
    ) -> Any:
        """The outputs of all lanes for a batch, with a leading axis of lanes."""
        key = ("predict", pack)
        if key not in self._functions:

            def one(values: Any, numbers: Values, batch: Any) -> Any:
                return self.step.predict(values, numbers, pack(batch)[0])

            self._functions[key] = jax.jit(jax.vmap(one, in_axes=(0, 0, None)))
        return self._functions[key](list(values), numbers, [jnp.asarray(part) for part in batch])

    def results(self, values: Sequence[Any], numbers: Values) -> dict[str, Any]:
        """The metrics so far, one number per lane for each."""
        if "results" not in self._functions:
            self._functions["results"] = jax.jit(jax.vmap(self.step.results))
        return dict(self._functions["results"](list(values), numbers))
