"""The script that counts private names, on small sources."""

import importlib.util
import pathlib
import sys
import textwrap

import pytest

PATH = pathlib.Path(__file__).parents[2] / "tools" / "check_private_names.py"
# Names that Keras would define.
THEIRS = {"_dtype", "_layers", "_variables", "_save_trial"}


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("check_private_names", PATH)
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look for the module by name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def read(script, tmp_path):
    """Reads a package with one source, and others by path; returns the texts of each kind."""

    def run(source, at="layers/_a.py", others=()):
        for name, text in {at: source, **dict(others)}.items():
            path = tmp_path / "kerasreg" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        report = script.read(tmp_path / "kerasreg", THEIRS)
        kinds = (report.imports, report.names, report.replacements)
        return tuple([finding.text for finding in findings] for findings in kinds)

    return run


@pytest.mark.parametrize(
    "source",
    [
        "import keras.src.backend",
        "from keras.src import backend",
        "from keras import src",
        "from keras_tuner.src.engine import tuner_utils",
        "from tensorflow.python.eager import context",
        "from tensorflow.core.framework import graph_pb2",
        "from jax._src import core",
        "from optuna import _callbacks",
        "def f():\n    import tensorflow.python",
        "import keras\nx = keras.src.backend",
        "import tensorflow as tf\nx = tf.python.eager",
        "import importlib\nx = importlib.import_module('keras.src.backend')",
        "y = x.startswith('keras.src.ops.')",
    ],
)
def test_import_of_a_private_module_counts_once(read, source):
    assert len(read(source)[0]) == 1


@pytest.mark.parametrize(
    "source",
    [
        "import keras\nimport tensorflow as tf\nfrom keras import ops",
        "from keras.src_of_mine import a",
        "from kerasreg._validation import check",
        "from kerasreg.layers import _dropout",
        "from . import _src",
        "from _thread import _count",
        "'''From keras.src.backend.'''",
        "import keras\nx = keras.ops.source",
    ],
)
def test_other_imports_do_not_count(read, source):
    assert read(source)[0] == []


def test_what_comes_of_a_private_import_counts_once(read):
    source = "from keras.src.backend import nn\nnn.conv(nn.pool)"
    assert read(source)[0] == ["from keras.src.backend import nn"]


@pytest.mark.parametrize(
    "expression",
    [
        "x._unknown",
        "x._unknown.y",
        "x.y._unknown",
        "x[0]._unknown",
        "f()._unknown",
        "getattr(x, '_unknown', None)",
        "hasattr(x, '_unknown')",
        "vars(x)['_unknown']",
        "x.__dict__['_unknown']",
        "operator.attrgetter('y._unknown')",
        "patched(x, _unknown=1)",
        "'_save_trial'",
        "get('current_call_ctx')",
        "name.split('loop_body/')",
    ],
)
def test_private_name_of_a_foreign_object_counts(read, expression):
    imports, names, replacements = read(f"def f(x, name):\n    return {expression}\n")
    assert len(names) == 1
    assert not imports
    assert not replacements


def test_written_private_name_counts(read):
    assert read("def f(x):\n    x._unknown = 1\n    del x._other\n")[1] == [
        "x._unknown",
        "x._other",
    ]


@pytest.mark.parametrize(
    "source",
    [
        "x.__name__\ngetattr(x, '__module__')",
        "x._replace(a=1)\nx._fields\nx._asdict()",
        "import os\nos._exit(1)",
        "name.endswith('_layers')\nname.removesuffix('_dtype')",
        "f'{name}_layers'",
        "'_not_of_keras'",
        "getattr(x, name)",
        "class A:\n    __slots__ = ('_layers',)",
        "'''Reads `_layers`, and loop_body.'''",
        "raise ValueError('not in loop_body of it')",
        "for _, x in y: _",
    ],
)
def test_other_names_do_not_count(read, source):
    assert read(source)[1] == []


@pytest.mark.parametrize(
    "definition",
    [
        "class A:\n    def _own(self): ...",
        "class A:\n    def f(self):\n        self._own = 1",
        "class A:\n    def f(self):\n        a, (self._own, *b) = c",
        "class A:\n    def f(self):\n        self._own: int = 1",
        "class A:\n    def f(self):\n        with c as self._own: ...",
        "class A:\n    def f(self):\n        object.__setattr__(self, '_own', 1)",
        "class A:\n    _own: int",
        "class A:\n    _own = 1",
        "class A:\n    __slots__ = ('_own',)",
        "_own = 1",
        "def _own(): ...",
    ],
)
def test_name_that_the_package_defines_is_its_own(read, definition):
    source = "def f(x):\n    return x._own, getattr(x, '_own')\n"
    assert read(source, others={"models/_b.py": definition})[1] == []


def test_name_that_only_the_ground_floor_defines_is_foreign(read):
    _, names, _ = read("x._own", others={"_keras/_b.py": "class A:\n    _own = 1"})
    assert names == ["x._own"]


def test_ground_floor_may_touch_everything(read):
    source = "from keras.src import a\nx._layers\nsetattr(x, 'y', 1)\nx.__class__ = A"
    assert read(source, at="_keras/_a.py") == ([], [], [])
    assert all(read(source, at="layers/_keras.py"))


def test_name_of_both_is_own_on_self_only(read):
    source = """
    class A:
        def __init__(self):
            self._dtype = 1

        def f(self, other):
            return self._dtype, other._dtype
    """
    assert read(source)[1] == ["other._dtype"]


def test_name_of_both_is_foreign_on_the_self_of_another_class(read):
    source = """
    class A:
        _dtype = 1

    class B(Foreign):
        def f(self):
            return self._dtype
    """
    assert read(source)[1] == ["self._dtype"]


def test_classes_inherit_names_over_modules(read):
    source = """
    from kerasreg.layers._b import Base

    class A(Base["int"]):
        def f(self):
            return self._dtype, super()._dtype, self._layers
    """
    base = "class Root:\n    _dtype = 1\n\nclass Base(Root):\n    pass"
    assert read(source, others={"layers/_b.py": base})[1] == ["self._layers"]


def test_super_of_a_foreign_base_is_foreign(read):
    source = "class A(Layer):\n    def _layers(self):\n        return super()._layers()"
    assert read(source)[1] == ["super()._layers"]


def test_annotation_and_construction_say_whose_a_name_is(read):
    source = """
    import keras

    class A:
        _dtype = 1

    def f(a: A, b: "A | None", c: keras.A, d):
        e = A()
        return a._dtype, b._dtype, c._dtype, d._dtype, e._dtype, A()._dtype, A._dtype
    """
    assert read(source)[1] == ["c._dtype", "d._dtype"]


def test_any_private_name_of_an_imported_module_is_foreign(read):
    source = "import numpy as np\n_core = 1\nnp._core\nnp.linalg._core"
    assert read(source)[1] == ["np._core", "np.linalg._core"]


def test_any_private_name_of_a_module_of_the_package_is_its_own(read):
    assert read("from kerasreg.layers import _b\n_b._helper")[1] == []


def test_one_name_counts_once_a_line(read):
    assert read("x._a + x._a + x._b\nx._a")[1] == ["x._a", "x._b", "x._a"]


@pytest.mark.parametrize(
    "statement",
    [
        "setattr(x, name, 1)",
        "setattr(x.y, 'fit', 1)",
        "delattr(x, 'fit')",
        "object.__setattr__(x, 'fit', 1)",
        "object.__setattr__(self.x, 'fit', 1)",
        "object.__delattr__(x, 'fit')",
        "x.__dict__['fit'] = 1",
        "del vars(x)['fit']",
        "x.__dict__.update(fit=1)",
        "x.__class__ = A",
        "self.__class__ = A",
        "x.fit = lambda: 1",
        "x.fit = replacement",
        "x.fit, y = replacement, 1",
        "x.fit = functools.partial(x.fit, 1)",
        "x.capture = contextlib.nullcontext",
        "self.x.fit = replacement",
        "x.train_function = None",
        "Foreign.fit = 1",
        "del Foreign.fit",
        "Foreign.fit: int = 1",
        "module.fit = 1",
    ],
)
def test_replaced_attribute_of_a_foreign_object_counts(read, statement):
    source = f"""
    import contextlib, functools
    import module
    from keras import Foreign

    def replacement(): ...

    class A:
        def f(self, x, name, y):
            {statement}
    """
    _, names, replacements = read(source)
    assert len(replacements) == 1
    assert not names


def test_what_is_put_back_counts_with_the_replacement(read):
    source = """
    def f(tuner):
        def mine(): ...
        before = tuner.end
        tuner.end = mine
        tuner.end = before
    """
    assert len(read(source)[2]) == 2


@pytest.mark.parametrize(
    "statement",
    [
        "x.learning_rate = 0.1",
        "x.trainable = False",
        "x.y.stop_training = True",
        "self.fit = replacement",
        "object.__setattr__(self, 'fit', 1)",
        "setattr(self, name, 1)",
        "replacement.attribute = lambda: 1",
        "own.fit = replacement",
        "setattr(own, name, 1)",
        "library(name).restype = ctypes.c_void_p",
        "x[name] = 1",
        "x.sizes['fit'] = 1",
        "fit = replacement",
    ],
)
def test_other_bindings_do_not_count(read, statement):
    source = f"""
    import ctypes

    def replacement(): ...

    class A:
        def f(self, x, name, own: "A"):
            {statement}
    """
    assert read(source)[2] == []


def test_names_of_installed_packages_are_read(script, tmp_path, monkeypatch):
    package = tmp_path / "installed_package" / "inner"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "module.py").write_text("class A:\n    def f(self):\n        self._a = self.b = 1\n")
    (package / "module_test.py").write_text("_c = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert script.names_of(["installed_package"]) == {"_a"}
    with pytest.raises(ModuleNotFoundError, match="not_an_installed_package"):
        script.names_of(["not_an_installed_package"])


@pytest.mark.parametrize(("source", "code"), [("x = 1\n", 0), ("x._unknown\nx.fit = f\n", 1)])
def test_exit_code_and_totals(script, tmp_path, monkeypatch, capsys, source, code):
    monkeypatch.setattr(script, "OTHERS", ())
    (tmp_path / "a.py").write_text(source)
    assert script.main(str(tmp_path)) == code
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == (
        "outside of kerasreg/_keras: 0 imports of private modules, "
        f"{code} private names of foreign objects, 0 replaced attributes of foreign objects"
    )
    assert ("a.py:1: x._unknown" in out) == bool(code)
