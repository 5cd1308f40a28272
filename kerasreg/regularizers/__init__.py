"""Penalties on weights and activities, used like `keras.regularizers`."""

from kerasreg.regularizers._norms import L1, L2, ElasticNet
from kerasreg.regularizers._penalty import Penalty

__all__ = ["L1", "L2", "ElasticNet", "Penalty"]
