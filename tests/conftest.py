"""What all tests share: quiet TensorFlow, a clean Keras before each test, parts of a suite."""

import gc
import os
import sys
import types
import zlib

# Before TensorFlow is loaded, also in the processes that tests start.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import pytest
import tensorflow as tf
from helpers import processes
from keras.src.backend.common import global_state
from keras_tuner.src.engine import tuner as tuner_module
from tensorflow.python.framework import ops

from kerasreg import serving

_GRADIENTS = ops.gradient_registry._registry

# Programs that run where other packages are; pytest looks into every module for docstrings.
collect_ignore_glob = ["references/*"]


def pytest_addoption(parser):
    parser.addoption("--part", default="1/1", help="K/N: the K-th of N parts of the tests")
    parser.addoption(
        "--optimize-graphs", action="store_true", help="with TensorFlow's optimizer of graphs"
    )


def pytest_configure(config):
    # TensorFlow optimizes the graphs of each pass over data and of each function anew. This is a
    # sixth of all the time, and changes no more than rounding. The long tests run with it.
    if not config.getoption("optimize_graphs"):
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def pytest_collection_modifyitems(config, items):
    part, parts = map(int, config.getoption("part").split("/"))
    chosen, others = [], []
    for item in items:
        # By name, so that a test is in the same part wherever it stands. Its values of parameters
        # go to different parts: some tests have hundreds, which would be one part's alone.
        is_chosen = zlib.crc32(item.nodeid.encode()) % parts == part - 1
        (chosen if is_chosen else others).append(item)
    config.hook.pytest_deselected(items=others)
    items[:] = chosen


def pytest_collection_finish(session):
    # What the imports made lives as long as the process, and need not be looked at again in each
    # collection of garbage, of which KerasTuner asks one for each trial.
    gc.collect()
    gc.freeze()
    # Traces are many objects that live on: to look for garbage among them so often takes a
    # twentieth of all the time.
    gc.set_threshold(50_000, 20, 20)
    # Nor is it looked for in each search, and for each trial, as Keras and KerasTuner do.
    no_collection = types.SimpleNamespace(collect=lambda *generation: 0)
    global_state.gc = tuner_module.gc = no_collection


@pytest.fixture(autouse=True)
def clean_keras(request):
    """Each test begins with float32, no names taken and the same global seed."""
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    # What is traced, and how often, depends on no other test where it is counted.
    if request.node.get_closest_marker("shares_programs") is None:
        _forget_programs()
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    # TensorFlow keeps the gradients that a graph defines itself as long as the process lives, and
    # each training of Keras has some: with them its graphs, its model and its data stay in memory.
    for name in [name for name in _GRADIENTS if name.startswith("CustomGradient-")]:
        del _GRADIENTS[name]


def _forget_programs():
    if "kerasreg.lanes" in sys.modules:
        sys.modules["kerasreg.lanes._programs"].clear()


@pytest.fixture
def no_programs():
    """A test that counts what is traced, of a file whose other tests share programs."""
    _forget_programs()


@pytest.fixture(scope="module", autouse=True)
def no_garbage_is_left():
    """Memory holds what tests use: a collection takes as long as it is large."""
    _forget_programs()
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def one_verifier():
    """All exports are verified by one process; tests of the verification start others."""
    with serving.verifier():
        yield


@pytest.fixture(scope="session")
def run_python():
    """Runs Python with arguments in a process of its own; see `helpers.processes`."""
    return processes.run_python
