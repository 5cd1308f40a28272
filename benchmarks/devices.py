"""Lanes on two devices of one thread each beside one device of one thread.

Usage: python benchmarks/devices.py [--backends=tensorflow,jax] [--rounds=5] [--trials=64]

The devices are virtual: parts of the processor, and each has one core. A search of dense networks,
64 trials as 32 lanes for each device, is run in a process of its own, twice: first its programs are
compiled, then it is measured, with few samples and with many. Printed are the trials of a second,
and their ratio with its spread; with two cores and no exchange it would be 2. What a search does
between epochs is not divided among devices: it takes a larger part of short epochs.
"""

import argparse
import json
import os
import sys
import tempfile
import time

from _processes import in_process, spread
from _results import recording
from _small_network import build, data

BATCH = 64
# Epochs for each number of samples.
EPOCHS = {2048: 40, 32768: 5}


def measured(devices, samples, trials):
    """The trials of a second of a search on so many devices, compiled before."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[:devices])
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        processor = tf.config.list_physical_devices("CPU")[0]
        parts = [tf.config.LogicalDeviceConfiguration()] * devices
        tf.config.set_logical_device_configuration(processor, parts)
        # A thread for each device: they have the pool in common.
        tf.config.threading.set_intra_op_parallelism_threads(devices)
    import kerasreg

    x, y = data(samples)

    def search():
        tuner = kerasreg.tuners.VectorizedRandomSearch(
            build,
            "val_loss",
            max_trials=trials,
            max_lanes=32,
            seed=1,
            jit_compile=True,
            devices=keras.distribution.list_devices("cpu") if devices > 1 else None,
            directory=tempfile.mkdtemp(),
        )
        begun = time.perf_counter()
        validation_data = x[:256], y[:256]
        tuner.search(
            x,
            y,
            epochs=EPOCHS[samples],
            batch_size=BATCH,
            validation_data=validation_data,
            verbose=0,
        )
        return trials / (time.perf_counter() - begun)

    search()
    return search()


def main(results):
    """Measures in turn, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backends", default="tensorflow,jax")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--samples", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measured(arguments.one, arguments.samples, arguments.trials)))
        return
    if (os.cpu_count() or 1) < 2:
        sys.exit("two devices of one thread each need two cores")
    print(f"{'backend':12}{'samples':>8}{'trials/s of one':>24}{'of two':>24}{'ratio':>20}")
    for backend in arguments.backends.split(","):
        os.environ["KERAS_BACKEND"] = backend
        for samples in EPOCHS:
            compare(backend, samples, arguments, results)


def compare(backend, samples, arguments, results):
    """One line of the table."""
    found = {count: [] for count in (1, 2)}
    for _ in range(arguments.rounds):
        for count, rates in found.items():
            given = "--one", count, "--samples", samples, "--trials", arguments.trials
            rates.append(in_process(__file__, *given))
    ratios = [two / one for one, two in zip(found[1], found[2], strict=True)]
    cells = spread(found[1]), spread(found[2]), spread(ratios)
    print(f"{backend:12}{samples:>8}{cells[0]:>24}{cells[1]:>24}{cells[2]:>20}", flush=True)
    results.of(
        f"{backend}.{samples}_samples.two_over_one",
        ratios,
        f"trials of a second on two virtual devices of one core, in ratio to one, {backend}, "
        f"{samples} samples",
        headline=True,
    )


if __name__ == "__main__":
    with recording() as results:
        main(results)
