"""Each question about KerasTuner's insides, by the name of the function that answers it."""

import os
import socket

import keras
import keras_tuner
import numpy as np
import pytest

from kerasreg._keras import keras_tuner_internals as internals

OBJECTIVE = keras_tuner.Objective("val_loss", "min")


def build(hp):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(hp.Float("rate", 0.0, 1.0)), "mse")
    return model


def random_search(folder):
    """A new random search of three trials."""
    tuner = keras_tuner.RandomSearch(
        build,
        OBJECTIVE,
        max_trials=3,
        seed=1,
        directory=folder,
        project_name="project",
        overwrite=True,
    )
    tuner.oracle.verbose = 0
    return tuner


@pytest.fixture
def tuner(tmp_path):
    return random_search(tmp_path)


def grid_oracle(folder):
    """The oracle of a new grid search with three points."""

    class BlackBox(keras_tuner.GridSearch):
        def run_trial(self, trial):
            return 0.0

    hp = keras_tuner.HyperParameters()
    hp.Choice("x", [1, 2, 3])
    tuner = BlackBox(objective=OBJECTIVE, hyperparameters=hp, directory=folder, overwrite=True)
    tuner.oracle.verbose = 0
    return tuner.oracle


def history(losses):
    found = keras.callbacks.History()
    found.history = {"val_loss": losses, "loss": [2 * loss for loss in losses]}
    return found


def test_callbacks_of_execution(tuner, tmp_path):
    trial = tuner.oracle.create_trial("a")
    stop = keras.callbacks.EarlyStopping(patience=3)
    board = keras.callbacks.TensorBoard(str(tmp_path / "logs"))
    copied, of_execution, *_ = internals.callbacks_of_execution(tuner, [stop, board], trial, 2)
    assert copied is not stop
    assert copied.patience == 3
    assert board.log_dir == str(tmp_path / "logs")
    assert of_execution.log_dir == str(tmp_path / "logs" / "0" / "execution2")


def test_callbacks_of_execution_must_be_copied(tuner):
    class Single(keras.callbacks.Callback):
        def __deepcopy__(self, memo):
            raise TypeError

    with pytest.raises(keras_tuner.errors.FatalValueError, match="deep-copyable"):
        internals.callbacks_of_execution(tuner, [Single()], None, 0)


def test_hooks_callback(tuner):
    calls = []
    tuner.on_epoch_end = lambda trial, model, epoch, logs=None: calls.append((trial, epoch, logs))
    internals.hooks_callback(tuner, "trial").on_epoch_end(4, {"loss": 1.0})
    assert calls == [("trial", 4, {"loss": 1.0})]


def test_best_epoch_callback(tmp_path):
    path = str(tmp_path / "best.weights.h5")
    model = build(keras_tuner.HyperParameters())
    callback = internals.best_epoch_callback(OBJECTIVE, path)
    callback.set_model(model)
    for epoch, loss in enumerate([3.0, 1.0, 2.0]):
        model.layers[0].bias.assign([epoch])
        callback.on_epoch_end(epoch, {"val_loss": loss})
    model.load_weights(path)
    assert float(model.layers[0].bias[0]) == 1.0


def test_checkpoint_path(tuner, tmp_path):
    path = internals.checkpoint_path(tuner, "7")
    assert os.path.dirname(path) == str(tmp_path / "project" / "trial_7")
    assert path.endswith(".weights.h5")


def test_build_hypermodel(tuner):
    tuner.loss = "mae"
    model = internals.build_hypermodel(tuner, keras_tuner.HyperParameters())
    assert (model.loss, model.layers[0].units) == ("mae", 1)


def test_explore_space(tmp_path):
    class Conditional(keras_tuner.HyperModel):
        def build(self, hp):
            kind = hp.Choice("kind", ["linear", "deep"])
            with hp.conditional_scope("kind", ["deep"]):
                if kind == "deep":
                    hp.Int("layers", 1, 3)

    tuner = keras_tuner.RandomSearch(Conditional(), OBJECTIVE, directory=tmp_path)
    tuner.oracle.hyperparameters = keras_tuner.HyperParameters()
    internals.explore_space(tuner)
    assert [hp.name for hp in tuner.oracle.get_space().space] == ["kind", "layers"]


def test_check_result():
    internals.check_result(history([1.0]), OBJECTIVE)
    with pytest.raises(keras_tuner.errors.FatalTypeError, match=r"HyperModel\.fit\(\) is None"):
        internals.check_result(None, OBJECTIVE)


def test_metrics_of_result():
    found = internals.metrics_of_result(history([3.0, 1.0, 2.0]), OBJECTIVE)
    assert found == {"val_loss": 1.0, "loss": 2.0}


def test_best_step_of_results():
    results = [history([3.0, 1.0, 2.0]), history([5.0, 4.0, 3.0, 2.0])]
    assert internals.best_step_of_results(results, OBJECTIVE) == 2


def test_hyperband_trials(tmp_path):
    class Count(keras_tuner.Hyperband):
        ran = 0

        def run_trial(self, trial, *args, **kwargs):
            self.ran += 1
            return 1.0

    hp = keras_tuner.HyperParameters()
    hp.Float("x", 0.0, 1.0)
    hyperband = Count(
        objective=OBJECTIVE,
        hyperparameters=hp,
        max_epochs=9,
        factor=3,
        directory=tmp_path,
        overwrite=True,
    )
    hyperband.search(verbose=0)
    assert internals.hyperband_trials(hyperband.oracle) == hyperband.ran


def test_failures_uncounted(tuner):
    tuner.oracle.max_consecutive_failed_trials = 1

    def fail():
        trial = tuner.oracle.create_trial("a")
        trial.status = "FAILED"
        tuner.oracle.end_trial(trial)

    with internals.failures_uncounted(tuner.oracle):
        fail()
    with pytest.raises(RuntimeError, match="consecutive failures"):
        fail()


def test_write_build_config(tuner):
    model = keras.Sequential([keras.layers.Dense(2)])
    model.build((None, 3))
    os.makedirs(tuner.get_trial_dir("0"), exist_ok=True)
    internals.write_build_config(tuner, "0", model)
    model.save_weights(internals.checkpoint_path(tuner, "0"))
    tuner.hypermodel.build = lambda hp: keras.Sequential([keras.layers.Dense(2)])
    trial = keras_tuner.engine.trial.Trial(keras_tuner.HyperParameters(), "0")
    assert tuner.load_model(trial).layers[0].kernel.shape == (3, 2)


class _Sum(keras.Model):
    """A subclass, which takes one tensor or several."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(2)

    def call(self, x):
        return self.dense(keras.ops.concatenate(x, axis=1) if isinstance(x, list) else x)


def test_build_as_trained(tuner):
    model = keras.Sequential([keras.layers.Dense(2)])
    model.build((None, 3))
    internals.write_build_config(tuner, "0", model)
    again = keras.Sequential([keras.layers.Dense(2)])
    internals.build_as_trained(tuner, "0", again)
    assert again.layers[0].kernel.shape == (3, 2)
    assert again.built is True
    # As Keras wants it for an export: a subclass that was called.
    for given in (np.ones((2, 3)), [np.ones((2, 3)), np.ones((2, 1))]):
        model = _Sum()
        model(given)
        internals.write_build_config(tuner, "1", model)
        again = _Sum()
        internals.build_as_trained(tuner, "1", again)
        assert again.built is True
        assert [tuple(one.shape) for one in again.weights] == [
            tuple(one.shape) for one in model.weights
        ]
        assert again(given).shape == (2, 2)


def test_build_config_path(tuner):
    model = keras.Sequential([keras.layers.Dense(2)])
    model.build((None, 3))
    path = internals.build_config_path(tuner, "0")
    assert not os.path.exists(path)
    internals.write_build_config(tuner, "0", model)
    assert os.path.exists(path)


class _BuildsAndFits(keras_tuner.RandomSearch):
    def _build_and_fit_model(self, trial, *args, **kwargs):
        return trial, args, kwargs


def test_has_own_build_and_fit(tuner, tmp_path):
    own = _BuildsAndFits(build, OBJECTIVE, directory=tmp_path, project_name="own")
    assert internals.has_own_build_and_fit(own) is True
    assert internals.has_own_build_and_fit(tuner) is False
    tuner._build_and_fit_model = lambda trial, *args, **kwargs: {"loss": 1.0}
    assert internals.has_own_build_and_fit(tuner) is True


def test_build_and_fit(tmp_path):
    own = _BuildsAndFits(build, OBJECTIVE, directory=tmp_path, project_name="own")
    expected = ("trial", (1,), {"epochs": 2})
    assert internals.build_and_fit(own, "trial", (1,), {"epochs": 2}) == expected


def test_oracle_path(tuner, tmp_path):
    tuner.oracle.save()
    assert internals.oracle_path(tuner.oracle) == str(tmp_path / "project" / "oracle.json")
    assert os.path.exists(internals.oracle_path(tuner.oracle))


def test_trial_path(tuner, tmp_path):
    trial = tuner.oracle.create_trial("a")
    path = internals.trial_path(tuner.oracle, trial.trial_id)
    assert path == str(tmp_path / "project" / "trial_0" / "trial.json")
    assert os.path.exists(path)


def test_tuner_path(tuner, tmp_path):
    tuner.save()
    assert internals.tuner_path(tuner) == str(tmp_path / "project" / "tuner0.json")
    assert os.path.exists(internals.tuner_path(tuner))


def test_write_state_by(tmp_path):
    tuner, calls = random_search(tmp_path), []
    internals.write_state_by(
        tuner,
        lambda: calls.append("oracle"),
        lambda trial: calls.append(trial.trial_id),
        lambda: calls.append("tuner"),
    )
    trial = tuner.oracle.create_trial("a")
    assert calls == ["0", "oracle"]
    trial.status = "FAILED"
    tuner.on_trial_end(trial)
    assert calls == ["0", "oracle", "0", "oracle", "tuner"]
    assert not os.path.exists(internals.oracle_path(tuner.oracle))


def test_trials_in_folder(tuner):
    assert internals.trials_in_folder(tuner.oracle) == {}
    trial = tuner.oracle.create_trial("a")
    os.mkdir(os.path.join(tuner.project_dir, "trial_without_a_file"))
    (found,) = internals.trials_in_folder(tuner.oracle).values()
    assert found.hyperparameters.values == trial.hyperparameters.values


def test_trials_in_folder_that_cannot_be_read(tuner):
    trial = tuner.oracle.create_trial("a")
    path = internals.trial_path(tuner.oracle, trial.trial_id)
    with open(path) as file:
        whole = file.read()
    for content in ("", whole[:50], "[1]", '{"some": "thing"}', whole.replace('"0', '"1')):
        with open(path, "w") as file:
            file.write(content)
        with pytest.raises(RuntimeError, match=r"trial\.json' is not the state of a search"):
            internals.trials_in_folder(tuner.oracle)


def test_check_trials(tuner):
    trial = tuner.oracle.create_trial("a")
    internals.check_trials(tuner.oracle, [trial.trial_id])
    with pytest.raises(RuntimeError, match=r"trial_7.trial\.json' is missing"):
        internals.check_trials(tuner.oracle, [trial.trial_id, "7"])


def test_reload_from_any_folder(tmp_path):
    oracle = keras_tuner.oracles.RandomSearchOracle(OBJECTIVE, seed=1)
    oracle._set_project_dir(tmp_path, "project[1]")
    trial = oracle.create_trial("a")
    oracle.save()
    again = keras_tuner.oracles.RandomSearchOracle(OBJECTIVE, seed=1)
    again._set_project_dir(tmp_path, "project[1]")
    # KerasTuner itself finds no trial, and then misses the one that was running.
    with pytest.raises(RuntimeError, match="Error reloading"):
        again.reload()
    internals.reload_from_any_folder(again)
    again.reload()
    assert list(again.trials) == [trial.trial_id]
    assert internals.retry_queue(again) == [trial.trial_id]


def test_retry_queue(tuner):
    trial = tuner.oracle.create_trial("a")
    internals.retry_queue(tuner.oracle).append(trial.trial_id)
    assert tuner.oracle.create_trial("b") is trial
    assert internals.retry_queue(tuner.oracle) == []


def test_queue_again(tuner):
    trial = tuner.oracle.create_trial("a")
    trial.metrics.register("loss", "min")
    internals.queue_again(tuner.oracle, trial.trial_id)
    assert tuner.oracle.create_trial("b") is trial
    assert not trial.metrics.exists("loss")


def test_record_end(tuner):
    trial = tuner.oracle.create_trial("a")
    trial.hyperparameters.Float("discovered", 0.0, 1.0)
    internals.record_end(tuner.oracle, trial)
    assert tuner.oracle.end_order == ["0"]
    assert "discovered" in {hp.name for hp in tuner.oracle.get_space().space}
    assert internals.was_tried(tuner.oracle, trial.hyperparameters.values)


def test_restore_grid(tmp_path):
    grid = grid_oracle(tmp_path)
    for place in "ab":
        trial = grid.create_trial(place)
        trial.status = "COMPLETED"
        grid.update_trial(trial.trial_id, {"val_loss": 0.0})
        grid.end_trial(trial)
    other = keras_tuner.oracles.GridSearchOracle(OBJECTIVE, hyperparameters=grid.get_space())
    other.trials, other.start_order = dict(grid.trials), list(grid.start_order)
    other.end_order = list(grid.end_order)
    assert other.populate_space("2")["status"] == "STOPPED"  # It knows of no point.
    internals.restore_grid(other)
    assert other.populate_space("2") == {"status": "RUNNING", "values": {"x": 3}}
    other.trials["2"] = keras_tuner.engine.trial.Trial(other.get_space(), "2")
    assert other.populate_space("3")["status"] == "STOPPED"


def test_continue_grid_after(tmp_path):
    grid = grid_oracle(tmp_path)
    trials = [grid.create_trial(place) for place in "ab"]
    assert [trial.hyperparameters["x"] for trial in trials] == [1, 2]
    assert grid.create_trial("c").status == "IDLE"  # For the result of the second.
    internals.continue_grid_after(grid, trials[1].trial_id)
    assert grid.create_trial("d").hyperparameters["x"] == 3


def test_compare_with_running(tmp_path):
    grid = grid_oracle(tmp_path)
    first = grid.create_trial("a")
    internals.continue_grid_after(grid, first.trial_id)
    grid.create_trial("b")
    # Only the first one has ended, and has brought a hyperparameter.
    first.hyperparameters.Choice("brought", ["p", "q"])
    first.status = "COMPLETED"
    grid.update_trial(first.trial_id, {"val_loss": 0.0})
    grid.end_trial(first)
    running = {"x": 1}
    with pytest.raises(KeyError):
        grid._compare({"x": 1, "brought": "q"}, running)
    internals.compare_with_running(grid)
    assert grid._compare({"x": 1, "brought": "q"}, running) == 1
    assert grid._compare({"x": 1, "brought": "p"}, running) == 0
    assert grid.create_trial("c").hyperparameters.values == {"x": 1, "brought": "q"}


def test_wait_for_new_hyperparameters(tmp_path):
    grid = grid_oracle(tmp_path)
    trials = [grid.create_trial(place) for place in "ab"]
    internals.continue_grid_after(grid, trials[1].trial_id)
    trials[0].hyperparameters.Choice("brought", ["p", "q"])
    grid.update_space(trials[0].hyperparameters)
    internals.wait_for_new_hyperparameters(grid)
    assert grid.populate_space("2") == {"status": "IDLE", "values": None}


def test_record_metrics_does_what_update_trial_does(tmp_path):
    objective = keras_tuner.Objective("val_score", "max")
    oracle = keras_tuner.oracles.RandomSearchOracle(objective, max_trials=2, seed=1)
    oracle._set_project_dir(tmp_path, "two")
    oracle.hyperparameters.Float("x", 0.0, 1.0)
    one, other = (oracle.create_trial(name) for name in ("a", "b"))
    for step, value in enumerate([1.0, float("nan"), 3.0, 2.0]):
        metrics = {"val_score": value, "loss": np.float32(-value)}
        oracle.update_trial(one.trial_id, metrics, step=step)
        for name in [name for name in metrics if not other.metrics.exists(name)]:
            other.metrics.register(name, one.metrics.get_direction(name))
        internals.record_metrics(oracle, other, metrics, step)
    internals.record_metrics(oracle, other, metrics, step)
    oracle.update_trial(one.trial_id, metrics, step=step)
    assert repr(other.metrics.get_config()) == repr(one.metrics.get_config())
    with pytest.raises(ValueError, match="`metrics` must be registered"):
        internals.record_metrics(oracle, other, {**metrics, "more": 1.0}, 0)
    with pytest.raises(ValueError, match="Objective value missing"):
        internals.record_metrics(oracle, other, {"loss": 1.0}, 0)


def test_next_seed(tuner):
    first = internals.next_seed(tuner.oracle)
    assert internals.next_seed(tuner.oracle) == first + 1
    assert tuner.oracle.get_state()["seed_state"] == first + 2


def test_was_tried(tuner):
    values = tuner.oracle.create_trial("a").hyperparameters.values
    assert internals.was_tried(tuner.oracle, values)
    assert internals.was_tried(tuner.oracle, {"rate": 2.0}) is False


def test_grid_size(tuner):
    hp = keras_tuner.HyperParameters()
    hp.Float("x", 0.0, 1.0, step=0.3)
    assert internals.grid_size(hp.space[0]) == 4


def test_grid_value(tuner):
    hp = keras_tuner.HyperParameters()
    hp.Int("n", 1, 100, step=3, sampling="log")
    found = [internals.grid_value(hp.space[0], i) for i in range(internals.grid_size(hp.space[0]))]
    assert found == [1, 3, 9, 27, 81]


def test_most_collisions(tmp_path):
    hp = keras_tuner.HyperParameters()
    hp.Choice("x", [1])
    oracle = keras_tuner.oracles.RandomSearchOracle(OBJECTIVE, 5, seed=1, hyperparameters=hp)
    assert internals.most_collisions(oracle) > 1
    before = oracle.get_state()["seed_state"]
    assert oracle.populate_space("0")["status"] == "RUNNING"
    oracle.was_asked = []

    def tried(values):
        oracle.was_asked.append(values)
        return True

    oracle._duplicate = tried
    assert oracle.populate_space("1")["status"] == "STOPPED"
    assert len(oracle.was_asked) == internals.most_collisions(oracle) + 1
    assert oracle.get_state()["seed_state"] == before + 1 + len(oracle.was_asked)


def test_the_hooks_that_the_tuners_extend_are_called_by_kerastuner(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(
        keras_tuner.Tuner, "_populate_initial_space", lambda self: calls.append("space")
    )
    keras_tuner.RandomSearch(build, OBJECTIVE, directory=tmp_path)
    assert calls == ["space"]


def test_a_name_that_is_gone_is_told(tuner, monkeypatch):
    monkeypatch.delattr(keras_tuner.Oracle, "_save_trial")
    with pytest.raises(RuntimeError, match=r"has no `_save_trial` in RandomSearchOracle"):
        internals.write_state_by(tuner, None, None, None)
    assert "save" not in vars(tuner)


def test_reading_values_are_told_and_changed():
    hp, seen = keras_tuner.HyperParameters(), []

    def read(name, value):
        seen.append((name, value))
        return value if value is None else value + 1

    with internals.reading_values(hp, read):
        assert hp.Int("a", 1, 5) == 2
        assert hp["a"] == 2
        with hp.name_scope("of"):
            assert hp.Float("b", 0.0, 1.0, default=0.5) == 1.5
            assert hp.get("b") == 1.5
        with hp.conditional_scope("a", [4]):
            assert hp.Int("c", 1, 5) is None
    assert seen == [("a", 1), ("a", 1), ("of/b", 0.5), ("of/b", 0.5), ("c", None)]
    assert hp.get("a") == 1


def test_project_folder_is_where_the_state_is(tuner):
    folder = internals.project_folder(tuner.oracle)
    assert os.path.dirname(internals.oracle_path(tuner.oracle)) == folder == tuner.project_dir


def test_set_project(tuner, tmp_path):
    internals.set_project(tuner.oracle, str(tmp_path), "other")
    assert internals.oracle_path(tuner.oracle) == str(tmp_path / "other" / "oracle.json")


def test_begin_trial_does_what_create_trial_does(tmp_path):
    """But for the id, which is another one's."""
    drawn, given = random_search(tmp_path / "a").oracle, random_search(tmp_path / "b").oracle
    trial = drawn.create_trial("t")
    own = keras_tuner.engine.trial.Trial(given.get_space(), "0007")
    own.hyperparameters.values = dict(trial.hyperparameters.values)
    for _ in range(2):  # The second time it is tried again.
        internals.begin_trial(given, "t", own)
    assert given.trials == {"0007": own}
    assert given.ongoing_trials == {"t": own}
    assert given.start_order == ["0007"]
    assert internals.was_tried(given, trial.hyperparameters.values)
    state = keras_tuner.engine.trial.Trial.load(internals.trial_path(given, "0007")).get_state()
    assert state == own.get_state()


def test_run_counts_are_the_oracles_own(tuner):
    oracle = tuner.oracle
    oracle.max_retries_per_trial = 2
    trial = oracle.create_trial("t")
    internals.run_counts(oracle)[trial.trial_id] = 1
    for status in ("INVALID", "FAILED"):
        assert internals.run_counts(oracle)[trial.trial_id] == (1 if status == "INVALID" else 2)
        trial.status = "INVALID"
        oracle.end_trial(trial)
        assert trial.status == status


def test_metrics_of_result_and_check_result_of_several_objectives():
    """A dictionary need not have their sum, which KerasTuner's score is."""
    several = keras_tuner.Oracle(
        [keras_tuner.Objective("accuracy", "max"), keras_tuner.Objective("bytes", "min")]
    ).objective
    result = {"accuracy": 0.75, "bytes": 100.0, "other": 1.0}
    internals.check_result([result, dict(result)], several)
    assert internals.metrics_of_result(result, several) == {**result, several.name: 99.25}
    with pytest.raises(keras_tuner.errors.FatalError):
        internals.check_result([result, {"accuracy": 0.75}], several)


def take_part(monkeypatch, name):
    """Makes the process a chief or a worker, at an address that is free."""
    with socket.socket() as at:
        at.bind(("127.0.0.1", 0))
        port = at.getsockname()[1]
    monkeypatch.setenv("KERASTUNER_TUNER_ID", name)
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(port))
    return port


def test_parallel_role(monkeypatch):
    assert internals.parallel_role() is None
    for name, role in (("chief", "chief"), ("worker1", "worker")):
        take_part(monkeypatch, name)
        assert internals.parallel_role() == role


def test_no_chief_makes_tuners_that_search_alone(monkeypatch, tmp_path):
    given = keras_tuner.oracles.RandomSearchOracle("val_loss", max_trials=1)
    for name, role in (("chief", "chief"), ("worker1", "worker")):
        take_part(monkeypatch, name)
        with internals.no_chief():
            assert internals.parallel_role() is None
            tuner = keras_tuner.Tuner(given, build, directory=tmp_path / name)
            assert tuner.oracle is given
        assert internals.parallel_role() == role


def test_chief_address_is_that_of_the_environment(monkeypatch):
    port = take_part(monkeypatch, "worker1")
    assert internals.chief_address() == f"127.0.0.1:{port}"


def test_oracle_served_answers_at_the_address(monkeypatch, tmp_path):
    oracle = random_search(tmp_path).oracle
    take_part(monkeypatch, "chief")
    connection = internals.ChiefConnection()
    assert not connection.answers(0.1)
    with internals.oracle_served(oracle):
        assert connection.answers(10.0)


def test_oracle_client_asks_the_chief(monkeypatch, tmp_path):
    oracle = random_search(tmp_path).oracle
    take_part(monkeypatch, "chief")
    with internals.oracle_served(oracle):
        trial = internals.oracle_client(oracle).create_trial("here")
    assert oracle.ongoing_trials["here"].hyperparameters.values == trial.hyperparameters.values


def test_given_oracle_is_not_the_client_of_a_worker(monkeypatch, tmp_path):
    given = keras_tuner.oracles.RandomSearchOracle("val_loss", max_trials=1)
    take_part(monkeypatch, "worker1")
    tuner = keras_tuner.Tuner(given, build, directory=tmp_path)
    assert tuner.oracle is not given
    assert internals.given_oracle(tuner) is given


def test_trial_folder_has_the_state_of_a_trial(tuner):
    trial = tuner.oracle.create_trial("t")
    folder = internals.trial_folder(tuner.oracle, trial.trial_id)
    assert os.listdir(folder) == ["trial.json"]
