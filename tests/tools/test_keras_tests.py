"""`tools/keras_tests.py` replaces names of Keras, runs tests and says what became of them."""

import importlib.metadata
import importlib.util
import pathlib

import keras
import pytest

from kerasreg import layers

ROOT = pathlib.Path(__file__).parents[2]
FILE = "layers/core/probe_test.py"
TESTS = """
import pytest
from keras.src import layers, regularizers, testing

class ProbeTest(testing.TestCase):
    def test_passes(self):
        self.assertEqual(layers.Dropout.__name__, "ScheduledDropout")
        self.assertEqual(regularizers.get("l2").__class__.__name__, "L2")
        self.assertEqual(__name__, "keras.src.layers.core.probe_test")

    def test_fails(self):
        self.assertEqual(1, 2)

    def test_needs_more(self):
        import a_package_that_nobody_has

    @pytest.mark.skipif(True, reason="never")
    def test_is_skipped(self):
        pass
"""


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location("keras_tests", ROOT / "tools" / "keras_tests.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def source(tmp_path):
    file = tmp_path / "keras" / "src" / FILE
    file.parent.mkdir(parents=True)
    file.write_text(TESTS)
    version = importlib.metadata.version("keras")
    (tmp_path / "keras" / "src" / "version.py").write_text(f'__version__ = "{version}"\n')
    return tmp_path


def test_classes_are_in_the_place_of_those_of_keras_only_while_the_tests_run(tool, source):
    places = {"keras.src.layers.Dropout": layers.ScheduledDropout, **tool._PENALTIES}
    outcomes = tool.run(source, FILE, places)
    assert outcomes.passed == ["ProbeTest::test_passes"]
    assert outcomes.failed == {
        "ProbeTest::test_fails": "AssertionError: 1 != 2",
        "ProbeTest::test_needs_more": "ModuleNotFoundError: No module named "
        "'a_package_that_nobody_has'",
    }
    assert outcomes.skipped == ["ProbeTest::test_is_skipped"]
    assert isinstance(keras.regularizers.get("l2"), keras.regularizers.L2)
    assert importlib.import_module("keras.src.layers").Dropout is keras.layers.Dropout


def test_a_name_that_keras_does_not_have_is_an_error(tool):
    places = {"keras.src.layers.NoSuchLayer": object}
    with pytest.raises(KeyError, match="NoSuchLayer"), tool.replaced(places):
        pass


def test_what_is_not_expected_is_said_and_is_an_error(tool, source, monkeypatch, capsys):
    places = {"keras.src.layers.Dropout": layers.ScheduledDropout, **tool._PENALTIES}
    monkeypatch.setattr(tool, "RUNS", [tool.Run(FILE, places), tool.Run("no_such_test.py", {})])
    with pytest.raises(SystemExit, match="not as expected: ProbeTest::test_fails"):
        tool.main(str(source))
    monkeypatch.setattr(tool, "EXPECTED", {"*::test_fails": "One is not two."})
    capsys.readouterr()
    tool.main(str(source))
    printed = capsys.readouterr().out
    assert "keras.src.layers.Dropout: ScheduledDropout" in printed
    assert "1 passed, 2 failed, 1 skipped" in printed
    assert "FAILED ProbeTest::test_fails: AssertionError: 1 != 2\n    One is not two." in printed
    monkeypatch.setattr(
        tool, "EXPECTED", {"ProbeTest::test_fails": "", "ProbeTest::test_passes": ""}
    )
    with pytest.raises(SystemExit, match="not as expected: ProbeTest::test_passes"):
        tool.main(str(source))


def test_another_version_is_refused(tool, source):
    (source / "keras" / "src" / "version.py").write_text('__version__ = "0.0.1"\n')
    with pytest.raises(SystemExit, match="FOLDER must have the source of Keras"):
        tool.main(str(source))
