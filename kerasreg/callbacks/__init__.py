"""Callbacks: learning-rate policies that resume exactly."""

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
    "CosineDecay",
    "ExponentialDecay",
    "FixedLearningRate",
    "LearningRateScheduler",
    "ReduceOnPlateau",
    "StepDecay",
    "TimeBasedDecay",
]
