"""What benchmarks share: a measurement in a process of its own, and medians with their spread."""

import json
import statistics
import subprocess
import sys


def in_process(script, *arguments):
    """What a script prints as JSON in its last line, with these arguments."""
    done = subprocess.run(
        [sys.executable, script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


def spread(values, digits=".2f"):
    """The median, with the smallest and the largest."""
    middle = statistics.median(values)
    return f"{middle:{digits}} ({min(values):{digits}}..{max(values):{digits}})"
