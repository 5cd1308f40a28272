"""Models of different widths that differ in rates of zero, numbers of functions, or their steps."""

import keras
import numpy as np

from kerasreg.lanes import Lanes, why_not_padded

layers = keras.layers
X = np.random.default_rng(0).uniform(size=(40, 6)).astype("float32")
Y = np.random.default_rng(1).uniform(size=(40, 3)).astype("float32")


class Own(keras.Model):
    def train_step(self, data):
        return super().train_step(data)


def build(units, rate, number=0.5, kind=keras.Model):
    keras.utils.set_random_seed(3)
    inputs = keras.Input((6,))
    hidden = layers.Dropout(rate, seed=3)(layers.Dense(units, "relu")(inputs))
    model = kind(inputs, layers.Dense(3)(hidden * number))
    loss = lambda y, p: number * keras.ops.mean(keras.ops.square(y - p), axis=-1)  # noqa: E731
    model.compile(keras.optimizers.SGD(0.1), loss, jit_compile=False)
    return model


def test_a_narrow_model_without_a_rate_is_a_lane_of_a_wide_one_with_it(equal_models):
    for rates in ((0.5, 0.0), (0.0, 0.5)):
        wide, narrow = build(6, rates[0]), build(4, rates[1], 0.25)
        assert why_not_padded(narrow, wide) is None
        together = Lanes([wide, narrow], False)
        together.fit(X, Y, 16, 2, seed=1)
        alone = Lanes([build(4, rates[1], 0.25)], False)
        alone.fit(X, Y, 16, 2, seed=1)
        for found, expected in zip(
            together.unstack(1).get_weights(), alone.unstack(0).get_weights(), strict=True
        ):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_a_step_of_its_own_would_see_the_zeros():
    assert "`train_step` of its own" in why_not_padded(
        build(4, 0.5, kind=Own), build(6, 0.5, kind=Own)
    )
