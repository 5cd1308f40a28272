"""Breaks each function of the ground floor, and checks that a test of its own then fails.

Usage: python tools/break_internals.py [MODULE ...]

For each public function of the named modules of `kerasreg/_keras`, tests of `tests/_keras` begin
with `test_` and its name. Each of those tests runs once as it is and once with the function
replaced by one that returns None. The exit code is 1 if a function has no test, if a test fails
with the whole function, or if no test of a function fails with the broken one.
"""

from __future__ import annotations

import collections
import importlib
import inspect
import pathlib
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

ROOT = pathlib.Path(__file__).parent.parent
MODULES = ("internals", "tensorflow_internals", "keras_tuner_internals")


def functions_of(module: types.ModuleType) -> list[str]:
    """The public functions that a module defines."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and inspect.isfunction(inspect.unwrap(value))
        and getattr(value, "__module__", None) == module.__name__
    ]


class Breaker:
    """Runs each test a second time with the function that its name begins with broken."""

    def __init__(self, modules: list[types.ModuleType]) -> None:
        self.modules = {
            f"test_{module.__name__.rsplit('.', 1)[-1]}.py": module for module in modules
        }
        # By module and function: whether a test noticed, for each test.
        self.noticed: dict[tuple[str, str], list[bool]] = collections.defaultdict(list)

    def question(self, item: pytest.Item) -> str | None:
        """The function that a test is named after: the longest that fits."""
        module = self.modules[item.path.name]
        text = getattr(item, "originalname", item.name).removeprefix("test_")
        fits = [name for name in functions_of(module) if f"{text}_".startswith(f"{name}_")]
        return max(fits, key=len, default=None)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        """Breaks the function, runs the test for what it says, and then runs it as it is."""
        name = self.question(item)
        if name is not None:
            module = self.modules[item.path.name]
            whole = getattr(module, name)
            setattr(module, name, lambda *_, **__: None)
            try:
                item.runtest()
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                self.noticed[module.__name__, name].append(True)
            else:
                self.noticed[module.__name__, name].append(False)
            finally:
                setattr(module, name, whole)
        return (yield)

    def report(self) -> list[str]:
        """What is wrong, a line for each function."""
        lines = []
        for module in self.modules.values():
            for name in functions_of(module):
                noticed = self.noticed[module.__name__, name]
                if not noticed:
                    lines.append(f"{module.__name__}.{name}: no test is named after it")
                elif not any(noticed):
                    lines.append(f"{module.__name__}.{name}: broken, and no test of it fails")
        return lines


def main(names: list[str]) -> int:
    """Prints what is wrong; returns the exit code."""
    tests = ROOT / "tests" / "_keras"
    modules = [
        importlib.import_module(f"kerasreg._keras.{name}")
        for name in names or MODULES
        if names or (ROOT / "kerasreg" / "_keras" / f"{name}.py").exists()
    ]
    breaker = Breaker(modules)
    paths: list[Any] = [str(tests / name) for name in breaker.modules]
    code = pytest.main([*paths, "-q", "-p", "no:cacheprovider", f"--rootdir={ROOT}"], [breaker])
    lines = breaker.report()
    count = sum(len(functions_of(module)) for module in modules)
    print("\n".join([*lines, f"{count} functions, {len(lines)} of them unnoticed when broken"]))
    return int(bool(lines) or code != pytest.ExitCode.OK)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
