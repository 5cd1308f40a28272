"""Runs pytest on what a test of //:BUILD names."""

from __future__ import annotations

import importlib.util
import os
import sys

import pytest


def main(arguments: list[str]) -> int:
    """Runs pytest as Bazel wants it; returns the exit code."""
    scratch = os.environ["TEST_TMPDIR"]
    # Bazel gives tests no home; what they cache there must not outlive them.
    for name in ("HOME", "KERAS_HOME", "MPLCONFIGDIR", "XDG_CACHE_HOME"):
        os.environ[name] = os.path.join(scratch, name.lower())
        os.makedirs(os.environ[name], exist_ok=True)
    options = ["-p", "no:cacheprovider", f"--basetemp={scratch}/pytest"]
    # Bazel decides how much runs at once, whatever the project's settings say.
    if importlib.util.find_spec("xdist"):
        options += ["-n", "0"]
    if report := os.environ.get("XML_OUTPUT_FILE"):
        options.append(f"--junitxml={report}")
    # `bazel test --test_filter=` arrives here.
    chosen = os.environ.get("TESTBRIDGE_TEST_ONLY")
    if chosen:
        options += ["-k", chosen]
    code = pytest.main([*arguments, *options])
    # A filter is for all tests together: a file where it matches nothing is
    # well. Without one, a file without tests is a mistake.
    if chosen and code == pytest.ExitCode.NO_TESTS_COLLECTED:
        return 0
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
