"""Models share a program if they differ in values, and only then."""

import functools

import keras
import pytest

from kerasreg.lanes import Lanes, ModelStructure, group_by_program
from kerasreg.layers import ScheduledDropout
from kerasreg.regularizers import L2

layers, optimizers = keras.layers, keras.optimizers
SETTING = {"factor": 1.0}


class Scale(layers.Layer):
    factor = 1.0

    def __init__(self, by=1.0, **kwargs):
        super().__init__(**kwargs)
        self.by = by

    def call(self, x):
        return x * self.by


def build(optimizer=None, loss="mse", metrics=(), layer=None, **dense):
    inputs = keras.Input((3,))
    x = layers.Dense(4, **{"activation": "relu", **dense})(inputs)
    x = x if layer is None else layer(x)
    model = keras.Model(inputs, layers.Dense(1)(x))
    model.compile(optimizer or "sgd", loss, metrics=list(metrics))
    return model


def times(factor):
    return lambda x: x * factor


def reads_global(x):
    return x * SETTING["factor"]


def weighted(factor, y, p):
    return factor * keras.ops.mean(keras.ops.square(y - p), axis=-1)


def wired(first):
    inputs = keras.Input((3,))
    one, two = layers.Dense(3), layers.Dense(3)
    x = one(two(inputs)) if first else two(one(inputs))
    model = keras.Model(inputs, x - inputs if first else inputs - x)
    model.compile("sgd", "mse")
    return model


def shared(again):
    inputs = keras.Input((3,))
    one = layers.Dense(3)
    model = keras.Model(inputs, (one if again else layers.Dense(3))(one(inputs)))
    model.compile("sgd", "mse")
    return model


def frozen(trainable):
    model = build()
    model.layers[1].trainable = trainable
    model.compile("sgd", "mse")
    return model


decay = optimizers.schedules.ExponentialDecay
SAME = {
    "learning rate": lambda v: build(optimizers.SGD((0.1, 0.2)[v])),
    "momentum": lambda v: build(optimizers.SGD(0.1, momentum=(0.8, 0.9)[v])),
    "beta": lambda v: build(optimizers.Adam(0.1, beta_1=(0.8, 0.9)[v])),
    "weight decay": lambda v: build(optimizers.AdamW(0.1, weight_decay=(0.1, 0.2)[v])),
    "Keras' penalty": lambda v: build(kernel_regularizer=keras.regularizers.L2((0.1, 0.2)[v])),
    "penalty": lambda v: build(kernel_regularizer=L2((0.1, 0.2)[v])),
    "rate and seed": lambda v: build(layer=ScheduledDropout((0.1, 0.2)[v], seed=v)),
    "seed of Keras' dropout": lambda v: build(layer=layers.Dropout(0.1, seed=v)),
    "initializer": lambda v: build(kernel_initializer=("zeros", "ones")[v]),
    "schedule": lambda v: build(optimizers.SGD(decay((0.1, 0.2)[v], 10, 0.9))),
    "attribute": lambda v: build(layer=Scale((1.0, 2.0)[v])),
    "argument of a loss": lambda v: build(loss=keras.losses.Huber(delta=(1.0, 2.0)[v])),
    "Keras' rate": lambda v: build(layer=layers.Dropout((0.1, 0.2)[v])),
    "rate or none": lambda v: build(layer=layers.Dropout((0.0, 0.1)[v])),
    "clipping": lambda v: build(optimizers.SGD(0.1, clipnorm=(1.0, 2.0)[v])),
    "constraint": lambda v: build(kernel_constraint=keras.constraints.MaxNorm((1.0, 2.0)[v])),
    "factors": lambda v: build(layer=layers.RandomBrightness(((-0.1, 0.1), (-0.3, 0.2))[v])),
    "closure": lambda v: build(layer=layers.Lambda(times((1.0, 2.0)[v]))),
    "closure of an activation": lambda v: build(activation=times((1.0, 2.0)[v])),
    "partial": lambda v: build(loss=functools.partial(weighted, v + 1.0)),
    "same closure": lambda v: build(layer=layers.Lambda(times(2.0))),
}
DIFFERENT = {
    "units": lambda v: build(layer=layers.Dense(4 + v)),
    "activation": lambda v: build(activation=("relu", "tanh")[v]),
    "whole number of a closure": lambda v: build(layer=layers.Lambda(times((1, 2)[v]))),
    "argument or none": lambda v: build(loss=functools.partial(weighted, *[1.0][v:])),
    "closure of a loss": lambda v: build(loss=lambda y, p: keras.ops.mean(y - p) * (v + 1)),
    "closure of a metric": lambda v: build(metrics=[lambda y, p: keras.ops.mean(y - p) * (v + 1)]),
    "whole numbers": lambda v: build(layer=Scale((1, 2)[v])),
    "sign": lambda v: build(layer=Scale((-1.0, 1.0)[v])),
    "side of a bound": lambda v: build(layer=layers.ELU((0.5, 1.0)[v])),
    "metrics": lambda v: build(metrics=[["mae"], ["mse"]][v]),
    "momentum or none": lambda v: build(optimizers.SGD(0.1, momentum=(0.0, 0.9)[v])),
    "optimizer": lambda v: build(("sgd", "adam")[v]),
    "schedule or number": lambda v: build(optimizers.SGD((0.1, decay(0.1, 10, 0.9))[v])),
    "wiring": lambda v: wired(bool(v)),
    "sharing": lambda v: shared(bool(v)),
    "trainable": lambda v: frozen(bool(v)),
    "precision": lambda v: build(layer=layers.Dense(4, dtype=("float32", "mixed_bfloat16")[v])),
    "penalty or none": lambda v: build(kernel_regularizer=(None, L2(0.1))[v]),
}


@pytest.mark.parametrize("name", SAME)
def test_models_that_differ_in_values_share_a_program(name):
    assert group_by_program([SAME[name](0), SAME[name](1)]) == [[0, 1]]


@pytest.mark.parametrize("name", DIFFERENT)
def test_models_that_differ_in_anything_else_are_no_group(name):
    models = [DIFFERENT[name](0), DIFFERENT[name](1), DIFFERENT[name](0)]
    assert group_by_program(models)[:2] == [[0, 2], [1]] or (
        "closure" in name and len(group_by_program(models)) > 1
    )


@pytest.mark.parametrize("name", sorted(DIFFERENT.keys() - {"units"}))
def test_models_that_differ_in_anything_but_widths_are_no_lanes(name):
    models = [DIFFERENT[name](0), DIFFERENT[name](1)]
    with pytest.raises(ValueError, match=r"share no program: .*against|more parts"):
        Lanes(models)


def test_a_global_that_is_read_counts(monkeypatch):
    one = ModelStructure(build(layer=layers.Lambda(reads_global))).tokens
    monkeypatch.setitem(SETTING, "factor", 2.0)
    assert ModelStructure(build(layer=layers.Lambda(reads_global))).tokens != one


class OwnFunction(keras.Model):
    def make_train_function(self, force=False):
        return super().make_train_function(force)


def own_step(kind=OwnFunction):
    inputs = keras.Input((3,))
    model = kind(inputs, layers.Dense(1)(inputs))
    model.compile("sgd", "mse")
    return model


def given_step():
    model = own_step(keras.Model)
    model.train_step = lambda data: {}
    return model


def uncompiled():
    return keras.Sequential([keras.Input((3,)), layers.Dense(1)])


def unbuilt():
    model = keras.Sequential([layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def eager():
    model = uncompiled()
    model.compile("sgd", "mse", run_eagerly=True)
    return model


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (own_step, "its class defines its own `make_train_function`"),
        (given_step, "given its own `train_step`.*; its class may define it"),
        (uncompiled, "not compiled"),
        (unbuilt, "not built"),
        (eager, "run_eagerly"),
        (lambda: "model", "must be a Keras model"),
    ],
)
def test_what_cannot_be_a_lane_is_said(make, why):
    with pytest.raises(ValueError, match=why):
        Lanes([make()])
    assert group_by_program([make(), make()]) == [[0], [1]]


def test_no_models():
    with pytest.raises(ValueError, match="models"):
        Lanes([])


def sliced(stop, seed):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(1)(inputs[:, :stop]))
    model.compile("sgd", "mse")
    return model


def test_models_that_cut_their_inputs_alike_share_a_program():
    assert len(group_by_program([sliced(2, 0), sliced(2, 1)])) == 1
    assert len(group_by_program([sliced(2, 0), sliced(3, 1)])) == 2
