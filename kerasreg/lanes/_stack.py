"""The stack of models: their state with an axis of lanes, and which of them still train."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence

import keras
import numpy as np

from kerasreg._devices import check_devices
from kerasreg.lanes._derived import AnyModel, DerivedModel, built, template_of
from kerasreg.lanes._draws import RandomNumbers
from kerasreg.lanes._epochs import Epochs
from kerasreg.lanes._lent import LentModel
from kerasreg.lanes._padding import NotPadded
from kerasreg.lanes._state import State, is_as_it_was
from kerasreg.lanes._structure import ModelStructure, structure_of
from kerasreg.lanes._view import LaneScope, OwnMethods, merge


class ModelStack:
    """Models that share a program, with their state stacked.

    Args:
        models: as for `kerasreg.lanes.Lanes`.
        jit_compile: as for `kerasreg.lanes.Lanes`.
        structures: as for `kerasreg.lanes.Lanes`.
        random_numbers: as for `kerasreg.lanes.Lanes`.
        template: as for `kerasreg.lanes.Lanes`.
        devices: as for `kerasreg.lanes.Lanes`.

    Attributes:
        models: for each lane, the model that it has now, or what it is derived from.
        structures: for each lane, the structure of that model.
        model: the model whose objects all lanes share: the template, or the first of the widest
            ones.
        state: the values of the variables of all lanes.
        epochs: moves `state` over data.
        stopped: the lanes that are to stop, shape (lanes,), Boolean.
        is_changed: whether code to which a shared model was lent has changed it.
    """

    def __init__(
        self,
        models: Sequence[AnyModel],
        jit_compile: bool | str,
        structures: Sequence[ModelStructure] | None,
        random_numbers: RandomNumbers = "vectorized",
        template: tuple[keras.Model, ModelStructure | None] | None = None,
        devices: Sequence[str] | None = None,
    ) -> None:
        self.models = list(models)
        if not self.models:
            raise ValueError("`models` must be at least one model. Received: models=[]")
        if jit_compile not in (True, False, "auto"):
            raise ValueError(
                f'`jit_compile` must be True, False or "auto". Received: {jit_compile!r}'
            )
        if random_numbers not in ("vectorized", "keras"):
            raise ValueError(
                f'`random_numbers` must be "vectorized" or "keras". Received: {random_numbers!r}'
            )
        known = [None] * len(self.models) if structures is None else structures
        first = known[0] or _structure_of(self.models[0])
        self.structures = [
            first if model is self.models[0] else found or _structure_of(model)
            for model, found in zip(self.models, known, strict=True)
        ]
        if template is None:
            self.model, structure = self._widest()
        else:
            self.model, given = template
            structure = given or structure_of(self.model)
        self.state = State(self.model, structure, len(self.models))
        if structures is None:
            for model, of_model in zip(self.models, self.structures, strict=True):
                self._check(model, of_model)
        lanes = range(len(self.models))
        self.state.load(list(zip(lanes, self.models, self.structures, strict=True)))
        self.epochs = Epochs(self.state, jit_compile, random_numbers, check_devices(devices))
        self.stopped = np.zeros(len(self.models), dtype=bool)
        self.is_changed = False
        self._lent: dict[int, LentModel] = {}

    def __len__(self) -> int:
        return len(self.models)

    def load(
        self,
        models: Mapping[int, AnyModel],
        structures: Mapping[int, ModelStructure],
    ) -> None:
        """Puts other models in the place of some lanes: all of them, or none if one cannot be."""
        loaded = [
            (lane, model, structures.get(lane) or self.structure_of(model))
            for lane, model in models.items()
        ]
        if loaded:
            self.state.load(loaded)
        for lane, model, structure in loaded:
            self.models[lane], self.structures[lane] = model, structure
            self.stopped[lane] = False

    def structure_of(self, model: AnyModel) -> ModelStructure:
        """The structure of a model, which must share the program of the lanes."""
        structure = _structure_of(model)
        self._check(model, structure)
        return structure

    def _widest(self) -> tuple[keras.Model, ModelStructure]:
        """The first model that is as wide as each of the others."""
        first = self.structures[0]
        if all(other is first or other.tokens == first.tokens for other in self.structures):
            return template_of(self.models[0]), first
        widest = max(self.structures, key=lambda structure: sum(structure.sizes))
        if all(widest.is_as_wide_as(other) for other in self.structures):
            return template_of(self.models[self.structures.index(widest)]), widest
        # Another model says where it differs from this one.
        return template_of(self.models[0]), first

    def _check(self, model: AnyModel, structure: ModelStructure) -> None:
        """Refuses a model that does not share the program."""
        try:
            self.state.padding_of(model, structure)
        except NotPadded as error:
            like, mine = self.model, template_of(model)
            place = ModelStructure(like, places=True).difference(ModelStructure(mine, places=True))
            wider = self.state.structure.is_as_wide_as(structure)
            reason = f"{place}; narrow models are padded, but {error}" if wider else place
            raise ValueError(
                f"{like.name!r} and {mine.name!r} share no program: {reason}."
            ) from None

    def own_model(self, lane: int) -> tuple[keras.Model, ModelStructure]:
        """The model that a lane has now, which is built if it was not, and its structure."""
        return built(self.models[lane], self.structures[lane])

    @contextlib.contextmanager
    def scope(self, lane: int, shared: bool = False) -> Iterator[LaneScope]:
        """Makes a model show one lane; `keep` then keeps the values it was assigned.

        That is the model that all lanes share, or the lane's own one if it is narrower.

        Args:
            lane: the number of the lane.
            shared: whether it is to be the shared model in any case.
        """
        state, own = self.state, functools.partial(self.own_model, lane)
        padding, model, variables = state.paddings[lane], self.model, list(state.variables)
        if padding is not None and not shared:
            model, structure = own()
            targets = state.targets(model, structure)
            # What the narrow model does not have is never asked for.
            variables = [targets.get(index, of) for index, of in enumerate(variables)]
        scope = LaneScope(model, variables, state, lane, None if model is self.model else padding)
        with scope, OwnMethods(own, state, scope):
            yield scope

    def keep(self, scopes: Sequence[LaneScope]) -> None:
        """Gives lanes the values that were assigned in their scopes."""
        self.state.values = list(merge(self.state.values, scopes))

    @contextlib.contextmanager
    def lent(self, lane: int) -> Iterator[None]:
        """Lets the code that has the model of a lane change it, which other lanes do not see."""
        step, model = self.epochs.step, self.models[lane]
        used = [(self.model, self.state.variables)]
        used += [] if step is None else [(step.model, step.variables)]
        variables = next((of for one, of in used if one is model), None)
        if variables is None:
            yield  # It is not shared.
            return
        if id(model) not in self._lent:
            self._lent[id(model)] = LentModel(model)
        with self._lent[id(model)].own():
            try:
                yield
            finally:
                same = is_as_it_was(model, variables, self.state.structure)
                self.is_changed = self.is_changed or not same

    def give_back(self) -> None:
        """Leaves shared models that were lent as the code that has them left them."""
        for lent in self._lent.values():
            lent.give_back()
        self._lent.clear()

    @contextlib.contextmanager
    def view(self, lane: int, shared: bool = False) -> Iterator[keras.Model]:
        """Shows one lane as a model, as `scope`, and keeps the values that are assigned to it."""
        with self.scope(lane, shared) as scope:
            yield scope.model
        self.keep([scope])


def _structure_of(model: AnyModel) -> ModelStructure:
    return model.structure if isinstance(model, DerivedModel) else structure_of(model)
