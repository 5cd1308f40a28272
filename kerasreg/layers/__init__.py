"""Layers: dropout whose rate is scheduled."""

from kerasreg.layers._dropout import ScheduledDropout, dropout

__all__ = ["ScheduledDropout", "dropout"]
