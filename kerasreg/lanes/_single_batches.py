"""What happens before and after single batches, for callbacks that have hooks for them."""

from __future__ import annotations

from typing import Any

import numpy as np

from kerasreg.lanes._callbacks import Callbacks
from kerasreg.lanes._logs import logs_of_lanes


class SingleBatches:
    """One epoch of training or of testing that is run batch by batch.

    Args:
        callbacks: of the lanes.
        kind: batches of what: `"train"` or `"test"`.
        stopped: which lanes have stopped, as callbacks say it, shape (lanes,).
    """

    def __init__(self, callbacks: Callbacks, kind: str, stopped: np.ndarray) -> None:
        self.callbacks = callbacks
        self.kind = kind
        self.stopped = stopped
        self.counts = np.zeros(len(stopped), dtype=int)

    def begin(self, moved: np.ndarray) -> np.ndarray:
        """Calls the hooks before a batch.

        Args:
            moved: which lanes have such a batch, shape (lanes,), Boolean.

        Returns:
            Those of them that see it.
        """
        moved = moved & self.callbacks.sound
        if self.kind == "train":
            # Keras looks whether to stop after a batch: there is always a first one.
            moved &= ~(self.stopped & (self.counts > 0))
        self._call("begin", moved)
        return moved & self.callbacks.sound

    def end(self, moved: np.ndarray, metrics: dict[str, np.ndarray]) -> None:
        """Calls the hooks after a batch, with the metrics of the epoch so far."""
        self._call("end", moved, logs_of_lanes(metrics))
        self.counts += moved

    def _call(self, hook: str, moved: np.ndarray, logs: Any = None) -> None:
        which = np.flatnonzero(moved).tolist()
        self.callbacks.call(f"on_{self.kind}_batch_{hook}", which, self.counts.tolist(), logs)
