"""Runs the `kerasreg` command: within the test's process, or as a user does."""

import contextlib
import dataclasses
import io
import json
import logging
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from absl import logging as absl_logging

import kerasreg
from kerasreg.cli import _main

_ROOT = str(pathlib.Path(kerasreg.__file__).resolve().parents[1])

# More than any of these processes takes on a busy machine: only a hang meets it.
_HANGS = 300


@dataclasses.dataclass(frozen=True)
class Finished:
    """The exit code of a command, and what it printed."""

    code: int
    out: str
    err: str


def command_inside(*arguments, cwd, out=None):
    """Runs the command in this process, which has TensorFlow already, and leaves it as it was.

    `out` is the stream that takes what is printed. What libraries print from C++ is not caught,
    and no signal can end it: that needs a process.
    """
    out, err = out or io.StringIO(), io.StringIO()
    root, server = logging.getLogger(), logging.getLogger("kerasreg.serving")
    tensorflow, absl = logging.getLogger("tensorflow"), logging.getLogger("absl")
    with contextlib.ExitStack() as stack:
        for logger in (root, server, tensorflow, absl):
            stack.callback(logger.setLevel, logger.level)
        # Out of reach: the command may close the handlers that it finds.
        stack.callback(setattr, root, "handlers", root.handlers)
        root.handlers = []
        for number in (signal.SIGINT, signal.SIGTERM):
            stack.callback(signal.signal, number, signal.getsignal(number))
        stack.enter_context(contextlib.chdir(cwd))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        # A web server lets all handlers close their streams; absl's leaves that of `sys.stderr`.
        handler = absl_logging.get_absl_handler().python_handler
        stack.callback(handler.setStream, handler.stream)
        handler.setStream(err)
        code = _main.run(["kerasreg", *arguments])
    return Finished(code, out.getvalue(), err.getvalue())


def _environment(first_on_path=None):
    environment = dict(os.environ)
    # The command has to be quiet without help from the environment.
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    paths = [first_on_path, _ROOT, os.environ.get("PYTHONPATH")]
    environment["PYTHONPATH"] = os.pathsep.join(str(path) for path in paths if path)
    return environment


def started(*arguments, cwd=None):
    """Starts `python -m kerasreg` as a user does; returns the process."""
    return subprocess.Popen(
        [sys.executable, "-m", "kerasreg", *arguments],
        cwd=cwd,
        env=_environment() | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def python(*arguments, cwd, first_on_path=None):
    """Runs Python to its end; `first_on_path` hides installed packages."""
    process = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=_environment(first_on_path),
        capture_output=True,
        text=True,
        timeout=_HANGS,
        check=False,
    )
    return Finished(process.returncode, process.stdout, process.stderr)


def command(*arguments, cwd, first_on_path=None):
    """Runs `python -m kerasreg` to its end."""
    return python("-m", "kerasreg", *arguments, cwd=cwd, first_on_path=first_on_path)


def command_stopped(line, stop, *arguments, cwd, once_there=None):
    """Runs the command and sends it the signal `stop` when it has printed such a line.

    With `once_there`, not before that file is there.
    """
    with started(*arguments, cwd=cwd) as process:
        try:
            printed = ""
            for one in process.stdout:
                printed += one
                if one.startswith(line):
                    while once_there and not once_there.exists() and process.poll() is None:
                        time.sleep(0.01)
                    process.send_signal(stop)
                    break
            rest, errors = process.communicate(timeout=_HANGS)
        finally:
            if process.poll() is None:
                process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
    return Finished(process.returncode, printed + rest, errors)


def printed_until(process, line):
    """What a process has printed when it has printed such a line."""
    printed = ""
    for one in process.stdout:
        printed += one
        if one.startswith(line):
            return printed
    raise AssertionError(printed + process.stderr.read())


def rest_of(process):
    """The exit code of a process that runs, what it prints from here on, and its errors."""
    out = process.stdout.read()  # Of which some may have been read ahead.
    _, err = process.communicate(timeout=_HANGS)
    return process.returncode, out, err


def check_refused(finished, *words):
    """Asserts that bad input was answered as it should be, and names all of `words`."""
    assert "Traceback" not in finished.err
    assert finished.err.startswith("kerasreg: ")
    assert finished.err.endswith("\n")
    assert len(finished.err.splitlines()) == 1
    for word in words:
        assert word in finished.err
    assert finished.out == ""
    assert finished.code == 2


class SearchFolder:
    """What a search has left in its folder."""

    def __init__(self, path):
        self.path = pathlib.Path(path)

    def json(self, name):
        return json.loads((self.path / name).read_text(encoding="utf-8"))

    @property
    def report(self):
        return self.json("report.json")

    @property
    def trials(self):
        """State of each trial, in the order of their numbers."""
        states = [
            json.loads(file.read_text(encoding="utf-8"))
            for file in self.path.glob("search/trial_*/trial.json")
        ]
        return sorted(states, key=lambda state: int(state["trial_id"]))

    @property
    def versions(self):
        """Complete versions of the exported model."""
        return sorted(int(file.parent.name) for file in self.path.glob("model/*/saved_model.pb"))


def check_same_search(where, reference, trials):
    """All trials of a search folder are there once, and the ensemble is that of the other one."""
    assert [trial["status"] for trial in where.trials] == ["COMPLETED"] * trials
    for one, other in zip(where.trials, reference.trials, strict=True):
        assert one["hyperparameters"]["values"] == other["hyperparameters"]["values"]
        assert one["score"] == pytest.approx(other["score"], rel=1e-4)
    mine, theirs = where.report["ensemble"], reference.report["ensemble"]
    assert [row["trial_id"] for row in mine["rows"]] == [row["trial_id"] for row in theirs["rows"]]
    assert mine["score"] == pytest.approx(theirs["score"], rel=1e-4)
    assert where.versions == [1]
    header, *rows = (where.path / "results.csv").read_text().splitlines()
    assert header.startswith("trial,status,score")
    assert len(rows) == trials


def contents(path):
    """Every path below a folder with the bytes of the files: to see what has changed."""
    return {
        str(one.relative_to(path)): one.read_bytes() if one.is_file() else None
        for one in sorted(path.rglob("*"))
    }
