"""Check that a room imports nothing but what //:BUILD gives it."""

from __future__ import annotations

import ast
import importlib.util
import pathlib
import sys


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


def main(room: str) -> int:
    """Names what is missing; returns the exit code."""
    files = sorted(pathlib.Path("kerasreg", room).rglob("*.py"))
    missing = [
        f"{file}: {name}"
        for file in files
        for name in sorted(imported(file.read_text(encoding="utf-8")))
        if not there(name)
    ]
    for line in missing:
        print(f"{line} is not reached by the dependencies of //:{room}")
    return int(bool(missing) or not files)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
