"""Runs of a program over data: an epoch of training, of testing, and predictions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from kerasreg.lanes._batches import Examples
from kerasreg.lanes._state import State, backend_module
from kerasreg.lanes._step import Step
from kerasreg.lanes._structure import Structure

# Compiling with XLA costs seconds, and then saves half of each step and more.
# Measured: worth it from about this many steps, times lanes, of one shape.
_STEPS_WORTH_COMPILING = 12_000


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

    def program(self, examples: Examples, measures: bool = True) -> Any:
        """The program, made when the first data is seen: metrics are built by it.

        Args:
            examples: the data.
            measures: whether it is to have losses and metrics, for which
                predictions have no targets.
        """
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
        steps: int | None = None,
        between: Callable[[int], Any] | None = None,
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
            steps: at most so many batches at a time.
            between: called after each run of batches with the number of batches
                so far.

        Returns:
            For each metric, an array with one value per lane.
        """
        program, state = self.program(examples), self.state
        seen = program.traces
        # Testing changes metrics and nothing else that is kept.
        before = list(state.values)
        state.reset_metrics()
        done = 0
        for data, rows, having in examples.batches(order, batch_size, steps):
            # A single batch, the ragged one, is not worth a compilation.
            xla = self._compiles(compiled, len(rows))
            moved = active if having is None else active & having
            form = bool(self._compiles(compiled, 2))
            state.values = program.run(
                kind, examples.pack, state.values, state.numbers, data, rows, moved, xla, form
            )
            done += len(rows)
            self._steps += len(rows) * (kind == "train")
            if between is not None:
                between(done)
        found = self.metrics()
        if kind == "test":
            state.values = before
        if program.traces != seen:
            self._check_traced(program)
        return found

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
            found = program.predict(examples.pack, state.values, state.numbers, part)
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

    def _check_traced(self, program: Any) -> None:
        """Refuses what tracing showed to be no program, and names what is slow in it."""
        if program.python:
            raise ValueError(
                f"{self.model.name!r} cannot be a lane: it calls back into Python "
                f"({', '.join(program.python)})."
            )
        after = Structure(self.model)
        if after.tokens != self.state.structure.tokens:
            place = Structure(self.model, places=True).difference(
                self.state.structure, contents=False
            )
            raise ValueError(
                f"{self.model.name!r} cannot be a lane: its Python objects change when it is "
                f"called, and lanes share them: at {place}."
            )
        for layer, operation in program.loops:
            if (layer, operation) not in self._warned:
                self._warned.add((layer, operation))
                warnings.warn(
                    f"{layer or 'the model'}: {operation} has no vectorised form; it runs for one "
                    "lane after the other. Results are right, and slower.",
                    stacklevel=5,
                )
