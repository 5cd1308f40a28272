"""Rates of zero beside others: Keras gives such layers no generator of random numbers."""

import keras
import numpy as np
import pytest

from kerasreg.lanes import DifferentPrograms, Lanes, group_by_program

layers = keras.layers
X = np.random.default_rng(0).uniform(size=(40, 6)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 40)
RATES = [0.0, 0.25, 0.5]


def compiled(*middle, shape=(6,)):
    flat = [] if len(shape) == 1 else [layers.Flatten()]
    model = keras.Sequential(
        [keras.Input(shape), *middle, *flat, layers.Dense(3, kernel_initializer="ones")]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05), loss, jit_compile=False)
    return model


def attending(layer):
    inputs = keras.Input((5, 4))
    hidden = layer([inputs, inputs]) if type(layer) is layers.Attention else layer(inputs, inputs)
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(hidden)))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05), loss, jit_compile=False)
    return model


class Always(layers.Dropout):
    def call(self, inputs, training=False):
        return super().call(inputs, training=True)


UNIT = {"value_range": (0, 1)}
VECTORS = {
    "Dropout": layers.Dropout,
    "GaussianDropout": layers.GaussianDropout,
    "AlphaDropout": layers.AlphaDropout,
    "GaussianNoise": layers.GaussianNoise,
    "of one's own": Always,
}
SEQUENCES = {
    "SpatialDropout1D": layers.SpatialDropout1D,
    "GRU": lambda r, seed: layers.GRU(3, dropout=r, return_sequences=True, seed=seed),
    "LSTM": lambda r, seed: layers.Bidirectional(layers.LSTM(3, dropout=r, seed=seed)),
    "SimpleRNN": lambda r, seed: layers.SimpleRNN(3, dropout=r, seed=seed),
}
IMAGES = {
    "SpatialDropout2D": layers.SpatialDropout2D,
    "ConvLSTM1D": lambda r, seed: layers.ConvLSTM1D(2, 2, dropout=r, seed=seed),
    "RandomBrightness": lambda r, seed: layers.RandomBrightness(r, (0, 1), seed=seed),
    "RandomContrast": lambda r, seed: layers.RandomContrast(r, **UNIT, seed=seed),
    "RandomRotation": lambda r, seed: layers.RandomRotation(r, seed=seed),
    "RandomTranslation": lambda r, seed: layers.RandomTranslation(r, r, seed=seed),
    "RandomZoom": lambda r, seed: layers.RandomZoom(r, r, seed=seed),
    "RandomHue": lambda r, seed: layers.RandomHue(r, **UNIT, seed=seed),
    "RandomSaturation": lambda r, seed: layers.RandomSaturation(r, **UNIT, seed=seed),
    "RandomShear": lambda r, seed: layers.RandomShear(r, r, seed=seed),
    "RandomErasing": lambda r, seed: layers.RandomErasing(r, seed=seed),
}
ATTENTION = {
    "MultiHeadAttention": lambda r, seed: layers.MultiHeadAttention(2, 3, dropout=r, seed=seed),
    "GroupQueryAttention": lambda r, seed: layers.GroupQueryAttention(
        3, 2, 1, dropout=r, seed=seed
    ),
    "Attention": lambda r, seed: layers.Attention(dropout=r, seed=seed),
}
KINDS = {
    **{name: (compiled, kind, (6,)) for name, kind in VECTORS.items()},
    **{name: (compiled, kind, (5, 4)) for name, kind in SEQUENCES.items()},
    **{name: (compiled, kind, (8, 8, 3)) for name, kind in IMAGES.items()},
    **{name: (attending, kind, (5, 4)) for name, kind in ATTENTION.items()},
}
SHORT = ("Dropout", "SimpleRNN", "RandomBrightness")


def model_of(name, rate, seed=7):
    keras.utils.set_random_seed(3)
    build, kind, shape = KINDS[name]
    layer = kind(rate, seed=seed)
    return build(layer) if build is attending else build(layer, shape=shape)


@pytest.mark.parametrize(
    "name", [n if n in SHORT else pytest.param(n, marks=pytest.mark.long) for n in KINDS]
)
@pytest.mark.parametrize("first", [0, pytest.param(2, marks=pytest.mark.long)])
def test_a_rate_of_zero_is_one_like_others(name, first, equal_logs):
    """Whichever model the program is traced from."""
    rates = [RATES[first], *(rate for rate in RATES if rate != RATES[first])]
    models = [model_of(name, rate) for rate in rates]
    assert group_by_program(models) == [[0, 1, 2]]
    x = np.random.default_rng(2).uniform(size=(40, *models[0].input_shape[1:])).astype("float32")
    together = Lanes(models, False, random_numbers="keras")
    fit = {"batch_size": 16, "epochs": 2, "shuffle": False}
    histories = together.fit(x, Y, validation_data=(x, Y), **fit)
    for lane, rate in enumerate(rates):
        model = model_of(name, rate)
        expected = model.fit(x, Y, validation_data=(x, Y), verbose=0, **fit).history
        equal_logs(histories[lane].history, expected, 1e-5)
        for found, weight in zip(together.unstack(lane).weights, model.weights, strict=True):
            np.testing.assert_allclose(found, weight, rtol=1e-4, atol=1e-5, err_msg=weight.path)


class IfAny(layers.Dropout):
    """Zero is another thing to it than a small number."""

    def call(self, inputs, training=False):
        return super().call(inputs, training=training) if self.rate > 0 else inputs * 2.0


def test_code_of_the_users_own_may_take_zero_for_something_else(equal_models):
    models = [compiled(IfAny(rate, seed=7)) for rate in RATES]
    with pytest.raises(DifferentPrograms, match="`rate` of a IfAny"):
        Lanes(models, False).fit(X, Y)
    assert group_by_program(models) == [[0], [1, 2]]


def test_two_rates_of_one_generator_are_drawn_in_their_order():
    def model(dropout, recurrent):
        return compiled(
            layers.SimpleRNN(3, dropout=dropout, recurrent_dropout=recurrent), shape=(5, 4)
        )

    rates = [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5), (0.2, 0.5)]
    assert group_by_program([model(*both) for both in rates]) == [[0, 1], [2], [3, 4]]


def test_a_lane_without_a_rate_takes_the_place_of_one_with_it(equal_models):
    from kerasreg.lanes import Replacement

    lanes = Lanes([model_of("Dropout", 0.5), model_of("Dropout", 0.0)], False)
    waiting = [model_of("Dropout", 0.0, seed=8), model_of("Dropout", 0.25, seed=8)]

    def refill(ended):
        free = sorted(ended)[: len(waiting)]
        return {lane: Replacement(waiting.pop()) for lane in free}

    lanes.fit(X, Y, 16, 2, refill=refill, seed=1)
    for lane, rate in enumerate([0.25, 0.0]):
        single = Lanes([model_of("Dropout", rate, seed=8)], False)
        single.fit(X, Y, 16, 2, seed=1)
        equal_models(single.unstack(0), lanes.unstack(lane), 1e-5)
