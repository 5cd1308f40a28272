"""Penalties on weights and activities, used like those of `keras.regularizers`."""

from kerasreg.regularizers._groups import GroupLasso, SparseGroupLasso
from kerasreg.regularizers._nonconvex import MCP, SCAD
from kerasreg.regularizers._norms import L1, L2, ElasticNet, Hoyer
from kerasreg.regularizers._penalty import Penalty, Sum
from kerasreg.regularizers._spectral import Nuclear, Orthogonal, SpectralNorm
from kerasreg.regularizers._total_variation import TotalVariation

__all__ = [
    "L1",
    "L2",
    "MCP",
    "SCAD",
    "ElasticNet",
    "GroupLasso",
    "Hoyer",
    "Nuclear",
    "Orthogonal",
    "Penalty",
    "SparseGroupLasso",
    "SpectralNorm",
    "Sum",
    "TotalVariation",
]
