"""Ensembles of the trials of a search: their predictions, the choice, the model."""

import importlib
import pathlib

import keras
import keras_tuner
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from sklearn import metrics, model_selection

from kerasreg import models, tuners
from kerasreg.tuners._folds import folds_of
from kerasreg.tuners._out_of_fold import OutOfFold
from kerasreg.tuners._trial_ensembles import select

pytestmark = pytest.mark.shares_programs

ROWS, CLASSES = 90, 3


@pytest.fixture(scope="module")
def data():
    generator = np.random.default_rng(5)
    y = np.arange(ROWS) % CLASSES
    x = generator.normal(size=(ROWS, 4)) + 0.8 * np.eye(CLASSES, 4)[y]
    return x.astype("float32"), y.astype("int32")


def build(hp, logits=False):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(hp.Choice("units", [4, 8]), "relu"),
            keras.layers.Dense(CLASSES, None if logits else "softmax"),
        ]
    )
    rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=logits)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    return model


def searched(folder, data, *, hypermodel=build, objective="val_loss", trials=5, given=None, **more):
    tuner = tuners.VectorizedRandomSearch(
        hypermodel, objective, max_trials=trials, seed=4, directory=folder, **more
    )
    x, y = data
    given = {"x": x, "y": y, "epochs": 4, "batch_size": 16, "verbose": 0} | (given or {})
    tuner.search(**given)
    return tuner


@pytest.fixture(scope="module")
def folded(data, tmp_path_factory):
    keras.utils.set_random_seed(3)  # It is made before the seed of a test is set.
    return searched(tmp_path_factory.mktemp("folded"), data, folds=3)


def log_loss(y, p):
    return metrics.log_loss(y, p.astype("float64"), labels=range(CLASSES))


def test_each_sample_is_predicted_by_the_fold_that_has_not_seen_it(folded, data):
    x, y = data
    found = folded.out_of_fold()
    np.testing.assert_array_equal(found.targets, y)
    np.testing.assert_array_equal(found.rows, np.arange(ROWS))
    trials = tuners.completed_trials(folded)
    assert list(found.trial_ids) == [trial.trial_id for trial in trials]
    parts = [rows for _, rows in folds_of(3, x, y, None, folded.oracle.seed)]
    for trial, predicted in zip(trials, found.predictions, strict=True):
        # The search's own measure of the same models: a mean over folds of equal size.
        assert log_loss(y, predicted) == pytest.approx(trial.score, rel=1e-5)
        by_fold = [log_loss(y[rows], predicted[rows]) for rows in parts]
        observed = trial.metrics.get_history("val_loss")[0].value
        assert observed == pytest.approx(by_fold, rel=1e-5)


def test_the_ensemble_is_the_mean_that_was_chosen(folded, data):
    x, y = data
    selection = folded.select_ensemble()
    found = folded.out_of_fold()
    of = dict(zip(found.trial_ids, found.predictions, strict=True))
    assert sum(row.share for row in selection.rows) == pytest.approx(1.0)
    mean = sum(row.share * of[row.trial_id].astype("float64") for row in selection.rows)
    np.testing.assert_allclose(selection.predictions, mean, atol=1e-6)
    assert selection.score == pytest.approx(log_loss(y, mean), rel=1e-5)
    assert selection.score <= selection.best_score
    assert selection.best_trial_id == found.trial_ids[0]
    for row in selection.rows:
        assert row.score == pytest.approx(log_loss(y, of[row.trial_id]), rel=1e-5)

    model = selection.model()
    trials = folded.oracle.trials
    expected = 0.0
    members = model.members()
    assert len(members) == 3 * len(selection.rows)
    # A mean of models, whichever order they are in.
    shares = [row.share / 3 for row in selection.rows for _ in range(3)]
    assert model.member_weights == pytest.approx(shares)
    for share, member in zip(shares, members, strict=True):
        expected = expected + share * member.predict(x, verbose=0)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-6)
    # What a member predicts where it has not been trained is what was computed before.
    parts = [rows for _, rows in folds_of(3, x, y, None, folded.oracle.seed)]
    first = of[selection.rows[0].trial_id]
    for member, rows in zip(members[:3], parts, strict=True):
        np.testing.assert_allclose(member.predict(x[rows], verbose=0), first[rows], atol=1e-5)
    assert set(trials) >= {row.trial_id for row in selection.rows}


def test_the_score_to_be_expected_is_of_samples_that_the_choice_did_not_see(folded):
    selection = folded.select_ensemble()
    assert selection.expected_score >= selection.score
    assert 0 < selection.standard_error < selection.expected_score
    assert f"{selection.expected_score:.4g} ±" in str(selection)
    told = selection.to_dict()
    assert told["rows"][0]["trial_id"] == selection.rows[0].trial_id


def test_a_saved_ensemble_is_the_same(folded, data, tmp_path):
    model = folded.ensemble(spread=True)
    model.save(tmp_path / "e.keras")
    again = keras.saving.load_model(tmp_path / "e.keras")
    for name, value in model.predict(data[0], verbose=0).items():
        np.testing.assert_allclose(again.predict(data[0], verbose=0)[name], value, atol=1e-6)


def test_another_process_needs_the_data(folded, data):
    again = tuners.VectorizedRandomSearch(
        build, "val_loss", max_trials=5, seed=4, directory=folded.directory, folds=3
    )
    with pytest.raises(ValueError, match="`data` must be the data of the search"):
        again.out_of_fold()
    mine = folded.select_ensemble()
    found = again.select_ensemble(data=data)
    assert found.to_dict() == mine.to_dict()


@pytest.mark.parametrize(
    ("metric", "mode"),
    [
        ("accuracy", "auto"),
        ("sparse_categorical_crossentropy", "auto"),
        (keras.metrics.SparseTopKCategoricalAccuracy(2), "auto"),
        (lambda y, p: metrics.accuracy_score(y, p.argmax(-1)), "max"),
    ],
)
def test_any_metric_chooses(folded, metric, mode):
    selection = folded.select_ensemble(metric, mode=mode, shrinkage=0)
    is_loss = metric == "sparse_categorical_crossentropy"
    better = (
        selection.best_score - selection.score
        if is_loss
        else (selection.score - selection.best_score)
    )
    assert better >= 0
    if metric == "accuracy" or (callable(metric) and mode == "max"):
        predicted = selection.predictions.argmax(-1)
        assert selection.score == pytest.approx(np.mean(predicted == selection.targets))


def made(noise, seed=0, trials=12, samples=40):
    """Predictions of trials that are as noisy as that, for targets of two classes."""
    generator = np.random.default_rng(seed)
    y = np.arange(samples) % 2
    noises = np.broadcast_to(noise, (trials,))[:, None]
    logits = (2 * y - 1) + noises * generator.normal(size=(trials, samples))
    ones = 1 / (1 + np.exp(-logits))
    predictions = np.stack([1 - ones, ones], axis=-1).astype("float32")
    names = tuple(f"{k:02d}" for k in range(trials))
    return OutOfFold(names, tuple(predictions), y, np.arange(samples))


def chosen(found, shrinkage, metric="sparse_categorical_crossentropy", mode="auto"):
    like = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, "softmax")])
    like.compile("sgd", "sparse_categorical_crossentropy")
    objective = keras_tuner.Objective("val_loss", "min")
    return select(found, like, objective, metric, mode, 40, shrinkage, 7, lambda *_: None)


@pytest.mark.short("sparse_categorical_crossentropy")
@pytest.mark.parametrize("metric", ["sparse_categorical_crossentropy", "a score"])
def test_shares_are_drawn_toward_those_of_the_mean_of_the_best(metric):
    found, mode = made(1.0), "auto"
    if metric == "a score":
        mode, metric = "max", lambda y, p: -metrics.log_loss(y, p)
    alone = {row.trial_id: row.share for row in chosen(found, 0, metric, mode).rows}
    drawn = chosen(found, 60, metric, mode)
    losses = [metrics.log_loss(found.targets, of.astype("float64")) for of in found.predictions]
    best = {found.trial_ids[k] for k in np.argsort(losses)[:6]}  # Of twelve trials.
    for row in drawn.rows:
        equal = 1 / 6 if row.trial_id in best else 0.0
        expected = (40 * alone.get(row.trial_id, 0.0) + 60 * equal) / 100
        assert row.share == pytest.approx(expected, abs=1e-9)
    assert {row.trial_id for row in drawn.rows} == set(alone) | best
    # Never of more than ten.
    every = chosen(made(1.0, trials=30), 1e9, metric, mode)
    assert [row.share for row in every.rows][:10] == pytest.approx([0.1] * 10, abs=1e-6)


def test_what_few_samples_choose_is_better_when_it_is_drawn():
    def of_new_samples(shrinkage):
        scores = []
        for seed in range(8):
            found, new = made(1.5, seed, samples=30), made(1.5, seed + 100, samples=2000)
            shares = {row.trial_id: row.share for row in chosen(found, shrinkage).rows}
            parts = zip(new.trial_ids, new.predictions, strict=True)
            mean = sum(shares.get(name, 0.0) * of.astype("float64") for name, of in parts)
            scores.append(metrics.log_loss(new.targets, mean))
        return np.mean(scores)

    assert of_new_samples(100) < of_new_samples(0) - 0.005


def test_nothing_is_drawn_toward_trials_that_are_far_worse_or_by_many_samples():
    worse = made([0.1, *[6.0] * 11])
    drawn, alone = chosen(worse, 100), chosen(worse, 0)
    assert [(row.trial_id, row.share) for row in drawn.rows] == [
        (row.trial_id, row.share) for row in alone.rows
    ]
    many = made(1.0, samples=4000)
    assert {row.trial_id for row in chosen(many, 100).rows} == {
        row.trial_id for row in chosen(many, 0).rows
    }


@pytest.fixture(scope="module")
def simulated():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(pathlib.Path(__file__).parents[2] / "benchmarks")
        yield importlib.import_module("_simulated_search")


def biases(simulated, metric, rows, searches, alike=True):
    """How much too bad the chosen and the expected score of an ensemble are, and the errors."""
    rng, model, found = np.random.default_rng(1), simulated.like(), []
    sign = -1.0 if metric == "accuracy" else 1.0
    for _ in range(searches):
        predicted, truth = simulated.searched(rng, rows, metric, alike)
        told, shares = simulated.ensemble_of(predicted, metric, model)
        found.append([sign * (one - truth(shares)) for one in (told.score, told.expected_score)])
    return np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(searches)


def test_the_expected_score_of_few_samples_has_no_bias_where_others_have_a_large_one(simulated):
    bias, error = biases(simulated, "log loss", 60, 12)
    assert bias[0] < -2.5 * error[0]
    assert abs(bias[1]) < 2 * error[1]


@pytest.mark.long
@pytest.mark.parametrize("rows", [60, 90, 200])
@pytest.mark.parametrize("metric", ["log loss", "accuracy", "rmse"])
def test_the_expected_score_has_hardly_a_bias(metric, rows, simulated):
    bias, error = biases(simulated, metric, rows, 60)
    assert bias[0] < -2 * error[0]
    assert abs(bias[1]) < max(3 * error[1], 0.35 * abs(bias[0]))


def test_where_a_trial_diverges_at_the_epoch_of_other_folds_that_is_not_expected():
    found = made(1.0, samples=60)
    wild = found.predictions[0].copy()
    wild[:5] = 1 - np.eye(2)[found.targets[:5]]  # As wrong as can be.
    of = found._replace(apart=(wild, *found.predictions[1:]))
    assert chosen(of, 100).expected_score == chosen(found, 100).expected_score
    # Of other samples of the same targets.
    tame = found._replace(apart=(np.roll(found.predictions[0], 2, 0), *found.predictions[1:]))
    assert chosen(tame, 100).expected_score != chosen(found, 100).expected_score


def test_the_score_of_all_parts_together_is_that_of_the_metric():
    found = made(1.0, samples=60)

    def root(targets, predicted):
        return np.sqrt(np.mean((predicted[:, 1] - targets) ** 2))

    by_root = chosen(found._replace(predictions=found.predictions[:1]), 0, root, "min")
    # Of one trial nothing is chosen.
    assert by_root.expected_score == pytest.approx(by_root.score, rel=1e-6)


def test_of_logits_the_mean_is_of_probabilities(data, tmp_path):
    x, y = data
    tuner = searched(tmp_path, data, hypermodel=lambda hp: build(hp, True), folds=3, trials=4)
    selection = tuner.select_ensemble()
    exp = np.exp(selection.predictions.astype("float64"))
    np.testing.assert_allclose(exp.sum(-1), 1.0, rtol=1e-5)
    assert selection.score == pytest.approx(log_loss(y, exp), rel=1e-5)
    by_name = tuner.select_ensemble("sparse_categorical_crossentropy")
    assert by_name.score == pytest.approx(selection.score, rel=1e-5)
    model = selection.model()
    each = [keras.ops.softmax(m.predict(x, verbose=0)) for m in model.members()]
    mean = sum(w * np.asarray(p) for w, p in zip(model.member_weights, each, strict=True))
    np.testing.assert_allclose(np.exp(model.predict(x, verbose=0)), mean, atol=1e-5)


@pytest.mark.parametrize("folds", [2, None])
def test_of_logits_of_executions_the_mean_is_that_of_the_ensemble(folds, data, tmp_path):
    x, y = data
    given = {} if folds else {"validation_split": 0.5}
    tuner = searched(
        tmp_path,
        data,
        hypermodel=lambda hp: build(hp, True),
        trials=1,
        folds=folds,
        executions_per_trial=2,
        given=given,
    )
    selection = tuner.select_ensemble(["accuracy"])
    each = [keras.ops.softmax(m.predict(x, verbose=0)) for m in selection.model().members()]
    parts = [rows for _, rows in folds_of(2, x, y, None, 4)] if folds else [selection.samples]
    for number, rows in enumerate(parts):
        mean = np.mean([np.asarray(of)[rows] for of in each[number :: len(parts)]], axis=0)
        places = np.searchsorted(selection.samples, rows)
        np.testing.assert_allclose(np.exp(selection.predictions[places]), mean, atol=1e-5)


VALIDATIONS = {
    "arrays": lambda x, y: {"validation_data": (x[60:], y[60:])},
    "dataset": lambda x, y: {
        "validation_data": tf.data.Dataset.from_tensor_slices((x[60:], y[60:])).batch(7)
    },
    "split": lambda x, y: {"validation_split": 1 / 3},
    "dictionary": lambda x, y: {"x": {"a": x}, "validation_data": ({"a": x[60:]}, y[60:])},
}


def build_named(hp):
    inner = build(hp)
    inputs = {"a": keras.Input((4,), name="a")}
    model = keras.Model(inputs, inner(inputs["a"]))
    model.compile(inner.optimizer, inner.loss, metrics=["accuracy"])
    return model


@pytest.mark.short("dataset", "split")
@pytest.mark.parametrize("kind", VALIDATIONS)
def test_validation_data_take_the_place_of_folds(kind, data, tmp_path):
    x, y = data
    given = VALIDATIONS[kind](x, y)
    hypermodel = build_named if kind == "dictionary" else build
    tuner = searched(tmp_path, data, hypermodel=hypermodel, given=given, executions_per_trial=2)
    found = tuner.out_of_fold()
    np.testing.assert_array_equal(found.targets, y[60:])
    trial = tuner.oracle.trials[found.trial_ids[0]]
    # The mean of two models is better than the mean of their losses.
    assert log_loss(y[60:], found.predictions[0]) <= trial.score + 1e-6
    model = tuner.ensemble()
    assert len(model.members()) % 2 == 0
    inputs = {"a": x[60:]} if kind == "dictionary" else x[60:]
    score = log_loss(y[60:], model.predict(inputs, verbose=0))
    assert score == pytest.approx(tuner.select_ensemble().score, rel=1e-4)


class OwnFit(keras_tuner.HyperModel):
    def build(self, hp):
        return build(hp)

    def fit(self, hp, model, *args, **kwargs):
        kwargs["batch_size"] = hp.Choice("batch_size", [16, 32])
        return model.fit(*args, **kwargs)


class Alone(keras.Sequential):
    def make_train_function(self, force=False):
        return super().make_train_function(force)


def build_alone(hp):
    made = build(hp)
    model = Alone([keras.Input((4,)), *made.layers])
    model.compile(made.optimizer, made.loss, metrics=["accuracy"])
    return model


@pytest.mark.short("own fit")
@pytest.mark.parametrize("kind", ["own fit", "alone"])
@pytest.mark.filterwarnings("ignore")
def test_trials_that_are_no_lanes_of_one_group_have_their_folds_too(kind, data, tmp_path):
    hypermodel = OwnFit() if kind == "own fit" else build_alone
    tuner = searched(tmp_path, data, hypermodel=hypermodel, folds=3, trials=3)
    found = tuner.out_of_fold()
    assert len(found.trial_ids) == 3
    y = data[1]
    for trial_id, predicted in zip(found.trial_ids, found.predictions, strict=True):
        # One after the other, each fold has its own best epoch, which is no worse.
        assert log_loss(y, predicted) <= tuner.oracle.trials[trial_id].score + 1e-5
    assert len(tuner.ensemble().members()) % 3 == 0


def cross_entropy(y, p):
    p = keras.ops.clip(p, 1e-7, 1 - 1e-7)
    return -keras.ops.mean(y * keras.ops.log(p) + (1 - y) * keras.ops.log(1 - p), axis=-1)


@pytest.mark.short("column-function")
@pytest.mark.parametrize("loss", ["binary_crossentropy", cross_entropy], ids=["name", "function"])
@pytest.mark.parametrize("kind", ["array", "series", "column"])
def test_one_output_is_scored_by_the_loss_that_was_compiled(loss, kind, data, tmp_path):
    x = data[0]
    y = (data[1] == 1).astype("int32")
    given = {"array": y, "series": pd.Series(y, index=np.arange(ROWS)[::-1]), "column": y[:, None]}

    def one_output(hp):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, "sigmoid")])
        model.compile(keras.optimizers.SGD(hp.Float("rate", 1e-3, 1e-1)), loss)
        return model

    tuner = searched(tmp_path, (x, given[kind]), hypermodel=one_output, trials=2, folds=2)
    found = tuner.select_ensemble()
    assert found.targets.shape == given[kind].shape
    assert found.score == pytest.approx(metrics.log_loss(y, found.predictions[:, 0]), rel=1e-4)
    ids = tuner.out_of_fold().trial_ids
    assert found.best_score == pytest.approx(tuner.oracle.trials[ids[0]].score, rel=1e-4)
    f1 = tuner.select_ensemble(keras.metrics.F1Score("micro", threshold=0.3))
    assert f1.score == pytest.approx(metrics.f1_score(y, f1.predictions[:, 0] > 0.3), rel=1e-4)


def test_a_cosine_that_is_a_loss_is_negative(data, tmp_path):
    def cosine(hp):
        model = build(hp)
        model.compile(model.optimizer, "cosine_similarity")
        return model

    y = np.eye(CLASSES, dtype="float32")[data[1]]
    tuner = searched(tmp_path, (data[0], y), hypermodel=cosine, trials=2, folds=2)
    selection = tuner.select_ensemble()
    assert selection.score <= selection.best_score < 0
    assert selection.best_trial_id == tuner.out_of_fold().trial_ids[0]


def test_folds_that_are_never_the_same_are_refused(data, tmp_path):
    splitter = model_selection.KFold(3, shuffle=True)
    with pytest.warns(UserWarning, match="in another way each time"):
        tuner = searched(tmp_path, data, trials=2, folds=splitter)
    with pytest.raises(ValueError, match="`random_state`"):
        tuner.out_of_fold()


def test_a_tuner_that_is_made_again_must_be_told_of_folds(folded, data):
    again = tuners.VectorizedRandomSearch(
        build, "val_loss", max_trials=5, seed=4, directory=folded.directory
    )
    with pytest.raises(ValueError, match="`folds` and `executions_per_trial` must be those"):
        again.out_of_fold(data)


def test_samples_of_a_validation_split_are_numbered_in_the_data(data, tmp_path):
    _, y = data
    tuner = searched(tmp_path, data, trials=1, given={"validation_split": 0.3})
    found = tuner.out_of_fold()
    assert found.rows[0] > 0
    np.testing.assert_array_equal(y[found.rows], found.targets)


def test_what_cannot_be_is_said(data, tmp_path):
    x, y = data
    tuner = tuners.VectorizedRandomSearch(
        build, "loss", max_trials=2, seed=4, directory=tmp_path, project_name="one"
    )
    with pytest.raises(ValueError, match="no completed trial"):
        tuner.ensemble()
    tuner.search(x, y, epochs=1, verbose=0)
    with pytest.raises(ValueError, match="neither validation data nor folds"):
        tuner.ensemble()
    assert isinstance(tuner.ensemble(data=(x, y)), models.Ensemble)
    for bad in (x, (x,), "data"):
        with pytest.raises(ValueError, match="`data` must be"):
            tuner.ensemble(data=bad)
    with pytest.raises(ValueError, match="`size` must be a whole number >= 1"):
        tuner.ensemble(size=0)
    with pytest.raises(ValueError, match="`candidates` must be a whole number >= 1"):
        tuner.ensemble(candidates=0)
    with pytest.raises(ValueError, match="`metric` must be"):
        tuner.ensemble("no such metric", data=(x, y))


class Standardises(keras_tuner.HyperModel):
    def build(self, hp):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.Adam(hp.Float("rate", 0.05, 0.1)), "mse")
        return model

    def fit(self, hp, model, x, y, validation_data, **kwargs):
        middle, scale = y.mean(), y.std()
        changed = validation_data[0], (validation_data[1] - middle) / scale
        return model.fit(x, (y - middle) / scale, validation_data=changed, **kwargs)


def test_targets_that_fit_changes_are_noticed(data, tmp_path):
    x, _ = data
    y = 100 + 7 * x[:, :1]
    tuner = searched(
        tmp_path,
        (x, y),
        hypermodel=Standardises(),
        trials=2,
        given={"validation_data": (x[60:], y[60:])},
    )
    with pytest.warns(UserWarning, match="Trial . scores .* by its predictions, and scored"):
        tuner.select_ensemble()
    middle, scale = y.mean(), y.std()

    def in_units(targets, outputs):
        return np.mean((targets - (outputs * scale + middle)) ** 2) / scale**2

    selection = tuner.select_ensemble(in_units, mode="min")
    score = tuner.oracle.trials[selection.best_trial_id].score
    assert selection.best_score == pytest.approx(score, rel=1e-4)


class Subclass(keras.Model):
    """A model as people write one: Keras builds its layers when it sees data."""

    def __init__(self, rate):
        super().__init__()
        self.first = keras.layers.Dense(4, "relu")
        self.drop = keras.layers.Dropout(rate)
        self.last = keras.layers.Dense(CLASSES, "softmax")

    def call(self, x, training=None):
        return self.last(self.drop(self.first(x), training=training))


def test_subclasses_that_are_built_by_their_data_have_an_ensemble(data, tmp_path):
    def subclass(hp):
        model = Subclass(hp.Float("dropout", 0.0, 0.5))
        model.compile("adam", "sparse_categorical_crossentropy")
        return model

    tuner = searched(tmp_path, data, hypermodel=subclass, trials=2, folds=2)
    x, y = data
    selection = tuner.select_ensemble()
    ensemble = selection.model()
    predicted = ensemble.predict(x, verbose=0)
    assert predicted.shape == (ROWS, CLASSES)
    assert selection.score == pytest.approx(log_loss(y, selection.predictions), rel=1e-5)
    assert tuner.get_best_models()[0].built
