"""Members of an ensemble that are trained again with all samples."""

import os

import keras
import keras_tuner
import numpy as np
import pytest
from helpers.processes import needs_fork, run_program

from kerasreg import tuners

pytestmark = pytest.mark.shares_programs

ROWS, EPOCHS = 60, 6
X = np.random.default_rng(5).normal(size=(ROWS, 4)).astype("float32")
Y = (X[:, :1] - X[:, 1:2] * X[:, 2:3]).astype("float32")


def build(hp, seed=3):
    initializer = keras.initializers.GlorotUniform(seed=seed)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, "tanh", kernel_initializer=initializer),
            keras.layers.Dense(1, kernel_initializer=keras.initializers.GlorotUniform(seed=8)),
        ]
    )
    # Falls until the rate is too large: best epochs differ.
    rate = hp.Float("learning_rate", 0.01, 1.5, sampling="log")
    model.compile(keras.optimizers.SGD(rate, momentum=0.9), "mse")
    return model


def searched(folder, hypermodel=build, trials=5, seed=4, given=None, **more):
    tuner = tuners.VectorizedRandomSearch(
        hypermodel, "val_loss", max_trials=trials, seed=seed, directory=folder, **more
    )
    # One batch is all samples: their order does not matter.
    given = {"x": X, "y": Y, "epochs": EPOCHS, "batch_size": ROWS, "verbose": 0} | (given or {})
    tuner.search(**given)
    return tuner


@pytest.fixture(scope="module")
def folded(tmp_path_factory):
    return searched(tmp_path_factory.mktemp("folded"), folds=3)


def trained_by_keras(trial, epochs, **fit):
    model = build(trial.hyperparameters)
    given = {"x": X, "y": Y, "epochs": epochs, "batch_size": ROWS, "verbose": 0} | fit
    model.fit(**given)
    return model


def check(selection, tuner, model, share, **fit):
    """Each member is what Keras trains with all samples for so many steps as were best."""
    assert len(model.members()) == len(selection.rows)
    lengths = []
    for row, member in zip(selection.rows, model.members(), strict=True):
        trial = tuner.oracle.trials[row.trial_id]
        lengths.append(max(1, round((trial.best_step + 1) * share)))
        expected = trained_by_keras(trial, lengths[-1], **fit)
        np.testing.assert_allclose(
            member.predict(X, verbose=0), expected.predict(X, verbose=0), rtol=1e-3, atol=1e-4
        )
    return lengths


def test_a_member_is_trained_as_keras_does_with_all_samples(folded):
    selection = folded.select_ensemble(size=8)
    model = selection.model(retrain=1)
    assert len(selection.rows) > 1
    lengths = check(selection, folded, model, 2 / 3)
    assert len(set(lengths)) > 1, "they tell nothing of a length of each trial's own"
    shares = [row.share for row in selection.rows]
    assert model.member_weights == pytest.approx(shares)
    # The models of the search are others.
    folds = selection.model()
    assert len(folds.members()) == 3 * len(selection.rows)
    assert not np.allclose(folds.predict(X, verbose=0), model.predict(X, verbose=0), atol=1e-3)


def test_what_was_trained_again_is_not_trained_a_second_time(folded, monkeypatch):
    first = folded.ensemble(size=8, retrain=1).predict(X, verbose=0)

    def fails(*args, **kwargs):
        raise AssertionError("a training")

    monkeypatch.setattr("kerasreg.tuners._stacking.Lanes", fails)
    monkeypatch.setattr(keras.Model, "fit", fails)
    second = folded.ensemble(size=8, retrain=1).predict(X, verbose=0)
    np.testing.assert_array_equal(first, second)


def test_several_of_a_trial_have_other_random_numbers(tmp_path):
    def drawn(hp):
        return build(hp, seed=None)

    tuner = searched(tmp_path, drawn, folds=3, trials=2)
    selection = tuner.select_ensemble(candidates=1)
    model = selection.model(retrain=3)
    assert len(model.members()) == 3
    assert model.member_weights == pytest.approx([1 / 3] * 3)
    predicted = [member.predict(X, verbose=0) for member in model.members()]
    assert len({of.tobytes() for of in predicted}) == 3


@pytest.mark.short("split", "weights")
@pytest.mark.parametrize("kind", ["split", "given", "positional", "weights"])
def test_validation_ends_and_all_else_stays(kind, tmp_path):
    weights = np.linspace(0.1, 2.0, ROWS).astype("float32")
    stop = keras.callbacks.EarlyStopping(monitor="val_loss", patience=50)
    folds, share, fit = None, 1.0, {}
    given = {
        "split": {"validation_split": 0.25},
        "given": {"validation_data": (X[:20], Y[:20]), "callbacks": [stop]},
        "positional": {},
        "weights": {"sample_weight": weights},
    }[kind]
    if kind == "split":
        share = 0.75
    if kind == "weights":
        folds, share, fit = 3, 2 / 3, {"sample_weight": weights}
    tuner = tuners.VectorizedRandomSearch(
        build, "val_loss", max_trials=3, seed=4, directory=tmp_path, folds=folds
    )
    if kind == "positional":
        tuner.search(X, Y, ROWS, EPOCHS, validation_split=0.5, verbose=0)
        share = 0.5
    else:
        tuner.search(X, Y, epochs=EPOCHS, batch_size=ROWS, verbose=0, **given)
    selection = tuner.select_ensemble()
    check(selection, tuner, selection.model(retrain=1), share, **fit)


def test_members_that_keras_trains_alone_keep_their_last_epoch(tmp_path):
    class OwnFit(keras_tuner.HyperModel):
        def build(self, hp):
            return build(hp)

        def fit(self, hp, model, x, y, **kwargs):
            return model.fit(x, y, **kwargs)

    tuner = searched(tmp_path, OwnFit(), folds=3, trials=3)
    selection = tuner.select_ensemble()
    check(selection, tuner, selection.model(retrain=1), 2 / 3)


def test_what_cannot_be_trained_again_is_said(folded, tmp_path):
    with pytest.raises(ValueError, match=r"`retrain` must be .*Received: retrain=-1"):
        folded.ensemble(retrain=-1)
    other = tuners.VectorizedRandomSearch(
        build, "val_loss", max_trials=5, seed=4, directory=folded.directory, folds=3
    )
    with pytest.raises(ValueError, match="`retrain` must be 0 until `search` was called"):
        other.ensemble(data=(X, Y), retrain=1)
    hyperband = tuners.VectorizedHyperband(build, "val_loss", 2, directory=tmp_path)
    hyperband.search(X, Y, batch_size=ROWS, validation_data=(X, Y), verbose=0)
    with pytest.raises(ValueError, match="`retrain` trains trials as `VectorizedTuner` does"):
        hyperband.ensemble(retrain=1)

    class NeedsValidation(keras_tuner.HyperModel):
        def build(self, hp):
            return build(hp)

        def fit(self, hp, model, x, y, validation_data, **kwargs):
            return model.fit(x, y, validation_data=validation_data, **kwargs)

    given = {"validation_data": (X[:20], Y[:20])}
    tuner = searched(tmp_path / "own", NeedsValidation(), trials=2, given=given)
    with pytest.raises(RuntimeError, match=r"could not be trained again.*validation_data"):
        tuner.ensemble(retrain=1)


@pytest.mark.long
@needs_fork
def test_a_training_that_is_killed_at_a_write_ends_in_the_same_ensemble(tmp_path):
    program = os.path.join(os.path.dirname(__file__), "killed_retraining_program.py")
    found = run_program(program, tmp_path)
    assert found["members"] > 1
    assert len(found["killed"]) >= 3
    for of in found["killed"]:
        np.testing.assert_allclose(of, found["whole"], atol=1e-6)
