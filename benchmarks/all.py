"""Runs benchmarks one after another; writes RESULTS.json and docs/numbers.md.

Usage: python benchmarks/all.py [NAME ...] [--again] [--results=FILE] [--numbers=FILE]
           [-- ARGUMENTS]

NAME is that of a file in benchmarks/; by default those that do not take hours. Each runs in a
process of its own, and prints its text. After each of them both files are written, whole at every
instant: what is stopped may be called again. A benchmark whose results are there, of this source of
the package, of this command, machine and versions, is not run again but with `--again`. ARGUMENTS
are given to the one benchmark that is named, such as `all.py tables -- --show --done=FILE`.

With no benchmark to run, the page is written again: `all.py --render`.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from _numbers import render
from _results import ROOT, command, machine, source_of, versions, write_whole

HERE = pathlib.Path(__file__).resolve().parent
RESULTS, NUMBERS = ROOT / "RESULTS.json", ROOT / "docs" / "numbers.md"
SHORT = (
    "import_time",
    "components",
    "compressed",
    "devices",
    "dropout",
    "ensemble",
    "exact_zeros",
    "lane_layers",
    "one_model",
    "pruning",
    "quantized",
    "schedules",
    "search",
    "selection",
    "step_time",
    "study",
    "two_objectives",
    "workers",
)
# Of minutes to hours; each has a target of its own in the Makefile.
LONG = ("ablations", "equal_time", "people_models", "portfolio", "serving", "tables")


def read(path):
    """What is in a file of results, or none."""
    path = pathlib.Path(path)
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"runs": {}}


def is_there(run, name, arguments):
    """Whether a run is what would be measured now."""
    return run is not None and (
        run["source"] == source_of(name)
        and run["command"] == command(f"{name}.py", arguments)
        and run["machine"] == machine()
        # A benchmark may tell versions of packages that are not here.
        and versions().items() <= run["versions"].items()
    )


def merged(found, name, run):
    """All results, with those of one run in the place of earlier ones of that benchmark."""
    return {"runs": dict(sorted({**found["runs"], name: run}.items()))}


def write(results, numbers, found):
    """Writes both files."""
    write_whole(results, json.dumps(found, indent=1, ensure_ascii=False))
    write_whole(numbers, render(found).rstrip("\n"))


def run(name, arguments):
    """Runs a benchmark; what it has measured, or None if it failed."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "results.json")
        script = [sys.executable, HERE / f"{name}.py", f"--json={path}", *arguments]
        print(f"\n== {command(f'{name}.py', arguments)}", flush=True)
        if subprocess.run(script, check=False).returncode:
            return None
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))


def main():
    """Runs what is to be run; the exit code is 1 if one of them failed."""
    given, _, arguments = "\0".join(sys.argv[1:]).partition("\0--\0")
    arguments = arguments.split("\0") if arguments else []
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SHORT + LONG))
    parser.add_argument("--again", action="store_true", help="also what is there")
    parser.add_argument("--render", action="store_true", help="run nothing, write the page")
    parser.add_argument("--results", default=RESULTS)
    parser.add_argument("--numbers", default=NUMBERS)
    options = parser.parse_args(given.split("\0") if given else [])
    names = [] if options.render else options.names or list(SHORT)
    if unknown := sorted(set(names) - {*SHORT, *LONG}):
        parser.error(f"unknown benchmark: {', '.join(unknown)}")
    if arguments and len(names) != 1:
        parser.error("arguments after -- are for one benchmark; name it")
    failed = []
    for name in names:
        if not options.again and is_there(read(options.results)["runs"].get(name), name, arguments):
            print(f"\n== {name}: its results are there; --again measures anew", flush=True)
            continue
        measured = run(name, arguments)
        if measured is None:
            failed.append(name)
            continue
        # Read anew: another one may have written meanwhile.
        found = merged(read(options.results), name, measured)
        write(options.results, options.numbers, found)
    if not names:
        write(options.results, options.numbers, read(options.results))
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
