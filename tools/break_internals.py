"""Breaks each function of the ground floor, and checks that a test of its own then fails.

Usage: python tools/break_internals.py [MODULE ...]

For each public function of the named modules of `kerasreg/_keras`, which are all unless named,
tests of `tests/_keras` begin with `test_` and its name. Each of those tests runs once as it is and
once with the function replaced by one that returns None. The exit code is 1 if a function has no
test, if a test fails with the whole function, or if no test of a function fails with the broken
one.
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


def functions_of(module: types.ModuleType) -> dict[str, Any]:
    """The public functions that a module defines."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and inspect.isfunction(inspect.unwrap(value))
        and getattr(value, "__module__", None) == module.__name__
    }


class Breaker:
    """Runs each test a second time with the function that its name begins with broken."""

    def __init__(self, modules: list[types.ModuleType]) -> None:
        self.functions = {
            name: (module, function)
            for module in modules
            for name, function in functions_of(module).items()
        }
        # By function: whether a test noticed, for each test.
        self.noticed: dict[str, list[bool]] = collections.defaultdict(list)

    def question(self, item: pytest.Function) -> str | None:
        """The function that a test is named after: the longest that fits."""
        text = item.originalname.removeprefix("test_")
        fits = [name for name in self.functions if f"{text}_".startswith(f"{name}_")]
        return max(fits, key=len, default=None)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        """Breaks the function, runs the test for what it says, and then runs it as it is."""
        name = self.question(item) if isinstance(item, pytest.Function) else None
        if name is not None and isinstance(item, pytest.Function):
            module, whole = self.functions[name]
            # The test may have the function, or the module of it.
            holders = [one for one in (module, item.module) if getattr(one, name, None) is whole]
            for holder in holders:
                setattr(holder, name, lambda *_, **__: None)
            try:
                item.runtest()
            except KeyboardInterrupt:
                raise
            except BaseException:  # Such as `pytest.fail`, which is no `Exception`.
                self.noticed[name].append(True)
            else:
                self.noticed[name].append(False)
            finally:
                for holder in holders:
                    setattr(holder, name, whole)
        return (yield)

    def report(self) -> list[str]:
        """What is wrong, a line for each function."""
        lines = []
        for name, (module, _) in self.functions.items():
            if not self.noticed[name]:
                lines.append(f"{module.__name__}.{name}: no test is named after it")
            elif not any(self.noticed[name]):
                lines.append(f"{module.__name__}.{name}: broken, and no test of it fails")
        return lines


def main(names: list[str]) -> int:
    """Prints what is wrong; returns the exit code."""
    folder = ROOT / "kerasreg" / "_keras"
    names = names or sorted(path.stem for path in folder.glob("[a-z]*.py"))
    breaker = Breaker([importlib.import_module(f"kerasreg._keras.{name}") for name in names])
    tests = str(ROOT / "tests" / "_keras")
    code = pytest.main([tests, "-q", "-p", "no:cacheprovider", f"--rootdir={ROOT}"], [breaker])
    lines = breaker.report()
    count = len(breaker.functions)
    print("\n".join([*lines, f"{count} functions, {len(lines)} of them unnoticed when broken"]))
    return int(bool(lines) or code != pytest.ExitCode.OK)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
