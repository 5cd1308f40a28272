"""The pages of docs/ and the README: they are found, lead somewhere, and name all that there is."""

import dataclasses
import importlib
import re
import xml.etree.ElementTree

import pytest
from helpers import component_examples, pages
from test_packages import MAY_IMPORT

ROOT = pages.ROOT
PAGES = pages.pages()
# And the one package that is within another.
PACKAGES = [*MAY_IMPORT, "serving.server"]
_TOCTREE = re.compile(r"^```\{toctree\}\n(.*?)^```$", re.M | re.S)


def documented(package):
    """The names that the page of a package in the reference has a docstring or a text of."""
    directives = r"^\.\. (?:auto\w+|py:data):: kerasreg\.([\w.]+)$"
    found = re.findall(directives, PAGES[f"docs/reference/{package}.md"], re.M)
    assert all(name.rpartition(".")[0] == package for name in found)
    return sorted(name.rpartition(".")[2] for name in found)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_once_in_the_reference_and_in_the_overview(package):
    names = sorted(importlib.import_module(f"kerasreg.{package}").__all__)
    assert documented(package) == names
    heading = rf"^## \[kerasreg\.{package}\]\(reference/{package}\.md\)$(.*?)(?=^## |\Z)"
    (part,) = re.findall(heading, PAGES["docs/overview.md"], re.M | re.S)
    assert sorted(re.findall(r"^\| `(\w+)` \| .+ \|$", part, re.M)) == names


def test_the_reference_has_the_packages_in_which_components_are_discovered():
    assert set(component_examples.packages()) <= set(PACKAGES)
    found = {path.stem for path in (pages.DOCS / "reference").glob("*.md")}
    assert found == set(PACKAGES)


def test_every_page_is_in_a_table_of_contents_and_each_entry_is_a_page():
    entries = set()
    for page, text in PAGES.items():
        folder = (ROOT / page).parent
        for lines in _TOCTREE.findall(text):
            for entry in filter(None, lines.splitlines()):
                if entry.startswith(":"):  # An option.
                    continue
                named = [folder / f"{entry}.md"] if "*" not in entry else folder.glob(f"{entry}.md")
                entries |= {str(path.relative_to(ROOT)) for path in named} - {page}
    assert entries == set(PAGES) - {"README.md", "docs/index.md"}


@pytest.mark.parametrize("page", PAGES)
def test_links_of_a_page_lead_to_files_and_headings_that_exist(page):
    for link in pages.links(PAGES[page]):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, heading = link.partition("#")
        target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert target.exists(), f"{page}: {link}"
        if heading:
            assert heading in pages.anchors(target.read_text(encoding="utf-8")), f"{page}: {link}"
    for picture in re.findall(r"^```\{image\} (\S+)$", PAGES[page], re.M):
        assert ((ROOT / page).parent / picture).is_file(), f"{page}: {picture}"


@pytest.mark.parametrize("page", [page for page in PAGES if page != "README.md"])
def test_a_page_has_one_title_and_begins_with_a_sentence(page):
    title, _, first = PAGES[page].partition("\n\n")
    assert re.fullmatch(r"# .+", title)
    assert re.match(r"[A-Z`*\"]|kerasreg ", first), first[:40]


def test_the_readme_has_at_most_700_words():
    assert len(PAGES["README.md"].split()) <= 700


def test_pictures_of_the_readme_are_small():
    for path in (pages.DOCS / "images").iterdir():
        assert path.stat().st_size < 200_000, path


def commands():
    """Each command of `kerasreg`, and the names of its flags."""
    names = ("search", "report", "lr_find", "export", "predict", "serve")
    modules = {name: importlib.import_module(f"kerasreg.cli._{name}") for name in names}
    found = [getattr(module, name.upper()) for name, module in modules.items()]
    return {one.name: [field.name for field in dataclasses.fields(one.options)] for one in found}


def test_the_page_of_the_command_has_each_flag_of_each_command():
    text = PAGES["docs/guides/command.md"]
    parts = re.findall(r"^## kerasreg (\S+)$(.*?)(?=^## |\Z)", text, re.M | re.S)
    found = {name: re.findall(r"^\| `--(\w+)` \|", part, re.M) for name, part in parts}
    assert found == commands()


@pytest.mark.parametrize("page", PAGES)
def test_commands_that_a_page_shows_have_these_flags(page):
    known = commands()
    for _, block, _ in pages.blocks(PAGES[page], "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            if not line.startswith("kerasreg "):
                continue
            name, *arguments = line.split("#")[0].split()[1:]
            flags = [part[2:].partition("=")[0] for part in arguments if part.startswith("--")]
            assert set(flags) <= {*known[name], "help"}, line


def test_make_knows_the_targets_that_pages_name():
    makefile = (ROOT / "Makefile").read_text()
    lines = re.findall(r"^([\w -]+):", makefile, re.M)
    known = {target for line in lines for target in line.split()}
    for page, text in {**PAGES, "CONTRIBUTING.md": (ROOT / "CONTRIBUTING.md").read_text()}.items():
        for target in re.findall(r"`make ([a-z][\w-]*)", text):
            assert target in known, f"{page}: make {target}"


def test_the_picture_of_the_packages_has_their_order_and_arrows_that_point_down():
    root = xml.etree.ElementTree.parse(pages.DOCS / "images" / "architecture.svg").getroot()
    heights = {
        box.get("data-package"): float(next(iter(box)).get("y"))
        for box in root.iter()
        if box.get("data-package")
    }
    assert set(heights) == {*MAY_IMPORT, "_keras"}
    assert max(heights, key=heights.get) == "_keras"
    below = {package: set() for package in MAY_IMPORT}
    for arrow in root.iter():
        if arrow.get("data-from"):
            below[arrow.get("data-from")].add(arrow.get("data-to"))
            assert heights[arrow.get("data-from")] < heights[arrow.get("data-to")]

    def reached(package):
        return below[package].union(*map(reached, below[package]))

    # What follows from other arrows is left out; all that is there is right.
    assert {package: reached(package) for package in below} == {
        package: reached_by_rule(package) for package in MAY_IMPORT
    }
    for package, direct in below.items():
        assert direct <= MAY_IMPORT[package]
    table = re.findall(r"^\| `(\w+)` \|", PAGES["docs/architecture.md"], re.M)
    assert sorted(table) == sorted(heights)


def reached_by_rule(package):
    """The packages that one may import, and those that these may."""
    return MAY_IMPORT[package].union(*map(reached_by_rule, MAY_IMPORT[package]))


def test_the_versions_that_docs_and_others_share_are_the_same():
    def pins(name):
        lines = (ROOT / name).read_text().splitlines()
        pairs = [line.split(" ;")[0].split("==") for line in lines if "==" in line]
        return {package.lower().replace("_", "-"): version for package, version in pairs}

    docs, demo, test = (pins(f"requirements{kind}.txt") for kind in ("-docs", "", "-test"))
    assert not set(docs) & set(demo)
    assert {name: test[name] for name in set(docs) & set(test)} == {
        name: docs[name] for name in set(docs) & set(test)
    }
    assert {"sphinx", "myst-parser", "furo"} <= set(docs)
