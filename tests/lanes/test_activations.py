"""Activations as values of lanes: each lane has its own, and is what its model is alone."""

import keras
import numpy as np
import pytest
from keras import layers

from kerasreg.lanes import Lanes, ModelStructure, Replacement, merge_activations
from kerasreg.lanes._activations import ATTRIBUTES, ChosenActivation, _functions

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 5, 4)).astype("float32")
Y = RNG.integers(0, 3, 40)


def build(activation, units=6, recurrent=None, last="softmax"):
    keras.utils.set_random_seed(3)
    first = layers.Flatten()
    if recurrent is not None:
        first = layers.LSTM(units, recurrent_activation=recurrent, activation=activation)
    model = keras.Sequential(
        [
            keras.Input((5, 4)),
            first,
            layers.Dense(units, activation),
            layers.Activation(activation),
            layers.Dense(3, last),
        ]
    )
    model.compile(keras.optimizers.SGD(0.1, momentum=0.5), "sparse_categorical_crossentropy")
    return model


def merged(models, **like):
    template = build("relu", **like)
    structure = merge_activations(template, [ModelStructure(model) for model in models])
    return {"template": template, "template_structure": structure}


GIVEN = {
    "dense": [
        {"activation": "relu"},
        {"activation": "tanh", "units": 4},
        {"activation": "gelu"},
    ],
    "recurrent": [
        {"activation": "relu", "recurrent": "sigmoid"},
        {"activation": "tanh", "units": 4, "recurrent": "sigmoid"},
        {"activation": "gelu", "recurrent": "hard_sigmoid"},
    ],
}


@pytest.mark.parametrize("kind", ["dense", pytest.param("recurrent", marks=pytest.mark.long)])
def test_each_lane_has_its_own_activation(kind, equal_models):
    given = GIVEN[kind]
    models = [build(**one) for one in given]
    lanes = Lanes(models, **merged(models, recurrent=given[0].get("recurrent")))
    histories = lanes.fit(X, Y, batch_size=8, epochs=3, seed=0)
    for lane, one in enumerate(given):
        alone = Lanes([build(**one)])
        (expected,) = alone.fit(X, Y, batch_size=8, epochs=3, seed=0)
        equal_models(lanes.unstack(lane), alone.unstack(0))
        np.testing.assert_allclose(
            histories[lane].history["loss"], expected.history["loss"], rtol=1e-4
        )
    outputs = lanes.predict(X)
    for lane, model in enumerate(models):
        np.testing.assert_allclose(outputs[lane], model.predict(X, verbose=0), rtol=1e-4, atol=1e-5)


def test_a_lane_may_be_taken_over_by_another_activation(equal_models):
    models = [build("relu"), build("tanh")]
    lanes, waiting = Lanes(models, **merged(models)), [build("tanh")]

    def refill(ended):
        return {0: Replacement(waiting.pop())} if waiting and 0 in ended else {}

    lanes.fit(X, Y, batch_size=8, epochs=2, seed=0, refill=refill)
    equal_models(lanes.unstack(0), lanes.unstack(1))


def test_what_is_not_taken_makes_no_gradient_infinite():
    # Far above zero the exponential is infinite, and so is the gradient of what is not taken.
    chosen = ChosenActivation(["exponential", "relu"])
    chosen.number.assign(1)
    x = keras.ops.convert_to_tensor(np.array([-3.0, 0.5, 1e4], "float32"))
    np.testing.assert_allclose(chosen(x), [0.0, 0.5, 1e4])
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(chosen(x))
        np.testing.assert_allclose(tape.gradient(total, x), [0.0, 1.0, 1.0])


def test_each_activation_that_may_be_chosen_takes_elements_by_themselves():
    x = keras.ops.convert_to_tensor(RNG.normal(size=(3, 4)).astype("float32"))
    assert {"relu", "tanh", "sigmoid", "gelu", "elu", "linear"} <= set(_functions.values())
    assert "softmax" not in _functions.values()
    for name in _functions.values():
        function = getattr(keras.activations, name)
        whole, first = function(x), function(x[:1, :1])
        np.testing.assert_allclose(whole[:1, :1], first, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_an_activation_that_differs_is_another_program_without_a_template(attribute):
    name = "recurrent" if attribute == "recurrent_activation" else "activation"
    given = {"activation": "relu", "recurrent": "relu"}
    models = [build(**{**given, name: other}) for other in ("relu", "tanh")]
    with pytest.raises(ValueError, match=f"share no program: .*{attribute}.*relu against"):
        Lanes(models)


def test_models_that_differ_in_more_are_not_merged():
    template = build("relu")
    with pytest.raises(ValueError, match="`structures` must be of models that differ"):
        merge_activations(template, [ModelStructure(build("relu", last="sigmoid"))])
    # Nothing was changed.
    assert not any("ChosenActivation" in str(token) for token in ModelStructure(template).tokens)
    assert template.layers[1].activation is keras.activations.relu
    own = Lanes([build("relu")], **merged([build("tanh")]))
    with pytest.raises(ValueError, match="share no program"):
        own.load({0: build("gelu")})
