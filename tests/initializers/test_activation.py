"""The gain of an activation keeps the second moment, in the formula and in deep networks."""

import inspect
import math

import keras
import numpy as np
import pytest
from scipy import integrate, optimize

from kerasreg.initializers import activation_gain, for_activation, preset

WIDTH, DEPTH, EXAMPLES = 512, 20, 128

# Every activation of Keras: those that are accepted, and those with which no gain is
# stable, or which are of outputs or not elementwise.
KEEPS = [
    "celu",
    "elu",
    "gelu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_tanh",
    "leaky_relu",
    "log_sigmoid",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "squareplus",
    "tanh",
]
DRIFTS = ["hard_silu", "hard_swish", "silu", "swish"]
# How many draws of a network show what is typical: many where the chance of a layer
# grows in the next ones, one where it is damped.
DRAWS = {"gelu": 9, "mish": 5, "relu": 3, "relu6": 3, "leaky_relu": 3, "sparse_plus": 3}
OUTPUTS = ["linear", "log_softmax", "softmax", "sparsemax"]
REFUSED = ["exponential", "glu", "soft_shrink", "tanh_shrink", "threshold"]


def second_moment(activation, deviation):
    """E[φ(d·z)²] by SciPy's adaptive quadrature, independent of the package's."""
    function = getattr(keras.activations, activation)

    def integrand(z):
        value = float(np.array(function(np.array([deviation * z], "float64")))[0])
        return value**2 * math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)

    # The kinks of the activations are at 0, ±1, ±3 and 6.
    kinks = sorted({kink / deviation for kink in (-3, -1, -0.5, 0, 0.5, 1, 3, 6)})
    inside = [kink for kink in kinks if abs(kink) < 9]
    return integrate.quad(integrand, -9, 9, points=inside, limit=200, epsabs=1e-9)[0]


def test_every_activation_of_keras_is_in_one_of_the_lists():
    names = dict(inspect.getmembers(keras.activations, inspect.isfunction))
    listed = [*KEEPS, *DRIFTS, *OUTPUTS, *REFUSED]
    assert len(listed) == len(set(listed))
    assert set(names) - {"get", "serialize", "deserialize"} <= set(listed)


@pytest.mark.parametrize(
    ("activation", "square"),
    [
        ("relu", 2.0),
        ("linear", 1.0),
        (keras.layers.LeakyReLU(negative_slope=0.5), 2 / (1 + 0.25)),
        (lambda x: 3 * x, 1 / 9),
        (lambda x: keras.ops.abs(x), 1.0),
        (lambda x: keras.ops.sin(30 * x), 2.0),  # The paper of SIREN: √(6/fan_in)/30.
    ],
)
def test_gains_that_are_known_in_closed_form(activation, square):
    # E[sin²(30z)] is ½(1 - exp(-1800)); it never is 1, so z has the variance 1.
    assert activation_gain(activation) ** 2 == pytest.approx(square, rel=1e-6)


def test_selu_is_made_for_a_gain_of_one():
    assert activation_gain("selu") == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("activation", ["gelu", "elu", "softplus", "mish", "relu6", "silu"])
def test_the_gain_solves_its_equation(activation):
    gain = activation_gain(activation)
    assert second_moment(activation, gain) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "softsign", "hard_tanh", "squareplus"])
def test_activations_that_cannot_keep_one_see_a_variance_of_one(activation):
    """The bounded ones, and squareplus, which makes as much of nothing."""
    gain = activation_gain(activation)
    assert gain**2 * second_moment(activation, 1.0) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("kept", [0.1, 0.4])
def test_another_second_moment_can_be_kept(kept):
    expected = optimize.brentq(lambda d: second_moment("tanh", d) - kept, 0.01, 10)
    gain = activation_gain("tanh", second_moment=kept)
    assert gain == pytest.approx(expected / math.sqrt(kept), rel=1e-5)


def test_the_smaller_of_two_gains_is_taken():
    def bump(x):
        return 2 * x * keras.ops.exp(-(x**2))

    # E[4d²z²·exp(-2d²z²)] is 4d²/(1+4d²)^1.5.
    def moment(d):
        return 4 * d**2 / (1 + 4 * d**2) ** 1.5

    expected = optimize.brentq(lambda d: moment(d) - 0.2, 0.01, 0.5)
    assert activation_gain(bump, 0.2) == pytest.approx(expected / math.sqrt(0.2), rel=1e-6)


def outputs_of_layers(activation, distribution, seed):
    """The second moments of the outputs of a deep network on standardised inputs."""
    x = np.random.default_rng(seed).normal(size=(EXAMPLES, WIDTH)).astype("float32")
    function = keras.activations.get(activation)
    moments = []
    # A generator goes on: each layer has a draw of its own.
    initializer = for_activation(activation, distribution, seed=keras.random.SeedGenerator(seed))
    for _ in range(DEPTH):
        x = np.array(function(x @ np.array(initializer((WIDTH, WIDTH)))))
        moments.append(float(np.mean(np.square(x, dtype="float64"))))
    return np.array(moments)


def factor(moments):
    return moments.max() / moments.min()


@pytest.mark.parametrize("activation", [*KEEPS, *DRIFTS])
def test_20_wide_layers_keep_the_second_moment_within_a_factor_of_two(activation):
    """In the limit of wide layers the next second moment is a function of the last."""
    scale = for_activation(activation).scale
    moments = [1.0]  # Of standardised inputs.
    for _ in range(DEPTH):
        moments.append(second_moment(activation, math.sqrt(scale * moments[-1])))
        if abs(moments[-1] / moments[-2] - 1) < 1e-4 and activation not in DRIFTS:
            break  # At the fixed point: the rest is the same.
    assert factor(np.array(moments[1:])) < 2


@pytest.mark.short("elu", "relu", "selu", "sigmoid", "tanh", "softplus", "squareplus")
@pytest.mark.parametrize("activation", KEEPS)
def test_20_layers_of_512_units_keep_it_within_a_factor_of_two(activation):
    """Of one draw chance makes a random walk, whatever the gain: the median counts."""
    draws = [
        outputs_of_layers(activation, "normal" if seed % 2 else "uniform", seed)
        for seed in range(1, 1 + DRAWS.get(activation, 1))
    ]
    assert np.median([factor(moments) for moments in draws]) < 2
    # And nothing is biased: the walks go up and down.
    assert factor(np.exp(np.mean(np.log(draws), axis=0))) < 2


@pytest.mark.parametrize("activation", ["silu", "hard_silu"])
def test_activations_that_amplify_chance_keep_it_within_a_factor_of_ten(activation):
    factors = [factor(outputs_of_layers(activation, "normal", seed)) for seed in range(1, 4)]
    assert np.median(factors) < 10


def test_the_rules_by_name_would_not():
    """That gains are computed is of use: with He's rule GELU fades, and tanh with Glorot's."""

    def fades(activation, rule):
        x = np.random.default_rng(0).normal(size=(EXAMPLES, WIDTH)).astype("float32")
        for layer in range(DEPTH):
            weights = np.array(preset(rule, seed=layer)((WIDTH, WIDTH)))
            x = np.array(keras.activations.get(activation)(x @ weights))
            if layer == 0:
                first = np.mean(x**2)
        return first / np.mean(x**2)

    assert fades("gelu", "he_normal") > 4
    assert fades("tanh", "glorot_normal") > 4


CLASSES = {
    "relu": "He",
    "selu": "Lecun",
    "linear": "Glorot",
    "softmax": "Glorot",
    "log_softmax": "Glorot",
}


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
@pytest.mark.parametrize(("activation", "rule"), CLASSES.items())
def test_where_keras_has_a_class_for_the_rule_it_is_that(activation, rule, distribution):
    expected = f"{rule}{distribution.title()}"
    for given in (activation, keras.activations.get(activation)):
        assert type(for_activation(given, distribution, seed=1)).__name__ == expected


@pytest.mark.parametrize("activation", [*KEEPS, *DRIFTS])
def test_the_scale_of_every_other_is_the_square_of_the_gain(activation):
    for given in (activation, getattr(keras.activations, activation)):
        initializer = for_activation(given, "uniform")
        assert initializer.mode == "fan_in"
        assert initializer.distribution == "uniform"
        assert initializer.scale == pytest.approx(activation_gain(activation) ** 2, rel=1e-5)


def test_no_activation_is_linear():
    assert type(for_activation(None)) is type(for_activation("linear"))


def test_the_seed_is_passed_on():
    for activation in ("relu", "gelu", "linear"):
        one, same, other = (
            np.array(for_activation(activation, seed=seed)((9, 9))) for seed in (5, 5, 6)
        )
        np.testing.assert_array_equal(one, same)
        assert np.any(one != other)


@pytest.mark.parametrize("activation", REFUSED)
def test_what_has_no_stable_gain_is_refused(activation):
    with pytest.raises(ValueError, match=rf"`activation` must be .*activation='{activation}'"):
        for_activation(activation)


def raises(x):
    raise KeyError("of its own")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"activation": "rellu"}, "`activation` must be one of .*did you mean 'relu'"),
        ({"activation": 3}, "`activation` must be one of .*activation='3'"),
        ({"activation": math.cos}, "`activation` must be a function of arrays.*'cos'"),
        ({"activation": raises}, "`activation` must be a function of arrays.*of its own"),
        ({"activation": keras.ops.cumsum}, "`activation` must be an elementwise function.*cumsum"),
        ({"activation": keras.ops.sum}, "`activation` must be an elementwise function.*sum"),
        ({"activation": lambda x: 0 * x}, "`activation` must be one of which some gain"),
        ({"activation": "relu", "distribution": "unifrom"}, "`distribution` .*mean 'uniform'"),
    ],
)
def test_what_is_no_activation_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        for_activation(**arguments)


def test_a_second_moment_out_of_reach_is_refused():
    with pytest.raises(ValueError, match=r"`activation` must be one of which some gain .* 1\.5"):
        activation_gain("tanh", 1.5)
    with pytest.raises(ValueError, match="`second_moment` must be a number > 0"):
        activation_gain("tanh", 0.0)
