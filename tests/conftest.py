"""What all tests share: quiet TensorFlow, two threads, a clean Keras before each test."""

import os
import subprocess
import sys

# Before TensorFlow is loaded, also in the processes that tests start.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import pytest


@pytest.fixture(autouse=True)
def clean_keras():
    """Each test begins with float32, no names taken and the same global seed."""
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="session")
def run_python():
    """Runs Python with arguments in a process of its own, and returns what it printed.

    The process imports what this one can; keyword arguments are environment variables.
    """

    def run(*arguments, **environment):
        paths = os.pathsep.join(filter(None, sys.path))
        process = subprocess.run(
            [sys.executable, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": paths, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert process.returncode == 0, process.stderr[-4000:]
        return process.stdout

    return run
