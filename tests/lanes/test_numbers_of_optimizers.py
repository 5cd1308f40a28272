"""Numbers that Keras' optimizers and penalties may go without, beside those that have them."""

import inspect

import keras
import numpy as np
import pytest

from kerasreg.lanes import Lanes, group_by_program

layers, optimizers, regularizers = keras.layers, keras.optimizers, keras.regularizers
X = np.random.default_rng(0).uniform(size=(40, 6)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 40)
FIT = {"batch_size": 16, "epochs": 2, "shuffle": False}


def model(optimizer, regularizer=None, dtype=None):
    keras.utils.set_random_seed(3)
    hidden = layers.Dense(4, "tanh", kernel_regularizer=regularizer, dtype=dtype)
    last = layers.Dense(3, dtype=dtype, name="last")
    found = keras.Sequential([keras.Input((6,)), hidden, last])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    found.compile(optimizer, loss, jit_compile=False)
    return found


def clipped(kind):
    """By a norm that changes most gradients, and by one that changes none."""
    return [lambda norm=norm: model(kind(0.1, clipnorm=norm)) for norm in (None, 0.01, 1, 1e3)]


def muon(rate, momentum, decay, beta_2):
    """Of a matrix the step is that of all entries together, of others that of AdamW."""
    # Older versions of Keras have no decay of its own for AdamW.
    decays = {"weight_decay": decay, "adam_weight_decay": decay}
    known = inspect.signature(optimizers.Muon).parameters
    given = {name: of for name, of in decays.items() if name in known}
    last = ["last"]
    return model(
        optimizers.Muon(rate, momentum=momentum, adam_beta_2=beta_2, exclude_layers=last, **given)
    )


CASES = {
    "weight_decay": [
        lambda decay=decay: model(optimizers.SGD(0.1, weight_decay=decay))
        for decay in (None, 0.1, 0.0, 0.5)
    ],
    "weight_decay of Adam": [
        lambda decay=decay: model(optimizers.Adam(0.1, weight_decay=decay)) for decay in (None, 0.1)
    ],
    "clipnorm": clipped(optimizers.SGD),
    "clipnorm of Adam": clipped(optimizers.Adam),
    "L1": [lambda l1=l1: model("sgd", regularizers.L1(l1)) for l1 in (0.0, 0.1)],
    "L2": [lambda l2=l2: model("sgd", regularizers.L2(l2)) for l2 in (0.0, 0.1, 0.2)],
    "L1L2": [
        lambda both=both: model("sgd", regularizers.L1L2(*both))
        for both in ((0.0, 0.0), (0.1, 0.0), (0.0, 0.1), (0.1, 0.1))
    ],
    "Muon": [
        lambda given=given: muon(*given)
        for given in ((0.01, 0.9, 0.004, 0.99), (0.1, 0.95, 0.5, 0.999), (0.03, 0.8, 0.1, 0.9))
    ],
}


@pytest.mark.short(
    "Muon-False",
    "weight_decay of Adam-True",
    "clipnorm of Adam-False",
    "L1L2-True",
)
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_a_number_that_some_go_without(name, backwards, equal_logs, equal_models):
    """Whichever model the program is traced from."""
    builds = CASES[name][::-1] if backwards else CASES[name]
    models = [build() for build in builds]
    assert group_by_program(models) == [list(range(len(models)))]
    together = Lanes(models, False)
    histories = together.fit(X, Y, **FIT)
    for lane, build in enumerate(builds):
        alone = build()
        expected = alone.fit(X, Y, verbose=0, **FIT).history
        equal_logs(histories[lane].history, expected, 1e-6)
        equal_models(together.unstack(lane), alone, 1e-6)


def test_what_is_no_number_beside_others():
    def groups(*models):
        return group_by_program(models)

    sgd = optimizers.SGD
    # A model is clipped in one way.
    assert groups(model(sgd(clipvalue=0.5)), model(sgd()), model(sgd(clipnorm=0.5))) == [
        [0],
        [1, 2],
    ]
    assert groups(model(sgd(global_clipnorm=0.5)), model(sgd())) == [[0], [1]]
    # A factor of float16 that changes nothing there is none.
    half = [model(sgd(clipnorm=norm), dtype="float16") for norm in (None, 0.5)]
    assert groups(*half) == [[0], [1]]
