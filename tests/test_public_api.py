"""api.txt has the public names and signatures: whoever changes one sees it, and says so."""

import functools
import types
from typing import NamedTuple

import pytest
from helpers.scripts import module_of


@pytest.fixture(scope="module")
def script():
    yield from module_of("tools/public_api.py")


def test_the_public_names_and_signatures_are_those_of_the_file(script):
    found = script.difference(script.FILE.read_text(encoding="utf-8"), script.text())
    # A change of the interface is said in CHANGELOG.md, and the file is renewed.
    assert not found, "\n".join([*found, f"renew api.txt: {script.RENEW}"])


class Row(NamedTuple):
    name: str


class Base:
    def shared(self, a: "int", *, b: "str | None" = None) -> "list[str]":
        """Public."""

    def _hidden(self):
        """Private."""

    @property
    def size(self):
        """A property."""


class Component(Base):
    def __init__(self, rate=0.5, make=functools.partial, names=("x", 1)):
        """With a default that is an object."""

    @classmethod
    def from_config(cls, config):
        """A class method."""

    @staticmethod
    def plain():
        """A static one."""


def test_what_a_line_tells(script, monkeypatch):
    package = types.ModuleType("kerasreg.something")
    package.__all__ = ["Component", "Row", "run", "NUMBER"]
    package.Component, package.Row, package.NUMBER = Component, Row, 3
    package.run = lambda *given, then=None: None
    for cls in (Base, Component, Row):
        monkeypatch.setattr(cls, "__module__", "kerasreg.something._module")
    assert [line.removeprefix("kerasreg.something.") for line in script.lines_of(package)] == [
        "class kerasreg.something.Component(Base)",
        "Component.__init__(self, rate=0.5, make=partial, names=('x', 1))",
        "Component.from_config(cls, config) [class method]",
        "Component.plain() [static method]",
        "Component.shared(self, a: int, *, b: str | None = None) -> list[str]",
        "Component.size: property",
        "NUMBER: int",
        "class kerasreg.something.Row(tuple)",
        "Row('name',)",
        "run(*given, then=None)",
    ]


def test_what_is_not_kerasregs_is_not_told_of(script, monkeypatch):
    monkeypatch.setattr(Component, "__module__", "kerasreg.something._module")
    assert not [line for line in script.members(Component) if line.startswith(".shared")]


def test_a_difference_names_the_line_that_changed(script):
    found = script.difference("a(x)\nb(y)\n", "a(x)\nb(y, z)\n")
    assert found[-2:] == ["-b(y)", "+b(y, z)"]
