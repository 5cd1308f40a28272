"""Functions of a Keras model: regularizers, dropout, initial weights, compression, ensembles."""

from kerasreg.models._batch_normalization import update_batch_normalization
from kerasreg.models._compression.compress import compress
from kerasreg.models._compression.result import BlockedLayer, Compressed, LayerWidth, LeftOut
from kerasreg.models._dropout import (
    DropoutEdit,
    DropoutInsertion,
    insert_dropout,
    replace_dropout,
)
from kerasreg.models._edits import RegularizerEdit, RegularizerEdits
from kerasreg.models._ensemble import Ensemble, ensemble
from kerasreg.models._greedy_selection import greedy_selection
from kerasreg.models._initialization_report import InitializationReport
from kerasreg.models._initialize import initialize
from kerasreg.models._lsuv import lsuv
from kerasreg.models._mc_predict import MonteCarloPrediction, mc_predict
from kerasreg.models._mix_up import MixUpModel
from kerasreg.models._regularizers import (
    attach_regularizer,
    remove_regularizer,
    replace_regularizer,
)
from kerasreg.models._signal import signal_report
from kerasreg.models._signal_result import SignalReport, SignalRow
from kerasreg.models._sparsity import SparsityReport, SparsityRow, sparsity_report

__all__ = [
    "BlockedLayer",
    "Compressed",
    "DropoutEdit",
    "DropoutInsertion",
    "Ensemble",
    "InitializationReport",
    "LayerWidth",
    "LeftOut",
    "MixUpModel",
    "MonteCarloPrediction",
    "RegularizerEdit",
    "RegularizerEdits",
    "SignalReport",
    "SignalRow",
    "SparsityReport",
    "SparsityRow",
    "attach_regularizer",
    "compress",
    "ensemble",
    "greedy_selection",
    "initialize",
    "insert_dropout",
    "lsuv",
    "mc_predict",
    "remove_regularizer",
    "replace_dropout",
    "replace_regularizer",
    "signal_report",
    "sparsity_report",
    "update_batch_normalization",
]
