"""Which rule follows which kind of layer, when a model gets smaller."""

from __future__ import annotations

import keras

from kerasreg import layers as dropouts
from kerasreg.models._compression.channelwise import (
    Depthwise,
    Elementwise,
    Normalizing,
    Same,
    Slopes,
    ZeroPadded,
)
from kerasreg.models._compression.dense import Lookup, Mixing
from kerasreg.models._compression.merge import (
    MERGING,
    Concatenating,
    Flattening,
    Merging,
    Reshaping,
)
from kerasreg.models._compression.rule import Followed

_layers = keras.layers
# By exact type: a subclass may do anything.
RULES: dict[type, type[Followed]] = {
    **dict.fromkeys((_layers.Dense, _layers.Conv1D, _layers.Conv2D, _layers.Conv3D), Mixing),
    _layers.Embedding: Lookup,
    **dict.fromkeys((_layers.DepthwiseConv1D, _layers.DepthwiseConv2D), Depthwise),
    _layers.BatchNormalization: Normalizing,
    _layers.PReLU: Slopes,
    **dict.fromkeys(
        (_layers.Activation, _layers.ReLU, _layers.LeakyReLU, _layers.ELU), Elementwise
    ),
    **dict.fromkeys(MERGING, Merging),
    _layers.Concatenate: Concatenating,
    _layers.Flatten: Flattening,
    _layers.Reshape: Reshaping,
    **{
        getattr(_layers, f"{name}{rank}D"): rule
        for rank in (1, 2, 3)
        for name, rule in {
            "MaxPooling": Same,
            "AveragePooling": Same,
            "GlobalMaxPooling": Same,
            "GlobalAveragePooling": Same,
            "UpSampling": Same,
            "Cropping": Same,
            "SpatialDropout": Same,
            "ZeroPadding": ZeroPadded,
        }.items()
    },
    **dict.fromkeys(
        (
            _layers.Dropout,
            _layers.GaussianDropout,
            _layers.AlphaDropout,
            _layers.GaussianNoise,
            _layers.ActivityRegularization,
            dropouts.ScheduledDropout,
            dropouts.ScheduledSpatialDropout1D,
            dropouts.ScheduledSpatialDropout2D,
            dropouts.ScheduledSpatialDropout3D,
            dropouts.ScheduledGaussianDropout,
            dropouts.ScheduledAlphaDropout,
            dropouts.ScheduledDropBlock2D,
        ),
        Same,
    ),
}
