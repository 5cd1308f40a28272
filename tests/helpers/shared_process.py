"""The process in which tests run one after the other: what makes it fast, and clean for each."""

import functools
import gc
import os
import sys
import types

import keras
import pytest
import tensorflow as tf
from keras.src.backend.common import global_state
from keras_tuner.src.engine import tuner as tuner_module
from tensorflow.python.framework import ops

from kerasreg import serving

_GRADIENTS = ops.gradient_registry._registry


def prepare(optimize_graphs):
    """Before anything is traced."""
    # TensorFlow optimizes the graphs of each pass over data and of each function anew. This is a
    # sixth of all the time, and changes no more than rounding. The long tests run with it.
    if not optimize_graphs:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
        # And what XLA makes runs for milliseconds: to optimize it takes a fifth of its compilation.
        os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")
    # With each operation of a graph goes who made it, for the texts of errors. There are a hundred
    # calls above it in a test, and to write them down takes some hundredths of the time.
    ops._create_c_op = functools.partial(ops._create_c_op, extract_traceback=False)


def keep_what_is_imported():
    """It lives as long as the process, and need not be looked at in collections of garbage."""
    gc.collect()
    gc.freeze()
    # Traces are many objects that live on: to look for garbage among them so often takes a
    # twentieth of all the time.
    gc.set_threshold(50_000, 20, 20)
    # Nor is it looked for in each search, and for each trial, as Keras and KerasTuner do.
    no_collection = types.SimpleNamespace(collect=lambda *generation: 0)
    global_state.gc = tuner_module.gc = no_collection


def begin_test():
    """float32, no names taken, and the same global seed."""
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)


def end_test():
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    # TensorFlow keeps the gradients that a graph defines itself as long as the process lives, and
    # each training of Keras has some: with them its graphs, its model and its data stay in memory.
    for name in [name for name in _GRADIENTS if name.startswith("CustomGradient-")]:
        del _GRADIENTS[name]


def forget_programs():
    """So that what is traced depends on no test before."""
    if "kerasreg.lanes" in sys.modules:
        sys.modules["kerasreg.lanes._programs"].clear()


@pytest.fixture(scope="session", autouse=True)
def one_verifier():
    """All exports are verified by one process; tests of the verification start others."""
    with serving.verifier():
        yield
