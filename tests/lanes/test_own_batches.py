"""Lanes with seeds of their own have orders of their own, the same alone and among others."""

import keras
import numpy as np
import pytest
from keras import layers

from kerasreg import lanes

pytestmark = pytest.mark.shares_programs
RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 4)).astype("float32")
Y = RNG.normal(size=(40, 1)).astype("float32")


def model(number):
    keras.utils.set_random_seed(number)
    made = keras.Sequential([keras.Input((4,)), layers.Dense(5, "tanh"), layers.Dense(1)])
    made.compile(keras.optimizers.SGD(0.05 * (number + 1)), "mse")
    return made


def train(numbers, seed, **arguments):
    together = lanes.Lanes([model(number) for number in numbers])
    histories = together.fit(X, Y, batch_size=16, epochs=3, seed=seed, **arguments)
    return together, histories


def equal(model, other):
    for mine, its in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-5, atol=1e-6)


def test_each_lane_has_the_batches_of_its_seed():
    together, histories = train([0, 1, 2], [7, 8, 7])
    assert [history.params["seed"] for history in histories] == [7, 8, 7]
    for number, seed in enumerate([7, 8, 7]):
        alone = model(number)
        for epoch in range(3):
            order = lanes.batch_order(40, epoch, seed=seed)
            alone.fit(X[order], Y[order], batch_size=16, shuffle=False, verbose=0)
        equal(together.unstack(number), alone)


def test_a_lane_is_what_it_is_with_one_seed_for_all():
    among, _ = train([0, 1], [7, 8])
    shared, _ = train([0, 1], 8)
    equal(among.unstack(1), shared.unstack(1))


def test_a_replacement_brings_its_seed():
    waiting = [lanes.Replacement(model(2), seed=3)]
    together, histories = train(
        [0, 1], [7, 8], refill=lambda ended: {1: waiting.pop()} if waiting else {}
    )
    expected, _ = train([2], 3)
    equal(together.unstack(1), expected.unstack(0))
    assert histories[2].params["seed"] == 3


def test_rows_are_ordered_by_the_seed_too():
    rows = [np.arange(30), np.arange(5, 35)]
    together, _ = train([0, 1], [7, 8], rows=rows)
    alone, _ = train([1], 8, rows=rows[1:])
    equal(together.unstack(1), alone.unstack(0))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"seed": [1, 2, 3]}, r"`seed` must be a number, or one for each of 2 lanes"),
        ({"seed": [1, -2]}, r"`seed` must be a whole number >= 0"),
        ({"seed": [1, 2], "steps_per_epoch": 2}, r"`seed` must be one number where the data"),
        (
            {"seed": [1, 2], "refill": lambda ended: {0: lanes.Replacement(model(0))}},
            r"`seed` of a replacement must be given",
        ),
        (
            {"seed": 1, "refill": lambda ended: {0: lanes.Replacement(model(0), seed=2)}},
            r"`seed` of a replacement must be given if, and only if",
        ),
    ],
)
def test_what_is_no_seed_is_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        train([0, 1], **arguments)
