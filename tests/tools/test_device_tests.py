"""`make test-gpu` and `make test-tpu`: without a device they fail, and say what is missing."""

import pathlib
import subprocess

import pytest
from helpers.scripts import module_of

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tool():
    yield from module_of("tools/device_tests.py")


@pytest.mark.parametrize("kind", ["gpu", "tpu"])
def test_without_a_device_nothing_runs_and_that_is_said(tool, kind, monkeypatch, capsys):
    monkeypatch.setitem(tool.DEVICES, kind, "print()")
    assert tool.main([kind]) == 1
    assert f"no {kind.upper()}: " in capsys.readouterr().err


def test_a_device_that_cannot_be_asked_for_is_none(tool, monkeypatch):
    monkeypatch.setitem(tool.DEVICES, "gpu", "raise SystemExit('no driver')")
    assert tool.devices("gpu") == ""


@pytest.mark.parametrize("kind", ["gpu", "tpu"])
def test_tests_are_there_and_run_where_a_device_is(tool, kind, monkeypatch):
    assert all((ROOT / path).exists() for path in tool.TESTS[kind])
    monkeypatch.setitem(tool.DEVICES, kind, "print('a device')")
    real, run = subprocess.run, []

    def fake(command, **given):
        if "pytest" not in command:
            return real(command, **given)
        run.append((command, given["env"]))
        return subprocess.CompletedProcess(command, 7)

    monkeypatch.setattr(tool.subprocess, "run", fake)
    assert tool.main([kind, "-x"]) == 7
    ((command, environment),) = run
    assert set(tool.TESTS[kind]) < set(command)
    assert command[-1] == "-x"
    assert tool.ENVIRONMENT[kind].items() <= environment.items()


def test_another_word_is_refused(tool, capsys):
    assert tool.main(["cpu"]) == 2
    assert "gpu|tpu" in capsys.readouterr().err
