"""Numbers that functions and operators hold, and weights of losses, as values of lanes."""

import functools

import keras
import numpy as np
import pytest

from kerasreg.lanes import DifferentPrograms, Lanes, group_by_program

layers, ops = keras.layers, keras.ops
X = np.random.default_rng(0).uniform(size=(40, 6)).astype("float32")
Y = np.random.default_rng(1).uniform(size=(40, 3)).astype("float32")
NUMBERS = [0.25, 0.4, 1.5]


def built(outputs, loss="mse", **arguments):
    inputs = keras.Input((6,))
    model = keras.Model(inputs, outputs(layers.Dense(3, activation="tanh")(inputs)))
    model.compile(keras.optimizers.SGD(0.1), loss, jit_compile=False, **arguments)
    return model


def plain(x):
    return layers.Dense(3)(x)


def in_a_closure(number):
    return built(plain, lambda y, p: number * ops.mean(ops.square(y - p), axis=-1))


def focal(gamma, weights):
    def loss(y, p):
        apart = ops.abs(y - p)
        return ops.mean(weights[0] * apart + weights[1] * apart**gamma, axis=-1)

    return loss


def of_a_factory(number):
    return built(plain, focal(1.0 + number, (number, 2 * number)), metrics=[scaled(number)])


def scaled(number):
    return lambda y, p: ops.mean(number * ops.abs(y - p))


def in_defaults(number):
    def loss(y, p, alpha=number, *, beta=2 * number):
        return ops.mean(alpha * ops.square(y - p) + beta * ops.abs(y - p), axis=-1)

    return built(plain, loss)


def weighted(alpha, y, p, beta=1.0):
    return ops.mean(alpha * ops.square(y - p) + beta * ops.abs(y - p), axis=-1)


def in_a_partial(number):
    return built(plain, functools.partial(weighted, number, beta=2 * number))


def in_options(number):
    options = {"alpha": number}
    return built(plain, lambda y, p: options["alpha"] * ops.mean(ops.square(y - p), axis=-1))


def in_a_lambda_layer(number):
    return built(lambda x: plain(layers.Lambda(lambda x: x * number + number)(x)))


def in_an_activation(number):
    return built(lambda x: plain(layers.Dense(4, lambda x: ops.tanh(number * x))(x)))


def in_operators(number):
    def outputs(x):
        x = (x * number + number / 2) / (1.0 + number)
        return plain(number - ops.multiply(x, number)) + number * x

    return built(outputs)


def in_operations(number):
    def outputs(x):
        x = ops.clip(ops.leaky_relu(x, number), -number, number)
        return plain(ops.maximum(x, number / 4) + ops.power(ops.abs(x) + 0.1, number))

    return built(outputs)


KINDS = [
    in_a_closure,
    of_a_factory,
    in_defaults,
    in_a_partial,
    in_options,
    in_a_lambda_layer,
    in_an_activation,
    in_operators,
    in_operations,
]


@pytest.mark.short(
    "in_a_closure", "in_defaults", "in_a_partial", "in_options", "in_an_activation", "in_operators"
)
@pytest.mark.parametrize("build", KINDS)
def test_a_number_of_a_function_is_a_value_of_the_lane(build, same_as_alone):
    models = [build(number) for number in NUMBERS]
    assert group_by_program(models) == [[0, 1, 2]]
    same_as_alone(lambda i: build(NUMBERS[i]), X, Y, 3, 1e-5, alone=[0, 2], epochs=2)


def test_functions_are_as_before_when_lanes_have_run():
    def loss(y, p, alpha=0.5):
        return alpha * ops.mean(y - p)

    partial = functools.partial(weighted, 0.5)
    cell = (lambda number: lambda y, p: number * ops.mean(y - p))(0.5)
    for function in (loss, partial, cell):
        others = [built(plain, function), in_a_partial(0.1)]
        others += [built(plain, (lambda number: lambda y, p: number * ops.mean(y - p))(0.25))]
        for group in group_by_program(others):
            Lanes([others[index] for index in group], False).fit(X, Y)
    assert loss.__defaults__ == (0.5,)
    assert partial.args == (0.5,)
    assert partial.keywords == {}
    assert cell.__closure__[0].cell_contents == 0.5


def rounded(number):
    return built(plain, lambda y, p: round(10 * number) * ops.mean(ops.square(y - p), axis=-1))


def above(number):
    def loss(y, p):
        return ops.mean(ops.square(y - p) if number > 0.3 else ops.abs(y - p), axis=-1)

    return built(plain, loss)


@pytest.mark.parametrize(
    ("build", "name", "groups"),
    [(rounded, "rounded", [[0], [1], [2]]), (above, "above", [[0], [1, 2]])],
)
def test_a_number_of_a_function_that_decides(build, name, groups):
    models = [build(number) for number in NUMBERS]
    match = f"`number` of the function `{name}.<locals>"
    with pytest.raises(DifferentPrograms, match=match):
        Lanes(models, False).fit(X, Y)
    assert group_by_program(models) == groups


def two_outputs(weights, names=False, loss=None):
    inputs = keras.Input((6,))
    hidden = layers.Dense(3, activation="tanh")(inputs)
    outputs = [layers.Dense(3, name="left")(hidden), layers.Dense(3, name="right")(hidden)]
    model = keras.Model(
        inputs, dict(zip(("left", "right"), outputs, strict=True)) if names else outputs
    )
    loss = loss or ({"left": "mse", "right": "mae"} if names else ["mse", "mae"])
    model.compile(keras.optimizers.SGD(0.1), loss, loss_weights=weights, jit_compile=False)
    return model


BY_NAME = {"left": "mse", "right": "mae"}
WEIGHTS = {
    "list": lambda i: two_outputs([NUMBERS[i], 1.0]),
    "both": lambda i: two_outputs([NUMBERS[i], 2 - NUMBERS[i]]),
    "names": lambda i: two_outputs({"right": NUMBERS[i], "left": 0.5}, True),
    "names of a list": lambda i: two_outputs({"right": NUMBERS[i], "left": 0.5}, False, BY_NAME),
    "none of one": lambda i: two_outputs([0.5 * i, 1]),
}


@pytest.mark.short("both")
@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_of_losses_are_values_of_the_lane(kind, same_as_alone):
    assert group_by_program([WEIGHTS[kind](i) for i in range(3)]) == [[0, 1, 2]]
    y = {"left": Y, "right": 1 - Y} if kind == "names" else [Y, 1 - Y]
    same_as_alone(WEIGHTS[kind], X, y, 3, 1e-5, alone=[0, 1, 2], epochs=2)


def test_the_weight_of_one_loss(same_as_alone):
    same_as_alone(lambda i: built(plain, loss_weights=NUMBERS[i]), X, Y, 3, 1e-5, alone=[0, 2])
