"""The folds of a cross-validation: which samples train, and which validate."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import keras
import keras_tuner
import numpy as np

from kerasreg._keras.internals import are_arrays
from kerasreg._warnings import warn
from kerasreg.tuners._digests import Digests

# Of fewer samples the choice of the best epoch makes scores look better by what can be seen.
_FEW_SAMPLES = 2000


def check_folds(folds: Any) -> Any:
    """A number of folds >= 2, or a splitter of scikit-learn's kind."""
    if isinstance(folds, (int, np.integer)) and not isinstance(folds, bool) and folds >= 2:
        return int(folds)
    if not hasattr(folds, "get_n_splits"):
        raise ValueError(
            "`folds` must be a whole number >= 2, or an object with scikit-learn's "
            f"`split(x, y, groups)`. Received: folds={folds!r}"
        )
    return folds


def folds_of(
    folds: Any, x: Any, y: Any, groups: Any, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The rows of each fold.

    A number of folds stands for `StratifiedKFold` where the targets are classes, and for
    `KFold` elsewhere, shuffled by `seed`; with `groups` for `StratifiedGroupKFold` and
    `GroupKFold`. Targets are classes if they are text, Booleans or whole numbers (also one-hot,
    several labels, or floating point that is whole) and if each distinct target has, on average,
    at least `folds` samples. Whole numbers that seldom repeat, such as prices, are a quantity.
    Of several targets, in a list or a dictionary, the first that has classes decides.

    Args:
        folds: a number, or a scikit-learn splitter, which gets the first target: one-hot
            classes as class numbers, a column as its entries, anything else as it is.
        x: inputs.
        y: targets.
        groups: the group of each sample, or None.
        seed: a whole number.

    Returns:
        `(training rows, validation rows)` for each fold.

    Raises:
        keras_tuner.errors.FatalValueError: if the data cannot be divided so.
    """
    try:
        from sklearn import model_selection
    except ImportError as error:
        raise ImportError("Folds need scikit-learn: pip install kerasreg[search]") from error

    first = np.asarray(keras.tree.flatten(x)[0])
    flat = first.reshape(len(first), -1)
    targets = [] if y is None else [_plain(np.asarray(of_y)) for of_y in keras.tree.flatten(y)]
    splitter, labels, known = folds, None, True
    if hasattr(folds, "get_n_splits"):
        labels = _labels_of_splitter(targets[0]) if targets else None
    else:
        for target in targets:
            classes = _classes(target, folds)
            if classes is not None:
                # Numbers may count something: then a rare one is nothing to warn of.
                column = target.ndim == 1 or target.shape[1] == 1
                labels, known = classes, not (column and target.dtype.kind in "iuf")
                break
        kind = "" if labels is None else "Stratified"
        kind += "KFold" if groups is None else "GroupKFold"
        splitter = getattr(model_selection, kind)(folds, **_shuffling(kind, seed))
    try:
        with warnings.catch_warnings():
            if not known:
                warnings.filterwarnings("ignore", "The least populated class in y")
            parts = list(splitter.split(flat, labels, groups))
    except ValueError as error:
        # The same for all trials: no trial is at fault.
        raise keras_tuner.errors.FatalValueError(
            f"`folds` cannot divide these {len(flat)} samples: {error} Received: folds={folds!r}"
        ) from error
    return [(np.asarray(train), np.asarray(validation)) for train, validation in parts]


def divides_anew(
    folds: Any, x: Any, y: Any, groups: Any, seed: int, parts: list[tuple[np.ndarray, np.ndarray]]
) -> bool:
    """Whether a splitter divides the same samples in another way when it is asked again.

    Args:
        folds: as for `folds_of`.
        x: likewise.
        y: likewise.
        groups: likewise.
        seed: likewise.
        parts: what `folds_of` returned for them.
    """
    if isinstance(folds, int):
        return False
    again = folds_of(folds, x, y, groups, seed)
    same = [np.array_equal(one[1], of[1]) for one, of in zip(again, parts, strict=False)]
    return len(again) != len(parts) or not all(same)


class FoldsOfSearch:
    """The folds of the trainings of a search; equal data are divided once.

    Args:
        folds: what `check_folds` returned; None where there are no folds.
        groups: the group of each sample, or None.
        seed: a whole number.
        digests: hashes of the data.
    """

    def __init__(self, folds: Any, groups: Any, seed: int, digests: Digests) -> None:
        self._folds, self._groups, self._seed = folds, groups, seed
        self._digests = digests
        self._parts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}  # By the hash of the data.

    @property
    def numbers(self) -> list[int | None]:
        """The numbers of the folds of an execution; None alone where there are no folds."""
        folds = self._folds
        if folds is None:
            return [None]
        several = isinstance(folds, int)
        return list(range(folds if several else folds.get_n_splits(groups=self._groups)))

    @property
    def are_small(self) -> bool:
        """Whether there are so few samples that by the choice of an epoch scores look too good."""
        for parts in self._parts.values():
            return max(int(np.max(rows, initial=0)) for of in parts for rows in of) < _FEW_SAMPLES
        return False

    def rows(self, arguments: Mapping[str, Any], fold: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows of a fold of the data of a training: for training and for validation.

        Args:
            arguments: those of `model.fit`.
            fold: the number of the fold.

        Raises:
            keras_tuner.errors.FatalValueError: if the data cannot be divided into folds.
        """
        errors = keras_tuner.errors
        if arguments.get("validation_data") is not None or arguments.get("validation_split"):
            raise errors.FatalValueError("With `folds` there can be no validation data.")
        data = arguments.get("x"), arguments.get("y")
        if not are_arrays(data):
            raise errors.FatalValueError("With `folds` the data must be arrays.")
        known = self._digests.of(data)
        if known not in self._parts:
            given = *data, self._groups, self._seed
            parts = folds_of(self._folds, *given)
            if not self._parts and divides_anew(self._folds, *given, parts):
                warn(
                    "`folds` divide the samples in another way each time: there will be no "
                    "`out_of_fold` and no `ensemble`, and a search that is resumed has other "
                    "folds. Give the splitter a whole number as `random_state`."
                )
            self._parts[known] = parts
        return self._parts[known][fold]


def _plain(target: np.ndarray) -> np.ndarray:
    """Objects as the numbers or the text that they are."""
    if target.dtype != object:
        return target
    listed = np.array(target.tolist())
    return listed.astype(str) if listed.dtype == object else listed


def _classes(target: np.ndarray, folds: int) -> np.ndarray | None:
    """The class number of each sample; None for a quantity."""
    if target.ndim > 2 or target.size == 0:
        return None
    if target.dtype.kind == "f" and not (target == np.floor(target)).all():
        return None
    rows = target[:, 0] if target.ndim == 2 and target.shape[1] == 1 else target
    distinct, numbers = np.unique(rows, axis=0, return_inverse=True)
    return numbers.reshape(-1) if len(distinct) * folds <= len(rows) else None


def _labels_of_splitter(target: np.ndarray) -> np.ndarray:
    if target.ndim != 2:
        return target
    if target.shape[1] == 1:
        return target[:, 0]
    if np.isin(target, (0, 1)).all() and (target.sum(axis=1) == 1).all():
        return target.argmax(axis=1)
    return target


def _shuffling(kind: str, seed: int) -> dict[str, Any]:
    # GroupKFold can be shuffled only by later versions.
    return {} if kind == "GroupKFold" else {"shuffle": True, "random_state": seed % 2**32}
