"""Losses whose numbers may differ between lanes."""

from kerasreg.losses._sparse_crossentropy import SparseCategoricalCrossentropy

__all__ = ["SparseCategoricalCrossentropy"]
