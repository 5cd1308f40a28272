"""Mixtures of examples: their distribution and their targets, alone and as lanes."""

import keras
import numpy as np
import pytest
from keras import ops

import kerasreg
from kerasreg.lanes import Lanes, group_by_program
from kerasreg.layers import MixUp
from kerasreg.layers._mix_up import mixing_share
from kerasreg.models import MixUpModel, ensemble, insert_dropout
from kerasreg.regularizers import L2

layers = keras.layers
RNG = np.random.default_rng(4)
X = RNG.normal(size=(26, 3)).astype("float32")
CLASSES = RNG.integers(0, 3, 26)
NUMBERS = (X @ [[1.0], [-0.5], [0.25]]).astype("float32")
WEIGHTS = RNG.uniform(0.2, 2.0, 26).astype("float32")


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5, 1.0, 4.0])
def test_shares_have_the_distribution_of_the_paper(alpha):
    stats = pytest.importorskip("scipy.stats")
    steps = ops.arange(4000)
    shares = np.array(
        ops.vectorized_map(lambda step: mixing_share(alpha, kerasreg.random.key(7, step)), steps)
    )
    of = stats.beta(alpha, alpha)

    def probability(share):
        return of.cdf(share) - of.cdf(1 - share)

    # Beyond that, single precision has few numbers.
    end = 0.9999
    below = shares[shares < end]
    assert stats.binomtest(len(below), len(shares), probability(end)).pvalue > 1e-3
    assert stats.kstest(below, lambda t: probability(t) / probability(end)).pvalue > 1e-3


def test_without_a_strength_nothing_is_mixed():
    layer = MixUp(0.0, seed=1)
    for _ in range(5):
        np.testing.assert_array_equal(np.array(layer(X, training=True)), X)
    assert int(layer.step) == 5


def test_each_example_is_mixed_with_that_on_the_other_side_of_the_batch():
    layer = MixUp(1.0, seed=1)
    pair = {"a": X, "b": NUMBERS}
    for _ in range(3):
        found = layer(pair, training=True)
        share = float(layer.share())
        assert 0.5 <= share < 1
        for name, values in pair.items():
            expected = share * values + (1 - share) * values[::-1]
            np.testing.assert_allclose(np.array(found[name]), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(np.array(layer(X)), X)


def network(loss, alpha, seed=0, kind=MixUpModel, optimizer=None, penalty=0.01, units=3):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((3,))
    x = layers.Dense(4, "tanh", kernel_regularizer=L2(penalty), name="first")(inputs)
    x = MixUp(alpha, seed=5, name="mix")(x)
    last = "softmax" if units > 1 else None
    model = kind(inputs, layers.Dense(units, last, name="last")(x))
    model.compile(optimizer or keras.optimizers.SGD(0.5), loss, jit_compile=False)
    return model


def mixed_by_hand(model, x, targets, weights, loss):
    """The weights after one step of the paper: the loss of mixed examples and mixed targets."""
    share = float(model.get_layer("mix").share())
    last = model.get_layer("last")
    before = network(None, 1.0, units=last.units)
    w, v = (before.get_layer(name) for name in ("first", "last"))
    import tensorflow as tf

    with tf.GradientTape() as tape:
        hidden = tf.tanh(x @ w.kernel.value + w.bias.value)
        hidden = share * hidden + (1 - share) * hidden[::-1]
        predicted = last.activation(hidden @ v.kernel.value + v.bias.value)
        of = share * targets * weights[:, None]
        of = of + (1 - share) * targets[::-1] * weights[::-1, None]
        value = loss(of, predicted)
        value += 0.005 * tf.reduce_sum(tf.square(w.kernel.value))
    variables = [w.kernel.value, w.bias.value, v.kernel.value, v.bias.value]
    gradients = tape.gradient(value, variables)
    return [
        np.array(of) - 0.5 * np.array(g) for of, g in zip(variables, gradients, strict=True)
    ], float(value)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_step_for_classes_is_that_of_mixed_targets(weighted):
    weights = WEIGHTS if weighted else np.ones(26, "float32")

    def cross_entropy(of, predicted):
        import tensorflow as tf

        return -tf.reduce_mean(tf.reduce_sum(of * tf.math.log(predicted), axis=-1))

    for loss, targets in (
        ("sparse_categorical_crossentropy", CLASSES),
        ("categorical_crossentropy", np.eye(3, dtype="float32")[CLASSES]),
    ):
        model = network(loss, 1.0)
        given = {"sample_weight": weights} if weighted else {}
        found = model.fit(X, targets, batch_size=26, shuffle=False, verbose=0, **given)
        one_hot = np.eye(3, dtype="float32")[CLASSES]
        expected, value = mixed_by_hand(model, X, one_hot, weights, cross_entropy)
        for mine, theirs in zip(model.get_weights(), expected, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6)
        assert found.history["loss"][0] == pytest.approx(value, rel=1e-5)
    unmixed = network(loss, 1.0, kind=keras.Model)
    unmixed.fit(X, targets, batch_size=26, shuffle=False, verbose=0, **given)
    kernels = [of.get_layer("last").kernel.numpy() for of in (model, unmixed)]
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-3


def test_a_step_for_numbers_is_that_of_mixed_targets():
    def squared_error(of, predicted):
        import tensorflow as tf

        return tf.reduce_mean(tf.square(of - predicted))

    model = network("mse", 1.0, units=1)
    model.fit(X, NUMBERS, batch_size=26, shuffle=False, verbose=0)
    expected, _ = mixed_by_hand(model, X, NUMBERS, np.ones(26, "float32"), squared_error)
    for mine, theirs in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6)


LOSS = "sparse_categorical_crossentropy"
FIT = {"batch_size": 8, "epochs": 3, "shuffle": False}


def test_evaluation_and_prediction_are_those_of_the_network():
    mixing, plain = network(LOSS, 1.0), network(LOSS, 0.0, kind=keras.Model)
    np.testing.assert_array_equal(mixing.predict(X, verbose=0), plain.predict(X, verbose=0))
    found, expected = (of.evaluate(X, CLASSES, verbose=0) for of in (mixing, plain))
    assert found == pytest.approx(expected, rel=1e-6)


def test_without_a_strength_the_training_is_that_of_the_network():
    mixing, plain = network(LOSS, 0.0), network(LOSS, 0.0, kind=keras.Model)
    for model in (mixing, plain):
        model.fit(X, CLASSES, verbose=0, **FIT)
    for mine, theirs in zip(mixing.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-7)


@pytest.mark.short("sparse_categorical_crossentropy")
@pytest.mark.parametrize("loss", ["mse", LOSS])
def test_strengths_are_values_of_lanes(loss):
    y, units = (NUMBERS, 1) if loss == "mse" else (CLASSES, 3)

    def models():
        ramp = [0.0, 0.2, 2.0]
        return [network(loss, alpha, seed, units=units) for seed, alpha in enumerate(ramp)]

    assert group_by_program(models()) == [[0, 1, 2]]
    lanes = Lanes(models(), False)
    histories = lanes.fit(X, y, sample_weight=WEIGHTS, **FIT)
    for lane, model in enumerate(models()):
        history = model.fit(X, y, sample_weight=WEIGHTS, verbose=0, **FIT)
        expected = history.history["loss"]
        np.testing.assert_allclose(histories[lane].history["loss"], expected, rtol=1e-4)
        for mine, theirs in zip(
            lanes.unstack(lane).get_weights(), model.get_weights(), strict=True
        ):
            np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


def test_a_model_is_saved_and_trains_on_alike(tmp_path):
    model = network(LOSS, kerasreg.schedules.Linear(2.0, 0.0, 20))
    model.fit(X, CLASSES, verbose=0, **FIT)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is MixUpModel
    for each in (model, loaded):
        each.fit(X, CLASSES, verbose=0, **FIT)
    assert int(loaded.get_layer("mix").step) == 24
    for mine, theirs in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


def test_what_is_made_of_such_a_model_mixes_too():
    model = network(LOSS, 1.0)
    changed = insert_dropout(model, 0.0, after="first").model
    assert type(changed) is MixUpModel
    mean = ensemble([model, network(LOSS, 0.2, seed=1)])
    expected = (model.predict(X, verbose=0) + network(LOSS, 0.2, seed=1).predict(X, verbose=0)) / 2
    np.testing.assert_allclose(mean.predict(X, verbose=0), expected, rtol=1e-5)


def test_a_model_without_such_a_layer_is_refused_when_it_is_trained():
    inputs = keras.Input((3,))
    model = MixUpModel(inputs, layers.Dense(1)(inputs))
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"must have one layer `kerasreg.layers.MixUp`"):
        model.fit(X, NUMBERS, verbose=0)


@pytest.mark.long
def test_under_xla_it_is_the_same():
    def trained(jit_compile):
        model = network(LOSS, 0.7)
        model.compile(keras.optimizers.SGD(0.5), LOSS, jit_compile=jit_compile)
        model.fit(X, CLASSES, verbose=0, **FIT)
        return model.get_weights()

    for mine, theirs in zip(trained(True), trained(False), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)
