"""K lanes as one JAX program: `jax.vmap` within a loop over steps."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from kerasreg.lanes._batches import Packing, placed
from kerasreg.lanes._program import Program, Run
from kerasreg.lanes._scalars import ScalarValues
from kerasreg.lanes._step import Assigned, Step


def differentiate(
    function: Callable[[Any, Assigned], tuple[Any, Any]],
) -> Callable[[Any], tuple[Any, Any]]:
    """A function that gives the gradients of the first thing that another one gives.

    They go through what is assigned to a weight, as in Keras on JAX.
    """

    def assigned(number: int, value: Any) -> Any:
        return value

    def gradients(values: Sequence[Any]) -> tuple[Any, Any]:
        of_values = jax.value_and_grad(lambda of: function(of, assigned), has_aux=True)
        (_, besides), found = of_values(list(values))
        return found, besides

    return gradients


class JaxProgram(Program):
    """The functions of K lanes of a step, compiled by JAX for each shape of the data."""

    def __init__(self, step: Step, lanes: int, devices: Sequence[str] = ()) -> None:
        super().__init__(step, lanes, devices)  # `vmap` has a rule for every operation: no loops.
        self._functions: dict[Any, Any] = {}
        self._traces = 0

    @property
    def traces(self) -> int:
        """The number of functions that were traced so far."""
        return self._traces

    @property
    def compilations(self) -> int:
        """The number of those functions that XLA compiles: all."""
        return self._traces

    def run(self, run: Run) -> list[Any]:
        """Takes the steps of a run. JAX compiles each, whatever `run` says of XLA."""
        order = jnp.asarray(run.order)
        stacked = order.ndim == 3
        kind, pack = run.kind, run.pack
        key = (kind, stacked, pack)
        if key not in self._functions:
            step = self.step

            def one(values: Any, scalars: ScalarValues, batch: Any) -> Any:
                if kind == "train":
                    return step.train(values, scalars, pack(batch), differentiate)
                return step.test(values, scalars, pack(batch))

            lanes = jax.vmap(one, in_axes=(0, 0, 0 if stacked else None))

            def steps(
                values: Any, scalars: Any, data: Any, order: Any, active: Any, count: Any
            ) -> Any:
                def body(index: Any, values: Any) -> Any:
                    rows = order[index]
                    after = lanes(values, scalars, [part[rows] for part in data])
                    # A step may give, for example, a strong type for a weak one.
                    return [jnp.asarray(a, v.dtype) for a, v in zip(after, values, strict=True)]

                # The number of steps is no part of the program.
                after = jax.lax.fori_loop(0, count, body, list(values))
                return [
                    jnp.where(active.reshape([-1] + [1] * (new.ndim - 1)), new, old)
                    for new, old in zip(after, values, strict=True)
                ]

            self._functions[key] = self._jit(steps)
        data = placed(run.data, self.devices, self._everywhere if self.devices else jnp.asarray)
        values = [jnp.asarray(value) for value in run.values]
        function = self._functions[key]
        active, count = jnp.asarray(run.active), jnp.asarray(run.count, "int32")
        if not self.devices:
            return list(function(values, run.scalars, data, order, active, count))
        of_lanes = self._divided((values, run.scalars, active))
        order = self._divided(order, axis=1) if stacked else self._everywhere(order)
        found = function(*of_lanes[:2], data, order, of_lanes[2], self._everywhere(count))
        more = found[0].shape[0] - self.lanes
        return [part[: self.lanes] for part in found] if more else list(found)

    @functools.cached_property
    def _mesh(self) -> jax.sharding.Mesh:
        named = [jax.devices(name.partition(":")[0]) for name in self.devices]
        numbers = [int(name.partition(":")[2] or 0) for name in self.devices]
        devices = [of_kind[number] for of_kind, number in zip(named, numbers, strict=True)]
        return jax.sharding.Mesh(devices, ("lanes",))

    def _everywhere(self, part: Any) -> Any:
        """A copy of an array on each device."""
        return jax.device_put(part, NamedSharding(self._mesh, PartitionSpec()))

    def _divided(self, parts: Any, axis: int = 0) -> Any:
        """Arrays with an axis of lanes, which is divided among the devices.

        All have as many: where these are more than there are, the last lane is there again.
        """
        more = -self.lanes % len(self.devices)
        sharding = NamedSharding(self._mesh, PartitionSpec(*[None] * axis, "lanes"))

        def filled(part: Any) -> Any:
            last = jnp.take(part, jnp.array([self.lanes - 1] * more), axis=axis)
            return jnp.concatenate([part, last], axis=axis)

        # At once: those that are there stay there.
        return jax.device_put(jax.tree.map(filled, parts) if more else parts, sharding)

    def precompile(self, run: Run) -> Callable[[], Any]:
        """Does nothing: JAX would not use for a call what was compiled ahead of it."""
        return lambda: None

    def predict(
        self,
        pack: Packing,
        values: Sequence[Any],
        scalars: ScalarValues,
        batch: Sequence[Any],
        free: Sequence[tuple[int, ...]] | None = None,
    ) -> Any:
        """The outputs of all lanes for one batch, with a first axis of lanes."""
        key = ("predict", pack)
        if key not in self._functions:

            def one(values: Any, scalars: ScalarValues, batch: Any) -> Any:
                return self.step.predict(values, scalars, pack(batch)[0])

            self._functions[key] = self._jit(jax.vmap(one, in_axes=(0, 0, None)))
        return self._functions[key](list(values), scalars, [jnp.asarray(part) for part in batch])

    def results(self, values: Sequence[Any], scalars: ScalarValues) -> dict[str, Any]:
        """The loss and the metrics so far: for each name an array with a first axis of lanes."""
        if "results" not in self._functions:
            self._functions["results"] = self._jit(jax.vmap(self.step.results))
        return dict(self._functions["results"](list(values), scalars))

    def _jit(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def traced(*arguments: Any) -> Any:
            self._traces += 1
            return function(*arguments)

        return jax.jit(traced)
