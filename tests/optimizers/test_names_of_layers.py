"""Patterns mean the layers of the model, also where a layer was made as a part of another one."""

import gc

import keras
import numpy as np
import pytest

from kerasreg._keras.names_of_variables import names_of_variables
from kerasreg.callbacks import HyperparameterScheduler
from kerasreg.lanes import Lanes
from kerasreg.layers import ScheduledDropout
from kerasreg.optimizers import DecoupledWeightDecay, LayerLearningRates, Lookahead
from kerasreg.regularizers import L2

SGD = keras.optimizers.SGD
X, Y = np.ones((4, 3), "float32"), np.ones((4, 1), "float32")
L = keras.layers


def functional(name, *layers):
    inputs = keras.Input((3,))
    outputs = inputs
    for layer in layers:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs, name=name)


def dense(name, units=3):
    return L.Dense(units, name=name, kernel_regularizer=L2(0.0))


def with_functional():
    backbone = functional("backbone", dense("d1"), ScheduledDropout(0.1, name="drop"))
    return functional("whole", backbone, dense("head", 1))


def with_nested():
    inner = functional("inner", dense("d1"), ScheduledDropout(0.1, name="drop"))
    return functional("whole", functional("backbone", inner), dense("head", 1))


def with_sequential():
    layers = [keras.Input((3,)), dense("d1"), ScheduledDropout(0.1, name="drop")]
    return functional("whole", keras.Sequential(layers, name="backbone"), dense("head", 1))


def in_sequential():
    backbone = functional("backbone", dense("d1"), ScheduledDropout(0.1, name="drop"))
    return keras.Sequential([keras.Input((3,)), backbone, dense("head", 1)])


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        layers = (dense("d1"), ScheduledDropout(0.1, name="drop"))
        self.backbone = functional("backbone", *layers)
        self.head = dense("head", 1)

    def build(self, shape):
        self.head.build((None, 3))
        self.built = True

    def call(self, x, training=False):
        return self.head(self.backbone(x, training=training))


def of_a_class():
    model = Own()
    model.build((None, 3))
    return model


MODELS = [with_functional, with_nested, with_sequential, in_sequential, of_a_class]
every_model = pytest.mark.parametrize("make", MODELS)


def weights(model, name):
    """By a part of the paths of variables, which has no name of a model."""
    return [np.array(v) for v in model.trainable_variables if name in v.path]


def moved(model, name, before):
    pairs = zip(weights(model, name), before, strict=True)
    return [not np.array_equal(one, other) for one, other in pairs]


def fit(model, optimizer, **options):
    model.compile(optimizer, "mse", **{"run_eagerly": True, **options})
    before = {name: weights(model, name) for name in ("d1", "head")}
    model.fit(X, 5 * Y, verbose=0)
    return {name: any(moved(model, name, of)) for name, of in before.items()}


@pytest.mark.short(
    "backbone-with_functional",
    "backbone-with_nested",
    "backbone-of_a_class",
    "backbone/*-with_sequential",
    "backbone/*-in_sequential",
    "back*/d1-with_functional",
    "back*/d1-of_a_class",
    "*backbone/*-with_nested",
    "*backbone/*-of_a_class",
)
@every_model
@pytest.mark.parametrize("pattern", ["backbone", "backbone/*", "back*/d1", "*backbone/*"])
def test_the_rate_of_a_backbone_by_its_name(make, pattern):
    found = fit(make(), LayerLearningRates(SGD(0.1), {pattern: 0.0, "head": 1.0}))
    assert found == {"d1": False, "head": True}


@every_model
def test_a_backbone_that_does_not_decay(make):
    model = make()
    for variable in model.trainable_variables:
        variable.assign(keras.ops.ones(variable.shape))
    model.compile(DecoupledWeightDecay(SGD(0.0), 0.5, exclude=["backbone"],
                                       scaled_by_learning_rate=False), "mse")  # fmt: skip
    model.fit(X, Y, verbose=0)
    assert all(np.all(weight == 1.0) for weight in weights(model, "d1"))
    assert all(np.all(weight == 0.5) for weight in weights(model, "head"))


@every_model
def test_callbacks_know_a_backbone_by_its_name(make):
    model = make()
    callbacks = [
        HyperparameterScheduler("dropout:backbone", 0.5),
        HyperparameterScheduler("strength:backbone/*", 0.25),
    ]
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0, callbacks=callbacks)
    kernels = [v for v in model.trainable_variables if v.name == "kernel"]
    strengths = {v.path.split("/")[-2]: float(v.regularizer.strength) for v in kernels}
    assert strengths == {"d1": 0.25, "head": 0.0}


def test_a_part_by_its_path_and_a_part_by_its_model():
    one = functional("block1", dense("block_a"))
    two = functional("block2", dense("d1"))
    model = functional("whole", one, two, dense("head", 1))
    optimizer = LayerLearningRates(SGD(0.1), {"block*": 0.0})
    before = weights(model, "block_a")
    assert fit(model, optimizer) == {"d1": False, "head": True}
    assert not any(moved(model, "block_a", before))


def test_a_layer_of_two_models_is_meant_by_both():
    shared = dense("d1")
    left, right = functional("left", shared), functional("right", shared)
    inputs = keras.Input((3,))
    joined = L.Add()([left(inputs), right(inputs)])
    model = keras.Model(inputs, dense("head", 1)(joined))
    for name in ("left", "right"):
        optimizer = LayerLearningRates(SGD(0.1), {name: 0.0})
        assert fit(model, optimizer) == {"d1": False, "head": True}


def test_a_pattern_of_no_layer_is_refused_with_the_paths_in_the_model():
    optimizer = LayerLearningRates(SGD(0.1), {"backbon": 0.0})
    with pytest.raises(ValueError, match=r"'backbone/d1/kernel'.*did you mean 'backbone'"):
        fit(with_functional(), optimizer)


@pytest.mark.parametrize(
    "wrap",
    [
        Lookahead,
        lambda inner: keras.optimizers.LossScaleOptimizer(inner, initial_scale=2.0),
        lambda inner: keras.optimizers.LossScaleOptimizer(Lookahead(inner), initial_scale=2.0),
    ],
)
def test_within_other_optimizers(wrap):
    optimizer = wrap(LayerLearningRates(SGD(0.1), {"backbone": 0.0}))
    assert fit(with_functional(), optimizer) == {"d1": False, "head": True}


def test_in_lanes():
    def compiled(rate):
        model = with_functional()
        optimizer = LayerLearningRates(SGD(rate), {"backbone": 0.0})
        model.compile(optimizer, "mse", jit_compile=False)
        return model

    models = [compiled(0.1), compiled(0.2)]
    before = weights(models[0], "d1"), weights(models[0], "head")
    lanes = Lanes(models)
    lanes.fit(X, 5 * Y, batch_size=4, epochs=1)
    trained = lanes.unstack(0)
    assert not any(moved(trained, "d1", before[0]))
    assert any(moved(trained, "head", before[1]))


def test_models_whose_layers_have_other_names_are_no_program():
    models = []
    for name in ("one", "two"):
        model = functional("whole", dense(name), dense("head", 1))
        model.compile(LayerLearningRates(SGD(0.1), {"one": 0.0}), "mse")
        models.append(model)
    with pytest.raises(ValueError, match="names of variables"):
        Lanes(models)


def test_saved_and_loaded(tmp_path):
    model = with_functional()
    fit(model, LayerLearningRates(SGD(0.1), {"backbone": 0.0, "head": 0.5}))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    before = weights(loaded, "d1")
    loaded.fit(X, 5 * Y, verbose=0)
    # By the number of the pattern.
    assert loaded.optimizer.decided == model.optimizer.decided == [0, 0, 1, 1]
    values = {name: float(value) for name, value in loaded.optimizer.multipliers.items()}
    assert values == {"backbone": 0.0, "head": 0.5}
    assert not any(moved(loaded, "d1", before))


# In loops of one's own nobody tells the optimizer its model.


def stepped(optimizer, variables):
    before = [np.array(v) for v in variables]
    optimizer.apply([keras.ops.ones(v.shape) for v in variables], variables)
    return [not np.array_equal(v, old) for v, old in zip(variables, before, strict=True)]


def test_a_model_that_is_not_compiled_is_found_where_the_optimizer_is_built():
    model = with_functional()
    optimizer = LayerLearningRates(SGD(0.1), {"backbone": 0.0})
    optimizer.build(model.trainable_variables)
    assert stepped(optimizer, model.trainable_variables) == [False, False, True, True]


def test_a_model_that_no_function_has_at_hand_is_found_in_memory():
    class Keeper:
        pass

    def keep():
        keeper.model = with_functional()
        return keeper.model.trainable_variables

    keeper = Keeper()
    variables = keep()
    gc.collect()
    optimizer = LayerLearningRates(SGD(0.1), {"backbone": 0.0})
    assert stepped(optimizer, variables) == [False, False, True, True]


def test_variables_of_no_model_have_the_names_of_their_paths():
    variables = [keras.Variable(1.0, name=name) for name in ("one", "two")]
    found = names_of_variables(SGD(), variables)
    assert [path for path, _ in found] == ["one", "two"]
    optimizer = LayerLearningRates(SGD(0.1), {"one": 0.0})
    assert stepped(optimizer, variables) == [False, True]
