"""The presets are the rules of the papers under all of their names."""

import inspect
import math

import keras
import numpy as np
import pytest

from kerasreg.initializers import for_activation, preset, presets

FAN_IN, FAN_OUT = 500, 1500
SHAPE = (FAN_IN, FAN_OUT)

# name -> Keras class, variance by formula, and kurtosis E[x^4]/E[x^2]^2 of the
# distribution, of which the error of a measured variance follows.
NORMAL, UNIFORM = 3.0, 9 / 5
# A normal cut at two standard deviations has thinner tails: this bounds it.
TRUNCATED = 3.0
GLOROT, HE, LECUN = 2 / (FAN_IN + FAN_OUT), 2 / FAN_IN, 1 / FAN_IN
# Var of N(0, 1) cut at ±2: 1 - 2·2·φ(2)/(Φ(2) - Φ(-2)).
CUT = 1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2))
RULES = {
    "random_normal": ("RandomNormal", 0.05**2, NORMAL),
    "random_uniform": ("RandomUniform", 0.05**2 / 3, UNIFORM),
    # Keras cuts this one without correcting its variance, and corrects the others.
    "truncated_normal": ("TruncatedNormal", 0.05**2 * CUT, TRUNCATED),
    "glorot_normal": ("GlorotNormal", GLOROT, TRUNCATED),
    "glorot_uniform": ("GlorotUniform", GLOROT, UNIFORM),
    "xavier_normal": ("GlorotNormal", GLOROT, TRUNCATED),
    "xavier_uniform": ("GlorotUniform", GLOROT, UNIFORM),
    "he_normal": ("HeNormal", HE, TRUNCATED),
    "he_uniform": ("HeUniform", HE, UNIFORM),
    "lecun_normal": ("LecunNormal", LECUN, TRUNCATED),
    "lecun_uniform": ("LecunUniform", LECUN, UNIFORM),
    # Orthonormal rows of length 1, spread over FAN_OUT entries.
    "orthogonal": ("Orthogonal", 1 / FAN_OUT, NORMAL),
    "zeros": ("Zeros", 0.0, NORMAL),
    "ones": ("Ones", 0.0, NORMAL),
}


def draw(initializer, shape=SHAPE):
    return np.array(initializer(shape, dtype="float32"), "float64")


def assert_variance(values, variance, kurtosis):
    """Mean and variance within four standard errors of a sample of this size."""
    error = variance * math.sqrt((kurtosis - 1) / values.size)
    assert abs(values.mean()) <= 4 * math.sqrt(variance / values.size)
    assert abs((values**2).mean() - variance) <= 4 * error


def test_every_preset_is_tested_and_described():
    assert set(presets()) == set(RULES)
    assert all(isinstance(what, str) and what for what in presets().values())


@pytest.mark.parametrize("name", RULES)
def test_a_preset_is_the_class_of_keras_with_the_variance_of_its_rule(name):
    class_name, variance, kurtosis = RULES[name]
    initializer = preset(name, seed=1)
    assert type(initializer) is getattr(keras.initializers, class_name)
    values = draw(initializer)
    if name == "ones":
        values = values - 1
    assert_variance(values, variance, kurtosis)


def test_an_orthogonal_matrix_is_orthogonal():
    matrix = draw(preset("orthogonal", seed=1, gain=2.0), (20, 50))
    np.testing.assert_allclose(matrix @ matrix.T, 4 * np.eye(20), atol=1e-5)


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
def test_xavier_and_glorot_are_one_rule(distribution):
    xavier = preset(f"xavier_{distribution}", seed=3)
    glorot = preset(f"glorot_{distribution}", seed=3)
    theirs = getattr(keras.initializers, f"Glorot{distribution.title()}")(seed=3)
    np.testing.assert_array_equal(draw(xavier), draw(glorot))
    np.testing.assert_array_equal(draw(xavier), draw(theirs))


@pytest.mark.parametrize("name", ["Xavier normal", "XAVIER-NORMAL", " xavier_Normal "])
def test_case_blanks_and_hyphens_do_not_matter(name):
    assert type(preset(name)) is keras.initializers.GlorotNormal


@pytest.mark.parametrize("name", [name for name in RULES if name not in ("zeros", "ones")])
def test_the_seed_is_passed_on(name):
    one, same, other = (draw(preset(name, seed=seed), (20, 20)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.any(one != other)


def test_without_a_seed_each_draw_is_another():
    assert np.any(draw(preset("he_normal"), (9, 9)) != draw(preset("he_normal"), (9, 9)))


def test_options_are_passed_on():
    assert preset("random_normal", stddev=0.5, mean=2.0).get_config()["stddev"] == 0.5
    values = draw(preset("random_uniform", seed=1, minval=2.0, maxval=4.0))
    assert 2 <= values.min() < 2.01
    assert 3.99 < values.max() <= 4


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("xavier_norml", "xavier_normal"),
        ("He-Normall", "he_normal"),
        ("ortogonal", "orthogonal"),
        ("zero", "zeros"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(wrong, nearest):
    with pytest.raises(ValueError, match=f"`name` must be one of .*did you mean '{nearest}'"):
        preset(wrong)


@pytest.mark.parametrize("wrong", ["nothing like it", "", None, 3])
def test_a_name_that_is_near_nothing_is_refused_with_all_names(wrong):
    with pytest.raises(ValueError, match=r"`name` must be one of .*Received: name=") as error:
        preset(wrong)
    assert all(repr(name) in str(error.value) for name in presets())


@pytest.mark.parametrize(
    ("name", "options"),
    [("he_normal", {"stddev": 0.1}), ("zeros", {"gain": 1.0}), ("orthogonal", {"scale": 2.0})],
)
def test_an_option_that_the_class_does_not_have_is_refused_by_name(name, options):
    with pytest.raises(ValueError, match="`options` must be arguments of") as error:
        preset(name, **options)
    assert next(iter(options)) in str(error.value)


# The rule that keeps the signal behind each activation.

ACTIVATIONS = {
    "relu": "He",
    "leaky_relu": "He",
    "elu": "He",
    "gelu": "He",
    "silu": "He",
    "swish": "He",
    "mish": "He",
    "selu": "Lecun",
    "tanh": "Glorot",
    "sigmoid": "Glorot",
    "softmax": "Glorot",
    "linear": "Glorot",
}


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
@pytest.mark.parametrize(("activation", "rule"), ACTIVATIONS.items())
def test_the_rule_of_an_activation_by_name(activation, rule, distribution):
    initializer = for_activation(activation, distribution, seed=1)
    assert type(initializer).__name__ == f"{rule}{distribution.title()}"


@pytest.mark.parametrize(("activation", "rule"), ACTIVATIONS.items())
def test_the_rule_of_an_activation_of_keras(activation, rule):
    function = keras.activations.get(activation)
    assert type(for_activation(function)).__name__ == f"{rule}Normal"


def test_no_activation_is_linear():
    assert type(for_activation(None)) is type(for_activation("linear"))


def test_every_name_of_an_activation_in_keras_is_known_or_refused_with_the_known_ones():
    for name, function in inspect.getmembers(keras.activations, inspect.isfunction):
        if name in ("get", "serialize", "deserialize"):
            continue
        for activation in (name, function):
            try:
                initializer = for_activation(activation)
            except ValueError as error:
                assert "`activation` must be one of" in str(error)  # noqa: PT017
            else:
                assert isinstance(initializer, keras.initializers.Initializer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"activation": "rellu"}, "`activation` must be one of .*did you mean 'relu'"),
        ({"activation": math.cos}, "`activation` must be one of .*activation='cos'"),
        ({"activation": "relu", "distribution": "unifrom"}, "`distribution` .*mean 'uniform'"),
    ],
)
def test_what_has_no_rule_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        for_activation(**arguments)


def test_the_seed_of_for_activation_is_passed_on():
    one, same = (draw(for_activation("relu", seed=5), (9, 9)) for _ in range(2))
    np.testing.assert_array_equal(one, same)


def test_the_rule_for_relu_keeps_the_second_moment_through_relu_layers():
    x = np.random.default_rng(0).normal(size=(256, FAN_IN))
    for layer in range(5):
        weights = draw(for_activation("relu", seed=layer), (FAN_IN, FAN_IN))
        x = np.maximum(x @ weights, 0)
    # Without the 2 of He it would be 1/32 by now.
    assert 0.5 < (x**2).mean() < 2
