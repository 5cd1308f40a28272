"""kerasreg: regularization for Keras 3 that can be scheduled, searched and served."""

from __future__ import annotations

import importlib
import os
import sys

from kerasreg._version import __version__

# Imported with the package, because importing them registers their classes with
# Keras, and a saved model needs that to be loaded.
_COMPONENTS = (
    "callbacks",
    "initializers",
    "layers",
    "losses",
    "models",
    "optimizers",
    "random",
    "regularizers",
    "schedules",
    "tables",
)

# Imported when first used: they need keras-tuner or TensorFlow, which take long
# to import and which the components do not need, or are for tests.
_ON_USE = (
    "cli",
    "distribute",
    "hypermodels",
    "lanes",
    "models",
    "reports",
    "serving",
    "spaces",
    "testing",
    "tuners",
)

__all__ = [
    "__version__",
    "callbacks",
    "distribute",
    "hypermodels",
    "initializers",
    "lanes",
    "layers",
    "losses",
    "models",
    "optimizers",
    "random",
    "regularizers",
    "reports",
    "schedules",
    "serving",
    "spaces",
    "tables",
    "testing",
    "tuners",
]


def _is_command() -> bool:
    """Whether this process is the `kerasreg` command, or `python -m kerasreg`.

    The command answers `--help` and refuses bad input before Keras is loaded.
    """
    program = os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else ""
    return program in ("kerasreg", "kerasreg.exe") or sys.orig_argv[1:3] == ["-m", "kerasreg"]


def _import_components() -> None:
    try:
        for name in _COMPONENTS:
            importlib.import_module(f"kerasreg.{name}")
    except ModuleNotFoundError as error:
        if error.name not in ("tensorflow", "jax", "torch", "keras"):
            raise
        # Keras itself is required; what is missing is the backend that it imports.
        raise ModuleNotFoundError(
            f"kerasreg could not import Keras: {error}. Keras needs a backend; install one "
            "with `pip install 'kerasreg[tensorflow-cpu]'` (Linux and Windows, no GPU), "
            "`pip install 'kerasreg[tensorflow]'` (any platform) or "
            "`pip install 'kerasreg[tensorflow-gpu]'` (Linux with CUDA).",
            name=error.name,
        ) from error


if not _is_command():
    _import_components()


def __getattr__(name: str) -> object:
    if name in _COMPONENTS or name in _ON_USE:
        return importlib.import_module(f"kerasreg.{name}")
    raise AttributeError(f"module 'kerasreg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
