"""Components compute the same on Keras' JAX backend as on TensorFlow."""

import json

import pytest

pytestmark = pytest.mark.long

PROGRAM = """
import json, sys, keras, numpy as np
theirs = {name.partition(".")[0] for name in sys.modules}
import kerasreg
more = {name.partition(".")[0] for name in sys.modules} - theirs
from keras import ops
ramp = keras.optimizers.schedules.PolynomialDecay
shared = kerasreg.regularizers.L2(ramp(0.0, 20, 0.1))
dropout = kerasreg.layers.ScheduledDropout(ramp(0.0, 20, 0.5), seed=3)
constant = keras.initializers.Constant
model = keras.Sequential([
    keras.Input((8,)),
    keras.layers.Dense(16, "relu", kernel_initializer=constant(0.1), kernel_regularizer=shared),
    dropout,
    keras.layers.Dense(4, kernel_initializer=constant(-0.2), kernel_regularizer=shared),
])
model.compile(keras.optimizers.SGD(0.01), "mse")
x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
policy = kerasreg.callbacks.StepDecay(0.01, 0.5, every=2)
history = model.fit(x, x[:, :4], batch_size=16, epochs=4, shuffle=False, verbose=0,
                    callbacks=[policy])
model.evaluate(x, x[:, :4], verbose=0)
assert kerasreg.callbacks.FixedLearningRate(0.5).value(3) == 0.5
layers = kerasreg.layers
image = hidden = keras.Input((8, 8, 4))
hidden = layers.ScheduledSpatialDropout2D(ramp(0.1, 10, 0.5), seed=1)(hidden)
convolution = keras.layers.Conv2D(4, 3, padding="same", kernel_initializer=constant(0.05))
hidden = layers.DropConnect(convolution, 0.2, seed=3)(hidden)
hidden = layers.ScheduledDropBlock2D(ramp(0.1, 10, 0.5), 3, seed=2)(hidden)
hidden = layers.ScheduledStochasticDepth(0.3, seed=4)([image, hidden])
hidden = keras.layers.Flatten()(hidden)
hidden = layers.ScheduledGaussianDropout(0.1, seed=5)(hidden)
hidden = layers.ScheduledAlphaDropout(0.1, seed=6)(hidden)
dense = keras.layers.Dense(1, kernel_initializer=constant(0.05))
family = keras.Model(image, layers.ConcreteDropout(dense, seed=7)(hidden))
family.compile(keras.optimizers.SGD(0.01), "mse")
images = np.random.default_rng(1).normal(size=(32, 8, 8, 4)).astype("float32")
targets = images.mean(axis=(1, 2))[:, :1]
family_history = family.fit(images, targets, epochs=3, shuffle=False, verbose=0)
samples = kerasreg.models.mc_predict(family, images, passes=8)
inputs = keras.Input((8,))
hidden = keras.layers.Dense(6, "tanh", kernel_initializer=constant(0.1))(inputs)
hidden = layers.MixUp(ramp(2.0, 10, 0.2), seed=1)(hidden)
head = keras.layers.Dense(4, kernel_initializer=constant(-0.2), name="head")
mixing = kerasreg.models.MixUpModel(inputs, head(hidden))
mixing.compile(kerasreg.optimizers.LayerLearningRates(
    keras.optimizers.Adam(0.01), {"head": ramp(0.0, 10, 2.0)}, default=0.5), "mse")
mixing_history = mixing.fit(x, x[:, :4], batch_size=16, epochs=4, shuffle=False, verbose=0)
Proximal, L1, GroupLasso = kerasreg.optimizers.Proximal, *(
    getattr(kerasreg.regularizers, name) for name in ("L1", "GroupLasso"))
inner = {
    "momentum": keras.optimizers.SGD(0.1, momentum=0.5, nesterov=True, clipnorm=1.0,
                                     gradient_accumulation_steps=2),
    "adam": keras.optimizers.Adam(0.01),
    "averages": keras.optimizers.RMSprop(0.01, momentum=0.5, use_ema=True, ema_momentum=0.5),
}
sparse = {}
for name, optimizer in inner.items():
    layer = keras.layers.Dense(4, kernel_initializer=constant(0.1), kernel_regularizer=
                               GroupLasso(0.1, axis=0) if name == "adam" else L1(ramp(0.0, 8, 0.5)))
    proximal = keras.Sequential([layer])
    proximal.compile(Proximal(optimizer), "mse")
    options = {"batch_size": 16, "epochs": 4, "shuffle": False}
    if keras.backend.backend() == "jax":
        from kerasreg.lanes import Lanes
        proximal.build((None, 8))
        lanes = Lanes([proximal])
        losses = lanes.fit(x, x[:, :4], **options)[0].history["loss"]
        lanes.unstack(0)
    else:
        losses = proximal.fit(x, x[:, :4], **options, verbose=0).history["loss"]
    sparse[name] = [losses, ops.convert_to_numpy(layer.kernel).tolist()]
refused = ""
if keras.backend.backend() == "jax":
    proximal.compile(Proximal(keras.optimizers.SGD(0.01)), "mse")
    try:
        proximal.fit(x, x[:, :4], verbose=0)
    except ValueError as error:
        refused = str(error)
mask, scale = kerasreg.random.keep_mask((64,), 0.3, kerasreg.random.key(7, 11))
noisy = [keras.Sequential([keras.Input((2,)), keras.layers.Dense(1), keras.layers.Dropout(0.5)])
         for _ in range(2)]
both = kerasreg.models.Ensemble(noisy)
predicted = [one.predict(np.ones((3, 2)), verbose=0) for one in (*noisy, *both.members(), both)]
print(json.dumps({
    "predicted": [values.ravel().tolist() for values in predicted],
    "backend": keras.backend.backend(),
    "more": sorted(more - set(sys.stdlib_module_names)),
    "steps": int(dropout.step),
    "rate": float(ops.convert_to_numpy(dropout.rate)),
    "strength": float(ops.convert_to_numpy(shared.strength)),
    "mask": ops.convert_to_numpy(mask).astype(int).tolist(),
    "scale": float(ops.convert_to_numpy(scale)),
    "losses": history.history["loss"],
    "sparse": sparse,
    "refused": refused,
    "mixing": mixing_history.history["loss"],
    "family": family_history.history["loss"],
    "samples": [samples.mean.ravel().tolist(), samples.variance.ravel().tolist()],
    "learning_rates": history.history["learning_rate"],
}))
"""


@pytest.fixture(scope="module")
def results(run_python):
    printed = (run_python("-c", PROGRAM, KERAS_BACKEND=name) for name in ("tensorflow", "jax"))
    return tuple(json.loads(lines.splitlines()[-1]) for lines in printed)


def test_each_ran_on_its_backend(results):
    assert [result["backend"] for result in results] == ["tensorflow", "jax"]


def test_nothing_but_keras_is_imported_with_the_package(results):
    """On JAX no TensorFlow either, and on both no KerasTuner, scikit-learn, pandas or SciPy."""
    for result in results:
        assert result["more"] == ["kerasreg"]


def test_masks_are_equal_to_the_bit(results):
    tensorflow, jax = results
    assert tensorflow["mask"] == jax["mask"]
    assert tensorflow["scale"] == jax["scale"]


def test_schedules_count_training_steps_once_each(results):
    for result in results:
        assert result["steps"] == 16
        assert result["rate"] == pytest.approx(0.5 * 15 / 20)
        assert result["strength"] == pytest.approx(0.1 * 15 / 20)


def test_trainings_agree(results):
    tensorflow, jax = results
    assert tensorflow["losses"] == pytest.approx(jax["losses"], rel=1e-5)
    assert tensorflow["learning_rates"] == pytest.approx([0.01, 0.01, 0.005, 0.005])
    assert jax["learning_rates"] == tensorflow["learning_rates"]


def test_all_kinds_of_dropout_agree(results):
    tensorflow, jax = results
    assert tensorflow["family"] == pytest.approx(jax["family"], rel=1e-5)
    for theirs, ours in zip(tensorflow["samples"], jax["samples"], strict=True):
        assert theirs == pytest.approx(ours, rel=1e-4, abs=1e-5)


def test_mixtures_and_learning_rates_of_layers_agree(results):
    tensorflow, jax = results
    assert tensorflow["mixing"] == pytest.approx(jax["mixing"], rel=1e-5)


@pytest.mark.parametrize("name", ["momentum", "adam", "averages"])
def test_proximal_steps_agree(results, name):
    """Those of Keras' `fit` on TensorFlow and of a lane on JAX."""
    tensorflow, jax = (result["sparse"][name] for result in results)
    assert tensorflow[0] == pytest.approx(jax[0], rel=1e-5)
    zeros = 0
    for theirs, ours in zip(tensorflow[1], jax[1], strict=True):
        assert theirs == pytest.approx(ours, rel=1e-4, abs=1e-6)
        zeros += theirs.count(0.0)
        assert ours.count(0.0) == theirs.count(0.0)
    if name != "averages":  # Which have none of their own.
        assert zeros > 0


def test_a_fit_that_shows_an_optimizer_no_strengths_is_refused(results):
    assert "`Proximal` does not train in `fit` of Keras on the JAX backend" in results[1]["refused"]


def test_members_predict_one_after_the_other(results):
    """JAX deletes arrays of a model that predicts: no other model may have them."""
    for result in results:
        first, second, *members, both = result["predicted"]
        assert members == [pytest.approx(first), pytest.approx(second)]
        assert both == pytest.approx([(a + b) / 2 for a, b in zip(first, second, strict=True)])
