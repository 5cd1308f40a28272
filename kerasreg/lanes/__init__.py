"""Many Keras models of one structure as one program with an axis of lanes."""

from kerasreg.lanes._batches import batch_order
from kerasreg.lanes._derived import DerivedModel
from kerasreg.lanes._lane_state import LaneState, why_not_resumable
from kerasreg.lanes._lanes import Lanes
from kerasreg.lanes._scalars import DifferentPrograms
from kerasreg.lanes._streams import DataError
from kerasreg.lanes._structure import ModelStructure, group_by_program, why_not_a_lane
from kerasreg.lanes._training import Replacement
from kerasreg.lanes._widths import merge_activations, why_not_padded

__all__ = [
    "DataError",
    "DerivedModel",
    "DifferentPrograms",
    "LaneState",
    "Lanes",
    "ModelStructure",
    "Replacement",
    "batch_order",
    "group_by_program",
    "merge_activations",
    "why_not_a_lane",
    "why_not_padded",
    "why_not_resumable",
]
