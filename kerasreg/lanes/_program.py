"""The program of K lanes: the functions that each backend offers, and what a run is given."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from kerasreg.lanes._batches import Packing
from kerasreg.lanes._scalars import ScalarValues
from kerasreg.lanes._step import Step


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """Steps over batches of equal size, for all lanes: what a program needs to take them.

    Attributes:
        kind: steps of training, or of testing.
        pack: makes `(x, y, sample_weight)` of a list of arrays.
        values: the values of each variable, with a first axis of lanes.
        scalars: the scalars of all lanes.
        data: arrays whose rows are samples.
        order: the rows of each batch, shape (steps, batch); or, where each lane has
            batches of its own, shape (steps, lanes, batch).
        count: how many of the steps are to be taken, the first ones.
        free: for each array the axes, but for the first, that other runs have of other
            lengths; None if there are none.
        active: the lanes to move, shape (lanes,), Boolean.
        compiled: whether XLA compiles the run. `"auto"` is True where XLA can
            compile the model and gives the same random numbers.
        for_xla: whether to trace the step in the form that is fast with XLA. A single
            batch of a training that is compiled then needs no other trace.
    """

    kind: Literal["train", "test"]
    pack: Packing
    values: Sequence[Any]
    scalars: ScalarValues
    data: Sequence[np.ndarray]
    order: np.ndarray
    count: int
    free: Sequence[tuple[int, ...]] | None
    active: np.ndarray
    compiled: bool | str
    for_xla: bool


class Program(abc.ABC):
    """The steps of K lanes as functions of a backend, each traced once.

    Args:
        step: the pure functions of one lane.
        lanes: the number of lanes.
        devices: the names of the devices among which the lanes are divided; none for the default
            device.

    Attributes:
        loops: `(layer, operation)` of each operation that runs for one lane after
            the other, as the backend has no form of it for all lanes.
        python: the layers that call back into Python.
        assigns: the operations that assign variables of the backend's, which all lanes share.
    """

    def __init__(self, step: Step, lanes: int, devices: Sequence[str] = ()) -> None:
        self.step = step
        self.lanes = lanes
        self.devices = tuple(devices)
        self.loops: list[tuple[str, str]] = []
        self.python: list[str] = []
        self.assigns: list[str] = []

    @property
    @abc.abstractmethod
    def traces(self) -> int:
        """The number of functions that were traced so far."""

    @property
    @abc.abstractmethod
    def compilations(self) -> int:
        """The number of those functions that XLA compiles."""

    @abc.abstractmethod
    def run(self, run: Run) -> list[Any]:
        """Takes the steps of a run.

        Returns:
            The values of the variables after the last step. Lanes that are not
            active keep theirs.
        """

    @abc.abstractmethod
    def precompile(self, run: Run) -> Callable[[], Any]:
        """Traces what `run` needs.

        Returns:
            A function that compiles what was traced, in any thread, and moves no lane.
        """

    @abc.abstractmethod
    def predict(
        self,
        pack: Packing,
        values: Sequence[Any],
        scalars: ScalarValues,
        batch: Sequence[Any],
        free: Sequence[tuple[int, ...]] | None = None,
    ) -> Any:
        """The outputs of all lanes for one batch, with a first axis of lanes.

        Args:
            pack: makes `(x, y, sample_weight)` of a list of arrays.
            values: the values of each variable, with a first axis of lanes.
            scalars: the scalars of all lanes.
            batch: the arrays of the batch.
            free: for each array the axes that other batches have of other lengths.
        """

    @abc.abstractmethod
    def results(self, values: Sequence[Any], scalars: ScalarValues) -> dict[str, Any]:
        """The loss and the metrics so far: for each name an array with a first axis of lanes.

        Args:
            values: the values of each variable, with a first axis of lanes.
            scalars: the scalars of all lanes.
        """
