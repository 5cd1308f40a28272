"""kerasreg: regularization for Keras 3 that can be scheduled, searched and served."""

from __future__ import annotations

try:
    import keras  # noqa: F401
except ModuleNotFoundError as error:
    # Keras itself is required; what is missing is the backend that it imports.
    raise ModuleNotFoundError(
        f"kerasreg could not import Keras: {error}. Keras needs a backend; install "
        "one with `pip install 'kerasreg[tensorflow-cpu]'` (Linux, Windows: no GPU), "
        "`pip install 'kerasreg[tensorflow]'` (any platform) or "
        "`pip install 'kerasreg[tensorflow-gpu]'` (Linux with CUDA)."
    ) from error

from kerasreg import callbacks, initializers, layers, random, regularizers, schedules
from kerasreg._version import __version__

# Imported when first used: they need keras-tuner or TensorFlow, which take long
# to import and which the components above do not need.
_LAZY = ("distribute", "hypermodels", "serving", "spaces", "tuners")

__all__ = [
    "__version__",
    "callbacks",
    "distribute",
    "hypermodels",
    "initializers",
    "layers",
    "random",
    "regularizers",
    "schedules",
    "serving",
    "spaces",
    "tuners",
]


def __getattr__(name: str) -> object:
    if name in _LAZY:
        import importlib

        return importlib.import_module(f"kerasreg.{name}")
    raise AttributeError(f"module 'kerasreg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
