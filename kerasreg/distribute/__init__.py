"""Training on several replicas: a strategy, and batches that split evenly over it."""

from kerasreg.distribute._batches import evaluation_batches, even_batch_size, training_batches
from kerasreg.distribute._choice import explain, strategy
from kerasreg.distribute._strategy import mirrored_strategy

__all__ = [
    "evaluation_batches",
    "even_batch_size",
    "explain",
    "mirrored_strategy",
    "strategy",
    "training_batches",
]
