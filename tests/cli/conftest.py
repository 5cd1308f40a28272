"""The real command in processes of its own, and runs that several tests look at."""

import concurrent.futures
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import pytest

import kerasreg

_ROOT = str(pathlib.Path(kerasreg.__file__).resolve().parents[1])

# More than any of these processes takes on a busy machine: only a hang meets it.
_HANGS = 300


@dataclasses.dataclass(frozen=True)
class Finished:
    """What a process left behind."""

    code: int
    out: str
    err: str


class Command:
    """Starts `python -m kerasreg` as a user does."""

    def environment(self, first_on_path=None):
        environment = dict(os.environ)
        # The command has to be quiet without help from the environment.
        environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
        paths = [first_on_path, _ROOT, os.environ.get("PYTHONPATH")]
        environment["PYTHONPATH"] = os.pathsep.join(str(path) for path in paths if path)
        return environment

    def __call__(self, *arguments, cwd, first_on_path=None):
        """Runs the command to its end; `first_on_path` hides installed packages."""
        return self._finish(["-m", "kerasreg", *arguments], cwd, first_on_path)

    def with_change(self, change, *arguments, cwd):
        """Runs the command in a process that executes `change`, some Python code, before."""
        lines = [
            "import os, sys",
            "sys.argv[0] = 'kerasreg'",
            "os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'",
            "from kerasreg.cli._main import _quiet_start, main",
            # What TensorFlow prints while it is loaded is not the command's.
            "with _quiet_start():",
            textwrap.indent(textwrap.dedent(change), "    "),
            "main()",
        ]
        return self._finish(["-c", "\n".join(lines), *arguments], cwd)

    def script(self, code, *arguments, cwd):
        """Runs Python code in a process of its own."""
        return self._finish(["-c", code, *arguments], cwd)

    def stop_at(self, line, stop, *arguments, cwd, once_there=None):
        """Runs the command and sends it the signal `stop` when it has printed such a line.

        With `once_there`, not before that file is there.
        """
        with subprocess.Popen(
            [sys.executable, "-m", "kerasreg", *arguments],
            cwd=cwd,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
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

    def _finish(self, arguments, cwd, first_on_path=None):
        process = subprocess.run(
            [sys.executable, *arguments],
            cwd=cwd,
            env=self.environment(first_on_path),
            capture_output=True,
            text=True,
            timeout=_HANGS,
            check=False,
        )
        return Finished(process.returncode, process.stdout, process.stderr)


class Folder:
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

    def contents(self):
        """Every path below the folder with the bytes of the files: to see what has changed."""
        return {
            str(path.relative_to(self.path)): path.read_bytes() if path.is_file() else None
            for path in sorted(self.path.rglob("*"))
        }


@pytest.fixture(scope="session")
def command():
    return Command()


@pytest.fixture(scope="session")
def folder():
    """The class that reads the folder of a search."""
    return Folder


@pytest.fixture(scope="session")
def refused():
    """Asserts that bad input was answered as it should be, and names all of `words`."""

    def check(finished, *words):
        assert "Traceback" not in finished.err
        assert finished.err.startswith("kerasreg: ")
        assert finished.err.endswith("\n")
        assert len(finished.err.splitlines()) == 1
        for word in words:
            assert word in finished.err
        assert finished.out == ""
        assert finished.code == 2

    return check


@pytest.fixture(scope="module")
def runs(request, command, tmp_path_factory):
    """Futures of the module's `SCENARIOS` that the selected tests use, two at a time.

    A scenario is a function of (command, folder to work in); the tests reach it
    by a fixture of its name.
    """
    scenarios = request.module.SCENARIOS
    used = {
        name
        for item in request.session.items
        if getattr(item, "module", None) is request.module
        for name in item.fixturenames
    }
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        yield {
            name: pool.submit(scenario, command, tmp_path_factory.mktemp(name))
            for name, scenario in scenarios.items()
            if name in used
        }
