"""Runs the tests that make sense on a GPU or a TPU there, or says that there is none.

Usage: python tools/device_tests.py gpu|tpu [ARGUMENTS OF PYTEST]

On a GPU everything that TensorFlow computes is placed there by itself: random bits and masks,
penalties, optimizers, lanes beside the same models trained alone, searches. On a TPU these are the
tests whose programs compute with JAX. Products are in full precision, since the tests compare what
is to be equal. The exit code is 1 if there is no such device, otherwise pytest's.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent

# What tells whether there is a device: prints their names.
DEVICES = {
    "gpu": "import tensorflow as tf; "
    "print(*[device.name for device in tf.config.list_physical_devices('GPU')])",
    "tpu": "import jax; print(*[d for d in jax.devices() if d.platform == 'tpu'])",
}
MISSING = {
    "gpu": "TensorFlow sees no GPU here. It needs a driver of NVIDIA's, and "
    '`pip install "tensorflow[and-cuda]"` in the place of tensorflow-cpu.',
    "tpu": 'JAX sees no TPU here. It needs a Cloud TPU VM, and `pip install "jax[tpu]"`.',
}
TESTS = {
    "gpu": (
        "tests/random",
        "tests/regularizers",
        "tests/layers/test_scheduled_dropout.py",
        "tests/optimizers",
        "tests/lanes/test_training.py",
        "tests/lanes/test_equivalence.py",
        "tests/lanes/test_convolution.py",
        "tests/lanes/test_recurrence.py",
        "tests/tuners/test_vectorized.py",
        "tests/tuners/test_folds.py",
        "tests/test_exact_resume.py",
    ),
    "tpu": (
        "tests/lanes/test_jax.py",
        "tests/lanes/test_jax_training.py",
        "tests/lanes/test_streams_on_jax.py",
        "tests/random/test_same_everywhere.py",
        "tests/test_backends.py",
    ),
}
ENVIRONMENT = {
    # Both round inputs of products to fewer bits by default.
    "gpu": {"NVIDIA_TF32_OVERRIDE": "0", "TF_FORCE_GPU_ALLOW_GROWTH": "true"},
    "tpu": {"JAX_DEFAULT_MATMUL_PRECISION": "highest"},
}


def devices(kind: str) -> str:
    """The names of the devices of a kind, as a process of its own finds them; "" for none."""
    command = [sys.executable, "-c", DEVICES[kind]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def main(arguments: list[str]) -> int:
    """Runs the tests; returns the exit code."""
    if not arguments or arguments[0] not in TESTS:
        print(f"usage: device_tests.py {'|'.join(TESTS)} [ARGUMENTS OF PYTEST]", file=sys.stderr)
        return 2
    kind, *more = arguments
    found = devices(kind)
    if not found:
        print(f"no {kind.upper()}: {MISSING[kind]}", file=sys.stderr)
        return 1
    print(f"{kind.upper()}: {found}", flush=True)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--optimize-graphs",
        "-m",
        "not exports and not slow and not chaos",
    ]
    environment = {**os.environ, **ENVIRONMENT[kind]}
    done = subprocess.run([*command, *TESTS[kind], *more], cwd=ROOT, env=environment, check=False)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
