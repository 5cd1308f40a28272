"""Many Keras models of one structure as one program with an axis of lanes."""

from kerasreg.lanes._batches import batch_order
from kerasreg.lanes._group import group, why_not_a_lane
from kerasreg.lanes._lanes import Lanes
from kerasreg.lanes._structure import Structure
from kerasreg.lanes._training import Successor

__all__ = ["Lanes", "Structure", "Successor", "batch_order", "group", "why_not_a_lane"]
