"""The folds of a cross-validation: which samples train, and which validate."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


def check_folds(folds: Any) -> Any:
    """A number of folds >= 2, or a splitter of scikit-learn's kind."""
    number = isinstance(folds, (int, np.integer)) and not isinstance(folds, bool) and folds >= 2
    if not number and not hasattr(folds, "get_n_splits"):
        raise ValueError(
            "`folds` must be a whole number >= 2, or an object with scikit-learn's "
            f"`split(x, y, groups)`. Received: folds={folds!r}"
        )
    return folds


def folds_of(
    folds: Any, x: Any, y: Any, groups: Any, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The rows of each fold.

    Args:
        folds: a number, or a scikit-learn splitter. A number stands for
            `StratifiedKFold` where the targets are classes, and for `KFold`
            elsewhere, shuffled by `seed`; with `groups` for `StratifiedGroupKFold`
            and `GroupKFold`.
        x: inputs.
        y: targets.
        groups: the group of each sample, or None.
        seed: a whole number.

    Returns:
        `(training rows, validation rows)` for each fold.
    """
    try:
        from sklearn import model_selection
        from sklearn.utils.multiclass import type_of_target
    except ImportError as error:
        raise ImportError("Folds need scikit-learn: pip install kerasreg[search]") from error

    first = np.asarray(keras.tree.flatten(x)[0])
    labels = None if y is None else np.asarray(keras.tree.flatten(y)[0])
    if labels is not None and labels.ndim == 2:
        # One-hot classes, or a column.
        labels = labels.argmax(axis=1) if labels.shape[1] > 1 and _one_hot(labels) else labels[:, 0]
    splitter = folds
    if not hasattr(folds, "get_n_splits"):
        # Of floating point only where it is whole: scikit-learn's rule.
        classes = labels is not None and type_of_target(labels) in ("binary", "multiclass")
        kind = ("Stratified" if classes else "") + ("Group" if groups is not None else "") + "KFold"
        splitter = getattr(model_selection, kind)(int(folds), **_shuffling(kind, seed))
    flat = first.reshape(len(first), -1)
    return [(np.asarray(a), np.asarray(b)) for a, b in splitter.split(flat, labels, groups)]


def _one_hot(labels: np.ndarray) -> bool:
    return bool(np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all())


def _shuffling(kind: str, seed: int) -> dict[str, Any]:
    # GroupKFold can be shuffled only by later versions.
    return {} if kind == "GroupKFold" else {"shuffle": True, "random_state": seed % 2**32}
