"""Random bits and numbers that depend on a key alone, for masks and initial weights."""

from kerasreg.random._bits import bits, keep_mask
from kerasreg.random._key import Key, fold_in, key, mix, replica_id
from kerasreg.random._numbers import normal, uniform

__all__ = ["Key", "bits", "fold_in", "keep_mask", "key", "mix", "normal", "replica_id", "uniform"]
