"""AdaptiveRegularization: its law, written out again, and a state that survives a kill."""

import copy
import math
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

from kerasreg.callbacks import AdaptiveRegularization
from kerasreg.layers import ScheduledDropout, ScheduledGaussianDropout
from kerasreg.regularizers import L1, L2

laws = settings(deadline=None, max_examples=60, derandomize=True)
# Eighths are exact, so that comparisons with `low_gap` and `high_gap` have no rounding.
eighths = st.integers(-16, 16).map(lambda n: n / 8)
OPTIONS = {"min_value": 0.1, "max_value": 0.8, "low_gap": -0.25, "high_gap": 0.5, "factor": 2.0}


def small_model(**options):
    keras.utils.set_random_seed(0)
    layers = [ScheduledDropout(r, seed=1, name=f"drop{n}") for n, r in enumerate([0.2, 0.3])]
    dense = keras.layers.Dense(1, kernel_regularizer=L2(0.2), bias_regularizer=L1(0.3))
    model = keras.Sequential([keras.Input((2,)), *layers, dense])
    optimizer = keras.optimizers.SGD(0.01, weight_decay=0.2)
    model.compile(optimizer, "mse", **(options or {"run_eagerly": True}))
    return model


@pytest.fixture(scope="module")
def model():
    return small_model()


def places(model, target):
    """The variables of a target."""
    if target == "weight_decay":
        return [model.optimizer.weight_decay]
    if target == "dropout":
        return [layer.rate for layer in model.layers if hasattr(layer, "rate")]
    dense = model.layers[-1]
    return [dense.kernel_regularizer.strength, dense.bias_regularizer.strength]


def numbers(model, target):
    return [float(place) for place in places(model, target)]


def driven(model, gaps, target="dropout", first=(0.2, 0.3), metric="loss", sign=1, **options):
    """The values, from the beginning on, of a training with these gaps; and its logs."""
    callback = AdaptiveRegularization(target, metric=metric, **{**OPTIONS, **options})
    callback.set_model(model)
    for place, value in zip(places(model, target), first, strict=False):
        place.assign(value)
    callback.on_train_begin()
    seen, logged = [numbers(model, target)], []
    for epoch, gap in enumerate(gaps):
        callback.on_epoch_begin(epoch)
        logged.append({metric: 4.0, f"val_{metric}": 4.0 + sign * gap})
        callback.on_epoch_end(epoch, logged[-1])
        seen.append(numbers(model, target))
    return seen, logged


def first_values(model, gaps, **options):
    return [values[0] for values in driven(model, gaps, **options)[0]]


# The law.


def law(values, gaps, min_value, max_value, low_gap, high_gap, factor, patience, smoothing):
    values = [min(max(value, min_value), max_value) for value in values]
    seen, g, above, below = [values], None, 0, 0
    for gap in gaps:
        g = gap if g is None else smoothing * g + (1 - smoothing) * gap
        above = above + 1 if g > high_gap else 0
        below = below + 1 if g < low_gap else 0
        if above == patience:
            values, above = [min(factor * value, max_value) for value in values], 0
        if below == patience:
            values, below = [max(value / factor, min_value) for value in values], 0
        seen.append(values)
    return seen


@laws
@given(
    gaps=st.lists(eighths, max_size=20),
    target=st.sampled_from(["dropout", "strength", "weight_decay"]),
    first=st.tuples(st.floats(0.01, 1.0), st.floats(0.01, 1.0)),
    bounds=st.tuples(st.floats(0.01, 0.4), st.floats(0.5, 1.0)),
    low_gap=eighths,
    width=st.integers(1, 8),
    factor=st.sampled_from([1.1, 1.5, 2.0]),
    patience=st.integers(1, 3),
    smoothing=st.sampled_from([0.0, 0.5, 0.75]),
)
def test_values_are_those_of_the_law(
    model, gaps, target, first, bounds, low_gap, width, factor, patience, smoothing
):
    options = dict(zip(["min_value", "max_value"], bounds, strict=True))
    options |= {"low_gap": low_gap, "high_gap": low_gap + width / 8, "factor": factor}
    options |= {"patience": patience, "smoothing": smoothing}
    seen, _ = driven(model, gaps, target, first, **options)
    first = first[: len(seen[0])]
    np.testing.assert_allclose(seen, law(first, gaps, **options), rtol=1e-5)


@pytest.mark.parametrize(
    ("metric", "mode", "sign"),
    [
        ("loss", "auto", 1),
        ("mae", "min", 1),
        ("score", "max", -1),
        ("accuracy", "auto", -1),
        ("auc", "min", 1),
    ],
)
def test_the_gap_is_what_validation_is_worse_by(metric, mode, sign):
    model = small_model(metrics=["accuracy"], run_eagerly=True)
    model.evaluate(np.ones((2, 2)), np.ones((2, 1)), verbose=0)  # Metrics exist from then on.
    gaps = [1.0, 0.0, -1.0, -1.0]
    seen, logged = driven(model, gaps, metric=metric, mode=mode, sign=sign)
    np.testing.assert_allclose([values[0] for values in seen], [0.2, 0.4, 0.4, 0.2, 0.1])
    assert [logs["gap"] for logs in logged] == gaps


def test_a_gap_that_alternates_from_low_to_high_moves_nothing(model):
    assert first_values(model, [-0.25, 0.5] * 5) == pytest.approx([0.2] * 11)
    assert first_values(model, [-0.375, 0.625]) == pytest.approx([0.2, 0.1, 0.2])


def test_patience_counts_epochs_in_a_row(model):
    gaps = [1.0, 1.0, 0.0, 1.0, -1.0, 1.0, 1.0, 1.0]
    seen = first_values(model, gaps, patience=3)
    assert seen == pytest.approx([0.2] * 8 + [0.4])


def test_a_smoothed_gap_passes_over_one_outlier(model):
    gaps = [0.0, 2.0, 0.0, 0.0]
    assert first_values(model, gaps) == pytest.approx([0.2, 0.2, 0.4, 0.4, 0.4])
    seen, logged = driven(model, gaps, smoothing=0.75)
    assert [values[0] for values in seen] == pytest.approx([0.2] * 5)
    assert [logs["gap"] for logs in logged] == [0.0, 0.5, 0.375, 0.28125]


@pytest.mark.parametrize("target", ["dropout", "strength"])
def test_several_numbers_keep_their_proportion_up_to_a_bound(model, target):
    seen, _ = driven(model, [1.0, 1.0, 1.0, -1.0], target, first=(0.125, 0.25))
    expected = [[0.125, 0.25], [0.25, 0.5], [0.5, 0.8], [0.8, 0.8], [0.4, 0.4]]
    np.testing.assert_allclose(seen, expected)


def test_values_are_within_the_bounds_from_the_beginning(model):
    assert driven(model, [], first=(0.05, 0.9))[0] == [pytest.approx([0.1, 0.8])]


def test_only_what_a_pattern_matches_is_moved():
    model = small_model()
    fit(model, AdaptiveRegularization("dropout:drop1", **OPTIONS), epochs=1)
    assert numbers(model, "dropout") == pytest.approx([0.2, 0.6])


@pytest.mark.parametrize("logs", [{"val_loss": 1.0}, {"loss": 1.0}])
def test_a_metric_without_its_validation_is_refused(model, logs):
    callback = AdaptiveRegularization("dropout", **OPTIONS)
    callback.set_model(model)
    callback.on_train_begin()
    callback.on_epoch_begin(0)
    with pytest.raises(ValueError, match=r"`metric` must be .*Received: metric="):
        callback.on_epoch_end(0, logs)


@pytest.mark.parametrize("target", ["dropout", "strength", "weight_decay"])
def test_a_model_with_nothing_to_move_is_refused(target):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    with pytest.raises(ValueError, match=r"`target`.* Received: "):
        fit(model, AdaptiveRegularization(target, **OPTIONS))


def test_smoothing_may_be_anything_below_one():
    assert (
        AdaptiveRegularization("dropout", 0.1, max_value=0.8, smoothing=0.9995).smoothing == 0.9995
    )


def test_a_maximum_that_is_not_above_the_minimum_is_refused():
    with pytest.raises(ValueError, match=r"`max_value` must be .*Received: max_value="):
        AdaptiveRegularization("dropout", 0.5, max_value=0.5)


# Gaps that are no finite numbers.


def test_an_epoch_without_a_gap_moves_nothing_and_is_not_in_the_mean(model):
    gaps = [0.5, math.nan, 1.0]
    seen, logged = driven(model, gaps, smoothing=0.5)
    assert [values[0] for values in seen] == pytest.approx([0.2, 0.2, 0.2, 0.4])
    assert [logs["gap"] for logs in logged][::2] == [0.5, 0.75]


@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_after_an_infinite_gap_the_mean_begins_anew(model, smoothing):
    seen = first_values(model, [math.inf, 0.0, -1.0], smoothing=smoothing)
    assert seen == pytest.approx([0.2, 0.4, 0.4, 0.2])


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_a_first_epoch_without_a_gap_can_be_logged(verbose, tmp_path):
    board = keras.callbacks.TensorBoard(tmp_path)
    y = np.full((2, 1), math.nan)
    callbacks = [AdaptiveRegularization("dropout", **OPTIONS), *([] if verbose else [board])]
    small_model().fit(*DATA, validation_data=(DATA[0], y), verbose=verbose, callbacks=callbacks)


def test_a_layer_is_given_no_rate_that_it_refuses():
    layer = ScheduledGaussianDropout(0.75, seed=1)
    model = keras.Sequential([keras.Input((2,)), layer, keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    fit(
        model,
        AdaptiveRegularization(
            "dropout", 0.1, max_value=1.0, factor=2.0, high_gap=-9.0, low_gap=-10
        ),
    )
    ScheduledGaussianDropout(float(layer.rate))


# In a real `fit`.

DATA = np.zeros((2, 2)), np.ones((2, 1))


def fit(model, *callbacks, epochs=6, **options):
    """Validation is worse by about 3 in each epoch: nothing is learned from inputs of zero."""
    x, y = DATA
    options = {"verbose": 0, "callbacks": list(callbacks), "validation_data": (x, 2 * y), **options}
    return model.fit(x, y, 1, epochs, **options).history


@pytest.mark.short("options0-dropout", "options1-strength", "options1-weight_decay")
@pytest.mark.parametrize("target", ["dropout", "strength", "weight_decay"])
@pytest.mark.parametrize("options", [{"run_eagerly": True}, {"steps_per_execution": 2}])
def test_the_history_has_the_value_and_the_gap_of_each_epoch(target, options):
    model, in_batches = small_model(**options), []
    record = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: in_batches.append(numbers(model, target)[0])
    )
    adaptive = AdaptiveRegularization(target, **{**OPTIONS, "factor": 1.5, "patience": 2})
    history = fit(model, adaptive, record)
    assert history[target] == pytest.approx([0.2, 0.2, 0.3, 0.3, 0.45, 0.45])
    assert history[target] == in_batches[:: len(in_batches) // 6]
    gaps = np.subtract(history["val_loss"], history["loss"])
    np.testing.assert_allclose(history["gap"], gaps, rtol=1e-6)


def test_a_copy_acts_on_the_model_that_it_is_given_to():
    first, second = small_model(), small_model()
    callback = AdaptiveRegularization("dropout", **OPTIONS)
    fit(first, callback, epochs=1)
    fit(second, copy.deepcopy(callback), epochs=2)
    assert numbers(first, "dropout") == pytest.approx([0.4, 0.6])
    assert numbers(second, "dropout") == pytest.approx([0.8, 0.8])


# Interrupted and continued.


def callbacks(folder, target="dropout"):
    """Both keep something in folders of their own."""
    options = {**OPTIONS, "factor": 1.25, "patience": 2, "smoothing": 0.75}
    state = os.path.join(folder, "adaptive")
    adaptive = AdaptiveRegularization(target, **options, backup_dir=state)
    return adaptive, keras.callbacks.BackupAndRestore(os.path.join(folder, "model"))


def uninterrupted(target="dropout"):
    adaptive = callbacks("unused", target)[0]
    adaptive.backup_dir = None
    return fit(small_model(), adaptive, epochs=6)


@pytest.mark.short("weight_decay-5")
@pytest.mark.parametrize(
    ("target", "epoch"), [("dropout", 3), ("strength", 1), ("weight_decay", 5)]
)
def test_wherever_a_training_stops_it_goes_on_with_the_same_values(target, epoch, tmp_path):
    expected = uninterrupted(target)
    assert len(set(expected[target])) == 3
    with pytest.raises(Interrupted):
        fit(small_model(), *callbacks(tmp_path, target), Interrupt(epoch), epochs=6)
    rest = fit(small_model(), *callbacks(tmp_path, target), epochs=6)
    for name in (target, "gap", "loss"):
        assert rest[name] == expected[name][epoch:]
    assert os.listdir(tmp_path / "adaptive") == []


def train_and_be_killed(folder):
    """What the killed process runs."""
    kill = Interrupt(4, how=lambda: os.kill(os.getpid(), signal.SIGKILL))
    fit(small_model(), *callbacks(folder), kill, epochs=6)


@pytest.mark.long
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_process_is_continued_by_another(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, __file__, str(tmp_path)]
    killed = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    rest = fit(small_model(), *callbacks(tmp_path), epochs=6)
    assert rest["dropout"] == uninterrupted()["dropout"][4:]


if __name__ == "__main__":
    train_and_be_killed(sys.argv[1])
