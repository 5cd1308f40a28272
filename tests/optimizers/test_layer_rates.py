"""Learning rates of layers against steps by hand; as values that are moved, saved, and of lanes."""

import keras
import numpy as np
import pytest

from kerasreg.lanes import Lanes, group_by_program
from kerasreg.optimizers import LayerLearningRates, Lookahead, WeightAveraging
from kerasreg.schedules import Linear

optimizers = keras.optimizers
RNG = np.random.default_rng(2)
X = RNG.normal(size=(12, 3)).astype("float32")
Y = (X @ [[1.0], [-0.5], [0.0]] + 0.3).astype("float32")
FIT = {"batch_size": 4, "epochs": 3, "shuffle": False, "verbose": 0}


def linear(optimizer):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, name="last")])
    model.set_weights([np.array([[0.5], [0.0], [-1.0]]), np.zeros(1)])
    model.compile(optimizer, "mse", jit_compile=False)
    return model


def network(optimizer, seed=0):
    keras.utils.set_random_seed(seed)
    first = keras.layers.Dense(4, "tanh", name="first")
    model = keras.Sequential([keras.Input((3,)), first, keras.layers.Dense(1, name="last")])
    model.compile(optimizer, "mse", jit_compile=False)
    return model


def weights(model):
    return np.concatenate([np.ravel(weight) for weight in model.get_weights()])


def same(found, expected):
    np.testing.assert_allclose(weights(found), weights(expected), rtol=1e-5, atol=1e-6)


def by_hand(step, factors):
    """The kernel and the bias of `linear` after `FIT`, by a rule, with a factor for each."""
    found, states = [np.array([[0.5], [0.0], [-1.0]]), np.zeros(1)], [{}, {}]
    for t in range(9):
        x, y = X[4 * (t % 3) :][:4].astype("float64"), Y[4 * (t % 3) :][:4].astype("float64")
        error = 2 * (x @ found[0] + found[1] - y) / 4
        gradients = [x.T @ error, error.sum(axis=0)]
        found = [
            value - step(gradient, factor(t), state, t)
            for value, gradient, factor, state in zip(
                found, gradients, factors, states, strict=True
            )
        ]
    return np.concatenate([part.ravel() for part in found])


def sgd(gradient, factor, state, t):
    # Momentum sums up steps.
    state["v"] = 0.9 * state.get("v", 0) + 0.1 * factor * gradient
    return state["v"]


def adam(gradient, factor, state, t):
    state["m"] = 0.9 * state.get("m", 0) + 0.1 * gradient
    state["v"] = 0.999 * state.get("v", 0) + 0.001 * gradient**2
    mean, square = state["m"] / (1 - 0.9 ** (t + 1)), state["v"] / (1 - 0.999 ** (t + 1))
    return factor * 0.05 * mean / (np.sqrt(square) + 1e-7)


@pytest.mark.parametrize(
    ("make", "step"),
    [(lambda: optimizers.SGD(0.1, momentum=0.9), sgd), (lambda: optimizers.Adam(0.05), adam)],
)
def test_each_step_is_that_of_the_optimizer_at_a_multiple_of_the_learning_rate(make, step):
    model = linear(LayerLearningRates(make(), {"kernel": 0.25}, default=Linear(0.0, 2.0, 8)))
    model.fit(X, Y, **FIT)
    expected = by_hand(step, [lambda t: 0.25, lambda t: t / 4])
    np.testing.assert_allclose(weights(model), expected, rtol=2e-5, atol=2e-6)
    without = by_hand(step, [lambda t: 1.0, lambda t: 1.0])
    assert np.abs(without - expected).max() > 0.02


OPTIMIZERS = {
    "SGD": lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "AdamW": lambda: optimizers.AdamW(0.02, weight_decay=0.1),
    **{
        name: lambda name=name: getattr(optimizers, name)(0.02)
        for name in ("Adadelta", "Adafactor", "Adagrad", "Adam", "Adamax", "Ftrl", "Lamb", "Lion")
    },
    **{
        name: lambda name=name: getattr(optimizers, name)(0.02)
        for name in ("Muon", "Nadam", "RMSprop")
        if hasattr(optimizers, name)
    },
}


@pytest.mark.short("AdamW")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_factors_are_values_of_lanes(name):
    least = 0.001 if name == "Ftrl" else 0.0  # Which divides by the learning rate.

    def models():
        return [
            network(LayerLearningRates(OPTIMIZERS[name](), {"first": factor}, default=other), seed)
            for seed, (factor, other) in enumerate([(least, 1.0), (0.3, 1.0), (2.0, 0.5)])
        ]

    assert group_by_program(models()) == [[0, 1, 2]]
    lanes = Lanes(models(), False)
    lanes.fit(X, Y, **{name: of for name, of in FIT.items() if name != "verbose"})
    alone = models()
    for lane, model in enumerate(alone):
        model.fit(X, Y, **FIT)
        same(lanes.unstack(lane), model)


def test_a_factor_of_zero_freezes():
    model = network(LayerLearningRates(optimizers.Adam(0.02), {"first": 0.0}))
    model.fit(X, Y, **FIT)
    for name, moves in (("first", False), ("last", True)):
        before, after = (of.get_layer(name).kernel.numpy() for of in (network("sgd"), model))
        assert np.any(before != after) == moves


def test_schedules_of_lanes_differ_in_their_numbers():
    def models():
        return [
            network(LayerLearningRates(optimizers.Adam(0.02), {"first": Linear(0.0, end, 6)}), seed)
            for seed, end in enumerate((0.5, 2.0))
        ]

    assert group_by_program(models()) == [[0, 1]]
    lanes = Lanes(models(), False)
    lanes.fit(X, Y, **{name: of for name, of in FIT.items() if name != "verbose"})
    for lane, model in enumerate(models()):
        model.fit(X, Y, **FIT)
        same(lanes.unstack(lane), model)


def test_a_schedule_is_that_which_is_assigned_before_each_step_without_a_new_trace():
    schedule, traces = Linear(0.0, 1.0, 15), []

    class Counted(LayerLearningRates):
        def step(self, gradient, variable, learning_rate):
            traces.append(variable)
            super().step(gradient, variable, learning_rate)

    optimizer = Counted(optimizers.Adam(0.02), {"first": 0.5})

    class Assign(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            optimizer.multipliers["first"].assign(schedule(optimizer.iterations))

    assigned = network(optimizer)
    assigned.fit(X, Y, callbacks=[Assign()], **FIT)
    traced = len(traces)
    assigned.fit(X, Y, callbacks=[Assign()], **FIT)
    assert 0 < len(traces) == traced
    scheduled = network(LayerLearningRates(optimizers.Adam(0.02), {"first": schedule}))
    for _ in range(2):
        scheduled.fit(X, Y, **FIT)
    np.testing.assert_allclose(weights(scheduled), weights(assigned), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("around", [lambda inner: inner, WeightAveraging, Lookahead])
def test_a_model_is_saved_with_its_factors(around, tmp_path):
    inner = LayerLearningRates(
        optimizers.Adam(0.02), {"last": Linear(0.0, 1.0, 6), "first": 0.5}, default=0.25
    )
    model = network(around(inner))
    inner.multipliers["first"].assign(0.125)
    model.fit(X, Y, **FIT)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    found = loaded.optimizer if around(inner) is inner else loaded.optimizer.inner_optimizer
    assert float(found.multipliers["first"]) == 0.125
    assert found.multipliers["last"] == Linear(0.0, 1.0, 6)
    assert float(found.default) == 0.25
    for each in (model, loaded):
        each.fit(X, Y, **FIT)
    np.testing.assert_allclose(weights(loaded), weights(model), rtol=1e-6)


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_optimizer_of_a_file_without_factors_in_variables_is_read(wrapped):
    def made(factor):
        inner = LayerLearningRates(optimizers.Adam(0.02), {"first": factor})
        model = network(Lookahead(inner) if wrapped else inner)
        model.fit(X, Y, **FIT)
        return model.optimizer, inner

    (written, of_written), (read, of_read) = made(0.5), made(0.25)
    later = {id(variable) for variable in of_written._later_variables}
    assert len(later) == 2
    earlier = [variable for variable in written.variables if id(variable) not in later]
    read.load_own_variables({str(n): np.array(of) for n, of in enumerate(earlier)})
    assert float(of_read.multipliers["first"]) == 0.25
    for mine, theirs in zip(read.variables, written.variables, strict=True):
        if id(theirs) not in later:
            np.testing.assert_array_equal(np.array(mine), np.array(theirs))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"multipliers": {"first": -0.1}}, "`multipliers` must be"),
        ({"multipliers": {"first": Linear(1.0, -1.0, 5)}}, "`multipliers` must be a schedule"),
        ({"multipliers": {"first": 1.0}, "default": Linear(1.0, -1.0, 5)}, "`default` must be"),
    ],
)
def test_bad_factors_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        LayerLearningRates(optimizers.SGD(), **arguments)


@pytest.mark.parametrize("factor", [0.0, Linear(0.0, 1.0, 5)])
def test_an_optimizer_that_divides_by_its_rate_is_never_given_zero(factor):
    with pytest.raises(ValueError, match="`multipliers` must be > 0 with Ftrl"):
        LayerLearningRates(optimizers.Ftrl(), {"first": factor})
