"""Hypermodels for KerasTuner, built from `kerasreg.spaces`."""

from kerasreg.hypermodels._dense import DenseHyperModel
from kerasreg.hypermodels._fit import fit

__all__ = ["DenseHyperModel", "fit"]
