"""Hypermodels for KerasTuner, built from `kerasreg.spaces`."""

from kerasreg.hypermodels._dense import DenseHyperModel
from kerasreg.hypermodels._fit import fit
from kerasreg.hypermodels._table import TableHyperModel

__all__ = ["DenseHyperModel", "TableHyperModel", "fit"]
