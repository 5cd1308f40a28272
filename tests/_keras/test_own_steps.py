"""Steps that classes of models define, and layers that lack a generator of random numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasreg._keras import missing_generators, own_steps
from kerasreg._keras.internals import loss_weights, stateless_scope, takes
from kerasreg._keras.pfor_converters import assignments
from kerasreg._keras.scope import Scope

layers = keras.layers


class Own(keras.Model):
    def train_step(self, data):
        return super().train_step(data)


class Other(keras.Model):
    @tf.function
    def test_step(self, data):
        return super().test_step(data)


def model_of(kind=Own, **arguments):
    inputs = keras.Input((3,))
    model = kind(inputs, layers.Dense(1, use_bias=False, kernel_initializer="ones")(inputs))
    model.compile("sgd", "mse", **arguments)
    return model


def test_own_steps():
    assert list(own_steps.own_steps(model_of())) == ["train_step"]
    assert list(own_steps.own_steps(model_of(Other))) == ["test_step"]
    assert own_steps.own_steps(model_of(keras.Model)) == {}


def test_why_no_step():
    (step,) = own_steps.own_steps(model_of()).values()
    assert own_steps.why_no_step(step) is None
    (step,) = own_steps.own_steps(model_of(Other)).values()
    assert "which is no plain function" in own_steps.why_no_step(step)


def test_refuse_steps(monkeypatch):
    monkeypatch.setattr(own_steps, "_refused", {})

    class Refused(keras.Model):
        def train_step(self, data):
            return {"a": 1.0}

    own_steps.refuse_steps(model_of(Refused), "which is too hard")
    assert own_steps.why_no_step(Refused.train_step) == "which is too hard"
    assert own_steps.why_no_step(Own.train_step) is None


def test_forget_refused_steps(monkeypatch):
    monkeypatch.setattr(own_steps, "_refused", {})
    own_steps.refuse_steps(model_of(), "which is too hard")
    own_steps.forget_refused_steps()
    assert own_steps.why_no_step(Own.train_step) is None


def test_steps_are_enough():
    class Holds(keras.Model):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def train_step(self, data):
            return super().train_step(data)

    assert own_steps.steps_are_enough(Holds(model_of(keras.Model))) is True
    assert own_steps.steps_are_enough(Holds(layers.Dense(2))) is False
    assert own_steps.steps_are_enough(keras.Sequential([layers.Dense(2)])) is False


def test_packed():
    assert own_steps.packed((1, None, None)) == 1
    assert own_steps.packed((1, 2, None)) == (1, 2)
    assert own_steps.packed((1, 2, 3)) == (1, 2, 3)


def test_flat_logs():
    found = own_steps.flat_logs({"b": 1.0, "a": {"c": 2}})
    assert {name: float(value) for name, value in found.items()} == {"c": 2.0, "b": 1.0}
    with pytest.raises(ValueError, match="no dictionary of logs, but a list"):
        own_steps.flat_logs([])


def test_specs_of_logs():
    metric = keras.metrics.MeanSquaredError()

    def step(data):
        metric.update_state(*data)
        return {"mse": metric.result(), "sums": keras.ops.sum(data[0], axis=0)}

    found = own_steps.specs_of_logs(step, (tf.ones((4, 3)), tf.ones((4, 3))))
    assert {name: spec.shape for name, spec in found.items()} == {"mse": (), "sums": (3,)}
    assert float(metric.result()) == 0.0


def test_watching_tapes():
    one, two = (keras.Variable([1.0, 2.0], trainable=trained) for trained in (True, False))
    with Scope(state_mapping=[(one, tf.constant([3.0, 4.0])), (two, tf.constant([5.0, 6.0]))]):
        scope = stateless_scope()
        with own_steps.watching_tapes(scope, [one, two]):
            with tf.GradientTape(persistent=True) as tape:
                found = tf.reduce_sum(one.value * one.value * two.value)
            one.assign([0.0, 0.0])
            assert tape.gradient(found, [one])[0].numpy().tolist() == [30.0, 48.0]
            assert tape.gradient(found, two) is None
            with tf.GradientTape() as tape:
                tape.watch(two)
                found = two.value * two.value
            assert tape.gradient(found, {"two": two})["two"].numpy().tolist() == [10.0, 12.0]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                found = one.value * 2.0
            assert tape.gradient(found, one) is None


def test_watching_tapes_when_a_weight_is_assigned():
    """As outside: no gradient goes through what it is assigned, and each value has its own."""

    def steps(variable):
        with tf.GradientTape() as tape:
            before = variable.value * 7.0
            variable.assign(variable.value * variable.value)
            found = tf.reduce_sum(variable.value * variable.value + before)
        after = tape.gradient(found, {"of": [variable]})["of"][0]
        return after.numpy().tolist(), variable.numpy().tolist()

    variable = keras.Variable([2.0, 3.0])
    outside = steps(variable)
    assert outside == ([15.0, 25.0], [4.0, 9.0])
    scope = Scope(state_mapping=[(variable, tf.constant([2.0, 3.0]))])
    with scope, own_steps.watching_tapes(scope, [variable]):
        assert steps(variable) == outside
    assert scope.on_assign is None


def test_total_gradient():
    one = tf.constant([1.0, 2.0])
    rows = tf.IndexedSlices(tf.constant([3.0]), tf.constant([1]), tf.constant([2]))
    assert own_steps.total_gradient([None]) is None
    assert own_steps.total_gradient([None, rows]) is rows
    assert own_steps.total_gradient([one, None, rows]).numpy().tolist() == [1.0, 5.0]


def test_scopes_within():
    given, own = keras.Variable(1.0), keras.Variable(1.0)
    pairs = [(given, tf.constant(2.0)), (own, tf.constant(3.0))]
    with Scope(state_mapping=pairs) as scope, own_steps.scopes_within(scope, [given]):
        with keras.StatelessScope(state_mapping=[(given, tf.constant(4.0))]):
            assert (float(given.value), float(own.value)) == (4.0, 3.0)
            given.assign(5.0)
            own.assign(6.0)
        assert (float(given.value), float(own.value)) == (2.0, 6.0)


def test_draws():
    drawing = [layers.Dropout, layers.SpatialDropout1D, layers.GRUCell, layers.RandomRotation]
    assert all(map(missing_generators.draws, drawing))
    assert missing_generators.draws(type("Own", (layers.GaussianNoise,), {}))
    others = [layers.Dense, layers.Layer, keras.Model, keras.losses.Loss, dict]
    assert not any(map(missing_generators.draws, others))


def test_generator_of():
    some, none = layers.Dropout(0.5, seed=3), layers.Dropout(0.0)
    assert missing_generators.generator_of(some) is some.seed_generator
    generator = missing_generators.generator_of(none)
    assert isinstance(generator, keras.random.SeedGenerator)
    assert missing_generators.generator_of(none) is generator
    assert missing_generators.generator_of(layers.Dropout(0.0)) is not generator
    assert none.variables == []


def test_with_generator():
    some, none = layers.Dropout(0.5, seed=3), layers.Dropout(0.0)
    before = some.seed_generator
    with missing_generators.with_generator(some), missing_generators.with_generator(none):
        assert some.seed_generator is before
        assert none.seed_generator is missing_generators.generator_of(none)
    assert not hasattr(none, "seed_generator")
    with missing_generators.with_generator(keras.losses.Huber()):
        pass


def test_loss_weights():
    weights = loss_weights(model_of(loss_weights=[0.25]))
    assert (weights.places, weights.weights) == ((0,), (0.25,))
    assert loss_weights(model_of()) is None
    assert loss_weights(keras.Model()) is None
    model = model_of(loss_weights=0.5)
    x, y = np.ones((2, 3), "float32"), np.zeros((2, 1), "float32")
    assert float(model.compute_loss(y=y, y_pred=model(x))) == 4.5
    weights = loss_weights(model)
    weights.weights = (2.0,)
    assert float(model.compute_loss(y=y, y_pred=model(x))) == 18.0
    model.compile("sgd", ["mse"], loss_weights=[0.5])
    model.compute_loss(y=y, y_pred=model(x))
    weights = loss_weights(model)
    model._compile_loss._flat_losses[0] = model._compile_loss._flat_losses[0]._replace(
        loss_weights=7.0
    )
    with pytest.raises(LookupError, match="has a weight of another place"):
        weights.weights = (2.0,)


def test_takes():
    model = model_of()
    assert takes(model, tf.ones((2, 3)))
    assert not takes(model, tf.ones((2, 4)))


def test_assignments():
    variable = tf.Variable(1.0)

    @tf.function
    def adds(x):
        variable.assign_add(x)
        return x + variable

    assert len(assignments(adds.get_concrete_function(tf.constant(1.0)))) == 1
    reads = tf.function(lambda x: x + variable)
    assert assignments(reads.get_concrete_function(tf.constant(1.0))) == []
