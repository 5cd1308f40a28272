"""`fit` and `evaluate` for replicas: Keras' contract, and what one device does.

What is about the contract runs the loop in this process, on one device. What is about replicas
and workers needs processes of its own, and is long; `helpers/replica_trainings.py` has the models.
"""

import contextlib
import functools
import json
import signal
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import replica_trainings
from helpers.replica_trainings import faults, run, started_workers

import kerasreg
from kerasreg import distribute
from kerasreg.distribute import _fit
from kerasreg.distribute._lost_workers import workers_answer

X = np.random.default_rng(3).normal(size=(10, 4)).astype("float32")
Y = X[:, :1] - X[:, 1:2]


@pytest.fixture
def own_loop(monkeypatch):
    monkeypatch.setattr("kerasreg.distribute._fit.trains_here", lambda model: True)


def linear(optimizer="sgd", **options):
    layer = keras.layers.Dense(1, kernel_initializer="ones")
    model = keras.Sequential([keras.Input((4,)), layer])
    model.compile(optimizer, "mse", **options)
    return model


class Noted(keras.callbacks.Callback):
    """Notes what is called, with which logs, and may end the training."""

    def __init__(self, stop_at=None):
        super().__init__()
        self.calls, self.stop_at = [], stop_at

    def __getattribute__(self, name):
        if not name.startswith("on_"):
            return super().__getattribute__(name)

        def noted(*args, **kwargs):
            given = [*args, *kwargs.values()]
            logs = given[-1] if given and isinstance(given[-1], dict) else {}
            place = next((one for one in given if isinstance(one, int)), None)
            self.calls.append((name, place, sorted(logs), {k: float(v) for k, v in logs.items()}))
            if (name, place) == self.stop_at:
                self.model.stop_training = True

        return noted


def both(model_of=linear, stop_at=None, **given):
    """What Keras and what the loop here make of the same training."""
    found = []
    for fit in (keras.Model.fit, distribute.fit):
        keras.utils.set_random_seed(1)
        model, noted = model_of(), Noted(stop_at)
        options = {"batch_size": 4, "epochs": 2, "shuffle": False, "verbose": 0, **given}
        options = {k: v() if callable(v) else v for k, v in options.items()}
        history = fit(model, callbacks=[noted], **options)
        found.append((history, noted.calls, model.get_weights(), dict(history.params)))
    return found


ARRAYS = {"x": X, "y": Y}
VALIDATED = {**ARRAYS, "validation_data": (X[:3], Y[:3])}


@pytest.mark.short("validated", "steps")
@pytest.mark.parametrize(
    "given",
    [
        pytest.param({**VALIDATED, "validation_batch_size": 2}, id="validated"),
        pytest.param({**VALIDATED, "initial_epoch": 1, "epochs": 3}, id="initial_epoch"),
        pytest.param({**VALIDATED, "validation_freq": [2]}, id="validation_freq"),
        pytest.param({**ARRAYS, "validation_split": 0.3}, id="split"),
        pytest.param({**ARRAYS, "sample_weight": np.arange(10.0)}, id="weights"),
        pytest.param({**VALIDATED, "stop_at": ("on_train_batch_end", 1)}, id="stopped_in_epoch"),
        pytest.param({**VALIDATED, "stop_at": ("on_epoch_end", 0)}, id="stopped"),
        pytest.param(
            {
                "x": lambda: tf.data.Dataset.from_tensor_slices((X, Y)).batch(3).repeat(),
                "batch_size": None,
                "steps_per_epoch": 3,
            },
            id="steps",
        ),
    ],
)
@pytest.mark.usefixtures("own_loop")
def test_it_is_the_fit_of_keras(given):
    (mine, calls, weights, params), (theirs, their_calls, their_weights, their_params) = both(
        **given
    )
    assert [call[:3] for call in calls] == [call[:3] for call in their_calls]
    for call, other in zip(calls, their_calls, strict=True):
        assert other[3] == pytest.approx(call[3], rel=1e-4), call[0]
    assert theirs.epoch == mine.epoch
    assert theirs.history == {name: pytest.approx(v, rel=1e-4) for name, v in mine.history.items()}
    assert their_params == params
    for one, other in zip(weights, their_weights, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4)


@pytest.mark.parametrize("name", ["on_train_batch_begin", "on_train_batch_end", "on_epoch_begin"])
def test_workers_ask_after_each_batch_where_a_function_may_end_the_training(name):
    """What a callback does may be in the object, and not in its class."""
    model = linear()
    for given, asks in (({}, False), ({name: lambda *_: None}, True)):
        callback = keras.callbacks.LambdaCallback(**given)
        called = keras.callbacks.CallbackList([callback], add_history=True, model=model)
        assert _fit._has_batch_hooks(called) == asks


@pytest.mark.usefixtures("own_loop")
def test_it_evaluates_as_keras_does():
    model = linear(metrics=["mae"])
    given = {"x": X, "y": Y, "batch_size": 4, "verbose": 0}
    assert distribute.evaluate(model, **given) == pytest.approx(model.evaluate(**given), rel=1e-5)


@pytest.mark.parametrize(
    "strategy",
    [tf.distribute.OneDeviceStrategy("CPU:0"), tf.distribute.MirroredStrategy(["CPU:0"])],
    ids=["one_device", "mirrored"],
)
def test_one_replica_trains_as_keras_does_and_from_the_data_themselves(strategy, monkeypatch):
    def divided(*args, **kwargs):
        raise AssertionError("What TensorFlow then iterates over ends processes now and then")

    def history(fit, scope):
        with scope:
            model = linear(metrics=["mae"])
        given = {"batch_size": 4, "epochs": 3, "shuffle": False, "verbose": 0}
        return fit(model, X, Y, validation_data=(X[:7], Y[:7]), **given).history, model

    expected, _ = history(keras.Model.fit, contextlib.nullcontext())
    monkeypatch.setattr(type(strategy), "experimental_distribute_dataset", divided)
    found, model = history(distribute.fit, strategy.scope())
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6)
    loss, _ = distribute.evaluate(model, X[:7], Y[:7], verbose=0)
    assert loss == pytest.approx(found["val_loss"][-1])
    with distribute.trained_by_replicas(model):
        model.evaluate(X, Y, verbose=0)


def test_without_a_strategy_it_is_the_fit_of_the_model():
    class Own(keras.Model):
        def fit(self, *args, **kwargs):
            return "fitted", kwargs["epochs"]

        def evaluate(self, *args, **kwargs):
            return "evaluated"

    assert distribute.fit(Own(), X, epochs=3) == ("fitted", 3)
    assert distribute.evaluate(Own(), X) == "evaluated"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jit_compile": True}, r"`jit_compile` must be .*jit_compile=True"),
        ({"steps_per_execution": 2}, r"`steps_per_execution` must be 1.*steps_per_execution=2"),
        (
            {"optimizer": keras.optimizers.SGD(gradient_accumulation_steps=2)},
            r"`gradient_accumulation_steps` .*=2 of SGD",
        ),
        (
            {
                "optimizer": keras.optimizers.LossScaleOptimizer(
                    keras.optimizers.SGD(use_ema=True, ema_overwrite_frequency=3)
                )
            },
            r"`ema_overwrite_frequency` .*=3 of SGD",
        ),
    ],
)
@pytest.mark.usefixtures("own_loop")
def test_what_no_strategy_can_train_is_refused_before_it_begins(options, message):
    with pytest.raises(ValueError, match=message):
        distribute.fit(linear(**options), X, Y, verbose=0)


@pytest.mark.usefixtures("own_loop")
def test_a_model_that_was_not_compiled_is_refused():
    with pytest.raises(ValueError, match="compile"):
        distribute.fit(keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)]), X, Y)


def test_lanes_refuse_models_of_workers_and_name_what_divides_lanes(monkeypatch):
    # Of which the class has another name.
    strategy = type(tf.distribute.MultiWorkerMirroredStrategy.__name__, (), {})()
    strategy.num_replicas_in_sync = 2
    model = linear()
    monkeypatch.setattr(model, "_distribute_strategy", strategy)
    message = r"2 replicas of a MultiWorkerMirroredStrategy; .*`devices=`.*`storage=` of one study"
    with pytest.raises(ValueError, match=message) as caught:
        kerasreg.lanes.Lanes([model, model])
    assert "\n" not in str(caught.value)


# Replicas and workers.


@pytest.fixture(scope="module")
def one_device():
    return run("one", "all_trained")


@pytest.mark.long
@pytest.mark.parametrize("kind", ["mirrored_2", "mirrored_4"])
def test_replicas_train_as_one_device_does(one_device, kind):
    assert not faults(one_device, run(kind, "all_trained"))


@pytest.mark.long
def test_workers_train_as_one_device_does(one_device):
    first, second = run("worker", "all_trained")
    assert not faults(one_device, first)
    # All of what they agree on is equal to the last bit.
    assert not faults(first, second, tolerance=0.0)


@pytest.mark.long
def test_faults_are_seen(one_device):
    changed = json.loads(json.dumps(one_device))
    changed["clipped"]["history"]["loss"][-1] += 1e-6
    assert faults(one_device, changed) == ["clipped: loss differs by 1e-06"]


@pytest.mark.long
@pytest.mark.parametrize("kind", ["mirrored_2", "worker"])
def test_statistics_of_batches_are_agreed_and_masks_are_not(kind):
    found = run(kind, "of_replicas")
    found = found if kind == "worker" else [found]
    assert found[0]["statistics"] == found[-1]["statistics"]
    for one in found:
        first, second = (np.array(mask) for mask in one["masks"])
        assert abs(np.mean(first == second) - 0.5) < 0.1
        for statistics in one["statistics"]:
            assert len({tuple(values) for values in statistics}) == 1
        # Of the means of the parts, weighted by their samples, it is the mean of all.
        assert one["mean"] == pytest.approx(one["expected"], rel=1e-6)


@pytest.mark.long
def test_the_chief_writes_and_all_stop_at_once(tmp_path):
    """One worker asks to stop, one has other weights at first; the chief's are taken."""
    found = run("worker", "with_callbacks", tmp_path)
    assert found[0]["weights"] == found[1]["weights"]
    assert [one["epochs"] for one in found] == [[0, 1], [0, 1]]
    assert [one["wrote"] for one in found] == [["begin", 0, 1], []]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.keras", "2.keras", "log.csv"]
    assert (tmp_path / "log.csv").read_text().count("\n") == 3


@pytest.mark.long
def test_workers_go_on_where_the_chief_was(tmp_path):
    broken = run("worker", "resumed", tmp_path, "break")
    resumed = run("worker", "resumed", tmp_path, "resume")
    whole = run("worker", "resumed", tmp_path / "other", "resume")
    assert [one["epochs"] for one in (*broken, *resumed)] == [None, None, [2, 3], [2, 3]]
    for one in (*resumed, whole[1]):
        np.testing.assert_allclose(one["weights"], whole[0]["weights"], rtol=0, atol=1e-12)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What the chief finds when no worker is gone, by the function that both run."""
    return functools.cache(
        lambda function: run("worker", function, tmp_path_factory.mktemp(function) / "whole")[0]
    )


def lost(victim, number, function, folder, epochs):
    """What the other worker says, when one has got a signal in an epoch."""
    processes = started_workers(function, folder)
    try:
        marks = folder / f"epochs-{victim}"
        until = time.monotonic() + 120
        while not marks.exists() or len(marks.read_text().split()) < epochs:
            assert time.monotonic() < until, "it takes too long"
            time.sleep(0.05)
        processes[victim].send_signal(number)
        out, errors = processes[1 - victim].communicate(timeout=100)  # Else it hangs.
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert processes[1 - victim].returncode == 0, errors[-2000:]
    return json.loads(out.splitlines()[-1])


@pytest.mark.long
@pytest.mark.parametrize(
    ("victim", "number"), [(1, "SIGKILL"), (0, "SIGKILL"), (1, "SIGSTOP")], ids=str
)
def test_when_a_worker_is_gone_the_others_say_so_and_all_go_on(
    victim, number, undisturbed, tmp_path
):
    folder = tmp_path / "killed"
    found = lost(victim, getattr(signal, number), "with_backup", folder, epochs=3)
    assert found["lost"].startswith("A worker is gone, and the others cannot train without it")
    resumed = run("worker", "with_backup", folder)
    whole = undisturbed("with_backup")
    assert whole["epochs"] == list(range(8))
    assert resumed[0]["epochs"] == resumed[1]["epochs"]
    assert resumed[0]["epochs"][0] in (2, 3, 4)  # The chief was so far, and perhaps one further.
    for one in resumed:
        np.testing.assert_allclose(one["weights"], whole["weights"], rtol=1e-9)


@pytest.mark.long
def test_a_worker_that_is_gone_before_all_have_joined_is_not_awaited_for_ever():
    processes = started_workers("joins_or_dies", 40)
    try:
        _, errors = processes[0].communicate(timeout=150)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert [process.returncode for process in processes] == [1, 9]
    assert "Timeout (0:00:40)!" in errors
    assert "in _of_workers" in errors


@pytest.mark.long
@pytest.mark.parametrize("victim", [0, 1])
def test_a_worker_that_is_gone_is_no_failure_of_a_trial(victim, undisturbed, tmp_path):
    folder = tmp_path / "killed"
    found = lost(victim, signal.SIGKILL, "searched_slowly", folder, epochs=5)
    assert found["lost"].startswith("A worker is gone")
    resumed = run("worker", "searched_slowly", folder)
    whole = undisturbed("searched_slowly")
    for one in resumed:
        for mine, other in zip(one["trials"], whole["trials"], strict=True):
            assert mine[:2] == other[:2] == [other[0], "COMPLETED"]
            assert mine[2] == pytest.approx(other[2], rel=1e-9)


class _Workers:
    """A strategy of several workers, as far as it is asked."""


@pytest.mark.parametrize(
    ("error", "is_told"),
    [
        (tf.errors.UnavailableError(None, None, "no connection"), True),
        (tf.errors.InternalError(None, None, "x\nCollective ops is aborted by: gone\nmore"), True),
        (tf.errors.InvalidArgumentError(None, None, "of the data"), False),
    ],
)
def test_only_errors_of_lost_workers_are_told_as_such(error, is_told, monkeypatch):
    of_workers = "kerasreg.distribute._lost_workers.has_workers"
    with pytest.raises(type(error)), workers_answer(tf.distribute.get_strategy()):
        raise error  # A single process has nobody to lose.
    monkeypatch.setattr(of_workers, lambda strategy: True)
    expected = distribute.WorkerLostError if is_told else type(error)
    with pytest.raises(expected) as raised, workers_answer(_Workers()):
        raise error
    if "gone" in str(error):
        assert str(raised.value).endswith("TensorFlow says: gone")


@pytest.mark.long
def test_workers_with_other_data_are_refused():
    for one in run("worker", "other_orders"):
        assert "give `shuffle` of a dataset a seed" in one["message"], one
        assert "worker 1 than on the chief" in one["message"]
        assert one["shuffled_arrays"] == "trained"


def test_the_models_of_the_trainings_are_all_there():
    assert set(replica_trainings.MODELS) >= {"penalties", "normalized", "clipped", "sequences"}
