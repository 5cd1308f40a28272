"""Runs of a program over data: an epoch of training, of testing, and predictions."""

from __future__ import annotations

import concurrent.futures
import functools
from collections.abc import Sequence
from typing import Any, Protocol

import keras
import numpy as np
from keras import ops, tree

from kerasreg._warnings import warn
from kerasreg.lanes._batches import Examples
from kerasreg.lanes._state import State, backend_module
from kerasreg.lanes._step import Step
from kerasreg.lanes._structure import Structure

# Compiling with XLA costs seconds, and then saves half of each step and more.
# Measured: worth it from about this many steps, times lanes, of one shape.
_STEPS_WORTH_COMPILING = 12_000


class BatchHooks(Protocol):
    """What is called before and after single batches: see `SingleBatches`."""

    def begin(self, moved: np.ndarray) -> np.ndarray:
        """Of the lanes that have a batch, those that are to see it."""

    def end(self, moved: np.ndarray, metrics: dict[str, np.ndarray]) -> None:
        """Is told of the metrics after it."""


class Epochs:
    """Moves the state of lanes over data by the program of their model.

    Args:
        state: of the lanes.
        jit_compile: as for `Lanes`.
    """

    def __init__(self, state: State, jit_compile: bool | str) -> None:
        self.state = state
        self.model: keras.Model = state.model
        self.jit_compile = jit_compile
        self._program: Any = None
        self._lifted: list[int] = []
        self._measures = False
        self._warned: set[tuple[str, str]] = set()
        self._steps = 0
        self._refused: str | None = None
        self._compiling: list[concurrent.futures.Future[Any]] = []

    def program(self, examples: Examples, measures: bool = True) -> Any:
        """The program, made when the first data is seen: metrics are built by it.

        Args:
            examples: the data.
            measures: whether it is to have losses and metrics, for which
                predictions have no targets.
        """
        if self._refused is not None:
            # Nothing is traced the next time, and it is no better.
            raise ValueError(self._refused)
        state = self.state
        complete = self._measures or not measures
        if self._program is None or self._lifted != state.lifted or not complete:
            if measures and not self._measures:
                # Metrics may depend on the shapes of the first examples.
                x, y, weights = examples.pack([array[:1] for array in examples.arrays])
                self.model._symbolic_build(data_batch=(x, y, weights))
                state.add(self.model.metrics_variables)
                self._measures = True
            self._lifted = list(state.lifted)
            numbers = [state.structure.numbers[index] for index in self._lifted]
            step = Step(self.model, state.variables, numbers)
            self._program = backend_module().Program(step, state.lanes)
        return self._program

    def run(
        self,
        kind: str,
        examples: Examples,
        order: np.ndarray | Sequence[np.ndarray],
        batch_size: int,
        active: np.ndarray,
        compiled: bool = False,
        hooks: BatchHooks | None = None,
    ) -> dict[str, np.ndarray]:
        """One epoch of training or of testing: the metrics of all lanes.

        Args:
            kind: `"train"` or `"test"`.
            examples: the data.
            order: rows of the data in the order of their use: one array for all
                lanes, or one for each.
            batch_size: of all batches but the last.
            active: which lanes to move, shape (lanes,), Boolean.
            compiled: whether XLA is worth its time.
            hooks: what is called before and after each batch; it makes of each
                one a run of its own.

        Returns:
            For each metric, an array with one value per lane.
        """
        self._wait()
        program, state = self.program(examples), self.state
        state.reset_metrics()
        limit = 1 if hooks else None
        for data, rows, having in examples.batches(order, batch_size, limit):
            moved = active if having is None else active & having
            if hooks is not None:
                moved = hooks.begin(moved)
            if not moved.any():
                continue
            seen = program.traces
            values = program.run(
                kind,
                examples.pack,
                state.values,
                state.numbers,
                data,
                rows,
                moved,
                **self._forms(compiled, rows),
            )
            self._check_traced(program, seen)
            state.values = values
            self._steps += len(rows) * (kind == "train")
            if hooks is not None:
                hooks.end(moved, self.metrics())
        return self.metrics()

    def prepare(
        self,
        kind: str,
        examples: Examples,
        order: np.ndarray | Sequence[np.ndarray],
        batch_size: int,
        active: np.ndarray,
        compiled: bool = False,
    ) -> None:
        """Traces what `run` needs for these arguments, and compiles it in a thread."""
        program, state = self.program(examples), self.state
        state.reset_metrics()
        known = set()
        for data, rows, _ in examples.batches(order, batch_size):
            shapes = rows.shape, *(part.shape for part in data)
            if shapes in known:
                continue
            known.add(shapes)
            seen = program.traces
            compiles = program.prepare(
                kind,
                examples.pack,
                state.values,
                state.numbers,
                data,
                rows,
                active,
                **self._forms(compiled, rows),
            )
            self._check_traced(program, seen)
            self._compiling.append(self._thread.submit(compiles))
        program.results(state.values, state.numbers)

    @functools.cached_property
    def _thread(self) -> concurrent.futures.Executor:
        return concurrent.futures.ThreadPoolExecutor(1, "kerasreg-compile")

    def _wait(self) -> None:
        """Waits for what compiles; an error comes again when it is run."""
        concurrent.futures.wait(self._compiling)
        if self._compiling:
            self._compiling = []
            self._thread.shutdown()
            del self._thread

    def _forms(self, compiled: bool, rows: np.ndarray) -> dict[str, Any]:
        """How a run of batches is compiled and traced."""
        # A single batch, the ragged one, is not worth a compilation.
        xla = self._compiles(compiled, len(rows))
        return {"compiled": xla, "form": bool(self._compiles(compiled, 2))}

    def metrics(self) -> dict[str, np.ndarray]:
        """The metrics of the epoch so far."""
        found = self._program.results(self.state.values, self.state.numbers)
        return {name: ops.convert_to_numpy(value) for name, value in found.items()}

    def predict(self, examples: Examples, batch_size: int) -> Any:
        """The outputs of all lanes, with a first axis of lanes."""
        program, state = self.program(examples, measures=False), self.state
        outputs = []
        for begin in range(0, examples.count, batch_size):
            part = [array[begin : begin + batch_size] for array in examples.arrays]
            seen = program.traces
            found = program.predict(examples.pack, state.values, state.numbers, part)
            self._check_traced(program, seen)
            outputs.append(tree.map_structure(ops.convert_to_numpy, found))
        return tree.map_structure(lambda *parts: np.concatenate(parts, axis=1), *outputs)

    def finalize(self, examples: Examples) -> None:
        """What Keras does with the weights of the lane in scope when a training ends."""
        self.program(examples).step.finalize()

    def worth_compiling(self, steps: int) -> bool:
        """Whether a training of so many steps pays for a compilation.

        One whose length nobody knew does when it has cost as much without.
        """
        return max(steps, self._steps) * self.state.lanes >= _STEPS_WORTH_COMPILING

    def _compiles(self, worth: bool, steps: int) -> bool | str:
        if self.jit_compile == "auto":
            return "auto" if worth and steps > 1 else False
        return self.jit_compile

    def _check_traced(self, program: Any, seen: int) -> None:
        """Refuses what tracing showed to be no program, and names what is slow in it."""
        if program.traces == seen:
            return
        self._refused = self._found_to_be_no_program(program)
        if self._refused is not None:
            raise ValueError(self._refused)
        for layer, operation in program.loops:
            if (layer, operation) not in self._warned:
                self._warned.add((layer, operation))
                warn(
                    f"{layer or 'the model'}: {operation} has no vectorised form; it runs for one "
                    "lane after the other. Results are right, and slower."
                )

    def _found_to_be_no_program(self, program: Any) -> str | None:
        if program.python:
            return (
                f"{self.model.name!r} cannot be a lane: it calls back into Python "
                f"({', '.join(program.python)})."
            )
        after = Structure(self.model)
        if after.tokens != self.state.structure.tokens:
            place = Structure(self.model, places=True).difference(
                self.state.structure, contents=False
            )
            return (
                f"{self.model.name!r} cannot be a lane: its Python objects change when it is "
                f"called, and lanes share them: at {place}."
            )
        return None
