"""Training on several replicas: a strategy, and batches that split evenly over it."""

from kerasreg.distribute._batches import even_batch_size, evaluation_batches, training_batches
from kerasreg.distribute._strategy import mirrored_strategy

__all__ = ["even_batch_size", "evaluation_batches", "mirrored_strategy", "training_batches"]
