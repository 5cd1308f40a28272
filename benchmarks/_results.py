"""What a benchmark has measured, as data beside its text: numbers with their spread, by name.

With what versions, on what machine, and what else that machine did meanwhile is measured too.
"""

import contextlib
import datetime
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Whose versions are told, of those that are installed.
PACKAGES = (
    "keras",
    "tensorflow",
    "tensorflow-cpu",
    "keras-tuner",
    "numpy",
    "optuna",
    "scikit-learn",
    "pandas",
    "jax",
    "lightgbm",
    "catboost",
    "xgboost",
)
# A machine is quiet while other programs use no more than this share of its processors.
QUIET = 0.05


class Results:
    """The results of one benchmark.

    Args:
        path: a file that `save` writes, or None for none.
        arguments: those that the benchmark was called with.
        clock: gives the state of the machine, as `used` does.

    Attributes:
        results: each number with its spread, by name.
        arguments: those with which the benchmark is repeated.
        covers: what of the whole benchmark was run, where that is not all.
        versions: those of packages that are not in this environment.
        was_measured_now: whether this process has measured what it gives.
    """

    def __init__(self, path=None, arguments=(), clock=None):
        self._path = path
        self._clock = clock or used
        self._before, self._load = self._clock(), load()
        # Now, when it is loaded: it may be edited meanwhile.
        self._source = source_of(pathlib.PurePath(sys.argv[0]).stem) if path else None
        self.results, self.covers, self.versions = {}, "", {}
        self.arguments = list(arguments)
        self.was_measured_now = True

    def leave_out(self, *beginnings):
        """Forgets arguments that begin so, without which the benchmark is repeated."""
        self.arguments = [one for one in self.arguments if not one.startswith(beginnings)]

    def add(self, name, value, what, low=None, high=None, spread="", headline=False, of=None):
        """A number.

        Args:
            name: after the name of the benchmark, of small letters, digits, `_` and dots.
            value: the number.
            what: what it is, in words.
            low: the lower end of the spread, or None.
            high: the upper end.
            spread: what the ends are, such as `"quartiles"`.
            headline: whether it is among those that a reader looks for.
            of: of how many a count is.
        """
        if not re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)*", name) or name in self.results:
            raise ValueError(f"`name` must be new, of small letters and dots. Received: {name!r}")
        found = {"value": rounded(value), "what": what}
        if low is not None:
            found |= {"low": rounded(low), "high": rounded(high), "spread": spread}
        if of is not None:
            found["of"] = of
        if headline:
            found["headline"] = True
        self.results[name] = found

    def of(self, name, values, what, headline=False):
        """The median of numbers with the quartiles; of less than four with both ends.

        One number has no spread.
        """
        if len(values) == 1:
            self.add(name, values[0], f"{what} (one round)", headline=headline)
            return
        middle, low, high = statistics.median(values), min(values), max(values)
        spread = "smallest and largest"
        if len(values) >= 4:
            (low, middle, high), spread = statistics.quantiles(values, n=4), "quartiles"
        self.add(name, middle, what, low, high, f"{spread} of {len(values)}", headline)

    def save(self):
        """Writes all that there is, if a file was named; the file is whole at every instant."""
        if self._path is None:
            return
        now = self._clock()
        found = {
            "command": command(sys.argv[0], self.arguments),
            "source": self._source,
            "date": datetime.date.today().isoformat(),
            "machine": machine(),
            "versions": versions() | self.versions,
            "conditions": conditions(self._before, now, self._load),
            "results": self.results,
        }
        if not self.was_measured_now:
            found["conditions"] = {"quiet": None}
        if self.covers:
            found["covers"] = self.covers
        write_whole(self._path, json.dumps(found, indent=1))


@contextlib.contextmanager
def recording():
    """Gives a `Results`, which is written at the end to FILE of `--json=FILE`, if that is given.

    This argument is taken away: the benchmark's own are left.
    """
    given = [one for one in sys.argv[1:] if one.startswith("--json=")]
    sys.argv[1:] = [one for one in sys.argv[1:] if one not in given]
    path = given[-1].removeprefix("--json=") if given else None
    results = Results(path, sys.argv[1:])
    yield results
    results.save()


def slug(text):
    """A text as a part of a name."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def rounded(value):
    """A number as it is written: with five digits, which is more than a benchmark knows."""
    return float(f"{float(value):.5g}")


def command(script, arguments):
    """The command that repeats a benchmark, without paths of this machine."""
    shown = [f"benchmarks/{pathlib.PurePath(script).name}"]
    for one in map(str, arguments):
        flag, equals, value = one.rpartition("=")
        if os.path.isabs(value):
            path = pathlib.Path(value)
            value = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
        shown.append(f"{flag}{equals}{value}")
    return " ".join(["python", *(f"'{one}'" if " " in one else one for one in shown)])


def machine():
    """What the machine is; nothing by which it could be found."""
    found = {"system": f"{platform.system()} {platform.machine()}", "cores": os.cpu_count()}
    with contextlib.suppress(OSError):
        names = re.findall(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
        found["processor"] = names[0] if names else platform.processor()
        kilobytes = re.findall(r"MemTotal: *(\d+)", pathlib.Path("/proc/meminfo").read_text())
        found["memory"] = f"{int(kilobytes[0]) / 2**20:.0f} GiB"
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        done = subprocess.run(query, capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.strip():
            found["accelerators"] = done.stdout.strip().splitlines()
    return found


def versions():
    """The version of Python, of kerasreg and of each of `PACKAGES` that is installed."""
    text = (ROOT / "kerasreg" / "_version.py").read_text()
    found = {
        "python": platform.python_version(),
        "kerasreg": re.search(r'__version__ = "(.*)"', text)[1],
    }
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def used():
    """Seconds by clock; seconds of processors that all programs used; those of this and its own.

    The second one is None where the system does not tell.
    """
    own = sum(os.times()[:4])
    try:
        with open("/proc/stat", encoding="ascii") as file:
            user, nice, system, _, _, *others = map(int, file.readline().split()[1:9])
    except (OSError, ValueError):
        return time.monotonic(), None, own
    busy = (user + nice + system + sum(others)) / os.sysconf("SC_CLK_TCK")
    return time.monotonic(), busy, own


def load():
    """How many programs wanted a processor in the minute before, or None."""
    return rounded(os.getloadavg()[0]) if hasattr(os, "getloadavg") else None


def conditions(before, now, load, cores=None):
    """What else a machine did between two states of it.

    Returns:
        The seconds that passed; the load before; the share of all processors that other programs
        used meanwhile; and whether the machine was quiet. None for what is not known.
    """
    seconds, busy, own = (
        None if b is None or a is None else b - a for a, b in zip(before, now, strict=True)
    )
    found = {"seconds": rounded(seconds), "load": load, "others": None, "quiet": None}
    if busy is not None and seconds:
        share = max(0.0, busy - own) / (seconds * (cores or os.cpu_count()))
        found["others"] = float(f"{share:.3f}")
        found["quiet"] = share <= QUIET
    return found


def source_of(name):
    """Tells whether the package, or what a benchmark is of, has changed since."""
    digest = hashlib.sha256()
    here = ROOT / "benchmarks"
    paths = [*sorted((ROOT / "kerasreg").rglob("*.py")), here / f"{name}.py"]
    for path in paths:
        digest.update(str(path.relative_to(ROOT)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def write_whole(path, text):
    """Writes a file that is whole at every instant."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    new.write_text(f"{text}\n", encoding="utf-8")
    new.replace(path)
