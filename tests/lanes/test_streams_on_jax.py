"""Datasets, loaders and generators on Keras' JAX backend, in a process of its own."""

import json
import os

import pytest

pytestmark = pytest.mark.long

PROGRAM = os.path.join(os.path.dirname(__file__), "streams_program.py")


@pytest.fixture(scope="module")
def found(run_python):
    return json.loads(run_python(PROGRAM, KERAS_BACKEND="jax").splitlines()[-1])


@pytest.mark.parametrize(
    "kind",
    [
        "a dataset",
        "a dataset of unknown length",
        "a sequence",
        "a generator",
        "arrays in steps",
        "sparse arrays",
    ],
)
def test_lanes_of_a_stream_end_as_alone(kind, found):
    assert found[kind] < 1e-4


def test_blocks_that_are_not_full_are_no_other_program(found):
    # The steps, and their results.
    assert found["traces"] == 2
