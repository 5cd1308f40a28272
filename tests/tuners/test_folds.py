"""Cross-validation in a search: each fold is a lane, equal to its training by Keras."""

import keras_tuner
import numpy as np
import pytest
from sklearn import model_selection

from kerasreg import tuners
from kerasreg.lanes import batch_order
from kerasreg.tuners._folds import folds_of


def search(build, folder, blobs, folds, groups=None, **arguments):
    found = tuners.VectorizedRandomSearch(
        build, "val_loss", max_trials=3, directory=folder, seed=5, folds=folds, **arguments
    )
    x, y, _ = blobs
    found.search(x, y, groups=groups, epochs=2, batch_size=16, verbose=0)
    return found


def fold_alone(build, x, y, trial, rows, seed):
    """The best validation loss of one fold, trained by Keras with the batches of the lane."""
    train, validation = rows
    model = build(trial.hyperparameters)
    losses = []
    for epoch in range(2):
        order = train[batch_order(len(train), epoch, seed=seed)]
        history = model.fit(
            x[order],
            y[order],
            batch_size=16,
            shuffle=False,
            validation_data=(x[validation], y[validation]),
            verbose=0,
        )
        losses += history.history["val_loss"]
    return min(losses)


# 60 samples: folds of 8 and 9 differ in their last batches, those of groups in more.
SPLITTERS = {
    "number": (7, None),
    "splitter": (model_selection.KFold(4), None),
    "shuffled": (model_selection.ShuffleSplit(3, test_size=0.2, random_state=1), None),
    "groups": (model_selection.GroupKFold(3), np.repeat([0, 1, 2, 3, 4], [3, 20, 17, 11, 9])),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", SPLITTERS)
def test_the_score_is_the_mean_over_folds_trained_alone(kind, build, blobs, tmp_path):
    folds, groups = SPLITTERS[kind]
    found = search(build, tmp_path, blobs, folds, groups)
    trial = found.oracle.get_best_trials()[0]
    x, y, _ = blobs
    rows = folds_of(folds, x, y, groups, found.oracle.seed)
    losses = [fold_alone(build, x, y, trial, of_fold, found.oracle.seed) for of_fold in rows]
    assert trial.score == pytest.approx(np.mean(losses), rel=1e-4)
    expected = np.std(losses, ddof=1) / np.sqrt(len(losses))
    assert tuners.standard_error(trial, "val_loss") == pytest.approx(expected, rel=1e-3)


def test_classes_are_in_each_fold_as_in_the_whole():
    y = np.repeat([0, 1], [40, 8])
    for train, validation in folds_of(4, np.zeros((48, 2)), y, None, 1):
        assert y[validation].sum() == 2
        assert sorted([*train, *validation]) == list(range(48))
    one_hot = np.eye(2)[y]
    for _, validation in folds_of(4, np.zeros((48, 2)), one_hot, None, 1):
        assert one_hot[validation].sum(axis=0).tolist() == [10, 2]


def test_no_group_is_divided():
    groups = np.repeat(np.arange(12), 4)
    for target in (np.tile([0, 1], 24), np.linspace(0.0, 1.0, 48)):
        for train, validation in folds_of(3, np.zeros((48, 2)), target, groups, 1):
            assert not set(groups[train]) & set(groups[validation])


def test_numbers_are_not_taken_for_classes():
    target = np.linspace(0.0, 1.0, 12)[:, None]
    parts = [validation for _, validation in folds_of(3, np.zeros((12, 2)), target, None, 1)]
    assert sorted(np.concatenate(parts)) == list(range(12))
    # Shuffled, by the seed.
    assert not np.array_equal(parts[0], np.arange(4))
    again = [validation for _, validation in folds_of(3, np.zeros((12, 2)), target, None, 1)]
    np.testing.assert_array_equal(parts[0], again[0])


@pytest.mark.parametrize("folds", [1, 0, 2.5, True, "five"])
def test_folds_must_be_a_number_or_a_splitter(folds, build, tmp_path):
    with pytest.raises(ValueError, match="`folds` must be a whole number >= 2"):
        tuners.VectorizedRandomSearch(build, "val_loss", directory=tmp_path, folds=folds)


def test_folds_and_validation_data_are_refused(build, blobs, tmp_path):
    found = tuners.VectorizedRandomSearch(build, "val_loss", directory=tmp_path, folds=3)
    x, y, validation_data = blobs
    with pytest.raises(keras_tuner.errors.FatalValueError, match="no validation data"):
        found.search(x, y, validation_data=validation_data, verbose=0)


def test_folds_need_arrays(build, blobs, tmp_path):
    import tensorflow as tf

    x, y, _ = blobs
    found = tuners.VectorizedRandomSearch(build, "val_loss", directory=tmp_path, folds=3)
    with pytest.raises(keras_tuner.errors.FatalValueError, match="must be arrays"):
        found.search(tf.data.Dataset.from_tensor_slices((x, y)).batch(8), verbose=0)


def weighted(build, blobs, folder, **arguments):
    """A search whose samples have weights, and these."""
    x, y, _ = blobs
    weights = np.where(y == 0, 0.0, 1.0).astype("float32")
    found = tuners.VectorizedRandomSearch(
        build, "val_loss", max_trials=2, directory=folder, seed=5, folds=2, **arguments
    )
    found.search(x, y, sample_weight=weights, epochs=2, batch_size=16, verbose=0)
    return found, weights


def test_weights_of_samples_are_split_with_them(build, blobs, tmp_path):
    x, y, _ = blobs
    found, weights = weighted(build, blobs, tmp_path / "together")
    trial = found.oracle.get_best_trials()[0]
    losses = []
    for train, validation in folds_of(2, x, y, None, found.oracle.seed):
        model = build(trial.hyperparameters)
        of_epochs = []
        for epoch in range(2):
            order = train[batch_order(len(train), epoch, seed=found.oracle.seed)]
            model.fit(
                x[order], y[order], 16, sample_weight=weights[order], shuffle=False, verbose=0
            )
            loss = model.evaluate(
                x[validation], y[validation], 16, sample_weight=weights[validation], verbose=0
            )[0]
            of_epochs.append(loss)
        losses.append(min(of_epochs))
    assert trial.score == pytest.approx(np.mean(losses), rel=1e-4)
    # One fold after the other, in one lane.
    one_by_one, _ = weighted(build, blobs, tmp_path / "alone", max_lanes=1)
    alone = one_by_one.oracle.trials[trial.trial_id]
    assert len(alone.metrics.get_history("val_loss")[0].value) == 2
    assert alone.score == pytest.approx(trial.score, rel=1e-4)
