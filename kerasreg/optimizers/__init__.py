"""Optimizers that wrap any Keras optimizer and add to its step."""

from kerasreg.optimizers._layer_rates import LayerLearningRates
from kerasreg.optimizers._lookahead import Lookahead
from kerasreg.optimizers._proximal import Proximal
from kerasreg.optimizers._weight_averaging import WeightAveraging
from kerasreg.optimizers._weight_decay import DecoupledWeightDecay

__all__ = [
    "DecoupledWeightDecay",
    "LayerLearningRates",
    "Lookahead",
    "Proximal",
    "WeightAveraging",
]
