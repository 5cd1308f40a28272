"""The script that breaks each function of the ground floor, on a module of four functions."""

import importlib.util
import pathlib
import sys
import types

import pytest

pytest_plugins = ["pytester"]

PATH = pathlib.Path(__file__).parents[2] / "tools" / "break_internals.py"
SOURCE = """
def answer(): return 42
def answer_of(x): return x
def unasked(): return 1
def unnoticed(): return None
def _private(): return 1
"""
TESTS = """
import questions
from questions import answer_of

def test_answer_is_a_number(): assert questions.answer() == 42
def test_answer_of_a_number_imported_by_name(): assert answer_of(3) == 3
def test_unnoticed(): assert questions.unnoticed() is None
def test_of_nothing(): pass
"""


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("break_internals", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_functions_without_a_test_that_notices_are_named(script, pytester, monkeypatch):
    questions = types.ModuleType("questions")
    exec(SOURCE, vars(questions))
    monkeypatch.setitem(sys.modules, "questions", questions)
    pytester.makepyfile(test_questions=TESTS)
    breaker = script.Breaker([questions])
    result = pytester.inline_run("-p", "no:cacheprovider", plugins=[breaker])
    result.assertoutcome(passed=4)
    assert breaker.report() == [
        "questions.unasked: no test is named after it",
        "questions.unnoticed: broken, and no test of it fails",
    ]
    assert questions.answer() == 42
