"""Random bits that depend on their arguments alone, for masks."""

from kerasreg.random._bits import bits, keep_mask, key, replica_id

__all__ = ["bits", "keep_mask", "key", "replica_id"]
