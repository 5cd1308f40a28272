"""Schedules: functions `step -> value` that move a hyperparameter.

kerasreg accepts Keras' own schedules (`keras.optimizers.schedules`) wherever kerasreg takes
a schedule, and Keras accepts those of kerasreg wherever Keras takes one.
"""

from kerasreg._keras.hyperparameter import Hyperparameter
from kerasreg.schedules._cyclical import CosineRestarts, Cyclical
from kerasreg.schedules._decays import InverseSqrt, MultiStep, Step, TimeBased
from kerasreg.schedules._dropout_recipes import (
    CurriculumDropout,
    EarlyDropout,
    LateDropout,
    linear_depth,
)
from kerasreg.schedules._join import Join
from kerasreg.schedules._one_cycle import OneCycle, WarmupStableDecay
from kerasreg.schedules._piecewise import Cosine, Linear, Piecewise, Polynomial
from kerasreg.schedules._plot import plot
from kerasreg.schedules._schedule import (
    Clipped,
    Constant,
    InEpochs,
    Product,
    Scaled,
    Schedule,
    Shifted,
    Sum,
)
from kerasreg.schedules._warmup import Warmup

__all__ = [
    "Clipped",
    "Constant",
    "Cosine",
    "CosineRestarts",
    "CurriculumDropout",
    "Cyclical",
    "EarlyDropout",
    "Hyperparameter",
    "InEpochs",
    "InverseSqrt",
    "Join",
    "LateDropout",
    "Linear",
    "MultiStep",
    "OneCycle",
    "Piecewise",
    "Polynomial",
    "Product",
    "Scaled",
    "Schedule",
    "Shifted",
    "Step",
    "Sum",
    "TimeBased",
    "Warmup",
    "WarmupStableDecay",
    "linear_depth",
    "plot",
]
