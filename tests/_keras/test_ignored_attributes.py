"""Each attribute of Keras' objects is compared between two models, or known to be ignored.

Models share a program if what is compared is the same. An attribute that is new in Keras, and has
another value in each model, would silently make of every model a program of its own.
"""

import inspect

import keras
import numpy as np
import pytest

from kerasreg._keras.ignored_attributes import is_bookkeeping, module_of

LAYERS, OPTIMIZERS = keras.layers, keras.optimizers

# What decides what is computed, and is no argument of a constructor, no variable and no layer.
# fmt: off
COMPARED = {
    # Of layers.
    "_allow_non_tensor_positional_args", "_call_has_mask_arg", "_call_has_training_arg",
    "_convert_input_args", "_dtype_policy", "_input_spec", "_non_trainable_variables",
    "_remat_mode", "_seed_generators", "_supports_masking", "_trainable", "_trainable_variables",
    "activity_regularizer", "autocast", "lora_alpha", "lora_enabled", "quantization_config",
    "seed_generator", "supports_jit",
    # Of models.
    "_compute_loss_has_training_arg", "_inputs_struct", "_jit_compile", "_outputs_struct",
    "_run_eagerly", "compiled",
    # Of attention, and the layers in it.
    "_combine_equation", "_dot_product_equation", "_inverse_sqrt_key_dim", "full_output_shape",
    "partial_output_shape",
    # Of recurrent layers.
    "_expected_batch_size", "implementation", "output_size", "single_state", "state_size", "states",
    # Of batch normalization; the variables before it is built.
    "_reduction_axes", "beta", "gamma", "moving_mean", "moving_variance",
    # Of losses and metrics.
    "_direction", "_dtype", "_flat_losses", "_flat_metrics", "_flat_weighted_metrics", "_fn",
    "_fn_kwargs", "_resolved_loss_weights", "_resolved_output_names", "_user_loss",
    "_user_loss_weights", "_user_metrics", "_user_weighted_metrics", "_y_pred_build_structure",
    "_y_true_build_structure",
    # Of generators of random numbers.
    "backend",
    # Of types of numbers.
    "_compute_dtype", "_quantization_mode", "_variable_dtype",
}
# fmt: on


def arguments_of(kind):
    """The names of the arguments of a class and of its bases."""
    return {name for base in kind.__mro__[:-1] for name in inspect.signature(base).parameters}


def is_compared(owner, name, item):
    parts = item if isinstance(item, (list, tuple)) and item else [item]
    known = name in COMPARED or name.removeprefix("_") in arguments_of(type(owner))
    return known or all(isinstance(part, (keras.Variable, keras.Layer)) for part in parts)


def unknown_attributes(owner):
    return {
        f"{type(owner).__name__}.{name}"
        for name, item in vars(owner).items()
        if not is_compared(owner, name, item) and not is_bookkeeping(owner, name, item)
    }


X = np.zeros((4, 3, 2), "float32")


def functional():
    inputs = keras.Input((3, 2))
    return keras.Model(inputs, LAYERS.Dense(1)(inputs))


def sequential():
    return keras.Sequential([keras.Input((3, 2)), LAYERS.Dense(1)])


def within(value, met):
    """An object of Keras and all those that it has, each once."""
    if isinstance(value, (list, tuple, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from within(part, met)
    elif hasattr(value, "__dict__") and module_of(type(value)) == "keras" and id(value) not in met:
        met[id(value)] = value
        if not isinstance(value, (keras.Variable, keras.KerasTensor)):
            yield value
            for name, item in vars(value).items():
                if not is_bookkeeping(value, name, item):
                    yield from within(item, met)


@pytest.mark.parametrize(
    "make",
    [
        lambda: LAYERS.Dense(1),
        lambda: LAYERS.LSTM(2, dropout=0.1),
        lambda: LAYERS.MultiHeadAttention(2, 2),
        lambda: LAYERS.BatchNormalization(),
        lambda: LAYERS.Dropout(0.5),
        functional,
        sequential,
    ],
    ids=["Dense", "LSTM", "MultiHeadAttention", "BatchNormalization", "Dropout", "Model", "Seq"],
)
def test_each_attribute_of_a_layer_is_compared_or_ignored(make):
    layer = make()
    fresh = {name for value in within(layer, {}) for name in unknown_attributes(value)}
    arguments = [X, X] if isinstance(layer, LAYERS.MultiHeadAttention) else [X]
    layer(*arguments, training=True)
    called = {name for value in within(layer, {}) for name in unknown_attributes(value)}
    assert fresh | called == set()


@pytest.mark.parametrize("make", [functional, sequential])
def test_each_attribute_of_a_trained_model_is_compared_or_ignored(make):
    model = make()
    model.compile(
        "adam", "mse", metrics=["mae"], weighted_metrics=[keras.metrics.MeanSquaredError()]
    )
    model.fit(X, X[..., :1], verbose=0)
    # The losses and metrics of compiled models are compared as what `compile` was given.
    parts = [model, model.optimizer, *model.metrics]
    assert {name for p in parts for v in within(p, {}) for name in unknown_attributes(v)} == set()


@pytest.mark.parametrize(
    "make",
    [
        lambda: OPTIMIZERS.Adam(),
        lambda: OPTIMIZERS.SGD(0.1, momentum=0.9, use_ema=True),
        lambda: OPTIMIZERS.AdamW(gradient_accumulation_steps=2),
        lambda: OPTIMIZERS.LossScaleOptimizer(OPTIMIZERS.RMSprop()),
    ],
    ids=["Adam", "SGD", "AdamW", "LossScaleOptimizer"],
)
def test_each_attribute_of_an_optimizer_is_compared_or_ignored(make):
    optimizer = make()
    fresh = unknown_attributes(optimizer)
    optimizer.build([keras.Variable([1.0])])
    assert fresh | unknown_attributes(optimizer) == set()


@pytest.mark.parametrize(
    "value",
    [
        keras.losses.MeanSquaredError(),
        keras.metrics.MeanAbsoluteError(),
        keras.metrics.Mean(),
        keras.random.SeedGenerator(1),
        keras.dtype_policies.DTypePolicy("mixed_float16"),
        keras.regularizers.L2(),
        keras.constraints.MaxNorm(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_attribute_of_other_objects_is_compared_or_ignored(value):
    assert unknown_attributes(value) == set()


def test_module_of_a_class_and_a_function_is_the_package():
    assert module_of(keras.layers.Dense) == "keras"
    assert module_of(np.mean) == "numpy"
    assert module_of(3) == ""


def test_an_attribute_that_is_new_is_named():
    layer = LAYERS.Dense(1)
    object.__setattr__(layer, "_new_of_keras", 3)
    assert unknown_attributes(layer) == {"Dense._new_of_keras"}


def test_is_bookkeeping_is_no_attribute_of_a_users_own_class():
    class Own:
        pass

    assert is_bookkeeping(LAYERS.Dense(1), "_path", "a") is True
    assert is_bookkeeping(Own(), "_path", "a") is False
    assert is_bookkeeping(LAYERS.Dense(1), "units", 1) is False
