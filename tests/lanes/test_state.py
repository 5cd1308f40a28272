"""State goes in from models, from lane to lane, and out to models again."""

import keras
import numpy as np
import pytest

from kerasreg import lanes
from kerasreg.layers import ScheduledDropout
from kerasreg.regularizers import L2

pytestmark = pytest.mark.shares_programs

layers, optimizers = keras.layers, keras.optimizers


def classifier(number, **arguments):
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(4, "tanh", kernel_regularizer=L2(0.01 * (number + 1))),
            layers.BatchNormalization(),
            ScheduledDropout(0.1 * (number + 1), seed=number),
            layers.Dense(3),
        ]
    )
    model.compile(
        optimizers.SGD(0.02 * (number + 1), momentum=0.1 * (number + 1)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    return model


@pytest.fixture(scope="module")
def after_two_epochs(blobs, trials):
    """Lanes that were trained, and models with what each of them had then."""
    together = lanes.Lanes(trials(classifier, 3))
    together.fit(blobs[0], blobs[1], 16, 2, shuffle=False)
    return together, [together.unstack(lane, classifier(lane)) for lane in range(3)]


@pytest.fixture
def trained(after_two_epochs):
    together, models = after_two_epochs
    together.load(dict(enumerate(models)))
    return together


@pytest.fixture(scope="module")
def last_after_four_epochs(blobs, trials):
    model = trials(classifier, 3)[2]
    model.fit(blobs[0], blobs[1], 16, 4, shuffle=False, verbose=0)
    return model


def test_a_lane_that_is_loaded_is_that_model(trained, blobs, last_after_four_epochs, equal_models):
    x, y, _ = blobs
    traces = trained.traces
    keras.utils.set_random_seed(7)
    model, other = classifier(3), classifier(3)
    other.set_weights(model.get_weights())
    trained.load({1: model})
    trained.fit(x, y, 16, 2, shuffle=False)
    other.fit(x, y, 16, 2, shuffle=False, verbose=0)
    equal_models(trained.unstack(1, classifier(1)), other)
    assert trained.traces == traces
    # The others have gone on.
    equal_models(trained.unstack(2, classifier(2)), last_after_four_epochs)


def test_a_copy_is_a_copy_of_everything(trained, blobs, all_values):
    trained.copy(2, 0)
    for value in all_values(trained):
        np.testing.assert_array_equal(value[0], value[2])
    for lane in (0, 2):
        with trained.view(lane) as model:
            assert float(model.layers[0].kernel_regularizer.strength) == pytest.approx(0.03)
    trained.fit(blobs[0], blobs[1], 16, 2, shuffle=False)
    for value in trained.get_values():
        np.testing.assert_allclose(value[0], value[2], rtol=1e-5, atol=1e-6)
    kernel = trained.get_values()[0]
    assert not np.allclose(kernel[0], kernel[1], atol=1e-2)


def test_hyperparameters_of_another_model(trained, blobs, equal_models):
    x, y, _ = blobs
    before = [np.array(value) for value in trained.get_values()]
    alone = trained.unstack(0, classifier(0))
    trained.assign_hyperparameters(0, classifier(4))
    kernel = before[0]
    np.testing.assert_array_equal(trained.get_values()[0], kernel)
    alone.optimizer.learning_rate = 0.1
    alone.optimizer.momentum = 0.5
    alone.layers[2].rate.assign(0.5)
    alone.layers[0].kernel_regularizer.strength.assign(0.05)
    alone.fit(x, y, 16, 2, shuffle=False, verbose=0)
    trained.fit(x, y, 16, 2, shuffle=False)
    copy = classifier(0)
    equal_models(trained.unstack(0, copy), alone)


def test_a_model_that_came_out_goes_on_as_by_keras(
    trained, blobs, last_after_four_epochs, equal_models
):
    model = trained.unstack(2, classifier(2))
    model.fit(blobs[0], blobs[1], 16, 2, shuffle=False, verbose=0)
    equal_models(model, last_after_four_epochs)


def test_the_models_are_not_changed(blobs, trials):
    models = trials(classifier, 2)
    before = [[np.array(v) for v in model.variables] for model in models]
    together = lanes.Lanes(models)
    together.fit(blobs[0], blobs[1], 16, 1)
    together.evaluate(blobs[0], blobs[1])
    together.predict(blobs[0])
    for model, values in zip(models, before, strict=True):
        for variable, value in zip(model.variables, values, strict=True):
            np.testing.assert_array_equal(variable, value)


def test_evaluate_and_predict_are_keras(trained, blobs):
    x, y, _ = blobs
    found = trained.evaluate(x, y, batch_size=16)
    outputs = trained.predict(x, batch_size=16)
    assert outputs.shape == (3, 40, 3)
    for number in (0, 2):
        model = trained.unstack(number, classifier(number))
        expected = model.evaluate(x, y, batch_size=16, verbose=0, return_dict=True)
        assert found[number] == pytest.approx(expected, rel=1e-5)
        np.testing.assert_allclose(outputs[number], model.predict(x, verbose=0), atol=1e-5)
    # It changes nothing.
    assert trained.evaluate(x, y, batch_size=16) == found


def test_predictions_keep_the_structure_of_outputs():
    inputs = {"a": keras.Input((2,), name="a"), "b": keras.Input((3,), name="b")}
    hidden = layers.Concatenate()([inputs["a"], inputs["b"]])
    outputs = {"one": layers.Dense(1)(hidden), "two": layers.Dense(2)(hidden)}
    models = []
    for _ in range(2):
        model = keras.Model(inputs, outputs)
        model.compile("sgd", {"one": "mse", "two": "mse"})
        models.append(keras.models.clone_model(model))
        models[-1].compile("sgd", {"one": "mse", "two": "mse"})
    data = {"a": np.ones((5, 2), "float32"), "b": np.ones((5, 3), "float32")}
    found = lanes.Lanes(models).predict(data, batch_size=2)
    for number, model in enumerate(models):
        for name, value in model.predict(data, verbose=0).items():
            np.testing.assert_allclose(found[name][number], value, atol=1e-6)


def test_what_is_assigned_in_a_view_is_the_lanes(trained):
    before = [np.array(value) for value in trained.get_values()]
    with trained.view(1) as model:
        np.testing.assert_array_equal(model.layers[0].kernel, before[0][1])
        model.layers[0].kernel.assign(np.zeros((6, 4)))
        model.optimizer.learning_rate = 0.125
    after = trained.get_values()
    assert not after[0][1].any()
    for lane in (0, 2):
        for value, old in zip(after, before, strict=True):
            np.testing.assert_array_equal(value[lane], old[lane])
    rates = []
    for lane in range(3):
        with trained.view(lane) as model:
            rates.append(float(model.optimizer.learning_rate))
    assert rates == pytest.approx([0.02, 0.125, 0.06])


def test_lanes_of_one_model_differ_by_what_is_assigned(blobs, equal_models):
    x, y, _ = blobs
    keras.utils.set_random_seed(3)
    model = classifier(0)
    start = model.get_weights()

    def assign(model, lane):
        model.optimizer.learning_rate = 0.1 / (lane + 1)

    together = lanes.Lanes.from_model(model, 3, assign=assign)
    together.fit(x, y, 16, 2, shuffle=False)
    for lane in (0, 2):
        alone = classifier(0)
        alone.set_weights(start)
        alone.optimizer.learning_rate = 0.1 / (lane + 1)
        alone.fit(x, y, 16, 2, shuffle=False, verbose=0)
        equal_models(together.unstack(lane, classifier(0)), alone)
