"""Initial weights: by name, activation, depth and data; and how they carry a signal."""

from kerasreg.initializers._activation import activation_gain, for_activation
from kerasreg.initializers._delta_orthogonal import DeltaOrthogonal
from kerasreg.initializers._depth import DepthScaled, Fixup
from kerasreg.initializers._initialize import initialize
from kerasreg.initializers._lsuv import lsuv
from kerasreg.initializers._output_bias import class_counts, output_bias
from kerasreg.initializers._presets import preset, presets
from kerasreg.initializers._record import Record
from kerasreg.initializers._signal import signal_report
from kerasreg.initializers._signal_result import SignalReport
from kerasreg.initializers._siren import Siren, sine

__all__ = [
    "DeltaOrthogonal",
    "DepthScaled",
    "Fixup",
    "Record",
    "SignalReport",
    "Siren",
    "activation_gain",
    "class_counts",
    "for_activation",
    "initialize",
    "lsuv",
    "output_bias",
    "preset",
    "presets",
    "signal_report",
    "sine",
]
