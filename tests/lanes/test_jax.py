"""The same engine on Keras' JAX backend, in a process of its own."""

import json
import os

import pytest

pytestmark = pytest.mark.long

PROGRAM = os.path.join(os.path.dirname(__file__), "jax_program.py")


@pytest.fixture(scope="module")
def found(run_python):
    return json.loads(run_python(PROGRAM, KERAS_BACKEND="jax").splitlines()[-1])


@pytest.mark.parametrize("kind", ["dense", "convolution", "embedding", "mixing"])
def test_lanes_equal_training_alone(kind, found):
    assert found[kind] < 1e-4


def test_a_lane_draws_the_same_alone_and_among_others(found):
    assert found["among others"] < 1e-5


def test_a_search_with_lanes(found):
    score, of_best_model, built = found["search"]
    assert of_best_model == pytest.approx(score, rel=1e-5)
    # The others of 12 trials are derived from them, though JAX takes a number from Python.
    assert built < 8


def test_steps_of_a_models_own(run_python):
    program = os.path.join(os.path.dirname(__file__), "own_steps_program.py")
    assert float(run_python(program, KERAS_BACKEND="jax").splitlines()[-1]) < 1e-5
