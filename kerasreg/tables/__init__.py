"""Columns of a table, as the inputs and first layers of a model."""

from kerasreg.tables._columns import Column, Columns, read_columns
from kerasreg.tables._dates import DateNumbers
from kerasreg.tables._numbers import RobustScaling
from kerasreg.tables._table import EMBEDDINGS, KIND_OF_DTYPE, Table, model_columns

__all__ = [
    "EMBEDDINGS",
    "KIND_OF_DTYPE",
    "Column",
    "Columns",
    "DateNumbers",
    "RobustScaling",
    "Table",
    "model_columns",
    "read_columns",
]
