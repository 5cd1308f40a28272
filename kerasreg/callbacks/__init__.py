"""Callbacks: policies of hyperparameters that resume exactly, and what watches a training."""

from kerasreg.callbacks._adaptive import AdaptiveRegularization
from kerasreg.callbacks._epoch_statistics import EpochStatistics
from kerasreg.callbacks._hyperparameter_scheduler import HyperparameterScheduler
from kerasreg.callbacks._learning_rate import LearningRateScheduler
from kerasreg.callbacks._learning_rate_finder import LearningRateFinder, find_learning_rate
from kerasreg.callbacks._learning_rate_range import RangeTestResult, RangeTestRow
from kerasreg.callbacks._one_cycle import OneCycle
from kerasreg.callbacks._plateau import ReduceOnPlateau
from kerasreg.callbacks._policies import (
    CosineDecay,
    ExponentialDecay,
    FixedLearningRate,
    StepDecay,
    TimeBasedDecay,
)
from kerasreg.callbacks._time_stopping import TimeStopping

__all__ = [
    "AdaptiveRegularization",
    "CosineDecay",
    "EpochStatistics",
    "ExponentialDecay",
    "FixedLearningRate",
    "HyperparameterScheduler",
    "LearningRateFinder",
    "LearningRateScheduler",
    "OneCycle",
    "RangeTestResult",
    "RangeTestRow",
    "ReduceOnPlateau",
    "StepDecay",
    "TimeBasedDecay",
    "TimeStopping",
    "find_learning_rate",
]
