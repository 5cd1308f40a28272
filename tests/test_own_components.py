"""Components that a user derives from the base classes, as their docstrings say."""

import keras
import numpy as np
from keras import ops

from kerasreg import layers, optimizers, random, regularizers, schedules


@keras.saving.register_keras_serializable("tests_of_own")
class SquareRoot(schedules.Schedule):
    """`value(t) = end · √(t / steps)`, and `end` from `steps` on."""

    continuous = True

    def __init__(self, end, steps):
        self.end, self.steps = end, steps

    def __call__(self, step):
        return self.end * ops.sqrt(ops.minimum(ops.cast(step, "float32") / self.steps, 1.0))

    def get_config(self):
        return {"end": self.end, "steps": self.steps}

    @property
    def bounds(self):
        return 0.0, self.end

    @property
    def length(self):
        return self.steps


@keras.saving.register_keras_serializable("tests_of_own")
class Negative(regularizers.Penalty):
    """`Σ max(-w, 0)`."""

    prox_order = "after"

    def unit_penalty(self, w):
        return ops.sum(ops.maximum(-w, 0.0))

    def unit_prox(self, v, t):
        return ops.where(v < 0.0, ops.minimum(v + t, 0.0), v)


@keras.saving.register_keras_serializable("tests_of_own")
class FlippedSigns(layers.BaseScheduledDropout):
    """Flips the sign of a fraction of the elements."""

    maximum_rate = 0.5

    def drop(self, inputs, rate, key):
        kept, _ = random.keep_mask(ops.shape(inputs), rate, key)
        return ops.where(kept, inputs, -inputs)


X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")


def test_components_of_ones_own_train_are_saved_and_go_on(tmp_path):
    keras.utils.set_random_seed(1)
    penalty = Negative(SquareRoot(0.5, 8)) + regularizers.L1(1.0)
    dense = keras.layers.Dense(4, kernel_regularizer=penalty)
    model = keras.Sequential([keras.Input((4,)), FlippedSigns(SquareRoot(0.4, 8), seed=1), dense])
    model.compile(optimizers.Proximal(keras.optimizers.SGD(0.1)), "mse", jit_compile=False)
    model.fit(X, -X, batch_size=8, epochs=1, shuffle=False, verbose=0)
    assert np.count_nonzero(dense.kernel.numpy() == 0.0) > 0
    model.save(tmp_path / "own.keras")
    loaded = keras.models.load_model(tmp_path / "own.keras")
    for one in (model, loaded):
        one.fit(X, -X, batch_size=8, epochs=1, shuffle=False, verbose=0)
    for ours, theirs in zip(model.variables, loaded.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    assert int(loaded.layers[0].step) == 8
    assert loaded.layers[0].schedule == SquareRoot(0.4, 8)


def test_bounds_of_ones_own_are_believed_and_others_are_tried():
    asked = []

    class Counted(SquareRoot):
        def __call__(self, step):
            asked.append(step)
            return super().__call__(step)

    class Unbounded(Counted):
        bounds = schedules.Schedule.bounds

    regularizers.L1(Counted(0.5, 10))
    known = len(asked)
    regularizers.L1(Unbounded(0.5, 10))
    assert known == 1
    assert len(asked) - known > 10


def test_monte_carlo_gives_equal_noise_for_equal_words_and_counts_no_step():
    layer, x = layers.ScheduledDropout(schedules.Linear(0.5, 0.0, 9), seed=1), np.ones((1, 64))

    def drawn(*words):
        with layers.monte_carlo(*words):
            return ops.convert_to_numpy(layer(x))

    trained = ops.convert_to_numpy(layer(x, training=True))
    samples = [drawn(7, 0), drawn(7, 1), drawn(8, 0), trained]
    assert len({sample.tobytes() for sample in samples}) == 4
    np.testing.assert_array_equal(drawn(7, 1), samples[1])
    assert (int(layer.step), float(layer.rate)) == (1, 0.5)
    np.testing.assert_array_equal(layer(x), x)


def test_mix_is_a_bijection_and_equal_for_integers_and_tensors():
    x = np.arange(2**16, dtype="uint32")
    mixed = ops.convert_to_numpy(random.mix(ops.convert_to_tensor(x)))
    assert len(np.unique(mixed)) == len(x)
    assert mixed[[0, 1, 2**16 - 1]].tolist() == [random.mix(k) for k in (0, 1, 2**16 - 1)]
