"""Data flows one way: a package imports only the packages that it may, by their public names."""

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
    "models": COMPONENTS,
    "distribute": set(),
    "losses": set(),
    "tables": {"layers"},
    "spaces": COMPONENTS,
    "lanes": {"random"},
    "hypermodels": COMPONENTS | {"losses", "models", "spaces", "distribute", "tables"},
    "reports": set(),
    "tuners": COMPONENTS | {"models", "spaces", "hypermodels", "distribute", "lanes", "reports"},
    "serving": COMPONENTS | {"models"},
    "testing": {"schedules", "regularizers", "layers", "distribute"},
    "cli": COMPONENTS
    | {"models", "distribute", "spaces", "tables", "hypermodels", "lanes", "tuners", "serving"}
    | {"reports"},
}
# Where TensorFlow may be imported at module level; elsewhere inside a function.
TENSORFLOW_PACKAGES = {"distribute", "lanes", "serving"}


def imports(path: pathlib.Path) -> set[str]:
    """Every module that a file imports, `from a import b` as both `a` and `a.b`."""
    return imports_of(ast.parse(path.read_text()))


def imports_of(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def packages_of(modules: set[str]) -> set[str]:
    parts = [module.split(".") for module in modules if module.startswith("kerasreg.")]
    return {part[1] for part in parts if not part[1].startswith("_")}


def test_every_package_is_in_the_table():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == set(MAY_IMPORT) | {"_keras"}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_it_may(package):
    for path in (ROOT / package).rglob("*.py"):
        assert packages_of(imports(path)) <= MAY_IMPORT[package] | {package}, path


def test_shared_private_modules_import_no_package():
    for path in ROOT.glob("_[a-z]*.py"):
        assert not packages_of(imports(path)), path


def test_no_package_imports_a_private_module_of_another_one():
    """But `_keras`, the ground floor, which is there for all."""
    for path in ROOT.rglob("*.py"):
        package = path.relative_to(ROOT).parts[0]
        for module in imports(path):
            of, *names = module.removeprefix("kerasreg.").split(".")
            foreign = module.startswith("kerasreg.") and of not in (package, "_keras")
            private = any(name.startswith("_") and not name.endswith("__") for name in names)
            assert not (foreign and private), f"{path} imports {module}"


def test_the_ground_floor_imports_no_package():
    for path in (ROOT / "_keras").rglob("*.py"):
        assert not packages_of(imports(path)), path


def module_of(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_module_imports_itself_by_way_of_others():
    """Also where an import stands in a function, or is for types alone.

    A package's `__init__` is left out: it gathers what its modules define.
    """
    paths = {module_of(p): p for p in ROOT.rglob("*.py") if p.name != "__init__.py"}
    below = {name: imports(path) & set(paths) for name, path in paths.items()}
    clear: set[str] = set()
    while ready := {name for name in below if name not in clear and below[name] <= clear}:
        clear |= ready
    assert not set(below) - clear, "These are in a circle, or import one."


@pytest.mark.parametrize("package", sorted(set(MAY_IMPORT) - TENSORFLOW_PACKAGES))
def test_components_do_not_need_tensorflow_to_be_imported(package):
    for path in (ROOT / package).rglob("*.py"):
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


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_public_names_are_listed_and_exist(package):
    import importlib

    module = importlib.import_module(f"kerasreg.{package}")
    assert len(module.__all__) == len(set(module.__all__)) > 0
    for name in module.__all__:
        assert hasattr(module, name)
        assert not name.startswith("_")


def at_module_level(tree: ast.Module) -> ast.Module:
    """The statements that run when a module is imported, also within `if` and `try`."""
    waiting, found = list(tree.body), []
    while waiting:
        node = waiting.pop()
        found.append(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        waiting += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
        if isinstance(node, ast.Try):
            waiting += [statement for handler in node.handlers for statement in handler.body]
    imports = [node for node in found if isinstance(node, ast.Import | ast.ImportFrom)]
    return ast.Module(imports, [])


def imported_with(begin: set[str]) -> set[str]:
    """All modules that are imported with some of kerasreg, those of others by their first name."""
    paths = {module_of(path): path for path in ROOT.rglob("*.py")}
    waiting, seen, others = set(begin), set(), set()
    while waiting:
        name = waiting.pop()
        parts = name.split(".")
        if parts[0] != "kerasreg":
            others.add(parts[0])
            continue
        above = {".".join(parts[: number + 1]) for number in range(len(parts))}
        for one in (above & set(paths)) - seen:
            seen.add(one)
            waiting |= imports_of(at_module_level(ast.parse(paths[one].read_text())))
    return others


def test_the_package_is_imported_with_keras_and_nothing_else_that_is_large():
    """What takes longer is imported when it is used; benchmarks/import_time.py measures it."""
    import sys

    import kerasreg

    components = {f"kerasreg.{name}" for name in kerasreg._COMPONENTS}
    assert imported_with(components) - set(sys.stdlib_module_names) == {"keras", "numpy"}


def test_the_command_begins_without_anything_that_is_large():
    """So `--help`, and a flag that it does not have, are answered at once."""
    import sys

    others = imported_with({"kerasreg.cli._main"}) - set(sys.stdlib_module_names)
    assert others <= {"absl", "numpy"}
