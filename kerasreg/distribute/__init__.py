"""Training on several replicas: a strategy, a loop, and batches that split evenly over it."""

from kerasreg.distribute._batches import evaluation_batches, even_batch_size, training_batches
from kerasreg.distribute._choice import explain, strategy
from kerasreg.distribute._cluster import has_workers, is_chief
from kerasreg.distribute._fit import evaluate, fit, trained_by_replicas
from kerasreg.distribute._lost_workers import WorkerLostError
from kerasreg.distribute._strategy import mirrored_strategy
from kerasreg.distribute._workers import check_same, folder_of_worker, least

__all__ = [
    "WorkerLostError",
    "check_same",
    "evaluate",
    "evaluation_batches",
    "even_batch_size",
    "explain",
    "fit",
    "folder_of_worker",
    "has_workers",
    "is_chief",
    "least",
    "mirrored_strategy",
    "strategy",
    "trained_by_replicas",
    "training_batches",
]
