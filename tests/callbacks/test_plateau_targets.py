"""ReduceOnPlateau: other targets than the learning rate, and relative thresholds."""

import math

import keras
import numpy as np
import pytest
from helpers.interruptions import Interrupt, Interrupted
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasreg.callbacks import ReduceOnPlateau
from kerasreg.layers import ScheduledDropout
from kerasreg.regularizers import L1, L2

laws = settings(deadline=None, max_examples=100, derandomize=True)
# Eighths are exact, so that "better by more than a part of the best" has no rounding.
eighths = st.integers(0, 24).map(lambda n: n / 8)
TARGETS = ["momentum", "weight_decay", "dropout", "strength"]
every_target = pytest.mark.parametrize("target", TARGETS)


class CountedLoss(keras.losses.MeanSquaredError):
    """The mean squared error, counting how often Python runs it: once a trace."""

    traces = 0

    def call(self, y_true, y_pred):
        self.traces += 1
        return super().call(y_true, y_pred)


def small_model(loss="mse", **options):
    keras.utils.set_random_seed(0)
    layers = [ScheduledDropout(0.5, seed=1, name="block1"), ScheduledDropout(0.5, seed=2)]
    dense = keras.layers.Dense(1, kernel_regularizer=L2(0.5), bias_regularizer=L1(0.5))
    model = keras.Sequential([keras.Input((2,)), *layers, dense])
    optimizer = keras.optimizers.SGD(0.01, momentum=0.5, weight_decay=0.5)
    model.compile(optimizer, loss, **(options or {"run_eagerly": True}))
    return model


@pytest.fixture(scope="module")
def model():
    return small_model()


def places(model, target):
    """Where the numbers of a target are."""
    first, second, dense = model.layers
    if target == "dropout":
        return [first.rate, second.rate]
    if target == "strength":
        return [dense.kernel_regularizer.strength, dense.bias_regularizer.strength]
    return [getattr(model.optimizer, target)]


def numbers(model, target):
    return [float(place) for place in places(model, target)]


def driven(model, metrics, target="dropout", first=(0.8, 0.8), **options):
    """The values after each epoch of a training with these metrics."""
    callback = ReduceOnPlateau("val_loss", target=target, **options)
    callback.set_model(model)
    for place, value in zip(places(model, target), first, strict=False):
        place.assign(value)
    callback.on_train_begin()
    seen = []
    for epoch, metric in enumerate(metrics):
        callback.on_epoch_begin(epoch)
        callback.on_epoch_end(epoch, {"val_loss": metric})
        seen.append(numbers(model, target))
    return seen


def first_values(*arguments, **options):
    return [values[0] for values in driven(*arguments, **options)]


# What is reduced.


@every_target
def test_every_target_is_reduced_after_patience_and_cooldown_down_to_the_minimum(model, target):
    options = {"factor": 0.5, "patience": 2, "cooldown": 1, "min_value": 0.3}
    seen = first_values(model, [1.0] * 9, target, **options)
    assert seen == pytest.approx([0.8, 0.8, 0.4, 0.4, 0.4, 0.3, 0.3, 0.3, 0.3])


@pytest.mark.parametrize("target", ["dropout", "strength"])
def test_each_of_several_numbers_stops_at_the_minimum(model, target):
    options = {"factor": 0.5, "patience": 1, "min_value": 0.25}
    seen = driven(model, [1.0] * 4, target, first=(0.8, 0.4), **options)
    np.testing.assert_allclose(seen, [[0.8, 0.4], [0.4, 0.25], [0.25, 0.25], [0.25, 0.25]])


def test_a_number_below_the_minimum_is_not_raised(model):
    options = {"factor": 0.5, "patience": 1, "min_value": 0.25}
    seen = driven(model, [1.0] * 3, first=(0.8, 0.125), **options)
    np.testing.assert_allclose(seen, [[0.8, 0.125], [0.4, 0.125], [0.25, 0.125]])


def test_only_what_a_pattern_matches_is_reduced():
    model = small_model()
    plateau = ReduceOnPlateau("loss", patience=1, min_delta=9.0, target="dropout:block*")
    history = fit(model, plateau, epochs=3)
    assert numbers(model, "dropout") == [0.125, 0.5]
    assert history["dropout:block*"] == [0.5, 0.5, 0.25]


@pytest.mark.parametrize("target", [*TARGETS, "dropout:block*", "strength:block*"])
def test_a_model_with_nothing_to_reduce_is_refused(target):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    with pytest.raises(ValueError, match=r"`target`.* Received: "):
        fit(model, ReduceOnPlateau("loss", target=target))


# Relative thresholds.


def law(metrics, value, factor, patience, mode, min_delta, cooldown, min_value, relative):
    """The docstring, written out."""
    seen, best, waited, cooling = [], None, 0, 0
    for metric in metrics:
        gain = 0 if best is None else best - metric if mode == "min" else metric - best
        if best is None or gain > (min_delta * best if relative else min_delta):
            best, waited = metric, 0
        elif not cooling:
            waited += 1
        cooling = max(cooling - 1, 0)
        if waited == patience:
            value, waited, cooling = max(factor * value, min_value), 0, cooldown
        seen.append(value)
    return seen


@laws
@given(
    metrics=st.lists(eighths, min_size=1, max_size=25),
    target=st.sampled_from(TARGETS),
    factor=st.sampled_from([0.0, 0.25, 0.5]),
    patience=st.integers(1, 3),
    mode=st.sampled_from(["min", "max"]),
    min_delta=st.sampled_from([0.0, 0.125, 0.25, 0.5]),
    cooldown=st.integers(0, 3),
    min_value=st.sampled_from([0.0, 0.125, 0.25]),
    threshold_mode=st.sampled_from(["abs", "rel"]),
)
def test_values_are_those_of_the_law(model, metrics, target, threshold_mode, **options):
    seen = first_values(model, metrics, target, threshold_mode=threshold_mode, **options)
    expected = law(metrics, 0.8, relative=threshold_mode == "rel", **options)
    np.testing.assert_allclose(seen, expected, rtol=1e-6)


def test_a_relative_threshold_is_a_part_of_the_best_so_far(model):
    options = {"factor": 0.5, "patience": 1, "min_delta": 0.25, "threshold_mode": "rel"}
    # Of 8 more than 2 are needed, of 5 more than 1.25.
    assert first_values(model, [8.0, 6.0, 5.0, 4.0, 3.0], **options) == pytest.approx(
        [0.8, 0.4, 0.4, 0.2, 0.2]
    )


@pytest.mark.parametrize("mode", ["min", "max"])
def test_for_metrics_below_zero_it_is_a_part_of_their_size(model, mode):
    options = {"factor": 0.5, "patience": 1, "mode": mode, "min_delta": 0.5}
    metrics = [-8.0, -12.0, -13.0] if mode == "min" else [-8.0, -4.0, -3.0]
    seen = first_values(model, metrics, threshold_mode="rel", **options)
    assert seen == pytest.approx([0.8, 0.4, 0.4])


@pytest.mark.parametrize("threshold_mode", ["abs", "rel"])
@pytest.mark.parametrize("min_delta", [0.0, 0.125])
def test_a_number_is_better_than_infinity(model, threshold_mode, min_delta):
    options = {"patience": 2, "min_delta": min_delta, "threshold_mode": threshold_mode}
    assert first_values(model, [math.inf, 4.0, 3.0, 2.0], **options) == pytest.approx([0.8] * 4)


# In a real `fit`.


def fit(model, *callbacks, epochs=8, **options):
    x = np.random.default_rng(0).normal(size=(4, 2))
    options = {"verbose": 0, "shuffle": False, "callbacks": list(callbacks), **options}
    return model.fit(x, x[:, :1], 2, epochs, **options).history


def plateau(target, folder=None):
    """No epoch is better by as much, so that every third one reduces the target."""
    options = {"factor": 0.5, "patience": 2, "cooldown": 1, "min_delta": 9.0}
    return ReduceOnPlateau("loss", target=target, backup_dir=folder, **options)


EXPECTED = [0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125, 0.125]


@pytest.mark.short("strength")
@every_target
def test_the_step_has_the_reduced_value_and_is_not_traced_again(target):
    loss = CountedLoss()
    model, by_hand = small_model(loss, jit_compile=False), small_model()

    def set_numbers(epoch, logs):
        if target in ("dropout", "strength"):
            for place in places(by_hand, target):
                place.assign(EXPECTED[epoch])
        else:
            setattr(by_hand.optimizer, target, EXPECTED[epoch])

    assert fit(model, plateau(target))[target] == EXPECTED
    fit(by_hand, keras.callbacks.LambdaCallback(on_epoch_begin=set_numbers))
    for mine, theirs in zip(model.get_weights(), by_hand.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5)
    traced, without = loss.traces, CountedLoss()
    fit(small_model(without, jit_compile=False))
    assert traced == without.traces


@pytest.mark.parametrize(
    ("target", "epoch", "first"),
    [
        pytest.param("momentum", 2, "plateau", marks=pytest.mark.long),
        pytest.param("weight_decay", 3, "backup", marks=pytest.mark.long),
        pytest.param("dropout", 5, "plateau", marks=pytest.mark.long),
        ("strength", 3, "backup"),
    ],
)
def test_wherever_a_training_stops_it_goes_on_with_the_same_values(target, epoch, first, tmp_path):
    def callbacks():
        backup = keras.callbacks.BackupAndRestore(tmp_path / "model")
        both = [plateau(target, tmp_path / "plateau"), backup]
        return both if first == "plateau" else both[::-1]

    with pytest.raises(Interrupted):
        fit(small_model(), *callbacks(), Interrupt(epoch))
    resumed = small_model()
    rest = fit(resumed, *callbacks())
    assert rest[target] == EXPECTED[epoch:]
    whole = small_model()
    assert fit(whole, plateau(target))["loss"][epoch:] == rest["loss"]
    for mine, theirs in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
