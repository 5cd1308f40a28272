"""Cross-validation in a search: each fold is a lane, equal to its training by Keras."""

import warnings

import keras
import keras_tuner
import numpy as np
import pandas
import pytest
from sklearn import model_selection

from kerasreg import tuners
from kerasreg.lanes import batch_order
from kerasreg.tuners._folds import folds_of

pytestmark = pytest.mark.shares_programs


def search(build, folder, blobs, folds, groups=None, **arguments):
    found = tuners.VectorizedRandomSearch(
        build, "val_loss", max_trials=3, directory=folder, seed=5, folds=folds, **arguments
    )
    x, y, _ = blobs
    found.search(x, y, groups=groups, epochs=2, batch_size=16, verbose=0)
    return found


def fold_alone(build, x, y, trial, rows, seed):
    """The validation losses of one fold, trained by Keras with the batches of the lane."""
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
    return losses


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
    each = [fold_alone(build, x, y, trial, of_fold, found.oracle.seed) for of_fold in rows]
    # Of the epoch that is best for all of them.
    losses = min(zip(*each, strict=True), key=np.mean)
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


def parts_of(folds, y, groups=None):
    count = len(keras.tree.flatten(y)[0])
    parts = folds_of(folds, np.zeros((count, 2)), y, groups, 1)
    for train, validation in parts:
        assert sorted([*train, *validation]) == list(range(count))
    return [validation.tolist() for _, validation in parts]


RANDOM = np.random.default_rng(0)
PRICES = np.round(200000 + 50000 * RANDOM.normal(size=150))
CLASSES = np.repeat([0, 1, 2], [90, 50, 10])
NAMES = np.array(["no", "perhaps", "yes"])[CLASSES]
LABELS = RANDOM.integers(0, 2, (150, 2))
QUANTITIES = {
    "whole floats": PRICES.astype("float32"),
    "integers": PRICES.astype("int64"),
    "a column": PRICES[:, None],
    "a column of a table": pandas.DataFrame({"price": PRICES.astype(int)}),
    "a series with gaps possible": pandas.Series(PRICES.astype(int), dtype="Int64"),
    "ages": RANDOM.integers(18, 90, 150),
    "repeated, not whole": CLASSES + 0.5,
    "with NaN": np.where(CLASSES == 2, np.nan, CLASSES),
    "several numbers": RANDOM.normal(size=(150, 2)),
    "several whole numbers": RANDOM.integers(0, 1000, (150, 2)),
    "masks": LABELS[:, :, None, None],
    "names of their own": np.array([f"row {n}" for n in range(150)]),
    "tensors": keras.ops.convert_to_tensor(PRICES),
    "a dictionary": {"first": PRICES, "second": RANDOM.normal(size=150)},
}


@pytest.mark.parametrize("kind", QUANTITIES)
def test_a_quantity_is_divided_as_scikit_learns_kfold(kind):
    expected = model_selection.KFold(5, shuffle=True, random_state=1).split(np.zeros(150))
    assert parts_of(5, QUANTITIES[kind]) == [rows.tolist() for _, rows in expected]


STRATA = {
    "integers": (CLASSES, CLASSES),
    "whole floats": (CLASSES.astype("float32"), CLASSES),
    "minus one and one": (np.where(CLASSES == 0, -1, 1), CLASSES == 0),
    "a column": (CLASSES[:, None], CLASSES),
    "one-hot": (np.eye(3)[CLASSES], CLASSES),
    "a one-hot table": (pandas.get_dummies(pandas.Series(NAMES)), CLASSES),
    "Booleans": (CLASSES == 2, CLASSES == 2),
    "text": (NAMES, CLASSES),
    "text as objects": (NAMES.astype(object), CLASSES),
    "text of a series": (pandas.Series(NAMES), CLASSES),
    "categories": (pandas.Series(NAMES, dtype="category"), CLASSES),
    "numbers as categories": (pandas.Series(CLASSES, dtype="category"), CLASSES),
    "numbers of a series": (pandas.Series(CLASSES, dtype="Int64"), CLASSES),
    "several labels": (LABELS, LABELS @ [2, 1]),
    "tensors": (keras.ops.convert_to_tensor(CLASSES), CLASSES),
    "a dictionary": ({"a": PRICES, "b": CLASSES}, CLASSES),
}


@pytest.mark.parametrize("kind", STRATA)
def test_classes_are_divided_as_scikit_learns_stratified_kfold(kind):
    y, classes = STRATA[kind]
    splitter = model_selection.StratifiedKFold(5, shuffle=True, random_state=1)
    expected = splitter.split(np.zeros(150), classes)
    assert parts_of(5, y) == [rows.tolist() for _, rows in expected]


@pytest.mark.parametrize("text", [False, True])
def test_of_a_rare_class_each_sample_is_in_another_fold(text):
    numbers = np.repeat([0, 1, 2], [30, 17, 3])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        parts = parts_of(5, np.array(["a", "b", "c"])[numbers] if text else numbers)
    assert sorted(np.isin(part, [47, 48, 49]).sum() for part in parts) == [0, 0, 1, 1, 1]
    # Numbers may count something: only of classes that are certain there is a warning.
    assert len(caught) == text


def test_counts_are_divided_without_a_warning():
    counts = np.random.default_rng(0).poisson(4, 150)
    assert np.bincount(counts).min() < 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(parts_of(5, counts.astype("float32"))) == 5


def test_groups_of_a_quantity():
    groups = np.arange(150) // 10
    parts = parts_of(5, PRICES, groups)
    assert sorted(len(set(groups[part])) for part in parts) == [3] * 5


def test_a_splitter_gets_all_columns_of_targets():
    given = []

    class Splitter(model_selection.KFold):
        def split(self, x, y=None, groups=None):
            given.append(y)
            return super().split(x, y, groups)

    for y in (LABELS, PRICES[:, None], np.eye(3)[CLASSES], None):
        folds_of(Splitter(3), np.zeros((150, 2)), y, None, 1)
    np.testing.assert_array_equal(given[0], LABELS)
    np.testing.assert_array_equal(given[1], PRICES)
    np.testing.assert_array_equal(given[2], CLASSES)
    assert given[3] is None


@pytest.mark.parametrize(
    ("folds", "y"), [(model_selection.StratifiedKFold(5), PRICES[:40]), (50, np.zeros(40))]
)
def test_data_that_cannot_be_divided_end_the_search(folds, y):
    with pytest.raises(keras_tuner.errors.FatalValueError, match="cannot divide these 40 samples"):
        folds_of(folds, np.zeros((40, 2)), y, None, 1)


def test_prices_in_whole_dollars_are_searched(tmp_path):
    x = RANDOM.normal(size=(40, 3)).astype("float32")
    y = np.round(x[:, 0] * 50000)

    def build(hp):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(hp.Float("lr", 1e-3, 1e-1)), "mse")
        return model

    tuner = tuners.VectorizedRandomSearch(
        build, "val_loss", max_trials=2, directory=tmp_path, seed=1, folds=np.int64(5)
    )
    tuner.search(x, y, epochs=1, verbose=0)
    assert [trial.status for trial in tuner.oracle.trials.values()] == ["COMPLETED"] * 2


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


def test_trials_of_many_folds_share_a_program(build, blobs, tmp_path):
    found = tuners.VectorizedRandomSearch(
        build, "val_loss", max_trials=3, directory=tmp_path, seed=5, folds=9
    )
    x, y, _ = blobs
    found.search(x, y, epochs=1, batch_size=16, verbose=0)
    (row,) = found.lane_report().rows
    assert (row.trials, row.at_once) == (3, 27)


def test_several_objectives_of_folds(build, blobs, tmp_path):
    objectives = [
        keras_tuner.Objective("val_loss", "min"),
        keras_tuner.Objective("val_accuracy", "max"),
    ]
    x, y, _ = blobs
    found = tuners.VectorizedRandomSearch(
        build, objectives, max_trials=3, directory=tmp_path, seed=5, folds=3
    )
    found.search(x, y, epochs=2, batch_size=16, verbose=0)
    for trial in found.oracle.get_best_trials(3):
        loss, accuracy = (trial.metrics.get_best_value(one.name) for one in objectives)
        assert trial.score == pytest.approx(loss - accuracy)
        # The folds' sums have an error, and a mean that is the trial's.
        together = found.oracle.objective.name
        assert tuners.standard_error(trial, together) > 0
        assert np.mean(found.results().filter(like="fold_").loc[0]) == pytest.approx(
            found.oracle.trials["0"].score
        )


@pytest.mark.parametrize("folds", [None, 3])
def test_several_objectives_that_the_code_of_a_trial_returns(folds, build, blobs, tmp_path):
    class OwnFit(keras_tuner.HyperModel):
        def build(self, hp):
            return build(hp)

        def fit(self, hp, model, *args, **kwargs):
            history = model.fit(*args, **kwargs)
            return {"val_loss": history.history["val_loss"][-1], "bytes": 100.0}

    objectives = [keras_tuner.Objective("val_loss", "min"), keras_tuner.Objective("bytes", "min")]
    x, y, validation_data = blobs
    found = tuners.VectorizedRandomSearch(
        OwnFit(), objectives, max_trials=2, directory=tmp_path, seed=5, folds=folds
    )
    data = {} if folds else {"validation_data": validation_data}
    found.search(x, y, epochs=2, batch_size=16, verbose=0, **data)
    best = found.oracle.get_best_trials(1)[0]
    assert best.score == pytest.approx(best.metrics.get_best_value("val_loss") + 100)
