"""The list of faults is alive: each can be made in the code as it is now."""

import collections
import importlib.util
import json
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def mutate():
    """`tools/mutate.py`, which is in no package."""
    spec = importlib.util.spec_from_file_location("mutate", ROOT / "tools" / "mutate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_fault_has_one_place_and_compiles(mutate):
    texts = mutate.sources(ROOT)
    for mutation in mutate.load(ROOT / "tools" / "mutations.toml"):
        place = mutate.place_of(mutation, texts)
        assert mutate.mutated(place, texts) != texts[place.path], mutation.name


def test_there_are_faults_in_every_package(mutate):
    texts = mutate.sources(ROOT)
    packages = {path.split("/")[1] for path in texts if path.count("/") > 1}
    places = [mutate.place_of(mutation, texts) for mutation in mutate.load()]
    counts = collections.Counter(place.path.split("/")[1] for place in places)
    assert len(places) >= 70
    # `testing` holds checks, which its own tests break one by one.
    packages = {name for name in packages if not name.startswith("_") and name != "testing"}
    assert all(counts[package] >= 3 for package in packages), counts


@pytest.mark.parametrize(
    ("texts", "where"),
    [
        ({"kerasreg/a.py": "x = 1\n"}, "nowhere"),
        ({"kerasreg/a.py": "y = 2\ny = 2\n"}, "kerasreg/a.py:1, kerasreg/a.py:2"),
        ({"kerasreg/a.py": "y = 2\n", "kerasreg/b.py": "\ny = 3\n"}, "a.py:1, kerasreg/b.py:2"),
    ],
)
def test_a_fault_that_is_nowhere_or_in_two_places_is_refused(mutate, texts, where):
    changes = (("y = 2", "y = 0"), ("y = 3", "y = 0"))
    mutation = mutate.Mutation("name", "package", "constant", "y is zero.", changes)
    with pytest.raises(ValueError, match=f"'name' must occur once. It occurs: .*{where};"):
        mutate.place_of(mutation, texts)


def small_tree(folder):
    """A package with tests, of which one fails without any fault."""
    files = {
        "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '-ra -m \"not long\"'\n",
        "kerasreg/__init__.py": "",
        "kerasreg/room/__init__.py": "",
        "kerasreg/room/_sums.py": (
            "def add(a, b):\n    return a + b\n\n\ndef double(a):\n    return 2 * a\n"
            "\n\ndef zero():\n    return 0\n"
        ),
        "kerasreg/above/__init__.py": "from kerasreg.room import _sums\n",
        "tests/room/test_other.py": "def test_nothing():\n    pass\n",
        "tests/room/test_sums.py": (
            "from kerasreg.room._sums import add\n\n\n"
            "def test_always_fails():\n    raise RuntimeError\n\n\n"
            "def test_adds():\n    assert add(1, 2) == 3\n"
        ),
        "tests/above/test_above.py": (
            "from kerasreg.above import _sums\n\n\n"
            "def test_doubles():\n    assert _sums.double(3) == 6\n"
        ),
        "tools/list.toml": "\n".join(
            f"[[mutation]]\nname = '{name}'\npackage = 'room'\nkind = 'k'\nfault = 'f'\n"
            f"changes = [['{before}', '{after}']]\n"
            for name, before, after in (
                ("adds", "a + b", "a - b"),
                ("doubles", "2 * a", "3 * a"),
                ("zero", "return 0", "return 1"),
            )
        ),
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.mark.long
def test_the_tool_tells_what_is_caught_and_goes_on_with_its_report(mutate, monkeypatch, tmp_path):
    tree = tmp_path / "tree"
    small_tree(tree)
    mutations = mutate.load(tree / "tools" / "list.toml")
    monkeypatch.setattr(mutate, "load", lambda: mutations)
    report = tmp_path / "report.json"
    before = {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()}

    def run(*options):
        command = ["mutate.py", f"--tree={tree}", f"--report={report}", *options]
        monkeypatch.setattr(sys, "argv", command)
        return mutate.main()

    assert run("--only=adds", "--only=zero") == 0
    results = json.loads(report.read_text())["results"]
    assert results["adds"]["status"] == "caught"
    # By none that fails also without the fault.
    assert results["adds"]["test"] == "tests/room/test_sums.py::test_adds"
    assert results["zero"]["status"] == "not caught"
    assert {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()} == before

    older = tmp_path / "older.json"
    results["zero"]["status"] = "caught"
    older.write_text(json.dumps({"results": results}))
    monkeypatch.setattr(mutate, "Copy", forbidding(mutate.Copy, "kerasreg/room/_sums.py:2"))
    assert run(f"--before={older}") == 1
    results = json.loads(report.read_text())["results"]
    # By the tests of a package that imports it.
    assert results["doubles"]["test"] == "tests/above/test_above.py::test_doubles"


def forbidding(kind, place):
    """A copy of a tree in which a fault must not be made again."""

    class Forbidding(kind):
        def fault(self, of):
            assert f"{of.path}:{of.line}" != place
            return super().fault(of)

    return Forbidding
