"""Wrappers within trainings: around each other, with what Keras offers, and in lanes."""

import keras
import numpy as np
import pytest

from kerasreg.lanes import Lanes
from kerasreg.models import update_batch_normalization
from kerasreg.optimizers import (
    DecoupledWeightDecay,
    LayerLearningRates,
    Lookahead,
    Proximal,
    WeightAveraging,
)
from kerasreg.regularizers import L1
from kerasreg.schedules import Linear

SGD, Adam = keras.optimizers.SGD, keras.optimizers.Adam
RNG = np.random.default_rng(1)
X = RNG.normal(size=(24, 3)).astype("float32")
Y = (X @ [[1.0], [-0.5], [0.0]] + 0.3).astype("float32")
WRAPPERS = {
    "Lookahead": lambda inner: Lookahead(inner, sync_period=3),
    "WeightAveraging": lambda inner: WeightAveraging(inner, start_step=4, period=3),
    "DecoupledWeightDecay": lambda inner: DecoupledWeightDecay(inner, 0.5, exclude=["bias"]),
    "LayerLearningRates": lambda inner: LayerLearningRates(inner, {"first": 0.1}),
}


def all_of_them(inner):
    """Each around the others: what holds for all together is asked of each in the long tests."""
    averaged = WRAPPERS["WeightAveraging"](WRAPPERS["DecoupledWeightDecay"](inner))
    return WRAPPERS["LayerLearningRates"](WRAPPERS["Lookahead"](averaged))


alone = [pytest.param(make, id=name, marks=pytest.mark.long) for name, make in WRAPPERS.items()]
every_wrapper = pytest.mark.parametrize("wrapped", [all_of_them, *alone])


def network(penalty=None, seed=0):
    keras.utils.set_random_seed(seed)
    dense = keras.layers.Dense
    first = dense(4, "tanh", kernel_regularizer=penalty, name="first")
    return keras.Sequential([keras.Input((3,)), first, dense(1, name="last")])


def weights(model):
    return np.concatenate([np.array(weight).ravel() for weight in model.weights])


def trained(optimizer, penalty=None, epochs=3, callbacks=(), seed=0, **options):
    model = network(penalty, seed)
    model.compile(optimizer, "mse", **{"jit_compile": False, **options})
    model.fit(X, Y, 4, epochs, shuffle=False, verbose=0, callbacks=list(callbacks))
    return model


@every_wrapper
def test_gradient_accumulation_is_a_step_of_all(wrapped):
    whole = trained(wrapped(SGD(0.1, momentum=0.5)), epochs=1)
    model = network()
    inner = SGD(0.1, momentum=0.5, gradient_accumulation_steps=2)
    model.compile(wrapped(inner), "mse", jit_compile=False)
    model.fit(X, Y, 2, 1, shuffle=False, verbose=0)
    np.testing.assert_allclose(weights(model), weights(whole), rtol=1e-5, atol=1e-6)


@every_wrapper
def test_loss_scaling_goes_around_it(wrapped):
    plain = trained(wrapped(SGD(0.1)))
    scaling = keras.optimizers.LossScaleOptimizer
    scaled = trained(scaling(wrapped(SGD(0.1)), initial_scale=2.0**8))
    np.testing.assert_allclose(weights(scaled), weights(plain), rtol=1e-5, atol=1e-6)


@every_wrapper
def test_the_learning_rate_is_that_of_the_inner_optimizer(wrapped):
    optimizer = wrapped(SGD(0.1))
    optimizer.learning_rate = 0.0
    model = trained(optimizer)
    assert float(optimizer.inner_optimizer.learning_rate) == 0.0
    np.testing.assert_array_equal(weights(model), weights(network()))


@every_wrapper
def test_a_lane_is_the_training_alone(wrapped):
    def compiled(rate, seed):
        model = network(seed=seed)
        model.compile(wrapped(SGD(rate, momentum=0.5)), "mse", jit_compile=False)
        return model

    alone = []
    for seed, rate in enumerate((0.05, 0.2)):
        model = compiled(rate, seed)
        model.fit(X, Y, 4, 3, shuffle=False, verbose=0)
        alone.append(weights(model))
    lanes = Lanes([compiled(rate, seed) for seed, rate in enumerate((0.05, 0.2))])
    lanes.fit(X, Y, batch_size=4, epochs=3, shuffle=False)
    for lane, expected in enumerate(alone):
        found = weights(lanes.unstack(lane))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_the_outermost_acts_first():
    # The rates of layers reach the decay within, and the penalty's step in the middle.
    inner = Proximal(SGD(0.1))
    decayed = DecoupledWeightDecay(inner, 0.5)
    model = trained(LayerLearningRates(decayed, {"first": 0.0}), L1(0.5))
    before, after = network(L1(0.5)), model
    np.testing.assert_array_equal(before.get_layer("first").kernel, after.get_layer("first").kernel)
    assert np.any(before.get_layer("last").kernel != after.get_layer("last").kernel)


def test_around_a_proximal_optimizer_zeros_stay_exact_between_synchronizations():
    model = trained(Lookahead(Proximal(SGD(0.1)), sync_period=1, slow_step_size=1.0), L1(0.2))
    plain = trained(Proximal(SGD(0.1)), L1(0.2))
    kernel = np.array(model.get_layer("first").kernel)
    assert np.sum(kernel == 0) > 2
    # A slow step of size 1 is rounded.
    expected = np.array(plain.get_layer("first").kernel)
    np.testing.assert_array_equal(kernel == 0, expected == 0)
    np.testing.assert_allclose(kernel, expected, rtol=1e-5)


def test_proximal_goes_inside():
    with pytest.raises(ValueError, match="`inner_optimizer` must be"):
        Proximal(Lookahead(SGD(0.1)))


# Decay.


def test_the_decay_is_that_of_keras_where_it_follows_the_learning_rate():
    theirs = SGD(0.1, momentum=0.5, weight_decay=0.3)
    theirs.exclude_from_weight_decay(var_names=["bias"])
    ours = DecoupledWeightDecay(SGD(0.1, momentum=0.5), 0.3, exclude=["bias"])
    np.testing.assert_allclose(weights(trained(ours)), weights(trained(theirs)), rtol=1e-5)


def test_a_decay_may_be_beside_another_one():
    outer = DecoupledWeightDecay(DecoupledWeightDecay(SGD(), 0.25), 0.5)
    assert [float(part.weight_decay) for part in (outer, outer.inner_optimizer)] == [0.5, 0.25]
    with pytest.raises(ValueError, match="without a `weight_decay` of its own"):
        DecoupledWeightDecay(SGD(weight_decay=0.25), 0.5)


def test_a_scheduled_decay_is_that_which_is_assigned_before_each_step():
    schedule = Linear(1.0, 0.0, steps=10)
    optimizer = DecoupledWeightDecay(SGD(0.1), 0.0)

    class Assign(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            optimizer.weight_decay.assign(schedule(optimizer.iterations))

    assigned = trained(optimizer, callbacks=[Assign()])
    scheduled = trained(DecoupledWeightDecay(SGD(0.1), schedule))
    np.testing.assert_allclose(weights(scheduled), weights(assigned), rtol=1e-5, atol=1e-6)
    assert np.max(np.abs(weights(scheduled) - weights(trained(SGD(0.1))))) > 1e-2


@pytest.mark.parametrize(
    "make",
    [
        lambda: DecoupledWeightDecay(SGD(), 0.1, exclude=["frist"]),
        lambda: LayerLearningRates(SGD(), {"first/*": 1.0, "frist": 0.1}),
    ],
)
def test_a_pattern_that_matches_nothing_is_refused_with_what_there_is(make):
    with pytest.raises(ValueError, match=r"first/kernel.*'frist'"):
        trained(make())


def test_the_first_pattern_that_matches_counts():
    model = trained(LayerLearningRates(SGD(0.1), {"first/bias": 0.0, "first": 1.0}, default=0.0))
    start = network()
    np.testing.assert_array_equal(model.get_layer("first").bias, start.get_layer("first").bias)
    np.testing.assert_array_equal(model.get_layer("last").kernel, start.get_layer("last").kernel)
    assert np.any(model.get_layer("first").kernel != start.get_layer("first").kernel)


def test_embeddings_with_sparse_gradients():
    def embedded(optimizer):
        keras.utils.set_random_seed(0)
        embedding = keras.layers.Embedding(6, 2, name="first")
        layers = [keras.Input((2,)), embedding, keras.layers.Flatten(), keras.layers.Dense(1)]
        model = keras.Sequential(layers)
        model.compile(optimizer, "mse", jit_compile=False)
        x = np.array([[0, 1], [1, 2], [3, 1]])
        model.fit(x, np.ones((3, 1)), 1, 4, shuffle=False, verbose=0)
        return np.array(embedding.embeddings)

    synced = embedded(Lookahead(SGD(0.5), sync_period=1, slow_step_size=0.5))
    start = embedded(SGD(0.0))
    # Rows without a gradient stay.
    np.testing.assert_array_equal(synced[4:], start[4:])
    assert np.all(synced[:4] != start[:4])


# Averages.


class Keep(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(weights(self.model))


@pytest.mark.parametrize("jit", [False, True])
def test_when_training_ends_the_weights_are_their_means(jit):
    keep = Keep()
    optimizer = WeightAveraging(SGD(0.1), start_step=4, period=3)
    model = trained(optimizer, callbacks=[keep], jit_compile=jit)
    np.testing.assert_allclose(weights(model), np.mean(keep.seen[3::3], axis=0), rtol=1e-5)


def test_before_its_start_the_weights_are_as_they_are():
    model = trained(WeightAveraging(SGD(0.1), start_step=1000))
    np.testing.assert_array_equal(weights(model), weights(trained(SGD(0.1))))


def test_keras_swaps_the_means_in_for_validation():
    losses = []

    class Evaluate(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            losses.append(self.model.evaluate(X, Y, verbose=0))

    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    keep = Keep()
    model = trained(WeightAveraging(SGD(0.3)), callbacks=[keep, swap, Evaluate()], epochs=2)
    other = network()
    other.compile("sgd", "mse")
    sizes = np.cumsum([0, *(np.size(weight) for weight in other.get_weights())])
    for epoch, loss in enumerate(losses, 1):
        mean = np.mean(keep.seen[: 6 * epoch], axis=0)
        other.set_weights(
            [
                mean[start:end].reshape(weight.shape)
                for start, end, weight in zip(sizes[:-1], sizes[1:], other.weights, strict=True)
            ]
        )
        assert loss == pytest.approx(other.evaluate(X, Y, verbose=0), rel=1e-4)
    np.testing.assert_allclose(weights(model), np.mean(keep.seen, axis=0), rtol=1e-4)


# Batch normalization.


def normalized():
    keras.utils.set_random_seed(0)
    layers = [
        keras.Input((3,)),
        keras.layers.Dense(4),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.5),
        keras.layers.Dense(1),
    ]
    model = keras.Sequential(layers)
    model.compile("sgd", "mse")
    model.fit(X, Y, 8, 2, verbose=0)
    return model


def test_statistics_are_the_means_over_the_batches():
    model = normalized()
    hidden = np.array(model.layers[0](X)).reshape(3, 8, 4)
    others = [np.array(variable) for variable in model.variables if "moving" not in variable.path]
    update_batch_normalization(model, X, batch_size=8)
    layer = model.layers[1]
    np.testing.assert_allclose(layer.moving_mean, hidden.mean(1).mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.moving_variance, hidden.var(1).mean(0), rtol=1e-5, atol=1e-6)
    assert layer.momentum == 0.99
    after = [v for v in model.variables if "moving" not in v.path]
    for before, variable in zip(others, after, strict=True):
        np.testing.assert_array_equal(before, variable)


def test_statistics_are_those_of_pipelines_too():
    import tensorflow as tf

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return X[8 * index : 8 * index + 8], Y[8 * index : 8 * index + 8]

    found = []
    for data in (X, tf.data.Dataset.from_tensor_slices((X, Y)).batch(8), Batches()):
        model = normalized()
        update_batch_normalization(model, data, batch_size=8)
        found.append(np.array(model.layers[1].moving_variance))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-6)


def test_what_has_no_statistics_or_no_inputs_is_refused():
    with pytest.raises(ValueError, match="`model` must be"):
        update_batch_normalization(network(), X)
    model = normalized()
    before = np.array(model.layers[1].moving_mean)
    with pytest.raises(ValueError, match="`x` must have"):
        update_batch_normalization(model, X[:0])
    np.testing.assert_array_equal(model.layers[1].moving_mean, before)
