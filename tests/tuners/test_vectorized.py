"""Searches with lanes: KerasTuner's results, trained together."""

import inspect
import json
import os
import warnings

import keras
import keras_tuner
import numpy as np
import pytest

from kerasreg import tuners
from kerasreg.lanes import Lanes, batch_order
from kerasreg.tuners import _memory
from kerasreg.tuners._plan import Plan

pytestmark = pytest.mark.shares_programs

SEARCHES = {
    "random": (tuners.VectorizedRandomSearch, {"max_trials": 6}),
    "bayesian": (tuners.VectorizedBayesianOptimization, {"max_trials": 6, "max_lanes": 3}),
    "grid": (tuners.VectorizedGridSearch, {"max_trials": 6}),
    "hyperband": (tuners.VectorizedHyperband, {"max_epochs": 3, "factor": 3}),
}


def tuner(build, folder, kind="random", objective="val_loss", **arguments):
    cls, more = SEARCHES[kind]
    return cls(build, objective, directory=folder, seed=5, **{**more, **arguments})


def search(tuner, blobs, **arguments):
    x, y, validation_data = blobs
    given = {"epochs": 3, "batch_size": 16, "validation_data": validation_data, "verbose": 0}
    tuner.search(x, y, **{**given, **arguments})
    return tuners.completed_trials(tuner)


def alone(build, blobs, trial, seed, epochs=3, initial_epoch=0, model=None):
    """The history of a trial trained by Keras, with the batches of the lanes."""
    x, y, validation_data = blobs
    model = build(trial.hyperparameters) if model is None else model
    history = {}
    for epoch in range(initial_epoch, epochs):
        order = batch_order(len(x), epoch, seed=seed)
        found = model.fit(
            x[order],
            y[order],
            batch_size=16,
            shuffle=False,
            validation_data=validation_data,
            verbose=0,
        )
        for name, values in found.history.items():
            history.setdefault(name, []).extend(values)
    return history


def check_scores(found, trials, build, blobs):
    for trial in trials:
        history = alone(build, blobs, trial, found.oracle.seed)
        assert trial.score == pytest.approx(min(history["val_loss"]), rel=1e-4)
        assert trial.best_step == int(np.argmin(history["val_loss"]))


def test_scores_are_those_of_the_same_trials_trained_alone(build, blobs, searched):
    trials = tuners.completed_trials(searched.tuner)
    assert len(trials) == 6
    assert searched.lanes == [6]  # All of them in one program.
    check_scores(searched.tuner, trials[:2], build, blobs)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["bayesian", "grid"])
def test_scores_of_other_searches_are_too(kind, build, blobs, tmp_path, trainings):
    found = tuner(build, tmp_path, kind)
    trials = search(found, blobs)
    assert len(trials) == 6
    # One program; new trials came in where lanes had ended.
    assert len(trainings) == 1
    check_scores(found, trials[:2], build, blobs)


def test_hyperband_goes_on_with_the_weights_of_the_round_before(build, blobs, tmp_path, trainings):
    # Dropout would count the steps of a model that is not there any more.
    hp = keras_tuner.HyperParameters()
    hp.Fixed("rate", 0.0)
    found = tuner(build, tmp_path, "hyperband", hyperparameters=hp)
    trials = search(found, blobs)
    assert len(trainings) == 1
    later = [t for t in trials if t.hyperparameters.values.get("tuner/trial_id") is not None]
    values = later[0].hyperparameters.values
    assert (values["tuner/initial_epoch"], values["tuner/epochs"]) == (1, 3)
    begun = found.load_model(found.oracle.trials[values["tuner/trial_id"]])
    begun.compile(keras.optimizers.Adam(values["learning_rate"]), begun.loss, metrics=["accuracy"])
    history = alone(build, blobs, later[0], found.oracle.seed, 3, 1, model=begun)
    assert later[0].score == pytest.approx(min(history["val_loss"]), rel=1e-4)


def test_the_best_model_has_the_score_of_its_trial(build, blobs, searched):
    best = tuners.completed_trials(searched.tuner)[0]
    model = searched.tuner.get_best_models()[0]
    loss, _ = model.evaluate(*blobs[2], verbose=0)
    assert loss == pytest.approx(best.score, rel=1e-5)
    # Also in a process, or a tuner, that did not search.
    again = tuner(build, searched.folder, project_name="project")
    assert again.oracle.get_best_trials()[0].trial_id == best.trial_id
    kernel = again.get_best_models()[0].get_weights()[0]
    np.testing.assert_array_equal(kernel, model.get_weights()[0])


def test_a_model_without_weights_is_told(build, tmp_path):
    found = tuner(build, tmp_path)
    trial = found.oracle.create_trial("a")
    with pytest.raises(FileNotFoundError, match="No weights of trial 0 in"):
        found.load_model(trial)


def test_executions_are_lanes_and_give_a_mean_and_its_error(
    blobs, tmp_path, build, trainings, made_ahead
):
    draws = iter(range(100))

    def random_start(hp):
        model = build(hp)
        keras.utils.set_random_seed(next(draws))
        model.layers[0].kernel.assign(keras.random.normal((6, 4)))
        return model

    found = tuner(random_start, tmp_path, max_trials=4, executions_per_trial=2)
    trials = search(found, blobs, epochs=2)
    assert trainings == made_ahead == [8]
    for trial in trials:
        values = trial.metrics.get_history("val_loss")[0].value
        assert len(values) == 2
        assert values[0] != values[1]
        assert trial.score == pytest.approx(np.mean(values))
        expected = np.std(values, ddof=1) / np.sqrt(2)
        assert tuners.standard_error(trial, "val_loss") == pytest.approx(expected)


def test_trials_of_other_structure_are_trained_in_other_programs(build, blobs, tmp_path, trainings):
    def with_widths(hp):
        hidden = keras.layers.Dense(hp.Choice("units", [1, 2]))
        model = keras.Sequential([keras.Input((6,)), hidden, keras.layers.Dense(3, "softmax")])
        rate = hp.Float("learning_rate", 0.01, 0.1)
        model.compile(keras.optimizers.SGD(rate), "sparse_categorical_crossentropy")
        return model

    found = tuner(with_widths, tmp_path, max_trials=6)
    assert len(search(found, blobs, epochs=1)) == 6
    assert len(trainings) == 2
    assert found.get_best_models()[0].layers[0].units in (1, 2)


class OwnFunction(keras.Model):
    def __init__(self, rate):
        super().__init__()
        self.dense = keras.layers.Dense(3)

    def call(self, x):
        return self.dense(x)

    def make_train_function(self, force=False):
        return super().make_train_function(force)


def test_what_cannot_be_a_lane_is_trained_one_by_one(blobs, tmp_path, trainings):
    def build(hp):
        model = OwnFunction(hp.Float("rate", 0.0, 1.0))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        rate = hp.Float("learning_rate", 0.01, 0.1)
        model.compile(keras.optimizers.SGD(rate), loss, jit_compile=False)
        return model

    found = tuner(build, tmp_path, max_trials=2)
    assert len(search(found, blobs, epochs=1)) == 2
    assert trainings == []


def test_one_lane_is_a_program_for_all_trials_too(build, blobs, tmp_path, trainings):
    found = tuner(build, tmp_path, max_trials=2, max_lanes=1)
    assert len(search(found, blobs)) == 2
    assert trainings == [1]
    assert found.get_best_models()[0].evaluate(*blobs[2], verbose=0)[0] == pytest.approx(
        found.oracle.get_best_trials()[0].score, rel=1e-5
    )


def test_trials_that_fail_fail_alone(build, blobs, tmp_path, trainings):
    def sometimes(hp):
        rate = hp.Float("rate", 0.0, 0.5)
        if rate > 0.4:
            raise ValueError("too much")
        model = build(hp)
        if rate < 0.1:
            model.layers[0].kernel.assign(np.full((6, 4), np.nan))
        return model

    class Raises(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if float(self.model.optimizer.learning_rate) > 0.01:
                raise RuntimeError("enough")

    found = tuner(sometimes, tmp_path, max_trials=12, max_consecutive_failed_trials=12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        completed = search(found, blobs, callbacks=[Raises()])
    assert len(trainings) == 1
    trials = found.oracle.trials.values()
    assert len(found.oracle.end_order) == len(trials) == 12
    unbuilt = [t for t in trials if t.hyperparameters["rate"] > 0.4]
    assert unbuilt
    assert all(t.status == "FAILED" and "too much" in t.message for t in unbuilt)
    diverged = [t for t in trials if t.hyperparameters["rate"] < 0.1]
    assert diverged
    assert all(t.status == "FAILED" for t in diverged)
    built = [t for t in trials if 0.1 <= t.hyperparameters["rate"] <= 0.4]
    stopped = [t for t in built if t.hyperparameters["learning_rate"] > 0.01]
    assert stopped
    assert all(t.status == "FAILED" and "enough" in t.message for t in stopped)
    others = [t for t in built if t not in stopped]
    assert others
    assert {t.trial_id for t in completed} == {t.trial_id for t in others}
    check_scores(found, completed[:1], build, blobs)


class Own(keras_tuner.HyperModel):
    """Its `fit` chooses the batch size, and makes a score of what it finds after it."""

    def __init__(self, build):
        super().__init__()
        self._build = build

    def build(self, hp):
        return self._build(hp)

    def fit(self, hp, model, x, y, validation_data, **kwargs):
        history = model.fit(x, y, batch_size=16, validation_data=validation_data, **kwargs)
        loss = model.evaluate(*validation_data, verbose=0)[0]
        assert loss == pytest.approx(history.history["val_loss"][-1], rel=1e-4)
        return {"val_loss": loss, "epochs": float(len(history.epoch))}


def test_the_fit_of_a_hypermodel_is_its_own(build, blobs, tmp_path, trainings):
    found = tuner(Own(build), tmp_path, max_trials=2)
    x, y, validation_data = blobs
    found.search(x, y, validation_data=validation_data, epochs=3, verbose=0)
    assert trainings == [2]
    best = found.oracle.get_best_trials()[0]
    assert best.metrics.get_best_value("epochs") == 3.0
    history = alone(build, blobs, best, found.oracle.seed)
    assert best.score == pytest.approx(history["val_loss"][-1], rel=1e-4)


@pytest.mark.long
def test_early_stopping_stops_each_trial_alone(build, blobs, tmp_path):
    lengths = []

    class Length(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            lengths.append(self.params["epochs"])

        def on_epoch_end(self, epoch, logs=None):
            self.last = epoch

        def __deepcopy__(self, memo):
            return Length()

    stop = keras.callbacks.EarlyStopping("val_loss", patience=0)
    found = tuner(build, tmp_path, max_trials=8, max_lanes=4)
    trials = search(found, blobs, epochs=8, callbacks=[stop, Length()])
    assert len(lengths) == 8
    for trial in trials[:2]:
        losses = alone(build, blobs, trial, found.oracle.seed, epochs=8)["val_loss"]
        worse = np.flatnonzero(np.diff(losses) >= 0)
        kept = losses if len(worse) == 0 else losses[: worse[0] + 2]
        assert trial.score == pytest.approx(min(kept), rel=1e-4)


def test_less_memory_means_fewer_lanes(build, blobs, tmp_path, monkeypatch):
    counts = []
    fit = Lanes.fit

    def greedy(self, *args, **kwargs):
        counts.append(len(self))
        if len(self) > 2:
            raise MemoryError("a fake: more than two lanes")
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(Lanes, "fit", greedy)
    found = tuner(build, tmp_path, max_trials=4)
    expected = "4 lanes need more memory than there is; going on with 2"
    with pytest.warns(UserWarning, match=expected) as caught:
        trials = search(found, blobs, epochs=1)
    assert {warning.filename for warning in caught if expected in str(warning.message)} == {
        __file__
    }
    assert counts == [4, 2]
    assert len(trials) == 4


def test_an_error_of_the_program_is_no_error_of_its_trials(build, blobs, tmp_path, monkeypatch):
    def broken(self, *args, **kwargs):
        raise RuntimeError("a fake")

    monkeypatch.setattr(Lanes, "fit", broken)
    found = tuner(build, tmp_path, max_trials=2)
    with pytest.warns(UserWarning, match="2 trials could not be trained together"):
        assert len(search(found, blobs, epochs=1)) == 2


def test_intermediate_results_reach_the_oracle_which_may_stop_a_trial(build, blobs, tmp_path):
    class Strict(keras_tuner.oracles.RandomSearchOracle):
        seen = ()

        def update_trial(self, trial_id, metrics, step=0):
            self.seen += ((trial_id, step),)
            trial = super().update_trial(trial_id, metrics, step)
            if trial_id == "1":
                trial.status = "STOPPED"
            return trial

    oracle = Strict("val_loss", max_trials=3, seed=5)
    found = tuners.VectorizedTuner(oracle, build, directory=tmp_path)
    search(found, blobs)
    assert [step for name, step in oracle.seen if name == "0"][:3] == [0, 1, 2]
    assert [step for name, step in oracle.seen if name == "1"] == [0, 0]
    assert len(tuners.completed_trials(found)) == 3


@pytest.mark.parametrize("value", [0, -1, 1.5, "8"])
def test_max_lanes_is_a_count(value, build, tmp_path):
    with pytest.raises(ValueError, match="`max_lanes`"):
        tuner(build, tmp_path, max_lanes=value)


def test_a_build_that_gives_no_model_is_the_users_error(blobs, tmp_path):
    with pytest.raises(keras_tuner.errors.FatalTypeError, match="must return a Keras model"):
        search(tuner(lambda hp: None, tmp_path), blobs)


def test_the_state_on_disk_is_keras_tuners(build, searched):
    with open(searched.folder / "project" / "trial_0" / "trial.json") as stored:
        trial = json.load(stored)
    assert trial["status"] == "COMPLETED"
    assert [name for name in os.listdir(searched.folder / "project") if name.startswith("lanes-")]
    plain = keras_tuner.RandomSearch(
        build, "val_loss", max_trials=6, directory=searched.folder, project_name="project"
    )
    assert plain.oracle.get_best_trials()[0].score == pytest.approx(
        searched.tuner.oracle.get_best_trials()[0].score
    )


def test_state_is_written_when_trials_begin_and_end_and_not_in_each_epoch(searched):
    assert searched.written.count("trial.json") == 2 * 6
    # All trials begin together, and end together: the state grows with them.
    assert searched.written.count("oracle.json") <= 4
    assert sum(name.startswith("lanes-") for name in searched.written) == 1


@pytest.mark.parametrize(
    ("cls", "kerastuners"),
    [
        (tuners.VectorizedRandomSearch, keras_tuner.RandomSearch),
        (tuners.VectorizedGridSearch, keras_tuner.GridSearch),
        (tuners.VectorizedBayesianOptimization, keras_tuner.BayesianOptimization),
        (tuners.VectorizedHyperband, keras_tuner.Hyperband),
    ],
)
def test_a_search_takes_the_arguments_of_kerastuners(cls, kerastuners):
    mine = inspect.signature(cls).parameters
    theirs = inspect.signature(kerastuners).parameters
    theirs = [name for name in theirs if name != "kwargs"]
    assert list(mine)[: len(theirs)] == theirs  # In the same order.
    tuner = {*inspect.signature(keras_tuner.Tuner).parameters} - {"oracle", "kwargs", "logger"}
    own = {"max_lanes", "folds", "pruner", "jit_compile"}
    assert tuner | own <= set(mine)
    by_name = [mine[name].kind for name in [*own, *tuner - {"hypermodel"}]]
    assert set(by_name) == {inspect.Parameter.KEYWORD_ONLY}
    for name in theirs:
        if name not in ("objective", "hypermodel"):
            assert mine[name].default == inspect.signature(kerastuners).parameters[name].default


def test_arguments_reach_the_oracle_and_the_tuner(build, tmp_path):
    hp = keras_tuner.HyperParameters()
    hp.Float("rate", 0.0, 0.1)
    given = {"seed": 7, "max_retries_per_trial": 2, "max_consecutive_failed_trials": 4}
    of_tuner = {"max_model_size": 10, "executions_per_trial": 2, "max_lanes": 3, "folds": 4}
    for cls, own in [
        (tuners.VectorizedRandomSearch, {"max_trials": 5, "trials_per_structure": 3}),
        (tuners.VectorizedGridSearch, {"max_trials": 5}),
        (
            tuners.VectorizedBayesianOptimization,
            {"num_initial_points": 2, "alpha": 2.0, "beta": 3.0},
        ),
        (tuners.VectorizedHyperband, {"max_epochs": 8, "factor": 2, "hyperband_iterations": 2}),
    ]:
        found = cls(
            build,
            "val_loss",
            hyperparameters=hp.copy(),
            tune_new_entries=False,
            directory=tmp_path,
            project_name=cls.__name__,
            **given,
            **own,
            **of_tuner,
        )
        for name, value in {**given, **own, "tune_new_entries": False}.items():
            assert getattr(found.oracle, name) == value, name
        for name, value in {**of_tuner, "project_name": cls.__name__}.items():
            assert getattr(found, name) == value, name
        assert [one.name for one in found.oracle.get_space().space] == ["rate"]


def test_the_number_of_lanes_follows_memory(build, monkeypatch):
    model = build(keras_tuner.HyperParameters())
    plan = Plan(None, 0, model, model.fit, ((), {}))
    assert _memory.lanes_that_fit(plan) == 128
    each = _memory.lane_bytes(plan.model, 32)
    monkeypatch.setattr(_memory, "free_bytes", lambda: 2 * 24 * each)
    assert _memory.lanes_that_fit(plan) == 16
    monkeypatch.setattr(_memory, "free_bytes", lambda: 1)
    assert _memory.lanes_that_fit(plan) == 1
    # The estimate is of the size of what there is: 8 of each weight, at 4 bytes.
    assert each > 8 * 4 * plan.model.count_params()


def _orders(folder, **arguments):
    """The seed of the batches of each trial, and its score, by its learning rate."""
    seeds = {}

    class Notes(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            seeds[self.model.optimizer.learning_rate.numpy().item()] = self.params["seed"]

    def build(hp):
        dense = keras.layers.Dense(1, kernel_initializer="zeros")
        model = keras.Sequential([keras.Input((3,)), dense])
        rate = hp.Float("rate", 0.01, 0.1)
        model.compile(keras.optimizers.SGD(rate), "mse")
        return model

    tuner = tuners.VectorizedRandomSearch(
        build, "loss", max_trials=6, seed=3, directory=folder, **arguments
    )
    x = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")
    tuner.search(x, x[:, :1], epochs=2, batch_size=8, callbacks=[Notes()], verbose=0)
    return seeds, {
        trial.hyperparameters.get("rate"): trial.score for trial in tuner.oracle.trials.values()
    }


def test_trials_may_have_batches_of_their_own(tmp_path):
    seeds, scores = _orders(tmp_path / "own", batches="own")
    assert len(set(seeds.values())) == 6
    # Of a trial they are the same among fewer, where it takes a lane over.
    again, others = _orders(tmp_path / "fewer", batches="own", max_lanes=2)
    assert again == seeds
    assert others == pytest.approx(scores, rel=1e-5)
    shared, _ = _orders(tmp_path / "shared")
    assert set(shared.values()) == {3}


def test_batches_that_are_read_are_those_of_all(build, blobs, tmp_path):
    x, y, _ = blobs
    found = tuner(build, tmp_path, objective="loss", batches="own")
    with pytest.raises(keras_tuner.errors.FatalValueError, match='`batches` must be "shared"'):
        found.search(x, y, steps_per_epoch=2, verbose=0)
    with pytest.raises(ValueError, match=r"`batches` must be one of .*each"):
        tuner(build, tmp_path, batches="each")
