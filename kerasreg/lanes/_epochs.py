"""Runs of a program over data: an epoch of training, of testing, and predictions."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
from collections.abc import Callable, Generator, Iterator
from typing import Any, Protocol

import keras
import numpy as np
from keras import ops, tree

from kerasreg._first_line import first_line
from kerasreg._keras.internals import build_by_batch, takes
from kerasreg._keras.own_steps import own_steps, refuse_steps
from kerasreg._keras.scope import Scope
from kerasreg._warnings import warn
from kerasreg.lanes._batches import Block
from kerasreg.lanes._class_weights import ClassWeights
from kerasreg.lanes._draws import RandomNumbers
from kerasreg.lanes._program import Program, Run
from kerasreg.lanes._programs import forget, program_for
from kerasreg.lanes._scalars import DifferentPrograms, Scalar, decides
from kerasreg.lanes._state import State
from kerasreg.lanes._step import Kind, Step
from kerasreg.lanes._streams import DataError
from kerasreg.lanes._structure import ModelStructure, why_not_a_lane

_KINDS: tuple[Kind, ...] = ("train", "test")
# Compiling with XLA costs seconds, and then saves half of each step and more.
# Measured: worth it from about this many steps, times lanes, of one shape.
_STEPS_WORTH_COMPILING = 12_000
# A step of training is so many of testing: there is a backward pass, and the optimizer.
_PASSES = 3


class BatchHooks(Protocol):
    """The calls before and after single batches of an epoch."""

    def begin(self, moved: np.ndarray) -> np.ndarray:
        """Is called before a batch.

        Args:
            moved: the lanes that have such a batch, shape (lanes,), Boolean.

        Returns:
            The lanes that are to see the batch, in the same form.
        """

    def end(self, moved: np.ndarray, metrics: dict[str, np.ndarray]) -> None:
        """Is called after a batch that the lanes `moved` have seen.

        Args:
            moved: the lanes that have seen the batch.
            metrics: the metrics of the epoch so far, with a first axis of lanes.
        """


class Epochs:
    """Moves the state of lanes over data by the program of their model.

    Args:
        state: the state of the lanes.
        jit_compile: as for `Lanes`.
        random_numbers: as for `Lanes`.
        devices: the names of the devices among which lanes are divided.
    """

    def __init__(
        self,
        state: State,
        jit_compile: bool | str,
        random_numbers: RandomNumbers = "vectorized",
        devices: tuple[str, ...] = (),
    ) -> None:
        self.state = state
        self.model: keras.Model = state.model
        self.jit_compile = jit_compile
        self._random_numbers: RandomNumbers = random_numbers
        self._devices = devices
        self._program: Program | None = None
        self._varying: list[int] = []
        self._masks: list[Any] = []
        self._measures = False
        self._warned: set[tuple[str, str]] = set()
        self._steps = 0
        self._refused: str | None = None
        self._logs: dict[Kind, dict[str, keras.Variable]] = {}
        self._compiling: list[concurrent.futures.Future[Any]] = []
        # Of programs that gave place to another one.
        self._past_traces = self._past_compilations = 0
        self._traced_before = 0, 0  # Traces and compilations of the program by other lanes.

    @property
    def step(self) -> Step | None:
        """The step that is traced, if there is one yet: other lanes may have made it."""
        return None if self._program is None else self._program.step

    @property
    def traces(self) -> int:
        """The number of functions that were traced so far, of all programs."""
        if self._program is None:
            return self._past_traces
        return self._past_traces + self._program.traces - self._traced_before[0]

    @property
    def compilations(self) -> int:
        """The number of those functions that XLA compiles."""
        if self._program is None:
            return self._past_compilations
        return self._past_compilations + self._program.compilations - self._traced_before[1]

    @property
    def loops(self) -> list[tuple[str, str]]:
        """`(layer, operation)` of what runs for one lane after the other, of all programs."""
        return sorted(self._warned)

    def _program_for(self, block: Block, measures: bool = True) -> Program:
        """The program, made when the first data is seen, from which metrics are built.

        Args:
            block: some of the data.
            measures: whether the program is to have losses and metrics. Predictions
                have no targets, and need none.
        """
        if self._refused is not None:
            # Nothing is traced the next time, and it is no better.
            raise ValueError(self._refused)
        state, program = self.state, self._program
        complete = self._measures or not measures
        same = self._varying == state.varying and self._masks == [*state.masks, *state.normalized]
        if program is not None and same and complete:
            return program
        if measures and not self._measures:
            # Metrics may depend on the shapes of the first samples.
            if own_steps(self.model):
                self._rehearse(block.example())
            else:
                build_by_batch(self.model, block.example())
            state.add(self.model.metrics_variables)
            for of_kind in self._logs.values():
                state.add(list(of_kind.values()))
            self._measures = True
        self._past_traces, self._past_compilations = self.traces, self.compilations
        self._varying = list(state.varying)
        self._masks = [*state.masks, *state.normalized]
        index = {id(variable): at for at, variable in enumerate(state.variables)}
        masks = tuple((*place, index[id(mask)]) for place, mask in state.masks.items())
        # In the order of the graph, which models of one structure have in common.
        normalized = tuple(index[id(mask)] for _, mask in state.normalized.values())
        options = self._random_numbers, masks, normalized, self._devices
        self._program = program_for(state, self._varying, options, self._make)
        # It may have been traced by other lanes.
        self._traced_before = self._program.traces, self._program.compilations
        self._tell_loops(self._program)
        return self._program

    def _make(self, scalars: list[Scalar]) -> Program:
        state = self.state
        step = Step(
            self.model,
            state.variables,
            scalars,
            self._random_numbers,
            state.masks,
            list(state.normalized.values()),
            self._logs,
        )
        return _program_of_backend()(step, state.lanes, self._devices)

    def _rehearse(self, batch: Any) -> None:
        """Runs the steps of the model's own symbolically, to build metrics and know their logs."""
        step = Step(self.model, self.state.variables, ())
        for kind in _KINDS:
            try:
                specs = step.specs_of_logs(kind, batch)
                with Scope():
                    of_metrics = set(self.model.get_metrics_result())
            except Exception as error:
                if f"{kind}_step" in step.own:
                    raise self._refusal(error) from error
                continue  # There may be no validation.
            if specs and set(specs) != of_metrics:
                # As Keras does, who then takes the logs of the last batch.
                self._logs[kind] = {
                    name: keras.Variable(np.zeros(spec.shape, spec.dtype), trainable=False)
                    for name, spec in specs.items()
                }

    def _refusal(self, error: Exception) -> DifferentPrograms:
        """Refuses the steps of the model's own, here and in other models of the class."""
        line = first_line(error)
        refuse_steps(self.model, f"with which lanes cannot do: {type(error).__name__}: {line}")
        return DifferentPrograms(
            f"{self.model.name!r} cannot be a lane: {why_not_a_lane(self.model)}."
        )

    def run(
        self,
        kind: Kind,
        blocks: Generator[Block, None, None],
        active: np.ndarray,
        compiled: bool = False,
        hooks: BatchHooks | None = None,
        class_weights: ClassWeights | None = None,
    ) -> dict[str, np.ndarray]:
        """One epoch of training or of testing: the metrics of all lanes.

        Args:
            kind: training or testing.
            blocks: the batches.
            active: the lanes to move, shape (lanes,), Boolean.
            compiled: whether XLA is worth its time.
            hooks: calls before and after each batch. Each block has one batch then.
            class_weights: the weights of classes of each lane, if lanes have their own.

        Returns:
            For each metric, an array with one value for each lane; nothing if there is no batch.
        """
        self.wait()
        state, program = self.state, None
        with contextlib.closing(blocks):
            for block in blocks:
                if program is None:
                    with self._taken(kind, block):
                        program = self._program_for(block)
                    state.reset_metrics()
                moved = active if block.having is None else active & block.having
                if hooks is not None:
                    moved = hooks.begin(moved)
                if not moved.any():
                    if block.having is None:
                        break  # Nor does any lane see a later one.
                    continue
                run = self._run_of(kind, block, moved, compiled, class_weights)
                with self._taken(kind, block):
                    state.values = self._checked(program, functools.partial(program.run, run))
                self._steps += block.count * (kind == "train")
                if hooks is not None:
                    hooks.end(moved, self._metrics(program, kind))
        return {} if program is None else self._metrics(program, kind)

    @contextlib.contextmanager
    def _taken(self, kind: Kind, block: Block) -> Iterator[None]:
        """Names batches of another shape than those before, where the model cannot take them."""
        try:
            yield
        except Exception as error:
            if not any(block.free or ()) or takes(self.model, block.example()[0]):
                raise
            shapes = [(None, *array.shape[1:]) for array in block.arrays]
            argument = "x" if kind == "train" else "validation_data"
            raise DataError(
                f"`{argument}` must have batches of shapes that the model takes. Received: arrays "
                f"of the shapes {shapes}, and batches of other shapes"
            ) from error

    def precompile(
        self,
        kind: Kind,
        blocks: Generator[Block, None, None],
        active: np.ndarray,
        compiled: bool = False,
        class_weights: ClassWeights | None = None,
    ) -> None:
        """Traces what `run` needs for these arguments, and compiles it in a thread."""
        program, state, known = None, self.state, set()
        for block in blocks:
            if program is None:
                program = self._program_for(block)
                state.reset_metrics()
            shapes = block.order.shape, *(part.shape for part in block.arrays)
            if shapes in known:
                continue
            known.add(shapes)
            run = self._run_of(kind, block, active, compiled, class_weights)
            compiles = self._checked(program, functools.partial(program.precompile, run))
            self._compiling.append(self._thread.submit(compiles))
        if program is not None:
            program.results(state.values, state.scalars)

    def _run_of(
        self,
        kind: Kind,
        block: Block,
        active: np.ndarray,
        compiled: bool,
        class_weights: ClassWeights | None,
    ) -> Run:
        # A single batch, the ragged one, is not worth a compilation, nor are shapes that change.
        steps = len(block.order) if block.is_usual else 1
        return Run(
            kind=kind,
            pack=block.pack,
            values=self.state.values,
            scalars=self.state.scalars._replace(class_weights=class_weights or ()),
            data=block.arrays,
            order=block.order,
            count=block.count,
            free=block.free,
            active=active,
            compiled=self._compiles(compiled, steps),
            for_xla=bool(self._compiles(compiled and not any(block.free or ()), 2)),
        )

    @functools.cached_property
    def _thread(self) -> concurrent.futures.Executor:
        return concurrent.futures.ThreadPoolExecutor(1, "kerasreg-compile")

    def wait(self) -> None:
        """Waits for what compiles; an error comes again when it is run."""
        concurrent.futures.wait(self._compiling)
        if self._compiling:
            self._compiling = []
            self._thread.shutdown()
            del self._thread

    def _metrics(self, program: Program, kind: Kind) -> dict[str, np.ndarray]:
        """The metrics of the epoch so far."""
        every = program.results(self.state.values, self.state.scalars)
        found = program.step.results_of(kind, every)
        return {name: ops.convert_to_numpy(value) for name, value in found.items()}

    def predict(self, blocks: Generator[Block, None, None]) -> Any:
        """The outputs of all lanes, with a first axis of lanes, for blocks of one batch each.

        None if there is no batch.
        """
        outputs = []
        for block in blocks:
            program, state = self._program_for(block, measures=False), self.state
            predict = functools.partial(
                program.predict, block.pack, state.values, state.scalars, block.arrays, block.free
            )
            found = self._checked(program, predict)
            outputs.append(tree.map_structure(ops.convert_to_numpy, found))
        if not outputs:
            return None
        return tree.map_structure(lambda *parts: np.concatenate(parts, axis=1), *outputs)

    def finalize(self) -> None:
        """Puts averages of weights in place, as Keras does at the end, for the lane in scope."""
        Step(self.model, self.state.variables, ()).finalize()

    def worth_compiling(self, kind: Kind, steps: int) -> bool:
        """Whether so many steps of a training, or of its validations, pay for a compilation.

        A training whose length nobody knew does when it has cost as much without.
        """
        steps = max(steps, self._steps) if kind == "train" else steps // _PASSES
        return steps * self.state.lanes >= _STEPS_WORTH_COMPILING

    def _compiles(self, worth: bool, steps: int) -> bool | str:
        if self.jit_compile == "auto":
            return "auto" if worth and steps > 1 else False
        return self.jit_compile

    def _checked(self, program: Program, call: Callable[[], Any]) -> Any:
        """Calls a program; refuses what its tracing showed, and names what is slow in it."""
        seen = program.traces
        try:
            found = call()
        except Exception as error:
            forget(program)
            if not decides(program.step.scalars, error):
                if program.step.own and program.traces == seen:
                    raise self._refusal(error) from error
                raise
            raise DifferentPrograms(
                f"The lanes of {self.model.name!r} share no program, as a number that differs "
                f"between them decides what is computed. {error}"
            ) from error
        if program.traces == seen:
            return found
        self._refused = self._found_to_be_no_program(program)
        if self._refused is not None:
            forget(program)
            if program.step.own:
                refuse_steps(self.model, "with which lanes cannot do")
                raise DifferentPrograms(self._refused)
            raise ValueError(self._refused)
        self._tell_loops(program)
        return found

    def _tell_loops(self, program: Program) -> None:
        for layer, operation in program.loops:
            if (layer, operation) not in self._warned:
                self._warned.add((layer, operation))
                warn(
                    f"{layer or 'the model'}: {operation} has no vectorised form; it runs for one "
                    "lane after the other. Results are right, and slower."
                )

    def _found_to_be_no_program(self, program: Program) -> str | None:
        if program.assigns:
            return (
                f"{self.model.name!r} cannot be a lane: it assigns variables that Keras does not "
                f"know ({', '.join(program.assigns)})."
            )
        if program.python:
            return (
                f"{self.model.name!r} cannot be a lane: it calls back into Python "
                f"({', '.join(program.python)})."
            )
        before, program.step.before = program.step.before, None
        if before is not None and ModelStructure(self.model).tokens != before.tokens:
            after = ModelStructure(self.model, places=True)
            place = after.difference(before, contents=False)
            return (
                f"{self.model.name!r} cannot be a lane: its Python objects change when it is "
                f"called, and lanes share them: at {place}."
            )
        return None


def _program_of_backend() -> type[Program]:
    """The class of programs on Keras' backend."""
    name = keras.backend.backend()
    if name == "tensorflow":
        from kerasreg.lanes._tensorflow import TensorFlowProgram

        return TensorFlowProgram
    if name == "jax":
        from kerasreg.lanes._jax import JaxProgram

        return JaxProgram
    raise NotImplementedError(
        f"Lanes need Keras' TensorFlow or JAX backend. Received: backend={name!r}"
    )
