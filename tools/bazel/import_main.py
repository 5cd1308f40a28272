"""Import a room of kerasreg, and every module in it, without any other room
than those that //:BUILD lets it import."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
import types


def main(room: str) -> None:
    # kerasreg/__init__.py imports rooms above this one. This stands in for it,
    # and is the only place where rooms are looked for: another kerasreg may be
    # installed.
    package = types.ModuleType("kerasreg")
    package.__path__ = [os.path.abspath("kerasreg")]
    sys.modules["kerasreg"] = package
    path = importlib.import_module(room).__path__
    for module in pkgutil.walk_packages(path, room + "."):
        importlib.import_module(module.name)


if __name__ == "__main__":
    main(sys.argv[1])
