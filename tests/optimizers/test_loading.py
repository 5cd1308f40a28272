"""A model that was frozen or edited loads with every optimizer, as it does with Keras' own."""

import copy
import pickle
import warnings

import keras
import numpy as np
import pytest

from kerasreg.models import (
    attach_regularizer,
    compress,
    insert_dropout,
    remove_regularizer,
    replace_regularizer,
)
from kerasreg.optimizers import (
    DecoupledWeightDecay,
    LayerLearningRates,
    Lookahead,
    Proximal,
    WeightAveraging,
)
from kerasreg.regularizers import L1, L2, MCP, GroupLasso, TotalVariation

layers = keras.layers
Adam, SGD = keras.optimizers.Adam, keras.optimizers.SGD
X = np.random.default_rng(0).normal(size=(8, 6)).astype("float32")
Y = X[:, :1]

OPTIMIZERS = {
    "proximal": lambda: Proximal(Adam()),
    "proximal momentum": lambda: Proximal(SGD(0.01, momentum=0.9)),
    "rates": lambda: LayerLearningRates(Adam(), {"h": 0.1}),
    "decay": lambda: DecoupledWeightDecay(Adam(), 0.1, exclude=["h/*"]),
    "lookahead": lambda: Lookahead(Adam()),
    "averaging": lambda: WeightAveraging(Adam()),
    "rates of decay": lambda: LayerLearningRates(
        DecoupledWeightDecay(Adam(), 0.1, exclude=["h/kernel"]), {"h/bias": 0.2}
    ),
    "all": lambda: WeightAveraging(Lookahead(LayerLearningRates(Proximal(Adam()), {"h": 0.1}))),
}


def model(frozen=()):
    hidden = layers.Dense(5, "relu", name="h", kernel_regularizer=L1(0.1))
    made = keras.Sequential([keras.Input((6,)), hidden, layers.Dense(1, name="o")])
    for name in frozen:
        made.get_layer(name).trainable = False
    return made


def trained(made, optimizer, fits):
    made.compile(optimizer, "mse")
    if fits:
        made.fit(X, Y, verbose=0)
    else:  # The state as training makes it, without a program.
        optimizer.build(made.trainable_variables)
    return made


def freeze(made, *_):
    made.get_layer("h").trainable = False
    return made


def freeze_all(made, *_):
    made.trainable = False
    return made


def remove(made, *_):
    remove_regularizer(made)
    return made


def replace(made, *_):
    replace_regularizer(made, GroupLasso(0.1))
    return made


def attach(made, *_):
    attach_regularizer(made, L2(0.1), layers="o", weights="bias")
    return made


def rename(made, *_):
    made.get_layer("h").name = "other"
    return made


def compress_and_freeze(made, optimizer, fits):
    hidden = made.get_layer("h")
    hidden.kernel.assign(np.array(hidden.kernel) * (np.arange(5) > 1))
    return freeze(trained(compress(made).model, optimizer, fits))


def insert_and_remove(made, optimizer, fits):
    return remove(trained(insert_dropout(made, 0.1, after="h").model, optimizer, fits))


EDITS = {
    edit.__name__: edit
    for edit in (
        freeze, freeze_all, remove, replace, attach, rename, compress_and_freeze,
        insert_and_remove,
    )
}  # fmt: skip


def edited(make, edit, fits):
    if edit == "not trained":
        made = model(frozen=["h"])
        made.compile(make(), "mse")
        return made
    if edit == "unfreeze":
        made = trained(model(frozen=["o"]), make(), fits)
        made.get_layer("o").trainable = True
        return made
    made = trained(model(), make(), fits)
    return EDITS[edit](made, make(), fits) if edit else made


def check(make, edit, fits, path):
    made = edited(make, edit, fits)
    expected = made.predict_on_batch(X)
    made.save(path / "model.keras")
    with warnings.catch_warnings():
        # Keras' own, of state that does not fit what is trained now.
        warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
        loaded = keras.models.load_model(path / "model.keras")
        np.testing.assert_allclose(loaded.predict_on_batch(X), expected, rtol=1e-6)
        if not edit:
            for mine, theirs in zip(
                loaded.optimizer.variables, made.optimizer.variables, strict=True
            ):
                np.testing.assert_array_equal(mine, theirs)
        keras.models.clone_model(made)
        pickle.loads(pickle.dumps(made))
        copy.deepcopy(made)
        made.save_weights(path / "model.weights.h5")
        loaded.load_weights(path / "model.weights.h5")
        # Training goes on: what does not fit is said, and is no error.
        warnings.filterwarnings("ignore", ".*was read with a model that has changed")
        warnings.filterwarnings("ignore", "The model does not have any trainable weights")
        if fits:
            loaded.fit(X, Y, verbose=0)
        elif loaded.trainable_variables:
            before = [np.array(v) for v in loaded.trainable_variables]
            gradients = [keras.ops.ones_like(v) for v in before]
            loaded.optimizer.apply(gradients, loaded.trainable_variables)
            for value, variable in zip(before, loaded.trainable_variables, strict=True):
                assert np.abs(value - np.array(variable)).max() > 0


CASES = [
    (optimizer, edit)
    for optimizer in OPTIMIZERS
    for edit in (None, "not trained", "unfreeze", *EDITS)
    # Refused: a `Proximal` that was built has no place to sum up step sizes for another weight.
    if (optimizer, edit) != ("proximal momentum", "attach")
]
FAST = ("proximal momentum", "rates of decay", "all")


@pytest.mark.short(
    "proximal momentum-None",
    "proximal momentum-freeze",
    "proximal momentum-replace",
    "proximal momentum-compress_and_freeze",
    "rates of decay-not trained",
    "rates of decay-remove",
    "rates of decay-rename",
    "rates of decay-freeze_all",
    "all-unfreeze",
    "all-attach",
    "all-insert_and_remove",
)
@pytest.mark.parametrize(
    ("optimizer", "edit"),
    [pytest.param(*case, marks=() if case[0] in FAST else pytest.mark.long) for case in CASES],
)
def test_it_loads_and_trains_on(optimizer, edit, tmp_path):
    check(OPTIMIZERS[optimizer], edit, False, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize(
    ("optimizer", "edit"), [case for case in CASES if case[0] in ("all", "rates of decay")]
)
def test_it_loads_and_fits_on(optimizer, edit, tmp_path):
    def make():
        return keras.optimizers.LossScaleOptimizer(OPTIMIZERS[optimizer]())

    check(make, edit, True, tmp_path)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        ("proximal", "`Proximal` needs a model with penalties"),
        ("rates", "`multipliers` must match one of 'o/kernel', 'o/bias'"),
        ("decay", "`exclude` must match one of 'o/kernel', 'o/bias'"),
    ],
)
def test_what_does_not_fit_is_said_once_when_training_begins(optimizer, message, tmp_path):
    make = OPTIMIZERS[optimizer]
    edited(make, "freeze", False).save(tmp_path / "model.keras")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        loaded = keras.models.load_model(tmp_path / "model.keras")
    assert not [one for one in seen if "changed" in str(one.message)]
    variables = loaded.trainable_variables
    gradients = [keras.ops.ones_like(variable) for variable in variables]
    with pytest.warns(UserWarning, match=message):
        loaded.optimizer.apply(gradients, variables)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded.optimizer.apply(gradients, variables)
    # A mistake in a program of one's own is still refused at once.
    with pytest.raises(ValueError, match=message):
        make().build(variables)


def test_a_penalty_that_proximal_cannot_apply_is_refused_when_training_begins(tmp_path):
    for inner, penalty, message in (
        (Adam, TotalVariation(0.1), "no proximal operator for a step size for each weight"),
        (SGD, MCP(0.1, gamma=1.5), "needs a step size below"),
    ):
        made = keras.Sequential([keras.Input((6,)), layers.Dense(3, kernel_regularizer=penalty)])
        made.compile(Proximal(inner(2.0)), "mse")
        with pytest.raises(ValueError, match=message):
            made.optimizer.build(made.trainable_variables)
        made.compile(Proximal(inner(2.0)), "mse")
        made.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        with pytest.raises(ValueError, match=message):
            loaded.fit(X, X[:, :3], verbose=0)
