"""What the tests of lanes share: the same trials, trained together and each alone."""

import re

import keras
import numpy as np
import pytest
from helpers import data

from kerasreg import lanes


def _close(found, expected, tolerance, what):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape, what
    if not np.issubdtype(expected.dtype, np.floating):
        np.testing.assert_array_equal(found, expected, err_msg=what)
        return
    # Of the array's scale: single entries may be next to zero by cancellation.
    scale = max(np.nanmax(np.abs(expected), initial=0.0), 1e-3)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale, err_msg=what)


def _by_plain_name(logs):
    # Keras counts the names of metrics up from model to model.
    plain = {re.sub(r"_\d+$", "", name): values for name, values in logs.items()}
    assert len(plain) == len(logs)
    return plain


def _equal_logs(found, expected, tolerance=1e-4):
    found, expected = _by_plain_name(found), _by_plain_name(expected)
    assert set(found) == set(expected)
    for name, values in expected.items():
        _close(found[name], values, tolerance, name)


def _equal_models(found, expected, tolerance=1e-4):
    _equal = [(f"weight {v.path}", v) for v in expected.variables]
    _equal += [(f"slot {v.path}", v) for v in expected.optimizer.variables]
    mine = [*found.variables, *found.optimizer.variables]
    assert len(mine) == len(_equal)
    for variable, (what, other) in zip(mine, _equal, strict=True):
        _close(variable.numpy(), other.numpy(), tolerance, what)


def _trials(build, count):
    """Models whose initial weights, and all else drawn at random, depend on their number."""
    models = []
    for number in range(count):
        keras.utils.set_random_seed(number)
        models.append(build(number))
    return models


def _same_as_alone(
    build,
    x,
    y,
    count=2,
    tolerance=1e-4,
    jit_compile=False,
    callbacks=None,
    epochs=3,
    alone=None,
    random_numbers="keras",
    **arguments,
):
    """Trains trials as lanes and, again, alone by Keras: all that is left is the same.

    Args:
        build: the compiled model of a number.
        callbacks: the callbacks of a number.
        alone: the numbers that are trained alone too, by default the last one. The program is
            traced from the first model: a later one differs in all that could be mixed up.
        arguments: of `fit`, both of Keras and of lanes.

    Returns:
        The lanes and their histories.
    """
    together = lanes.Lanes(_trials(build, count), jit_compile, random_numbers=random_numbers)
    arguments = {"batch_size": 16, "epochs": epochs, "shuffle": False, **arguments}
    own = None if callbacks is None else [callbacks(number) for number in range(count)]
    histories = together.fit(x, y, callbacks=own, **arguments)
    assert [history.error for history in histories] == [None] * count
    for number in [count - 1] if alone is None else alone:
        keras.utils.set_random_seed(number)
        model = build(number)
        own = None if callbacks is None else callbacks(number)
        expected = model.fit(x, y, callbacks=own, verbose=0, **arguments).history
        _equal_logs(histories[number].history, expected, tolerance)
        _equal_models(together.unstack(number), model, tolerance)
    return together, histories


def _all_values(together):
    """The variables of all lanes, those of optimizers too, each with a first axis of lanes."""
    values = []
    for lane in range(len(together)):
        with together.view(lane) as model:
            values.append([np.array(v) for v in [*model.variables, *model.optimizer.variables]])
    return [np.stack(of_lanes) for of_lanes in zip(*values, strict=True)]


@pytest.fixture(scope="session")
def all_values():
    return _all_values


@pytest.fixture(scope="session")
def same_as_alone():
    return _same_as_alone


@pytest.fixture(scope="session")
def trials():
    return _trials


@pytest.fixture(scope="session")
def equal_logs():
    return _equal_logs


@pytest.fixture(scope="session")
def equal_models():
    return _equal_models


@pytest.fixture(scope="session")
def blobs():
    """With a last batch of 8 of 40; and 20 to validate."""
    return data.blobs(60, 40)
