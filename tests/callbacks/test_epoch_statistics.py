"""EpochStatistics: what it logs, against NumPy, and that it only looks on."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from kerasreg.callbacks import EpochStatistics
from kerasreg.layers import ScheduledDropout
from kerasreg.optimizers import Proximal
from kerasreg.regularizers import L1, L2, GroupLasso
from kerasreg.schedules import Linear

RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 5)).astype("float32")
Y = (X @ [[1.0], [0.0], [0.0], [-0.5], [0.0]]).astype("float32")
EPOCHS = 3
OF_WEIGHTS = ["sparsity", "weight_norm"]


def dense(units=4, penalty=None, **options):
    return keras.layers.Dense(units, kernel_regularizer=penalty, **options)


def make_model(*layers, optimizer=None, **options):
    model = keras.Sequential([keras.Input((5,)), *layers])
    options = options or {"run_eagerly": True}
    model.compile(keras.optimizers.SGD(0.05) if optimizer is None else optimizer, "mse", **options)
    return model


class Kernels(keras.callbacks.Callback):
    """The trainable weights of two or more axes at the end of each epoch."""

    def __init__(self):
        super().__init__()
        self.epochs = []

    def on_epoch_end(self, epoch, logs=None):
        weights = self.model.trainable_weights
        self.epochs.append({w.path: np.array(w, "float64") for w in weights if len(w.shape) > 1})


def fit(model, *callbacks, **options):
    return model.fit(X, Y, 4, EPOCHS, 0, list(callbacks), shuffle=False, **options).history


def norm(arrays):
    return np.sqrt(sum(np.sum(array**2) for array in arrays))


def sparsity(arrays):
    return np.mean(np.concatenate([array.ravel() for array in arrays]) == 0)


# Sparsity and norms.


def test_sparsity_and_norm_are_of_all_weights_of_two_or_more_axes():
    layers = [dense(4, L1(0.2)), keras.layers.BatchNormalization(), dense(1, L1(0.1))]
    model = make_model(*layers, optimizer=Proximal(keras.optimizers.SGD(0.1)))
    kernels = Kernels()
    history = fit(model, EpochStatistics(), kernels)
    expected = [sparsity(epoch.values()) for epoch in kernels.epochs]
    assert 0.0 < expected[-1] < 1.0
    assert history["sparsity"] == pytest.approx(expected)
    assert history["weight_norm"] == pytest.approx([norm(e.values()) for e in kernels.epochs])


def test_per_layer_each_weight_has_its_own():
    model = make_model(dense(4, name="first"), dense(1, use_bias=True, name="second"))
    kernels = Kernels()
    history = fit(model, EpochStatistics(per_layer=True), kernels)
    paths = [layer.kernel.path for layer in model.layers]
    assert {name for name in history if "/" in name} == {
        f"{of}/{path}" for path in paths for of in OF_WEIGHTS
    }
    for path in paths:
        own = [[epoch[path]] for epoch in kernels.epochs]
        assert history[f"weight_norm/{path}"] == pytest.approx([norm(arrays) for arrays in own])
        assert history[f"sparsity/{path}"] == [sparsity(arrays) for arrays in own]


def test_weights_that_are_not_trained_do_not_count():
    frozen = dense(4, trainable=False, kernel_initializer="zeros")
    history = fit(make_model(frozen, dense(1)), EpochStatistics())
    assert history["sparsity"] == [0.0] * EPOCHS


def test_of_a_model_without_such_weights_all_is_zero():
    model = keras.Sequential([keras.Input((5,)), keras.layers.BatchNormalization()])
    model.compile("sgd", "mse")
    history = model.fit(X, X, verbose=0, callbacks=[EpochStatistics()]).history
    assert (history["sparsity"], history["weight_norm"]) == ([0.0], [0.0])
    assert (history["penalty"], history["penalty_share"]) == ([0.0], [0.0])


# The gap.


def test_the_gap_is_the_loss_of_validation_less_that_of_training():
    history = fit(make_model(dense(1)), EpochStatistics(), validation_data=(X[:8], Y[:8] + 1.0))
    expected = np.subtract(history["val_loss"], history["loss"])
    assert history["gap"] == pytest.approx(expected.tolist())


def test_without_validation_there_is_no_gap():
    assert "gap" not in fit(make_model(dense(1)), EpochStatistics())
    some = fit(make_model(dense(1)), EpochStatistics(), validation_data=(X, Y), validation_freq=2)
    assert len(some["gap"]) == 1


# The penalty.


def absolute_and_groups(kernel):
    """Of each output all inputs are a group, which counts as the root of its size."""
    groups = np.sqrt(kernel.shape[0]) * np.linalg.norm(kernel, axis=0)
    return 0.1 * np.sum(np.abs(kernel)) + 0.2 * np.sum(groups)


@pytest.mark.parametrize(
    ("penalty", "formula"),
    [
        (lambda: keras.regularizers.L2(0.3), lambda kernel: 0.3 * np.sum(kernel**2)),
        (lambda: "l2", lambda kernel: 0.01 * np.sum(kernel**2)),
        (lambda: L1(0.2), lambda kernel: 0.2 * np.sum(np.abs(kernel))),
        (lambda: L1(0.1) + GroupLasso(0.2), absolute_and_groups),
        (lambda: None, lambda kernel: 0.0),
    ],
    ids=["Keras", "Keras by name", "L1", "Sum", "none"],
)
def test_the_penalty_is_what_the_regularizer_says_of_the_weights_at_the_end(penalty, formula):
    kernels = Kernels()
    history = fit(make_model(dense(4, penalty()), dense(1)), EpochStatistics(), kernels)
    first = [next(iter(epoch.values())) for epoch in kernels.epochs]
    assert history["penalty"] == pytest.approx([formula(kernel) for kernel in first], rel=1e-5)
    share = np.divide(history["penalty"], history["loss"])
    assert history["penalty_share"] == pytest.approx(share.tolist())


def test_penalties_of_several_weights_and_of_biases_are_added():
    layers = [dense(4, L1(0.1), bias_regularizer=L2(0.2)), dense(1, keras.regularizers.L1(0.3))]
    model = make_model(*layers)
    history = fit(model, EpochStatistics())
    assert history["penalty"][-1] == pytest.approx(float(sum(model.losses)), rel=1e-5)
    assert history["penalty"][-1] > 0


def test_a_penalty_that_two_layers_share_counts_for_both():
    shared = L1(0.1)
    model = make_model(dense(4, shared), dense(1, shared))
    history = fit(model, EpochStatistics())
    assert history["penalty"][-1] == pytest.approx(float(sum(model.losses)), rel=1e-5)


def test_with_proximal_the_penalty_is_the_same():
    model = make_model(dense(1, L1(0.2)), optimizer=Proximal(keras.optimizers.SGD(0.1)))
    kernels = Kernels()
    history = fit(model, EpochStatistics(), kernels)
    expected = [0.2 * np.sum(np.abs(next(iter(epoch.values())))) for epoch in kernels.epochs]
    assert history["penalty"] == pytest.approx(expected, rel=1e-5)


def test_penalties_on_activities_are_left_out():
    model = make_model(dense(1, activity_regularizer="l2"))
    assert fit(model, EpochStatistics())["penalty"] == [0.0] * EPOCHS


def test_without_a_loss_there_is_no_share():
    model = make_model(dense(1, L1(0.1)))
    statistics = EpochStatistics()
    statistics.set_model(model)
    for logs in ({"loss": 0.0}, {}):
        statistics.on_epoch_end(0, logs)
        assert "penalty_share" not in logs
        assert logs["penalty"] > 0


# It only looks on.


def moving():
    strengths = [Linear(0.5, 0.01, 20), Linear(1.0, 0.1, 15)]
    return [
        dense(4, L1(strengths[0]) + L2(strengths[1])),
        ScheduledDropout(Linear(0.5, 0.0, 12), seed=3),
        dense(1, L2(Linear(0.0, 1.0, 12))),
    ]


@pytest.mark.parametrize("mode", [{"run_eagerly": True}, {"jit_compile": False}])
def test_a_training_with_schedules_is_the_one_without_it(mode):
    def trained(*callbacks):
        keras.utils.set_random_seed(1)
        model = make_model(*moving(), **mode)
        fit(model, *callbacks)
        return [np.array(v) for v in [*model.variables, *model.optimizer.variables]]

    for mine, theirs in zip(trained(EpochStatistics(True)), trained(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_the_penalty_has_the_strength_of_the_last_step():
    penalty, kernels = L1(Linear(0.5, 0.05, 10)), Kernels()
    history = fit(make_model(dense(1, penalty)), EpochStatistics(), kernels)
    strengths = [float(penalty.schedule(4 * (epoch + 1) - 1)) for epoch in range(EPOCHS)]
    sums = [np.sum(np.abs(next(iter(epoch.values())))) for epoch in kernels.epochs]
    assert history["penalty"] == pytest.approx(np.multiply(strengths, sums).tolist(), rel=1e-5)


def test_tensorboard_after_it_gets_all(tmp_path):
    model = make_model(dense(4, L1(0.1)), dense(1))
    board = keras.callbacks.TensorBoard(tmp_path)
    history = fit(model, EpochStatistics(per_layer=True), board, validation_data=(X, Y))
    events = EventAccumulator(str(tmp_path / "train")).Reload()
    names = ["gap", "penalty", "penalty_share", *OF_WEIGHTS]
    names += [f"{of}/{model.layers[0].kernel.path}" for of in OF_WEIGHTS]
    for name in names:
        tensors = events.Tensors(f"epoch_{name}")
        values = [float(tf.make_ndarray(event.tensor_proto)) for event in tensors]
        assert values == pytest.approx(history[name], rel=1e-5)


def test_the_values_are_plain_numbers():
    history = fit(make_model(dense(4, L1(0.1)), dense(1, "l2")), EpochStatistics(per_layer=True),
                  validation_data=(X, Y))  # fmt: skip
    for name, values in history.items():
        assert all(type(value) in (float, int) for value in values), name
