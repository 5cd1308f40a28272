"""Schedules: functions `step -> value` that move a hyperparameter.

Keras' own schedules (`keras.optimizers.schedules`) are accepted wherever
kerasreg takes a schedule, and kerasreg's wherever Keras does.
"""

from kerasreg.schedules._constant import Constant
from kerasreg.schedules._dropout_recipes import (
    CurriculumDropout,
    EarlyDropout,
    LateDropout,
    Scaled,
    linear_depth,
)
from kerasreg.schedules._hyperparameter import Hyperparameter
from kerasreg.schedules._warmup import Warmup

__all__ = [
    "Constant",
    "CurriculumDropout",
    "EarlyDropout",
    "Hyperparameter",
    "LateDropout",
    "Scaled",
    "Warmup",
    "linear_depth",
]
