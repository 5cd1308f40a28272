"""The presets are the rules of the papers under all of their names."""

import math

import keras
import numpy as np
import pytest

import kerasreg
from kerasreg.initializers import preset, presets

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
    "depth_scaled": ("DepthScaled", 0.02**2 / (2 * 12), NORMAL),
    # Two layers in a branch: a standard deviation of He's by the root of 12.
    "fixup": ("Fixup", HE / 12, TRUNCATED),
    "siren": ("Siren", 2 / FAN_IN / 30**2, UNIFORM),
    # Of a window of 1 it is `orthogonal`.
    "delta_orthogonal": ("DeltaOrthogonal", 1 / FAN_OUT, NORMAL),
    "zeros": ("Zeros", 0.0, NORMAL),
    "ones": ("Ones", 0.0, NORMAL),
}


# What a preset cannot be made without.
NEEDED = {"depth_scaled": {"depth": 12}, "fixup": {"depth": 12}}


def made(name, seed=None):
    return preset(name, seed=seed, **NEEDED.get(name, {}))


def draw(initializer, shape=SHAPE):
    if isinstance(initializer, kerasreg.initializers.DeltaOrthogonal):
        shape = (1, *shape)
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
def test_a_preset_is_the_named_class_with_the_variance_of_its_rule(name):
    class_name, variance, kurtosis = RULES[name]
    initializer = made(name, seed=1)
    where = kerasreg if hasattr(kerasreg.initializers, class_name) else keras
    assert type(initializer) is getattr(where.initializers, class_name)
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
    one, same, other = (draw(made(name, seed=seed), (20, 20)) for seed in (1, 1, 2))
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
    [
        ("he_normal", {"stddev": 0.1}),
        ("zeros", {"gain": 1.0}),
        ("orthogonal", {"scale": 2.0}),
        ("siren", {"gain": 1.0}),
        ("fixup", {}),  # Which needs a depth.
    ],
)
def test_an_option_that_the_class_does_not_have_is_refused_by_name(name, options):
    with pytest.raises(ValueError, match="`options` must be arguments of") as error:
        preset(name, **options)
    assert next(iter(options), "depth") in str(error.value)
