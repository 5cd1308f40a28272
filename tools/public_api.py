"""Writes api.txt: each public name of each public package, with its signature.

Usage: python tools/public_api.py [--check]

A package is public if `kerasreg.__all__` has it or another public package is around it. A line is
a function, a class with those that it is derived from, or what a class has: its constructor, its
public methods, properties and class methods, of its own or from another class of kerasreg. What
comes from Keras or KerasTuner is left out, so that the file is the same with each of their
versions. With `--check` nothing is written; it fails with the difference.
"""

import difflib
import importlib
import inspect
import os
import pathlib
import pkgutil
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FILE = ROOT / "api.txt"
RENEW = "python tools/public_api.py"
HEADER = f"# The public names of kerasreg and their signatures. Written by `{RENEW}`.\n"


def packages():
    """The public packages, sorted by name."""
    import kerasreg

    found = []
    for name in kerasreg.__all__:
        if name.startswith("__"):
            continue
        package = importlib.import_module(f"kerasreg.{name}")
        found.append(package)
        for inside in pkgutil.iter_modules(package.__path__):
            if not inside.name.startswith("_"):
                found.append(importlib.import_module(f"{package.__name__}.{inside.name}"))
    return sorted(found, key=lambda package: package.__name__)


def lines_of(package):
    """The lines of a package's public names."""
    lines = []
    for name in sorted(package.__all__):
        value = getattr(package, name)
        full = f"{package.__name__}.{name}"
        if inspect.ismodule(value):
            continue
        if inspect.isclass(value):
            # Keras puts another class in the place of this one when the first model is made.
            names = {"Functional": "Model"}
            bases = ", ".join(
                names.get(base.__name__, base.__name__)
                for base in value.__bases__
                if base is not object
            )
            lines.append(f"class {full}({bases})")
            if fields := getattr(value, "_fields", None):
                lines.append(f"{full}{fields}")
            lines += [f"{full}{line}" for line in members(value)]
        elif callable(value):
            lines.append(f"{full}{signature(value)}")
        else:
            lines.append(f"{full}: {type(value).__name__}")
    return lines


def members(cls):
    """The lines of what a class has."""
    lines, seen = [], set()
    for owner in inspect.getmro(cls):
        if not owner.__module__.startswith("kerasreg"):
            continue
        for name, value in vars(owner).items():
            if name in seen or (name.startswith("_") and name not in ("__init__", "__call__")):
                continue
            seen.add(name)
            lines += [f".{name}{line}" for line in (member(value),) if line is not None]
    return sorted(lines)


def member(value):
    """What stands after the name of a member of a class, or None for one that is not told of."""
    if isinstance(value, property):
        return ": property"
    if isinstance(value, classmethod):
        return f"{signature(value.__func__)} [class method]"
    if isinstance(value, staticmethod):
        return f"{signature(value.__func__)} [static method]"
    if inspect.isfunction(value):
        return signature(value)
    return None


def signature(function):
    """Names, kinds, types and default values of parameters, and what is returned."""
    found = inspect.signature(function)
    parameters = [
        parameter.replace(
            annotation=plain(parameter.annotation),
            default=parameter.default if is_plain(parameter.default) else Text(parameter.default),
        )
        for parameter in found.parameters.values()
    ]
    return str(
        found.replace(parameters=parameters, return_annotation=plain(found.return_annotation))
    )


def plain(annotation):
    """A type as it is written in the source."""
    return Text(annotation) if isinstance(annotation, str) else annotation


def is_plain(value):
    """Whether a default value, or that there is none, is written as it is."""
    if isinstance(value, tuple | list):
        return all(map(is_plain, value))
    return (
        value is None
        or value is inspect.Parameter.empty
        or isinstance(value, bool | int | float | str)
    )


class Text:
    """A type, or the name of a default value that is an object, as it is to be written."""

    def __init__(self, value):
        if not isinstance(value, str):
            named = getattr(value, "__name__", type(value).__name__)
            value = "<factory>" if "DEFAULT_FACTORY" in named else named
        self._text = value

    def __repr__(self):
        return self._text


def text():
    """What the file is to have."""
    lines = [line for package in packages() for line in lines_of(package)]
    return HEADER + "".join(f"{line}\n" for line in lines)


def difference(before, now):
    """What has changed, as lines; none if nothing has."""
    return list(
        difflib.unified_diff(
            before.splitlines(), now.splitlines(), "api.txt", "the package", lineterm="", n=0
        )
    )


def main(arguments):
    """Writes the file, or compares with it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.path.insert(0, str(ROOT))
    now = text()
    if arguments != ["--check"]:
        FILE.write_text(now, encoding="utf-8")
        return
    if found := difference(FILE.read_text(encoding="utf-8"), now):
        sys.exit("\n".join([*found, f"The public names have changed. Renew api.txt: {RENEW}"]))


if __name__ == "__main__":
    main(sys.argv[1:])
