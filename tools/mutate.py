"""Makes the faults of tools/mutations.toml, one at a time, and tells which the suite catches.

Usage: python tools/mutate.py [--tree DIR] [--only NAME]... [--report FILE.json]
           [--before FILE.json] [--timeout SECONDS]

The tree is copied into a temporary folder once; nothing is written into the tree itself. For
each fault, the tests that are likely to see it run in a process of their own, those first that
name the changed code; the first failure ends them. Where none fails, the tests of the whole
package follow, then the tests of all components, then those of the packages that import it.
Only the default tests run: none with a mark such as `long`.

A report can be gone on with: faults that it has are not made again, unless the fault was
changed, its tests could not run, or they ran out of a time that was shorter. In the end, every
test that caught something runs once more without a fault, since a test that fails anyway
catches nothing.

`--before` is the report of an older version. It says which test to try first, both counts are
printed, and the exit code is 1 if a fault that was caught before is caught no more.
"""

import argparse
import ast
import collections
import contextlib
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIST = ROOT / "tools" / "mutations.toml"
CAUGHT, MISSED, LATE, BROKEN = "caught", "not caught", "out of time", "not run"
# What a copy of the tree does without.
_LEFT_OUT = (".git", ".venv*", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", "bazel-*")
# The tests of all components.
_OF_ALL = ("tests/test_component_contract.py", "tests/test_exact_resume.py")
# Of a module that has no tests of its own, so many files that name its functions come first.
_MOST_FILES = 10


class Mutation(NamedTuple):
    """A fault: its name, where it is, what the user has of it, and pairs of source text.

    `likely` are arguments of pytest to try first, where the names of the changed code tell
    nothing of its tests. They are passed over where their first file is no more.
    """

    name: str
    package: str
    kind: str
    fault: str
    changes: tuple[tuple[str, str], ...]
    likely: tuple[str, ...] = ()


class Place(NamedTuple):
    """Where a fault is made: the file, relative to the tree, the line, and the pair of text."""

    path: str
    line: int
    before: str
    after: str


def load(path: pathlib.Path = LIST) -> list[Mutation]:
    """Returns the faults of a list.

    Raises:
        ValueError: if a name stands twice.
    """
    entries = tomllib.loads(path.read_text(encoding="utf-8"))["mutation"]
    mutations = [
        Mutation(
            **{
                **entry,
                "changes": tuple((old, new) for old, new in entry["changes"]),
                "likely": tuple(entry.get("likely", ())),
            }
        )
        for entry in entries
    ]
    twice = [n for n, k in collections.Counter(m.name for m in mutations).items() if k > 1]
    if twice:
        raise ValueError(f"Each mutation must have a name of its own. Twice: {', '.join(twice)}")
    return mutations


def sources(tree: pathlib.Path) -> dict[str, str]:
    """Returns the text of every module of the package, by its path in the tree."""
    return {
        path.relative_to(tree).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted((tree / "kerasreg").rglob("*.py"))
    }


def place_of(mutation: Mutation, texts: dict[str, str]) -> Place:
    """Returns the one place where a fault can be made.

    Raises:
        ValueError: if there is no such place, or more than one.
    """
    places = [
        Place(path, text[: match.start()].count("\n") + 1, before, after)
        for before, after in mutation.changes
        for path, text in texts.items()
        for match in re.finditer(re.escape(before), text)
    ]
    if len(places) != 1:
        where = ", ".join(f"{place.path}:{place.line}" for place in places) or "nowhere"
        raise ValueError(
            f"The text of {mutation.name!r} must occur once. It occurs: {where}; the texts are "
            f"{[before for before, _ in mutation.changes]}"
        )
    return places[0]


def mutated(place: Place, texts: dict[str, str]) -> str:
    """Returns the source with the fault in it.

    Raises:
        SyntaxError: if it does not compile.
    """
    text = texts[place.path].replace(place.before, place.after)
    compile(text, place.path, "exec")
    return text


def in_turns(mutations: Iterable[Mutation]) -> list[Mutation]:
    """Returns the faults with the packages taking turns: a part of them is of all packages."""
    groups: dict[str, list[Mutation]] = {}
    for mutation in mutations:
        groups.setdefault(mutation.package, []).append(mutation)
    rounds = itertools.zip_longest(*groups.values())
    return [mutation for each in rounds for mutation in each if mutation is not None]


def names_at(place: Place, text: str) -> tuple[set[str], set[str]]:
    """Returns the names of what surrounds a line, and of all that the module defines."""
    tree = ast.parse(text)
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    around = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, kinds) and node.lineno <= place.line <= (node.end_lineno or 0)
    }
    return around, {node.name for node in tree.body if isinstance(node, kinds)}


def ranked(files: Iterable[pathlib.Path], place: Place, text: str) -> list[pathlib.Path]:
    """Returns test files, those first that are most about the code at a place."""
    around, defined = names_at(place, text)
    stem = pathlib.PurePath(place.path).stem.strip("_")

    def weight(file: pathlib.Path) -> tuple[float, int]:
        content = file.read_text(encoding="utf-8")
        words = collections.Counter(re.findall(r"\w+", content))
        about = 3.0 * sum(min(words[name], 10) for name in around if not name.startswith("__"))
        about += sum(min(words[name], 10) for name in defined)
        return -(about + 30.0 * (stem in file.stem)), len(content)

    return sorted(files, key=lambda file: (*weight(file), file))


def importers(module: str, texts: dict[str, str]) -> list[str]:
    """Returns the packages that import a package or a module, but for itself."""
    found = set()
    for path, text in texts.items():
        package = path.split("/")[1]
        for node in ast.walk(ast.parse(text)):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            if any(f"{name}.".startswith(f"{module}.") for name in names):
                found.add(package)
    return sorted(name for name in found if not name.endswith(".py") and name != module[9:])


def stages(
    place: Place,
    texts: dict[str, str],
    tree: pathlib.Path,
    likely: Sequence[str] = (),
    hint: str | None = None,
) -> Iterator[list[str]]:
    """Yields the arguments of one run of pytest after the other, the likeliest first.

    Args:
        place: Where the fault is.
        texts: The modules of the package.
        tree: The folder with the tests.
        likely: Arguments to begin with.
        hint: The test that caught the fault in an older version, or None.
    """

    def relative(files: Iterable[pathlib.Path]) -> list[str]:
        return [file.relative_to(tree).as_posix() for file in files]

    tests = sorted((tree / "tests").rglob("test_*.py"))
    own = place.path.split("/")[1].removesuffix(".py")
    name = "" if hint is None else hint.split("::")[-1].split("[")[0]
    if name.startswith("test_"):
        same = [file for file in tests if re.search(rf"def {name}\b", file.read_text("utf-8"))]
        if same:
            yield [*relative(same), "-k", name]
    if likely and (tree / likely[0].split("::")[0]).exists():
        yield list(likely)
    text = texts[place.path]
    of_package = [file for file in tests if file.parent == tree / "tests" / own]
    if of_package:
        yield [place.path, *relative(ranked(of_package, place, text)), f"kerasreg/{own}"]
    else:
        yield [place.path, *relative(ranked(tests, place, text)[:_MOST_FILES])]
    for_all = [file for file in _OF_ALL if (tree / file).exists()]
    components = [file for file in for_all if re.search(rf"\b{own}\b", (tree / file).read_text())]
    if components:
        _, defined = names_at(place, text)
        public = sorted(word for word in defined if not word.startswith("_"))
        if public:
            yield [*components, "-k", " or ".join(public)]
        yield components
    module = place.path.removesuffix(".py").replace("/", ".")
    for package in importers(module if own.startswith("_") else f"kerasreg.{own}", texts):
        files = [file for file in tests if file.parent == tree / "tests" / package]
        if files:
            yield [*relative(ranked(files, place, text)), f"kerasreg/{package}"]


class Copy:
    """A copy of a tree, in which one file at a time has a fault."""

    def __init__(self, tree: pathlib.Path, folder: pathlib.Path) -> None:
        self.tree = folder / "tree"
        self.temporary = folder / "temporary"
        shutil.copytree(tree, self.tree, ignore=shutil.ignore_patterns(*_LEFT_OUT))
        self.texts = sources(self.tree)

    def write(self, path: str, text: str) -> None:
        """Writes a module; what was compiled of it, of the same second and size, goes."""
        (self.tree / path).write_text(text, encoding="utf-8")
        module = self.tree / path
        for compiled in (module.parent / "__pycache__").glob(f"{module.stem}.*.pyc"):
            compiled.unlink()

    @contextlib.contextmanager
    def fault(self, place: Place) -> Iterator[None]:
        """Has a fault within it, and the text that was before after it."""
        self.write(place.path, mutated(place, self.texts))
        try:
            yield
        finally:
            self.write(place.path, self.texts[place.path])

    def pytest(self, arguments: Sequence[str], timeout: float) -> tuple[int | None, str]:
        """Runs pytest in a process of its own up to its first failure.

        Returns:
            The exit code, None if the time was over, and what pytest wrote.
        """
        for rest in (self.temporary, self.tree / ".hypothesis"):
            shutil.rmtree(rest, ignore_errors=True)
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider"]
        # What this process can import, that one can too, but of the package the copy.
        paths = os.pathsep.join([str(self.tree), *filter(None, sys.path)])
        environment = {**os.environ, "PYTHONPATH": paths, "TF_CPP_MIN_LOG_LEVEL": "3"}
        with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
            process = subprocess.Popen(
                [*command, f"--basetemp={self.temporary}", *arguments],
                cwd=self.tree,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            code: int | None = None
            try:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    code = process.wait(timeout)
            finally:
                if process.poll() is None:
                    # And what the tests started.
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            output.seek(0)
            return code, output.read()


def failures(output: str) -> list[str]:
    """Returns the tests that failed, from the summary that pytest writes."""
    lines = re.findall(r"^(?:FAILED|ERROR) (.+)$", output, re.MULTILINE)
    return [line.split(" - ")[0].strip() for line in lines]


def judge(
    copy: Copy,
    mutation: Mutation,
    place: Place,
    timeout: float,
    hint: str | None,
    unsound: Sequence[str],
) -> tuple[str, str | None]:
    """Returns whether a fault is caught, and by which test.

    Raises:
        RuntimeError: if there is no pytest that runs.
    """
    deadline = time.monotonic() + timeout
    left_out = [f"--deselect={test}" for test in unsound]
    with copy.fault(place):
        for arguments in stages(place, copy.texts, copy.tree, mutation.likely, hint):
            left = deadline - time.monotonic()
            code, output = copy.pytest([*arguments, *left_out], left) if left > 0 else (None, "")
            if code is None:
                return LATE, None
            failed = failures(output)
            if code == 1 and failed:
                return CAUGHT, failed[0]
            if code < 0 and code != -signal.SIGKILL:  # Which is for want of memory.
                return CAUGHT, f"the process, by signal {-code}"
            if code == 1 and not failed:
                raise RuntimeError(f"pytest does not run:\n{output[-4000:]}")
            if code not in (0, 5):  # 5: no test was chosen.
                said = [*output.strip().splitlines(), ""]
                return BROKEN, f"pytest, with {code}: {(failed or said[-2:])[0]}"
    return MISSED, None


class Report:
    """What is known of each fault, in a file that is whole at every instant."""

    def __init__(self, path: pathlib.Path | None) -> None:
        self.path = path
        known = json.loads(path.read_text()) if path is not None and path.exists() else {}
        self.results: dict[str, dict[str, Any]] = known.get("results", {})
        self.sound: list[str] = known.get("sound", [])
        self.unsound: list[str] = known.get("unsound", [])

    def write(self) -> None:
        """Writes the file, if there is one."""
        if self.path is not None:
            content = {"results": self.results, "sound": self.sound, "unsound": self.unsound}
            beside = self.path.with_name(f".{self.path.name}.new")
            beside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            os.replace(beside, self.path)

    def wants(self, mutation: Mutation, place: Place, timeout: float) -> bool:
        """Whether a fault is still to be made."""
        known = self.results.get(mutation.name)
        if known is None or known["after"] != place.after:
            return True
        return known["status"] == BROKEN or (known["status"] == LATE and known["timeout"] < timeout)

    def unchecked(self) -> list[str]:
        """Returns the tests that caught something, and were not run without a fault yet."""
        tests = {known["test"] for known in self.results.values() if known["status"] == CAUGHT}
        return sorted(test for test in tests if "::" in test and test not in self.sound)

    def check(self, copy: Copy, timeout: float) -> bool:
        """Runs the tests that caught something without a fault; forgets what others caught.

        Returns:
            Whether all of them pass.
        """
        good = True
        while tests := self.unchecked():
            code, output = copy.pytest(tests, timeout)
            failed = failures(output)
            if code is None or (code != 0 and not failed):
                raise RuntimeError(f"The tests could not run without a fault:\n{output[-4000:]}")
            if not failed:
                self.sound += tests
            for test in failed:
                good = False
                self.unsound.append(test)
                for name in [n for n, known in self.results.items() if known["test"] == test]:
                    del self.results[name]
            self.write()
        return good


def run(copy: Copy, mutations: Sequence[Mutation], report: Report, options: Any) -> None:
    """Makes every fault that the report does not have."""
    hints = Report(options.before).results
    for mutation in mutations:
        place = place_of(mutation, copy.texts)
        if not report.wants(mutation, place, options.timeout):
            continue
        begun = time.monotonic()
        hint = hints.get(mutation.name, {}).get("test")
        status, test = judge(copy, mutation, place, options.timeout, hint, report.unsound)
        seconds = round(time.monotonic() - begun)
        report.results[mutation.name] = {
            "package": mutation.package,
            "kind": mutation.kind,
            "place": f"{place.path}:{place.line}",
            "after": place.after,
            "status": status,
            "test": test,
            "seconds": seconds,
            "timeout": options.timeout,
        }
        report.write()
        print(f"{mutation.name}: {status}, {seconds} s, {test or '-'}", flush=True)


def table(mutations: Sequence[Mutation], report: Report) -> str:
    """Returns a line for each fault, and the counts."""
    known = [(m, report.results[m.name]) for m in mutations if m.name in report.results]
    width = max((len(mutation.name) for mutation, _ in known), default=0)
    lines = [
        f"{m.package:<13} {m.name:<{width}} {m.kind:<17} {of['status']:<14} {of['test'] or ''}"
        for m, of in known
    ]
    return "\n".join([*lines, "", counts(mutations, report)])


def counts(mutations: Sequence[Mutation], report: Report) -> str:
    """Returns how many faults are caught and how many are not, and which these are."""
    found = collections.defaultdict(list)
    for mutation in mutations:
        known = report.results.get(mutation.name, {"status": "not made"})
        found[known["status"]].append(mutation.name)
    lines = [f"{len(mutations)} faults: {len(found[CAUGHT])} caught, {len(found[MISSED])} not"]
    for status, names in found.items():
        if names and status != CAUGHT:
            lines.append(f"{status} ({len(names)}): {', '.join(names)}")
    return "\n".join(lines)


def lost(mutations: Sequence[Mutation], before: Report, report: Report) -> list[str]:
    """Returns the faults that were caught before and are not caught now."""
    return [
        mutation.name
        for mutation in mutations
        if before.results.get(mutation.name, {}).get("status") == CAUGHT
        and report.results.get(mutation.name, {}).get("status") != CAUGHT
    ]


def main() -> int:
    """Makes the faults, and returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tree", type=pathlib.Path, default=ROOT, help="what to test")
    parser.add_argument("--only", action="append", metavar="NAME", help="this fault; repeatable")
    parser.add_argument("--report", type=pathlib.Path, help="file to write, or to go on with")
    parser.add_argument("--before", type=pathlib.Path, help="report of an older version")
    parser.add_argument("--timeout", type=float, default=1800.0, help="seconds of one fault")
    options = parser.parse_args()
    mutations = in_turns(load())
    if options.only:
        unknown = set(options.only) - {mutation.name for mutation in mutations}
        if unknown:
            parser.error(f"--only: no such mutation: {', '.join(sorted(unknown))}")
        mutations = [mutation for mutation in mutations if mutation.name in options.only]
    # So that a terminated run puts nothing half into its report, and leaves no processes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report = Report(options.report)
    with tempfile.TemporaryDirectory(prefix="kerasreg-mutations-") as folder:
        copy = Copy(options.tree.resolve(), pathlib.Path(folder))
        while True:
            run(copy, mutations, report, options)
            if report.check(copy, max(options.timeout, 3600.0)):
                break
    print(f"\n{table(mutations, report)}")
    if options.before is None:
        return 0
    before = Report(options.before)
    no_more = lost(mutations, before, report)
    print(f"\nbefore: {counts(mutations, before)}\nnow: {counts(mutations, report)}")
    print(f"caught before and not now ({len(no_more)}): {', '.join(no_more) or '-'}")
    return 1 if no_more else 0


if __name__ == "__main__":
    sys.exit(main())
