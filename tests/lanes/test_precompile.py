"""What is compiled before `fit` is what `fit` runs."""

import inspect

import keras
import numpy as np
import pytest

from kerasreg import lanes
from kerasreg.lanes._training import FitArguments
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


@pytest.fixture(scope="module")
def plain(blobs, trials):
    """Lanes for which nothing is compiled ahead, and their histories."""
    x, y, validation_data = blobs
    together = lanes.Lanes(trials(classifier, 3))
    return together, together.fit(x, y, 16, 3, validation_data=validation_data, seed=4)


@pytest.mark.short("True")
@pytest.mark.parametrize("by_xla", [True, False])
def test_it_changes_no_result_and_all_is_traced(
    blobs, trials, plain, equal_logs, equal_models, by_xla
):
    x, y, validation_data = blobs
    given = {"batch_size": 16, "validation_data": validation_data, "seed": 4}
    first = trials(classifier, 1)[0]
    together = lanes.Lanes([first] * 3)

    def on_epoch_end(epochs, logs):
        together.stopped[:] = epochs[0] == 2

    # So few steps are not worth a compilation, if it is not said that there are to be more.
    planned = {
        "epochs": 2000 if by_xla else 3,
        "on_epoch_end": on_epoch_end,
        # Of models to come, which may differ in any number.
        "refill": lambda ended: {},
    }
    together.precompile(x, y, **planned, **given)
    traces, compilations = together.traces, together.compilations
    assert (compilations > 0) == by_xla
    together.load(dict(enumerate(trials(classifier, 3))))
    histories = together.fit(x, y, **planned, **given)
    assert (together.traces, together.compilations) == (traces, compilations)
    as_ever, their_histories = plain
    for one, other in zip(histories, their_histories, strict=True):
        equal_logs(one.history, other.history, 1e-5)
    for lane in range(3):
        equal_models(together.unstack(lane), as_ever.unstack(lane), 1e-4)


def test_it_moves_nothing(blobs, trials):
    x, y, _ = blobs
    together = lanes.Lanes(trials(classifier, 2))
    before = together.get_values()
    together.precompile(x, y, epochs=2, batch_size=16)
    together.evaluate(x, y, 16)  # Waits for what compiles, and moves nothing either.
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
    for method in (together.precompile, together.fit):
        with pytest.raises(ValueError, match="cannot be a lane"):
            method(x, y)


def test_the_arguments_of_fit_are_those_that_are_checked():
    _, *fit = inspect.signature(lanes.Lanes.fit).parameters.values()
    _, *checked = inspect.signature(FitArguments).parameters.values()
    assert [(one.name, one.default) for one in fit] == [(one.name, one.default) for one in checked]
