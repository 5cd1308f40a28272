"""Checks that hold a component, also one that is written elsewhere, to this package's contract."""

from kerasreg.testing._checks import ALONE, CHECKS, TRAINED
from kerasreg.testing._components import (
    check_callback,
    check_initializer,
    check_layer,
    check_optimizer,
    check_regularizer,
    check_schedule,
    check_together,
)
from kerasreg.testing._documentation import check_documentation
from kerasreg.testing._replicas import check_replicas, check_two_replicas, two_replicas

__all__ = [
    "ALONE",
    "CHECKS",
    "TRAINED",
    "check_callback",
    "check_documentation",
    "check_initializer",
    "check_layer",
    "check_optimizer",
    "check_regularizer",
    "check_replicas",
    "check_schedule",
    "check_together",
    "check_two_replicas",
    "two_replicas",
]
