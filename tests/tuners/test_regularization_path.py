"""`regularization_path` is the training at each strength, and its table and picture."""

import json
import sys

import keras
import numpy as np
import pytest

from kerasreg.optimizers import Proximal
from kerasreg.regularizers import L1, GroupLasso
from kerasreg.tuners import regularization_path

pytestmark = pytest.mark.shares_programs

STRENGTHS = [1.0, 0.3, 0.1, 0.01, 0.0]


def data():
    random = np.random.default_rng(4)
    x = random.normal(size=(64, 6)).astype("float32")
    return x, (x[:, :1] - 0.5 * x[:, 1:2] + 0.2 * random.normal(size=(64, 1))).astype("float32")


def linear(penalty, learning_rate=0.1):
    dense = keras.layers.Dense(1, use_bias=False, kernel_regularizer=penalty)
    model = keras.Sequential([keras.Input((6,)), dense])
    optimizer = Proximal(keras.optimizers.SGD(learning_rate))
    model.compile(optimizer, "mse", metrics=["mae"], jit_compile=False)
    return model


def train(model, penalty, strengths=STRENGTHS, **options):
    x, y = data()
    return regularization_path(
        model, penalty, strengths, x, y,
        **{"epochs": 100, "batch_size": 64, "shuffle": False, **options},
    )  # fmt: skip


@pytest.mark.parametrize("warm_start", [False, True])
def test_the_path_of_a_linear_model_is_the_lasso_path(warm_start):
    from sklearn.linear_model import lasso_path

    x, y = data()
    # Of half the mean of squares: with half the strength.
    alphas, expected, _ = lasso_path(x, y[:, 0], alphas=np.array(STRENGTHS[:-1]) / 2, tol=1e-10)
    np.testing.assert_allclose(alphas, np.array(STRENGTHS[:-1]) / 2)
    penalty = L1(0.7)
    model = linear(penalty)
    before = [np.array(v) for v in [*model.variables, *model.optimizer.variables]]
    path = train(model, penalty, warm_start=warm_start)
    found = np.array([weights[0][:, 0] for weights in path.weights[:-1]]).T
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_array_equal(found == 0, expected == 0)
    assert [p.zeros for p in path.rows[:-1]] == np.mean(expected == 0, axis=0).tolist()
    for value, variable in zip(
        before, [*model.variables, *model.optimizer.variables[: len(before)]], strict=False
    ):
        np.testing.assert_array_equal(value, variable)


def test_each_point_is_the_training_alone():
    x, y = data()
    penalty = L1(0.7)
    model = linear(penalty)
    start = model.get_weights()
    path = train(model, penalty, STRENGTHS[::2], epochs=3, validation_data=(x[:16], y[:16]))
    for k, strength in enumerate(STRENGTHS[::2]):
        alone = linear(L1(strength))
        alone.set_weights(start)
        logs = alone.fit(
            x, y, 64, 3, shuffle=False, verbose=0, validation_data=(x[:16], y[:16])
        ).history
        np.testing.assert_allclose(alone.get_weights()[0], path.weights[k][0], rtol=1e-5, atol=1e-7)
        assert path.rows[k].strength == strength
        assert path.rows[k].logs == pytest.approx({n: v[-1] for n, v in logs.items()}, rel=1e-4)


def test_a_warm_start_begins_where_the_one_before_ended_with_a_fresh_optimizer():
    penalty = L1(0.7)
    model = linear(penalty)
    model.optimizer.learning_rate = keras.optimizers.schedules.CosineDecay(0.1, 3)
    start = model.get_weights()
    path = train(model, penalty, STRENGTHS[::2], epochs=3, warm_start=True)
    for k, strength in enumerate(STRENGTHS[::2]):
        alone = linear(L1(strength))
        alone.optimizer.learning_rate = keras.optimizers.schedules.CosineDecay(0.1, 3)
        alone.set_weights(start)
        alone.fit(*data(), 64, 3, shuffle=False, verbose=0)
        start = alone.get_weights()
        np.testing.assert_allclose(start[0], path.weights[k][0], rtol=1e-5, atol=1e-7)


def test_several_penalties_get_the_same_strength():
    first, second = GroupLasso(0.1, axis=-1), L1(0.1)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(5, "tanh", kernel_regularizer=first),
            keras.layers.Dense(1, kernel_regularizer=second),
        ]
    )
    model.compile(Proximal(keras.optimizers.SGD(0.1)), "mse")
    path = train(model, [first, second], epochs=20)
    assert path.penalised == (0, 2)
    assert path.rows[0].zeros == 1.0 > path.rows[3].zeros
    assert "strength" in str(path).splitlines()[0]
    assert len(str(path).splitlines()) == len(STRENGTHS) + 1
    plain = json.loads(json.dumps(path.to_dict()))
    assert plain["rows"][3] == {
        "strength": 0.01,
        "zeros": path.rows[3].zeros,
        "logs": path.rows[3].logs,
    }


def test_the_picture(tmp_path, monkeypatch):
    penalty = L1(0.7)
    path = train(linear(penalty), penalty, epochs=2)
    for name in ("path.png", "path.svg"):
        drawn = path.plot(tmp_path / name, metric="mae")
        assert [axes.get_ylabel() for axes in drawn.axes][-1] == "\u25a0 mae, last epoch"
        assert (tmp_path / name).stat().st_size > 2000
    assert path.plot().axes[-1].get_ylabel() == "\u25a0 loss, last epoch"
    assert {file.name for file in tmp_path.iterdir()} == {"path.png", "path.svg"}
    with pytest.raises(ValueError, match=r"`metric` must be one of \['loss', 'mae'\]"):
        path.plot(tmp_path / "other.png", metric="auc")
    with pytest.raises(ValueError, match=r"`path` must end with \.png or \.svg"):
        path.plot(tmp_path / "path.gif")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'kerasreg\[plot\]'"):
        path.plot(tmp_path / "other.png")
    assert len(list(tmp_path.iterdir())) == 2


def test_what_cannot_be_varied_is_refused():
    ramp = L1(keras.optimizers.schedules.PolynomialDecay(0.1, 10))
    for penalty, match in (
        (ramp, "whose strength is a number, not a schedule"),
        (keras.regularizers.L1(0.1), "must be a penalty of `kerasreg.regularizers`"),
    ):
        with pytest.raises(ValueError, match=match):
            train(linear(penalty), penalty)
    with pytest.raises(ValueError, match="`penalty` must be the regularizer of a trainable weight"):
        train(linear(L1(0.1)), L1(0.1))
    penalty = L1(0.1)
    with pytest.raises(ValueError, match="`model` must be a built and compiled model"):
        train(keras.Sequential([keras.layers.Dense(1, kernel_regularizer=penalty)]), penalty)
    for strengths in ([], [-0.1], [float("nan")], ["much"]):
        with pytest.raises(ValueError, match="`strengths` must be"):
            regularization_path(linear(penalty), penalty, strengths, *data())
