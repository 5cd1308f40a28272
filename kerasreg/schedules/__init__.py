"""Schedules: functions `step -> value` that move a hyperparameter.

Keras' own schedules (`keras.optimizers.schedules`) are accepted wherever
kerasreg takes a schedule, and kerasreg's wherever Keras does.
"""

from kerasreg.schedules._constant import Constant
from kerasreg.schedules._hyperparameter import Hyperparameter
from kerasreg.schedules._warmup import Warmup

__all__ = ["Constant", "Hyperparameter", "Warmup"]
