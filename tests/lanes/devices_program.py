"""What `test_devices.py` runs with four virtual devices: the same lanes on one, two and four.

Prints the largest differences of histories and weights, the scores of a search, what was refused,
and the devices that computed.
"""

import json
import sys
import tempfile

import keras
import numpy as np

from kerasreg import lanes, tuners


def virtual_devices(count):
    """Divides the processor into devices, before anything is computed. JAX has its own flag."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        processor = tf.config.list_physical_devices("CPU")[0]
        parts = [tf.config.LogicalDeviceConfiguration()] * count
        tf.config.set_logical_device_configuration(processor, parts)


def model(rate, seed):
    """A model with random masks, statistics and a ragged last batch."""
    kernels = [keras.initializers.GlorotUniform(seed + number) for number in range(2)]
    found = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(16, "relu", kernel_initializer=kernels[0]),
            keras.layers.Dropout(rate, seed=seed),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(1, "sigmoid", kernel_initializer=kernels[1]),
        ]
    )
    optimizer = keras.optimizers.Adam(0.01 * (seed + 1))
    found.compile(optimizer, "binary_crossentropy", metrics=["accuracy"])
    return found


def trained(count, devices, **arguments):
    """What the histories and the weights of lanes are in the end."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(110, 8)).astype("float32")
    y = (x[:, :1] > 0).astype("float32")
    of_lanes = lanes.Lanes(
        [model(0.1 * lane / count, lane) for lane in range(count)],
        jit_compile=arguments.pop("jit_compile", "auto"),
        devices=devices,
    )
    histories = of_lanes.fit(
        x, y, epochs=3, batch_size=32, validation_data=(x[:50], y[:50]), **arguments
    )
    values = [of.history[name] for of in histories for name in sorted(of.history)]
    return np.concatenate([np.ravel(values), *map(np.ravel, of_lanes.get_values())])


def searched(build, devices):
    """The scores of a search in folds whose trials are divided among devices."""
    generator = np.random.default_rng(1)
    x = generator.normal(size=(60, 8)).astype("float32")
    y = (x[:, :1] > 0).astype("float32")
    tuner = tuners.VectorizedRandomSearch(
        build,
        "val_loss",
        max_trials=7,
        max_lanes=4,
        folds=2,
        seed=3,
        devices=devices,
        directory=tempfile.mkdtemp(),
    )
    tuner.search(x, y, epochs=2, verbose=0)
    rows = tuner.lane_report().rows
    return [trial.score for trial in tuner.oracle.trials.values()], rows[0].at_once


def devices_that_computed(run):
    """The names of the devices that have what the shares of lanes became in a run."""
    seen = set()
    if keras.backend.backend() == "jax":
        from kerasreg.lanes._jax import JaxProgram as where

        name = "run"

        def see(found):
            seen.update(str(device) for part in found for device in part.devices())

    else:
        from kerasreg.lanes import _tensorflow as where

        name = "at_once"

        def see(found):
            seen.update(tensor.device for part in found for tensor in part)

    before = getattr(where, name)

    def watched(*arguments):
        found = before(*arguments)
        see(found)
        return found

    setattr(where, name, watched)
    try:
        run()
    finally:
        setattr(where, name, before)
    return sorted(seen)


def main():
    virtual_devices(4)
    names = keras.distribution.list_devices("cpu")
    differences = {}
    for count, compiled, seed in ((5, True, 3), (5, True, [1, 2, 3, 4, 5]), (3, False, 3)):
        one = trained(count, None, jit_compile=compiled, seed=seed)
        for few in (2, 4):
            several = trained(count, names[:few], jit_compile=compiled, seed=seed)
            key = f"{count} lanes, {compiled}, {type(seed).__name__}, {few} devices"
            differences[key] = float(np.abs(one - several).max())

    def build(hp):
        return model(hp.Float("rate", 0.0, 0.5), 1)

    scores, of_one = searched(build, None)
    of_two, at_once = searched(build, names[:2])
    print(
        json.dumps(
            {
                "devices": names,
                "differences": differences,
                "scores": [scores, of_two],
                "at once": [of_one, at_once],
                "computed": devices_that_computed(lambda: trained(6, names[:3])),
            }
        )
    )


if __name__ == "__main__":
    sys.exit(main())
