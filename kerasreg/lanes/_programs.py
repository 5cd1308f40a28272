"""The programs of this process: models of one structure are traced once."""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
from typing import Any

import keras

from kerasreg.lanes._program import Program
from kerasreg.lanes._scalars import Scalar
from kerasreg.lanes._state import State, is_as_it_was

# Each keeps its graphs, and the model that it was traced from.
_MOST = 8
_programs: collections.OrderedDict[Any, Program] = collections.OrderedDict()


def program_for(
    state: State, varying: Sequence[int], options: Any, make: Callable[[list[Scalar]], Program]
) -> Program:
    """The program of lanes: one of the process, if there is one for all that decides on it.

    Args:
        state: the state of the lanes.
        varying: the indices of the scalars that differ between lanes. All others are constants.
        options: what else decides on the program, hashable.
        make: makes the program of the scalars that differ.
    """
    scalars = state.structure.scalars
    differing = set(varying)
    key = (
        state.structure.tokens,
        state.lanes,
        tuple(varying),
        tuple(s.value for index, s in enumerate(scalars) if index not in differing),
        tuple((tuple(variable.shape), str(variable.dtype)) for variable in state.variables),
        (keras.config.floatx(), keras.config.image_data_format(), keras.config.epsilon()),
        options,
    )
    known = _programs.get(key)
    if known is not None:
        step = known.step
        if is_as_it_was(step.model, step.variables, state.structure):
            _programs.move_to_end(key)
            return known
    _programs[key] = program = make([scalars[index] for index in varying])
    while len(_programs) > _MOST:
        _programs.popitem(last=False)
    return program


def forget(program: Program | None) -> None:
    """Keeps a program no longer: its tracing failed, or showed that the model cannot be a lane."""
    for key in [key for key, known in _programs.items() if known is program]:
        del _programs[key]


def clear() -> None:
    """Keeps no program."""
    _programs.clear()
