"""Changing models that exist: regularizers, dropout, and what is zero cut out."""

from kerasreg.editing._compress import compress
from kerasreg.editing._compressed import Compressed, Held, Width
from kerasreg.editing._dropout import (
    DropoutEdit,
    WithDropout,
    insert_dropout,
    replace_dropout,
)
from kerasreg.editing._edits import RegularizerEdit, RegularizerEdits
from kerasreg.editing._regularizers import attach, remove, replace
from kerasreg.editing._sparsity import SparsityReport, SparsityRow, sparsity_report

__all__ = [
    "Compressed",
    "DropoutEdit",
    "Held",
    "RegularizerEdit",
    "RegularizerEdits",
    "SparsityReport",
    "SparsityRow",
    "Width",
    "WithDropout",
    "attach",
    "compress",
    "insert_dropout",
    "remove",
    "replace",
    "replace_dropout",
    "sparsity_report",
]
