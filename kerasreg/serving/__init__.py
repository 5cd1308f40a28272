"""From a trained model to a SavedModel that can be trusted."""

from kerasreg.serving._export import export, versions
from kerasreg.serving._verify import Verification, relative_difference, verify

__all__ = ["Verification", "export", "relative_difference", "verify", "versions"]
