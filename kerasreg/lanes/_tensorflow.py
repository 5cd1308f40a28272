"""K lanes as one TensorFlow program: `tf.vectorized_map` within a loop over steps."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from kerasreg._keras.lane_convolutions import lane_convolutions
from kerasreg._keras.lane_recurrence import unrolled_recurrence
from kerasreg._keras.own_steps import total_gradient
from kerasreg._keras.pfor_converters import (
    assignments,
    calls_of_python,
    draws_random_numbers,
    fallbacks,
    register_converters,
)
from kerasreg._keras.tensorflow_internals import handles_text
from kerasreg.lanes._batches import Packing, placed
from kerasreg.lanes._program import Program, Run
from kerasreg.lanes._scalars import ScalarValues
from kerasreg.lanes._shares import MOST, at_once, joined, shares_of, shares_over
from kerasreg.lanes._step import Assigned, Step


def differentiate(
    function: Callable[[Any, Assigned], tuple[Any, Any]],
) -> Callable[[Any], tuple[Any, Any]]:
    """A function that gives the gradients of the first thing that another one gives.

    No gradient goes through what is assigned to a weight, as it goes through no `assign` of a
    `tf.Variable`. The gradient of the weight is that of all values that it had.
    """

    def gradients(values: Sequence[Any]) -> tuple[Any, Any]:
        later: list[tuple[int, Any]] = []
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)

            def assigned(number: int, value: Any) -> Any:
                value = tf.stop_gradient(value)
                tape.watch(value)
                later.append((number, value))
                return value

            loss, besides = function(values, assigned)
        # Those of an embedding stay slices: Keras squares each of them on its own.
        found, of_later = tape.gradient(loss, (list(values), [value for _, value in later]))
        for (number, _), gradient in zip(later, of_later, strict=True):
            found[number] = total_gradient([found[number], gradient])
        return found, besides

    return gradients


# Elements of the patches of all convolutions for a batch of one lane.
_MOST_PATCHES = 1_000_000


class TensorFlowProgram(Program):
    """The functions of K lanes of a step, each step traced once for any batch size.

    XLA compiles a run of many steps if the run says so, once for each number of
    rows in the data and in a batch.
    """

    def __init__(self, step: Step, lanes: int, devices: Sequence[str] = ()) -> None:
        super().__init__(step, lanes, devices)
        register_converters()
        self._traces: dict[Any, Any] = {}
        self._runs: dict[Any, Any] = {}
        self._not_compiled: set[int] = set()
        self._text: set[int] = set()
        self._patches: dict[int, int] = {}
        self._changed: dict[int, list[int]] = {}  # The variables that a step gives other values.

    @property
    def traces(self) -> int:
        """The number of functions that were traced so far."""
        return len(self._traces) + len(self._runs)

    @property
    def compilations(self) -> int:
        """The number of those functions that XLA compiles."""
        return sum(compiled for _, compiled, _ in self._runs)

    def _trace(
        self,
        kind: str,
        pack: Packing,
        arguments: Any,
        stacked: bool,
        xla: bool,
        free: Sequence[tuple[int, ...]] | None = None,
    ) -> Any:
        """One step of all lanes, as a function of any batch size, in a form for XLA or without."""
        values, scalars, batch = arguments
        specs = _specs((values, scalars)), _specs_of_data(batch, free, int(stacked))
        key = (kind, stacked, xla, pack, str(specs))
        if key in self._traces:
            return self._traces[key]
        step, sizes = self.step, list[list[int]]()
        loops_over_time: list[list[int | None]] = []
        changed: list[int] = []

        def one(lane: Any) -> Any:
            values, scalars, batch = lane
            with contextlib.ExitStack() as stack:
                if xla and self.lanes > 1:
                    sizes.append(stack.enter_context(lane_convolutions()))
                    loops_over_time.append(stack.enter_context(unrolled_recurrence()))
                if kind == "predict":
                    return step.predict(values, scalars, pack(batch)[0])
                if kind == "train":
                    after = step.train(values, scalars, pack(batch), differentiate)
                else:
                    after = step.test(values, scalars, pack(batch))
                # To pass the others on would be to copy them.
                pairs = enumerate(zip(after, values, strict=True))
                changed[:] = [index for index, (new, old) in pairs if new is not old]
                return [after[index] for index in changed]

        def all_lanes(values: Any, scalars: ScalarValues, batch: Any) -> Any:
            if stacked:
                return self._map(one, (values, scalars, batch))
            return self._map(lambda lane: one((*lane, batch)), (values, scalars))

        function = tf.function(all_lanes, autograph=False)
        trace = function.get_concrete_function(*specs[0], specs[1])
        loops = fallbacks(trace)
        self.loops += [loop for loop in loops if loop not in self.loops]
        self._patches[id(trace)] = max(map(sum, sizes), default=0)
        self._changed[id(trace)] = changed
        self.python += calls_of_python(trace)
        self.assigns += assignments(trace)
        if handles_text(trace.graph):
            self._text.add(id(trace))
        no_xla = loops or any(loops_over_time) or id(trace) in self._text
        # XLA draws others than TensorFlow does, of the same seed.
        if no_xla or draws_random_numbers(trace):
            self._not_compiled.add(id(trace))
        self._traces[key] = trace
        return trace

    def _map(self, function: Callable[[Any], Any], lanes: Any) -> Any:
        """Maps over lanes as one; a single lane needs no vectorised form."""
        if self.lanes > 1:
            return tf.vectorized_map(function, lanes)
        found = function(tf.nest.map_structure(lambda part: part[0], lanes))
        return tf.nest.map_structure(lambda part: part[None], found)

    def run(self, run: Run) -> list[Any]:
        """Takes the steps of a run; returns the values of the variables after the last one."""
        while True:
            shares, steps, changed, by_choice = self._steps_of_shares(run)
            calls = [functools.partial(take, run.count) for take in steps]
            try:
                found = joined(at_once(calls, len(self.devices) or _cores()), shares, tf.concat)
            except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
                # An operation that XLA does not have, such as a list of unknown length.
                if by_choice is None:
                    raise
                self._not_compiled.add(by_choice)
                continue
            values = list(run.values)
            for index, value in zip(changed, found, strict=True):
                values[index] = value
            return values

    def precompile(self, run: Run) -> Callable[[], Any]:
        """Traces what `run` needs; returns a function that compiles it, in any thread."""
        _, steps, _, _ = self._steps_of_shares(run)
        # One program does for all shares, but each device compiles its own.
        calls = [functools.partial(take, 0) for take in steps[: max(1, len(self.devices))]]
        return functools.partial(at_once, calls, len(calls))

    def _steps_of_shares(
        self, run: Run
    ) -> tuple[list[slice], list[Callable[[int], Any]], list[int], int | None]:
        """How the steps of a run are taken.

        Returns:
            The shares of the lanes; for each share a function of the number of steps, which gives
            the values that change; the indices of their variables; and the trace for which XLA
            was chosen, if it was.
        """
        # Shares of a device have the data in common.
        names = [name.upper() for name in self.devices]  # Keras' names, as TensorFlow has them.
        devices: list[str | None] = [*names] or [None]
        data = {name: placed(run.data, name, functools.partial(_on, name)) for name in devices}
        run = dataclasses.replace(run, data=data[devices[0]])
        every, shares = self._shares(run)
        trace = self._trace_of(run, shares[0], run.for_xla)
        compiled = run.compiled
        if compiled is True and id(trace) in self._text:
            raise ValueError(
                f"{self.step.model.name!r} has text, which XLA cannot compile. Received: "
                "jit_compile=True; use jit_compile='auto'."
            )
        if compiled == "auto" and self._patches[id(trace)] * run.order.shape[-1] > _MOST_PATCHES:
            # Of large images, TensorFlow's own convolutions are faster than patches.
            self._not_compiled.add(id(trace))
        chosen = id(trace) if compiled == "auto" and id(trace) not in self._not_compiled else None
        if run.for_xla and id(trace) in self._not_compiled and compiled is not True:
            shares = every
            trace = self._trace_of(run, shares[0], False)
        compiles = compiled is True or chosen is not None
        where = list(itertools.islice(itertools.cycle(devices), len(shares)))
        parts = _arguments_of(run, shares, [data[device] for device in where])
        steps = self._steps(trace, parts[0], compiles, run.free)
        changed = self._changed[id(trace)]

        def take(share: slice, arguments: Any, device: str | None, count: int) -> list[Any]:
            active, before = run.active[share], [arguments[0][place] for place in changed]
            if count and not active.any():
                return before
            with tf.device(device):
                # The count as a tensor of its own: a Python number would be another function.
                after = list(steps(*arguments, tf.constant(count)))
                return after if active.all() else _of_active(active, after, before)

        of_shares = zip(shares, parts, where, strict=True)
        calls: list[Callable[[int], Any]] = [
            functools.partial(take, share, part, device) for share, part, device in of_shares
        ]
        return shares, calls, changed, chosen

    def _shares(self, run: Run) -> tuple[list[slice], list[slice]]:
        """The shares of the lanes without XLA, and with it."""
        if self.devices:
            count = len(self.devices)
            most = MOST if self.devices[0].startswith("cpu") else None
            return shares_over(self.lanes, count), shares_over(self.lanes, count, most)
        every = [slice(0, self.lanes)]
        # On other devices, and without XLA, operations are divided as they are.
        divides = run.for_xla and _is_on_cpu(run.values)
        return every, shares_of(self.lanes, _cores()) if divides else every

    def _trace_of(self, run: Run, share: slice, xla: bool) -> Any:
        """The trace of a step of a share of the lanes."""
        stacked, count = run.order.ndim == 3, share.stop - share.start

        def of_share(part: Any) -> tf.TensorSpec:
            return tf.TensorSpec([count, *part.shape[1:]], part.dtype)

        def of_batch(part: tf.Tensor) -> tf.TensorSpec:
            # The length of a batch, here of one row, stays free.
            return tf.TensorSpec([*[count] * stacked, 1, *part.shape[1:]], part.dtype)

        # No values are divided to look for a trace: it is looked for in each epoch.
        values, scalars = tf.nest.map_structure(of_share, (list(run.values), run.scalars))
        batch = [of_batch(part) for part in run.data]
        return self._trace(run.kind, run.pack, (values, scalars, batch), stacked, xla, run.free)

    def _steps(
        self,
        trace: Any,
        arguments: Any,
        compiled: bool,
        free: Sequence[tuple[int, ...]] | None,
    ) -> Any:
        """Many steps as one function, or a single one as it is: they give what changes."""
        data, order = arguments[2:4]
        changed = self._changed[id(trace)]
        if order.shape[0] == 1 and not compiled:
            return functools.partial(_single, trace)
        # XLA compiles for known shapes; without it one graph does for all of them.
        shapes = tuple(part.shape for part in data), tuple(order.shape)
        key = (id(trace), compiled, shapes if compiled else order.shape.rank)
        if key in self._runs:
            return self._runs[key]

        def steps(values: Any, scalars: Any, data: Any, order: Any, count: Any) -> Any:
            def body(index: Any, now: Any) -> Any:
                batch = [tf.gather(part, order[index]) for part in data]
                every = list(values)
                for place, value in zip(changed, now, strict=True):
                    every[place] = value
                after = list(trace(every, scalars, batch))
                for new, old in zip(after, now, strict=True):
                    new.set_shape(old.shape)  # Of some operations TensorFlow knows no shape.
                return index + 1, after

            _, after = tf.while_loop(
                lambda index, _: index < count,
                body,
                (0, [values[place] for place in changed]),
                parallel_iterations=1,
            )
            return after

        specs = [*(_specs(part) for part in arguments), tf.TensorSpec([], tf.int32)]
        if not compiled:
            specs[2] = _specs_of_data(data, free)
            specs[3] = _specs(order, free=(0, order.shape.rank - 1))
        function = tf.function(steps, jit_compile=compiled or None, autograph=False)
        self._runs[key] = function.get_concrete_function(*specs)
        return self._runs[key]

    def predict(
        self,
        pack: Packing,
        values: Sequence[Any],
        scalars: ScalarValues,
        batch: Sequence[Any],
        free: Sequence[tuple[int, ...]] | None = None,
    ) -> Any:
        """The outputs of all lanes for one batch, with a first axis of lanes."""
        batch = [tf.convert_to_tensor(part) for part in batch]
        arguments = list(values), scalars, batch
        trace = self._trace("predict", pack, arguments, False, False, free)
        return trace(list(values), scalars, batch)

    def results(self, values: Sequence[Any], scalars: ScalarValues) -> dict[str, Any]:
        """The loss and the metrics so far: for each name an array with a first axis of lanes."""
        if "results" not in self._traces:

            def results(values: Any, scalars: Any) -> Any:
                return self._map(lambda lane: self.step.results(*lane), (values, scalars))

            self._traces["results"] = tf.function(results, autograph=False)
        return dict(self._traces["results"](list(values), scalars))


def _arguments_of(run: Run, shares: Sequence[slice], data: Sequence[Any]) -> list[Any]:
    """For each share of the lanes, and its data, the arguments of its steps but their number."""
    lanes = len(run.active)
    flat = tf.nest.flatten((list(run.values), run.scalars))
    size = shares[0].stop - shares[0].start
    if len(shares) * size == lanes:
        # At once, which makes no copies.
        columns = [tf.split(part, len(shares)) if len(shares) > 1 else [part] for part in flat]
    else:
        columns = [[part[share] for share in shares] for part in flat]
    found = []
    for share, given, parts in zip(shares, data, zip(*columns, strict=True), strict=True):
        values, scalars = tf.nest.pack_sequence_as((list(run.values), run.scalars), parts)
        order = run.order[:, share] if run.order.ndim == 3 else run.order
        found.append((values, scalars, given, tf.convert_to_tensor(order)))
    return found


def _on(device: str | None, part: Any) -> tf.Tensor:
    """An array on a device; None for where TensorFlow puts it."""
    if device is None:
        return tf.convert_to_tensor(part)
    with tf.device(device):
        return tf.identity(part)


def _is_on_cpu(values: Sequence[Any]) -> bool:
    return "CPU" in tf.convert_to_tensor(values[0]).device


@functools.cache
def _cores() -> int:
    """The number of cores that the process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _single(trace: Any, values: Any, scalars: Any, data: Any, order: Any, count: Any) -> Any:
    """One step, for which no loop is traced, whatever the count."""
    return trace(values, scalars, [tf.gather(part, order[0]) for part in data])


def _of_active(active: np.ndarray, after: Sequence[Any], before: Sequence[Any]) -> list[Any]:
    """The new values of the lanes that are moved, and the old ones of the others."""
    return [
        tf.where(active.reshape([-1] + [1] * (new.shape.rank - 1)), new, old)
        for new, old in zip(after, before, strict=True)
    ]


def _specs_of_data(
    data: Sequence[Any], free: Sequence[tuple[int, ...]] | None, lanes: int = 0
) -> list[Any]:
    """Specifications of arrays of any number of samples, behind axes of lanes."""
    every = [()] * len(data) if free is None else free
    return [
        _specs(part, [axis + lanes for axis in (0, *axes)])
        for part, axes in zip(data, every, strict=True)
    ]


def _specs(structure: Any, free: Sequence[int] = ()) -> Any:
    """Specifications of tensors, or of what others specify, with any length on some axes."""

    def spec(part: Any) -> tf.TensorSpec:
        shape = list(part.shape)
        for axis in free:
            shape[axis] = None
        return tf.TensorSpec(shape, part.dtype)

    return tf.nest.map_structure(spec, structure)
