"""What `test_every_class.py` runs: every class of Keras in a lane, and in the same model alone.

Usage: python classes_program.py float32|float64 [KIND [NAME ...]]

Prints a JSON object: for each kind of class (layers, losses, metrics, optimizers) and each class
the largest difference of logs, weights and slots, relative to the largest value of each; or, as
text, why there is none.
"""

import inspect
import json
import os
import sys
import typing

os.environ.setdefault("JAX_ENABLE_X64", str(int("float64" in sys.argv)))

import keras
import numpy as np

from kerasreg.lanes import DifferentPrograms, Lanes, group_by_program

FLOAT = next((word for word in sys.argv if word == "float64"), "float32")
keras.config.set_floatx(FLOAT)
keras.config.set_dtype_policy(FLOAT)
layers, losses, metrics, optimizers = keras.layers, keras.losses, keras.metrics, keras.optimizers


def classes(module, base):
    """The classes of a module that are some of another, each by one name."""
    found = {}
    for name, kind in sorted(vars(module).items()):
        if inspect.isclass(kind) and issubclass(kind, base) and kind is not base:
            found.setdefault(kind, name)
    return {name: kind for kind, name in found.items()}


# These have no state, no gradient and no number, or need another package, or a program of another
# backend.
LEFT_OUT = {
    "layers": {
        "FlaxLayer": "needs Flax",
        "InputLayer": "holds a place for data",
        "JaxLayer": "is JAX's own function",
        "TFSMLayer": "is a program of TensorFlow's",
        "TorchModuleWrapper": "needs PyTorch",
        "Wrapper": "is the base of others",
        "AugMix": "draws by Python's random numbers when it is traced",
        "MaxNumBoundingBoxes": "is of boxes",
    },
    "losses": {"CTC": "is of sequences: see below"},
    "metrics": {"MeanMetricWrapper": "is the base of others"},
    "optimizers": {},
}
TOGETHER = 8  # So many layers are in one model.
PAIR = (5, 4)
SHAPES = [(6,), PAIR, (8, 8, 3), (4, 6, 6, 2)]
IMAGE, VIDEO, SERIES_OF_IMAGES = (8, 8, 3), (4, 6, 6, 2), (4, 6, 6, 2)
UNIT = {"value_range": (0, 1)}


def default(kind):
    seed = "seed" in inspect.signature(kind.__init__).parameters
    return (lambda i: kind(seed=i)) if seed else lambda i: kind()


def seeded(kind, *numbers, **options):
    """A layer with numbers that differ between the lanes, and a seed."""
    return lambda i: kind(*(number * (1 + 0.25 * i) for number in numbers), seed=i, **options)


def given(*arguments, **options):
    return lambda kind: lambda i: kind(*arguments, **options)


def rnn(cell):
    return lambda kind: lambda i: layers.RNN(cell(i) if kind is None else kind(3, seed=i))


# Layers that must be told something: what, by the kind, and the shape of what they get.
TOLD = {
    "Activation": (given("tanh"), (6,)),
    "CenterCrop": (given(4, 4), IMAGE),
    "Dense": (given(4), (6,)),
    "Dot": (given(1), (6,)),
    "EinsumDense": (given("abc,cd->abd", (5, 3), bias_axes="d"), PAIR),
    "GroupQueryAttention": (given(3, 2, 1), PAIR),
    "MultiHeadAttention": (given(2, 3), PAIR),
    "Lambda": (given(keras.ops.square, output_shape=(6,)), (6,)),
    "GroupNormalization": (given(2), PAIR),
    "MelSpectrogram": (given(16, 8, sampling_rate=800, num_mel_bins=4, max_freq=400), (64,)),
    "STFTSpectrogram": (given(frame_length=16, frame_step=8, fft_length=16), (64, 1)),
    "Permute": (given((2, 1)), PAIR),
    "Pipeline": (lambda kind: lambda i: kind([layers.Rescaling(0.5 + i)]), (6,)),
    "RandomCrop": (lambda kind: lambda i: kind(5, 5, seed=i), IMAGE),
    "RepeatVector": (given(3), (6,)),
    "Rescaling": (lambda kind: lambda i: kind(0.5 + i, offset=0.25 * (i + 1)), (6,)),
    "Reshape": (given((3, 2)), (6,)),
    "Resizing": (given(4, 4), IMAGE),
    "RandomTranslation": (lambda kind: seeded(kind, 0.1, 0.2), IMAGE),
    "RandomZoom": (lambda kind: seeded(kind, 0.1, 0.2), IMAGE),
    "SpectralNormalization": (lambda kind: lambda i: kind(layers.Conv2D(4, 3)), IMAGE),
    "TimeDistributed": (lambda kind: lambda i: kind(layers.Dense(3)), PAIR),
    "Bidirectional": (lambda kind: lambda i: kind(layers.GRU(3)), PAIR),
    "StackedRNNCells": (
        lambda kind: lambda i: layers.RNN(kind([layers.GRUCell(3), layers.LSTMCell(2)])),
        PAIR,
    ),
    "RNN": (lambda kind: lambda i: kind(layers.SimpleRNNCell(3)), PAIR),
}
for _axes, _shape in ((1, PAIR), (2, IMAGE), (3, VIDEO)):
    TOLD |= {f"Adaptive{of}Pooling{_axes}D": (given(2), _shape) for of in ("Average", "Max")}
    TOLD |= {f"AveragePooling{_axes}D": (given(2), _shape)}
    TOLD |= {f"{name}{_axes}D": (given(3, 2), _shape) for name in ("Conv", "SeparableConv")}
    TOLD |= {f"Conv{_axes}DTranspose": (given(3, 2), _shape)}
    TOLD |= {f"DepthwiseConv{_axes}D": (given(2), _shape)}
    TOLD |= {f"SpatialDropout{_axes}D": (lambda kind: seeded(kind, 0.25), _shape)}
    TOLD |= {f"ConvLSTM{_axes}D": (given(2, 2), (3, *_shape))}
for _name in ("GRU", "LSTM", "SimpleRNN"):
    TOLD[_name] = (lambda kind: lambda i: kind(3, dropout=0.1 + 0.1 * i, seed=i)), PAIR
    TOLD[f"{_name}Cell"] = (lambda kind: lambda i: layers.RNN(kind(3))), PAIR
for _name in ("AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise"):
    TOLD[_name] = (lambda kind: seeded(kind, 0.25)), (6,)
for _name in ("Brightness", "ColorDegeneration", "Contrast", "Hue", "Saturation", "Sharpness"):
    TOLD[f"Random{_name}"] = (lambda kind: seeded(kind, 0.25, **UNIT)), IMAGE
for _name in ("RandAugment", "Equalization", "CutMix", "MixUp", "RandomGrayscale"):
    TOLD.setdefault(_name, (default, IMAGE))
for _name in ("RandomElasticTransform", "RandomErasing", "RandomPerspective", "AutoContrast"):
    TOLD.setdefault(_name, (default, IMAGE))
TOLD["MaxPooling3D"] = TOLD["MaxPool3D"] = default, VIDEO
TOLD["RandomPosterization"] = (lambda kind: lambda i: kind(4, **UNIT, seed=i)), IMAGE
TOLD["RandomRotation"] = (lambda kind: seeded(kind, 0.1)), IMAGE
# Of whole numbers, of text, and of two columns: the layer is the first one.
WHOLE = {
    "CategoryEncoding": given(5),
    "Embedding": given(5, 4),
    "ReversibleEmbedding": given(5, 4),
    "Hashing": given(3, output_mode="multi_hot"),
    "HashedCrossing": given(7, output_mode="one_hot"),
    "Discretization": given([1.5, 2.5], output_mode="one_hot"),
    "IntegerLookup": given(vocabulary=[1, 2, 3], output_mode="multi_hot"),
    "StringLookup": given(vocabulary=["1", "2"], output_mode="multi_hot"),
    "TextVectorization": given(vocabulary=["1", "2"], output_mode="multi_hot"),
}


def of_merge(layer):
    merge = type(layers.Add()).__mro__[1]
    return isinstance(layer, (merge, layers.Dot, layers.Attention))


def branch(make, shape, number, whole, name="branch"):
    """A model with the layer in it, of three outputs."""
    layer = make(number)
    if whole:
        text = isinstance(layer, (layers.StringLookup, layers.TextVectorization))
        inputs = keras.Input(shape, dtype="string" if text else "int32")
        crosses = isinstance(layer, layers.HashedCrossing)
        x = layer([inputs, inputs]) if crosses else layer(inputs)
        x = layers.Rescaling(1.0)(x)
    else:
        inputs = keras.Input(shape)
        # Before it, so that gradients go through it.
        x = layers.Dense(shape[-1], activation="sigmoid")(inputs)
        other = layers.Dense(shape[-1])(inputs)
        if of_merge(layer):
            x = layer([x, other])
        elif isinstance(layer, (layers.MultiHeadAttention, layers.GroupQueryAttention)):
            x = layer(x, other)
        else:
            x = layer(x)
    if isinstance(layer, layers.RandomCrop):
        # It crops in training alone: what lies behind must take both.
        x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)), name=name)


def of_layers(cases, number):
    """A model with a branch for each case, and a loss for each: no branch knows of another."""
    keras.utils.set_random_seed(number)
    shape, whole = cases[0].shape, cases[0].whole
    branches = [
        branch(case.make, shape, number, whole, f"branch{at}") for at, case in enumerate(cases)
    ]
    inputs = keras.Input(shape, dtype=branches[0].inputs[0].dtype)
    model = keras.Model(inputs, [of(inputs) for of in branches])
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    return compiled(model, number, [loss] * len(cases))


def compiled(model, number, loss=None, optimizer=None, **options):
    loss = loss or losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = optimizer or optimizers.SGD(0.05 * (number + 1))
    # Lanes are compiled on JAX, where a compiled `tanh` of float64 is another one by 1e-9.
    compiles = keras.backend.backend() == "jax"
    model.compile(optimizer, loss, jit_compile=compiles, **options)
    return model


def shape_for(make):
    for shape in SHAPES:
        try:
            branch(make, shape, 0, False)(np.ones((2, *shape), FLOAT), training=True)
        except Exception:
            continue
        return shape
    return None


def difference(found, expected):
    """The largest difference, relative to the largest number."""
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape:
        return f"{found.shape} against {expected.shape}"
    if not np.issubdtype(expected.dtype, np.floating):
        return 0.0 if np.array_equal(found, expected) else "whole numbers differ"
    finite = np.isfinite(expected)
    if not np.array_equal(finite, np.isfinite(found)):
        return "what is no number differs"
    if not finite.any():
        return 0.0
    scale = max(np.abs(expected[finite]).max(), 1e-3)
    return float(np.abs(found - expected)[finite].max() / scale)


def worst(differences):
    words = [of for of in differences if isinstance(of, str)]
    return words[0] if words else max(differences)


def trained(build, x, y, epochs=1, **options):
    """The model of a lane and its history, and those of the same model, trained alone."""
    options = {"batch_size": 16, "epochs": epochs, "shuffle": False, **options}
    model = build(1)
    try:
        history = model.fit(x, y, verbose=0, **options).history
    except Exception as error:
        raise OnlyAlone(f"alone: {type(error).__name__}: {error}") from error
    together = Lanes([build(0), build(1)], False, random_numbers="keras")
    of_lane = together.fit(x, y, **options)[1]
    if of_lane.error is not None:
        raise of_lane.error
    return (together.unstack(1), of_lane.history), (model, history)


class OnlyAlone(Exception):
    """Keras cannot train the model either."""


def between(lane, alone, name=None):
    """The largest difference of logs, of weights and of slots; or of those of one branch."""
    (mine, of_lane), (model, history) = lane, alone
    logs = [(of_lane[log], values) for log, values in history.items()]
    if name is None:
        parts = (
            [*mine.variables, *mine.optimizer.variables],
            [*model.variables, *model.optimizer.variables],
        )
    else:
        logs = [(of_lane[f"{name}_loss"], history[f"{name}_loss"])]
        parts = mine.get_layer(name).variables, model.get_layer(name).variables
    numbers = keras.ops.convert_to_numpy
    pairs = [(numbers(a), numbers(b)) for a, b in zip(*parts, strict=True)]
    return worst([difference(a, b) for a, b in [*logs, *pairs]])


def against_alone(build, x, y, **options):
    return between(*trained(build, x, y, **options))


def data(shape, whole=False, text=False):
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(40, *shape)).astype(FLOAT)
    if whole:
        x = rng.integers(0, 5, (40, *shape))
        x = x.astype(str) if text else x.astype("int32")
        if text and keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            x = tf.constant(x)
    return x, np.random.default_rng(1).integers(0, 3, 40)


class Case(typing.NamedTuple):
    """A layer: what it is made by, and what goes into it."""

    name: str
    make: typing.Any
    shape: tuple[int, ...]
    whole: bool = False

    @property
    def data(self):
        """Samples and targets."""
        text = self.name in ("StringLookup", "TextVectorization")
        return data(self.shape, self.whole, text)

    @property
    def group(self):
        """Cases of one group go into one model."""
        alone = self.name if self.whole else None
        return self.shape, alone


def case_of(name, kind):
    """The case of a layer; None if none of some shapes is what it takes."""
    if name in WHOLE:
        shape = (1,) if name in ("TextVectorization", "HashedCrossing") else (3,)
        return Case(name, WHOLE[name](kind), shape, True)
    if name in TOLD:
        told, shape = TOLD[name]
        return Case(name, told(kind), shape)
    make = default(kind)
    shape = shape_for(make)
    return None if shape is None else Case(name, make, shape)


def layers_found(every):
    """Each layer's difference; several layers are in one model, if that can be trained."""
    cases, result = {}, {}
    for name, kind in every.items():
        case = case_of(name, kind)
        if case is None:
            result[name] = "alone: no model of one input has it"
        else:
            cases.setdefault(case.group, []).append(case)
    for group in cases.values():
        for begin in range(0, len(group), TOGETHER):
            result |= of_group(group[begin : begin + TOGETHER])
    return result


def of_group(group):
    x, y = group[0].data
    try:
        # One epoch: where a maximum is chosen, rounding may decide after more.
        both = trained(lambda i: of_layers(group, i), x, [y] * len(group))
        names = [None] if len(group) == 1 else [f"branch{at}" for at in range(len(group))]
        pairs = zip(group, names, strict=True)
        return {case.name: between(*both, name) for case, name in pairs}
    except Exception as error:
        if len(group) == 1:
            return {group[0].name: in_words(error)}
    halves = group[: len(group) // 2], group[len(group) // 2 :]
    return of_group(halves[0]) | of_group(halves[1])


def in_words(error):
    said = str(error) if isinstance(error, OnlyAlone) else f"{type(error).__name__}: {error}"
    return " ".join(said.split())[:300]


def loss(name, kind):
    def build(number):
        keras.utils.set_random_seed(number)
        model = keras.Sequential(
            [keras.Input((6,)), layers.Dense(4, "tanh"), layers.Dense(3, "softmax")]
        )
        return compiled(model, number, kind())

    x, y = data((6,))
    if "Sparse" not in name and name not in ("Circle", "CategoricalGeneralizedCrossEntropy"):
        y = np.eye(3, dtype=FLOAT)[y]
    return against_alone(build, x, y, epochs=2)


# Metrics that must be told something.
NUMBERS_OF_METRICS = {
    "IoU": {"num_classes": 2, "target_class_ids": [0]},
    "MeanIoU": {"num_classes": 2},
    "OneHotIoU": {"num_classes": 3, "target_class_ids": [0]},
    "OneHotMeanIoU": {"num_classes": 3},
    "PrecisionAtRecall": {"recall": 0.5},
    "RecallAtPrecision": {"precision": 0.5},
    "SensitivityAtSpecificity": {"specificity": 0.5},
    "SpecificityAtSensitivity": {"sensitivity": 0.5},
}


class OfOne(keras.metrics.Metric):
    """A metric of one value, as one of targets and outputs."""

    def __init__(self, metric):
        super().__init__(name=metric.name)
        self.metric = metric

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.metric.update_state(y_pred, sample_weight)

    def result(self):
        return self.metric.result()

    def reset_state(self):
        self.metric.reset_state()


def metric(name, kind):
    """Of one output and two classes, of three classes by number, or of three columns."""
    of_columns = ("Categorical" in name and "Sparse" not in name) or "OneHot" in name
    outputs = 3 if "Categorical" in name or "OneHot" in name else 1

    def build(number):
        keras.utils.set_random_seed(number)
        last = layers.Dense(outputs, "sigmoid" if outputs == 1 else "softmax")
        model = keras.Sequential([keras.Input((6,)), last])
        of = kind(**NUMBERS_OF_METRICS.get(name, {}), name="of")
        of = OfOne(of) if name in ("Mean", "Sum") else of
        return compiled(model, number, "mse" if of_columns or outputs == 1 else None, metrics=[of])

    x, y = data((6,))
    y = np.eye(3, dtype=FLOAT)[y] if of_columns else y if outputs == 3 else (y > 0)[:, None]
    y = y.astype(FLOAT) if outputs == 1 else y
    return against_alone(build, x, y, epochs=2, validation_data=(x[:20], y[:20]))


def optimizer(name, kind):
    """Each number of it that is not whole differs between the lanes, if it can."""

    def build(number):
        keras.utils.set_random_seed(number)
        model = keras.Sequential([keras.Input((6,)), layers.Dense(8, "tanh"), layers.Dense(3)])
        if name == "LossScaleOptimizer":
            return compiled(model, number, optimizer=kind(optimizers.SGD(0.1 * (number + 1))))
        if name == "MultiOptimizer":
            rates = {".*kernel": optimizers.SGD(0.1 * (number + 1))}
            of_weights = optimizers.OptimizerMap(optimizers.Adam(0.01), rates)
            return compiled(model, number, optimizer=kind(of_weights))
        numbers = {
            parameter.name: parameter.default * (1 - 0.125 * number)
            for parameter in inspect.signature(kind.__init__).parameters.values()
            if isinstance(parameter.default, float)
        }
        return compiled(model, number, optimizer=kind(**numbers))

    x, y = data((6,))
    while len(group_by_program([build(0), build(1)])) == 1:
        try:
            return against_alone(build, x, y, epochs=2)
        except DifferentPrograms:  # A number that decides is no value; the others are.
            pass
    return against_alone(lambda number: build(0), x, y, epochs=2)


KINDS = {
    "layers": (None, classes(layers, layers.Layer)),
    "losses": (loss, classes(losses, losses.Loss)),
    "metrics": (metric, classes(metrics, metrics.Metric)),
    "optimizers": (optimizer, classes(optimizers, optimizers.Optimizer)),
}


def found(kind, names=()):
    """The largest differences of the classes of a kind, by their names."""
    compare, every = KINDS[kind]
    chosen = {
        name: of
        for name, of in every.items()
        if name not in LEFT_OUT[kind] and (not names or name in names)
    }
    if kind == "layers":
        return layers_found(chosen)
    result = {}
    for name, of in chosen.items():
        try:
            result[name] = compare(name, of)
        except Exception as error:
            result[name] = in_words(error)
    return result


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if not word.startswith("float")]
    print(json.dumps({kind: found(kind, words[1:]) for kind in words[:1] or KINDS}))
