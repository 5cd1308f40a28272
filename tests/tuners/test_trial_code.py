"""What surrounds the training of a trial: hyperparameters, scores, failures, callbacks, classes."""

import csv
import gc
import os
import subprocess
import sys
import threading
import warnings
import weakref

import keras
import keras_tuner
import numpy as np
import pytest

from kerasreg import tuners

pytestmark = pytest.mark.shares_programs

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(24, 3)).astype("float32")
Y = X[:, :1] * 2


def compiled(model, rate=0.01, loss="mse"):
    model.compile(keras.optimizers.SGD(rate), loss, jit_compile=False)
    return model


def small(rate=0.01, **arguments):
    # A rate that makes no sense makes no numbers.
    begin = keras.initializers.Constant(0.0 if rate < 1 else np.nan)
    dense = keras.layers.Dense(1, kernel_initializer=begin, name="dense")
    return compiled(keras.Sequential([keras.Input((3,)), dense]), rate, **arguments)


def build(hp):
    return small(hp.Float("rate", 0.01, 0.05))


class Fit(keras_tuner.HyperModel):
    """A hypermodel whose `fit` is a function, and which counts its calls."""

    def __init__(self, function, build=build):
        super().__init__()
        self.function, self.of_build, self.calls = function, build, 0

    def build(self, hp):
        return self.of_build(hp)

    def fit(self, hp, model, *args, **kwargs):
        self.calls += 1
        return self.function(hp, model, *args, **kwargs)


def search(
    folder, hypermodel=build, objective="loss", kind=tuners.VectorizedRandomSearch, **arguments
):
    """A search over the small data; returns the tuner."""
    given = {"seed": 1, "directory": folder, "max_trials": 4, **arguments}
    of_search = {
        name: given.pop(name)
        for name in ("epochs", "callbacks", "validation_data", "batch_size")
        if name in given
    }
    tuner = kind(hypermodel, objective, **given)
    tuner.search(X, Y, verbose=0, **{"batch_size": 12, **of_search})
    return tuner


def trials(tuner):
    return [trial for _, trial in sorted(tuner.oracle.trials.items())]


def values(tuner, name):
    return [trial.hyperparameters.values.get(name) for trial in trials(tuner)]


# Hyperparameters.


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (tuners.VectorizedRandomSearch, {}),
        (tuners.VectorizedBayesianOptimization, {"num_initial_points": 2}),
        (tuners.VectorizedGridSearch, {"max_trials": 12}),
        (tuners.VectorizedHyperband, {"max_trials": None, "max_epochs": 2, "factor": 2}),
    ],
)
def test_a_hyperparameter_first_named_in_fit_is_searched(kind, arguments, tmp_path):
    used = []

    def fit(hp, model, x, y, batch_size, **kwargs):
        size = hp.Choice("batch_size", [4, 8, 24])
        history = model.fit(x, y, batch_size=size, **kwargs)
        used.append((size, history.params["steps"]))
        return history

    given = {"max_trials": 8, **arguments}
    if given["max_trials"] is None:
        del given["max_trials"]
        tuner = kind(
            Fit(fit),
            "loss",
            seed=1,
            directory=tmp_path,
            **{name: value for name, value in given.items() if name != "max_trials"},
        )
        tuner.search(X, Y, verbose=0, batch_size=12)
    else:
        tuner = search(tmp_path, Fit(fit), kind=kind, **given)
    assert len(set(values(tuner, "batch_size"))) > 1
    assert all(steps == 24 // size for size, steps in used)
    assert sorted(size for size, _ in used) == sorted(values(tuner, "batch_size"))


def test_hyperparameters_first_named_within_conditions_and_after_the_training_are_searched(
    tmp_path,
):
    def fit(hp, model, *args, **kwargs):
        if hp.Boolean("scaled"):
            with hp.conditional_scope("scaled", [True]):
                hp.Float("scale", 0.5, 2.0)
        history = model.fit(*args, **kwargs)
        return {"loss": history.history["loss"][-1] * hp.Float("late", 0.5, 2.0)}

    tuner = search(tmp_path, Fit(fit), max_trials=8)
    assert len(set(values(tuner, "late"))) == 8
    scaled = [trial.hyperparameters.values for trial in trials(tuner)[1:]]
    assert {"scale" in of for of in scaled if of["scaled"]} == {True}
    assert len({of["scale"] for of in scaled if of["scaled"]}) > 1


# The user's code runs once.


def test_fit_runs_once_and_its_split_is_the_one_that_it_trained_with(tmp_path):
    seen = []

    def fit(hp, model, x, y, **kwargs):
        order = np.random.permutation(len(x))
        train, held = order[:16], order[16:]
        model.fit(x[train], y[train], **kwargs)
        loss = model.evaluate(x[held], y[held], verbose=0)
        weights = model.get_weights()
        seen.append((order.tolist(), loss, weights))
        return float(loss)

    hypermodel = Fit(fit)
    search(tmp_path, hypermodel, max_trials=4, batch_size=16)
    assert hypermodel.calls == 4
    assert len({tuple(order) for order, _, _ in seen}) == 4  # Another split for each trial.
    for order, loss, (kernel, bias) in seen:
        held = order[16:]
        expected = np.mean((X[held] @ kernel + bias - Y[held]) ** 2)
        assert loss == pytest.approx(expected, rel=1e-5)


def test_folds_of_ones_own_are_trained_as_lanes_of_trials(tmp_path, monkeypatch):
    from kerasreg.lanes import Lanes

    lanes, lanes_fit = [], Lanes.fit
    monkeypatch.setattr(
        Lanes, "fit", lambda self, *a, **k: (lanes.append(len(self)), lanes_fit(self, *a, **k))[1]
    )

    def fit(hp, model, x, y, callbacks, **kwargs):
        losses = []
        for fold in range(2):
            copy = compiled(keras.models.clone_model(model), hp.get("rate"))
            rows = np.arange(len(x)) % 2 == fold
            copy.fit(x[~rows], y[~rows], **kwargs)
            losses.append(copy.evaluate(x[rows], y[rows], verbose=0))
        return float(np.mean(losses))

    tuner = search(tmp_path, Fit(fit), max_trials=3)
    assert lanes == [3, 3]  # Each fold of all trials is one program's training.
    assert all(trial.status == "COMPLETED" for trial in trials(tuner))
    with pytest.raises(FileNotFoundError):  # The weights of copies are not the model's.
        tuner.get_best_models()


def test_attributes_of_the_hypermodel_are_the_trials_own_and_counts_are_of_all(tmp_path):
    class Keeps(Fit):
        done, best = 0, None

        def fit(self, hp, model, x, y, **kwargs):
            self.calls += 1
            self.mean = float(hp.get("rate"))
            model.fit(x, y, **kwargs)
            assert self.mean == hp.get("rate")
            self.done += 1
            self.best = min(self.mean, self.best or 1.0)
            return self.mean

    hypermodel = Keeps(None)
    tuner = search(tmp_path, hypermodel, max_trials=3)
    assert hypermodel.calls == hypermodel.done == 3
    assert hypermodel.best == min(values(tuner, "rate"))


def test_what_is_set_for_the_process_around_a_fit_is_the_trials_own(tmp_path, monkeypatch):
    monkeypatch.setenv("KERASREG_TRIAL", "none")
    found = []

    def fit(hp, model, *args, **kwargs):
        name = str(hp.get("rate"))
        with warnings.catch_warnings(record=True) as caught, pytest.MonkeyPatch.context() as patch:
            warnings.simplefilter("always")
            patch.setenv("KERASREG_TRIAL", name)
            policy = keras.config.dtype_policy().name
            model.fit(*args, **kwargs)
            warnings.warn(name, stacklevel=1)
            found.append((os.environ["KERASREG_TRIAL"] == name, [str(w.message) for w in caught]))
            assert keras.config.dtype_policy().name == policy
        return hp.get("rate")

    before = warnings.filters[:]
    tuner = search(tmp_path, Fit(fit), max_trials=3)
    assert found == [(True, [str(rate)]) for rate in values(tuner, "rate")]
    assert os.environ["KERASREG_TRIAL"] == "none"
    assert warnings.filters == before


def test_the_settings_of_keras_are_those_of_the_search(tmp_path):
    keras.config.set_dtype_policy("float64")
    try:
        dtypes = []

        def fit(hp, model, *args, **kwargs):
            dtypes.append((model.layers[0].kernel.dtype, keras.layers.Dense(1).dtype_policy.name))
            return model.fit(*args, **kwargs)

        search(tmp_path, Fit(fit), max_trials=2)
    finally:
        keras.config.set_dtype_policy("float32")
    assert dtypes == [("float64", "float64")] * 2


# Models between their trainings.


def test_the_best_weights_are_those_of_all_trainings_of_a_trial(tmp_path):
    def fit(hp, model, *args, **kwargs):
        model.fit(*args, **kwargs)
        model.optimizer.learning_rate = 0.1  # And on, faster.
        return model.fit(*args, **kwargs)

    tuner = search(tmp_path, Fit(fit), epochs=3)
    best = tuner.oracle.get_best_trials()[0]
    # The loss of an epoch is a mean over its steps; after the last step it is lower.
    first = small().evaluate(X, Y, verbose=0)
    assert tuner.get_best_models()[0].evaluate(X, Y, verbose=0) < best.score < 0.5 * first


@pytest.mark.parametrize("own_data", [False, True])
def test_a_layer_that_build_froze_can_be_trained_in_a_second_fit(own_data, tmp_path):
    import tensorflow as tf

    def frozen(hp):
        base = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="of_base")])
        base.trainable = False
        model = keras.Sequential([keras.Input((3,)), base, keras.layers.Dense(1)])
        return compiled(model, hp.Float("rate", 0.01, 0.05))

    moved = []

    def fit(hp, model, x, y, callbacks, **kwargs):
        base = model.layers[0]
        weights = base.get_weights()[0]
        data = (tf.data.Dataset.from_tensor_slices((x, y)).batch(12),) if own_data else (x, y)
        model.fit(*data, callbacks=callbacks)
        moved.append(bool((base.get_weights()[0] != weights).any()))
        base.trainable = True
        compiled(model, 0.1)
        history = model.fit(*data, callbacks=callbacks)
        moved.append(bool((base.get_weights()[0] != weights).any()))
        return history

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It is told that datasets are trained alone.
        tuner = search(tmp_path, Fit(fit, frozen), max_trials=2)
    assert moved.count(True) == moved.count(False) == 2
    assert all(trial.status == "COMPLETED" for trial in trials(tuner))


def test_a_model_compiled_again_in_fit_has_its_own_loss(tmp_path):
    def named(hp):
        hp.Choice("loss", ["mse", "mae", "huber"])
        return small(0.0)

    def fit(hp, model, *args, **kwargs):
        if hp.get("loss") != "mse":
            compiled(model, 0.0, hp.get("loss"))
        return model.fit(*args, **kwargs)

    tuner = search(tmp_path, Fit(fit, named), kind=tuners.VectorizedGridSearch, max_trials=None)
    for trial in trials(tuner):
        expected = small(0.0, loss=trial.hyperparameters.get("loss")).evaluate(X, Y, verbose=0)
        assert trial.score == pytest.approx(expected, rel=1e-5)


def again(model):
    model.compile(keras.optimizers.Adam(0.5), "mae", jit_compile=False)


def froze(model):
    model.get_layer("dense").trainable = False
    again(model)


def penalized(model):
    dense = model.get_layer("dense")
    dense.kernel_regularizer = dense.kernel.regularizer = keras.regularizers.L2(9.0)
    again(model)


def used(model):
    # The layer is in two models then.
    keras.Sequential([keras.Input((3,)), model.get_layer("dense")])


class Shown(keras.callbacks.Callback):
    """Keeps the numbers of epochs, and what the model is that it is shown."""

    def __init__(self):
        super().__init__()
        self.seen, self.losses = [], []

    def on_epoch_end(self, epoch, logs=None):
        model, dense = self.model, self.model.get_layer("dense")
        # It is assigned, too, to the lane alone.
        model.optimizer.learning_rate = model.optimizer.learning_rate * 0.5
        of_model = type(model.optimizer).__name__, model.loss, len(model.trainable_variables)
        rate = round(float(model.optimizer.learning_rate), 6)
        self.seen.append((*of_model, type(dense.kernel_regularizer).__name__, rate))
        self.losses.append((logs["loss"], logs.get("val_loss", -1.0)))


@pytest.mark.short("froze", "used")
@pytest.mark.parametrize("change", [again, froze, penalized, used])
def test_lanes_go_on_as_they_were_when_the_code_of_the_first_changes_its_model(change, tmp_path):
    def found(kind, folder):
        shown, left = [], []

        def fit(hp, model, *args, callbacks, **kwargs):
            own = Shown()
            shown.append((float(model.optimizer.learning_rate), own))
            is_first = len(shown) == 1
            # The others validate, and have single epochs, only after the first has ended.
            kwargs |= {"epochs": 1 if is_first else 4, "validation_freq": 2}
            history = model.fit(*args, callbacks=[*callbacks, own], **kwargs)
            if is_first:
                change(model)
                of_code = model.optimizer, model.loss, model.get_layer("dense").trainable
                before = model.get_weights()[0]
                model.fit(*args, epochs=2, shuffle=False, verbose=0)
                assert model.optimizer is of_code[0]
                left.append((model, *of_code, int(model.optimizer.iterations)))
                left.append(bool((model.get_weights()[0] != before).any()))
            return history

        tuner = search(
            folder,
            Fit(fit),
            kind=kind,
            validation_data=(X[:8], Y[:8]),
            batch_size=24,
            max_trials=4,
        )
        assert {trial.status for trial in trials(tuner)} == {"COMPLETED"}
        (model, *of_code, iterations), moved = left
        assert [model.optimizer, model.loss, model.get_layer("dense").trainable] == of_code
        shown = sorted(shown, key=lambda of: (len(of[1].seen), of[0]))
        return [one.seen for _, one in shown], [one.losses for _, one in shown], iterations, moved

    expected = found(keras_tuner.RandomSearch, tmp_path / "keras_tuner")
    seen, losses, *left = found(tuners.VectorizedRandomSearch, tmp_path / "kerasreg")
    assert seen == expected[0]
    for mine, theirs in zip(losses, expected[1], strict=True):
        for one, other in zip(mine, theirs, strict=True):
            assert one == pytest.approx(other, rel=1e-4)
    assert left == list(expected[2:])


# The numbers of an epoch.


class Own(keras.callbacks.Callback):
    """Writes a number of its own, which is best at first."""

    def on_epoch_end(self, epoch, logs=None):
        logs["own"] = -float(epoch)


def test_a_number_that_a_callback_writes_decides_on_the_best_weights(tmp_path):
    first = search(tmp_path / "one", epochs=1, max_trials=2)
    tuner = search(
        tmp_path / "three",
        objective=keras_tuner.Objective("own", "max"),
        epochs=3,
        max_trials=2,
        callbacks=[Own()],
    )
    for trial, other in zip(trials(tuner), trials(first), strict=True):
        assert (trial.score, trial.best_step) == (0.0, 0)
        for value, expected in zip(
            tuner.load_model(trial).get_weights(),
            first.load_model(other).get_weights(),
            strict=True,
        ):
            np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_a_number_that_a_callback_writes_is_seen_by_pruners_populations_and_nan_stops(tmp_path):
    optuna = pytest.importorskip("optuna")
    epochs = []

    class Diverges(Own):
        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, logs)
            epochs.append(epoch)
            if epoch == 2:
                logs["loss"] = float("nan")

    objective = keras_tuner.Objective("own", "max")
    search(tmp_path / "nan", objective=objective, epochs=6, max_trials=2, callbacks=[Diverges()])
    assert max(epochs) == 2
    pruned = search(
        tmp_path / "pruned",
        objective=objective,
        epochs=6,
        pruner=optuna.pruners.PatientPruner(None, patience=1),
        callbacks=[Own()],
    )
    assert {trial.status for trial in trials(pruned)} == {"COMPLETED"}
    population = tuners.PopulationBasedTraining(
        build, objective, population=4, directory=tmp_path, seed=1
    )
    population.search(X, Y, epochs=4, verbose=0, callbacks=[Own()])
    assert max(len(population.schedule(trial)) for trial in trials(population)) > 1


def test_an_objective_that_no_epoch_has_ends_the_search_after_the_first(tmp_path):
    epochs = []
    seen = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(epoch))
    for alone in (False, True):
        with pytest.raises(keras_tuner.errors.FatalValueError, match=r"one of \['loss'\]"):
            search(
                tmp_path / str(alone),
                own_step if alone else build,
                objective=keras_tuner.Objective("los", "min"),
                epochs=5,
                callbacks=[seen] if not alone else [],
            )
    assert set(epochs) <= {0}


# Models that train themselves.


def own_step(hp):
    model = build(hp)
    model.train_step = lambda data: keras.Model.train_step(model, data)
    return model


class OwnFit(keras.Sequential):
    def fit(self, x=None, y=None, **kwargs):
        return super().fit(x * 0.0, y, **kwargs)


class OwnEvaluate(keras.Sequential):
    def evaluate(self, x=None, y=None, **kwargs):
        return {"loss": 7.0}


class OwnLoss(keras.Sequential):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return keras.ops.sum(y_pred) * 0.0 + 42.0


@pytest.mark.parametrize(
    ("kind", "told", "objective", "expected"),
    [
        (OwnFit, "its class defines its own `fit`", "loss", float(np.mean(Y**2))),
        (OwnEvaluate, "its class defines its own `evaluate`", "val_loss", 7.0),
        (OwnLoss, None, "loss", 42.0),
    ],
)
def test_what_a_class_defines_of_training_is_what_trains(kind, told, objective, expected, tmp_path):
    def of_class(hp):
        dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
        return compiled(kind([keras.Input((3,)), dense]), hp.Float("rate", 1e-12, 1e-11))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tuner = search(tmp_path, of_class, objective, max_trials=2, validation_data=(X, Y))
    assert [trial.score for trial in trials(tuner)] == pytest.approx([expected] * 2, rel=1e-5)
    messages = [str(one.message) for one in caught if "is trained alone" in str(one.message)]
    assert len(messages) == (told is not None)
    assert told is None or told in messages[0]


def test_a_step_that_an_object_was_given_is_what_trains_and_is_told(tmp_path):
    steps = []

    def given(hp):
        model = build(hp)
        model.train_step = lambda data: steps.append(1) or keras.Model.train_step(model, data)
        return model

    with pytest.warns(UserWarning, match="it was given its own `train_step`"):
        search(tmp_path, given, max_trials=2)
    assert steps


def test_a_sequential_model_without_an_input_is_a_lane_and_is_loaded(tmp_path):
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, x):
            return self.dense(x)

    def unbuilt(hp):
        model = Net() if hp.Choice("kind", ["net", "list"]) == "net" else None
        model = model or keras.Sequential([keras.layers.Dense(2), keras.layers.Dense(1)])
        return compiled(model, hp.Float("rate", 0.01, 0.05))

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        tuner = search(tmp_path, unbuilt, "val_loss", max_trials=4, validation_data=(X, Y))
    for trial in trials(tuner):
        loss = tuner.load_model(trial).evaluate(X, Y, verbose=0)
        assert loss == pytest.approx(trial.score, rel=1e-4)


# Failures.


def test_failures_count_in_the_order_in_which_trials_begin(tmp_path):
    """Three of six diverge, and all end at once: no three in a row."""
    tuner = search(
        tmp_path,
        lambda hp: small(hp.Choice("rate", [0.01, 1e30, 0.02, 1e31, 0.03, 1e32])),
        kind=tuners.VectorizedGridSearch,
        max_trials=None,
        epochs=3,
    )
    assert [trial.status for trial in trials(tuner)] == ["COMPLETED", "FAILED"] * 3


@pytest.mark.parametrize("fails", ["build", "fit", "training"])
def test_after_too_many_failures_lanes_that_run_end_and_the_error_has_the_reasons(fails, tmp_path):
    rates = [0.01, 0.02, 1e30, 1e31, 1e32, 0.03]

    def of_rate(hp):
        rate = hp.Choice("rate", rates)
        if fails == "build" and rate > 1:
            raise ValueError(f"no model for {rate}")
        return small(rate)

    def fit(hp, model, *args, **kwargs):
        if fails == "fit" and hp.get("rate") > 1:
            raise keras_tuner.errors.FailedTrialError("a rate that is too large")
        return model.fit(*args, **kwargs)

    tuner = tuners.VectorizedGridSearch(
        Fit(fit, of_rate) if fails == "fit" else of_rate, "loss", directory=tmp_path, max_lanes=6
    )
    with pytest.raises(RuntimeError, match="Number of consecutive failures") as raised:
        tuner.search(X, Y, epochs=3, verbose=0)
    message = str(raised.value)
    assert "3 failed" in message
    reason = {"build": "no model for", "fit": "too large", "training": "not a number"}[fails]
    assert reason in message
    done = [trial.hyperparameters["rate"] for trial in trials(tuner) if trial.status == "COMPLETED"]
    assert done[:2] == [0.01, 0.02]
    assert tuner.load_model(tuner.oracle.get_best_trials()[0]).built


def test_a_trial_that_is_tried_again_takes_no_weights_of_others(tmp_path):
    failed = []

    def fit(hp, model, *args, **kwargs):
        history = model.fit(*args, **kwargs)
        if not failed:
            failed.append(hp)
            raise ConnectionError("the server did not answer")
        return history

    tuner = search(tmp_path, Fit(fit), max_lanes=2, max_retries_per_trial=2)
    assert {trial.status for trial in trials(tuner)} == {"COMPLETED"}
    for trial in trials(tuner):
        expected = small(trial.hyperparameters["rate"])
        expected.fit(X, Y, batch_size=12, shuffle=False, verbose=0)
        assert tuner.load_model(trial).get_weights()[0].shape == expected.get_weights()[0].shape
        assert tuner.load_model(trial).evaluate(X, Y, verbose=0) < trial.score


# Callbacks that write.


def test_trials_whose_callbacks_write_to_one_file_are_trained_one_after_the_other(tmp_path):
    path = os.fspath(tmp_path / "log.csv")
    with pytest.warns(UserWarning, match="its CSVLogger writes to .*log.csv"):
        search(
            tmp_path,
            epochs=2,
            max_trials=3,
            callbacks=[keras.callbacks.CSVLogger(path, append=True)],
        )
    with open(path) as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1"] * 3


def test_files_of_a_trials_own_are_written_by_lanes(tmp_path):
    def fit(hp, model, *args, callbacks, **kwargs):
        own = keras.callbacks.CSVLogger(os.fspath(tmp_path / f"{hp.get('rate')}.csv"))
        return model.fit(*args, callbacks=[*callbacks, own], **kwargs)

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        tuner = search(tmp_path, Fit(fit), epochs=2, max_trials=3)
    for rate in values(tuner, "rate"):
        with open(tmp_path / f"{rate}.csv") as file:
            assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1"]


@pytest.mark.parametrize(
    "make",
    [
        lambda path: keras.callbacks.ModelCheckpoint(f"{path}/best.keras"),
        lambda path: keras.callbacks.BackupAndRestore(f"{path}/backup"),
        lambda path: keras.callbacks.TensorBoard(f"{path}/board", update_freq=1),
        lambda path: type("Tracker", (Own,), {"__module__": "mlflow.tensorflow"})(),
    ],
)
def test_callbacks_of_one_place_are_told(make, tmp_path):
    with pytest.warns(UserWarning, match="trained alone by Keras.* writes to"):
        tuner = search(tmp_path, max_trials=2, callbacks=[make(tmp_path)])
    assert {trial.status for trial in trials(tuner)} == {"COMPLETED"}


def test_a_callback_that_predicts_leaves_lanes_as_they_are(tmp_path):
    class Predicts(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.predict(X[:4], verbose=0)
            logs["own"] = float(self.model.evaluate(X[:4], Y[:4], verbose=0))

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        tuner = search(
            tmp_path,
            objective=keras_tuner.Objective("own", "min"),
            epochs=4,
            max_trials=4,
            max_lanes=2,
            callbacks=[Predicts(), keras.callbacks.EarlyStopping("loss", patience=1)],
        )
    for trial in trials(tuner):
        loss = tuner.load_model(trial).evaluate(X[:4], Y[:4], verbose=0)
        assert loss == pytest.approx(trial.score, rel=1e-4)


# Other code of a trial.


def test_a_tuner_with_its_own_run_trial_keeps_the_epochs_of_its_rounds_and_lanes(tmp_path):
    class Mine(tuners.VectorizedHyperband):
        def run_trial(self, trial, *args, **kwargs):
            kwargs["batch_size"] = trial.hyperparameters.Choice("batch_size", [8, 12])
            return super().run_trial(trial, *args, **kwargs)

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        tuner = Mine(build, "loss", max_epochs=4, factor=2, directory=tmp_path, seed=1)
        tuner.search(X, Y, verbose=0)
    for trial in trials(tuner):
        of = trial.hyperparameters.values
        assert trial.status == "COMPLETED"
        assert trial.best_step < of["tuner/epochs"] - of["tuner/initial_epoch"]
    assert len(set(values(tuner, "batch_size"))) == 2
    with pytest.raises(ValueError, match="`hypermodel` must be given"):
        tuners.VectorizedRandomSearch(None, "loss", directory=tmp_path)


def test_a_tuner_whose_run_trial_is_all_needs_no_hypermodel(tmp_path):
    class Parabola(tuners.VectorizedRandomSearch):
        def run_trial(self, trial):
            x = trial.hyperparameters.Float("x", -1.0, 1.0)
            return [{"loss": x**2}, {"loss": x**2 + 2.0}]

    tuner = Parabola(
        objective=keras_tuner.Objective("loss", "min"), max_trials=5, directory=tmp_path, seed=1
    )
    tuner.search()
    for trial in trials(tuner)[1:]:
        assert trial.score == pytest.approx(trial.hyperparameters["x"] ** 2 + 1.0)


def test_methods_that_were_given_to_the_tuner_itself_are_its_own(tmp_path):
    called = []

    def made(name, **arguments):
        tuner = tuners.VectorizedRandomSearch(
            build, "loss", max_trials=2, directory=tmp_path, project_name=name, seed=1, **arguments
        )
        own = getattr(tuner, name)

        def method(*args, **kwargs):
            called.append(name)
            return own(*args, **kwargs)

        setattr(tuner, name, method)
        tuner.search(X, Y, epochs=2, verbose=0)
        return tuner

    for name in ("run_trial", "build_model", "_build_and_fit_model", "on_epoch_end"):
        called.clear()
        tuner = made(name)
        calls = 4 if name == "on_epoch_end" else 2
        assert called == [name] * calls, name
        assert {trial.status for trial in trials(tuner)} == {"COMPLETED"}


def test_a_tuner_that_reports_itself_is_warned_and_one_that_returns_nothing_is_told(tmp_path):
    class Reports(tuners.VectorizedRandomSearch):
        def run_trial(self, trial, *args, **kwargs):
            x = trial.hyperparameters.Float("x", -1.0, 1.0)
            self.oracle.update_trial(trial.trial_id, {"loss": x**2})

    class Forgets(tuners.VectorizedRandomSearch):
        def run_trial(self, trial, *args, **kwargs):
            super().run_trial(trial, *args, **kwargs)

    objective = keras_tuner.Objective("loss", "min")
    tuner = Reports(None, objective, max_trials=3, directory=tmp_path / "reports", seed=1)
    with pytest.warns(DeprecationWarning, match="Please remove the call"):
        tuner.search()
    assert [t.score for t in trials(tuner)] == [t.hyperparameters["x"] ** 2 for t in trials(tuner)]
    with pytest.raises(keras_tuner.errors.FatalTypeError, match="None"):
        search(tmp_path / "forgets", kind=Forgets)


def test_a_loop_of_ones_own_is_recorded_trial_by_trial_and_keeps_its_best_weights(tmp_path):
    counts = []

    def fit(hp, model, x, y, callbacks, **kwargs):
        counts.append(sum(t.status == "COMPLETED" for t in tuner.oracle.trials.values()))
        if len(counts) == 4:
            raise KeyboardInterrupt
        for callback in callbacks:
            callback.set_model(model)
        for epoch in range(3):
            loss = float(np.ravel(model.train_on_batch(x, y))[0])
            for callback in callbacks:
                # The first epoch is the best.
                callback.on_epoch_end(epoch, {"own": float(epoch)})
            if epoch == 0:
                model.first = [weight.copy() for weight in model.get_weights()]
        firsts.append(model.first)
        return {"own": loss}

    firsts = []
    tuner = tuners.VectorizedRandomSearch(
        Fit(fit), keras_tuner.Objective("own", "min"), max_trials=6, directory=tmp_path, seed=1
    )
    with pytest.raises(KeyboardInterrupt):
        tuner.search(X, Y, verbose=0)
    assert counts == [0, 1, 2, 3]
    for trial, first in zip(trials(tuner)[:3], firsts, strict=True):
        for value, expected in zip(tuner.load_model(trial).get_weights(), first, strict=True):
            np.testing.assert_array_equal(value, expected)


def test_trials_that_share_no_data_do_not_wait_for_each_other(tmp_path):
    waiting = []

    def fit(hp, model, x, y, **kwargs):
        rows = np.random.permutation(len(x))
        waiting.append(sum(t.status == "RUNNING" for t in tuner.oracle.trials.values()))
        return model.fit(x[rows], y[rows], **kwargs)

    tuner = tuners.VectorizedRandomSearch(
        Fit(fit), "loss", max_trials=14, directory=tmp_path, seed=1
    )
    tuner.search(X, Y, verbose=0)
    assert max(waiting) <= 8


def test_data_and_callbacks_of_trials_that_ended_are_not_held(tmp_path):
    held, alive = [], []

    class Holds(keras.callbacks.Callback):
        def __init__(self, data):
            super().__init__()
            self.data = data

    def fit(hp, model, x, y, callbacks, **kwargs):
        gc.collect()
        alive.append(sum(reference() is not None for reference in held))
        scaled = x * np.float32(hp.get("rate"))
        callback = Holds(scaled)
        held.extend([weakref.ref(scaled), weakref.ref(callback)])
        return model.fit(scaled, y, callbacks=[*callbacks, callback], **kwargs)

    search(tmp_path, Fit(fit), max_trials=10, max_lanes=2)
    # Of those that run, and of the last that ended.
    assert max(alive) <= 2 * 4


def test_threads_end_with_the_search(tmp_path):
    entered = []

    def fit(hp, model, *args, **kwargs):
        entered.append("in")
        try:
            return model.fit(*args, **kwargs)
        finally:
            entered.append("out")

    class Breaks(keras_tuner.Objective):
        pass

    def broken(hp):
        if len(entered) == 3:
            return "no model"
        return build(hp)

    with pytest.raises(keras_tuner.errors.FatalTypeError):
        search(tmp_path, Fit(fit, broken), max_trials=6)
    assert entered.count("in") == entered.count("out") == 3
    assert not [t for t in threading.enumerate() if t.name.startswith("kerasreg-trial")]


_INTERRUPTED = """
import os, signal, sys, keras, keras_tuner, numpy as np
from kerasreg import tuners
# A shell starts what runs in its background with interrupts ignored, and so its children.
signal.signal(signal.SIGINT, signal.default_int_handler)
handles = sys.argv[1] == "handles"
x = np.ones((24, 3), "float32")
class Model(keras_tuner.HyperModel):
    def build(self, hp):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(hp.Float("rate", 0.01, 0.02)), "mse")
        return model
    def fit(self, hp, model, *args, **kwargs):
        try:
            return model.fit(*args, **kwargs)
        except KeyboardInterrupt:
            print("interrupted", int(model.optimizer.iterations) > 0)
            if not handles:
                raise
            return 1.0
        finally:
            print("left")
class Interrupts(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1 and not sent:
            sent.append(1)
            os.kill(os.getpid(), signal.SIGINT)
    def __deepcopy__(self, memory):
        return Interrupts()
sent = []
tuner = tuners.VectorizedRandomSearch(
    Model(), keras_tuner.Objective("loss", "min"), max_trials=3, directory=sys.argv[2], max_lanes=3)
try:
    tuner.search(x, x[:, :1], epochs=4, verbose=0, callbacks=[Interrupts()])
except KeyboardInterrupt:
    print("search interrupted")
print(sorted(trial.status for trial in tuner.oracle.trials.values()))
"""


@pytest.mark.long
@pytest.mark.parametrize("handles", [False, True])
def test_an_interrupt_is_raised_where_the_code_of_a_trial_rests(handles, tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED, "handles" if handles else "raises", tmp_path],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = ran.stdout.splitlines()
    assert lines.count("interrupted True") == lines.count("left") == 3
    assert ("search interrupted" in lines) is not handles
    assert lines[-1] == str(["COMPLETED" if handles else "RUNNING"] * 3)


def test_weights_of_classes_that_a_search_tries_are_values_of_lanes(tmp_path):
    classes = (Y[:, 0] > 0).astype("int64")

    def fit(hp, model, x, y, **given):
        weight = {0: 1.0, 1: hp.Float("weight", 0.1, 9.0)}
        return model.fit(x, classes, class_weight=weight, shuffle=False, **given)

    found, expected = (
        search(tmp_path / kind.__name__, Fit(fit), kind=kind, epochs=2)
        for kind in (tuners.VectorizedRandomSearch, keras_tuner.RandomSearch)
    )
    assert [row.trials for row in found.lane_report()] == [4]
    assert len({trial.hyperparameters.get("weight") for trial in found.oracle.trials.values()}) == 4
    for name, trial in expected.oracle.trials.items():
        mine = next(
            of
            for of in found.oracle.trials.values()
            if of.hyperparameters.values == trial.hyperparameters.values
        )
        assert mine.score == pytest.approx(trial.score, rel=1e-4), name
