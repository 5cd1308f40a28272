"""Initial weights: by name, activation, depth and data; and how they carry a signal."""

from kerasreg.initializers._activation import activation_gain, for_activation
from kerasreg.initializers._delta_orthogonal import DeltaOrthogonal
from kerasreg.initializers._depth import DepthScaled, Fixup
from kerasreg.initializers._output_bias import class_counts, output_bias
from kerasreg.initializers._presets import preset, presets
from kerasreg.initializers._siren import Siren, sine

__all__ = [
    "DeltaOrthogonal",
    "DepthScaled",
    "Fixup",
    "Siren",
    "activation_gain",
    "class_counts",
    "for_activation",
    "output_bias",
    "preset",
    "presets",
    "sine",
]
