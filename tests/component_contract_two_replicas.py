"""Trains with components on one device and on two replicas; see test_component_contract.

A script, because two strategies in one process may crash, and because logical
devices are made before TensorFlow begins.

    python component_contract_two_replicas.py report.json NAME ...
"""

import json
import sys

import tensorflow as tf


def main(report, *names):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    import keras
    import numpy as np
    import test_component_contract as contract

    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert strategy.num_replicas_in_sync == 2

    def component(name):
        if name == "none":
            return None
        if name not in contract.NOISY:
            return contract.make(name)
        arguments = contract.arguments_of(name, 0)
        if "rate" in arguments:
            arguments["rate"] = 0.0
        else:  # A rate that is learned: as small as it may be, so that nothing is dropped.
            arguments |= {"initial_rate": 0.001, "temperature": 0.01}
        return contract.COMPONENTS[name](**arguments)

    def train(name):
        keras.utils.set_random_seed(0)
        used = component(name)
        model, callbacks = contract.model_with(used)
        contract.fit(model, callbacks)
        weights = np.concatenate([weight.ravel() for weight in model.get_weights()])
        # Not what it learns, nor slots, which are sums over replicas: weights are compared,
        # to a tolerance.
        variables = [value for value in getattr(used, "variables", []) if not value.trainable]
        if isinstance(used, keras.optimizers.Optimizer):
            variables = [used.iterations, used.learning_rate]
        return weights.tolist(), [keras.ops.convert_to_numpy(value).tolist() for value in variables]

    weights, state = {}, {}
    for name in ["none", *names]:
        one = train(name)
        with strategy.scope():
            two = train(name)
        weights[name] = {"1": one[0], "2": two[0]}
        state[name] = {"1": one[1], "2": two[1]}

    with strategy.scope():
        layer = contract.COMPONENTS["layers.ScheduledDropout"](0.5, seed=1)

    @tf.function
    def masks():
        return strategy.run(lambda: layer(tf.ones((32, 32)), training=True) > 0)

    masks = strategy.experimental_local_results(masks())
    found = {"weights": weights, "state": state, "masks": [np.array(m).tolist() for m in masks]}
    with open(report, "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
