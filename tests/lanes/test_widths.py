"""Narrow models as lanes of a wider model's program: each is what it is alone, or refused."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import constraints, layers, ops, optimizers, regularizers

import kerasreg
from kerasreg.lanes import Lanes, Replacement, group_by_program, why_not_padded

pytestmark = pytest.mark.shares_programs

NARROW, WIDE, BETWEEN = WIDTHS = 6, 16, 10
OUTPUT = {"activation": "softmax"}
DRAW = np.random.default_rng(0)
DATA = {shape: DRAW.normal(size=(40, *shape)) for shape in [(8,), (6, 5), (8, 8, 3), (3, 4, 4, 2)]}
DATA["ids"] = DRAW.integers(0, 20, size=(40, 6))
Y = DRAW.integers(0, 2, size=40)
GRAPH, SEQUENCE, IMAGE = (8,), (6, 5), (8, 8, 3)


def compiled(model, optimizer="adam", **given):
    given = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"], **given}
    model.compile(optimizer, **given)
    return model


def of(shape, *stacked):
    inputs = keras.Input((6,)) if shape == "ids" else keras.Input(shape)
    hidden = inputs
    for layer in stacked:
        hidden = layer(hidden)
    return keras.Model(inputs, layers.Dense(2, **OUTPUT)(hidden))


def dense(units, activation="relu", **given):
    return of(GRAPH, layers.Dense(units, activation, **given), layers.Dense(units // 2, "gelu"))


def trained(models, x, epochs=3, **given):
    lanes = Lanes(models)
    histories = lanes.fit(x, Y, batch_size=16, epochs=epochs, seed=0, **given)
    assert [history.error for history in histories] == [None] * len(models)
    return lanes, histories


def models_of(build, widths, optimizer=lambda: optimizers.Adam(0.01), **given):
    """Models whose initial weights are the same, however many there are."""
    made = []
    for number, width in enumerate(widths):
        keras.utils.set_random_seed(number)
        made.append(compiled(build(width), optimizer(), **given))
    return made


def assert_as_alone(make, x, equal_logs, equal_models, tolerance=1e-4, **given):
    """Trains models of three widths together, and the narrow ones alone."""
    together, histories = trained(make(), x, **given)
    assert together.model is together.models[1]
    for lane in (0, 2):
        alone, expected = trained([make()[lane]], x, **given)
        equal_logs(histories[lane].history, expected[0].history, tolerance)
        equal_models(together.unstack(lane), alone.unstack(0), tolerance)
    return together


# What is padded.


def branches(units):
    inputs = keras.Input(GRAPH)
    one, other = layers.Dense(units, "relu")(inputs), layers.Dense(units // 2, "tanh")(inputs)
    joined = layers.Concatenate()([one, inputs, other])
    gated = layers.Multiply()([layers.Dense(units)(joined), layers.Dense(units, "sigmoid")(one)])
    return keras.Model(inputs, layers.Dense(2, **OUTPUT)(layers.Add()([gated, one])))


def nested(units):
    inputs = keras.Input(GRAPH)
    inner = keras.Sequential(
        [keras.Input(GRAPH), layers.Dense(units, "relu"), layers.Dense(2 * units, "tanh")]
    )
    both = layers.Subtract()([inner(inputs), inner(-inputs)])
    return keras.Model(inputs, layers.Dense(2, **OUTPUT)(both))


def shared(units):
    inputs = keras.Input(GRAPH)
    one, other = layers.Dense(units, "relu"), layers.Dense(GRAPH[0], "tanh")
    return keras.Model(inputs, layers.Dense(2, **OUTPUT)(one(other(one(inputs)))))


def attention(heads, key_dim):
    inputs = keras.Input(SEQUENCE)
    hidden = layers.Dense(2 * key_dim)(inputs)
    hidden = hidden + layers.MultiHeadAttention(heads, key_dim)(hidden, hidden)
    return keras.Model(inputs, layers.Dense(2, **OUTPUT)(layers.GlobalAveragePooling1D()(hidden)))


def squeezed(units):
    inputs = keras.Input(IMAGE)
    hidden = layers.Conv2D(units, 3, activation="relu")(inputs)
    scale = layers.GlobalAveragePooling2D(keepdims=True)(hidden)
    scale = layers.Dense(units, "sigmoid")(layers.Dense(units // 2, "relu")(scale))
    pooled = layers.GlobalAveragePooling2D()(layers.Multiply()([hidden, scale]))
    return keras.Model(inputs, layers.Dense(2, **OUTPUT)(pooled))


class OwnDense(layers.Layer):
    def __init__(self, units):
        super().__init__()
        self.units = units

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.units))

    def call(self, inputs):
        return ops.tanh(inputs @ self.kernel)


KINDS = {
    "Dense": (GRAPH, dense),
    "penalties": (GRAPH, lambda u: dense(u, kernel_regularizer=regularizers.L1L2(0.01, 0.01))),
    "activity": (GRAPH, lambda u: dense(u, activity_regularizer="l2")),
    "BatchNormalization": (
        GRAPH,
        lambda u: of(GRAPH, layers.Dense(u), layers.BatchNormalization(), layers.ReLU()),
    ),
    "Conv2D": (
        IMAGE,
        lambda u: of(
            IMAGE,
            layers.Conv2D(u, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Conv2D(u // 2, 2, activation="relu"),
            layers.Flatten(),
            layers.Dense(u, "relu"),
        ),
    ),
    "Conv1D": (
        SEQUENCE,
        lambda u: of(SEQUENCE, layers.Conv1D(u, 2, activation="tanh"), layers.GlobalMaxPooling1D()),
    ),
    "SeparableConv2D": (
        IMAGE,
        lambda u: of(
            IMAGE,
            layers.SeparableConv2D(u, 3, activation="relu"),
            layers.DepthwiseConv2D(3),
            layers.GlobalAveragePooling2D(),
        ),
    ),
    "squeeze and excite": (IMAGE, squeezed),
    "LSTM": (SEQUENCE, lambda u: of(SEQUENCE, layers.LSTM(u))),
    "GRU": (
        SEQUENCE,
        lambda u: of(SEQUENCE, layers.GRU(u, return_sequences=True), layers.GRU(u // 2)),
    ),
    "SimpleRNN": (SEQUENCE, lambda u: of(SEQUENCE, layers.SimpleRNN(u))),
    "Bidirectional": (
        SEQUENCE,
        lambda u: of(SEQUENCE, layers.Bidirectional(layers.LSTM(u)), layers.Dense(2 * u, "relu")),
    ),
    "Embedding": (
        "ids",
        lambda u: of("ids", layers.Embedding(20, u, mask_zero=True), layers.LSTM(u)),
    ),
    "heads": (SEQUENCE, lambda u: attention(u // 2, 4)),
    "key_dim": (SEQUENCE, lambda u: attention(2, u)),
    "branches": (GRAPH, branches),
    "nested": (GRAPH, nested),
    "shared": (GRAPH, shared),
    "one layer wider, one narrower": (
        GRAPH,
        lambda u: of(
            GRAPH, layers.Dense(u, "relu"), layers.Dense({6: 10, 10: 6}.get(u, u), "tanh")
        ),
    ),
    "a layer of one's own": (GRAPH, lambda u: of(GRAPH, OwnDense(u))),
    "constraint": (GRAPH, lambda u: dense(u, kernel_constraint=constraints.MaxNorm(0.5))),
    "UnitNormalization": (GRAPH, lambda u: of(GRAPH, layers.Dense(u), layers.UnitNormalization())),
    "PReLU": (GRAPH, lambda u: of(GRAPH, layers.Dense(u), layers.PReLU())),
    "Dropout": (GRAPH, lambda u: of(GRAPH, layers.Dense(u, "relu"), layers.Dropout(0.3))),
    "GaussianDropout": (
        GRAPH,
        lambda u: of(GRAPH, layers.Dense(u, "relu"), layers.GaussianDropout(0.3)),
    ),
    "SpatialDropout1D": (
        SEQUENCE,
        lambda u: of(
            SEQUENCE,
            layers.Conv1D(u, 2, activation="relu"),
            layers.SpatialDropout1D(0.3),
            layers.GlobalAveragePooling1D(),
        ),
    ),
    "ScheduledDropout": (
        GRAPH,
        lambda u: of(GRAPH, layers.Dense(u, "relu"), kerasreg.layers.ScheduledDropout(0.3)),
    ),
    "penalty of kerasreg": (
        GRAPH,
        lambda u: dense(u, kernel_regularizer=kerasreg.regularizers.L2(0.01)),
    ),
    # Sizes that are equal, or some times another one, by chance.
    "widths that coincide": (
        SEQUENCE,
        lambda u: of(
            SEQUENCE,
            layers.Bidirectional(layers.GRU(u, return_sequences=True)),
            layers.LSTM({6: 11}.get(u, 2 * u)),
        ),
    ),
}
# TensorFlow casts a Python number, here the scale of attention, by way of float32.
ROUNDED = {"key_dim"}
IN_SHORT = {"BatchNormalization", "branches", "Dropout", "Conv1D"}


def marked(kinds, short):
    return [pytest.param(kind, marks=() if kind in short else pytest.mark.long) for kind in kinds]


def momentum():
    # Where a gradient is zero but for rounding, Adam would divide rounding by its own size.
    return optimizers.SGD(0.05, momentum=0.9)


@pytest.mark.short("branches-float64", "Conv1D-float64")
@pytest.mark.parametrize("floatx", ["float64", pytest.param("float32", marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", marked(KINDS, IN_SHORT))
def test_a_padded_lane_is_the_model_alone(kind, floatx, equal_logs, equal_models):
    keras.config.set_floatx(floatx)
    shape, build = KINDS[kind]
    x = DATA[shape] if shape == "ids" else DATA[shape].astype(floatx)
    tolerance = 1e-4 if floatx == "float32" else 1e-7 if kind in ROUNDED else 1e-9
    given = {"tolerance": tolerance, "validation_data": (x[:24], Y[:24])}

    def make():
        return models_of(build, WIDTHS, momentum)

    assert_as_alone(make, x, equal_logs, equal_models, **given)


DRAWS = {"Dropout", "GaussianDropout", "SpatialDropout1D", "ScheduledDropout"}


@pytest.mark.parametrize("kind", marked([kind for kind in KINDS if kind not in DRAWS], {"nested"}))
def test_a_padded_lane_is_the_model_that_keras_trains(kind, equal_models):
    keras.config.set_floatx("float64")
    shape, build = KINDS[kind]
    lanes = Lanes(models_of(build, WIDTHS, momentum))
    model = models_of(build, WIDTHS, momentum)[0]
    given = {"batch_size": 16, "epochs": 3, "shuffle": False}
    lanes.fit(DATA[shape], Y, **given)
    model.fit(DATA[shape], Y, verbose=0, **given)
    equal_models(lanes.unstack(0), model, 1e-7 if kind in ROUNDED else 1e-9)


def test_several_inputs_and_outputs(equal_models):
    def build(units):
        one, other = keras.Input((8,), name="one"), keras.Input((5,), name="other")
        hidden = layers.Add()([layers.Dense(units, "relu")(one), layers.Dense(units)(other)])
        outputs = {
            "kind": layers.Dense(2, name="kind", **OUTPUT)(hidden),
            "size": layers.Dense(1, name="size")(layers.Dense(2 * units, "elu")(hidden)),
        }
        model = keras.Model({"one": one, "other": other}, outputs)
        model.compile("adam", {"kind": "sparse_categorical_crossentropy", "size": "mse"})
        return model

    def of_widths(widths):
        made = []
        for number, width in enumerate(widths):
            keras.utils.set_random_seed(number)
            made.append(build(width))
        return made

    x = {"one": DATA[GRAPH], "other": DATA[SEQUENCE][:, 0]}
    y = {"kind": Y, "size": DATA[GRAPH][:, :1]}
    together, alone = Lanes(of_widths(WIDTHS)), of_widths(WIDTHS)[0]
    together.fit(x, y, batch_size=16, epochs=2, shuffle=False)
    alone.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0)
    equal_models(together.unstack(0), alone)
    predicted, expected = together.predict(x), alone.predict(x, verbose=0)
    for name in y:
        np.testing.assert_allclose(predicted[name][0], expected[name], rtol=0, atol=1e-5)


OPTIMIZERS = {
    "Adam": lambda: optimizers.Adam(0.01),
    "AdamW": lambda: optimizers.AdamW(0.01, weight_decay=0.1, global_clipnorm=1.0),
    "SGD": lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True, clipnorm=0.5),
    "Lion": lambda: optimizers.Lion(1e-3, weight_decay=0.1),
    "Proximal": lambda: kerasreg.optimizers.Proximal(optimizers.SGD(0.05)),
    "RMSprop": lambda: optimizers.RMSprop(1e-3, momentum=0.5, centered=True),
    "Adagrad": lambda: optimizers.Adagrad(0.05),
    "Ftrl": lambda: optimizers.Ftrl(0.05, l1_regularization_strength=1e-3),
    "Lamb": lambda: optimizers.Lamb(0.01, clipvalue=0.01),
    "averaged": lambda: optimizers.SGD(0.05, use_ema=True, ema_overwrite_frequency=3),
    "accumulated": lambda: optimizers.Adam(0.01, gradient_accumulation_steps=2),
    "Lookahead": lambda: kerasreg.optimizers.Lookahead(optimizers.Adam(0.01)),
}


@pytest.mark.parametrize("floatx", ["float64", pytest.param("float32", marks=pytest.mark.long)])
@pytest.mark.parametrize("name", marked(OPTIMIZERS, {"AdamW"}))
def test_a_padded_lane_of_any_optimizer_is_the_model_alone(name, floatx, equal_logs, equal_models):
    keras.config.set_floatx(floatx)
    penalty = kerasreg.regularizers.L1 if name == "Proximal" else regularizers.L1

    def make():
        return models_of(
            lambda units: dense(units, kernel_regularizer=penalty(1e-3)), WIDTHS, OPTIMIZERS[name]
        )

    tolerance = 1e-9 if floatx == "float64" else 1e-4
    x = DATA[GRAPH].astype(floatx)
    assert_as_alone(make, x, equal_logs, equal_models, tolerance, epochs=20)


# What is not padded.


class Call(layers.Layer):
    """Computes a function of its inputs and of its width."""

    def __init__(self, function, units=0):
        super().__init__()
        self.function, self.units = function, units

    def call(self, inputs):
        return self.function(inputs, self.units)


def calls(function, activation="tanh"):
    # The function is the same for models of all widths.
    return lambda u: of(GRAPH, layers.Dense(u, activation), Call(function, u))


def flipped(layer, activation="relu"):
    return lambda u: of(SEQUENCE, layers.Dense(u, activation), layers.Permute((2, 1)), layer())


class InferenceOnly(layers.Layer):
    def call(self, inputs, training=False):
        return inputs if training else inputs / (1.0 + ops.var(inputs, -1, keepdims=True))


class Rezero(layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight(shape=(), initializer="zeros")

    def call(self, inputs):
        return self.scale * inputs


class Mean(regularizers.Regularizer):
    def __init__(self, strength):
        self.strength = strength

    def __call__(self, weights):
        return self.strength * ops.mean(ops.square(weights))


class Away(constraints.Constraint):
    def __call__(self, weights):
        return weights + 0.01


def subclassed(units):
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden, self.last = layers.Dense(units, "relu"), layers.Dense(2, **OUTPUT)

        def call(self, inputs):
            return self.last(self.hidden(inputs))

    model = Own()
    model(np.zeros((1, *GRAPH)))
    return model


def behind(layer):
    return lambda u: of(GRAPH, layers.Dense(u, "relu"), layer())


# Padded units give something there, and what follows is not to learn from them.
MASKED = {
    "sigmoid": lambda u: dense(u, "sigmoid"),
    "softplus": lambda u: dense(u, "softplus"),
    "exponential": lambda u: dense(u, "exponential"),
    "LayerNormalization": behind(layers.LayerNormalization),
    "GaussianNoise": behind(lambda: layers.GaussianNoise(0.1)),
    "GaussianNoise, tiny": behind(lambda: layers.GaussianNoise(1e-6)),
    "AlphaDropout": behind(lambda: layers.AlphaDropout(0.1)),
    "Rescaling with an offset": behind(lambda: layers.Rescaling(2.0, offset=1.0)),
    "a constant": lambda u: of(GRAPH, layers.Dense(u, "relu"), layers.Lambda(lambda x: x + 1.0)),
    "LSTM of sigmoids": lambda u: of(SEQUENCE, layers.LSTM(u, activation="sigmoid")),
    "hidden by a zero": lambda u: of(
        GRAPH, layers.Dense(u, "sigmoid"), layers.Dense(8), Rezero(), layers.Dense(4)
    ),
}
REFUSED = {
    "softmax": lambda u: dense(u, "softmax"),
    "RMSNormalization": behind(layers.RMSNormalization),
    "GroupNormalization": behind(lambda: layers.GroupNormalization(2)),
    "mean over units": calls(lambda x, _: ops.mean(x, -1, keepdims=True)),
    "variance over units": calls(lambda x, _: ops.var(x, -1, keepdims=True)),
    "maximum of units": calls(lambda x, _: ops.max(x, -1, keepdims=True)),
    "minimum of units": calls(lambda x, _: ops.min(x, -1, keepdims=True)),
    "product of units": calls(lambda x, _: ops.prod(x, -1, keepdims=True)),
    "logarithm of a sum": calls(lambda x, _: ops.logsumexp(x, -1, keepdims=True)),
    "the largest two": calls(lambda x, _: ops.top_k(x, 2)[0]),
    "units in a circle": calls(lambda x, _: x + ops.roll(x, 1, -1)),
    "softmax times units": calls(lambda x, _: x * ops.softmax(x, -1)),
    "divided by units": calls(lambda x, units: x / units),
    "divided by a length": calls(lambda x, _: x / x.shape[-1] ** 0.5),
    "pooling over units": flipped(layers.GlobalAveragePooling1D),
    "maximum pooling over units": flipped(layers.GlobalMaxPooling1D, "tanh"),
    "LSTM over units": flipped(lambda: layers.LSTM(4)),
    "convolution over units": lambda u: of(
        SEQUENCE,
        layers.Dense(u, "tanh"),
        layers.Permute((2, 1)),
        layers.Conv1D(3, 3, padding="same", activation="relu"),
        layers.GlobalAveragePooling1D(),
    ),
    "Reshape": lambda u: of(
        GRAPH, layers.Dense(u, "relu"), layers.Reshape((u, 1)), layers.GlobalAveragePooling1D()
    ),
    "GLU": lambda u: of(GRAPH, layers.Dense(2 * u), layers.Lambda(ops.glu)),
    "RepeatVector": lambda u: of(GRAPH, layers.RepeatVector(u), layers.LSTM(3)),
    "Orthogonal": lambda u: dense(
        u, kernel_regularizer=regularizers.OrthogonalRegularizer(0.1, mode="columns")
    ),
    "penalty of a mean": lambda u: dense(u, kernel_regularizer=Mean(0.1)),
    "penalty of a mean, tiny": lambda u: dense(u, kernel_regularizer=Mean(1e-7)),
    "activity of a mean": lambda u: dense(u, activity_regularizer=Mean(0.1)),
    "constraint away from zero": lambda u: dense(u, kernel_constraint=Away()),
    "otherwise at inference": behind(InferenceOnly),
    "subclassed": subclassed,
    "other input": lambda u: of((u,), layers.Dense(3)),
    "other output": lambda u: keras.Sequential([keras.Input(GRAPH), layers.Dense(u)]),
}


REFUSED_IN_SHORT = {
    "softmax", "GroupNormalization", "mean over units", "maximum of units",
    "maximum pooling over units", "penalty of a mean, tiny", "otherwise at inference",
    "subclassed", "other output", "Reshape", "divided by units",
}  # fmt: skip


MASKED_IN_SHORT = {"sigmoid", "LayerNormalization", "GaussianNoise"}


@pytest.mark.short("sigmoid", "LayerNormalization")
@pytest.mark.parametrize("kind", marked(MASKED, MASKED_IN_SHORT))
def test_a_lane_learns_nothing_from_padded_units_that_give_something(
    kind, equal_logs, equal_models
):
    keras.config.set_floatx("float64")
    shape = SEQUENCE if "LSTM" in kind else GRAPH
    x = DATA[shape].astype("float64")

    def make():
        return models_of(MASKED[kind], WIDTHS, momentum)

    given = {"tolerance": 1e-9, "validation_data": (x[:24], Y[:24])}
    assert_as_alone(make, x, equal_logs, equal_models, **given)


@pytest.mark.parametrize("kind", marked(REFUSED, REFUSED_IN_SHORT))
@pytest.mark.parametrize("widths", [(NARROW, WIDE), (48, 96)], ids=["narrow", "wide"])
def test_what_cannot_be_padded_is_refused_with_the_reason(kind, widths):
    # Among many units one is above zero by chance: what takes a maximum is seen all the same.
    models = models_of(REFUSED[kind], widths, loss="mse")
    reason = why_not_padded(*models)
    assert reason
    with pytest.raises(ValueError, match="share no program") as refused:
        Lanes(models)
    assert reason in str(refused.value)
    assert group_by_program(models) == [[0], [1]]


@pytest.mark.parametrize("name", ["Adafactor", "Muon"])
@pytest.mark.parametrize("rate", [0.1, 1e-6])
def test_an_optimizer_of_whole_matrices_is_refused(name, rate):
    models = [compiled(dense(width), getattr(optimizers, name)(rate)) for width in (NARROW, WIDE)]
    with pytest.raises(ValueError, match="narrow models are padded, but"):
        Lanes(models)


def test_a_reason_does_not_hold_for_another_way_of_padding():
    # Compared once for each way: equal structures may be padded in the other layer only.
    def build(first, second):
        return compiled(of(GRAPH, layers.Dense(first, "softmax"), layers.Dense(second, "relu")))

    wide = build(16, 16)
    assert why_not_padded(build(6, 16), wide) is not None
    assert why_not_padded(build(16, 6), wide) is None
    assert why_not_padded(build(6, 6), wide) is not None


def test_models_of_which_none_is_the_widest_need_a_template(equal_models):
    def build(first, second):
        keras.utils.set_random_seed(first)
        return compiled(of(GRAPH, layers.Dense(first, "relu"), layers.Dense(second, "relu")))

    with pytest.raises(ValueError, match="share no program"):
        Lanes([build(4, 8), build(8, 4)])
    template = build(8, 8)
    lanes = Lanes([build(4, 8), build(8, 4)], template=template)
    assert lanes.model is template
    lanes.fit(DATA[GRAPH], Y, seed=0)
    alone = Lanes([build(8, 4)])
    alone.fit(DATA[GRAPH], Y, seed=0)
    equal_models(lanes.unstack(1), alone.unstack(0))
    with pytest.raises(ValueError, match="share no program"):
        Lanes([build(16, 4)], template=template)


def test_a_width_of_one_is_another_program():
    # What is one long may be spread over others.
    with pytest.raises(ValueError, match="share no program"):
        Lanes([compiled(of(GRAPH, layers.Dense(units))) for units in (1, 4)])


# All that one sees of a lane is as wide as its model.


@pytest.fixture
def of_widths():
    return models_of(dense, WIDTHS)


def shapes(model):
    return [tuple(variable.shape) for variable in model.variables]


def test_a_lane_is_seen_as_its_own_model(of_widths, tmp_path):
    lanes = Lanes(of_widths)
    x = DATA[GRAPH].astype("float32")
    before = [model.get_weights() for model in of_widths]
    for lane, model in enumerate(of_widths):
        with lanes.view(lane) as shown:
            assert shapes(shown) == shapes(model)
            for mine, expected in zip(shown.get_weights(), before[lane], strict=True):
                np.testing.assert_array_equal(mine, expected)
            np.testing.assert_allclose(
                shown.predict(x, verbose=0), model.predict(x, verbose=0), rtol=0, atol=1e-6
            )
            shown.save(tmp_path / "lane.keras")
            shown.set_weights([2.0 * value for value in before[lane]])
            shown.optimizer.learning_rate = 0.5**lane
        saved = keras.models.load_model(tmp_path / "lane.keras")
        assert shapes(saved) == shapes(model)
        np.testing.assert_array_equal(saved.get_weights()[0], before[lane][0])
    for lane, model in enumerate(of_widths):
        assert lanes.unstack(lane) is model
        assert float(model.optimizer.learning_rate) == 0.5**lane
        for mine, expected in zip(model.get_weights(), before[lane], strict=True):
            np.testing.assert_array_equal(mine, 2.0 * expected)
        values = lanes.trimmed(lane, [of_lanes[lane] for of_lanes in lanes.get_values()])
        for mine, expected in zip(values, before[lane], strict=True):
            np.testing.assert_array_equal(mine, 2.0 * expected)
    # Beside the values of a narrow model there are zeros.
    kernels = lanes.get_values()[0]
    assert kernels.shape == (3, 8, WIDE)
    assert np.count_nonzero(kernels[0]) <= 8 * NARROW


def test_results_of_padded_lanes(of_widths):
    x = DATA[GRAPH]
    lanes = Lanes(of_widths)
    predicted, evaluated = lanes.predict(x), lanes.evaluate(x, Y)
    for lane, model in enumerate(of_widths):
        np.testing.assert_allclose(predicted[lane], model.predict(x, verbose=0), rtol=0, atol=1e-5)
        expected = model.evaluate(x, Y, verbose=0, return_dict=True)
        assert evaluated[lane] == pytest.approx(expected, abs=1e-5)


def test_models_of_another_width_take_lanes_over(of_widths, equal_models, no_programs):
    lanes = Lanes(of_widths)
    x = DATA[GRAPH]
    given = {"x": x, "y": Y, "epochs": 2, "seed": 0}
    waiting = models_of(dense, [4, 12])

    def refill(ended):
        return {lane: Replacement(waiting.pop()) for lane in list(ended)[: len(waiting)]}

    lanes.precompile(refill=refill, **given)
    traces = lanes.traces
    histories = lanes.fit(refill=refill, **given)
    assert lanes.traces == traces
    assert len(histories) == 5
    for number, width in enumerate([4, 12]):
        keras.utils.set_random_seed(number)
        alone = Lanes([compiled(dense(width), optimizers.Adam(0.01))])
        alone.fit(x, Y, epochs=2, seed=0)
        (found,) = [model for model in lanes.models if model.layers[1].units == width]
        lane = next(at for at, model in enumerate(lanes.models) if model is found)
        equal_models(lanes.unstack(lane), alone.unstack(0))


def test_load_and_copy(of_widths, equal_models):
    lanes = Lanes(of_widths)
    other, same = models_of(dense, [12, BETWEEN])
    lanes.load({0: other, 1: same})
    assert shapes(lanes.unstack(0)) == shapes(other)
    with pytest.raises(ValueError, match="as wide"):
        lanes.copy(source=0, target=1)
    lanes.copy(source=2, target=1)
    equal_models(lanes.unstack(1), lanes.unstack(2))
    with pytest.raises(ValueError, match="share no program"):
        lanes.load({0: models_of(dense, [WIDE + 2])[0]})
    assert lanes.models[0] is other
    with pytest.raises(ValueError, match="share no program"):
        lanes.unstack(1, models_of(dense, [WIDE + 2])[0])


class Seen(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.shapes = [shapes(self.model)]
        self.rates = []

    def on_epoch_end(self, epoch, logs=None):
        self.shapes.append([value.shape for value in self.model.get_weights()])
        self.rates.append(float(self.model.optimizer.learning_rate))


@pytest.mark.long
def test_callbacks_see_the_narrow_model(of_widths, tmp_path, equal_models, equal_logs):
    x = DATA[GRAPH]
    validation = x[:24], Y[:24]

    def callbacks(lane):
        file = str(tmp_path / f"{lane}.weights.h5")
        return [
            seen[lane],
            keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5),
            keras.callbacks.ModelCheckpoint(
                file, monitor="val_loss", save_best_only=True, save_weights_only=True
            ),
            keras.callbacks.EarlyStopping("val_loss", patience=1, restore_best_weights=True),
        ]

    seen = [Seen() for _ in WIDTHS]
    given = {"epochs": 6, "batch_size": 16, "shuffle": False, "validation_data": validation}
    lanes = Lanes(of_widths)
    histories = lanes.fit(x, Y, callbacks=[callbacks(lane) for lane in range(3)], **given)
    for lane, model in enumerate(models_of(dense, WIDTHS)):
        assert seen[lane].shapes == [shapes(model)] * len(seen[lane].shapes)
        rates = seen[lane].rates
        assert rates == pytest.approx([0.01 * 0.5**epoch for epoch in range(1, len(rates) + 1)])
        expected = model.fit(x, Y, callbacks=callbacks(lane), verbose=0, **given)
        equal_logs(histories[lane].history, expected.history)
        equal_models(lanes.unstack(lane), model)
        model.load_weights(tmp_path / f"{lane}.weights.h5")


# Whatever stack of layers: refused, or as alone.


ACTIVATIONS = st.sampled_from([None, "relu", "tanh", "gelu", "selu", "sigmoid", "softmax", "silu"])
PLAIN = st.sampled_from(
    [
        layers.BatchNormalization,
        layers.LayerNormalization,
        layers.UnitNormalization,
        lambda: layers.Dropout(0.3),
        lambda: layers.GaussianNoise(0.1),
        lambda: layers.ActivityRegularization(l2=0.1),
        lambda: layers.Rescaling(0.5),
        layers.ELU,
    ]
)
SIZES = st.integers(2, 9)


@st.composite
def stacks(draw):
    """Makers of layers, each of the number of a model."""
    made = []
    for _ in range(draw(st.integers(1, 4))):
        if draw(st.booleans()):
            sizes, activation = draw(st.tuples(SIZES, SIZES)), draw(ACTIVATIONS)
            made.append(lambda number, s=sizes, a=activation: layers.Dense((*s, max(s))[number], a))
        else:
            plain = draw(PLAIN)
            made.append(lambda _, plain=plain: plain())
    return made


def refused_or_as_alone(stack, shape, ends, equal_models):
    def make():
        models = []
        for number in range(3):
            keras.utils.set_random_seed(number)
            model = of(shape, *[layer(number) for layer in stack], *ends())
            models.append(compiled(model, optimizers.SGD(0.05)))
        return models

    models = make()
    reasons = [why_not_padded(model, models[2]) for model in models[:2]]
    if any(reason is not None for reason in reasons):
        with pytest.raises(ValueError, match="share no program"):
            Lanes(models, template=models[2])
        return
    lanes = Lanes(models, template=models[2])
    x = DATA[shape]
    lanes.fit(x, Y, batch_size=16, epochs=2, seed=0)
    for lane in (0, 1):
        alone = Lanes([make()[lane]])
        alone.fit(x, Y, batch_size=16, epochs=2, seed=0)
        equal_models(lanes.unstack(lane), alone.unstack(0), 1e-6)
        found = lanes.evaluate(x, Y)[lane]["loss"]
        assert found == pytest.approx(alone.evaluate(x, Y)[0]["loss"], rel=1e-6)


@pytest.mark.long
@settings(deadline=None, max_examples=40, derandomize=True)
@given(stacks())
def test_any_stack_is_refused_or_as_alone(equal_models, stack):
    keras.config.set_floatx("float64")
    refused_or_as_alone(stack, GRAPH, list, equal_models)


@pytest.mark.long
@settings(deadline=None, max_examples=25, derandomize=True)
@given(stacks(), st.sampled_from(["flat", "turned", "pooled", "recurrent"]))
def test_any_stack_behind_a_sequence_is_refused_or_as_alone(equal_models, stack, end):
    keras.config.set_floatx("float64")
    ends = {
        "flat": lambda: [layers.Flatten()],
        "turned": lambda: [layers.Permute((2, 1)), layers.LSTM(3)],
        "pooled": lambda: [layers.GlobalMaxPooling1D()],
        "recurrent": lambda: [layers.Bidirectional(layers.SimpleRNN(4))],
    }[end]
    refused_or_as_alone(stack, SEQUENCE, ends, equal_models)
