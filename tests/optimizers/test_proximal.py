"""`Proximal` is the inner optimizer's step and then the proximal one, wherever it runs."""

import functools

import keras
import numpy as np
import pytest
from keras.optimizers.schedules import CosineDecay, PolynomialDecay

from kerasreg.lanes import Lanes
from kerasreg.optimizers import Proximal
from kerasreg.regularizers import (
    L1,
    L2,
    MCP,
    SCAD,
    GroupLasso,
    Hoyer,
    Nuclear,
    TotalVariation,
)

SGD, Adam = keras.optimizers.SGD, keras.optimizers.Adam

INNER = {
    "SGD": lambda: SGD(0.05),
    "momentum": lambda: SGD(0.05, momentum=0.8),
    "Nesterov": lambda: SGD(0.05, momentum=0.8, nesterov=True),
    "Adagrad": lambda: keras.optimizers.Adagrad(0.05),
    "RMSprop": lambda: keras.optimizers.RMSprop(0.01),
    "RMSprop, centered": lambda: keras.optimizers.RMSprop(0.01, centered=True, epsilon=1e-2),
    "RMSprop, momentum": lambda: keras.optimizers.RMSprop(0.01, momentum=0.5),
    "Adam": lambda: Adam(0.01),
    "Adam, amsgrad": lambda: Adam(0.01, amsgrad=True),
    "AdamW": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.0),
    "Nadam": lambda: keras.optimizers.Nadam(0.01),
    "Adamax": lambda: keras.optimizers.Adamax(0.01),
}
every_inner = pytest.mark.parametrize("inner", INNER.values(), ids=INNER)


def data(rows=32, columns=6):
    random = np.random.default_rng(4)
    x = random.normal(size=(rows, columns)).astype("float32")
    return x, (x[:, :1] - 0.5 * x[:, 1:2] + 0.1 * random.normal(size=(rows, 1))).astype("float32")


def network(penalty, optimizer, built=True, **options):
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Dense(4, "tanh"), keras.layers.Dense(1, kernel_regularizer=penalty)]
    model = keras.Sequential([keras.Input((6,)), *layers] if built else layers)
    model.compile(optimizer, "mse", **{"jit_compile": False, **options})
    return model


def fit(model, epochs=2, **options):
    x, y = data()
    return model.fit(x, y, 8, epochs, shuffle=False, verbose=0, **options).history


def weights(model):
    return [np.array(weight) for weight in model.trainable_variables]


def assert_close(one, other, rtol=1e-5, atol=1e-6):
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=atol)


def by_hand(penalty, optimizer, steps, step_size):
    """The same training with the parts apart: Keras' optimizer alone, then the prox."""
    model = network(None, optimizer, run_eagerly=True)
    kernel = model.layers[-1].kernel
    x, y = data()
    for step in range(steps):
        batch = slice(8 * (step % 4), 8 * (step % 4) + 8)
        model.train_on_batch(x[batch], y[batch])
        kernel.assign(penalty.prox(kernel, step_size(model.optimizer, kernel)))
    return model


@functools.cache
def sgd_by_hand():
    return weights(by_hand(L1(0.5), SGD(0.05), 8, lambda optimizer, kernel: 0.05))


@pytest.mark.parametrize("built", [True, False])
@pytest.mark.parametrize("how", [{"run_eagerly": True}, {}, {"jit_compile": True}])
def test_a_step_is_that_of_the_loss_and_then_the_proximal_one(how, built):
    model = network(L1(0.5), Proximal(SGD(0.05)), built, **how)
    fit(model)
    assert_close(weights(model), sgd_by_hand())
    assert (weights(model)[2] == 0).any()


@every_inner
def test_the_step_size_is_how_far_a_constant_gradient_moves_a_weight(inner):
    seen = []

    class See(L1):
        def prox(self, v, t):
            seen.append((np.array(v), np.broadcast_to(np.array(t), 3)))
            return v

    w = keras.Variable(np.zeros(3), dtype="float32")
    w.regularizer = See(1.0)
    gradient = np.array([0.1, -1.0, 5.0], "float32")
    optimizer = Proximal(inner())
    optimizer.takes_over(w.regularizer, w)
    optimizer.build([w])
    nadam = isinstance(optimizer.inner_optimizer, keras.optimizers.Nadam)
    for step in range(300 if nadam else 30):
        before = np.array(w)
        # A rate that changes, as a schedule's: what momentum repeats was made with another.
        optimizer.learning_rate = 0.01 if nadam else 0.01 / (1 + step % 7)
        optimizer.apply([keras.ops.convert_to_tensor(gradient)])
        after, t = seen[-1]
        # Nadam's mean of gradients is not one of weights that sum to 1 at first.
        if not nadam or step > 290:
            np.testing.assert_allclose(before - after, t * gradient, rtol=5e-3 if nadam else 1e-3)


@pytest.mark.short(
    "SGD", "momentum", "Nesterov", "RMSprop, centered", "Adam", "Adam, amsgrad", "Adamax"
)
@every_inner
def test_training_rests_where_loss_and_penalty_are_least(inner):
    """With a step size per weight the optimum is that of the problem, whoever steps to it."""
    import tensorflow as tf
    from sklearn.linear_model import Lasso

    x, y = data(64)
    best = Lasso(alpha=0.2, fit_intercept=False, tol=1e-12).fit(x, y[:, 0]).coef_
    optimizer = Proximal(inner())
    w = keras.Variable(0.1 * np.ones((6, 1)), dtype="float32")
    w.regularizer = L1(0.4)
    optimizer.takes_over(w.regularizer, w)
    # To nothing, as of a cosine: the last steps are very unlike in size.
    optimizer.learning_rate = CosineDecay(float(optimizer.learning_rate), 3000)
    optimizer.build([w])

    @tf.function
    def train():
        for _ in tf.range(3000):
            gradient = 2 / len(x) * tf.transpose(x) @ (x @ w.value - y)
            optimizer.apply([gradient])

    train()
    found = np.array(w)[:, 0]
    np.testing.assert_allclose(found, best, atol=2e-3)
    assert (found != 0).tolist() == (best != 0).tolist()


def test_the_step_size_may_be_the_learning_rate():
    model = network(L1(0.5), Proximal(Adam(0.05), step_size="learning_rate"))
    fit(model)
    assert_close(weights(model), weights(by_hand(L1(0.5), Adam(0.05), 8, lambda o, k: 0.05)))


def test_the_reported_loss_contains_the_penalty_once():
    for optimizer in (Proximal(SGD(0.0)), SGD(0.0)):
        model = network(L1(0.5), optimizer, run_eagerly=True)
        x, y = data()
        plain = float(np.mean((model.predict(x, verbose=0) - y) ** 2))
        penalty = 0.5 * np.abs(weights(model)[2]).sum()
        assert fit(model, 1)["loss"][0] == pytest.approx(plain + penalty, rel=1e-5)


def test_a_model_that_then_has_another_optimizer_is_ordinary():
    model = network(L1(0.5), Proximal(SGD(0.05)))
    fit(model)
    model.compile(SGD(0.05), "mse", jit_compile=False)
    other = network(L1(0.5), SGD(0.05))
    other.set_weights(model.get_weights())
    for one in (model, other):
        fit(one)
    assert_close(weights(model), weights(other))


def test_a_second_proximal_takes_over_from_the_first():
    model = network(L1(0.5), Proximal(SGD(0.05)))
    fit(model, 1)
    model.compile(Proximal(SGD(0.05)), "mse", jit_compile=False)
    fit(model, 1)
    assert_close(weights(model), sgd_by_hand())


@pytest.mark.parametrize(
    "options",
    [
        {"clipnorm": 0.1},
        {"clipvalue": 0.05},
        {"global_clipnorm": 0.1},
        {"weight_decay": 0.1},
        {"loss_scale_factor": 8.0},
    ],
)
def test_options_of_the_inner_optimizer_are_its_own(options):
    step_size = lambda optimizer, kernel: 0.05  # noqa: E731
    model = network(L1(0.5), Proximal(SGD(0.05, **options)))
    fit(model)
    assert_close(weights(model), weights(by_hand(L1(0.5), SGD(0.05, **options), 8, step_size)))


def test_accumulated_gradients_make_one_proximal_step():
    model = network(L1(0.5), Proximal(SGD(0.05, gradient_accumulation_steps=2)))
    fit(model)
    large = network(L1(0.5), Proximal(SGD(0.05)))
    x, y = data()
    large.fit(x, y, 16, 2, shuffle=False, verbose=0)
    assert_close(weights(model), weights(large))


def test_moving_averages_are_of_the_weights_after_the_proximal_step():
    inner = SGD(0.05, use_ema=True, ema_momentum=0.5)
    model = network(L1(0.5), Proximal(inner))
    seen = []

    class See(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(np.array(model.layers[-1].kernel))

    fit(model, callbacks=[See()])
    average = seen[0]
    for kernel in seen[1:]:
        average = 0.5 * average + 0.5 * kernel
    # At the end Keras gives the model its averages.
    np.testing.assert_allclose(model.layers[-1].kernel, average, rtol=1e-5)


def test_a_loss_scale_goes_around_it():
    scaled = keras.optimizers.LossScaleOptimizer(Proximal(SGD(0.05)), initial_scale=256.0)
    model = network(L1(0.5), scaled)
    fit(model)
    assert_close(weights(model), sgd_by_hand())


def test_mixed_precision():
    exact = network(L1(0.5), Proximal(SGD(0.05)))
    keras.config.set_dtype_policy("mixed_float16")
    mixed = network(L1(0.5), Proximal(SGD(0.05)))
    for model in (exact, mixed):
        fit(model)
    assert isinstance(mixed.optimizer, keras.optimizers.LossScaleOptimizer)
    # Some first steps are skipped, where the scale is too large: compare where none is.
    kept = int(mixed.optimizer.iterations)
    assert 0 < kept <= 8
    assert (weights(mixed)[2] == 0).any()
    assert weights(mixed)[2].dtype == "float32"


@pytest.mark.parametrize("inner", [lambda: SGD(0.1, momentum=0.5), lambda: Adam(0.1)])
def test_sparse_gradients_are_as_dense_ones(inner):
    """An embedding's gradient has rows; the same lookup by a product has none."""
    rows, targets = np.array([[1], [2], [1], [3]]), np.array([[1.0], [2.0], [0.5], [-1.0]])
    kernel = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    last = lambda: keras.layers.Dense(1, kernel_initializer="ones")  # noqa: E731
    lookup = keras.layers.Embedding(5, 2, embeddings_regularizer=L1(0.5))
    product = keras.layers.Dense(2, use_bias=False, kernel_regularizer=L1(0.5))
    found = []
    for first, x in ((lookup, rows), (product, np.eye(5, dtype="float32")[rows])):
        model = keras.Sequential([keras.Input(x.shape[1:]), first, keras.layers.Flatten(), last()])
        first.weights[0].assign(kernel)
        model.compile(Proximal(inner()), "mse", jit_compile=False)
        model.fit(x, targets, 2, 5, shuffle=False, verbose=0)
        found.append(np.array(first.weights[0]))
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-6)
    assert (found[0] == 0).any()


def test_rows_of_an_embedding_without_a_gradient_shrink_too():
    model = keras.Sequential(
        [
            keras.Input((1,), dtype="int32"),
            keras.layers.Embedding(5, 2, embeddings_regularizer=GroupLasso(0.1, axis=0)),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    model.compile(Proximal(SGD(0.1)), "mse", jit_compile=False)
    before = np.array(model.layers[0].embeddings)
    model.fit(np.array([[1], [2]]), np.ones((2, 1)), epochs=1, verbose=0)
    expected = np.array(GroupLasso(0.1, axis=0).prox(before, 0.1))
    np.testing.assert_allclose(model.layers[0].embeddings[0], expected[0], rtol=1e-5)


def test_a_strength_that_moves_is_the_one_of_the_step():
    ramp = PolynomialDecay(0.0, 8, end_learning_rate=2.0)
    model = network(L1(ramp), Proximal(SGD(0.05)))
    fit(model)
    schedule = iter(range(8))

    def step_size(optimizer, kernel):
        return 0.05 * float(ramp(next(schedule)))

    assert_close(weights(model), weights(by_hand(L1(1.0), SGD(0.05), 8, step_size)))


def test_other_regularizers_stay_in_the_gradient():
    def make(optimizer, penalty):
        keras.utils.set_random_seed(3)
        model = keras.Sequential(
            [
                keras.Input((6,)),
                keras.layers.Dense(
                    4, "tanh", kernel_regularizer=keras.regularizers.L2(0.1),
                    activity_regularizer=L2(0.3),
                ),
                keras.layers.Dense(1, kernel_regularizer=penalty),
            ]
        )  # fmt: skip
        model.compile(optimizer, "mse", jit_compile=False)
        return model

    model, expected = make(Proximal(SGD(0.05)), L1(0.0)), make(SGD(0.05), None)
    for one in (model, expected):
        fit(one)
    assert_close(weights(model), weights(expected))


def test_it_is_saved_and_goes_on(tmp_path):
    model = network(L1(0.5), Proximal(Adam(0.05)))
    fit(model, 1)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, Proximal)
    assert loaded.optimizer.step_size == "per_weight"
    for one in (model, loaded):
        fit(one, 1)
    assert_close(weights(model), weights(loaded), rtol=0, atol=0)
    assert_close(model.optimizer.variables, loaded.optimizer.variables, rtol=0, atol=0)


def test_callbacks_move_the_learning_rate_of_the_inner_optimizer():
    model = network(L1(0.5), Proximal(SGD(0.05)))
    fit(
        model, 2, callbacks=[keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1))]
    )
    assert float(model.optimizer.inner_optimizer.learning_rate) == pytest.approx(0.05)
    assert int(model.optimizer.iterations) == 8


@pytest.mark.parametrize(
    "inner",
    [
        lambda: SGD(0.05, momentum=0.5, gradient_accumulation_steps=2),
        pytest.param(lambda: Adam(0.05, use_ema=True, ema_momentum=0.5), marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize(
    "make",
    [
        lambda s: L1(s) + GroupLasso(0.1),
        *(
            pytest.param(make, marks=pytest.mark.long)
            for make in (L1, GroupLasso, lambda s: L1(s) + L2(0.1))
        ),
    ],
)
def test_lanes_are_the_models_alone(inner, make):
    strengths = (0.01, 0.2, 1.0)
    models = [network(make(s), Proximal(inner())) for s in strengths]
    alone = [network(make(s), Proximal(inner())) for s in strengths]
    x, y = data()
    lanes = Lanes(models)
    lanes.fit(x, y, batch_size=8, epochs=3, shuffle=False)
    for lane, model in enumerate(alone):
        fit(model, 3)
        assert_close(weights(lanes.unstack(lane)), weights(model), rtol=1e-4, atol=1e-6)


def test_lanes_of_mixed_precision_have_their_own_strengths():
    keras.config.set_dtype_policy("mixed_float16")
    make = lambda s: network(  # noqa: E731
        L1(s), keras.optimizers.LossScaleOptimizer(Proximal(SGD(0.05)), initial_scale=64.0)
    )
    strengths = (0.01, 0.2, 1.0)
    lanes = Lanes([make(s) for s in strengths])
    x, y = data()
    lanes.fit(x, y, batch_size=8, epochs=3, shuffle=False)
    for lane, strength in enumerate(strengths):
        model = make(strength)
        fit(model, 3)
        assert_close(weights(lanes.unstack(lane)), weights(model), rtol=1e-2, atol=2e-3)


def test_a_loop_of_ones_own_builds_it_first():
    import tensorflow as tf

    def train(model, optimizer):
        x, y = data()
        with tf.GradientTape() as tape:
            loss = keras.ops.mean((model(x, training=True) - y) ** 2) + sum(model.losses)
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)

    def make():
        keras.utils.set_random_seed(3)
        dense = keras.layers.Dense(1, kernel_regularizer=L1(0.5))
        return keras.Sequential([keras.Input((6,)), dense])

    with pytest.raises(ValueError, match="must be built before the loss is computed"):
        train(make(), Proximal(SGD(0.05)))
    model, optimizer = make(), Proximal(SGD(0.05))
    plain = make()
    optimizer.build(model.trainable_variables)
    train(model, optimizer)
    plain.layers[0].kernel.regularizer = None
    train(plain, SGD(0.05))
    expected = L1(0.5).prox(plain.layers[0].kernel, 0.05)
    np.testing.assert_allclose(model.layers[0].kernel, expected, rtol=1e-5, atol=1e-7)


# What is refused.


def refusal(penalty, optimizer, **options):
    with pytest.raises(ValueError, match="`") as caught:
        fit(network(penalty, optimizer, **options), 1)
    return str(caught.value)


def test_models_that_it_cannot_train_are_refused():
    assert "needs a model with penalties of `kerasreg.regularizers`" in refusal(
        keras.regularizers.L1(0.1), Proximal(SGD(0.1))
    )
    assert "The penalty Hoyer of" in refusal(Hoyer(0.1), Proximal(SGD(0.1)))
    assert "`step_size` must be 'learning_rate'" in refusal(Nuclear(0.1), Proximal(Adam(0.1)))
    assert "`step_size` must be 'learning_rate'" in refusal(
        TotalVariation(0.1) + L1(1), Proximal(Adam(0.1))
    )
    for penalty, bound in ((MCP(0.1, gamma=0.5), "0.5"), (SCAD(0.1, gamma=1.5), "0.5"),
                           (MCP(0.1, gamma=0.5) + L2(1.0), "0.5")):  # fmt: skip
        message = refusal(penalty, Proximal(SGD(0.1, momentum=0.8)))
        assert f"needs a step size below {bound}" in message
        assert "Received: a step size of 0.5" in message
    fit(network(MCP(0.1, gamma=0.6), Proximal(SGD(0.1, momentum=0.8))), 1)
    fit(network(Nuclear(0.1), Proximal(Adam(0.1), step_size="learning_rate")), 1)


def test_a_backend_that_passes_it_by_is_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")  # Which is not installed.
    with pytest.raises(ValueError, match="trains on TensorFlow and JAX"):
        Proximal(SGD(0.1))


@pytest.mark.parametrize("built", [True, False])
def test_a_penalty_that_a_layer_calls_by_itself_is_refused_or_stays_in_the_gradient(built):
    class Adds(keras.layers.Dense):
        def __init__(self, units):
            super().__init__(units)
            self.own = L1(0.2)

        def call(self, inputs):
            self.add_loss(self.own(self.kernel))
            return super().call(inputs)

    def make(optimizer, penalty):
        keras.utils.set_random_seed(3)
        last = keras.layers.Dense(1, kernel_regularizer=penalty)
        model = keras.Sequential([keras.Input((6,)), Adds(3), last])
        model.compile(optimizer, "mse", jit_compile=False)
        return model

    model = make(Proximal(SGD(0.05)), L1(0.0))
    if not built:
        with pytest.raises(ValueError, match="one that a layer calls by itself"):
            fit(model)
        return
    model.optimizer.build(model.trainable_variables)
    expected = make(SGD(0.05), None)
    for one in (model, expected):
        fit(one)
    assert_close(weights(model), weights(expected))


def test_arguments_that_are_none_are_refused():
    around = keras.optimizers.LossScaleOptimizer(SGD(0.1))
    for inner in (None, "adam", around, Proximal(SGD(0.1))):
        with pytest.raises(ValueError, match="`inner_optimizer` must be a Keras optimizer"):
            Proximal(inner)
    with pytest.raises(
        ValueError, match="`step_size` must be one of 'per_weight', 'learning_rate'"
    ):
        Proximal(SGD(0.1), step_size="Per_weight")
    with pytest.raises(ValueError, match="`step_size` must be 'learning_rate' for Lion"):
        Proximal(keras.optimizers.Lion(0.1))
    fit(network(L1(0.1), Proximal(keras.optimizers.Lion(0.1), step_size="learning_rate")), 1)
