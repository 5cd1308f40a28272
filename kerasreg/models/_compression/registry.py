"""The rule for each kind of layer."""

from __future__ import annotations

import keras

from kerasreg import layers as dropouts
from kerasreg.models._compression.channelwise import (
    Depthwise,
    Elementwise,
    Normalizing,
    PassThrough,
    PReLURule,
    ZeroPadded,
)
from kerasreg.models._compression.dense import DenseOrConvRule, EmbeddingRule
from kerasreg.models._compression.merge import (
    MERGING,
    Concatenating,
    Flattening,
    Merging,
    Reshaping,
)
from kerasreg.models._compression.rule import LayerRule

_layers = keras.layers
# By exact type: a subclass may do anything.
RULES: dict[type, type[LayerRule]] = {
    **dict.fromkeys(
        (_layers.Dense, _layers.Conv1D, _layers.Conv2D, _layers.Conv3D), DenseOrConvRule
    ),
    _layers.Embedding: EmbeddingRule,
    **dict.fromkeys((_layers.DepthwiseConv1D, _layers.DepthwiseConv2D), Depthwise),
    _layers.BatchNormalization: Normalizing,
    _layers.PReLU: PReLURule,
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
            "MaxPooling": PassThrough,
            "AveragePooling": PassThrough,
            "GlobalMaxPooling": PassThrough,
            "GlobalAveragePooling": PassThrough,
            "UpSampling": PassThrough,
            "Cropping": PassThrough,
            "SpatialDropout": PassThrough,
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
        PassThrough,
    ),
}
