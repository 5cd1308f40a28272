"""Callbacks: learning-rate policies that resume exactly."""

from kerasreg.callbacks._learning_rate import (
    CosineDecay,
    ExponentialDecay,
    FixedLearningRate,
    LearningRateScheduler,
    StepDecay,
    TimeBasedDecay,
)
from kerasreg.callbacks._plateau import ReduceOnPlateau

__all__ = [
    "CosineDecay",
    "ExponentialDecay",
    "FixedLearningRate",
    "LearningRateScheduler",
    "ReduceOnPlateau",
    "StepDecay",
    "TimeBasedDecay",
]
