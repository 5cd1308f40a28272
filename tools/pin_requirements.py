"""Writes requirements.txt, requirements-test.txt and requirements-docs.txt: exact versions.

Usage: python tools/pin_requirements.py

Installs `kerasreg[tensorflow-cpu,search]`, then what makes the documentation, and then the test
and lint tools, into new environments, and writes down what came, without an address of an index.
"""

import pathlib
import re
import subprocess
import tempfile
import venv

ROOT = pathlib.Path(__file__).parent.parent
HEADER = "# Written by `make requirements`; what {what} installs. Python 3.11 to 3.13.\n"
# The one package of which nobody can choose the wheel for the user: there are
# wheels without GPU support for Linux and Windows on x86-64 only.
ONLY_THERE = "; platform_machine in 'x86_64 AMD64' and sys_platform != 'darwin'"
ELSEWHERE = "; platform_machine not in 'x86_64 AMD64' or sys_platform == 'darwin'"


def pinned(python: str) -> dict[str, str]:
    """Returns the lines of `pip freeze`, by package name."""
    command = [python, "-m", "pip", "freeze", "--exclude", "kerasreg"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")
    return {re.split("[=@ ]", line)[0].lower(): line for line in lines if "==" in line}


def installed(*extras: str) -> list[dict[str, str]]:
    """The pins after each of some installations into one new environment."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = f"{folder}/bin/python"
        for extra in extras:
            pip = [python, "-m", "pip", "install", "--quiet", f"{ROOT}[tensorflow-cpu,{extra}]"]
            subprocess.run(pip, check=True)
            found.append(pinned(python))
    return found


def main() -> None:
    """Writes all three files."""
    demo, test = installed("search", "test,lint")
    before, after = installed("search", "search,docs")
    docs = {name: line for name, line in after.items() if name not in before}
    for name, what, pins in (
        ("requirements.txt", "`make demo`", demo),
        # Whole, not "-r requirements.txt": Bazel's rules read pins only.
        ("requirements-test.txt", "`make test`", test),
        ("requirements-docs.txt", "`make docs` (beside requirements.txt)", docs),
    ):
        lines = [for_every_platform(line) for line in pins.values()]
        (ROOT / name).write_text(HEADER.format(what=what) + "\n".join(lines) + "\n")


def for_every_platform(line: str) -> str:
    """A pin only where there are wheels: of `tensorflow-cpu`, else of `tensorflow`; of `uvloop`."""
    package, version = line.split("==")
    if package == "uvloop":
        return f"{line} ; sys_platform != 'win32'"
    if package.replace("_", "-") != "tensorflow-cpu":
        return line
    return f"tensorflow-cpu=={version} {ONLY_THERE}\ntensorflow=={version} {ELSEWHERE}"


if __name__ == "__main__":
    main()
