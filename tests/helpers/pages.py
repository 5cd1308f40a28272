"""The pages that people read, README.md and docs: their code, their headings, their links."""

import contextlib
import doctest
import io
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / "docs"
_FENCE = re.compile(
    r"^(?P<fence>`{3,}|:{3,})(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=fence)$", re.M | re.S
)


def pages():
    """By its path from the root, the text of each page."""
    paths = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in paths}


def blocks(text, *languages):
    """The fenced blocks of a page in some languages: the language, the text, the line before it."""
    return [
        (found["language"].strip(), found["text"], text[: found.start("text")].count("\n"))
        for found in _FENCE.finditer(text)
        if found["language"].strip() in languages
    ]


def prose(text):
    """A page without its fenced blocks and the code within sentences, where no links are."""
    return re.sub(r"`[^`\n]*`", "``", _FENCE.sub("", text))


def anchors(text):
    """The names of the headings of a page, as GitHub and MyST make them of their words."""
    titles = re.findall(r"^#{1,4} (.*)$", _FENCE.sub("", text), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(text):
    """Where a page leads to, also by its pictures."""
    return re.findall(r"\]\(([^)\s]+)\)", prose(text))


def run(page, text):
    """Runs the Python code of a page, block by block, in one namespace; returns it.

    A block `text` right behind it is what the code prints; `...` stands for anything.

    Raises:
        AssertionError: if the code prints something else.
    """
    namespace = {"__name__": "__main__"}
    for found in _FENCE.finditer(text):
        if found["language"].strip() != "python":
            continue
        line = text[: found.start("text")].count("\n")
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            # So that an error tells the line of the page.
            exec(compile("\n" * line + found["text"], page, "exec"), namespace)
        said = re.match(r"\s*```text\n(.*?)^```$", text[found.end() :], re.M | re.S)
        if said is not None:
            options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            same = doctest.OutputChecker().check_output(said[1], out.getvalue(), options)
            assert same, f"{page}:{line} says\n{said[1]}\nbut the code prints\n{out.getvalue()}"
    return namespace
