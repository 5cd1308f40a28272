"""A lane ends with the weights, the slots and the history of its model trained alone."""

import keras
import numpy as np
import pytest

import kerasreg
from kerasreg import layers as noise

pytestmark = pytest.mark.shares_programs

layers, optimizers, metrics = keras.layers, keras.optimizers, keras.metrics
schedules = optimizers.schedules


def compiled(model, optimizer=None, loss=None, **arguments):
    # Trained alone without XLA: what it computes is the same, and it compiles for seconds.
    optimizer = optimizers.Adam(0.01) if optimizer is None else optimizer
    loss = loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, jit_compile=False, **arguments)
    return model


def classifier(*middle, optimizer=None, **arguments):
    hidden = layers.Dense(4, activation="tanh")
    model = keras.Sequential([keras.Input((6,)), hidden, *middle, layers.Dense(3)])
    return compiled(model, optimizer, **arguments)


# Each is compiled for seconds: the others by `make test-long`.
IN_SHORT = ("all of these", "embedding and attention", "2D convolution")


def some_in_short(kinds):
    return [pytest.param(k, marks=() if k in IN_SHORT else pytest.mark.long) for k in kinds]


# Each of a number: the trials differ by seed, and by rate where there is one.
DENSE = {
    "dense": lambda i: [],
    "batch normalization": lambda i: [layers.BatchNormalization(momentum=0.8)],
    "layer normalization": lambda i: [layers.LayerNormalization()],
    "Keras' dropout": lambda i: [layers.Dropout(0.3, seed=i)],
    "Keras' Gaussian noise": lambda i: [layers.GaussianNoise(0.3, seed=i)],
    "dropout": lambda i: [noise.ScheduledDropout(0.1 + 0.2 * i, seed=i)],
    "scheduled dropout": lambda i: [
        noise.ScheduledDropout(schedules.PolynomialDecay(0.1 * (i + 1), 5 + i, 0.6), seed=i)
    ],
    "curriculum dropout": lambda i: [
        noise.ScheduledDropout(kerasreg.schedules.CurriculumDropout(0.2 * (i + 1), 9 + i), seed=i)
    ],
    "Gaussian dropout": lambda i: [noise.ScheduledGaussianDropout(0.1 + 0.2 * i, seed=i)],
    "alpha dropout": lambda i: [noise.ScheduledAlphaDropout(0.1 + 0.2 * i, seed=i)],
    "drop connect": lambda i: [noise.DropConnect(layers.Dense(4), 0.1 + 0.2 * i, seed=i)],
    "concrete dropout": lambda i: [
        noise.ConcreteDropout(
            layers.Dense(4), 1e-3 * (i + 1), dropout_regularizer=1e-2 * (i + 1), seed=i
        )
    ],
    "all of these": lambda i: [
        layer
        for kind in ("batch normalization", "scheduled dropout", "concrete dropout")
        for layer in DENSE[kind](i)
    ],
}


@pytest.mark.parametrize("kind", some_in_short(DENSE))
def test_layers_on_vectors(kind, blobs, same_as_alone):
    x, y, validation_data = blobs

    def build(number):
        # Before batch normalization a bias has the gradient zero but for rounding,
        # which Adam would make a step of.
        optimizer = optimizers.SGD(0.1) if "batch" in kind or "all" in kind else None
        return classifier(*DENSE[kind](number), optimizer=optimizer, metrics=["accuracy"])

    same_as_alone(build, x, y, validation_data=validation_data)


def stochastic_depth(number):
    inputs = keras.Input((6,))
    hidden = layers.Dense(6, "tanh")(inputs)
    depth = noise.ScheduledStochasticDepth(0.3 + 0.2 * number, seed=number)
    return keras.Model(inputs, layers.Dense(3)(depth([inputs, hidden])))


def attention(number):
    inputs = keras.Input((5, 4))
    hidden = layers.MultiHeadAttention(2, 3)(inputs, inputs)
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(hidden)))


def embedding_and_attention(number):
    inputs = keras.Input((5,), dtype="int32")
    hidden = layers.Embedding(11, 4)(inputs)
    hidden = layers.MultiHeadAttention(2, 3)(hidden, hidden)
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(hidden)))


def sequence(*middle):
    return keras.Sequential([keras.Input((5, 4)), *middle, layers.Flatten(), layers.Dense(3)])


def images(*middle):
    return keras.Sequential([keras.Input((6, 6, 2)), *middle, layers.Flatten(), layers.Dense(3)])


SHAPED = {
    "stochastic depth": stochastic_depth,
    "attention": attention,
    "embedding and attention": embedding_and_attention,
    "embedding": lambda i: keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            layers.Embedding(11, 4),
            layers.Flatten(),
            layers.Dense(3),
        ]
    ),
    "embedding, masked": lambda i: keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            layers.Embedding(11, 4, mask_zero=True),
            layers.GlobalAveragePooling1D(),
            layers.Dense(3),
        ]
    ),
    "1D convolution": lambda i: sequence(
        layers.Conv1D(3, 3, activation="relu"),
        noise.ScheduledSpatialDropout1D(0.1 + 0.2 * i, seed=i),
    ),
    "2D convolution": lambda i: images(
        layers.Conv2D(3, 3, activation="relu"),
        noise.ScheduledSpatialDropout2D(0.1 + 0.2 * i, seed=i),
        layers.MaxPooling2D(),
    ),
    "drop block": lambda i: images(noise.ScheduledDropBlock2D(0.1 + 0.1 * i, 3, seed=i)),
    "GRU": lambda i: sequence(layers.GRU(3)),
    # Each step of what a layer gives needs a gradient of the layer behind.
    "GRU behind another": lambda i: sequence(
        layers.GRU(3, return_sequences=True), layers.SimpleRNN(3)
    ),
    "LSTM of an embedding": lambda i: keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            layers.Embedding(11, 4, mask_zero=True),
            layers.Bidirectional(layers.LSTM(3)),
            layers.Dense(3),
        ]
    ),
    "cells in a stack": lambda i: sequence(
        layers.Dense(3), layers.RNN([layers.GRUCell(3), layers.LSTMCell(2)])
    ),
}


def shaped_examples(model, count):
    rng = np.random.default_rng(1)
    shape = (count, *model.input_shape[1:])
    whole = "int" in str(model.inputs[0].dtype)
    x = rng.integers(0, 11, shape) if whole else rng.normal(size=shape).astype("float32")
    return x, rng.integers(0, 3, count)


@pytest.mark.parametrize("kind", some_in_short(SHAPED))
def test_layers_on_sequences_and_images(kind, same_as_alone):
    x, y = shaped_examples(SHAPED[kind](0), 40)
    # The bias of an attention's keys has the gradient zero but for rounding.
    optimizer = optimizers.SGD if "attention" in kind else optimizers.Adam
    same_as_alone(
        lambda number: compiled(SHAPED[kind](number), optimizer(0.01 * (number + 1))),
        x,
        y,
        validation_data=(x[:20], y[:20]),
    )


OPTIMIZERS = {
    "SGD": lambda i: optimizers.SGD(0.1 * (i + 1)),
    "momentum": lambda i: optimizers.SGD(0.1, momentum=0.5 + 0.2 * i),
    "Nesterov": lambda i: optimizers.SGD(
        0.1, momentum=0.5 + 0.2 * i, nesterov=True, weight_decay=0.01 * (i + 1)
    ),
    "RMSprop": lambda i: optimizers.RMSprop(0.01, rho=0.8 + 0.1 * i, epsilon=10.0 ** (-7 + i)),
    "RMSprop with momentum": lambda i: optimizers.RMSprop(0.01, momentum=0.5 + 0.1 * i),
    "Adagrad": lambda i: optimizers.Adagrad(0.1 * (i + 1), epsilon=10.0 ** (-7 + i)),
    "Adadelta": lambda i: optimizers.Adadelta(1.0 - 0.3 * i, rho=0.9 + 0.05 * i),
    "Adam": lambda i: optimizers.Adam(0.01, beta_1=0.9 - 0.1 * i, beta_2=0.999 - 0.1 * i),
    "AMSGrad": lambda i: optimizers.Adam(0.01 * (i + 1), amsgrad=True),
    "AdamW": lambda i: optimizers.AdamW(0.01 * (i + 1), weight_decay=0.1 * (i + 1)),
    "Adamax": lambda i: optimizers.Adamax(0.01 * (i + 1)),
    "Lion": lambda i: optimizers.Lion(0.001, beta_2=0.9 + 0.05 * i),
    "Nadam": lambda i: optimizers.Nadam(0.01 * (i + 1), beta_1=0.9 - 0.1 * i),
    "Ftrl": lambda i: optimizers.Ftrl(0.01 * (i + 1)),
    "Adafactor": lambda i: optimizers.Adafactor(0.01 * (i + 1)),
    "global clipnorm": lambda i: optimizers.Adam(0.01 * (i + 1), global_clipnorm=0.1),
    "clipnorm": lambda i: optimizers.SGD(0.1 * (i + 1), clipnorm=0.1),
    "moving average": lambda i: optimizers.SGD(
        0.1 * (i + 1), use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=4
    ),
    "moving average at the end": lambda i: optimizers.SGD(0.1 * (i + 1), use_ema=True),
    # Adam would not tell a sum of gradients from their mean.
    "accumulation": lambda i: optimizers.SGD(
        0.05 * (i + 1), momentum=0.5, gradient_accumulation_steps=2
    ),
    "loss scale": lambda i: optimizers.LossScaleOptimizer(optimizers.SGD(0.1 * (i + 1))),
    "exponential": lambda i: optimizers.Adam(
        schedules.ExponentialDecay(0.01 * (i + 1), 3 + i, 0.9 - 0.2 * i)
    ),
    "staircase": lambda i: optimizers.SGD(
        schedules.ExponentialDecay(0.1 * (i + 1), 3 + i, 0.5, staircase=True)
    ),
    "inverse time": lambda i: optimizers.SGD(schedules.InverseTimeDecay(0.1, 2 + i, 0.3 + i)),
    "cosine": lambda i: optimizers.SGD(
        schedules.CosineDecay(0.01 * (i + 1), 6 + i, warmup_target=0.1 + i, warmup_steps=2 + i)
    ),
    "warm-up": lambda i: optimizers.SGD(
        kerasreg.schedules.Warmup(schedules.PolynomialDecay(0.1 * (i + 1), 6 + i, 0.01), 3)
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_optimizers(kind, blobs, same_as_alone):
    x, y, _ = blobs
    same_as_alone(lambda i: classifier(optimizer=OPTIMIZERS[kind](i)), x, y, alone=[0, 1])


@pytest.mark.parametrize("count", [1, 7])
def test_any_number_of_lanes(count, blobs, same_as_alone):
    x, y, validation_data = blobs

    def build(number):
        optimizer = optimizers.Adam(0.01 * (number + 1), beta_1=0.9 - 0.1 * number)
        return classifier(
            noise.ScheduledDropout(0.1 * (number + 1), seed=number),
            optimizer=optimizer,
            metrics=["accuracy"],
        )

    together, _ = same_as_alone(
        build, x, y, count, alone={0, count // 2, count - 1}, validation_data=validation_data
    )
    assert len(together) == count


COMPILED_BY_XLA = {
    "dropout and momentum": lambda i: classifier(
        noise.ScheduledDropout(0.1 + 0.2 * i, seed=i),
        optimizer=optimizers.SGD(0.1 * (i + 1), momentum=0.5 + 0.2 * i),
        metrics=["accuracy"],
    ),
    "batch normalization": lambda i: classifier(
        layers.BatchNormalization(), optimizer=optimizers.SGD(0.1 * (i + 1))
    ),
    "AdamW": lambda i: classifier(optimizer=optimizers.AdamW(0.01, weight_decay=0.1 * (i + 1))),
    "2D convolution": lambda i: compiled(SHAPED["2D convolution"](i)),
    "embedding": lambda i: compiled(SHAPED["embedding"](i)),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", COMPILED_BY_XLA)
def test_compiled_by_xla(kind, same_as_alone):
    x, y = shaped_examples(COMPILED_BY_XLA[kind](0), 40)
    given = {"jit_compile": True, "alone": [0, 1], "validation_data": (x[:20], y[:20])}
    same_as_alone(COMPILED_BY_XLA[kind], x, y, **given)


@pytest.fixture(scope="module")
def binary():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, 6)).astype("float32")
    y = (x[:, :1] + 0.5 * rng.normal(size=(60, 1)) > 0).astype("float32")
    return x, y


def test_metrics_of_two_classes(binary, same_as_alone):
    x, y = binary

    def build(number):
        model = keras.Sequential([keras.Input((6,)), layers.Dense(1, activation="sigmoid")])
        every = [
            "accuracy",
            metrics.AUC(num_thresholds=20),
            metrics.Precision(),
            metrics.Recall(),
            metrics.F1Score(threshold=0.5),
        ]
        return compiled(
            model, optimizers.SGD(0.2 * (number + 1)), "binary_crossentropy", metrics=every
        )

    _, histories = same_as_alone(build, x, y, validation_data=(x[:20], y[:20]))
    names = " ".join(histories[0].history)
    assert all(name in names for name in ("val_auc", "val_precision", "val_f1_score"))


def test_metrics_of_several_classes(blobs, same_as_alone):
    x, y, validation_data = blobs
    same_as_alone(
        lambda number: classifier(
            optimizer=optimizers.SGD(0.1 * (number + 1)),
            metrics=[
                metrics.SparseTopKCategoricalAccuracy(2),
                "sparse_categorical_crossentropy",
            ],
        ),
        x,
        y,
        validation_data=validation_data,
    )


def test_a_metric_with_a_number_for_each_class(blobs, same_as_alone):
    x, y, _ = blobs
    same_as_alone(
        lambda number: classifier(
            layers.Dense(3, activation="softmax"),
            optimizer=optimizers.SGD(0.1 * (number + 1)),
            loss="categorical_crossentropy",
            metrics=[metrics.F1Score(average=None)],
        ),
        x,
        np.eye(3, dtype="float32")[y],
    )


def test_metrics_of_a_regression(blobs, same_as_alone):
    x = blobs[0]
    y = x[:, :3] ** 2
    same_as_alone(
        lambda number: classifier(
            optimizer=optimizers.SGD(0.1 * (number + 1)),
            loss="huber",
            metrics=[metrics.R2Score(), "mae", metrics.RootMeanSquaredError()],
        ),
        x,
        y,
        validation_data=(x[:20], y[:20]),
    )


def test_class_weight(blobs, same_as_alone):
    x, y, validation_data = blobs
    same_as_alone(
        lambda number: classifier(
            optimizer=optimizers.SGD(0.1 * (number + 1)),
            metrics=["accuracy"],
            weighted_metrics=["accuracy"],
        ),
        x,
        y,
        validation_data=validation_data,
        class_weight={0: 1.0, 1: 3.0, 2: 0.2},
    )


def test_sample_weight(blobs, same_as_alone):
    x, y, (x_validation, y_validation) = blobs
    weights = np.linspace(0.0, 2.0, 40).astype("float32")
    same_as_alone(
        lambda number: classifier(
            optimizer=optimizers.SGD(0.1 * (number + 1)),
            weighted_metrics=[metrics.SparseCategoricalAccuracy()],
        ),
        x,
        y,
        sample_weight=weights,
        validation_data=(x_validation, y_validation, weights[:20]),
    )


def several_inputs_and_outputs(number):
    left, right = keras.Input((6,), name="left"), keras.Input((3,), name="right")
    shared = layers.Dense(4, activation="tanh")
    hidden = layers.Concatenate()([shared(left), layers.Dense(2)(right)])
    outputs = {
        "kind": layers.Dense(3, name="kind")(hidden),
        "size": layers.Dense(1, name="size")(hidden),
    }
    model = keras.Model({"left": left, "right": right}, outputs)
    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return compiled(
        model,
        optimizers.SGD(0.05 * (number + 1), momentum=0.8),
        {"kind": crossentropy, "size": "mse"},
        loss_weights={"kind": 1.0, "size": 0.3},
        metrics={"kind": ["accuracy"], "size": ["mae"]},
    )


def test_several_inputs_and_outputs(blobs, same_as_alone):
    x, kinds, _ = blobs
    inputs = {"left": x, "right": x[:, :3] ** 2}
    targets = {"kind": kinds, "size": x[:, :1]}
    validation_data = (
        {name: of[:20] for name, of in inputs.items()},
        {name: of[:20] for name, of in targets.items()},
    )
    _, histories = same_as_alone(
        several_inputs_and_outputs, inputs, targets, validation_data=validation_data
    )
    assert "val_size_mae" in histories[0].history


PENALTIES = {
    "Keras' L1 and L2": lambda i: layers.Dense(
        4,
        kernel_regularizer=keras.regularizers.L1L2(0.01 * (i + 1), 0.1 * (i + 1)),
        bias_regularizer=keras.regularizers.L2(0.05 * (i + 1)),
    ),
    "elastic net": lambda i: layers.Dense(
        4, kernel_regularizer=kerasreg.regularizers.ElasticNet(0.01 * (i + 1), 0.1 * (i + 1))
    ),
    "scheduled elastic net": lambda i: layers.Dense(
        4,
        kernel_regularizer=kerasreg.regularizers.L2(
            schedules.PolynomialDecay(0.2 * (i + 1), 5 + i, 0.0)
        ),
    ),
    "activities": lambda i: layers.Dense(
        4, activity_regularizer=keras.regularizers.L1(0.05 * (i + 1))
    ),
}


@pytest.mark.parametrize(
    "kinds",
    [PENALTIES, *(pytest.param([kind], marks=pytest.mark.long) for kind in PENALTIES)],
    ids=lambda kinds: ", ".join(kinds),
)
def test_penalties(kinds, blobs, same_as_alone):
    x, y, validation_data = blobs
    _, histories = same_as_alone(
        lambda number: classifier(
            *(PENALTIES[kind](number) for kind in kinds), optimizer=optimizers.SGD(0.1)
        ),
        x,
        y,
        validation_data=validation_data,
    )
    # The strengths differ, and so do the losses.
    assert histories[0].history["loss"] != histories[1].history["loss"]


def test_a_constraint_and_frozen_weights(blobs, same_as_alone):
    x, y, _ = blobs

    def build(number):
        frozen = layers.Dense(4)
        frozen.trainable = False
        unit = layers.Dense(4, kernel_constraint=keras.constraints.UnitNorm())
        return classifier(frozen, unit, optimizer=optimizers.SGD(0.1 * (number + 1)))

    together, _ = same_as_alone(build, x, y)
    kernels = np.linalg.norm(together.unstack(0).layers[2].kernel.numpy(), axis=0)
    np.testing.assert_allclose(kernels, 1.0, atol=1e-5)


IN_FLOAT64 = {
    "dense": lambda i: classifier(optimizer=optimizers.SGD(0.1 * (i + 1), momentum=0.5 + 0.2 * i)),
    "Adam": lambda i: classifier(optimizer=optimizers.Adam(0.01 * (i + 1), beta_2=0.999 - 0.1 * i)),
    "AdamW": lambda i: classifier(optimizer=optimizers.AdamW(0.01, weight_decay=0.1 * (i + 1))),
    "dropout": lambda i: classifier(
        noise.ScheduledDropout(0.1 + 0.2 * i, seed=i), optimizer=optimizers.RMSprop(0.01)
    ),
    "batch normalization": lambda i: classifier(
        layers.BatchNormalization(), optimizer=optimizers.SGD(0.1 * (i + 1))
    ),
    "2D convolution": lambda i: compiled(SHAPED["2D convolution"](i), optimizers.SGD(0.1)),
    "penalty": lambda i: classifier(
        PENALTIES["Keras' L1 and L2"](i), optimizer=optimizers.SGD(0.1)
    ),
    # Not of Keras' schedules, which compute in single precision all the same.
    "schedule": lambda i: classifier(
        noise.ScheduledDropout(kerasreg.schedules.CurriculumDropout(0.2 * (i + 1), 9 + i), seed=i),
        optimizer=optimizers.SGD(0.1),
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", IN_FLOAT64)
def test_in_float64(kind, same_as_alone):
    # In single precision a small mistake could pass for rounding.
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    x, y = shaped_examples(IN_FLOAT64[kind](0), 40)
    x = x.astype("float64")
    given = {"tolerance": 1e-9, "alone": [0, 1], "validation_data": (x[:20], y[:20])}
    together, _ = same_as_alone(IN_FLOAT64[kind], x, y, **given)
    assert together.get_values()[0].dtype == "float64"


def test_the_check_can_fail(blobs, same_as_alone):
    x, y, _ = blobs
    rates = iter([0.1, 0.1, 0.1001])  # That of the one alone is another.
    with pytest.raises(AssertionError, match="loss"):
        same_as_alone(lambda number: classifier(optimizer=optimizers.SGD(next(rates))), x, y)


def test_several_optimizers_in_one(blobs, same_as_alone):
    x, y, validation_data = blobs

    def build(number):
        of_kernels = {".*kernel": optimizers.SGD(0.1 * (number + 1), momentum=0.5 + 0.2 * number)}
        several = optimizers.OptimizerMap(optimizers.Adam(0.01), of_kernels)
        return classifier(optimizer=optimizers.MultiOptimizer(several))

    same_as_alone(build, x, y, validation_data=validation_data)


def test_a_layer_that_assigns_to_its_own_kernel(blobs, same_as_alone):
    x, y, validation_data = blobs
    same_as_alone(
        lambda number: classifier(
            layers.SpectralNormalization(layers.Dense(4, kernel_regularizer="l2")),
            optimizer=optimizers.SGD(0.05 * (number + 1), momentum=0.9),
        ),
        x,
        y,
        validation_data=validation_data,
    )
