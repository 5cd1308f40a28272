"""A program of somebody who has installed kerasreg, with types that it relies on.

`make package` runs it with each Python, where nothing but the wheel and a backend is installed, and
`mypy --strict` reads it there.
"""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import sys
from collections.abc import Callable

import keras  # type: ignore
import numpy as np

import kerasreg
from kerasreg import callbacks, layers, models, regularizers, schedules


def build(penalty: regularizers.Penalty, rate: schedules.Schedule) -> keras.Model:
    """A small network."""
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, "relu", kernel_regularizer=penalty),
            layers.ScheduledDropout(rate),
            keras.layers.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    return model


def main() -> None:
    """Trains for a moment, and looks at what is installed."""
    version: str = kerasreg.__version__
    assert version == importlib.metadata.version("kerasreg") == sys.argv[1], version
    marker = importlib.resources.files("kerasreg") / "py.typed"
    assert marker.is_file()
    make: Callable[[float], regularizers.Penalty] = regularizers.L2
    model = build(make(1e-3), schedules.Linear(0.0, 0.5, 10))
    policy = callbacks.CosineDecay(1e-3, length=2)
    x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
    history = model.fit(x, x[:, :1], epochs=2, verbose=0, callbacks=[policy])
    assert np.isfinite(history.history["loss"]).all()
    report = models.sparsity_report(model)
    share: float = report.share
    assert 0.0 <= share < 1.0
    print(f"kerasreg {version} on Python {sys.version.split()[0]}, Keras {keras.__version__}")


if __name__ == "__main__":
    main()
