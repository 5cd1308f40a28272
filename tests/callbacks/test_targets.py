"""Targets of callbacks: what a pattern matches, and what cannot be moved."""

import keras
import numpy as np
import pytest

from kerasreg.callbacks import HyperparameterScheduler
from kerasreg.layers import DropConnect, ScheduledDropout, ScheduledSpatialDropout1D
from kerasreg.optimizers import DecoupledWeightDecay, Lookahead, Proximal
from kerasreg.regularizers import L1, L2
from kerasreg.schedules import Linear


def fit(model, callback):
    x, y = np.ones((4, 3)), np.ones((4, 1))
    model.fit(x, y, 4, 1, verbose=0, callbacks=[callback])


# What a pattern matches.


def nested_model():
    inputs = keras.Input((3,))
    block = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, kernel_regularizer=L2(0.1, name="ridge"), name="first"),
            ScheduledDropout(0.1, name="early"),
        ],
        name="block1",
    )
    body = keras.Sequential(
        [
            keras.Input((3,)),
            block,
            keras.layers.Reshape((2, 2)),
            ScheduledSpatialDropout1D(0.1, name="late"),
            keras.layers.Flatten(),
        ],
        name="body",
    )
    connect = DropConnect(keras.layers.Dense(4, name="within"), 0.1, name="connect")
    lasso, both = L1(0.1, name="lasso"), L1(0.1) + L2(0.1)
    head = keras.layers.Dense(1, kernel_regularizer=both, bias_regularizer=lasso, name="head")
    model = keras.Model(inputs, head(connect(body(inputs))))
    model.compile("sgd", "mse", run_eagerly=True)
    numbers = {"early": block.layers[-1].rate, "late": body.layers[-2].rate}
    numbers |= {"connect": connect.rate, "ridge": block.layers[0].kernel_regularizer.strength}
    return model, {**numbers, "lasso": lasso.strength, "sum": both.strength}


@pytest.mark.short(
    "dropout-moved0",
    "dropout:early-moved2",
    "dropout:block*-moved3",
    "dropout:block1/early-moved14",
    "strength:block1/first-moved8",
    "strength:*first*-moved9",
    "strength:head-moved12",
    "strength:kernel-moved17",
    "strength:*/first/kernel-moved18",
    "strength:head/lasso-moved19",
)
@pytest.mark.parametrize(
    ("target", "moved"),
    {
        "dropout": ["early", "late", "connect"],
        "dropout:*": ["early", "late", "connect"],
        "dropout:early": ["early"],
        "dropout:block*": ["early"],
        "dropout:body": ["early", "late"],
        "dropout:con*": ["connect"],
        "strength": ["ridge", "lasso", "sum"],
        "strength:ridge": ["ridge"],
        "strength:block1/first": ["ridge"],
        "strength:*first*": ["ridge"],
        "strength:b*": ["ridge", "lasso"],
        "strength:bl*": ["ridge"],
        "strength:head": ["lasso", "sum"],
        "dropout:block1/*": ["early"],
        "dropout:block1/early": ["early"],
        "dropout:body/*": ["early", "late"],
        "strength:head/bias": ["lasso"],
        "strength:kernel": ["ridge", "sum"],
        "strength:*/first/kernel": ["ridge"],
        "strength:head/lasso": ["lasso"],
    }.items(),
)
def test_only_what_the_pattern_matches_is_moved(target, moved):
    model, numbers = nested_model()
    before = {name: float(number) for name, number in numbers.items()}
    fit(model, HyperparameterScheduler(target, 0.75))
    after = {name: float(number) for name, number in numbers.items()}
    assert [name for name in numbers if after[name] != before[name]] == moved
    assert all(after[name] == 0.75 for name in moved)


@pytest.mark.parametrize("pattern", ["first", "second"])
def test_a_penalty_of_two_layers_is_found_by_the_name_of_either(pattern):
    penalty = L1(0.1)
    layers = [
        keras.layers.Dense(1, kernel_regularizer=penalty, name=n) for n in ("first", "second")
    ]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile("sgd", "mse", run_eagerly=True)
    fit(model, HyperparameterScheduler(f"strength:{pattern}", 0.75))
    assert float(penalty.strength) == 0.75


@pytest.mark.parametrize("pattern", ["first", "second"])
def test_a_dropout_within_two_models_is_found_by_the_name_of_either(pattern):
    drop = ScheduledDropout(0.1)
    parts = [keras.Sequential([keras.Input((3,)), drop], name=n) for n in ("first", "second")]
    model = keras.Sequential([keras.Input((3,)), *parts, keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    fit(model, HyperparameterScheduler(f"dropout:{pattern}", 0.75))
    assert float(drop.rate) == 0.75


@pytest.mark.parametrize("around", [lambda inner: inner, Lookahead], ids=["outer", "within"])
def test_the_decay_of_a_wrapper_is_the_weight_decay(around):
    decoupled = DecoupledWeightDecay(keras.optimizers.SGD(0.25), 0.5)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(around(decoupled), lambda y, p: 0.0 * p)
    weights = np.ones((3, 1))
    model.set_weights([weights])
    schedule = Linear(0.4, 0.0, 4)
    history = model.fit(
        np.ones((4, 3)),
        np.ones((4, 1)),
        4,
        3,
        verbose=0,
        callbacks=[HyperparameterScheduler("weight_decay", schedule)],
    )
    for decay in (0.4, 0.3, 0.2):
        weights = weights * (1 - 0.25 * decay)
    np.testing.assert_allclose(model.get_weights()[0], weights, rtol=1e-6)
    np.testing.assert_allclose(history.history["weight_decay"], [0.4, 0.3, 0.2], rtol=1e-6)


# What cannot be moved.


def small_model(optimizer=None, penalty=None, rate=None):
    layers = [] if rate is None else [ScheduledDropout(rate)]
    model = keras.Sequential([*layers, keras.layers.Dense(1, kernel_regularizer=penalty)])
    model.compile(optimizer or keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    return model


RAMP = Linear(0.5, 0.1, 3)
REFUSED = {
    "no dropout": ("dropout", {}),
    "no penalty": ("strength", {}),
    "a penalty of Keras": ("strength", {"penalty": keras.regularizers.L1(0.1)}),
    "no layer of this name": ("dropout:block*", {"rate": 0.1}),
    "no penalty of this name": ("strength:block*", {"penalty": L1(0.1)}),
    "a rate with a schedule": ("dropout", {"rate": RAMP}),
    "a strength with a schedule": ("strength", {"penalty": L1(RAMP)}),
    "no momentum": ("momentum", {}),
    "no momentum in RMSprop": ("momentum", {"optimizer": keras.optimizers.RMSprop()}),
    "an optimizer without": ("momentum", {"optimizer": keras.optimizers.Adagrad()}),
    "no decay": ("weight_decay", {}),
    "a decay of zero": ("weight_decay", {"optimizer": keras.optimizers.SGD(0.1, weight_decay=0.0)}),
    "a decay with a schedule": (
        "weight_decay",
        {"optimizer": DecoupledWeightDecay(keras.optimizers.SGD(0.1), RAMP)},
    ),
    "no decay within": ("weight_decay", {"optimizer": Proximal(keras.optimizers.SGD(0.1))}),
}


@pytest.mark.parametrize(("target", "model"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_there_or_moves_already_is_refused(target, model):
    made = small_model(**model)
    with pytest.raises(ValueError, match=r"`target`.* Received: "):
        fit(made, HyperparameterScheduler(target, 0.5))


@pytest.mark.parametrize("target", ["learning_rate", "momentum", "weight_decay"])
def test_a_model_that_is_not_compiled_is_refused(target):
    def begin():
        callback = HyperparameterScheduler(target, 0.5)
        callback.set_model(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))
        callback.on_train_begin()

    with pytest.raises(ValueError, match="`target` must be in a model that is compiled"):
        begin()
