"""Counts what kerasreg touches of the private parts of Keras, KerasTuner and TensorFlow.

Usage: python tools/check_private_names.py [FOLDER]

Only `kerasreg/_keras/` may touch private parts of other packages. The script reads every other
source below FOLDER, which is `kerasreg` unless named, without running it. It prints three lists
and their totals, and its exit code is 1 unless each total is 0:

- imports of private modules, and strings that name a private module;
- underscore names of foreign objects, read or written, and keys of the state behind them;
- attributes of foreign objects that the code replaces.

What is foreign? An underscore name that kerasreg defines nowhere, and a name that kerasreg and an
installed package of `OTHERS` both define. A name of both is kerasreg's own only where the object is
surely one of kerasreg: `self` in a class that defines the name, a parameter annotated with such a
class, a variable that such a class was called for.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
import pathlib
import re
import sys
from collections.abc import Iterable, Iterator

ROOT = pathlib.Path(__file__).parent.parent
# The packages whose names are read from their sources each time. TensorFlow has too many: these
# are the ones that kerasreg knows of it and defines itself too.
OTHERS = ("keras", "keras_tuner")
OF_TENSORFLOW = {"_functions"}
# Their modules that no documentation names.
PRIVATE_MODULES = re.compile(
    r"(keras\.src|keras_tuner\.src|tensorflow\.(python|core|compiler|dtensor|lite\.python))(\.|$)"
)
# Their keys of global states, and names of scopes, frames and files, as far as kerasreg knew them.
KEYS = (
    "current_call_ctx",
    "custom_gradient.py",
    "global_seed_generator",
    "id_to_config_map",
    "loop_body",
    "pfor/",
    "recompute_grad",
    "stateless_scope",
)
# Documented, although their names begin with an underscore.
PUBLIC = {
    "_asdict": "collections.namedtuple",
    "_fields": "collections.namedtuple, ast.AST and ctypes.Structure",
    "_make": "collections.namedtuple",
    "_replace": "collections.namedtuple",
    "_exit": "os",
    "_getframe": "sys",
}
# Keras keeps compiled functions in them, which `model.make_..._function` sets.
COMPILED = {"train_function", "test_function", "predict_function"}
BY_NAME = {"getattr", "hasattr", "setattr", "delattr"}
CHANGE_DICTIONARY = {"update", "setdefault", "pop", "popitem", "clear"}
# Methods of texts that take a part of a name.
OF_TEXTS = {"endswith", "startswith", "removeprefix", "removesuffix", "replace", "partition"}


@dataclasses.dataclass(frozen=True, order=True)
class Finding:
    """One place in a source, and what stands there."""

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


@dataclasses.dataclass
class Report:
    """What was found, by kind."""

    imports: list[Finding] = dataclasses.field(default_factory=list)
    names: list[Finding] = dataclasses.field(default_factory=list)
    replacements: list[Finding] = dataclasses.field(default_factory=list)

    def __str__(self) -> str:
        lines = []
        for title, findings in self._parts():
            lines += [f"{title}: {len(findings)}", *(f"  {one}" for one in sorted(findings))]
        totals = [f"{len(findings)} {title}" for title, findings in self._parts()]
        return "\n".join([*lines, "outside of kerasreg/_keras: " + ", ".join(totals)])

    def _parts(self) -> list[tuple[str, list[Finding]]]:
        return [
            ("imports of private modules", self.imports),
            ("private names of foreign objects", self.names),
            ("replaced attributes of foreign objects", self.replacements),
        ]

    def __bool__(self) -> bool:
        return any(findings for _, findings in self._parts())


@dataclasses.dataclass
class Class:
    """A class of a source: the names of its bases, and the names that it defines itself."""

    bases: set[str]
    names: set[str]


def is_private(name: object) -> bool:
    """Whether a value is an identifier with a leading underscore, `__name__` aside."""
    return (
        isinstance(name, str)
        and re.fullmatch(r"_\w*[A-Za-z0-9]\w*", name) is not None
        and not (name.startswith("__") and name.endswith("__"))
        and name not in PUBLIC
    )


def dotted(node: ast.AST) -> str | None:
    """`a.b.c` of such an expression, else None."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return before and f"{before}.{node.attr}"
    return None


def _last(node: ast.AST) -> str | None:
    name = dotted(node)
    return name and name.rsplit(".")[-1]


def _constants(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def _parts(target: ast.expr) -> list[ast.expr]:
    """A target, or the targets in a tuple of them."""
    if isinstance(target, ast.Tuple | ast.List):
        return [part for each in target.elts for part in _parts(each)]
    return _parts(target.value) if isinstance(target, ast.Starred) else [target]


def _targets(node: ast.AST) -> list[ast.expr]:
    """What a statement binds or deletes."""
    if isinstance(node, ast.Assign | ast.Delete):
        targets = node.targets
    elif isinstance(node, ast.AugAssign | ast.AnnAssign | ast.For | ast.NamedExpr):
        targets = [node.target]
    elif isinstance(node, ast.With):
        targets = [item.optional_vars for item in node.items if item.optional_vars]
    else:
        targets = []
    return [part for target in targets for part in _parts(target)]


def _sets_itself(node: ast.AST) -> str | None:
    """The name in `setattr(self, "name", ...)` and `object.__setattr__(self, "name", ...)`."""
    if (
        isinstance(node, ast.Call)
        and dotted(node.func) in ("setattr", "object.__setattr__")
        and isinstance(node.args[0], ast.Name)
        and node.args[0].id in ("self", "cls")
        and isinstance(node.args[1], ast.Constant)
    ):
        return str(node.args[1].value)
    return None


def class_names(node: ast.ClassDef) -> set[str]:
    """The attributes that a class defines: in its body, on `self` and `cls`, and as slots."""
    found = set()
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(statement.name)
        for target in _targets(statement):
            if isinstance(target, ast.Name):
                found.add(target.id)
                if target.id == "__slots__":
                    found |= set(_constants(statement))
    for part in ast.walk(node):
        for target in _targets(part):
            if (
                isinstance(target, ast.Attribute)
                and isinstance(target.value, ast.Name)
                and target.value.id in ("self", "cls")
            ):
                found.add(target.attr)
        name = _sets_itself(part)
        if name:
            found.add(name)
    return found


class Definitions:
    """What sources define: classes by name, and every underscore name."""

    def __init__(self, trees: Iterable[ast.Module]) -> None:
        self.classes: dict[str, Class] = {}
        self.names: set[str] = set()
        for tree in trees:
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    bases = {name for base in node.bases if (name := _last(_bare(base)))}
                    names = class_names(node)
                    # Classes of one name in two modules are taken for one.
                    known = self.classes.setdefault(node.name, Class(set(), set()))
                    known.bases |= bases
                    known.names |= names
                    self.names |= {name for name in names if is_private(name)}
            for statement in tree.body:
                if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    self.names.add(statement.name)
                self.names |= {t.id for t in _targets(statement) if isinstance(t, ast.Name)}
        self.names = {name for name in self.names if is_private(name)}

    def has(self, class_name: str, attribute: str) -> bool:
        """Whether the class, or a class that it inherits from, defines the attribute."""
        waiting, seen = [class_name], set()
        while waiting:
            name = waiting.pop()
            if name in seen or name not in self.classes:
                continue
            seen.add(name)
            if attribute in self.classes[name].names:
                return True
            waiting += self.classes[name].bases
        return False


def _bare(node: ast.expr) -> ast.expr:
    """A class without what stands in its brackets."""
    return node.value if isinstance(node, ast.Subscript) else node


def _of_dictionary(node: ast.expr) -> ast.expr | None:
    """The `x` of `x.__dict__` and `vars(x)`."""
    if isinstance(node, ast.Attribute) and node.attr == "__dict__":
        return node.value
    if isinstance(node, ast.Call) and dotted(node.func) == "vars" and node.args:
        return node.args[0]
    return None


class Reader(ast.NodeVisitor):
    """Reads one source."""

    def __init__(
        self, path: str, tree: ast.Module, own: Definitions, theirs: set[str], report: Report
    ) -> None:
        self.path = path
        self.own = own
        self.theirs = theirs
        self.report = report
        # What each name stands for, outer scopes first.
        self.classes: list[str] = []
        self.scopes: list[dict[str, set[str]]] = [{}]
        self.functions: list[set[str]] = [_defined_functions(tree)]
        self.foreign: dict[str, str] = {}
        self.ours: set[str] = set()
        self.no_names = _no_names(tree)
        # Texts that a call gave to a rule of its own.
        self.looked_at: set[ast.AST] = set()
        for node in ast.walk(tree):
            self._note_import(node)
        # Bound attributes that are replaced ones if a function is assigned to them elsewhere.
        self.undecided: list[tuple[str, Finding]] = []
        self.methods: set[str] = set()
        self.visit(tree)
        for attribute, finding in self.undecided:
            if attribute in self.methods and finding not in report.replacements:
                report.replacements.append(finding)

    # Imports.

    def _note_import(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.split(".")[0]
                full = alias.name if alias.asname else name
                self._bind(name, full)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                self._bind(alias.asname or alias.name, f"{node.module}.{alias.name}")
        elif isinstance(node, ast.ImportFrom):
            self.ours |= {alias.asname or alias.name for alias in node.names}

    def _bind(self, name: str, full: str) -> None:
        if full.split(".")[0] == "kerasreg":
            self.ours.add(name)
        else:
            self.foreign[name] = full

    def visit_Import(self, node: ast.Import) -> None:
        """Counts `import keras.src`."""
        for alias in node.names:
            if _is_private_module(alias.name):
                self._add(self.report.imports, node, f"import {alias.name}")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Counts `from keras.src import x` and `from numpy import _x`."""
        module = node.module or ""
        if node.level or module.split(".")[0] in ("kerasreg", "__future__"):
            return
        whole = [f"{module}.{alias.name}" for alias in node.names]
        if _is_private_module(module) or any(_is_private_module(name) for name in whole):
            names = ", ".join(alias.name for alias in node.names)
            self._add(self.report.imports, node, f"from {module} import {names}")

    def visit_Constant(self, node: ast.Constant) -> None:
        """Counts strings that name something private."""
        text = node.value
        if node in self.no_names or not isinstance(text, str):
            return
        if PRIVATE_MODULES.match(text):
            self._add(self.report.imports, node, f"string {text!r}")
            return
        is_name = is_private(text) and text in self.theirs and node not in self.looked_at
        if is_name or (" " not in text and any(key in text for key in KEYS)):
            self._add(self.report.names, node, f"string {text!r}")

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Looks at the values in an f-string; the texts are parts of a name."""
        for value in node.values:
            if not isinstance(value, ast.Constant):
                self.visit(value)

    # Scopes: what `self` and annotated names are.

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Remembers what `self` is."""
        self.classes.append(node.name)
        self.generic_visit(node)
        self.classes.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Remembers what the names in a function are."""
        self._visit_function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        """Remembers what the names in a function are."""
        self._visit_function(node)

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        scope: dict[str, set[str]] = {}
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        for argument in arguments:
            scope[argument.arg] = self._classes_in(argument.annotation)
        for part in ast.walk(node):
            for target, value in _pairs(part):
                if isinstance(target, ast.Name):
                    scope.setdefault(target.id, set())
                    if isinstance(value, ast.Call):
                        scope[target.id] |= self._classes_in(value.func)
            if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
                scope.setdefault(part.target.id, set()).update(self._classes_in(part.annotation))
        self.scopes.append(scope)
        self.functions.append(_defined_functions(node))
        self.generic_visit(node)
        self.functions.pop()
        self.scopes.pop()

    def _classes_in(self, node: ast.AST | None) -> set[str]:
        """The classes of kerasreg that an annotation or a called expression names."""
        if node is None:
            return set()
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                node = ast.parse(node.value, mode="eval").body
            except SyntaxError:
                return set()
        if isinstance(node, ast.Name | ast.Attribute):
            name = dotted(node) or ""
            is_theirs = name.split(".")[0] in self.foreign
            return {name.split(".")[-1]} & self.own.classes.keys() if not is_theirs else set()
        return {name for part in ast.iter_child_nodes(node) for name in self._classes_in(part)}

    def _owners(self, node: ast.expr) -> set[str]:
        """The classes of kerasreg that an expression may be of, empty if unknown."""
        if isinstance(node, ast.Call) and dotted(node.func) == "super" and self.classes:
            return self.own.classes[self.classes[-1]].bases
        if isinstance(node, ast.Call):
            return self._classes_in(node.func) if dotted(node.func) else set()
        if isinstance(node, ast.Name):
            if node.id in ("self", "cls") and self.classes:
                return {self.classes[-1]}
            for scope in reversed(self.scopes):
                if node.id in scope:
                    return scope[node.id]
            if node.id in self.own.classes:
                return {node.id}
        return set()

    # Underscore names.

    def _is_foreign(self, owner: ast.expr, name: str) -> bool:
        root = (dotted(owner) or "").split(".")[0]
        if root in self.ours and dotted(owner) == root and name not in self.theirs:
            return False
        if root in self.foreign and isinstance(owner, ast.Name | ast.Attribute):
            return True
        if any(self.own.has(each, name) for each in self._owners(owner)):
            return False
        return name in self.theirs or name not in self.own.names

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Counts `x._name` and `keras.src.x`."""
        if is_private(node.attr) and self._is_foreign(node.value, node.attr):
            self._add(self.report.names, node, ast.unparse(node))
        full = self._full(node)
        root = (dotted(node) or "").split(".")[0]
        # What comes of a private import was counted there.
        if full and PRIVATE_MODULES.match(full) and not _is_private_module(self.foreign[root]):
            self._add(self.report.imports, node, full)
            return
        self.generic_visit(node)

    def _full(self, node: ast.Attribute) -> str | None:
        """The name of `a.b` with what `a` was imported as."""
        root, _, rest = (dotted(node) or "").partition(".")
        return f"{self.foreign[root]}.{rest}" if root in self.foreign else None

    def visit_Call(self, node: ast.Call) -> None:
        """Counts underscore names in calls such as `getattr(x, "_name")`, and replacements."""
        called = dotted(node.func)
        if called in BY_NAME and len(node.args) > 1:
            self._by_name(node, node.args[0], node.args[1])
            if called in ("setattr", "delattr"):
                self._replaces(node, node.args[0])
        elif called in ("object.__setattr__", "object.__delattr__", "type.__setattr__"):
            self._by_name(node, node.args[0], node.args[1])
            self._replaces(node, node.args[0])
        elif isinstance(node.func, ast.Attribute) and node.func.attr in CHANGE_DICTIONARY:
            owner = _of_dictionary(node.func.value)
            if owner is not None:
                self._replaces(node, owner)
        elif isinstance(node.func, ast.Attribute) and node.func.attr in OF_TEXTS:
            self.looked_at |= {part for text in node.args for part in ast.walk(text)}
        elif called and called.rsplit(".")[-1] == "patched":
            for keyword in node.keywords:
                if is_private(keyword.arg):
                    self._add(self.report.names, node, f"patched({keyword.arg}=...)")
        elif called and called.rsplit(".")[-1] == "attrgetter":
            for argument in node.args:
                for name in str(getattr(argument, "value", "")).split("."):
                    if is_private(name) and (name in self.theirs or name not in self.own.names):
                        self._add(self.report.names, node, ast.unparse(node))
            return
        self.generic_visit(node)

    def _by_name(self, node: ast.expr, owner: ast.expr, name: ast.expr) -> None:
        if not isinstance(name, ast.Constant) or not is_private(name.value):
            return
        if self._is_foreign(owner, name.value):
            self._add(self.report.names, node, ast.unparse(node))
        self.looked_at.add(name)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """Counts `vars(x)["_name"]` and `x.__dict__["_name"]`."""
        owner = _of_dictionary(node.value)
        if owner is not None:
            self._by_name(node, owner, node.slice)
            if not isinstance(node.ctx, ast.Load):
                self._replaces(node, owner)
        self.generic_visit(node)

    # Replacements.

    def _is_ours(self, owner: ast.expr) -> bool:
        """Whether an object is surely kerasreg's: a function or of a class that is defined here."""
        if isinstance(owner, ast.Name) and any(owner.id in each for each in self.functions):
            return True
        return bool(self._owners(owner))

    def _replaces(self, node: ast.AST, owner: ast.expr) -> None:
        if not self._is_ours(owner):
            self._add(self.report.replacements, node, ast.unparse(node))

    def generic_visit(self, node: ast.AST) -> None:
        """Looks at each statement that binds an attribute."""
        for target, value in _pairs(node):
            if isinstance(target, ast.Attribute):
                self._note_binding(target, value)
        super().generic_visit(node)

    def _note_binding(self, target: ast.Attribute, value: ast.expr | None) -> None:
        owner, text = target.value, ast.unparse(target)
        if target.attr != "__class__" and (self._is_ours(owner) or not dotted(owner)):
            return
        finding = self._finding(target, f"{text} = ...")
        is_function = self._is_function(value)
        if is_function:
            self.methods.add(text)
        if (
            is_function
            or target.attr == "__class__"
            or target.attr in COMPILED
            or dotted(owner) in self.foreign
        ):
            self.report.replacements.append(finding)
        else:
            self.undecided.append((text, finding))

    def _is_function(self, value: ast.expr | None) -> bool:
        """Whether an expression is a function: a lambda, or a function's name."""
        if isinstance(value, ast.Lambda):
            return True
        if isinstance(value, ast.Call):
            return dotted(value.func) in ("functools.partial", "types.MethodType")
        if isinstance(value, ast.Name):
            return any(value.id in functions for functions in self.functions)
        full = self._full(value) if isinstance(value, ast.Attribute) else None
        return full is not None and _is_callable_of_python(full)

    def _finding(self, node: ast.AST, text: str) -> Finding:
        line: int = node.lineno  # type: ignore[attr-defined]
        return Finding(self.path, line, " ".join(text.split()))

    def _add(self, to: list[Finding], node: ast.AST, text: str) -> None:
        finding = self._finding(node, text)
        if finding not in to:
            to.append(finding)


def _is_private_module(name: str) -> bool:
    """Whether a dotted name is a private module of another package, or in one."""
    package, _, rest = name.partition(".")
    if package == "kerasreg" or package in sys.stdlib_module_names:
        return False
    return bool(PRIVATE_MODULES.match(name)) or any(map(is_private, rest.split(".")))


def _is_callable_of_python(name: str) -> bool:
    """Whether `module.name` is a function or class of Python's library."""
    module, _, attribute = name.rpartition(".")
    if module.split(".")[0] not in sys.stdlib_module_names:
        return False
    return callable(getattr(importlib.import_module(module), attribute, None))


def _pairs(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr | None]]:
    """What a statement binds, each with its value where that is an expression."""
    value = getattr(node, "value", None)
    targets = node.targets if isinstance(node, ast.Assign) else None
    for target in targets or ():
        if (
            isinstance(target, ast.Tuple)
            and isinstance(value, ast.Tuple)
            and len(target.elts) == len(value.elts)
        ):
            yield from zip(target.elts, value.elts, strict=True)
        else:
            for each in _parts(target):
                yield each, value if each is target else None
    if targets is None:
        single = isinstance(node, ast.AnnAssign | ast.NamedExpr)
        for target in _targets(node):
            yield target, value if single else None


def _defined_functions(scope: ast.AST) -> set[str]:
    """The functions that a scope defines, those inside of other scopes aside."""
    found, waiting = set(), list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif not isinstance(node, ast.ClassDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)
    return found


def _no_names(tree: ast.Module) -> set[ast.AST]:
    """The strings that are statements of their own, and those in `__slots__` and `__all__`."""
    found: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            found.add(node.value)
        names = {dotted(target) for target in _targets(node)}
        if names & {"__slots__", "__all__"}:
            found |= set(ast.walk(node))
    return found


def read(folder: pathlib.Path, theirs: set[str], except_in: str = "_keras") -> Report:
    """Reads all sources below the folder, those in its `_keras` only for what they define.

    Args:
        folder: The package.
        theirs: The underscore names that other packages define.
        except_in: The folder of the package that may touch private parts.

    Returns:
        What the sources touch.
    """
    trees = {
        path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.py"))
    }
    own = Definitions(trees.values())
    # What the ground floor keeps to itself is no name of the others.
    own.names = Definitions(
        tree for path, tree in trees.items() if path.relative_to(folder).parts[0] != except_in
    ).names
    report = Report()
    for path, tree in trees.items():
        inside = path.relative_to(folder)
        if inside.parts[0] != except_in:
            Reader(str(folder.name / inside), tree, own, theirs, report)
    return report


def names_of(packages: Iterable[str]) -> set[str]:
    """The underscore names that the classes of installed packages define.

    Raises:
        ModuleNotFoundError: A package is not installed.
    """
    found: set[str] = set()
    for package in packages:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ModuleNotFoundError(f"{package} is not installed", name=package)
        for folder in spec.submodule_search_locations:
            for path in pathlib.Path(folder).rglob("*.py"):
                if not path.name.endswith("_test.py"):
                    found |= Definitions([ast.parse(path.read_text(encoding="utf-8"))]).names
    return found


def main(folder: str | None = None) -> int:
    """Prints what was found; returns the exit code."""
    report = read(
        pathlib.Path(folder) if folder else ROOT / "kerasreg", names_of(OTHERS) | OF_TENSORFLOW
    )
    print(report)
    return int(bool(report))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
