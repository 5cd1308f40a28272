"""Many Keras models of one structure as one program with an axis of lanes."""

from kerasreg.lanes._batches import batch_order
from kerasreg.lanes._group import group
from kerasreg.lanes._lanes import Lanes
from kerasreg.lanes._training import Successor

__all__ = ["Lanes", "Successor", "batch_order", "group"]
