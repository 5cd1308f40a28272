"""Slots that stand for weights, where a variable has no gradient yet, or never gets one."""

import keras
import numpy as np
import pytest

from kerasreg.lanes import Lanes
from kerasreg.optimizers import (
    DecoupledWeightDecay,
    LayerLearningRates,
    Lookahead,
    Proximal,
    WeightAveraging,
)
from kerasreg.regularizers import L1

SGD = keras.optimizers.SGD
RNG = np.random.default_rng(3)
X = RNG.normal(size=(16, 3)).astype("float32")
Y = (X @ [[1.0], [-0.5], [0.2]]).astype("float32")
MODES = [
    {"run_eagerly": True},
    {"jit_compile": False},
    pytest.param({"jit_compile": True}, marks=pytest.mark.long),
]


def all_of_them(inner):
    decayed = DecoupledWeightDecay(inner, 0.1)
    averaged = WeightAveraging(decayed, start_step=2)
    return LayerLearningRates(Lookahead(averaged, sync_period=2), {"*": 1.0})


SHORT = (
    "all",
    "averages of Keras",
)  # What holds for all together is asked of each in the long tests.
WRAPPERS = {
    "all": all_of_them,
    "Lookahead": lambda inner: Lookahead(inner, sync_period=2),
    "WeightAveraging": lambda inner: WeightAveraging(inner, start_step=2),
    "DecoupledWeightDecay": lambda inner: DecoupledWeightDecay(inner, 0.1),
    "LayerLearningRates": lambda inner: LayerLearningRates(inner, {"*": 1.0}),
    "averages of Keras": lambda inner: LayerLearningRates(
        SGD(
            0.1,
            use_ema=True,
            ema_momentum=0.5,
            gradient_accumulation_steps=inner.gradient_accumulation_steps,
        ),
        {"*": 1.0},
    ),
}
few = [
    pytest.param(make, id=name, marks=() if name in SHORT else pytest.mark.long)
    for name, make in WRAPPERS.items()
]
every_wrapper = pytest.mark.parametrize("wrapped", few)


def two_heads(penalty=None):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    head = keras.layers.Dense(1, name="b", kernel_regularizer=penalty)
    outputs = {"a": keras.layers.Dense(1, name="a")(inputs), "b": head(inputs)}
    return keras.Model(inputs, outputs)


def one_head():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, name="a")])


def assert_equal(one, other):
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.short("mode0-all", "mode1-averages of Keras")
@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@every_wrapper
@pytest.mark.parametrize("mode", MODES)
def test_a_head_without_a_loss_stays_as_it_is(wrapped, mode):
    model, alone = two_heads(), one_head()
    alone.set_weights(model.get_layer("a").get_weights())
    before = model.get_layer("b").get_weights()
    model.compile(wrapped(SGD(0.1)), loss={"a": "mse"}, **mode)
    alone.compile(wrapped(SGD(0.1)), "mse", **mode)
    for one, targets in ((model, {"a": Y}), (alone, Y)):
        one.fit(X, targets, 4, 2, shuffle=False, verbose=0)
    assert_equal(model.get_layer("b").get_weights(), before)
    assert_equal(model.get_layer("a").get_weights(), alone.get_weights())


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_a_head_without_a_loss_stays_as_it_is_in_lanes():
    models = [two_heads(), two_heads()]
    before = models[0].get_weights()
    for model, rate in zip(models, (0.05, 0.2), strict=True):
        model.compile(all_of_them(SGD(rate)), loss={"a": "mse"})
    lanes = Lanes(models)
    lanes.fit(X, {"a": Y}, batch_size=4, epochs=2, shuffle=False)
    alone = two_heads()
    alone.compile(all_of_them(SGD(0.2)), loss={"a": "mse"}, run_eagerly=True)
    alone.fit(X, {"a": Y}, 4, 2, shuffle=False, verbose=0)
    trained = lanes.unstack(1)
    assert_equal(trained.get_weights(), alone.get_weights())
    kernel = trained.get_layer("b").get_weights()[0]
    assert any(np.array_equal(kernel, weight) for weight in before)


@every_wrapper
@pytest.mark.parametrize("mode", MODES)
def test_before_the_first_accumulated_step_nothing_moves(wrapped, mode):
    model = one_head()
    before = model.get_weights()
    model.compile(wrapped(SGD(0.1, gradient_accumulation_steps=8)), "mse", **mode)
    model.fit(X, Y, 4, 1, verbose=0)
    assert_equal(model.get_weights(), before)
    # The step that the second training completes is the first.
    model.fit(X, Y, 4, 1, verbose=0)
    assert np.abs(model.get_weights()[0] - before[0]).max() > 1e-3


def test_before_the_first_accumulated_step_nothing_moves_in_lanes():
    models = [one_head(), one_head()]
    before = models[0].get_weights()
    for model, rate in zip(models, (0.05, 0.2), strict=True):
        model.compile(all_of_them(SGD(rate, gradient_accumulation_steps=8)), "mse")
    lanes = Lanes(models)
    lanes.fit(X, Y, batch_size=4, epochs=1, shuffle=False)
    assert_equal(lanes.unstack(0).get_weights(), before)


@every_wrapper
@pytest.mark.parametrize("mode", MODES[1:])
def test_a_loss_that_overflows_moves_nothing(wrapped, mode):
    def compiled(scale):
        model = one_head()
        scaling = keras.optimizers.LossScaleOptimizer(wrapped(SGD(0.1)), initial_scale=scale)
        model.compile(scaling, "mse", **mode)
        return model

    model = compiled(2.0**127)
    before = model.get_weights()
    evaluated = model.evaluate(1000 * X, Y, verbose=0)
    averages = wrapped(SGD(0.1)).use_ema
    swap = [keras.callbacks.SwapEMAWeights()] if averages else []
    history = model.fit(
        1000 * X, Y, 4, 1, validation_data=(1000 * X, Y), callbacks=swap, verbose=0
    ).history
    assert float(model.optimizer.dynamic_scale) < 2.0**127
    assert history["val_loss"] == [pytest.approx(evaluated)]
    assert_equal(model.get_weights(), before)


@pytest.mark.parametrize("mode", MODES)
def test_steps_that_overflow_are_no_steps(mode):
    # Of batches that overflow now and then, the others are the training.
    x, y = X.copy(), Y.copy()
    x[4:8], x[12:] = 1e30, 1e30

    def trained(x, y, scaling):
        model = one_head()
        inner = all_of_them(SGD(0.1, momentum=0.5))
        model.compile(scaling(inner), "mse", **mode)
        model.fit(x, y, 4, 3, shuffle=False, verbose=0)
        return model.get_weights()

    def scaled(inner):
        return keras.optimizers.LossScaleOptimizer(inner, initial_scale=4.0)

    finite = np.abs(x).max(1) < 1e20
    assert_equal(trained(x, y, scaled), trained(x[finite], y[finite], lambda inner: inner))


# In loops of one's own.


def stepped(optimizer, variables, gradients):
    """Applies gradients, some of which are None, and returns the weights after each step."""
    seen = []
    for step in gradients:
        given = [(g, v) for g, v in zip(step, variables, strict=True) if g != "not given"]
        grads = [None if g is None else keras.ops.full(v.shape, float(g)) for g, v in given]
        optimizer.apply(grads, [v for _, v in given])
        seen.append([float(v.numpy()) for v in variables])
    return np.array(seen)


def variables_of(*values):
    return [keras.Variable(float(value), name=f"v{k}") for k, value in enumerate(values)]


LATE = [(1, None), (1, "not given"), (1, 2), (1, 1), (None, 1), (1, None), ("not given", 1)]


def slopes(gradients):
    return np.array([[g if isinstance(g, int) else 0 for g in step] for step in gradients])


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@pytest.mark.parametrize("period", [1, 2, 3])
def test_lookahead_by_hand_with_gradients_that_come_late(period):
    variables = variables_of(1.0, -2.0)
    optimizer = Lookahead(SGD(0.1), sync_period=period, slow_step_size=0.25)
    optimizer.build(variables)
    for variable, value in zip(variables, (3.0, 5.0), strict=True):
        variable.assign(value)  # Loaded after the optimizer was built.
    seen = stepped(optimizer, variables, LATE)
    fast = slow = np.array([3.0, 5.0])
    for number, slope in enumerate(slopes(LATE), 1):
        fast = fast - 0.1 * slope
        if number % period == 0:
            fast = slow = slow + 0.25 * (fast - slow)
        np.testing.assert_allclose(seen[number - 1], fast, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@pytest.mark.parametrize(("start", "period"), [(1, 1), (3, 2), (6, 1), (99, 1)])
def test_the_mean_of_weights_whose_gradients_come_late(start, period):
    variables = variables_of(1.0, -2.0)
    optimizer = WeightAveraging(SGD(0.1), start_step=start, period=period)
    optimizer.build(variables)
    variables[1].assign(5.0)
    seen = stepped(optimizer, variables, LATE)
    optimizer.finalize_variable_values(variables)
    taken = seen[start - 1 :: period]
    expected = taken.mean(0) if len(taken) else seen[-1]
    np.testing.assert_allclose([float(v.numpy()) for v in variables], expected, rtol=1e-5)


def test_a_variable_that_is_frozen_between_two_synchronizations_stays():
    variables = variables_of(1.0, 1.0)
    optimizer = Lookahead(SGD(0.1), sync_period=3)
    stepped(optimizer, variables, [(1, 1), (1, 1)])
    variables[1].trainable = False
    seen = stepped(optimizer, variables, [(1, "not given")] * 2)
    np.testing.assert_allclose(seen[:, 1], 0.8, rtol=1e-6)


def test_accumulated_steps_are_the_steps_that_are_averaged_and_synchronized():
    gradients = [(1, 2)] * 12
    for wrap in (
        lambda inner: WeightAveraging(inner, start_step=2, period=2),
        lambda inner: Lookahead(inner, sync_period=3),
    ):
        found = []
        for every, steps in ((None, gradients[:6]), (2, gradients)):
            variables = variables_of(1.0, 5.0)
            optimizer = wrap(SGD(0.1, gradient_accumulation_steps=every))
            stepped(optimizer, variables, steps)
            optimizer.finalize_variable_values(variables)
            found.append([float(v.numpy()) for v in variables])
        np.testing.assert_allclose(found[1], found[0], rtol=1e-6)


def test_the_mean_is_of_weights_after_their_constraint():
    class Keep(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(self.model.get_weights()[0])

    seen = []
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense(1, use_bias=False, kernel_constraint=keras.constraints.NonNeg())
    model = keras.Sequential([keras.Input((3,)), dense])
    model.compile(WeightAveraging(SGD(0.5)), "mse", run_eagerly=True)
    model.fit(X, Y, 4, 2, shuffle=False, verbose=0, callbacks=[Keep()])
    assert np.min(seen) == 0  # It was at work.
    np.testing.assert_allclose(model.get_weights()[0], np.mean(seen, 0), rtol=1e-5)


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@pytest.mark.parametrize("around", [lambda inner: inner, lambda inner: Lookahead(inner, 99)])
def test_a_penalty_moves_weights_that_the_loss_does_not_know(around):
    model = two_heads(penalty=L1(0.5))
    before = model.get_layer("b").get_weights()
    model.compile(around(Proximal(SGD(0.1))), loss={"a": "mse"}, run_eagerly=True)
    model.fit(X, {"a": Y}, 4, 1, shuffle=False, verbose=0)
    shrunk = np.sign(before[0]) * np.maximum(np.abs(before[0]) - 4 * 0.1 * 0.5, 0)
    np.testing.assert_allclose(model.get_layer("b").get_weights()[0], shrunk, rtol=1e-5, atol=1e-7)


def test_a_variable_that_the_optimizer_does_not_know_is_refused_as_keras_does():
    for wrap in (all_of_them, Lookahead, WeightAveraging):
        optimizer = wrap(SGD(0.1))
        optimizer.build(variables_of(1.0))
        with pytest.raises(ValueError, match="Unknown variable"):
            stepped(optimizer, variables_of(2.0), [(1,)])
