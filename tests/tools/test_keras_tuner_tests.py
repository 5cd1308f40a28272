"""The tool that runs KerasTuner's own tests: what it changes in them, and what it says."""

import importlib.util
import pathlib
import sys

import pytest

PATH = pathlib.Path(__file__).parents[2] / "tools" / "keras_tuner_tests.py"
SOURCE = """
import keras_tuner
from keras_tuner import backend
from keras_tuner.engine import tuner as tuner_module
from keras_tuner.test_utils import mock_distribute
made = [keras_tuner.RandomSearch, keras_tuner.tuners.Hyperband, bo_module.BayesianOptimization]
made += [gridsearch.GridSearch, keras_tuner.Tuner, tuner_module.Tuner]
kept = [keras_tuner.oracles.RandomSearchOracle, gridsearch.GridSearchOracle, keras_tuner.Oracle]
"""
EXPECTED = """
import keras_tuner
from keras_tuner.src import backend
from keras_tuner.src.engine import tuner as tuner_module
from test_utils import mock_distribute
made = [keras_tuner.RandomSearch, keras_tuner.tuners.Hyperband, bo_module.BayesianOptimization]
made += [gridsearch.GridSearch, keras_tuner.Tuner, tuner_module.Tuner]
kept = [keras_tuner.oracles.RandomSearchOracle, gridsearch.GridSearchOracle, keras_tuner.Oracle]
"""
REPLACED = EXPECTED.replace(
    "keras_tuner.RandomSearch, keras_tuner.tuners.Hyperband, bo_module.BayesianOptimization]",
    "kerasreg.tuners.VectorizedRandomSearch, kerasreg.tuners.VectorizedHyperband, "
    "kerasreg.tuners.VectorizedBayesianOptimization]",
).replace(
    "gridsearch.GridSearch, keras_tuner.Tuner, tuner_module.Tuner]",
    "kerasreg.tuners.VectorizedGridSearch, kerasreg.tuners.VectorizedTuner, "
    "kerasreg.tuners.VectorizedTuner]",
)


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("keras_tuner_tests", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_names_are_replaced_and_only_those(tool, tmp_path):
    (tmp_path / "a.py").write_text(SOURCE)
    tool.copy(tmp_path / "a.py", tmp_path / "b.py", False)
    assert (tmp_path / "b.py").read_text() == EXPECTED
    tool.copy(tmp_path / "a.py", tmp_path / "b.py", True)
    assert (tmp_path / "b.py").read_text() == "import kerasreg.tuners\n" + REPLACED


@pytest.mark.long
def test_results_have_the_first_line_of_a_reason(tool, tmp_path):
    file = tmp_path / "some_test.py"
    file.write_text(
        "import pytest\ndef test_good(): pass\ndef test_bad(): assert 1 == 2, 'words\\nmore'\n"
        "@pytest.mark.skip\ndef test_skipped(): pass\n"
    )
    (_, good), (name, bad) = tool.run(file)
    assert good is None
    assert (name, bad) == ("test_bad", "AssertionError: words")
    file.write_text("import not_there\n")
    ((_, reason),) = tool.run(file)
    assert reason


def test_a_folder_without_tests_is_refused(tool, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tool", str(tmp_path)])
    with pytest.raises(SystemExit):
        tool.main()
    assert "is no source of KerasTuner" in capsys.readouterr().err
