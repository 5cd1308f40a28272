"""Programs are kept for the process: models of one structure are traced once."""

import keras
import numpy as np
import pytest
from helpers.layers import CallsPython

from kerasreg.lanes import Lanes, _programs

layers = keras.layers
X = np.random.default_rng(0).normal(size=(24, 4)).astype("float32")
Y = np.random.default_rng(1).normal(size=(24, 1)).astype("float32")


def model(number=0, units=3, momentum=0.5, rate=0.25, frozen=False):
    keras.utils.set_random_seed(number)
    built = keras.Sequential(
        [keras.Input((4,)), layers.Dense(units), layers.Dropout(rate), layers.Dense(1)]
    )
    built.layers[0].trainable = not frozen
    optimizer = keras.optimizers.SGD(0.01 * (number + 1), momentum=momentum)
    built.compile(optimizer, "mse", metrics=["mae"], jit_compile=False)
    return built


def trained(*models, **arguments):
    together = Lanes(models)
    histories = together.fit(X, Y, 8, 2, seed=1, **arguments)
    return together, [history.history for history in histories]


def test_the_second_time_nothing_is_traced_and_all_is_the_same():
    first, histories = trained(model(0), model(1))
    again, same = trained(model(0), model(1))
    other, different = trained(model(2), model(3))
    assert first.traces > 0
    assert again.traces == other.traces == 0
    assert same == histories
    assert different != histories
    alone = Lanes([model(2), model(3)], random_numbers="keras")
    expected = alone.fit(X, Y, 8, 2, seed=1)
    assert alone.traces > 0
    assert [len(history.epoch) for history in expected] == [2, 2]
    # Other data of the same kind is no other program, and validation is traced when it comes.
    validated, found = trained(model(4), model(5), validation_data=(X[:7], Y[:7]))
    assert 0 < validated.traces < first.traces
    assert len(found[0]["val_mae"]) == 2


@pytest.mark.long
def test_what_decides_on_a_program_makes_another_one():
    trained(model(0), model(1))
    others = [{"units": 4}, {"momentum": 0.75}, {"rate": 0.5}, {"frozen": True}]
    found = []
    for other in others:
        together, histories = trained(model(0, **other), model(1, **other))
        assert together.traces > 0, other
        found.append(histories)
    for other, histories in zip(others, found, strict=True):
        keras.utils.clear_session()
        _programs.clear()
        assert trained(model(0, **other), model(1, **other))[1] == histories, other


def test_more_lanes_are_another_program():
    trained(model(0), model(1))
    together, _ = trained(model(0), model(1), model(2))
    assert together.traces > 0


def test_numbers_that_differ_among_lanes_are_no_constants_of_later_ones():
    trained(model(0, rate=0.1), model(1, rate=0.4))
    again, histories = trained(model(0, rate=0.2), model(1, rate=0.3))
    assert again.traces == 0
    single, expected = trained(model(0, rate=0.2))
    for name, values in expected[0].items():
        np.testing.assert_allclose(histories[0][name], values, rtol=1e-5)
    assert single.traces > 0


def test_a_model_that_was_changed_since_is_traced_anew():
    one = model(0)
    trained(one, model(1))
    one.layers[0].trainable = False
    together, histories = trained(model(0), model(1))
    assert together.traces > 0
    assert histories == trained(model(0), model(1))[1]


def test_a_model_that_was_compiled_again_is_traced_anew():
    one = model(0)
    trained(one, model(1))
    one.compile(keras.optimizers.SGD(0.01, momentum=0.5), "mse", metrics=["mae"])
    # The second time other batches are traced, of which the first program knows nothing.
    together, _ = trained(model(0), model(1), validation_data=(X, Y))
    assert together.traces > 0
    with together.view(1) as shown:
        assert int(shown.optimizer.iterations) == 6


def test_what_was_refused_is_refused_again():
    def build():
        built = keras.Sequential([keras.Input((4,)), CallsPython(), layers.Dense(1)])
        built.compile("sgd", "mse", jit_compile=False)
        return built

    for _ in range(2):
        with pytest.raises(ValueError, match="it calls back into Python"):
            trained(build(), build())


def test_few_programs_are_kept():
    for units in range(2, 14):
        Lanes([model(0, units)]).predict(X)
    assert len(_programs._programs) == 8
    assert Lanes([model(1, 13)]).predict(X).shape == (1, 24, 1)
