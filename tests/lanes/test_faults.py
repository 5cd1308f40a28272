"""What cannot be a lane says why, and bad arguments say what is accepted."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.layers import CallsPython

from kerasreg import lanes

layers = keras.layers


def model(*middle, units=2, compiled=True, **arguments):
    found = keras.Sequential([keras.Input((3,)), layers.Dense(units), *middle])
    if compiled:
        found.compile("sgd", "mse", **arguments)
    return found


X = np.ones((8, 3), "float32")
Y = np.ones((8, 2), "float32")


class OwnFunction(keras.Model):
    def call(self, x):
        return x

    def make_train_function(self, force=False):
        return super().make_train_function(force)


def test_models_that_cannot_be_lanes():
    with pytest.raises(ValueError, match="`models` must be at least one model"):
        lanes.Lanes([])
    with pytest.raises(ValueError, match=r"cannot be a lane: .*compile"):
        lanes.Lanes([model(compiled=False)])
    unbuilt = keras.Sequential([layers.Dense(2)])
    unbuilt.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"cannot be a lane: .*built"):
        lanes.Lanes([unbuilt])
    own = OwnFunction()
    own(X)
    own.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"cannot be a lane: .*make_train_function"):
        lanes.Lanes([own])


def test_models_of_other_structure_say_where():
    with pytest.raises(ValueError, match=r"share no program: model\.dense.*against"):
        lanes.Lanes([model(), model(units=3)])
    with pytest.raises(ValueError, match=r"share no program: .*activation.*against"):
        lanes.Lanes([model(layers.Activation("relu")), model(layers.Activation("tanh"))])
    together = lanes.Lanes([model(), model()])
    with pytest.raises(ValueError, match="share no program"):
        together.load({0: model(units=3)})


class Counts(layers.Layer):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def build(self, shape):
        self.calls = 0

    def call(self, x):
        if not isinstance(x, keras.KerasTensor):
            self.calls += 1
        return x


def test_a_layer_that_changes_python_objects_is_named():
    with pytest.raises(ValueError, match=r"objects change when it is called.*counts.*calls"):
        lanes.Lanes([model(Counts()), model(Counts())]).fit(X, Y)


def test_a_layer_that_calls_python_is_named():
    with pytest.raises(ValueError, match=r"calls back into Python \(.*calls_python"):
        lanes.Lanes(
            [model(CallsPython(tf.numpy_function)), model(CallsPython(tf.numpy_function))]
        ).fit(X, Y)


def test_what_has_no_vectorised_form_is_named_once():
    models = [model(layers.Dropout(0.5)), model(layers.Dropout(0.5))]
    together = lanes.Lanes(models, random_numbers="keras")
    with pytest.warns(UserWarning, match=r"dropout.*StatelessRandom.* has no vectorised form"):
        together.fit(X, Y)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        together.fit(X, Y)


BAD = {
    "`batch_size`": {"batch_size": 0},
    "`epochs`": {"epochs": 0},
    "`epochs` must be a number, or one for each": {"epochs": [1, 2, 3]},
    "`initial_epoch`": {"initial_epoch": -1},
    "`seed`": {"seed": -1},
    "one list of callbacks for each lane": {"callbacks": [[]]},
    "`rows` must have": {"rows": [[0, 1], [8]]},
    "`rows` must": {"rows": [[0, 1]]},
    "`rows` must have, for": {"rows": [[0.5], [1.0]]},
    "`validation_rows` must be given with": {"validation_rows": [[0], [1]]},
    "`validation_rows` must have": {"validation_data": (X, Y), "validation_rows": [[0], []]},
    "arrays of the same length": {"sample_weight": np.ones(7)},
    "cannot be given together": {"sample_weight": np.ones(8), "class_weight": {0: 1.0}},
    "`validation_split`": {"validation_split": 1.0},
}


@pytest.mark.parametrize("message", BAD)
def test_arguments_of_fit(message):
    with pytest.raises(ValueError, match=message):
        lanes.Lanes([model(), model()]).fit(X, Y, **BAD[message])


def test_other_arguments():
    with pytest.raises(ValueError, match="`jit_compile` must be True, False"):
        lanes.Lanes([model()], jit_compile="always")
    with pytest.raises(ValueError, match="`count`"):
        lanes.Lanes.from_model(model(), 0)
    with pytest.raises(ValueError, match="`batch_size`"):
        lanes.Lanes([model()]).predict(X, batch_size=0)
    with pytest.raises(ValueError, match="arrays of the same length"):
        lanes.Lanes([model()]).evaluate(X, Y[:3])


def test_one_callback_for_several_lanes_is_refused():
    one = keras.callbacks.EarlyStopping("loss")
    with pytest.raises(ValueError, match=r"the same callback twice: .*EarlyStopping"):
        lanes.Lanes([model(), model()]).fit(X, Y, callbacks=[[one], [one]])


def test_a_late_callback_of_single_batches():
    class Batches(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.seen = []

        def on_train_batch_end(self, batch, logs=None):
            self.seen.append(batch)

    late = Batches()
    later = [lanes.Replacement(model(), [late])]
    lanes.Lanes([model()]).fit(
        X, Y, -(-len(X) // 2), 2, refill=lambda ended: {0: later.pop()} if later else {}
    )
    assert late.seen == [0, 1, 0, 1]


def test_a_lane_that_trains_is_not_taken_over():
    def refill(ended):
        return {1: lanes.Replacement(model())}

    with pytest.raises(ValueError, match=r"lanes that have ended\. Received: lane 1"):
        lanes.Lanes([model(), model()]).fit(X, Y, epochs=[1, 2], refill=refill)
