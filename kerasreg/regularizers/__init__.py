"""Penalties on weights and activities, used like `keras.regularizers`."""

from kerasreg.regularizers._groups import GroupLasso, SparseGroupLasso
from kerasreg.regularizers._nonconvex import MCP, SCAD
from kerasreg.regularizers._norms import L1, L2, ElasticNet
from kerasreg.regularizers._penalty import Penalty
from kerasreg.regularizers._shape import Hoyer, TotalVariation
from kerasreg.regularizers._spectral import Nuclear, Orthogonal, SpectralNorm
from kerasreg.regularizers._sum import Sum

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
