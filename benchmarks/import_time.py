"""What it costs to import kerasreg beside Keras alone, and how soon the command answers.

Usage: python benchmarks/import_time.py [--rounds=7] [--json=FILE]

Each import is a process of its own; in each round all run once, in another order. Printed: seconds
by clock and by processor, and the ratio of `import kerasreg`, and of all that `kerasreg search`
imports, to `import keras` in the same round, as the median with the smallest and the largest. Then
which modules of `import kerasreg` that Keras does not import take longest by themselves
(`-X importtime`), and their share of all. Then the seconds of the command where it needs no
TensorFlow, and how much sooner a search would begin if a thread imported TensorFlow while the data
are read. The first round, which reads files from the disk, does not count. The time by clock is
for a machine that does nothing else.

Targets: `import kerasreg` takes at most 1.05 of `import keras`; the command answers in 0.3 s.
"""

import argparse
import collections
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time

from _processes import spread
from _results import ROOT, recording, slug

# The last is what `kerasreg search` imports before it searches.
IMPORTS = ("keras", "kerasreg", "kerasreg.cli._job")
COMMANDS = {
    "--help": ["--help"],
    "--version": ["--version"],
    "search --help": ["search", "--help"],
    "a flag that there is not": ["search", "--trails=3"],
    "a file that there is not": ["search", "--data=nothing.csv", "--target=y"],
}


# How `kerasreg search` begins: data are read, and TensorFlow is imported after that, or by a thread
# meanwhile. The command imports it after, so that bad input is answered at once.
BEGIN = """
import sys, threading
sys.argv[0] = "kerasreg"
from kerasreg.cli import _data
def load():
    import tensorflow, keras
thread = threading.Thread(target=load)
if {beside}:
    thread.start()
_data.load_table({data!r}, {target!r})
if {beside}:
    thread.join()
from kerasreg.cli import _job
"""
HOW = ("after", "beside")
ROWS = 100_000


def environment():
    """As a user has it, with this source of the package."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TF_CPP_MIN_LOG_LEVEL": "3"}


def seconds(arguments):
    """Of a process: by clock, and by processor."""
    before, begun = os.times(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    clock, after = time.perf_counter() - begun, os.times()
    used = (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )
    if done.returncode not in (0, 2):  # The second one is that of bad input.
        sys.exit(done.stderr[-3000:])
    return {"clock": clock, "processor": used}


def self_times(module):
    """The seconds that each module takes by itself in the import of one."""
    process = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", f"import {module}"],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = re.findall(r"^import time: +(\d+) \| +\d+ \| +(\S+)$", process.stderr, re.MULTILINE)
    found = collections.Counter()
    for microseconds, name in lines:
        found[name] += int(microseconds) / 1e6
    return found


def write_table(path):
    """A file of numbers."""
    numbers = random.Random(0)
    names = [*(f"x{number}" for number in range(20)), "y"]
    with open(path, "w", encoding="ascii") as file:
        print(*names, sep=",", file=file)
        for _ in range(ROWS):
            print(*(f"{numbers.random():.5f}" for _ in names), sep=",", file=file)


def in_turn(ways, rounds):
    """What each takes, in each round but the first."""
    found = {name: [] for name in ways}
    order = list(ways)
    for number in range(rounds + 1):
        random.Random(number).shuffle(order)
        for name in order:
            took = seconds(ways[name])
            if number:
                found[name].append(took)
    return found


def main(results):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    ways = {f"import {name}": ["-c", f"import {name}"] for name in IMPORTS}
    ways |= {f"kerasreg {name}": ["-m", "kerasreg", *of] for name, of in COMMANDS.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "table.csv")
        write_table(path)
        tables = {"wine": ("wine", None), f"a file of {ROWS} rows": (path, "y")}
        for name, (data, target) in tables.items():
            for how in HOW:
                code = BEGIN.format(beside=how == "beside", data=data, target=target)
                ways[f"{name} {how}"] = ["-c", code]
        found = in_turn(ways, rounds)
    theirs = found["import keras"]
    for name in IMPORTS[1:]:
        for clock in ("clock", "processor"):
            ours = found[f"import {name}"]
            ratios = [mine[clock] / its[clock] for mine, its in zip(ours, theirs, strict=True)]
            each = [[of[clock] for of in every] for every in (theirs, ours)]
            print(
                f"by {clock:10} import keras {spread(each[0])} s, import {name} "
                f"{spread(each[1])} s, ratio {spread(ratios, '.3f')}"
            )
            is_main = (name, clock) == ("kerasreg", "processor")
            what = f"time by {clock} of `import {name}` in ratio to `import keras`"
            of = "search_to_keras" if name.endswith("_job") else "to_keras"
            results.of(f"{of}.{clock}", ratios, what, headline=is_main)
    for name in tables:
        for clock in ("clock", "processor"):
            after, beside = ([of[clock] for of in found[f"{name} {how}"]] for how in HOW)
            ratios = [mine / its for mine, its in zip(beside, after, strict=True)]
            print(
                f"by {clock:10} start of a search of {name}: {spread(after)} s, with TensorFlow "
                f"imported by a thread while it is read in ratio to that {spread(ratios, '.3f')}"
            )
            of = f"search_imports_beside_reading.{'wine' if name == 'wine' else 'file'}.{clock}"
            what = f"time by {clock} to read {name} while a thread imports TensorFlow, in ratio to "
            results.of(of, ratios, what + "reading it before")
    shares = []
    for _ in range(3):
        of_keras, of_both = self_times("keras"), self_times("kerasreg")
        more = {name: of for name, of in of_both.items() if name not in of_keras}
        shares.append(sum(more.values()) / sum(of_both.values()))
    print(
        f"\nof `import kerasreg`, {spread(shares, '.1%')} is in modules that Keras does not import"
    )
    for name, of in sorted(more.items(), key=lambda item: -item[1])[:10]:
        print(f"  {1e3 * of:7.1f} ms {name}")
    what = "share of `import kerasreg` in modules that `import keras` does not import"
    results.of("more_than_keras", shares, what, headline=True)
    print()
    for name in COMMANDS:
        of = [one["clock"] for one in found[f"kerasreg {name}"]]
        print(f"kerasreg {name:26} {spread(of)} s")
        what = f"seconds of `kerasreg {name}`" if "-" in name else f"seconds to refuse {name}"
        results.of(f"command.{slug(name)}", of, what, headline=name == "--help")
        used = statistics.median(one["processor"] for one in found[f"kerasreg {name}"])
        results.add(f"command.{slug(name)}.processor", used, f"{what}, by processor")


if __name__ == "__main__":
    with recording() as recorded:
        main(recorded)
