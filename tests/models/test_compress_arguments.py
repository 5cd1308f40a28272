"""`compress` where a layer's initializers, regularizers and constraints hold arrays or shapes."""

import keras
import numpy as np
import pytest

from kerasreg import initializers as ours
from kerasreg import regularizers
from kerasreg.models import compress, initialize, insert_dropout
from tests.models.test_compress import assert_equal_outputs, kill, shuffle_weights, widths

layers, initializers = keras.layers, keras.initializers


@keras.saving.register_keras_serializable("kerasreg_tests")
class OfShape(keras.regularizers.Regularizer):
    """A regularizer that holds an array of the shape of what it is called with."""

    def __init__(self, factors):
        self.factors = np.array(factors, "float32")

    def __call__(self, w):
        return keras.ops.sum(keras.ops.multiply(self.factors, keras.ops.square(w)))

    def get_config(self):
        return {"factors": self.factors.tolist()}


@keras.saving.register_keras_serializable("kerasreg_tests")
class Masked(keras.constraints.Constraint):
    """A constraint that holds an array of the shape of the weight."""

    def __init__(self, mask):
        self.mask = np.array(mask, "float32")

    def __call__(self, w):
        return keras.ops.multiply(self.mask, w)

    def get_config(self):
        return {"mask": self.mask.tolist()}


@keras.saving.register_keras_serializable("kerasreg_tests")
class SquareOnly(initializers.Initializer):
    """An initializer that takes square matrices alone."""

    def __call__(self, shape, dtype=None):
        if shape[-1] != shape[-2]:
            raise ValueError(f"no square: {shape}")
        return keras.ops.ones(shape, dtype)


class WithoutConfig(initializers.Initializer):
    """An initializer with an array that no config has."""

    def __init__(self, values):
        self.values = values

    def __call__(self, shape, dtype=None):
        return keras.ops.reshape(keras.ops.convert_to_tensor(self.values, dtype), shape)


def sequential(shape, *inner, dtype=None):
    return keras.Sequential([keras.Input(shape, dtype=dtype), *inner])


def left_out(result):
    return {(row.layer, row.argument): (row.before, row.shape) for row in result.left_out}


def checked(model, path, inputs=None):
    """Compresses; the result loads, is trained, initialised, edited and compressed again."""
    result = compress(model)
    new = result.model
    if inputs is None:
        assert_equal_outputs(model, new)
    else:
        np.testing.assert_allclose(new(inputs), model(inputs), rtol=1e-5, atol=1e-6)
    new.save(path / "new.keras")
    loaded = keras.models.load_model(path / "new.keras")
    for mine, theirs in zip(new.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for one in (keras.models.clone_model(new), loaded):
        one.compile("sgd", "mse")
        x = np.ones((2, *new.inputs[0].shape[1:])) if inputs is None else inputs
        assert np.isfinite(one.train_on_batch(x, np.ones((len(x), *new.outputs[0].shape[1:]))))
    assert compress(new).rows == ()
    initialize(insert_dropout(new, 0.1, after=new.layers[0].name).model, seed=0)
    return result


def glove(initializer):
    rows = layers.Embedding(20, 8, embeddings_initializer=initializer, name="rows")
    model = sequential((5,), rows, layers.GlobalAveragePooling1D(), layers.Dense(2), dtype="int32")
    value = np.random.default_rng(0).normal(size=(20, 8))
    value[:, :3] = 0
    rows.embeddings.assign(value)
    return model


TABLE = np.random.default_rng(1).normal(size=(20, 8))


@pytest.mark.parametrize(
    ("initializer", "name"),
    [
        (initializers.Constant(TABLE), "Constant"),
        (initializers.Constant(TABLE.tolist()), "Constant"),
        (TABLE.astype("float32"), "initialize_fn"),
        (lambda shape, dtype=None: keras.ops.convert_to_tensor(TABLE, dtype), "<lambda>"),
    ],
)
@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
def test_an_embedding_that_began_as_a_table(initializer, name, tmp_path):
    model = glove(initializer)
    result = checked(model, tmp_path, np.arange(15).reshape(3, 5))
    assert widths(result) == {"rows": (8, 5)}
    assert result.parameters == (178, 112)
    assert left_out(result) == {("rows", "embeddings_initializer"): (name, (20, 5))}
    assert isinstance(result.model.layers[0].embeddings_initializer, initializers.RandomUniform)
    assert "embeddings_initializer" in str(result)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [(layers.Conv1D, (9, 4)), (layers.Conv2D, (6, 6, 4)), (layers.Conv3D, (4, 4, 4, 4))],
)
def test_an_initializer_with_a_condition_on_the_shape_stays_where_it_is_met(kind, shape, tmp_path):
    one, other = (
        kind(units, 1, kernel_initializer=ours.DeltaOrthogonal(), name=name)
        for units, name in ((6, "one"), (6, "other"))
    )
    model = sequential(shape, one, layers.ReLU(), other, layers.Flatten(), layers.Dense(2))
    kill(one, [1])
    kill(other, [0, 1, 2])  # Five channels in and three out are none that it takes.
    result = checked(model, tmp_path)
    assert widths(result) == {"one": (6, 5), "other": (6, 3)}
    assert list(left_out(result)) == [("other", "kernel_initializer")]
    assert isinstance(result.model.get_layer("one").kernel_initializer, ours.DeltaOrthogonal)


@pytest.mark.parametrize("initializer", [initializers.Identity(), SquareOnly()])
def test_square_kernels(initializer, tmp_path):
    first = layers.Dense(4, "relu", kernel_initializer=initializer, name="first")
    second = layers.Dense(4, "relu", kernel_initializer=initializer, name="second")
    model = sequential((4,), first, second, layers.Dense(2))
    shuffle_weights(model)
    kill(first, [1])
    result = checked(model, tmp_path)
    assert widths(result) == {"first": (4, 3)}
    kept = initializer.__class__ is initializers.Identity  # It takes all matrices.
    assert bool(result.left_out) is not kept


def test_an_initializer_that_no_config_describes():
    initializer = WithoutConfig(np.linspace(-1, 1, 24))
    hidden = layers.Dense(6, kernel_initializer=initializer, name="hidden")
    model = sequential((4,), hidden, layers.Dense(2, kernel_initializer=WithoutConfig(np.ones(12))))
    assert_equal_outputs(model, insert_dropout(model, 0.5, after="hidden").model)
    kill(hidden, [1])
    result = compress(model)
    assert_equal_outputs(model, result.model)
    assert [row.argument for row in result.left_out] == ["kernel_initializer"] * 2


def test_all_arguments_of_all_layers(tmp_path):
    six, table = np.linspace(0.5, 1, 6), np.linspace(0, 1, 12).reshape(6, 2)
    model = sequential(
        (4,),
        layers.Dense(6, "relu", bias_initializer=initializers.Constant(six), name="a"),
        layers.BatchNormalization(
            gamma_initializer=initializers.Constant(six),
            beta_initializer=initializers.Constant(six),
            moving_mean_initializer=initializers.Constant(six),
            moving_variance_initializer=initializers.Constant(six),
            gamma_regularizer=OfShape(six),
            beta_constraint=Masked(six),
            name="b",
        ),
        layers.PReLU(initializers.Constant(six), OfShape(six), Masked(six), name="c"),
        layers.Dense(
            2,
            kernel_initializer=initializers.Constant(table),
            kernel_regularizer=OfShape(table),
            kernel_constraint=Masked(table),
            bias_regularizer=OfShape(np.ones(2)),
            bias_constraint=Masked(np.ones(2)),
            name="d",
        ),
    )
    kill(model.layers[0], [1, 3], 0.5)
    result = checked(model, tmp_path)
    assert widths(result) == {"a": (6, 4), "b": (6, 4), "c": (6, 4)}
    assert left_out(result) == {
        ("a", "bias_initializer"): ("Constant", (4,)),
        ("b", "beta_initializer"): ("Constant", (4,)),
        ("b", "gamma_initializer"): ("Constant", (4,)),
        ("b", "moving_mean_initializer"): ("Constant", (4,)),
        ("b", "moving_variance_initializer"): ("Constant", (4,)),
        ("b", "gamma_regularizer"): ("OfShape", (4,)),
        ("b", "beta_constraint"): ("Masked", (4,)),
        ("c", "alpha_initializer"): ("Constant", (4,)),
        ("c", "alpha_regularizer"): ("OfShape", (4,)),
        ("c", "alpha_constraint"): ("Masked", (4,)),
        ("d", "kernel_initializer"): ("Constant", (4, 2)),
        ("d", "kernel_regularizer"): ("OfShape", (4, 2)),
        ("d", "kernel_constraint"): ("Masked", (4, 2)),
    }
    last = result.model.layers[-1]
    assert last.bias.regularizer is last.bias_regularizer is not None
    assert last.kernel.regularizer is last.kernel_regularizer is None
    assert last.kernel.constraint is last.kernel_constraint is None


def test_depthwise_windows(tmp_path):
    windows = np.ones((3, 3, 6, 2))
    depthwise = layers.DepthwiseConv2D(
        3,
        depth_multiplier=2,
        depthwise_initializer=initializers.Constant(windows),
        depthwise_regularizer=OfShape(windows),
        depthwise_constraint=Masked(windows),
        bias_initializer=initializers.Constant(np.ones(12)),
        name="windows",
    )
    before = layers.Conv2D(6, 1, activation="relu", name="before")
    model = sequential((5, 5, 4), before, depthwise, layers.GlobalMaxPooling2D(), layers.Dense(2))
    kill(before, [1])
    result = checked(model, tmp_path)
    assert widths(result) == {"before": (6, 5), "windows": (12, 10)}
    assert {argument for _, argument in left_out(result)} == {
        "depthwise_initializer", "depthwise_regularizer", "depthwise_constraint",
        "bias_initializer",
    }  # fmt: skip


def test_regularizers_of_activities_in_a_nested_model(tmp_path):
    within = layers.Dense(6, activity_regularizer=OfShape(np.ones((1, 6))), name="within")
    relu = layers.ReLU(activity_regularizer=OfShape(np.ones(6)), name="relu")
    inner = keras.Sequential([keras.Input((4,)), within, relu], name="inner")
    model = sequential((4,), inner, layers.Dense(2, activity_regularizer=OfShape(np.ones(2))))
    shuffle_weights(model)
    kill(within, [1])
    result = compress(model)
    assert_equal_outputs(model, result.model)
    assert left_out(result) == {
        ("inner/within", "activity_regularizer"): ("OfShape", (None, 5)),
        ("inner/relu", "activity_regularizer"): ("OfShape", (None, 5)),
    }
    assert result.model.layers[-1].activity_regularizer is not None


def test_what_takes_the_new_shape_stays_with_its_state(tmp_path):
    penalty = regularizers.GroupLasso(0.1, axis=-1)
    hidden = layers.Dense(
        6,
        "sigmoid",
        kernel_regularizer=penalty,
        kernel_constraint=keras.constraints.MaxNorm(2.0),
        kernel_initializer="orthogonal",
        bias_initializer=initializers.Constant(0.5),
        name="hidden",
    )
    behind = layers.Dense(3, use_bias=False, bias_initializer=initializers.Constant(np.ones(3)))
    model = sequential((4,), hidden, behind, layers.Dense(2, kernel_regularizer=penalty))
    shuffle_weights(model)
    penalty.strength.assign(0.7)
    kill(hidden, [0, 1], 0.3)
    result = checked(model, tmp_path)
    assert result.left_out == ()
    first, second, last = result.model.layers
    assert second.use_bias  # For what the constant units gave.
    assert first.kernel.regularizer is last.kernel.regularizer is first.kernel_regularizer
    assert float(np.array(first.kernel.regularizer.strength)) == pytest.approx(0.7)
    assert isinstance(first.kernel.constraint, keras.constraints.MaxNorm)
    assert isinstance(first.kernel_initializer, initializers.Orthogonal)
    assert first.bias_initializer.value == 0.5


@pytest.mark.parametrize("kind", ["keras", "kerasreg"])
def test_the_shape_of_a_mask_of_dropout_becomes_narrower(kind):
    from kerasreg.layers import ScheduledDropout

    make = layers.Dropout if kind == "keras" else ScheduledDropout
    hidden = layers.Dense(4, "relu", name="hidden")
    model = sequential((5, 3), hidden, make(0.5, noise_shape=(None, 1, 4)), layers.Dense(1))
    shuffle_weights(model)
    kill(hidden, [1, 2])
    result = compress(model)
    assert_equal_outputs(model, result.model)
    assert tuple(result.model.layers[1].noise_shape) == (None, 1, 2)
    assert result.model(np.ones((2, 5, 3)), training=True).shape == (2, 5, 1)
