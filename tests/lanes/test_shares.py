"""Lanes that XLA compiles are moved in shares, each by one core: what comes out is the same."""

import keras
import numpy as np
import pytest

from kerasreg import lanes
from kerasreg.lanes import _programs
from kerasreg.lanes._shares import at_once, joined, shares_of

tensorflow_alone = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="JAX divides among cores by itself"
)


@pytest.mark.parametrize("cores", [1, 2, 3, 64])
@pytest.mark.parametrize("count", [1, 7, 8, 17, 64, 65, 127, 128, 1000, 1024])
def test_shares_are_of_one_size_and_have_every_lane(count, cores):
    shares = shares_of(count, cores)
    assert len({share.stop - share.start for share in shares}) == 1
    assert sorted({lane for share in shares for lane in range(count)[share]}) == list(range(count))
    size = shares[0].stop
    assert size <= 64
    # As many for each core, where there are enough lanes for that.
    assert size < 16 or len(shares) % cores == 0 or count / len(shares) < 16


def test_values_of_shares_are_joined_with_each_lane_once():
    for count in (5, 17, 127, 130):
        shares, whole = shares_of(count, 2), np.arange(count)
        (found,) = joined([[whole[share]] for share in shares], shares, np.concatenate)
        np.testing.assert_array_equal(found, whole)


def test_an_error_of_a_share_is_raised():
    def fails():
        raise ValueError("share")

    assert at_once([lambda: 1, lambda: 2, lambda: 3], 2) == [1, 2, 3]
    with pytest.raises(ValueError, match="share"):
        at_once([lambda: 1, fails], 2)


def classifiers(count):
    models = []
    for number in range(count):
        keras.utils.set_random_seed(number)
        model = keras.Sequential(
            [
                keras.Input((6,)),
                keras.layers.Dense(4, "tanh"),
                keras.layers.Dropout(0.1 + 0.02 * number, seed=number),
                keras.layers.Dense(3),
            ]
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(0.01 * (number + 1)), loss)
        models.append(model)
    return models


@pytest.mark.short("True")
@tensorflow_alone
@pytest.mark.parametrize("own_rows", [False, True])
def test_lanes_in_shares_are_what_they_are_as_a_whole(own_rows, monkeypatch):
    monkeypatch.setattr("kerasreg.lanes._tensorflow._cores", lambda: 2)
    # Seventeen: in two shares of nine, which have a lane in common.
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 6)).astype("float32"), rng.integers(0, 3, 30)
    rows = {"rows": [np.arange(30 - n % 3) for n in range(17)]} if own_rows else {}
    # With rows of their own, all lanes of the first share rest after an epoch.
    ends = [1 if n < 9 else 3 for n in range(17)] if own_rows else [1 + n % 3 for n in range(17)]

    def trained(jit_compile):
        found = lanes.Lanes(classifiers(17), jit_compile=jit_compile)
        histories = found.fit(x, y, batch_size=8, epochs=ends, seed=1, **rows)
        return found.get_values(), [history.history["loss"] for history in histories]

    values, losses = trained(True)
    expected, expected_losses = trained(False)
    for mine, other in zip(values, expected, strict=True):
        np.testing.assert_allclose(mine, other, atol=2e-5)
    for mine, other, end in zip(losses, expected_losses, ends, strict=True):
        assert len(mine) == end
        np.testing.assert_allclose(mine, other, rtol=1e-4)


@pytest.mark.long
@tensorflow_alone
def test_validations_are_compiled_if_they_are_long(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 6)).astype("float32"), rng.integers(0, 3, 20)
    given = {"batch_size": 8, "seed": 1, "validation_data": (x, y), "validation_freq": 2}

    def trained(least):
        monkeypatch.setattr("kerasreg.lanes._epochs._STEPS_WORTH_COMPILING", least)
        _programs.clear()  # What was compiled before would do.
        found = lanes.Lanes(classifiers(2))
        histories = found.fit(x, y, epochs=4, **given)
        return found.compilations, [history.history for history in histories]

    # Two lanes, twelve steps of training, and two epochs of three of validation.
    compilations, expected = trained(25)
    assert compilations == 0
    for least, compiled in ((24, 1), (5, 1), (4, 2)):
        compilations, found = trained(least)
        assert compilations == compiled, least
        for mine, other in zip(found, expected, strict=True):
            for name, values in other.items():
                np.testing.assert_allclose(mine[name], values, rtol=1e-4)


@tensorflow_alone
def test_a_step_gives_what_it_changes_and_nothing_else():
    found = lanes.Lanes(classifiers(2), jit_compile=False)
    x, y = np.ones((4, 6), "float32"), np.zeros(4, "int32")
    found.fit(x, y, batch_size=2)
    before = found._stack.state.values
    found.evaluate(x, y, batch_size=2)
    after, variables = found._stack.state.values, found._stack.state.variables
    changed = {v.path for v, b, a in zip(variables, before, after, strict=True) if b is not a}
    assert changed == {v.path for v in found.model.metrics_variables}
