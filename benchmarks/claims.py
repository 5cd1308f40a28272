"""Whether the README and the pages of docs/ claim what the last results hold: `make bench-check`.

Usage: python benchmarks/claims.py [--strict] [--results=FILE] [FILE.md ...]

A claim is marked by a comment that stands right after its number, and that readers do not see:

    63<!-- bench: search.mlp.kerasreg_128.to_kerastuner --> times KerasTuner's rate
    at least 20<!-- bench: search.mlp.kerasreg_128.to_kerastuner >= 20 --> times
    1.4 to 2.4<!-- bench: dropout.graph.forward.*.kerasreg_to_copy --> times
    12 %<!-- bench: step_time.mlp.graph.l2 - 1 --> of a step
    a third<!-- bench: dropout.graph.forward.*.kerasreg_to_keras <= 0.34 --> of Keras' time

The name is one of RESULTS.json and docs/numbers.md, with its benchmark in front; `*` stands for
parts of names, and for all results that have such a name. `1 / NAME`, `NAME - 1` and `1 - NAME` are
computed from it. `none` marks a number that is no result.

The last number in the same line before the comment must agree with the result: be it, rounded to
the digits that are shown, or lie within its spread. Of a pattern two numbers, as in "1.4 to 2.4",
are the smallest and the largest of its results; one number must agree with all. With a bound each
result must hold it, and the number, if there is one, must be the bound or agree. A percentage is a
hundredth. A number that has no comment is not checked: `--strict` fails where one looks like a
claim ("63 times", "12 % faster").
"""

import argparse
import fnmatch
import json
import operator
import pathlib
import re
import sys

from _numbers import render
from _results import ROOT, source_of

MARK = re.compile(r"<!--\s*bench:\s*(.*?)\s*-->", re.DOTALL)
CLAIM = re.compile(
    r"(?P<form>1\s*[-/]\s*)?(?P<name>[a-z][\w.*]*)(?P<less>\s*-\s*1)?"
    r"(?:\s*(?P<how>[<>]=?)\s*(?P<bound>-?\d+(?:\.\d+)?))?"
)
BOUNDS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
NUMBER = r"(?<![\w.])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
SHOWN = re.compile(rf"(?P<number>{NUMBER})(?P<percent>\s?(?:%|percent\b))?")
PAIR = re.compile(rf"(?P<first>{NUMBER})\s?%?\s?(?:to|and|–|-)\s?{NUMBER}\s?(?:%|percent\b)?\s*$")
# What looks like a claim. A mark is one character here.
LIKE_A_CLAIM = re.compile(
    rf"{NUMBER}\0?\s?(?:times\b|×|(?:%|percent)\0?\s(?:faster|slower|less|more|fewer|smaller))"
)


def results_of(found):
    """Each result of all runs, by the name of its benchmark and its own."""
    return {
        f"{name}.{key}": result
        for name, run in found["runs"].items()
        for key, result in run["results"].items()
    }


def faults_of(text, results):
    """What the marked claims of a text say that the results do not hold.

    Returns:
        Pairs of the number of a line and what is wrong there.
    """
    found = []
    for match in MARK.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        begin = max(text.rfind("\n", 0, match.start()) + 1, last_mark(text, match.start()))
        fault = fault_of(match[1], text[begin : match.start()], results)
        if fault:
            found.append((line, fault))
    return found


def last_mark(text, end):
    """Where the mark before one ends."""
    return max((other.end() for other in MARK.finditer(text, 0, end)), default=0)


def fault_of(claim, before, results):
    """What is wrong with one claim, or None."""
    if claim == "none":
        return None
    parsed = CLAIM.fullmatch(claim)
    if parsed is None or (parsed["form"] and parsed["less"]):
        return f"`bench: {claim}` is no claim; it must be a name, and may have a bound such as >= 5"
    names = [name for name in results if fnmatch.fnmatchcase(name, parsed["name"])]
    if not names:
        return f"no result has the name {parsed['name']}"
    known = {name: transformed(results[name], parsed) for name in names}
    values = [value for value, _, _ in known.values()]
    bound = None
    if parsed["how"]:
        bound = float(parsed["bound"])
        for name, (value, _, _) in known.items():
            if not BOUNDS[parsed["how"]](value, bound):
                return f"{name} is {value:.4g}, which is not {parsed['how']} {parsed['bound']}"
    shown = list(SHOWN.finditer(before))
    if not shown:
        return None if parsed["how"] else f"no number stands before `bench: {claim}` in its line"
    if bound is not None and agrees(shown[-1], bound, bound, bound):
        return None
    if len(names) > 1 and PAIR.search(before) and len(shown) > 1:
        percent = shown[-1]["percent"]
        for one, value in zip(shown[-2:], (min(values), max(values)), strict=True):
            if not agrees(one, value, value, value, percent):
                return f"{one['number']} is shown, and the results of {claim} end at {value:.4g}"
        return None
    for name, (value, low, high) in known.items():
        if not agrees(shown[-1], value, low, high):
            return f"{shown[-1][0]} is shown, and {name} is {value:.4g} ({low:.4g} to {high:.4g})"
    return None


def transformed(result, parsed):
    """The value of a result and its spread, as the claim computes with it."""
    value = result["value"]
    each = [value, result.get("low", value), result.get("high", value)]
    if parsed["less"]:
        each = [of - 1 for of in each]
    elif parsed["form"]:
        each = [1 / of if "/" in parsed["form"] else 1 - of for of in each]
    return each[0], min(each[1:]), max(each[1:])


def agrees(shown, value, low, high, percent=None):
    """Whether a number of a text is a value, rounded as it is, or is in its spread."""
    digits = shown["number"].replace(",", "")
    number, unit = float(digits), 10.0 ** -len(digits.partition(".")[2])
    if shown["percent"] or percent:
        number, unit = number / 100, unit / 100
    return abs(number - value) <= unit / 2 * (1 + 1e-9) or low <= number <= high


def unmarked(text):
    """Numbers that look like claims and have no mark: pairs of a line and its text."""
    text = re.sub(r"```.*?```", lambda code: "\n" * code[0].count("\n"), text, flags=re.DOTALL)
    text = MARK.sub("\0", re.sub(r"`[^`\n]*`", "", text))
    found = []
    for match in LIKE_A_CLAIM.finditer(text):
        line = text[match.start() :].partition("\n")[0]
        if "\0" not in line[: len(match[0]) + 40]:
            found.append((text.count("\n", 0, match.start()) + 1, match[0]))
    return found


def pages(root=ROOT):
    """The Markdown that may claim something: the README and all of docs/ but the numbers."""
    return [root / "README.md", *sorted(set((root / "docs").rglob("*.md")) - {numbers(root)})]


def numbers(root=ROOT):
    """The page that is made of the results."""
    return root / "docs" / "numbers.md"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="*", metavar="FILE.md")
    parser.add_argument("--results", default=ROOT / "RESULTS.json")
    parser.add_argument("--strict", action="store_true", help="fail where a claim has no mark")
    options = parser.parse_args()
    found = json.loads(pathlib.Path(options.results).read_text(encoding="utf-8"))
    results, said, claims = results_of(found), [], 0
    for path in map(pathlib.Path, options.pages or pages()):
        text = path.read_text(encoding="utf-8")
        claims += len(MARK.findall(text))
        said += [f"{path.name}:{line}: {fault}" for line, fault in faults_of(text, results)]
        for line, number in unmarked(text) if options.strict else ():
            said.append(f"{path.name}:{line}: {number!r} has no `<!-- bench: NAME -->`")
    if not options.pages and numbers().read_text(encoding="utf-8") != render(found):
        said.append(
            "docs/numbers.md is not that of RESULTS.json: python benchmarks/all.py --render"
        )
    if said:
        sys.exit("\n".join(said))
    loud = [name for name, run in found["runs"].items() if not run["conditions"]["quiet"]]
    print(f"{claims} claims hold; {len(results)} results of {len(found['runs'])} benchmarks.")
    if loud:
        print(f"Not measured on a quiet machine: {', '.join(loud)}.")
    old = [name for name, run in found["runs"].items() if run["source"] != source_of(name)]
    if old:
        print(f"The package or the benchmark has changed since: {', '.join(old)}.")


if __name__ == "__main__":
    main()
