"""The `kerasreg` command."""

from kerasreg.cli._main import main

__all__ = ["main"]
