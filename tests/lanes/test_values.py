"""The values of lanes are those of their models, bit by bit, with and without training."""

import keras
import numpy as np
import pytest

from kerasreg import lanes
from kerasreg.layers import ScheduledDropout

pytestmark = pytest.mark.shares_programs

layers, optimizers = keras.layers, keras.optimizers


def classifier(number, optimizer=None):
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(4, "tanh"),
            ScheduledDropout(0.1 * (number + 1), seed=number),
            layers.Dense(3),
        ]
    )
    model.compile(
        optimizer or optimizers.Adam(0.01 * (number + 1)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    return model


def by_keras(model, x, y, epochs=2):
    model.fit(x, y, 16, epochs, shuffle=False, verbose=0)
    return model


def test_values_go_in_and_out_unchanged(trials):
    models = trials(classifier, 3)
    together = lanes.Lanes(models)
    for value, *variables in zip(
        together.get_values(), *(model.variables for model in models), strict=True
    ):
        np.testing.assert_array_equal(value, np.stack([np.array(of) for of in variables]))
    for lane, model in enumerate(models):
        other = together.unstack(lane, classifier(7))
        for found, expected in zip(other.variables, model.variables, strict=True):
            np.testing.assert_array_equal(found, expected)
        assert float(other.optimizer.learning_rate) == float(model.optimizer.learning_rate)


def test_models_that_were_trained_before_beside_fresh_ones(blobs, trials, equal_models):
    x, y, _ = blobs
    models, fresh = trials(classifier, 3), trials(classifier, 3)
    old = by_keras(models[0], x, y)
    together = lanes.Lanes([old, models[1]])
    together.fit(x, y, 16, 2, shuffle=False)
    # The lanes leave the model as it was: by Keras it goes on from there.
    equal_models(together.unstack(0, classifier(0)), by_keras(old, x, y))
    # The other has the slots of an optimizer that did nothing yet, and not its neighbour's.
    equal_models(together.unstack(1), by_keras(fresh[1], x, y))
    # Also where they come later.
    together.load({0: models[2], 1: old})
    together.fit(x, y, 16, 2, shuffle=False)
    equal_models(together.unstack(0), by_keras(fresh[2], x, y))
    equal_models(together.unstack(1, classifier(0)), by_keras(old, x, y))


def test_a_trained_model_is_loaded_with_its_slots(blobs, trials, equal_models):
    x, y, _ = blobs
    together = lanes.Lanes(trials(classifier, 2))
    together.fit(x, y, 16, 1, shuffle=False)
    trained = by_keras(trials(classifier, 3)[2], x, y)
    together.load({1: trained})
    together.fit(x, y, 16, 2, shuffle=False)
    equal_models(together.unstack(1, classifier(2)), by_keras(trained, x, y))


def test_a_number_of_its_own_that_comes_later(blobs, trials, equal_models):
    x, y, _ = blobs

    def build(number):
        # The first two have it in common, so that it is a constant of their program.
        return classifier(number, optimizers.SGD(0.1, momentum=0.9 if number == 2 else 0.5))

    together = lanes.Lanes(trials(build, 2))
    together.fit(x, y, 16, 2, shuffle=False)
    traces = together.traces
    together.load({0: trials(build, 3)[2]})
    together.fit(x, y, 16, 2, shuffle=False)
    assert together.traces == 2 * traces  # Another program, which is traced as the first was.
    equal_models(together.unstack(0), by_keras(trials(build, 3)[2], x, y))
    equal_models(together.unstack(1), by_keras(trials(build, 2)[1], x, y, 4))


def test_a_copy_has_the_numbers_that_are_in_no_variable(blobs, trials, all_values):
    x, y, _ = blobs

    def build(number):
        rule = optimizers.AdamW(0.02, weight_decay=0.2 * (number + 1), beta_1=0.9 - 0.2 * number)
        return classifier(number, rule)

    together = lanes.Lanes(trials(build, 3))
    together.fit(x, y, 16, 1, shuffle=False)
    before = all_values(together)
    together.copy(1, 0)
    for value, old in zip(all_values(together), before, strict=True):
        np.testing.assert_array_equal(value, old[[1, 1, 2]])
    together.fit(x, y, 16, 2, shuffle=False)
    for value in together.get_values():
        np.testing.assert_allclose(value[0], value[1], rtol=1e-5, atol=1e-6)
    assert not np.allclose(together.get_values()[0][0], together.get_values()[0][2], atol=1e-2)


def test_the_optimizer_may_be_left_out(blobs, trials):
    x, y, _ = blobs
    together = lanes.Lanes(trials(classifier, 2))
    together.fit(x, y, 16, 1)
    model = by_keras(classifier(1), x, y, 1)
    slots = [np.array(slot) for slot in model.optimizer.variables]
    together.unstack(1, model, slots=False)
    for slot, old in zip(model.optimizer.variables, slots, strict=True):
        np.testing.assert_array_equal(slot, old)
    for value, variable in zip(together.get_values(), model.variables, strict=True):
        np.testing.assert_array_equal(value[1], variable)


def test_asking_changes_nothing(blobs, trials, all_values):
    x, y, _ = blobs
    together = lanes.Lanes(trials(classifier, 2))
    together.fit(x, y, 16, 1)
    before, kept = all_values(together), together.stopped.copy()
    first = together.predict(x, 16)
    together.evaluate(x, y, 16)
    with together.view(1) as model:
        np.array(model.layers[0].kernel)
    np.testing.assert_array_equal(together.predict(x, 16), first)
    for value, old in zip(all_values(together), before, strict=True):
        np.testing.assert_array_equal(value, old)
    np.testing.assert_array_equal(together.stopped, kept)


def two_by_two(number):
    left, right = keras.Input((6,), name="left"), keras.Input((2,), name="right")
    hidden = layers.Concatenate()([layers.Dense(3)(left), right])
    outputs = {
        "kind": layers.Dense(3, name="kind")(hidden),
        "size": layers.Dense(1, name="size")(hidden),
    }
    model = keras.Model({"left": left, "right": right}, outputs)
    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        optimizers.SGD(0.05 * (number + 1)),
        {"kind": crossentropy, "size": "mse"},
        loss_weights={"kind": 1.0, "size": 0.3},
        weighted_metrics={"kind": ["accuracy"], "size": ["mae"]},
        jit_compile=False,
    )
    return model


def test_evaluations_of_several_outputs(blobs, trials):
    x, kinds, _ = blobs
    inputs = {"left": x, "right": x[:, :2]}
    targets = {"kind": kinds, "size": x[:, :1]}
    weights = np.linspace(0.0, 2.0, 40).astype("float32")
    together = lanes.Lanes(trials(two_by_two, 2))
    # A batch size that leaves a last batch of 4.
    found = together.evaluate(inputs, targets, 12, sample_weight=weights)
    outputs = together.predict(inputs, 12)
    assert set(outputs) == {"kind", "size"}
    model = trials(two_by_two, 2)[1]
    expected = model.evaluate(inputs, targets, 12, 0, sample_weight=weights, return_dict=True)
    assert found[1] == pytest.approx(expected, rel=1e-5)
    for name, value in model.predict(inputs, 12, 0).items():
        np.testing.assert_allclose(outputs[name][1], value, atol=1e-5)


def test_lists_of_inputs_and_outputs(trials):
    def build(number):
        inputs = [keras.Input((2,)), keras.Input((3,))]
        hidden = layers.Concatenate()(inputs)
        # Named: losses may be given by the names of outputs, which are compared.
        outputs = [layers.Dense(1, name="one")(hidden), layers.Dense(2, name="two")(hidden)]
        model = keras.Model(inputs, outputs)
        model.compile("sgd", ["mse", "mse"], jit_compile=False)
        return model

    rng = np.random.default_rng(0)
    x = [rng.normal(size=(7, width)).astype("float32") for width in (2, 3)]
    outputs = lanes.Lanes(trials(build, 2)).predict(x, batch_size=3)
    for number, model in enumerate(trials(build, 2)):
        for found, expected in zip(outputs, model.predict(x, verbose=0), strict=True):
            np.testing.assert_allclose(found[number], expected, atol=1e-5)
