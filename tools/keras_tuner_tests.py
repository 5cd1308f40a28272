"""Runs KerasTuner's own tests with kerasreg's tuners in the place of KerasTuner's.

    git clone --branch v1.4.7 https://github.com/keras-team/keras-tuner
    python tools/keras_tuner_tests.py keras-tuner              # the tests of tuners, replaced
    python tools/keras_tuner_tests.py keras-tuner --unreplaced # what KerasTuner itself passes
    python tools/keras_tuner_tests.py keras-tuner hyperband    # files with such a name

The tests are copied to a temporary folder and changed there: they import the insides of the
installed KerasTuner, and every `RandomSearch`, `Hyperband`, `BayesianOptimization`, `GridSearch`
and `Tuner` is kerasreg's. Printed are the tests that fail, each with the first line of its reason,
and the share that passes. The exit code says only whether tests ran.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET

# Those that make a tuner or an oracle.
FILES = (
    "engine/base_tuner_test.py",
    "engine/oracle_test.py",
    "engine/tuner_test.py",
    "engine/tuner_utils_test.py",
    "integration_tests/end_to_end_test.py",
    "tuners/bayesian_test.py",
    "tuners/gridsearch_test.py",
    "tuners/hyperband_test.py",
    "tuners/randomsearch_test.py",
)
_SEARCHES = "RandomSearch|Hyperband|BayesianOptimization|GridSearch"
_PREFIX = r"\b(?:keras_tuner|keras_tuner\.tuners|\w+_module|randomsearch|gridsearch)\."
REPLACED = (
    (rf"{_PREFIX}({_SEARCHES})\b", r"kerasreg.tuners.Vectorized\1"),
    (r"\b(?:keras_tuner|tuner_module|keras_tuner\.engine\.tuner)\.Tuner\b",
     "kerasreg.tuners.VectorizedTuner"),
)  # fmt: skip
# The source has its modules where the wheel has only public names.
INSIDES = (
    (r"from keras_tuner\.test_utils import", "from test_utils import"),
    (r"from keras_tuner\.(?=\w)", "from keras_tuner.src."),
    (r"from keras_tuner import (?=backend|errors|protos|utils)", "from keras_tuner.src import "),
    (r'"keras_tuner\.(distribute|engine)\.', r'"keras_tuner.src.\1.'),
    (r"\bkeras_tuner\.(backend|utils|engine\.tuner_utils)\.", r"keras_tuner.src.\1."),
    (r"\bkeras_tuner\.tuners\.(?=[a-z])", "keras_tuner.src.tuners."),
)
# In the place of a package that only hands out free ports.
_PORTPICKER = """
import socket

def pick_unused_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
"""
_SECONDS = 900  # Of a file: more than any takes that does not hang.


def main() -> None:
    """Runs the tests and prints what they found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=pathlib.Path, help="the folder of KerasTuner's source")
    parser.add_argument("files", nargs="*", help="parts of names of files; all by default")
    parser.add_argument("--unreplaced", action="store_true", help="with KerasTuner's own tuners")
    given = parser.parse_intermixed_args()
    package = given.source / "keras_tuner"
    if not (package / "conftest.py").exists():
        parser.error(f"{given.source} is no source of KerasTuner with its tests")
    chosen = [
        name for name in FILES if not given.files or any(part in name for part in given.files)
    ]
    passed = total = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        copy(package / "conftest.py", folder / "conftest.py", False)
        (folder / "test_utils").mkdir()
        (folder / "test_utils" / "__init__.py").touch()
        mock = "test_utils/mock_distribute.py"
        copy(package / mock, folder / mock, False)
        (folder / "portpicker.py").write_text(_PORTPICKER)
        for name in chosen:
            target = folder / name.replace("/", "_")
            copy(package / name, target, not given.unreplaced)
            results = run(target)
            good = sum(reason is None for _, reason in results)
            passed, total = passed + good, total + len(results)
            print(f"{name}: {good} of {len(results)}", flush=True)
            for test, reason in results:
                if reason is not None:
                    print(f"  {test}: {reason}", flush=True)
    if not total:
        parser.error("no test ran")
    print(f"{passed} of {total} pass: {passed / total:.1%}")


def copy(source: pathlib.Path, target: pathlib.Path, replaced: bool) -> None:
    """Copies a file of KerasTuner's with the names of what it is to test."""
    text = source.read_text(encoding="utf-8")
    rules = (*INSIDES, *(REPLACED if replaced else ()))
    for pattern, new in rules:
        text = re.sub(pattern, new, text)
    if replaced:
        text = "import kerasreg.tuners\n" + text
    target.write_text(text, encoding="utf-8")


def run(file: pathlib.Path) -> list[tuple[str, str | None]]:
    """Runs a file of tests; for each test that was not skipped, why it fails, or None."""
    report = file.with_suffix(".xml")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:warnings", f"--junit-xml={report}"]
    paths = [str(file.parent), os.getcwd(), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    try:
        subprocess.run(
            [*command, f"--rootdir={file.parent}", "-c", os.devnull, str(file)],
            cwd=file.parent,
            env=environment,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [(file.name, f"has not ended after {_SECONDS} seconds")]
    if not report.exists():
        return [(file.name, "ended the process")]
    results: list[tuple[str, str | None]] = []
    for case in ET.parse(report).getroot().iter("testcase"):
        if case.find("skipped") is not None:
            continue
        faults = [*case.findall("failure"), *case.findall("error")]
        reason = (faults[0].get("message") or "no reason").strip() if faults else None
        lines = (reason or "").splitlines()
        results.append((str(case.get("name")), lines[0] if reason else None))
    return results


if __name__ == "__main__":
    main()
