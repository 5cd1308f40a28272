"""What the trials of a search predict for samples that they were not trained with."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from kerasreg._keras.batches import are_batches, batches
from kerasreg._keras.internals import as_keras_arrays, rows_for_fit
from kerasreg._keras.rows import are_rows
from kerasreg._keras.streams import is_generator
from kerasreg._validation import check_count
from kerasreg._warnings import warn
from kerasreg.models import Ensemble
from kerasreg.tuners import _best_epochs
from kerasreg.tuners._folds import divides_anew, folds_of
from kerasreg.tuners._run_search import completed_trials

_BATCH = 1024
# Of so many batches, a model is called without tracing a program for it.
_FEW = 8


class OutOfFold(NamedTuple):
    """Predictions of trials for samples that their models were not trained with.

    Attributes:
        trial_ids: the ids of the trials, the best one first.
        predictions: for each trial its outputs, an array of the shape (samples, ...). Where several
            models of a trial have not seen a sample, the mean of theirs; of logits the logits of
            the mean probabilities, as an `Ensemble` of the models has them.
        targets: the targets of the samples.
        rows: the numbers of the samples in the data of the search; of validation data that were
            given apart, their numbers there.
        apart: as `predictions`, but at epochs that the fold of a sample had no part in choosing:
            the best one by the other folds. Of fewer than 2,000 samples whose folds trained
            together as lanes; elsewhere the same as `predictions`.
    """

    trial_ids: tuple[str, ...]
    predictions: tuple[np.ndarray, ...]
    targets: np.ndarray
    rows: np.ndarray
    apart: tuple[np.ndarray, ...] = ()


class Searched(NamedTuple):
    """The data of a search.

    Attributes:
        args: the positional arguments of `search`.
        kwargs: its keyword arguments.
        groups: the group of each sample, or None.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    groups: Any

    def training(self) -> tuple[Any, Any]:
        """Inputs and targets to train with."""
        given = self._bound()
        return given.get("x"), given.get("y")

    def validation(self) -> Any:
        """The validation data: a pair of inputs and targets, or batches; None if there are none."""
        given = self._bound()
        found, first = given.get("validation_data"), self.first_of_validation()
        if found is not None or first is None:
            return found
        last = slice(first, None)
        return rows_for_fit(given.get("x"), last), rows_for_fit(given.get("y"), last)

    def first_of_validation(self) -> int | None:
        """The number of the first sample of `validation_split`; None where there is none."""
        given = self._bound()
        share = given.get("validation_split") or 0.0
        if given.get("validation_data") is not None or not share:
            return None
        # As Keras divides: the last samples, before any shuffling.
        return int(len(keras.tree.flatten(given.get("x"))[0]) * (1.0 - share))

    def without_validation(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of `search`, but for what validates."""
        # The first three may have other names in a `fit` of the hypermodel's own.
        bound = list(self._bound().items())[3 : len(self.args)]
        given = {**dict(bound), **self.kwargs}
        kept = {name: of for name, of in given.items() if not name.startswith("validation_")}
        return self.args[:3], kept

    def _bound(self) -> dict[str, Any]:
        """The arguments by the names that `model.fit` has for them."""
        names = list(inspect.signature(keras.Model.fit).parameters)[1:]
        return {**dict(zip(names, self.args, strict=False)), **self.kwargs}


def out_of_fold(
    tuner: Any,
    data: Any = None,
    groups: Any = None,
    *,
    candidates: int | Sequence[str] | None = None,
) -> OutOfFold:
    """Computes the predictions of the completed trials of a search, see the tuner's method."""
    trials = _candidates(completed_trials(tuner), candidates)
    given = tuner.searched if data is None else None
    if data is None and given is None:
        raise ValueError(
            "`data` must be the data of the search, (x, y), as this tuner has not searched in this "
            "process: all samples where there are folds, else those of validation. "
            "Received: data=None"
        )
    ids = [trial.trial_id for trial in trials]
    files = tuner.weight_files(ids)
    stored = _best_epochs.read_all(tuner.project_dir, ids, files)
    if tuner.folds is not None:
        x, y = given.training() if given is not None else _pair(data)
        groups = given.groups if given is not None else groups
        parts = folds_of(tuner.folds, x, y, groups, tuner.oracle.seed)
        # Else samples would be predicted by models that were trained with them.
        if divides_anew(tuner.folds, x, y, groups, tuner.oracle.seed, parts):
            raise ValueError(
                "`folds` must divide the samples as in the search: give the splitter a whole "
                f"number as `random_state`, and search again. Received: folds={tuner.folds!r}"
            )
        return _of_folds(tuner, trials, stored, files, x, y, [rows for _, rows in parts])
    executions = tuner.executions_per_trial
    more = [trial.trial_id for trial in trials if len(stored.get(trial.trial_id, [])) > executions]
    if more:
        raise ValueError(
            "`folds` and `executions_per_trial` must be those of the search, when a tuner is made "
            f"again. Received: folds=None, executions_per_trial={executions}; trial {more[0]} has "
            f"{len(stored[more[0]])} trainings"
        )
    found = given.validation() if given is not None else data
    if found is None:
        raise ValueError(
            "`data` must be samples that the trials were not trained with, as the search had "
            "neither validation data nor folds. Received: data=None"
        )
    first = given.first_of_validation() if given is not None else None
    predicted = _of_validation(tuner, trials, stored, *_gathered(found))
    return predicted._replace(rows=predicted.rows + (first or 0))


def share_trained(tuner: Any, searched: Searched) -> float:
    """The share of the samples that were given to `search`, with which a training was trained."""
    x, y = searched.training()
    if tuner.folds is not None:
        parts = folds_of(tuner.folds, x, y, searched.groups, tuner.oracle.seed)
        sizes = [len(rows) for rows, _ in parts]
        return sum(sizes) / len(sizes) / len(keras.tree.flatten(x)[0])
    first = searched.first_of_validation()
    return 1.0 if first is None else first / len(keras.tree.flatten(x)[0])


def _candidates(trials: list[Any], candidates: int | Sequence[str] | None) -> list[Any]:
    """The trials that are asked for, the best one first."""
    if isinstance(candidates, (list, tuple)) and candidates:
        wanted = set(candidates)
        missing = sorted(map(str, wanted - {trial.trial_id for trial in trials}))
        if missing:
            raise ValueError(
                "`candidates` must be ids of trials that completed with a finite score. "
                f"Received: {missing[0]!r}, which is none"
            )
        return [trial for trial in trials if trial.trial_id in wanted]
    if candidates is not None:
        trials = trials[: check_count("candidates", candidates)]
    if not trials:
        raise ValueError("There is no completed trial in this search.")
    return trials


def models_of(tuner: Any, trial: Any, values: Sequence[Sequence[np.ndarray]]) -> list[keras.Model]:
    """The models of the trainings of a trial, with the weights of their best epochs."""
    return [_model_of(tuner, trial, of) for of in values] or [tuner.load_model(trial)]


def _model_of(tuner: Any, trial: Any, values: Sequence[np.ndarray]) -> keras.Model:
    model = tuner.build_as_trained(trial)
    _best_epochs.assign(model, values)
    return model


def _of_folds(
    tuner: Any,
    trials: list[Any],
    stored: Any,
    files: Sequence[str] | None,
    x: Any,
    y: Any,
    validation: list[np.ndarray],
) -> OutOfFold:
    x, targets = as_keras_arrays(x), _targets(y)  # Once, and not for each training.
    covered, times = np.unique(np.concatenate(validation), return_counts=True)
    overlap = bool((times > 1).any())
    others = _best_epochs.read_apart(tuner.project_dir, list(stored), len(validation), files)
    ids, predictions, apart, missing = [], [], [], []
    for trial in trials:
        values = stored.get(trial.trial_id, [])
        if len(values) % len(validation) or not values:
            missing.append(trial.trial_id)
            continue
        model = tuner.build_as_trained(trial)
        logits = _logits_to_average(model, overlap or len(values) > len(validation))
        found = [
            _of_training(model, of_training, x, validation[number % len(validation)], logits)
            for number, of_training in enumerate(values)
        ]
        ids.append(trial.trial_id)
        mean = _mean_of_folds(found, validation, covered)
        predictions.append(as_outputs(mean, logits).astype("float32"))
        other = others.get(trial.trial_id, {})
        for number, of_training in other.items():
            rows = validation[number % len(validation)]
            found[number] = _of_training(model, of_training, x, rows, logits)
        if other:
            mean = _mean_of_folds(found, validation, covered)
        apart.append(as_outputs(mean, logits).astype("float32") if other else predictions[-1])
    if missing:
        warn(
            f"{len(missing)} trials have no weights of each of their {len(validation)} folds, and "
            f"are left out: an earlier version searched them, or another one. The first is "
            f"{missing[0]}."
        )
    if not ids:
        raise ValueError(
            f"No trial of {tuner.project_dir!r} has weights of each of its folds: search again."
        )
    return OutOfFold(tuple(ids), tuple(predictions), targets[covered], covered, tuple(apart))


def _of_training(
    model: keras.Model, values: Sequence[np.ndarray], x: Any, rows: np.ndarray, logits: str
) -> np.ndarray:
    """What a model predicts for some samples with the weights of a training."""
    _best_epochs.assign(model, values)
    return probabilities_of(_outputs(model, rows_for_fit(x, rows)), logits)


def _mean_of_folds(
    found: Sequence[np.ndarray], validation: Sequence[np.ndarray], covered: np.ndarray
) -> np.ndarray:
    """The mean of what trainings predict, for each sample that a fold validated."""
    total = np.zeros((covered.max() + 1, *found[0].shape[1:]))
    counts = np.zeros(len(total))
    for number, of_training in enumerate(found):
        rows = validation[number % len(validation)]
        # Splitters may have a row in several folds, or twice in one.
        np.add.at(total, rows, of_training)
        np.add.at(counts, rows, 1)
    mean = total[covered] / counts[covered].reshape([-1] + [1] * (total.ndim - 1))
    return np.asarray(mean)


def _of_validation(tuner: Any, trials: list[Any], stored: Any, x: Any, y: Any) -> OutOfFold:
    targets = _targets(y)
    predictions = []
    for trial in trials:
        values = stored.get(trial.trial_id, [])
        model = tuner.build_as_trained(trial) if values else tuner.load_model(trial)
        logits = _logits_to_average(model, len(values) > 1)
        found = []
        for of_training in values or [None]:
            if of_training is not None:
                _best_epochs.assign(model, of_training)
            found.append(probabilities_of(_outputs(model, x), logits))
        mean = np.mean(found, axis=0, dtype="float64")
        predictions.append(as_outputs(mean, logits).astype("float32"))
    ids = tuple(trial.trial_id for trial in trials)
    every = tuple(predictions)
    return OutOfFold(ids, every, targets, np.arange(len(targets)), every)


def _logits_to_average(model: keras.Model, several: bool) -> str:
    """The logits that outputs are; those of one model are left as they are."""
    return Ensemble([model]).logits if several else "none"


def _outputs(model: keras.Model, x: Any) -> np.ndarray:
    count = len(keras.tree.flatten(x)[0])
    if count > _FEW * _BATCH:
        found = model.predict(x, batch_size=_BATCH, verbose=0)
        _check_one_output(found)
        return np.asarray(found)
    each = []
    for batch in batches(x, batch_size=_BATCH):
        found = model(batch.x, training=False)
        _check_one_output(found)
        each.append(np.asarray(keras.ops.convert_to_numpy(found), "float32"))
    return np.concatenate(each)


def _check_one_output(outputs: Any) -> None:
    if isinstance(outputs, (list, tuple, dict)):
        raise ValueError(
            "The models of an ensemble of trials must have one output. Received: a model with "
            f"outputs {keras.tree.map_structure(lambda part: tuple(part.shape), outputs)}"
        )


def _pair(data: Any) -> tuple[Any, Any]:
    if not isinstance(data, (tuple, list)) or len(data) < 2:
        raise ValueError(f"`data` must be a pair (x, y). Received: data={data!r}")
    return data[0], data[1]


def _gathered(data: Any) -> tuple[Any, Any]:
    """Inputs and targets as arrays, of a pair or of batches."""
    if isinstance(data, (tuple, list)) and not are_batches(data):
        x, y = _pair(data)
        if are_rows((x, y)):
            return as_keras_arrays(x), y
        data = x
    if is_generator(data) or not are_batches(data):
        raise ValueError(
            "`data` must be arrays (x, y), or a dataset that can be read again. "
            f"Received: data={data!r}"
        )
    every = [(batch.x, batch.y) for batch in batches(data, batch_size=_BATCH)]
    joined = keras.tree.map_structure(
        lambda *parts: np.concatenate([keras.ops.convert_to_numpy(part) for part in parts]), *every
    )
    return joined[0], joined[1]


def _targets(y: Any) -> np.ndarray:
    if y is None or len(keras.tree.flatten(y)) != 1:
        raise ValueError(
            "`data` must have one array of targets, to compare predictions with. "
            f"Received: targets {type(y).__name__}"
        )
    given = keras.tree.flatten(y)[0]
    # Keras makes a column of a pandas Series; targets have the shape that was given.
    return np.asarray(as_keras_arrays(given)).reshape(np.shape(given))


def probabilities_of(outputs: np.ndarray, logits: str) -> np.ndarray:
    """Of which the mean is that of an ensemble."""
    if logits == "none":
        return outputs
    x = outputs.astype("float64")
    if logits == "sigmoid":
        return 1 / (1 + np.exp(-x))
    x = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(x / x.sum(axis=-1, keepdims=True))


def as_outputs(mean: np.ndarray, logits: str) -> np.ndarray:
    """The outputs of an ensemble, of its mean."""
    if logits == "none":
        return mean
    tiny = np.finfo("float64").tiny
    found = np.log(np.maximum(mean, tiny))
    return found - np.log(np.maximum(1 - mean, tiny)) if logits == "sigmoid" else found
