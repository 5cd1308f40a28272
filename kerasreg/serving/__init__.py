"""From a trained model to a SavedModel that can be trusted."""

from kerasreg.serving._export import export, versions
from kerasreg.serving._runtime_report import (
    RuntimeReport,
    RuntimeRow,
    runtime_report,
)
from kerasreg.serving._verify import Verification, relative_difference, verify

__all__ = [
    "RuntimeReport",
    "RuntimeRow",
    "Verification",
    "export",
    "relative_difference",
    "runtime_report",
    "verify",
    "versions",
]
