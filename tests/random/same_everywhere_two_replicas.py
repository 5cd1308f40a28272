"""Draws on two replicas; see test_same_everywhere.

A script, because logical devices are made before TensorFlow begins.

    python same_everywhere_two_replicas.py report.npz
"""

import sys

import numpy as np
import tensorflow as tf


def main(report):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    import test_same_everywhere as same

    from kerasreg.random import replica_id

    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert strategy.num_replicas_in_sync == 2
    found = {}
    for mode, options in (("graph", {}), ("XLA", {"jit_compile": True})):

        @tf.function(**options)
        def draw(step):
            # Read inside the replica, and by no other than the key.
            return same.at(step, replica=replica_id())

        @tf.function
        def on_all(step, draw=draw):
            return strategy.run(draw, [step])

        steps = [on_all(step) for step in tf.constant(same.STEPS)]
        for part, of_steps in enumerate(zip(*steps, strict=True)):
            of_replicas = [strategy.experimental_local_results(value) for value in of_steps]
            for replica, drawn in enumerate(zip(*of_replicas, strict=True)):
                found[f"{mode}/{replica}/{part}"] = np.stack(drawn)
    np.savez(report, **found)


if __name__ == "__main__":
    main(sys.argv[1])
