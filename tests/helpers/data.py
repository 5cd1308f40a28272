"""Data that several tests learn from."""

import numpy as np


def blobs(count, trained):
    """Examples and the classes of them, the first to train with and the others to validate."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 6)).astype("float32")
    y = (x[:, :3] + 0.3 * rng.normal(size=(count, 3))).argmax(axis=1)
    return x[:trained], y[:trained], (x[trained:], y[trained:])
