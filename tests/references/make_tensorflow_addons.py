"""Writes tensorflow_addons.npz: what TensorFlow Addons 0.23 does, for tests of its successors.

Runs where TensorFlow and, without their own requirements, `tensorflow-addons==0.23.0`,
`tf_keras` of TensorFlow's version and `typeguard<3` are installed:

    python make_tensorflow_addons.py
"""

import itertools
import json
import os
import pathlib
import sys

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow as tf
import tf_keras

# Addons imports private modules of Keras 2, under the name that they had then.
import tf_keras.src.engine.keras_tensor
import tf_keras.src.utils.tf_utils  # noqa: F401

for name, module in list(sys.modules.items()):
    if name == "tf_keras" or name.startswith("tf_keras."):
        sys.modules[name.replace("tf_keras", "keras", 1)] = module

import tensorflow_addons as tfa  # noqa: E402

STEPS = 50
legacy = tf.keras.optimizers.legacy
rng = np.random.default_rng(7)
FOUND = {}
ARGUMENTS = {"versions": {"tensorflow": tf.__version__, "tensorflow_addons": tfa.__version__}}


def keep(name, values, **arguments):
    FOUND[name] = np.asarray(values, "float64")
    ARGUMENTS[name] = arguments


def cycles():
    """Learning rates at steps 0 to 9999, computed in float64."""
    steps = tf.constant(np.arange(10_000), "float64")
    low, high = tf.constant(1e-4, "float64"), tf.constant(1e-2, "float64")
    families = {
        "triangular": tfa.optimizers.TriangularCyclicalLearningRate(low, high, 700),
        "triangular2": tfa.optimizers.Triangular2CyclicalLearningRate(low, high, 700),
        "exponential": tfa.optimizers.ExponentialCyclicalLearningRate(
            low, high, 700, gamma=tf.constant(0.9995, "float64")
        ),
        # Of the steps, not of the cycles.
        "own_scale": tfa.optimizers.CyclicalLearningRate(
            low, high, 700, scale_fn=lambda step: 1.0 / (1.0 + 1e-3 * step), scale_mode="iterations"
        ),
    }
    for name, schedule in families.items():
        keep(f"cyclical_{name}", schedule(steps), low=1e-4, high=1e-2, step_size=700)


def problem(sizes):
    """A linear network of layers with these sizes, and its loss, in float64."""
    x, y = rng.normal(size=(32, sizes[0])), rng.normal(size=(32, sizes[-1]))
    weights = []
    for layer, (before, after) in enumerate(itertools.pairwise(sizes)):
        weights.append((f"dense{layer}/kernel", rng.normal(size=(before, after))))
        weights.append((f"dense{layer}/bias", rng.normal(size=after)))
    return x, y, weights


def train(name, optimizer, x, y, weights, average=False, **arguments):
    """Keeps the weights after each step, and for `average` its averages.

    Those are of float32: its `SWA` takes no other.
    """
    dtype = "float32" if average else "float64"
    x, y = x.astype(dtype), y.astype(dtype)
    variables = [tf.Variable(value.astype(dtype), name=path) for path, value in weights]
    trajectory, averages = [], []
    for _ in range(STEPS):
        with tf.GradientTape() as tape:
            out = tf.constant(x)
            for kernel, bias in zip(variables[::2], variables[1::2], strict=True):
                out = out @ kernel + bias
            loss = tf.reduce_mean(tf.square(out - y))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        trajectory.append(np.concatenate([v.numpy().ravel() for v in variables]))
        if average:
            slots = [optimizer.get_slot(v, "average") for v in variables]
            averages.append(np.concatenate([slot.numpy().ravel() for slot in slots]))
    keep(name, trajectory, **arguments)
    if average:
        keep(f"{name}_averages", averages)
        optimizer.assign_average_vars(variables)
        keep(f"{name}_final", np.concatenate([v.numpy().ravel() for v in variables]))


# Learning rates and betas have few bits, as one or the other Keras keeps them in float32.
BETAS = {"beta_1": 0.875, "beta_2": 0.984375}


def optimizers():
    one = problem((4, 3))
    FOUND["x"], FOUND["y"] = one[:2]
    FOUND["kernel"], FOUND["bias"] = (value for _, value in one[2])
    train(
        "lookahead_sgd",
        tfa.optimizers.Lookahead(legacy.SGD(0.125, momentum=0.9), 5, 0.5),
        *one,
        learning_rate=0.125,
        momentum=0.9,
        sync_period=5,
        slow_step_size=0.5,
    )
    train(
        "lookahead_adam",
        tfa.optimizers.Lookahead(legacy.Adam(0.0625, **BETAS), 6, 0.3),
        *one,
        learning_rate=0.0625,
        **BETAS,
        sync_period=6,
        slow_step_size=0.3,
    )
    train(
        "swa",
        tfa.optimizers.SWA(legacy.SGD(0.125), start_averaging=10, average_period=4),
        *one,
        average=True,
        learning_rate=0.125,
        start_averaging=10,
        average_period=4,
    )
    train(
        "sgdw",
        tfa.optimizers.SGDW(1e-2, 0.125, momentum=0.9),
        *one,
        weight_decay=1e-2,
        learning_rate=0.125,
        momentum=0.9,
    )
    train(
        "adamw",
        tfa.optimizers.AdamW(1e-2, 0.0625, **BETAS),
        *one,
        weight_decay=1e-2,
        learning_rate=0.0625,
    )
    train(
        "sgdw_without_bias",
        tfa.optimizers.SGDW(1e-2, 0.125, momentum=0.9, exclude_from_weight_decay=["bias"]),
        *one,
        weight_decay=1e-2,
        learning_rate=0.125,
        momentum=0.9,
    )
    extended = tfa.optimizers.extend_with_decoupled_weight_decay(legacy.RMSprop)
    train(
        "rmspropw",
        extended(weight_decay=1e-2, learning_rate=0.0078125, rho=0.875, epsilon=1e-14),
        *one,
        weight_decay=1e-2,
        learning_rate=0.0078125,
    )
    x, y, weights = problem((4, 5, 3))
    FOUND["deep_x"], FOUND["deep_y"] = x, y
    for path, value in weights:
        FOUND[f"deep_{path.replace('/', '_')}"] = value
    layers = [
        [f"{path}:0" for path, _ in weights if path.startswith(f"dense{layer}")]
        for layer in range(2)
    ]
    specs = [
        tfa.optimizers.MultiOptimizer.create_optimizer_spec(legacy.SGD(rate), [])
        for rate in (0.0078125, 0.0625)
    ]
    for spec, names in zip(specs, layers, strict=True):
        spec["weights"] = names
    train(
        "multi_sgd",
        tfa.optimizers.MultiOptimizer(optimizer_specs=specs),
        x,
        y,
        weights,
        learning_rates=[0.0078125, 0.0625],
    )


cycles()
optimizers()
FOUND["arguments"] = np.array(json.dumps(ARGUMENTS))
np.savez_compressed(pathlib.Path(__file__).with_name("tensorflow_addons.npz"), **FOUND)
print({name: value.shape for name, value in FOUND.items()}, ARGUMENTS["versions"])
