"""`repr` of a component is the call that makes it, with its strength or rate as it is now."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasreg import layers, optimizers, regularizers
from kerasreg.schedules import Linear

RAMP = Linear(0.0, 0.5, 100)
SHOWN = "Linear(start=0.0, end=0.5, steps=100)"
CASES = {
    "L1(strength=0.01)": lambda: regularizers.L1(0.01, name="named"),
    f"L2(strength={SHOWN})": lambda: regularizers.L2(RAMP),
    "ElasticNet(strength=1e-05, alpha=0.25)": lambda: regularizers.ElasticNet(1e-5, 0.25),
    "GroupLasso(strength=0.1, axis=(0, 1))": lambda: regularizers.GroupLasso(0.1, (0, 1)),
    "GroupLasso(strength=0.1)": lambda: regularizers.GroupLasso(0.1),
    "MCP(strength=0.1, gamma=2.5)": lambda: regularizers.MCP(0.1, 2.5),
    f"Sum(penalties=[L1(strength=0.1), L2(strength={SHOWN})])": lambda: (
        regularizers.L1(0.1) + regularizers.L2(RAMP)
    ),
    f"ScheduledDropout(rate={SHOWN})": lambda: layers.ScheduledDropout(RAMP, seed=1, name="named"),
    "ScheduledDropout(rate=0.1, noise_shape=(None, 1))": lambda: layers.ScheduledDropout(
        0.1, (None, 1)
    ),
    "DropConnect(layer=<ReLU name=inner, built=True>, rate=0.2)": lambda: layers.DropConnect(
        keras.layers.ReLU(name="inner"), 0.2
    ),
    "ConcreteDropout(layer=<ReLU name=inner, built=True>, weight_regularizer=0.1, "
    f"temperature={SHOWN})": lambda: layers.ConcreteDropout(
        keras.layers.ReLU(name="inner"), 0.1, temperature=RAMP.clip(0.1), seed=1
    ),
    "Proximal(inner_optimizer=Adam(learning_rate=0.001), step_size='learning_rate')": lambda: (
        optimizers.Proximal(keras.optimizers.Adam(1e-3), "learning_rate")
    ),
    f"DecoupledWeightDecay(inner_optimizer=SGD(learning_rate={SHOWN}), weight_decay=0.1, "
    "exclude=('bias',))": lambda: optimizers.DecoupledWeightDecay(
        keras.optimizers.SGD(RAMP), 0.1, exclude=["bias"]
    ),
    "WeightAveraging(inner_optimizer=Lookahead(inner_optimizer=SGD(learning_rate=0.1), "
    "sync_period=2), start_step=5)": lambda: optimizers.WeightAveraging(
        optimizers.Lookahead(keras.optimizers.SGD(0.1), 2), 5
    ),
    f"DecoupledWeightDecay(inner_optimizer=SGD(learning_rate=0.01), weight_decay={SHOWN})": (
        lambda: optimizers.DecoupledWeightDecay(keras.optimizers.SGD(), RAMP)
    ),
}


@pytest.mark.parametrize("expected", CASES)
def test_a_component_prints_as_the_call_that_makes_it(expected):
    clipped = f"Clipped(schedule={SHOWN}, minimum=0.1, maximum=None)"
    assert repr(CASES[expected]()).replace(clipped, SHOWN) == expected


def test_the_number_is_the_one_that_was_assigned():
    penalty, layer = regularizers.L1(0.5), layers.ScheduledDropout(0.5)
    penalty.strength.assign(0.25)
    layer.rate.assign(0.125)
    assert repr(penalty) == "L1(strength=0.25)"
    assert repr(layer) == "ScheduledDropout(rate=0.125)"


def test_a_component_prints_while_a_graph_is_traced():
    penalty, printed = regularizers.L1(0.5), []

    @tf.function
    def traced(w):
        printed.append(repr(penalty))
        return penalty(w)

    traced(np.ones(3, "float32"))
    assert printed == ["L1(strength=?)"]
