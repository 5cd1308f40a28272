"""Numbers of Keras' own layers, losses and penalties that differ between lanes."""

import keras
import numpy as np
import pytest

from kerasreg.lanes import DifferentPrograms, Lanes, group_by_program

layers, losses = keras.layers, keras.losses
X = np.random.default_rng(0).uniform(size=(40, 6)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 40)


def rate(number):
    return 0.1 + 0.2 * number


def compiled(model, loss=None, optimizer=None):
    loss = loss or losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer or keras.optimizers.SGD(0.05), loss, jit_compile=False)
    return model


def with_layers(*middle, **compile_arguments):
    first = layers.Dense(4, activation="tanh")
    model = keras.Sequential([keras.Input((6,)), first, *middle, layers.Dense(3)])
    return compiled(model, **compile_arguments)


def on_vectors(number):
    """Many at once: which of them is at fault, the long tests tell."""
    return with_layers(
        layers.Dropout(rate(number), seed=number),
        layers.GaussianDropout(rate(number), seed=number),
        layers.AlphaDropout(rate(number), seed=number),
        layers.GaussianNoise(rate(number), seed=number),
        layers.ActivityRegularization(rate(number), 2 * rate(number)),
        layers.BatchNormalization(momentum=0.5 + rate(number), epsilon=1e-3 * (number + 1)),
        layers.LeakyReLU(rate(number)),
        layers.ELU(rate(number)),
        layers.Dense(
            4,
            kernel_regularizer=keras.regularizers.OrthogonalRegularizer(0.01 * (number + 1)),
            kernel_constraint=keras.constraints.MaxNorm(0.5 + rate(number)),
        ),
        loss=losses.CategoricalCrossentropy(from_logits=True, label_smoothing=rate(number)),
        optimizer=keras.optimizers.SGD(0.05, clipnorm=rate(number)),
    )


def test_numbers_of_many_layers_are_those_of_each_lane(same_as_alone):
    together, _ = same_as_alone(on_vectors, X, np.eye(3)[Y], count=3, alone=[0, 2], epochs=2)
    assert together.traces < 10


def sequence(*middle):
    return compiled(
        keras.Sequential([keras.Input((5, 4)), *middle, layers.Flatten(), layers.Dense(3)])
    )


def images(layer):
    return compiled(
        keras.Sequential([keras.Input((8, 8, 3)), layer, layers.Flatten(), layers.Dense(3)])
    )


def attending(layer):
    inputs = keras.Input((5, 4))
    hidden = layer([inputs, inputs]) if type(layer) is layers.Attention else layer(inputs, inputs)
    return compiled(keras.Model(inputs, layers.Dense(3)(layers.Flatten()(hidden))))


def of_loss(loss):
    return with_layers(loss=loss)


UNIT = {"value_range": (0, 1)}
KINDS = {
    "Dropout": lambda i: with_layers(layers.Dropout(rate(i), seed=i)),
    "Dropout of a noise shape": lambda i: sequence(
        layers.Dropout(rate(i), noise_shape=(None, 1, 4), seed=i)
    ),
    "GaussianDropout": lambda i: with_layers(layers.GaussianDropout(rate(i), seed=i)),
    "AlphaDropout": lambda i: with_layers(layers.AlphaDropout(rate(i), seed=i)),
    "GaussianNoise": lambda i: with_layers(layers.GaussianNoise(rate(i), seed=i)),
    "ActivityRegularization": lambda i: with_layers(
        layers.ActivityRegularization(rate(i), 2 * rate(i))
    ),
    "BatchNormalization": lambda i: with_layers(
        layers.BatchNormalization(momentum=0.5 + rate(i), epsilon=1e-3 * (i + 1))
    ),
    "LayerNormalization": lambda i: with_layers(layers.LayerNormalization(epsilon=1e-3 * (i + 1))),
    "GroupNormalization": lambda i: with_layers(
        layers.GroupNormalization(2, epsilon=1e-3 * (i + 1))
    ),
    "LeakyReLU": lambda i: with_layers(layers.LeakyReLU(rate(i))),
    "ELU": lambda i: with_layers(layers.ELU(rate(i))),
    "ReLU": lambda i: with_layers(
        layers.ReLU(max_value=0.4 + rate(i), negative_slope=rate(i), threshold=0.05 * (i + 1))
    ),
    "Rescaling": lambda i: with_layers(layers.Rescaling(0.5 + rate(i), offset=rate(i))),
    "penalties and constraints": lambda i: with_layers(
        layers.Dense(
            4,
            kernel_regularizer=keras.regularizers.OrthogonalRegularizer(0.01 * (i + 1)),
            activity_regularizer=keras.regularizers.L2(rate(i)),
            kernel_constraint=keras.constraints.MaxNorm(0.5 + rate(i)),
            bias_constraint=keras.constraints.MinMaxNorm(0.01 + 0.01 * i, 1.0, 0.5),
        )
    ),
    "clipping by value": lambda i: with_layers(
        optimizer=keras.optimizers.Adam(0.01, clipvalue=0.01 * (i + 1))
    ),
    "SpatialDropout1D": lambda i: sequence(layers.SpatialDropout1D(rate(i), seed=i)),
    "GRU": lambda i: sequence(layers.GRU(3, dropout=rate(i), recurrent_dropout=rate(i), seed=i)),
    "LSTM": lambda i: sequence(
        layers.Bidirectional(layers.LSTM(3, dropout=rate(i), return_sequences=True, seed=i))
    ),
    "SimpleRNN": lambda i: sequence(layers.SimpleRNN(3, dropout=rate(i), seed=i)),
    "ConvLSTM1D": lambda i: images(layers.ConvLSTM1D(2, 2, dropout=rate(i), seed=i)),
    "MultiHeadAttention": lambda i: attending(
        layers.MultiHeadAttention(2, 3, dropout=rate(i), seed=i)
    ),
    "GroupQueryAttention": lambda i: attending(
        layers.GroupQueryAttention(3, 2, 1, dropout=rate(i), seed=i)
    ),
    "Attention": lambda i: attending(layers.Attention(dropout=rate(i), seed=i)),
    "RandomBrightness": lambda i: images(layers.RandomBrightness(rate(i), (0, 1), seed=i)),
    "RandomContrast": lambda i: images(layers.RandomContrast(rate(i), **UNIT, seed=i)),
    "RandomRotation": lambda i: images(layers.RandomRotation(rate(i), seed=i)),
    "RandomTranslation": lambda i: images(layers.RandomTranslation(rate(i), rate(i), seed=i)),
    "RandomZoom": lambda i: images(layers.RandomZoom(rate(i), rate(i), seed=i)),
    "RandomHue": lambda i: images(layers.RandomHue(rate(i), **UNIT, seed=i)),
    "RandomSaturation": lambda i: images(layers.RandomSaturation(rate(i), **UNIT, seed=i)),
    "RandomShear": lambda i: images(layers.RandomShear(rate(i), rate(i), seed=i)),
    "RandomErasing": lambda i: images(layers.RandomErasing(rate(i), seed=i)),
    "MixUp": lambda i: images(layers.MixUp(rate(i), seed=i)),
    "Huber": lambda i: of_loss(losses.Huber(delta=rate(i))),
    "focal": lambda i: of_loss(
        losses.CategoricalFocalCrossentropy(
            alpha=rate(i), gamma=1.5 + i, from_logits=True, label_smoothing=rate(i)
        )
    ),
    "binary focal": lambda i: of_loss(
        losses.BinaryFocalCrossentropy(
            apply_class_balancing=True, alpha=rate(i), gamma=1.5 + i, from_logits=True
        )
    ),
    "smoothed": lambda i: of_loss(losses.BinaryCrossentropy(True, label_smoothing=rate(i))),
    "Tversky": lambda i: of_loss(losses.Tversky(rate(i), 1 - rate(i))),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_numbers_of_a_kind_are_those_of_each_lane(kind, same_as_alone):
    shape = KINDS[kind](0).input_shape[1:]
    x = np.random.default_rng(2).uniform(size=(40, *shape)).astype("float32")
    y = np.eye(3, dtype="float32")[Y] if KINDS[kind](0).loss.name != losses_of_classes() else Y
    same_as_alone(KINDS[kind], x, y, count=3, alone=[0, 1, 2], epochs=2)


def losses_of_classes():
    return losses.SparseCategoricalCrossentropy().name


class Fits(layers.Layer):
    """A layer that asks a number what only a Python number can tell."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def call(self, x):
        return x * round(self.number, 1)


class Above(Fits):
    def call(self, x):
        return x * self.number if self.number > 0.3 else x


class Between(Fits):
    def call(self, x):
        return x if 0.15 < self.number <= 0.3 else x * self.number


class Difference(Fits):
    def call(self, x):
        return x if self.number - 0.2 > 0 else -x


class Written(Fits):
    def call(self, x):
        return x * float(f"{self.number}")


class Counted(Fits):
    def call(self, x):
        return keras.ops.repeat(x, int(10 * self.number), axis=-1)[:, :4]


NUMBERS = [0.1, 0.25, 0.4, 0.5]
# How models of these numbers are grouped when the program has shown what it asks.
DECIDING = {
    Fits: [[0], [1], [2], [3]],
    Above: [[0, 1], [2, 3]],
    Between: [[0], [1], [2, 3]],
    Difference: [[0], [1], [2], [3]],
    Written: [[0], [1], [2], [3]],
    Counted: [[0], [1], [2], [3]],
}


@pytest.mark.short("Fits", "Between", "Written", "Counted")
@pytest.mark.parametrize("kind", DECIDING)
def test_a_number_that_decides_is_no_value_of_a_lane(kind):
    models = [with_layers(kind(number)) for number in NUMBERS]
    groups = [list(range(4))]
    while group_by_program(models) != DECIDING[kind]:  # Each time one bound is found.
        assert group_by_program(models) == groups
        with pytest.raises(DifferentPrograms, match=f"`number` of a {kind.__name__} that differs"):
            fit_groups(models, groups)
        assert group_by_program(models) != groups
        groups = group_by_program(models)
    fit_groups(models, groups)


def fit_groups(models, groups):
    for group in groups:
        Lanes([models[index] for index in group], False).fit(X, Y, 20)


def build_noisy(number):
    return with_layers(
        layers.Dropout(rate(number), seed=number),
        layers.GaussianNoise(rate(number), seed=number),
    )


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_lane_is_the_same_alone_among_others_and_under_xla(jit_compile, trials, equal_models):
    together = Lanes(trials(build_noisy, 3), False)
    together.fit(X, Y, 16, 2, seed=1)
    single = Lanes([trials(build_noisy, 3)[1]], jit_compile)
    single.fit(X, Y, 16, 2, seed=1)
    equal_models(single.unstack(0), together.unstack(1), 1e-5)


def test_other_random_numbers_than_there_are():
    with pytest.raises(ValueError, match="`random_numbers` must be"):
        Lanes([build_noisy(0)], random_numbers="torch")
