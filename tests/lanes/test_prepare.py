"""What is compiled before `fit` is what `fit` runs."""

import keras
import numpy as np
import pytest

from kerasreg import lanes
from kerasreg.lanes import _epochs
from kerasreg.layers import ScheduledDropout


def classifier(number):
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(
                5, "relu", kernel_regularizer=keras.regularizers.L2(0.01 * (number + 1))
            ),
            ScheduledDropout(0.1 * number, seed=number),
            keras.layers.Dense(3),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"], jit_compile=False)
    return model


@pytest.fixture(params=["by XLA", "by TensorFlow"])
def compiled(request, monkeypatch):
    # So few steps are not worth it otherwise.
    if request.param == "by XLA":
        monkeypatch.setattr(_epochs, "_STEPS_WORTH_COMPILING", 1)
    return request.param == "by XLA"


def test_it_changes_no_result_and_all_is_traced(blobs, trials, equal_logs, equal_models, compiled):
    x, y, validation_data = blobs
    given = {"batch_size": 16, "epochs": 3, "validation_data": validation_data, "seed": 4}
    first = trials(classifier, 1)[0]
    together = lanes.Lanes([first] * 3)
    # With models to come, which may differ in any number.
    together.prepare(x, y, refill=lambda ended: {}, **given)
    program = together._epochs._program
    traces, runs = program.traces, len(program._runs)
    assert any(by_xla for _, by_xla, _ in program._runs) == compiled
    together.load(dict(enumerate(trials(classifier, 3))))
    histories = together.fit(x, y, refill=lambda ended: {}, **given)
    assert together._epochs._program is program
    assert (program.traces, len(program._runs)) == (traces, runs)
    plain = lanes.Lanes(trials(classifier, 3))
    for one, other in zip(histories, plain.fit(x, y, **given), strict=True):
        equal_logs(one.history, other.history, 1e-5)
    for lane in range(3):
        equal_models(together.unstack(lane), plain.unstack(lane), 1e-4)


def test_it_moves_nothing(blobs, trials):
    x, y, _ = blobs
    together = lanes.Lanes(trials(classifier, 2))
    before = together.get_values()
    together.prepare(x, y, epochs=2, batch_size=16)
    together._epochs._wait()
    for old, new in zip(before, together.get_values(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_what_cannot_be_compiled_is_told_by_fit_too(blobs, trials):
    class Counts(keras.layers.Layer):
        calls = 0

        def call(self, inputs):
            self.calls += 1
            return inputs

    def build(number):
        model = keras.Sequential([keras.Input((6,)), Counts(), keras.layers.Dense(3)])
        model.compile("sgd", "mse")
        return model

    x, y = blobs[0], np.zeros((len(blobs[0]), 3))
    together = lanes.Lanes(trials(build, 2))
    for method in (together.prepare, together.fit):
        with pytest.raises(ValueError, match="cannot be a lane"):
            method(x, y)
