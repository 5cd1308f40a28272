"""Search spaces: functions `hp -> component` that declare KerasTuner hyperparameters."""

from kerasreg.spaces._architecture import activation, initializer
from kerasreg.spaces._regularization import dropout, penalty
from kerasreg.spaces._training import batch_size, learning_rate_policy, optimizer

__all__ = [
    "activation",
    "batch_size",
    "dropout",
    "initializer",
    "learning_rate_policy",
    "optimizer",
    "penalty",
]
