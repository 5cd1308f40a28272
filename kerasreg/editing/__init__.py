"""Changing models that exist: what is cut out of them."""

from kerasreg.editing._compress import Compressed, compress

__all__ = ["Compressed", "compress"]
