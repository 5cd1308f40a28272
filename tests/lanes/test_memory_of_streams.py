"""Of data that memory is not to hold, lanes need memory for some: in a process of its own."""

import json
import os

import pytest

pytestmark = pytest.mark.long

PROGRAM = os.path.join(os.path.dirname(__file__), "memory_program.py")


@pytest.fixture(scope="module")
def found(run_python):
    return json.loads(run_python(PROGRAM, "256").splitlines()[-1])


# Blocks of 64 MiB, and of 128 MiB of a file: one that trains, one that is read, and their copies.
@pytest.mark.parametrize(("kind", "most"), [("sequence", 5 * 2**26), ("file", 5 * 2**27)])
def test_the_data_are_never_all_in_memory(kind, most, found):
    assert found["bytes"] == 2**30
    assert found[kind] < most
