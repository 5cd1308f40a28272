"""The packages of BUILD are those of kerasreg, with the dependencies that they may have."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def value_of(name):
    """The value of a variable of BUILD, which is Python enough to be read."""
    for node in ast.parse((ROOT / "BUILD").read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == name:
            return node.value
    raise AssertionError(f"BUILD has no {name}")


def packages():
    """Each package with the packages that BUILD lets it depend on."""
    table = value_of("PACKAGES")
    return {
        key.value: {
            part.value.removeprefix(":")
            for part in ast.walk(value)
            if isinstance(part, ast.Constant) and part.value.startswith(":")
        }
        for key, value in zip(table.keys, table.values, strict=True)
    }


def test_every_package_is_in_the_table_in_the_order_of_the_alphabet():
    folders = {path.parent.name for path in (ROOT / "kerasreg").glob("*/__init__.py")}
    assert list(packages()) == sorted(folders - {"_keras"})


@pytest.mark.parametrize("package", packages())
def test_dependencies_are_packages_and_point_one_way(package):
    waiting, reached = {package}, set()
    while waiting:
        each = waiting.pop()
        below = packages()[each] - {"tensorflow", "_keras_tuner"}  # No packages of kerasreg.
        assert below <= packages().keys()
        assert package not in below
        waiting |= below - reached
        reached |= below
