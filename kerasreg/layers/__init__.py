"""Layers: dropout and its relatives, with rates that may be scheduled."""

from kerasreg.layers._alpha_dropout import ScheduledAlphaDropout, alpha_dropout
from kerasreg.layers._base import BaseScheduledDropout
from kerasreg.layers._column_embeddings import (
    CategoryEmbedding,
    FeatureScale,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
)
from kerasreg.layers._concrete_dropout import ConcreteDropout, concrete_dropout
from kerasreg.layers._drop_block import ScheduledDropBlock2D, drop_block
from kerasreg.layers._drop_connect import DropConnect
from kerasreg.layers._dropout import ScheduledDropout, dropout
from kerasreg.layers._gaussian_dropout import ScheduledGaussianDropout, gaussian_dropout
from kerasreg.layers._mix_up import MixUp
from kerasreg.layers._noise_stream import NoisyLayer, monte_carlo
from kerasreg.layers._spatial_dropout import (
    ScheduledSpatialDropout1D,
    ScheduledSpatialDropout2D,
    ScheduledSpatialDropout3D,
)
from kerasreg.layers._stochastic_depth import ScheduledStochasticDepth

__all__ = [
    "BaseScheduledDropout",
    "CategoryEmbedding",
    "ConcreteDropout",
    "DropConnect",
    "FeatureScale",
    "MixUp",
    "NoisyLayer",
    "PeriodicEmbedding",
    "PiecewiseLinearEmbedding",
    "ScheduledAlphaDropout",
    "ScheduledDropBlock2D",
    "ScheduledDropout",
    "ScheduledGaussianDropout",
    "ScheduledSpatialDropout1D",
    "ScheduledSpatialDropout2D",
    "ScheduledSpatialDropout3D",
    "ScheduledStochasticDepth",
    "alpha_dropout",
    "concrete_dropout",
    "drop_block",
    "dropout",
    "gaussian_dropout",
    "monte_carlo",
]
