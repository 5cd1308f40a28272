"""Wrappers around any Keras optimizer."""

from kerasreg.optimizers._proximal import Proximal

__all__ = ["Proximal"]
