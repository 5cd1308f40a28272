"""What every noisy layer gives on each of two replicas; see test_keras_expectations.

A script, because logical devices are made before TensorFlow begins.

    python noise_of_two_replicas.py report.json
"""

import json
import sys

import tensorflow as tf


def main(report):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    import numpy as np
    import test_keras_expectations as expectations

    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    found = {}
    for name in expectations.LAYERS:
        x = expectations.example_input(name)
        with strategy.scope():
            layer = expectations.make(name)
            layer.build(x.shape)

        @tf.function
        def outputs(layer=layer, x=x):
            return strategy.run(lambda: layer(x, training=True))

        per_step = [strategy.experimental_local_results(outputs()) for _ in range(2)]
        found[name] = {
            "outputs": [[np.array(y).ravel().tolist() for y in step] for step in per_step],
            "step": int(np.array(layer.step)),
        }
    with open(report, "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main(sys.argv[1])
