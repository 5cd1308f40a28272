"""Initial weights: presets by name and by activation."""

from kerasreg.initializers._presets import for_activation, preset, presets

__all__ = ["for_activation", "preset", "presets"]
