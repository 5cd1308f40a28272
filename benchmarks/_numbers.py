"""docs/numbers.md, from RESULTS.json: a function of what is in that file, and of nothing else."""

INTRODUCTION = """# Numbers

Written by `make bench` from `RESULTS.json`, where the numbers are as data; not by hand. A test
compares the two, and `make bench-check` compares what the README and these pages claim with the
same file.

Ratios are of contenders that were measured in turn, on the same machine. How each benchmark
measures, and what its floor is, stands at the top of its file in `benchmarks/`; the command repeats
it. On a machine that is not quiet, where other
programs took more than a twentieth of the processors meanwhile, times are longer than they need to
be, and ratios less sure: their spread tells how much.
"""


def render(found):
    """The page.

    Args:
        found: what RESULTS.json has: `{"runs": {benchmark: run}}`, a run as `Results.save` in
            `_results.py` writes it.
    """
    runs = found["runs"]
    lines = [INTRODUCTION, "## The main ones", ""]
    rows = [
        [f"`{name}.{key}`", *cells(result)]
        for name, run in sorted(runs.items())
        for key, result in run["results"].items()
        if result.get("headline")
    ]
    lines += table(["name", "what", "number", "spread"], rows)
    lines += ["", "## What was run, with what and where", ""]
    rows = [
        [f"[{name}](#{name.replace('_', '-')})", f"`{run['command']}`", run["date"], *beside(run)]
        for name, run in sorted(runs.items())
    ]
    heads = ["benchmark", "command", "date", "minutes", "load before", "others", "quiet"]
    lines += table(heads, rows)
    for title, key in (("Machine", "machine"), ("Versions", "versions")):
        lines += ["", f"### {title}", ""]
        known = {}
        for name, run in sorted(runs.items()):
            known.setdefault(in_words(run[key]), []).append(name)
        whole = len(known) == 1
        lines += [
            f"- {words}" + ("" if whole else f" ({', '.join(names)})")
            for words, names in known.items()
        ]
    for name, run in sorted(runs.items()):
        lines += ["", f"## {name.replace('_', ' ')}", ""]
        if run.get("covers"):
            lines += [f"Run so far: {run['covers']}.", ""]
        rows = [[f"`{name}.{key}`", *cells(result)] for key, result in run["results"].items()]
        lines += table(["name", "what", "number", "spread"], rows)
    return "\n".join(lines) + "\n"


def table(heads, rows):
    """The lines of a table."""
    if not rows:
        return ["None yet."]
    lines = [heads, ["---"] * len(heads), *rows]
    return [f"| {' | '.join(cell.replace('|', ', ') for cell in line)} |" for line in lines]


def cells(result):
    """What a result is, its number and its spread."""
    number = shown(result["value"])
    if "of" in result:
        number += f" of {result['of']}" if result["value"] == int(result["value"]) else ""
    spread = ""
    if "low" in result:
        spread = f"{shown(result['low'])} to {shown(result['high'])} ({result['spread']})"
    return [result["what"], number, spread]


def shown(number):
    """A number with three digits, or all of those before the point."""
    if number == int(number) or abs(number) >= 100:
        return f"{number:.0f}"
    if abs(number) < 1e-3:
        return f"{number:.1e}"
    return f"{number:.3g}"


def beside(run):
    """How long a run took, and what the machine did beside it."""
    found = run["conditions"]
    seconds, load, others = (found.get(key) for key in ("seconds", "load", "others"))
    return [
        "" if seconds is None else f"{seconds / 60:.1f}",
        "" if load is None else f"{load:.1f}",
        "" if others is None else f"{others:.0%}",
        {True: "yes", False: "no", None: "not known"}[found["quiet"]],
    ]


def in_words(items):
    """A machine, or versions, in one line."""
    lists = {key: ", ".join(of) if isinstance(of, list) else of for key, of in items.items()}
    return ", ".join(f"{key} {of}" for key, of in lists.items())
