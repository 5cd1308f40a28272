"""Data flows one way: a package imports only the packages that it may."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent / "kerasreg"
BELOW = {"schedules", "random", "regularizers", "layers", "initializers", "optimizers"}
COMPONENTS = BELOW | {"callbacks"}
MAY_IMPORT = {
    "schedules": set(),
    "random": set(),
    "regularizers": {"schedules"},
    "layers": {"schedules", "random"},
    "initializers": set(),
    "optimizers": {"regularizers", "schedules"},
    "callbacks": BELOW,
    "editing": COMPONENTS,
    "distribute": set(),
    "spaces": COMPONENTS,
    "lanes": {"random"},
    "hypermodels": COMPONENTS | {"spaces", "distribute"},
    "tuners": COMPONENTS | {"spaces", "hypermodels", "distribute", "lanes"},
    "serving": COMPONENTS | {"editing"},
    "testing": {"schedules", "regularizers", "layers", "distribute"},
    "cli": COMPONENTS
    | {"editing", "distribute", "spaces", "hypermodels", "lanes", "tuners", "serving"},
}
# Where TensorFlow may be imported at module level; elsewhere inside a function.
TENSORFLOW_ROOMS = {"distribute", "lanes", "serving"}


def imports(path: pathlib.Path) -> set[str]:
    """Every module that a file imports, `from a import b` as both `a` and `a.b`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def rooms_of(modules: set[str]) -> set[str]:
    parts = [module.split(".") for module in modules if module.startswith("kerasreg.")]
    return {part[1] for part in parts if not part[1].startswith("_")}


def test_every_package_is_a_room():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == set(MAY_IMPORT)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_room_imports_only_what_it_may(room):
    for path in (ROOT / room).rglob("*.py"):
        assert rooms_of(imports(path)) <= MAY_IMPORT[room] | {room}, path


def test_shared_private_modules_import_no_room():
    for path in ROOT.glob("_[a-z]*.py"):
        assert not rooms_of(imports(path)), path


@pytest.mark.parametrize("room", sorted(set(MAY_IMPORT) - TENSORFLOW_ROOMS))
def test_components_do_not_need_tensorflow_to_be_imported(room):
    for path in (ROOT / room).rglob("*.py"):
        at_module_level = ast.Module(
            [node for node in ast.parse(path.read_text()).body if not isinstance(node, ast.If)], []
        )
        names = {
            alias.name.split(".")[0]
            for node in at_module_level.body
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert "tensorflow" not in names, path


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_public_names_are_listed_and_exist(room):
    import importlib

    module = importlib.import_module(f"kerasreg.{room}")
    assert len(module.__all__) == len(set(module.__all__)) > 0
    for name in module.__all__:
        assert hasattr(module, name)
        assert not name.startswith("_")
