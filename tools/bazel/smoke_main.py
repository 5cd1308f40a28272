"""Imports all modules of a package, with nothing but what //:BUILD gives the package."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pathlib
import sys
import types


def imported(source: str) -> set[str]:
    """The modules that a source imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "kerasreg":
            names.update(f"kerasreg.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return names


def there(name: str) -> bool:
    """Whether the module can be imported here."""
    package = name.split(".")[0]
    if package != "kerasreg":
        return importlib.util.find_spec(package) is not None
    # By its file below Bazel's folder: another kerasreg may be installed.
    path = pathlib.Path(*name.split("."))
    return (path / "__init__.py").is_file() or path.with_suffix(".py").is_file()


def not_reached(package: str, files: list[pathlib.Path]) -> list[str]:
    """What the sources of a package import, and its dependencies do not have."""
    return [
        f"{file}: {name} is not reached by the dependencies of //:{package}"
        for file in files
        for name in sorted(imported(file.read_text(encoding="utf-8")))
        if not there(name)
    ]


def without_value(files: list[pathlib.Path]) -> list[str]:
    """The public names that a module does not have; imports each module."""
    # Not kerasreg/__init__.py, which imports other packages, nor one that is installed.
    whole = types.ModuleType("kerasreg")
    whole.__path__ = [str(pathlib.Path("kerasreg").resolve())]
    sys.modules["kerasreg"] = whole
    missing = []
    for file in files:
        parts = file.parent.parts if file.name == "__init__.py" else file.with_suffix("").parts
        module = importlib.import_module(".".join(parts))
        names = getattr(module, "__all__", [])
        missing += [f"{file}: no {name}" for name in names if not hasattr(module, name)]
    return missing


def main(package: str) -> int:
    """Prints what is missing; returns the exit code."""
    files = sorted(pathlib.Path("kerasreg", package).rglob("*.py"))
    if not files:
        sys.exit(f"no sources in kerasreg/{package}")
    missing = not_reached(package, files) or without_value(files)
    print(*missing, sep="\n", end="\n" * bool(missing))
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
