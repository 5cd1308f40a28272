"""Callbacks: policies of hyperparameters that resume exactly."""

from kerasreg.callbacks._adaptive import AdaptiveRegularization
from kerasreg.callbacks._hyperparameter_scheduler import HyperparameterScheduler
from kerasreg.callbacks._learning_rate import LearningRateScheduler
from kerasreg.callbacks._plateau import ReduceOnPlateau
from kerasreg.callbacks._policies import (
    CosineDecay,
    ExponentialDecay,
    FixedLearningRate,
    StepDecay,
    TimeBasedDecay,
)

__all__ = [
    "AdaptiveRegularization",
    "CosineDecay",
    "ExponentialDecay",
    "FixedLearningRate",
    "HyperparameterScheduler",
    "LearningRateScheduler",
    "ReduceOnPlateau",
    "StepDecay",
    "TimeBasedDecay",
]
