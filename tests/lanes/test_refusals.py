"""What is refused is refused each time, by each method, and leaves the lanes as they were."""

import warnings

import keras
import numpy as np
import pytest
from helpers.layers import CallsPython

from kerasreg import lanes
from kerasreg.layers import ScheduledDropout

layers = keras.layers
X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
Y = np.ones((8, 2), "float32")


def model(*middle):
    found = keras.Sequential([keras.Input((3,)), layers.Dense(2), *middle])
    found.compile("sgd", "mse", jit_compile=False)
    return found


class Counts(layers.Layer):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def call(self, x):
        if not isinstance(x, keras.KerasTensor):
            self.calls += 1
        return x


REFUSED = {
    Counts: r"cannot be a lane: its Python objects change.*counts.*calls",
    CallsPython: r"cannot be a lane: it calls back into Python \(.*calls_python",
}
ASKED = {
    "fit": lambda together: together.fit(X, Y),
    "evaluate": lambda together: together.evaluate(X, Y),
    "predict": lambda together: together.predict(X),
}


@pytest.mark.parametrize("method", ASKED)
@pytest.mark.parametrize("layer", REFUSED)
def test_what_its_calls_show_to_be_no_lane(layer, method):
    together = lanes.Lanes([model(layer()), model(layer())])
    # The second time nothing is traced, and it is no better.
    for _ in range(2):
        with pytest.raises(ValueError, match=REFUSED[layer]):
            ASKED[method](together)


def test_each_layer_without_a_vectorised_form_is_named_once():
    def build(number):
        first = layers.GaussianNoise(0.1, seed=number, name="one")
        return model(first, layers.Dense(2), layers.Dropout(0.1, seed=number, name="two"))

    together = lanes.Lanes([build(0), build(1)], random_numbers="keras")
    with pytest.warns(UserWarning, match="has no vectorised form") as found:
        together.fit(X, Y, 4)
    messages = [str(one.message) for one in found if "vectorised" in str(one.message)]
    assert any("one: " in message or "/one" in message for message in messages)
    assert any("two: " in message or "/two" in message for message in messages)
    assert len(set(messages)) == len(messages)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        together.fit(X, Y, 4)


CALLBACK = keras.callbacks.Callback()
BAD = {
    "no such size": ("`validation_batch_size`", {"validation_batch_size": 0}),
    "negative size": ("`validation_batch_size`", {"validation_batch_size": -1}),
    "fraction of a batch": ("`batch_size`", {"batch_size": 1.5}),
    "truth for a batch": ("`batch_size`", {"batch_size": True}),
    "no epochs for one": ("`epochs`", {"epochs": [1, 0]}),
    "first epochs": ("`initial_epoch` must be a number, or one", {"initial_epoch": [0]}),
    "negative row": ("`rows` must have", {"rows": [[0, 1], [-1]]}),
    "rows of rows": ("`rows` must have", {"rows": [[0, 1], [[0, 1]]]}),
    "a mask": ("`rows` must have", {"rows": [[True] * 8, [False] * 8]}),
    "no rows": ("`rows` must have", {"rows": [[0, 1], []]}),
    "rows of one": ("`validation_rows` must have", {"validation_rows": [[0]]}),
    "row too far": ("`validation_rows` must have", {"validation_rows": [[0], [4]]}),
    "lengths": ("arrays of the same length", {"y": Y[:3]}),
    "lengths to validate": ("arrays of the same length", {"validation_data": (X, Y[:3])}),
    "no examples": ("at least 1", {"x": X[:0], "y": Y[:0]}),
    "a part below none": ("`validation_split`", {"validation_split": -0.5}),
    "too large a part": ("`validation_split`", {"validation_split": 0.99}),
    "twice in a lane": ("the same callback twice", {"callbacks": [[CALLBACK] * 2, []]}),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_arguments_of_fit(kind):
    message, arguments = BAD[kind]
    together = lanes.Lanes([model(), model()])
    before = together.get_values()
    given = {"x": X, "y": Y, "epochs": 1, **arguments}
    if "split" not in message:
        given = {"validation_data": (X[:4], Y[:4]), **given}
    with pytest.raises(ValueError, match=message):
        together.fit(**given)
    for value, old in zip(together.get_values(), before, strict=True):
        np.testing.assert_array_equal(value, old)


def test_bad_arguments_of_evaluate_and_predict():
    together = lanes.Lanes([model(), model()])
    for ask in (lambda: together.evaluate(X, Y, 0), lambda: together.predict(X, -1)):
        with pytest.raises(ValueError, match="`batch_size`"):
            ask()
    for ask in (lambda: together.evaluate(X[:0], Y[:0]), lambda: together.predict(X[:0])):
        with pytest.raises(ValueError, match="at least 1"):
            ask()
    with pytest.raises(ValueError, match="`jit_compile`"):
        lanes.Lanes([model()], jit_compile="x")


def test_a_model_that_cannot_be_loaded_changes_no_lane():
    together = lanes.Lanes([model(), model()])
    before = together.get_values()
    uncompiled = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    unbuilt = keras.Sequential([layers.Dense(2)])
    unbuilt.compile("sgd", "mse")
    for other, why in [
        (uncompiled, "not compiled"),
        (unbuilt, "not built"),
        (model(layers.Dense(2)), "share no program"),
    ]:
        # The first of the two could be loaded.
        with pytest.raises(ValueError, match=why):
            together.load({0: model(), 1: other})
        with pytest.raises(ValueError, match=why):
            together.assign_hyperparameters(0, other)
        with pytest.raises(ValueError, match=why):
            together.unstack(0, other)
    for value, old in zip(together.get_values(), before, strict=True):
        np.testing.assert_array_equal(value, old)


def test_one_lane_is_refused_as_many_are():
    # A single lane is not vectorised, and is looked at all the same.
    for layer, message in REFUSED.items():
        with pytest.raises(ValueError, match=message):
            lanes.Lanes([model(layer())]).fit(X, Y)


def test_nothing_random_but_the_seeds(trials, all_values):
    def build(number):
        dropout = layers.Dropout(0.3, seed=number), ScheduledDropout(0.3, seed=number)
        return model(layers.Dense(4, "relu"), *dropout, layers.Dense(2))

    found = []
    for _ in range(2):
        together = lanes.Lanes(trials(build, 2))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            histories = together.fit(X, Y, 3, 3, seed=4, validation_split=0.25)
        found.append((all_values(together), [history.history for history in histories]))
    for one, other in zip(found[0][0], found[1][0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert found[0][1] == found[1][1]


def test_what_runs_for_one_lane_after_the_other_is_an_attribute():
    built = [model(layers.Dropout(0.5, name="one")) for _ in range(2)]
    together = lanes.Lanes(built, random_numbers="keras")
    assert together.loops == []
    with pytest.warns(UserWarning, match="has no vectorised form"):
        together.fit(X, Y, 4)
    assert together.loops
    for layer, operation in together.loops:
        assert "/one" in layer
        assert "Random" in operation
