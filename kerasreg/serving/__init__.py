"""From a trained model to a SavedModel that can be trusted."""

from kerasreg.serving._card import read_card
from kerasreg.serving._export import export, list_versions
from kerasreg.serving._runtime_report import (
    RuntimeReport,
    RuntimeRow,
    runtime_report,
)
from kerasreg.serving._verify import Verification, relative_difference, verifier, verify

__all__ = [
    "RuntimeReport",
    "RuntimeRow",
    "Verification",
    "export",
    "list_versions",
    "read_card",
    "relative_difference",
    "runtime_report",
    "verifier",
    "verify",
]
