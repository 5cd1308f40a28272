"""A hyperparameter is a variable of whatever owns it, and counts training steps by itself."""

import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.optimizers.schedules import PiecewiseConstantDecay, PolynomialDecay

from kerasreg.schedules import Hyperparameter

# Differs at each step, with values that every mode of execution has exactly.
STAIRS = PiecewiseConstantDecay([0, 1, 2, 3], [0.5, 0.25, 1.0, 0.125, 2.0])
STEPS = [float(STAIRS(step)) for step in range(8)]


@keras.saving.register_keras_serializable("kerasreg_tests")
class Times(keras.layers.Layer):
    """Multiplies by a hyperparameter, asked as often as told in each pass."""

    def __init__(self, factor, uses=1, **kwargs):
        super().__init__(**kwargs)
        self.factor = Hyperparameter(factor, "factor")
        self.uses = uses
        self.built = True

    def call(self, inputs):
        for _ in range(self.uses):
            inputs = inputs * self.factor.current()[0]
        return inputs

    def get_config(self):
        return {**super().get_config(), "factor": self.factor.serialized_value(), "uses": self.uses}


def times_model(**options):
    layer = Times(STAIRS, **options)
    model = keras.Sequential([keras.Input((1,)), layer, keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    return model, layer


ONE = np.ones((1, 1), "float32")


def test_a_number_is_the_value_of_the_variable():
    rate = Hyperparameter(0.25, "rate", maximum=1.0)
    assert float(rate.variable) == 0.25
    assert rate.serialized_value() == 0.25
    value, step, use = rate.current(training=True)
    assert float(value) == 0.25
    assert (step, use) == (None, 0)


def test_an_assigned_number_is_used_and_reported():
    rate = Hyperparameter(0.25, "rate", maximum=1.0)
    rate.variable.assign(0.75)
    assert float(rate.current(training=True)[0]) == 0.75
    assert rate.serialized_value() == 0.75


def test_the_layer_counts_its_own_training_calls():
    layer = Times(STAIRS)
    for strength in STEPS:
        assert float(layer(ONE, training=True)[0, 0]) == strength


def test_inference_uses_the_last_training_value_and_counts_nothing():
    layer = Times(STAIRS)
    assert float(layer(ONE, training=False)[0, 0]) == STEPS[0]
    for strength in STEPS[:4]:
        layer(ONE, training=True)
        for training in (False, None):
            assert float(layer(ONE, training=training)[0, 0]) == strength


@pytest.mark.parametrize("compiled", [False, True])
def test_several_uses_in_one_pass_are_one_step_with_one_value(compiled):
    layer = Times(STAIRS, uses=3)
    call = tf.function(lambda: layer(ONE, training=True)) if compiled else None
    for strength in STEPS[:5]:
        result = call() if compiled else layer(ONE, training=True)
        assert float(result[0, 0]) == strength**3


def test_a_layer_used_twice_in_a_model_counts_one_step():
    layer = Times(STAIRS)
    inputs = keras.Input((1,))
    model = keras.Model(inputs, layer(layer(inputs)))
    for strength in STEPS[:4]:
        assert float(model(ONE, training=True)[0, 0]) == strength**2


def test_the_outermost_call_is_the_pass():
    layer = Times(STAIRS)
    inner = keras.Sequential([keras.Input((1,)), layer])
    inputs = keras.Input((1,))
    outer = keras.Model(inputs, inner(inner(inputs)))
    for strength in STEPS[:3]:
        assert float(outer(ONE, training=True)[0, 0]) == strength**2
    # The inner model called alone is another pass over the same layer.
    assert float(inner(ONE, training=True)[0, 0]) == STEPS[3]


def test_two_models_that_share_a_layer_count_the_steps_of_both():
    layer = Times(STAIRS)
    first, second = (keras.Sequential([keras.Input((1,)), layer]) for _ in range(2))
    seen = [float(model(ONE, training=True)[0, 0]) for model in (first, second, first, second)]
    assert seen == STEPS[:4]


@pytest.mark.parametrize("value", [0.5, STAIRS], ids=["number", "schedule"])
def test_every_use_in_a_pass_is_given_the_number_of_the_step(value):
    class Owner(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.rate = Hyperparameter(value, "rate", count_steps=True)

        def call(self, inputs):
            uses = [self.rate.current() for _ in range(3)]
            return [step for _, step, _ in uses], uses[-1][2]

    owner = Owner()
    for step in range(3):
        steps, uses = owner(ONE, training=True)
        assert [int(number) for number in steps] == [step] * 3
        assert uses == 3
    assert int(owner.rate.step) == 3


@pytest.mark.parametrize("run_eagerly", [True, False])
def test_fit_moves_the_value_once_a_batch(run_eagerly):
    model, layer = times_model()
    model.compile("sgd", "mse", run_eagerly=run_eagerly, jit_compile=False)
    seen = []
    record = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(float(layer.factor.variable))
    )
    data = np.ones((4, 1), "float32")
    model.fit(data, data, 2, 3, 0, [record], validation_data=(data, data))
    assert seen == STEPS[:6]


def test_the_state_is_tracked_by_the_owner_but_is_no_weight():
    model, layer = times_model()
    variables = [layer.factor.variable, layer.factor.step]
    assert all(any(mine is theirs for theirs in model.variables) for mine in variables)
    assert all(not variable.trainable for variable in variables)
    assert layer.factor.weights == []
    assert [weight.shape for weight in model.get_weights()] == [(1, 1), (1,)]


def test_a_stateless_call_returns_the_next_state_and_leaves_the_variables():
    model, layer = times_model()
    trainable, other = model.trainable_variables, model.non_trainable_variables
    trainable, other = [v.value for v in trainable], [v.value for v in other]
    at = [v is layer.factor.variable for v in model.non_trainable_variables].index(True)
    for strength in STEPS[:3]:
        _, other = model.stateless_call(trainable, other, ONE, training=True)
        assert float(other[at]) == strength
    assert int(layer.factor.step) == 0
    _, after = model.stateless_call(trainable, other, ONE, training=False)
    assert [float(v) for v in after] == [float(v) for v in other]


def test_the_value_of_a_schedule_in_a_config_is_the_schedule():
    serialised = Hyperparameter(STAIRS, "rate").serialized_value()
    again = Hyperparameter(serialised, "rate")
    assert isinstance(again.schedule, PiecewiseConstantDecay)
    assert again.schedule.get_config() == STAIRS.get_config()


@pytest.mark.parametrize("strength", [0.5, STAIRS], ids=["number", "schedule"])
def test_a_pickled_model_goes_on_where_it_was(strength):
    layer = Times(strength)
    model = keras.Sequential([keras.Input((1,)), layer])
    for _ in range(2):
        model(ONE, training=True)
    copied = pickle.loads(pickle.dumps(model))
    for _ in range(3):
        ours, theirs = model(ONE, training=True), copied(ONE, training=True)
        assert float(ours[0, 0]) == float(theirs[0, 0])


@pytest.mark.parametrize(
    ("value", "limits"),
    [
        (-0.1, {}),
        (1.5, {"maximum": 1.0}),
        (0.5, {"minimum": 1.0}),
        (float("nan"), {}),
        (float("inf"), {}),
        ("0.5", {}),
        (True, {}),
        (None, {}),
        (PolynomialDecay(0.0, 10, 2.0), {"maximum": 1.0}),
        (PolynomialDecay(0.5, 10, -0.5), {}),
    ],
)
def test_what_leaves_the_range_is_refused_under_the_name_of_the_owners_argument(value, limits):
    with pytest.raises(ValueError, match=r"`momentum` must be .*Received: momentum="):
        Hyperparameter(value, "momentum", **limits)


def test_the_ends_of_the_range_are_accepted():
    for end in (0.0, 1.0):
        assert float(Hyperparameter(end, "rate", maximum=1.0).variable) == end
    ramp = Hyperparameter(PolynomialDecay(0.0, 10, 1.0), "rate", maximum=1.0)
    assert float(ramp.variable) == 0.0


def test_at_a_step_that_was_not_probed_the_value_is_held_within_its_bounds():
    class Peak(keras.optimizers.schedules.LearningRateSchedule):
        """Above 1 at one step only, far from those at which schedules are tried."""

        def __call__(self, step):
            return keras.ops.where(keras.ops.equal(step, 1237), 3.0, 0.25)

        def get_config(self):
            return {}

    hyperparameter = Hyperparameter(Peak(), "rate", maximum=1.0)
    values = []
    for step in (1236, 1237):
        hyperparameter.step.assign(step)
        values.append(float(hyperparameter.current(training=True)[0]))
    assert values == [0.25, 1.0]
