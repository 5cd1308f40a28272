"""Programs in processes of their own, which import what this one can."""

import json
import os
import subprocess
import sys


def run_python(*arguments, **environment):
    """Runs Python with arguments, and returns what it printed.

    Keyword arguments are environment variables.
    """
    paths = os.pathsep.join(filter(None, sys.path))
    process = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert process.returncode == 0, process.stderr[-4000:]
    return process.stdout


def run_program(*arguments):
    """Runs a program that forks, so without a GPU; what it printed last is JSON."""
    return json.loads(run_python(*arguments, CUDA_VISIBLE_DEVICES="-1").splitlines()[-1])
