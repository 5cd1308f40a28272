"""ReduceOnPlateau: Keras' rule, with state that survives a killed process."""

import copy
import json
import os
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from helpers.interruptions import Interrupt, Interrupted
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasreg.callbacks import ReduceOnPlateau

laws = settings(deadline=None, max_examples=60, derandomize=True)
# Eighths are exact, so that "better by more than min_delta" has no rounding.
metrics = st.lists(st.integers(0, 24).map(lambda n: n / 8), min_size=1, max_size=30)
eighths = st.integers(0, 8).map(lambda n: n / 8)


def small_model(rate=1.0, metrics=None):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(rate), "mse", metrics=metrics, run_eagerly=True)
    return model


@pytest.fixture(scope="module")
def model():
    return small_model()


def rates(callback, model, metrics, monitor="val_loss", first=1.0, first_epoch=0):
    """The learning rate after each epoch of a training with these metrics."""
    model.optimizer.learning_rate = first
    callback.set_model(model)
    callback.on_train_begin()
    seen = []
    for epoch, metric in enumerate(metrics, first_epoch):
        callback.on_epoch_begin(epoch)
        callback.on_epoch_end(epoch, {monitor: metric})
        seen.append(float(model.optimizer.learning_rate))
    return seen


# Against Keras.


@laws
@given(
    metrics=metrics,
    factor=st.sampled_from([0.0, 0.25, 0.5, 0.75]),
    patience=st.integers(1, 4),
    mode=st.sampled_from(["min", "max"]),
    min_delta=eighths,
    cooldown=st.integers(0, 4),
    min_value=st.sampled_from([0.0, 0.125, 0.3]),
)
def test_the_learning_rates_are_those_of_keras(
    model, metrics, factor, patience, mode, min_delta, cooldown, min_value
):
    ours = ReduceOnPlateau(
        "val_loss",
        factor,
        patience,
        mode=mode,
        min_delta=min_delta,
        cooldown=cooldown,
        min_value=min_value,
    )
    # Keras counts a cooldown down before it looks at it, so that n of its epochs
    # pass over n - 1; ours pass over as many as are said.
    theirs = keras.callbacks.ReduceLROnPlateau(
        "val_loss",
        factor=factor,
        patience=patience,
        mode=mode,
        min_delta=min_delta,
        cooldown=cooldown + 1,
        min_lr=min_value,
    )
    assert rates(ours, model, metrics) == rates(theirs, model, metrics)


# Written out by hand.


def test_patience_counts_epochs_in_a_row_without_improvement(model):
    callback = ReduceOnPlateau("val_loss", factor=0.5, patience=3)
    flat = [4.0, 4.0, 4.0, 3.0, 3.0, 3.0, 3.0, 3.0]
    assert rates(callback, model, flat) == [1, 1, 1, 1, 1, 1, 0.5, 0.5]


def test_cooldown_passes_over_as_many_epochs_as_it_says(model):
    flat = [1.0] * 9
    without = ReduceOnPlateau("val_loss", factor=0.5, patience=2)
    assert rates(without, model, flat) == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.0625]
    cooled = ReduceOnPlateau("val_loss", factor=0.5, patience=2, cooldown=2)
    assert rates(cooled, model, flat) == [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]


def test_an_improvement_during_the_cooldown_becomes_the_best(model):
    callback = ReduceOnPlateau("val_loss", factor=0.5, patience=1, cooldown=2)
    assert rates(callback, model, [5.0, 5.0, 1.0, 2.0, 2.0]) == [1, 0.5, 0.5, 0.5, 0.25]


def test_a_gain_of_min_delta_is_not_enough(model):
    callback = ReduceOnPlateau("val_loss", factor=0.5, patience=1, min_delta=0.5)
    assert rates(callback, model, [4.0, 3.5, 3.0]) == [1, 0.5, 0.5]


def test_the_learning_rate_stops_at_the_minimum(model):
    callback = ReduceOnPlateau("val_loss", factor=0.5, patience=1, min_value=0.3)
    assert rates(callback, model, [1.0] * 4) == pytest.approx([1, 0.5, 0.3, 0.3])


def test_a_learning_rate_below_the_minimum_is_not_raised(model):
    callback = ReduceOnPlateau("val_loss", factor=0.5, patience=1, min_value=0.3)
    assert rates(callback, model, [1.0] * 3, first=0.125) == [0.125] * 3


def test_nan_never_improves(model):
    callback = ReduceOnPlateau("val_loss", factor=0.5, patience=2)
    nan = float("nan")
    assert rates(callback, model, [nan, nan, 3.0, nan, 2.0]) == [1, 0.5, 0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("metric", "monitor", "larger_is_better"),
    [
        (keras.metrics.R2Score(name="place"), "val_place", True),
        ("accuracy", "accuracy", True),
        (keras.metrics.MeanSquaredError(name="accurate"), "val_accurate", False),
        ("mae", "val_loss", False),
    ],
)
def test_auto_asks_the_metric_whether_larger_is_better(metric, monitor, larger_is_better):
    model = small_model(metrics=[metric])
    model.evaluate(np.ones((2, 1)), np.ones((2, 1)), verbose=0)  # Metrics exist from then on.
    rising = ReduceOnPlateau(monitor, factor=0.5, patience=1)
    seen = rates(rising, model, [1.0, 2.0, 3.0], monitor)
    assert seen == ([1, 1, 1] if larger_is_better else [1, 0.5, 0.25])


def accumulated_cost(y_true, y_pred):
    return keras.ops.mean(y_true - y_pred, axis=-1)


def test_auto_is_refused_where_the_metric_does_not_know():
    model = small_model(metrics=[accumulated_cost])
    x = np.ones((2, 1))
    message = "`mode` must be 'min' or 'max' for 'accumulated_cost'.*Received: mode='auto'"
    with pytest.raises(ValueError, match=message):
        model.fit(x, x, epochs=2, verbose=0, callbacks=[ReduceOnPlateau("accumulated_cost")])
    given = ReduceOnPlateau("accumulated_cost", mode="min")
    assert len(model.fit(x, x, epochs=2, verbose=0, callbacks=[given]).epoch) == 2


def test_a_metric_that_is_not_there_is_refused_with_those_that_are(model):
    callback = ReduceOnPlateau("val_los")
    callback.set_model(model)
    callback.on_train_begin()
    callback.on_epoch_begin(0)
    message = "`monitor` must be a metric of this training: loss, mae.*Received: monitor='val_los'"
    with pytest.raises(ValueError, match=message):
        callback.on_epoch_end(0, {"loss": 1.0, "mae": 1.0})


# In a real `fit`.


def fit(model, *callbacks, epochs=6, **options):
    """From inputs of zero nothing can be learned: every epoch is a plateau."""
    x, y = np.zeros((2, 1)), np.ones((2, 1))
    return model.fit(x, y, 2, epochs, verbose=0, callbacks=list(callbacks), **options)


def test_the_history_holds_the_rate_that_each_epoch_had():
    model = small_model()
    history = fit(model, ReduceOnPlateau("loss", factor=0.5, patience=2))
    assert history.history["learning_rate"] == [1, 1, 1, 0.5, 0.5, 0.25]
    assert float(model.optimizer.learning_rate) == 0.25


def test_each_fit_begins_anew():
    callback = ReduceOnPlateau("loss", factor=0.5, patience=2)
    for _ in range(2):
        assert fit(small_model(), callback, epochs=3).history["learning_rate"] == [1, 1, 1]


def test_a_copy_acts_on_the_model_that_it_is_given_to():
    first, second = small_model(), small_model()
    callback = ReduceOnPlateau("loss", factor=0.5, patience=1)
    fit(first, callback, epochs=2)
    fit(second, copy.deepcopy(callback), epochs=3)
    assert float(first.optimizer.learning_rate) == 0.5
    assert float(second.optimizer.learning_rate) == 0.25


def test_with_several_steps_per_execution_it_is_the_same():
    model = small_model()
    model.compile(keras.optimizers.SGD(1.0), "mse", steps_per_execution=2, jit_compile=False)
    history = fit(model, ReduceOnPlateau("loss", factor=0.5, patience=2))
    assert history.history["learning_rate"] == [1, 1, 1, 0.5, 0.5, 0.25]


def test_the_scaled_optimizer_of_mixed_precision_is_reduced():
    keras.config.set_dtype_policy("mixed_float16")
    model = small_model()
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    history = fit(model, ReduceOnPlateau("loss", factor=0.5, patience=2))
    assert history.history["learning_rate"] == [1, 1, 1, 0.5, 0.5, 0.25]


# Interrupted and continued.


def plateau(folder):
    return ReduceOnPlateau("loss", factor=0.5, patience=3, cooldown=1, backup_dir=folder)


@pytest.fixture(scope="module")
def uninterrupted():
    """Reduced after three epochs without a gain, one to cool down, and three more."""
    expected = fit(small_model(), plateau(None), epochs=9).history["learning_rate"]
    assert expected == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25]
    return expected


@pytest.mark.parametrize("epoch", [1, 2, 3, 4, 6])
def test_wherever_a_training_stops_it_goes_on_with_the_same_rates(tmp_path, uninterrupted, epoch):
    model = small_model()
    with pytest.raises(Interrupted):
        fit(model, plateau(tmp_path), Interrupt(epoch), epochs=9)
    # `initial_epoch` continues with the live model, whose rate is as it was.
    rest = fit(model, plateau(tmp_path), epochs=9, initial_epoch=epoch)
    assert rest.history["learning_rate"] == uninterrupted[epoch:]


def test_without_a_backup_the_count_begins_again(uninterrupted):
    """The test above can fail: state is what makes the difference."""
    model = small_model()
    fit(model, plateau(None), epochs=3)
    rest = fit(model, plateau(None), epochs=9, initial_epoch=3)
    assert rest.history["learning_rate"] != uninterrupted[3:]


def test_a_training_that_begins_again_does_not_take_the_old_state(tmp_path):
    with pytest.raises(Interrupted):
        fit(small_model(), plateau(tmp_path), Interrupt(3))
    expected = fit(small_model(), plateau(None)).history["learning_rate"]
    again = fit(small_model(), plateau(tmp_path)).history["learning_rate"]
    assert again == expected


@pytest.mark.parametrize("first", ["plateau", "backup"])
def test_the_order_beside_backup_and_restore_does_not_matter(tmp_path, uninterrupted, first):
    def callbacks():
        reduce = plateau(tmp_path / "plateau")
        backup = keras.callbacks.BackupAndRestore(tmp_path / "model")
        return [reduce, backup] if first == "plateau" else [backup, reduce]

    # The epoch before had reduced the rate, after or before the backup was written.
    with pytest.raises(Interrupted):
        fit(small_model(), *callbacks(), Interrupt(4), epochs=9)
    rest = fit(small_model(), *callbacks(), epochs=9)
    assert rest.history["learning_rate"] == uninterrupted[4:]


@pytest.mark.parametrize("epoch", [2, 3, 5])
def test_a_stop_between_the_state_and_the_backup_repeats_the_epoch(tmp_path, uninterrupted, epoch):
    class StopAtTheEnd(keras.callbacks.Callback):
        def on_epoch_end(self, now, logs=None):
            if now == epoch:
                raise Interrupted

    def reduce_and_backup():
        return plateau(tmp_path / "plateau"), keras.callbacks.BackupAndRestore(tmp_path / "model")

    reduce, backup = reduce_and_backup()
    with pytest.raises(Interrupted):
        fit(small_model(), reduce, StopAtTheEnd(), backup, epochs=9)
    # The state has seen this epoch and the backup has not: it runs again.
    rest = fit(small_model(), *reduce_and_backup(), epochs=9)
    assert rest.history["learning_rate"] == uninterrupted[epoch:]


def test_the_state_is_removed_when_a_training_ends(tmp_path):
    fit(small_model(), plateau(tmp_path))
    assert os.listdir(tmp_path) == []


def test_the_state_on_disk_is_whole_at_every_instant(tmp_path):
    """Whatever reads the folder while a state is written finds the old one or the new."""
    seen = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            (name,) = os.listdir(tmp_path)  # Nothing else is left lying beside it.
            with open(tmp_path / name) as file:
                seen.append(json.load(file)["states"][-1]["next_epoch"])

    fit(small_model(), plateau(tmp_path), Look(), epochs=3)
    assert seen == [1, 2, 3]


def train_and_be_killed(folder, epoch):
    """What the killed process runs."""
    kill = Interrupt(epoch, how=lambda: os.kill(os.getpid(), signal.SIGKILL))
    backup = keras.callbacks.BackupAndRestore(os.path.join(folder, "model"))
    fit(small_model(), plateau(os.path.join(folder, "plateau")), backup, kill, epochs=9)


@pytest.mark.long
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_process_is_continued_by_another(tmp_path, uninterrupted):
    command = [sys.executable, __file__, str(tmp_path), "5"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    killed = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    backup = keras.callbacks.BackupAndRestore(tmp_path / "model")
    rest = fit(small_model(), plateau(tmp_path / "plateau"), backup, epochs=9)
    assert rest.history["learning_rate"] == uninterrupted[5:]


if __name__ == "__main__":
    train_and_be_killed(sys.argv[1], int(sys.argv[2]))
